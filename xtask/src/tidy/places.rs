//! The repository names no place that exists on one machine or in one network only.

use super::{Finding, Tree};

/// Folders of one machine, and hosts that are not the public ones a reader can reach.
pub(super) fn machines(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts("", "") {
        for (at, line) in text.lines().enumerate() {
            let folder = FOLDERS.iter().find(|folder| has_folder(line, folder));
            findings.extend(folder.map(|folder| {
                Finding::new(
                    path,
                    at + 1,
                    format!("`{folder}` is a place on one machine"),
                )
            }));
            findings.extend(hosts(line).filter(|host| !is_public(host)).map(|host| {
                Finding::new(
                    path,
                    at + 1,
                    format!("`{host}` is no host that readers know"),
                )
            }));
        }
    }
    findings
}

/// Whether an absolute path begins with the folder: a longer path may end in the same letters.
fn has_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|s| s.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.}/".contains(c))
    })
}

/// The hosts of the line's URLs.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("://").filter_map(move |(at, scheme)| {
        let before = line.get(..at)?;
        if !["http", "https", "git", "ssh"]
            .iter()
            .any(|known| before.ends_with(known))
        {
            return None;
        }
        let rest = line.get(at + scheme.len()..)?;
        let end = rest.find(|c: char| !c.is_alphanumeric() && !".-_".contains(c));
        rest.get(..end.unwrap_or(rest.len()))
            .filter(|host| !host.is_empty())
    })
}

fn is_public(host: &str) -> bool {
    let is_number = host.chars().all(|c| c.is_ascii_digit() || c == '.');
    let is_reserved = RESERVED.iter().any(|end| host.ends_with(end));
    is_number
        || is_reserved
        || PUBLIC.iter().any(|known| {
            host == *known
                || host
                    .strip_suffix(known)
                    .is_some_and(|sub| sub.ends_with('.'))
        })
}

/// In two halves each, so that this file has none.
const FOLDERS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("../sha", "red/"),
];

/// RFC 2606, the loopback, and Services as a cluster names them.
const RESERVED: &[&str] = &[
    ".svc",
    ".test",
    "example",
    "example.com",
    "example.org",
    "invalid",
    "localhost",
];

const PUBLIC: &[&str] = &[
    "apache.org",
    "docs.rs",
    "fsf.org",
    "github.com",
    "gnu.org",
    // Kubernetes shows the form of a URL with it.
    "host",
    "ietf.org",
    "json-schema.org",
    "k8s.io",
    "kernel.org",
    "kubernetes.io",
    "metallb.io",
    "metallb.universe.tf",
    "rfc-editor.org",
    "rust-lang.org",
    "rustup.rs",
    "semver.org",
];
