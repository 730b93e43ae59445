//! Secrets among the manifests of a directory: looked for by name when somebody needs one, and kept by nobody here.
//!
//! They are no objects of the world, so that no table, dump or file of ours can hold one. Which Secrets are needed, and what is in one, is
//! not known here.

use super::tree::{self, Tree};
use serde_json::Value;
use speaker_core::manifest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Namespace and name.
type Name = (String, String);

/// The Secrets of these names, each as it stands in the first file in the order of paths that has it. `namespace` is that of one that
/// names none. Files that cannot be read are passed over: who follows the directory says so.
pub(crate) fn secrets(
    root: &Path,
    wanted: &BTreeSet<Name>,
    namespace: &str,
) -> BTreeMap<Name, Value> {
    let mut found = BTreeMap::new();
    for path in Tree::walk(root).files.values() {
        let Ok(Some(text)) = tree::text(path) else {
            continue;
        };
        // Large directories are mostly of other kinds, and reading YAML takes long.
        if !text.contains(manifest::SECRET) {
            continue;
        }
        for (name, secret) in manifest::secrets(&text, namespace) {
            if wanted.contains(&name) {
                found.entry(name).or_insert(secret);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn of_a_secret_that_stands_twice_the_first_file_counts_and_others_are_not_taken() {
        let folder =
            std::env::temp_dir().join(format!("heliograph-secrets-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let secret = |name: &str, value: &str| {
            format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{password: {value}}}\n"
            )
        };
        for (file, text) in [
            ("b.yaml", secret("tor", "second")),
            (
                "a.yaml",
                format!("kind: Secret\n  broken: [\n---\n{}", secret("tor", "first")),
            ),
            ("c.yaml", secret("other", "nobody's")),
            ("d.txt", secret("tor", "no manifest")),
        ] {
            fs::write(folder.join(file), text).unwrap();
        }
        let tor = ("metallb-system".to_owned(), "tor".to_owned());
        let wanted = BTreeSet::from([tor.clone()]);
        let found = secrets(&folder, &wanted, "metallb-system");
        fs::remove_dir_all(&folder).unwrap();
        let passwords: Vec<_> = found
            .iter()
            .map(|(name, s)| (name, &s["stringData"]["password"]))
            .collect();
        assert_eq!(passwords, [(&tor, &Value::from("first"))]);
    }
}
