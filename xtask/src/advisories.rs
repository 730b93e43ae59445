//! `cargo xtask check advisories`: known faults of what is linked, from RustSec's database.
//!
//! The one step whose answer changes without a change of ours, and that needs more than this tree. Where the database cannot be had the step is
//! neither passed nor failed: it says so, the closing line counts it as skipped, and nothing is released.

mod osv;

use crate::packages::{self, Package};
use crate::tidy::Finding;
use crate::tools::{self, output, say, target};
use anyhow::{Context, Result, ensure};
use osv::{Advisory, Weight};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What came of looking.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// All that counts against this tree, which may be nothing.
    Looked(Vec<Finding>),
    /// The database could not be had, and why.
    Skipped(anyhow::Error),
}

/// Looks every package of `Cargo.lock` up, those of tests and of the build too.
///
/// # Errors
/// When the database was had and cannot be read, or cargo does not say what is linked.
pub(crate) fn look() -> Result<Outcome> {
    let folder = match env::var_os(FOLDER) {
        Some(folder) => PathBuf::from(folder),
        None => match fetched() {
            Ok(folder) => folder,
            Err(why) => return Ok(Outcome::Skipped(why)),
        },
    };
    let advisories = read(&folder)?;
    let mut metadata = tools::cargo();
    metadata.args(["metadata", "--format-version", "1", "--locked"]);
    let packages = packages::parse(&output(&mut metadata)?)?;
    Ok(Outcome::Looked(findings(&advisories, &packages, ACCEPTED)?))
}

/// The database as it is now, under `target/advisories`.
fn fetched() -> Result<PathBuf> {
    let folder = target().join("advisories");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("failed to remove an older database")?;
    }
    let mut clone = Command::new("timeout");
    clone
        .args([TIME_MAX, "git", "clone", "--quiet", "--depth", "1"])
        .args(["--single-branch", "--branch", "osv", DATABASE])
        .arg(&folder)
        .env("GIT_TERMINAL_PROMPT", "0");
    output(&mut clone)?;
    Ok(folder)
}

/// Every advisory of a clone of the database's branch `osv`.
fn read(folder: &Path) -> Result<Vec<Advisory>> {
    let folder = folder.join("crates");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))?;
    let mut advisories = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "json") {
            continue;
        }
        let text = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let advisory = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no advisory", path.display()))?;
        advisories.push(advisory);
    }
    ensure!(
        !advisories.is_empty(),
        "{} holds no advisory: everything would pass",
        folder.display()
    );
    Ok(advisories)
}

/// What counts against these packages; what does not is said.
fn findings(
    advisories: &[Advisory],
    packages: &[Package],
    accepted: &[(&str, &str)],
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut met = Vec::new();
    for package in packages.iter().filter(|package| package.source.is_some()) {
        for advisory in advisories {
            let weight = advisory.weight(&package.name, &package.version)?;
            let what = format!("{} {}: {advisory}", package.name, package.version);
            match weight {
                None => {}
                Some(Weight::Word) => say(&format!("noted   {what}")),
                Some(Weight::Fault) if accepted.iter().any(|(id, _)| *id == advisory.id) => {
                    met.push(advisory.id.as_str());
                    say(&format!("known   {what}"));
                }
                Some(Weight::Fault) => findings.push(of_lock(what)),
            }
        }
    }
    let idle = accepted.iter().filter(|(id, _)| !met.contains(id));
    findings.extend(idle.map(|(id, _)| of_lock(format!("{id} needs no exception any more"))));
    Ok(findings)
}

fn of_lock(what: String) -> Finding {
    Finding {
        path: "Cargo.lock".to_owned(),
        line: 0,
        what,
    }
}

/// Names a clone of the branch `osv` of the database that is here already, for machines without a way to it.
const FOLDER: &str = "HELIOGRAPH_ADVISORIES";
const DATABASE: &str = "https://github.com/RustSec/advisory-db";
/// A clone of some megabytes takes seconds; who waits longer has no way there.
const TIME_MAX: &str = "120";
/// Faults that do not concern us, and why they do not.
const ACCEPTED: &[(&str, &str)] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> Package {
        Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            licence: None,
            source: Some("registry".to_owned()),
            folder: PathBuf::new(),
            needs: Vec::new(),
        }
    }

    /// A database with one fault of `wire` before 1.2.3 and a word that `rope` has nobody who keeps it.
    fn database(name: &str) -> PathBuf {
        let folder = target()
            .join("tmp")
            .join(format!("{name}-{}", std::process::id()));
        let crates = folder.join("crates");
        fs::create_dir_all(&crates).unwrap();
        let fault = r#"{"id": "RUSTSEC-2030-0001", "summary": "It burns", "affected": [{
            "package": {"ecosystem": "crates.io", "name": "wire"},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "0.0.0-0"}, {"fixed": "1.2.3"}]}]}]}"#;
        let word = r#"{"id": "RUSTSEC-2030-0002", "summary": "Nobody keeps it", "affected": [{
            "package": {"ecosystem": "crates.io", "name": "rope"},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "0.0.0-0"}]}],
            "database_specific": {"informational": "unmaintained"}}]}"#;
        fs::write(crates.join("RUSTSEC-2030-0001.json"), fault).unwrap();
        fs::write(crates.join("RUSTSEC-2030-0002.json"), word).unwrap();
        folder
    }

    fn found(packages: &[Package], accepted: &[(&str, &str)], name: &str) -> Vec<String> {
        let folder = database(name);
        let advisories = read(&folder).unwrap();
        fs::remove_dir_all(folder).unwrap();
        let findings = findings(&advisories, packages, accepted).unwrap();
        findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_version_with_a_fault_is_found_and_one_without_is_not() {
        let packages = [package("wire", "1.2.2"), package("rope", "1.0.0")];
        let expected = ["wire 1.2.2: RUSTSEC-2030-0001, It burns"];
        assert_eq!(found(&packages, &[], "fault"), expected);
        assert!(found(&[package("wire", "1.2.3")], &[], "mended").is_empty());
    }

    #[test]
    fn an_accepted_fault_is_borne_and_an_idle_exception_is_found() {
        let accepted = [("RUSTSEC-2030-0001", "no wire of ours is hot")];
        assert!(found(&[package("wire", "1.2.2")], &accepted, "borne").is_empty());
        let idle = found(&[package("wire", "2.0.0")], &accepted, "idle");
        assert_eq!(idle, ["RUSTSEC-2030-0001 needs no exception any more"]);
    }

    #[test]
    fn a_database_without_advisories_passes_nobody() {
        let empty = target()
            .join("tmp")
            .join(format!("bare-{}", std::process::id()));
        fs::create_dir_all(empty.join("crates")).unwrap();
        let why = read(&empty).unwrap_err().to_string();
        fs::remove_dir_all(&empty).unwrap();
        assert!(why.contains("holds no advisory"), "{why}");
        assert!(
            read(&empty)
                .unwrap_err()
                .to_string()
                .contains("failed to list")
        );
    }
}
