//! What is linked into the product: licences, sources, doubled versions, and which crate may depend on which.
//!
//! The facts come from `cargo metadata`. Known faults of versions are looked up by [`crate::advisories`]: they change without a change of
//! ours, and what is here says the same tomorrow.

use super::Finding;
use crate::packages::Package;
use std::collections::{BTreeMap, BTreeSet};

/// Packages that break a rule.
pub(crate) fn dependencies(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        findings.extend(licence(package));
        findings.extend(source(package));
    }
    findings.extend(doubled(packages));
    findings.extend(directions(packages));
    findings.extend(purity(packages));
    findings
}

fn about(package: &Package, what: impl Into<String>) -> Finding {
    Finding::new(
        "Cargo.lock",
        0,
        format!("{} {}: {}", package.name, package.version, what.into()),
    )
}

fn licence(package: &Package) -> Option<Finding> {
    let Some(terms) = &package.licence else {
        return Some(about(package, "states no licence"));
    };
    if package.source.is_none() || is_allowed(terms) {
        return None;
    }
    Some(about(
        package,
        format!("its licence `{terms}` is not among ours"),
    ))
}

/// SPDX: `AND` binds more than `OR`; an old `/` means `OR`.
fn is_allowed(terms: &str) -> bool {
    let spaced = terms
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest) && rest.is_empty()
}

fn any(rest: &mut &[&str]) -> bool {
    let mut allowed = all(rest);
    while let ["OR", after @ ..] = *rest {
        *rest = after;
        allowed |= all(rest);
    }
    allowed
}

fn all(rest: &mut &[&str]) -> bool {
    let mut allowed = one(rest);
    while let ["AND", after @ ..] = *rest {
        *rest = after;
        allowed &= one(rest);
    }
    allowed
}

fn one(rest: &mut &[&str]) -> bool {
    match *rest {
        ["(", after @ ..] => {
            *rest = after;
            let allowed = any(rest);
            if let [")", after @ ..] = *rest {
                *rest = after;
                return allowed;
            }
            false
        }
        // An exception only ever grants more than its licence.
        [name, "WITH", _, after @ ..] | [name, after @ ..] => {
            *rest = after;
            LICENCES.contains(name)
        }
        [] => false,
    }
}

fn source(package: &Package) -> Option<Finding> {
    let from = package.source.as_deref()?;
    (from != REGISTRY).then(|| about(package, format!("comes from {from}, not from crates.io")))
}

fn doubled(packages: &[Package]) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
    }
    let mut findings = Vec::new();
    for (name, _) in DOUBLED {
        if versions.get(name).is_none_or(|found| found.len() < 2) {
            findings.push(Finding::new(
                "Cargo.lock",
                0,
                format!("{name} needs no exception any more"),
            ));
        }
    }
    versions
        .retain(|name, found| found.len() > 1 && !DOUBLED.iter().any(|(known, _)| known == name));
    findings.extend(versions.into_iter().map(|(name, found)| {
        let found: Vec<&str> = found.into_iter().collect();
        let what = format!("{name} is there twice ({}); agree on one", found.join(", "));
        Finding::new("Cargo.lock", 0, what)
    }));
    findings
}

/// Own packages against [`MAY_LINK`].
fn directions(packages: &[Package]) -> Vec<Finding> {
    let own = |id: &str| packages.iter().find(|p| p.id == id && p.source.is_none());
    let mut findings = Vec::new();
    for package in packages.iter().filter(|package| package.source.is_none()) {
        let Some((_, may)) = MAY_LINK.iter().find(|(name, _)| *name == package.name) else {
            findings.push(about(
                package,
                "has no place in MAY_LINK of xtask/src/tidy/deny.rs",
            ));
            continue;
        };
        let others = package.needs.iter().filter_map(|id| own(id));
        for other in others.filter(|other| !may.contains(&other.name.as_str())) {
            findings.push(about(package, format!("may not depend on {}", other.name)));
        }
    }
    findings
}

/// The pure crates link nothing that could ask for time, chance, files or the network.
fn purity(packages: &[Package]) -> Vec<Finding> {
    let by_id: BTreeMap<&str, &Package> = packages.iter().map(|p| (p.id.as_str(), p)).collect();
    let mut findings = Vec::new();
    for package in packages
        .iter()
        .filter(|p| p.source.is_none() && PURE.contains(&p.name.as_str()))
    {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = package.needs.iter().map(String::as_str).collect();
        while let Some(id) = open.pop() {
            let Some(linked) = by_id.get(id).filter(|_| seen.insert(id)) else {
                continue;
            };
            if IMPURE.contains(&linked.name.as_str()) {
                findings.push(about(
                    package,
                    format!("links {}, which is not pure", linked.name),
                ));
            }
            open.extend(linked.needs.iter().map(String::as_str));
        }
    }
    findings
}

