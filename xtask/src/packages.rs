//! What is linked into a program, as `cargo metadata` tells it: for the rules on dependencies and for the list of what an image holds.

use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A package as `cargo metadata` tells it.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: Option<String>,
    /// Nothing for the packages of this repository.
    pub(crate) source: Option<String>,
    /// Where its sources are.
    pub(crate) folder: PathBuf,
    /// Identities of what it links; not what it needs for building or testing alone.
    pub(crate) needs: Vec<String>,
}

/// Reads the answer of `cargo metadata --format-version 1`.
///
/// # Errors
/// When it is not such an answer.
pub(crate) fn parse(json: &str) -> Result<Vec<Package>> {
    let value: Value = serde_json::from_str(json).context("cargo metadata gave no JSON")?;
    let nodes = value["resolve"]["nodes"]
        .as_array()
        .context("cargo metadata resolved nothing")?;
    let mut needs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for node in nodes {
        let linked = node["deps"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dep| is_linked(dep));
        let ids = linked
            .filter_map(|dep| dep["pkg"].as_str())
            .map(str::to_owned)
            .collect();
        needs.insert(node["id"].as_str().unwrap_or(""), ids);
    }
    let packages = value["packages"]
        .as_array()
        .context("cargo metadata named no package")?;
    let text = |package: &Value, key: &str| package[key].as_str().map(str::to_owned);
    Ok(packages
        .iter()
        .map(|package| {
            let id = text(package, "id").unwrap_or_default();
            Package {
                needs: needs.remove(id.as_str()).unwrap_or_default(),
                id,
                name: text(package, "name").unwrap_or_default(),
                version: text(package, "version").unwrap_or_default(),
                licence: text(package, "license"),
                source: text(package, "source"),
                folder: folder(package),
            }
        })
        .collect())
}

fn folder(package: &Value) -> PathBuf {
    let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
    manifest.parent().unwrap_or(manifest).to_owned()
}

fn is_linked(dep: &Value) -> bool {
    let kinds = dep["dep_kinds"].as_array().into_iter().flatten();
    kinds.into_iter().any(|kind| kind["kind"].is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_becomes_packages_with_what_they_link() {
        let json = r#"{"packages":[{"id":"a","name":"a","version":"1","license":"MIT","source":null,"manifest_path":"/x/a/Cargo.toml"}],
            "resolve":{"nodes":[{"id":"a","deps":[
                {"pkg":"b","dep_kinds":[{"kind":null}]},{"pkg":"c","dep_kinds":[{"kind":"dev"}]}]}]}}"#;
        let packages = parse(json).unwrap();
        assert_eq!(packages.len(), 1);
        assert_eq!(packages.first().unwrap().needs, ["b"]);
        assert_eq!(packages.first().unwrap().folder, Path::new("/x/a"));
    }
}
