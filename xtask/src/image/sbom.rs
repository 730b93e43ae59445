//! What is in an image's program: a list for machines, and the licence texts that have to go along.
//!
//! The list is CycloneDX 1.5 in JSON, from what cargo resolves for the target and for the kernel object, with the checksums of
//! `Cargo.lock`. Like the image it is the same bytes on every machine.

use super::Architecture;
use super::source::Source;
use crate::packages::{self, Package};
use crate::tools::{self, output, root};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// The packages that the speaker for a target is linked from, and those of the kernel object, by identity.
///
/// # Errors
/// When cargo does not say.
pub(super) fn linked(triple: &str) -> Result<BTreeMap<String, Package>> {
    let mut linked = reached(&resolved(triple)?, "speaker")?;
    for (id, package) in reached(&resolved(KERNEL)?, "speaker-ebpf")? {
        match linked.get_mut(&id) {
            Some(known) => known.needs.extend(package.needs),
            None => {
                linked.insert(id, package);
            }
        }
    }
    for package in linked.values_mut() {
        package.needs.sort();
        package.needs.dedup();
    }
    Ok(linked)
}

fn resolved(triple: &str) -> Result<Vec<Package>> {
    let mut metadata = tools::cargo();
    metadata
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", triple]);
    packages::parse(&output(&mut metadata)?)
}

fn reached(packages: &[Package], from: &str) -> Result<BTreeMap<String, Package>> {
    let by_id: BTreeMap<&str, &Package> = packages.iter().map(|p| (p.id.as_str(), p)).collect();
    let first = packages
        .iter()
        .find(|package| package.name == from && package.source.is_none())
        .with_context(|| format!("cargo knows no package {from}"))?;
    let mut reached = BTreeMap::new();
    let mut open = vec![first];
    while let Some(package) = open.pop() {
        if reached
            .insert(package.id.clone(), package.clone())
            .is_none()
        {
            open.extend(package.needs.iter().filter_map(|id| by_id.get(id.as_str())));
        }
    }
    Ok(reached)
}

/// The list, as text. `program` is the digest of the program that it is about.
///
/// # Errors
/// When the compiler's version or `Cargo.lock` cannot be read.
pub(super) fn cyclonedx(
    source: &Source,
    architecture: Architecture,
    program: &str,
    linked: &BTreeMap<String, Package>,
) -> Result<String> {
    let lock =
        fs::read_to_string(root().join("Cargo.lock")).context("failed to read Cargo.lock")?;
    let checksums = checksums(&lock);
    let mut components: Vec<Value> = linked
        .values()
        .map(|package| component(package, &checksums))
        .collect();
    components.push(json!({
        "type": "library",
        "bom-ref": LIBRARY,
        "name": LIBRARY,
        "version": tools::rustc_version()?,
        "description": "Rust's standard library for musl, with the C library",
        "licenses": [{"expression": "(MIT OR Apache-2.0) AND MIT"}],
    }));
    let reference = |id: &String| linked.get(id).map(reference);
    let mut dependencies: Vec<Value> = linked
        .values()
        .map(|package| {
            let needs: BTreeSet<String> = package.needs.iter().filter_map(reference).collect();
            json!({"ref": self::reference(package), "dependsOn": needs})
        })
        .collect();
    let roots = linked
        .values()
        .filter(|package| package.source.is_none() && package.name == "speaker")
        .map(self::reference);
    let roots: Vec<String> = roots.chain([LIBRARY.to_owned()]).collect();
    dependencies.push(json!({"ref": "heliograph", "dependsOn": roots}));
    let list = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": format!("urn:uuid:{}", uuid(program)),
        "version": 1,
        "metadata": {
            "timestamp": source.created(),
            "component": {
                "type": "application",
                "bom-ref": "heliograph",
                "name": "heliograph",
                "version": source.version,
                "hashes": [{"alg": "SHA-256", "content": program}],
                "licenses": [{"expression": "Apache-2.0 AND (MIT OR GPL-2.0-only)"}],
                "properties": [
                    {"name": "heliograph:architecture", "value": architecture.as_str()},
                    {"name": "heliograph:commit", "value": source.commit},
                ],
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(format!("{list:#}\n"))
}

fn component(package: &Package, checksums: &BTreeMap<(&str, &str), &str>) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": reference(package),
        "name": package.name,
        "version": package.version,
    });
    if let Some(terms) = &package.licence {
        // Old packages write `/` for `OR`.
        let terms = terms.replace('/', " OR ");
        component["licenses"] = json!([{"expression": terms}]);
    }
    if package.source.is_some() {
        component["purl"] = json!(reference(package));
    }
    let key = (package.name.as_str(), package.version.as_str());
    if let Some(checksum) = checksums.get(&key) {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

/// A package's address on crates.io; ours are on none and have the like of it.
fn reference(package: &Package) -> String {
    let Package { name, version, .. } = package;
    match package.source {
        Some(_) => format!("pkg:cargo/{name}@{version}"),
        None => format!("heliograph/{name}@{version}"),
    }
}

/// Of archives on crates.io, by name and version.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    let mut checksums = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            package.lines().find_map(|line| {
                let value = line.strip_prefix(name)?.strip_prefix(" = \"")?;
                value.strip_suffix('"')
            })
        };
        if let (Some(name), Some(version), Some(checksum)) =
            (field("name"), field("version"), field("checksum"))
        {
            checksums.insert((name, version), checksum);
        }
    }
    checksums
}