/// Which packages of the repository may link which.
const MAY_LINK: &[(&str, &[&str])] = &[
    ("speaker-ebpf", &[]),
    ("speaker-proto", &[]),
    ("speaker-core", &["speaker-ebpf", "speaker-proto"]),
    (
        "speaker",
        &["speaker-core", "speaker-ebpf", "speaker-proto"],
    ),
    ("xtask", &[]),
    ("api-tests", &["xtask"]),
    (
        "bench-tests",
        &["speaker-core", "speaker-ebpf", "speaker-proto", "xtask"],
    ),
    (
        "model-tests",
        &["speaker-core", "speaker-ebpf", "speaker-proto"],
    ),
    ("sim", &["speaker-core", "speaker-ebpf", "speaker-proto"]),
    ("system-tests", &["speaker-ebpf", "speaker-proto", "xtask"]),
];

const PURE: &[&str] = &["speaker-ebpf", "speaker-proto", "speaker-core"];

/// Clients, runtimes, kernels, clocks and dice.
const IMPURE: &[&str] = &[
    "async-std",
    "aya",
    "aya-obj",
    "chrono",
    "getrandom",
    "hyper",
    "inotify",
    "kube-client",
    "mio",
    "netlink-sys",
    "rand",
    "reqwest",
    "rustix",
    "socket2",
    "time",
    "tokio",
];

/// Terms that let everyone use, change and pass on what is linked.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0", // of data: root certificates
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Crates that are there twice, and why that is borne.
const DOUBLED: &[(&str, &str)] = &[
    ("base64", CEL),
    ("bit-vec", CEL),
    ("getrandom", "ring stays with 0.2, and no other crate does"),
    (
        "syn",
        "derive macros move to 3 one by one; only at build time",
    ),
    ("thiserror", CEL),
    ("thiserror-impl", CEL),
    ("windows-sys", "ring's, for a system that is not ours"),
];

const CEL: &str = "the evaluator of CEL in the tests' API server is behind";

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, licence: &str, source: Option<&str>, needs: &[&str]) -> Package {
        Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: Some(licence.to_owned()),
            source: source.map(str::to_owned),
            folder: std::path::PathBuf::new(),
            needs: needs.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    #[test]
    fn licence_terms_are_read_as_spdx_means_them() {
        for fine in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_allowed(fine), "{fine}");
        }
        for not in ["GPL-3.0", "MIT AND GPL-3.0", "", "(MIT", "MIT MIT"] {
            assert!(!is_allowed(not), "{not}");
        }
    }

    #[test]
    fn a_foreign_licence_a_foreign_source_and_a_wrong_direction_are_found() {
        let packages = [
            package("copyleft", "GPL-3.0", Some(REGISTRY), &[]),
            package("fork", "MIT", Some("git+https://github.com/a/b"), &[]),
            package("speaker", "Apache-2.0", None, &["speaker-proto"]),
            package("speaker-proto", "Apache-2.0", None, &["speaker"]),
            package("newcomer", "Apache-2.0", None, &[]),
        ];
        let found: Vec<String> = dependencies(&packages)
            .iter()
            .map(|f| f.what.clone())
            .collect();
        for part in [
            "copyleft 1.0.0: its licence",
            "fork 1.0.0: comes from",
            "newcomer 1.0.0: has no place",
            "speaker-proto 1.0.0: may not depend on speaker",
        ] {
            assert!(
                found.iter().any(|what| what.starts_with(part)),
                "{part}: {found:?}"
            );
        }
    }

    #[test]
    fn an_impure_crate_behind_a_pure_one_is_found() {
        let packages = [
            package("speaker-core", "Apache-2.0", None, &["innocent"]),
            package("innocent", "MIT", Some(REGISTRY), &["tokio"]),
            package("tokio", "MIT", Some(REGISTRY), &[]),
        ];
        assert_eq!(purity(&packages).len(), 1);
    }

    #[test]
    fn two_versions_of_a_crate_are_found_and_an_idle_exception_too() {
        let mut older = package("hashbrown", "MIT", Some(REGISTRY), &[]);
        older.version = "0.9.0".to_owned();
        let packages = [package("hashbrown", "MIT", Some(REGISTRY), &[]), older];
        let found: Vec<String> = doubled(&packages).into_iter().map(|f| f.what).collect();
        assert!(
            found
                .iter()
                .any(|what| what.contains("hashbrown is there twice")),
            "{found:?}"
        );
        assert!(
            found
                .iter()
                .any(|what| what.contains("syn needs no exception")),
            "{found:?}"
        );
    }
}