/// RFC 9562 §5.8: an identity made from a digest.
fn uuid(hex: &str) -> String {
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    let (a, b, c, d, e) = (
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32),
    );
    format!("{a}-{b}-8{c}-8{d}-{e}")
}

/// The licence texts of what others wrote, each once.
#[derive(Debug, Default)]
pub(super) struct Notices {
    /// By text: the packages that have it.
    texts: BTreeMap<String, BTreeSet<String>>,
}

impl Notices {
    /// Takes the texts of these packages in.
    pub(super) fn add(&mut self, linked: &BTreeMap<String, Package>) -> Result<()> {
        for package in linked.values().filter(|package| package.source.is_some()) {
            let folder = &package.folder;
            let entries = fs::read_dir(folder)
                .with_context(|| format!("failed to list {}", folder.display()))?;
            let title = format!("{} {}", package.name, package.version);
            for entry in entries {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let name = name.to_uppercase();
                if path.is_file() && TEXTS.iter().any(|start| name.starts_with(start)) {
                    let text = fs::read(&path)
                        .with_context(|| format!("failed to read {}", path.display()))?;
                    let text = String::from_utf8_lossy(&text).trim().to_owned();
                    self.texts.entry(text).or_default().insert(title.clone());
                }
            }
        }
        Ok(())
    }

    /// All of them, in one file.
    pub(super) fn text(&self) -> String {
        let mut text =
            "What others wrote and this program is linked from, with its licences.\n".to_owned();
        for (licence, packages) in &self.texts {
            let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
            text.push_str(&format!(
                "\n{RULE}\n{}\n{RULE}\n\n{licence}\n",
                packages.join("\n")
            ));
        }
        text
    }
}

const KERNEL: &str = "bpfel-unknown-none";
const LIBRARY: &str = "rust-std";
const TEXTS: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];
const RULE: &str = "----------------------------------------";

#[cfg(test)]
mod tests {
    use super::super::digest;
    use super::*;

    fn list() -> Value {
        let linked = linked("x86_64-unknown-linux-musl").unwrap();
        let source = Source {
            version: "1.2.3".to_owned(),
            commit: "abc".to_owned(),
            moment: 0,
        };
        let program = digest(b"program");
        let one = cyclonedx(&source, Architecture::X86_64, &program, &linked).unwrap();
        let other = cyclonedx(&source, Architecture::X86_64, &program, &linked).unwrap();
        assert_eq!(one, other);
        serde_json::from_str(&one).unwrap()
    }

    #[test]
    fn the_list_has_what_is_linked_and_not_what_tests_alone_need() {
        let list = list();
        let names: BTreeSet<&str> = list["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|component| component["name"].as_str().unwrap())
            .collect();
        for linked in ["speaker", "tokio", "ring", "aya", "aya-ebpf", "rust-std"] {
            assert!(names.contains(linked), "{linked}");
        }
        for not in ["xtask", "proptest", "tempfile", "windows-sys", "cel"] {
            assert!(!names.contains(not), "{not}");
        }
    }

    #[test]
    fn every_package_of_others_has_its_address_licence_and_checksum() {
        let list = list();
        let components = list["components"].as_array().unwrap();
        let foreign = components.iter().filter(|one| one["purl"].is_string());
        for component in foreign.clone() {
            assert!(
                component["licenses"][0]["expression"].is_string(),
                "{component}"
            );
            let sum = component["hashes"][0]["content"].as_str().unwrap();
            assert_eq!(sum.len(), 64, "{component}");
        }
        assert!(foreign.count() > 50);
    }

    #[test]
    fn every_dependency_is_a_component() {
        let list = list();
        let references: BTreeSet<&str> = list["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|component| component["bom-ref"].as_str().unwrap())
            .collect();
        for one in list["dependencies"].as_array().unwrap() {
            let own = one["ref"].as_str().unwrap();
            assert!(references.contains(own) || own == "heliograph", "{own}");
            for need in one["dependsOn"].as_array().unwrap() {
                assert!(references.contains(need.as_str().unwrap()), "{need}");
            }
        }
    }

    #[test]
    fn licence_texts_are_there_once_with_all_who_have_them() {
        let linked = linked("x86_64-unknown-linux-musl").unwrap();
        let mut notices = Notices::default();
        notices.add(&linked).unwrap();
        let once = notices.text();
        notices.add(&linked).unwrap();
        assert_eq!(notices.text(), once);
        assert!(once.contains("\ntokio "), "tokio's is missing");
        assert!(once.contains("\nring "), "ring's is missing");
    }

    #[test]
    fn an_identity_made_from_a_digest_says_so() {
        let made = uuid("0123456789abcdef0123456789abcdef");
        assert_eq!(made, "01234567-89ab-8def-8123-456789abcdef");
    }
}
