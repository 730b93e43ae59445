//! Who may import whom inside a crate; between crates the manifests are held to it by [`super::deny`].

use super::rust::words;
use super::{Finding, Tree};

/// Only `run` joins these; each knows the core and nothing of the others.
const SHELL_PARTS: &[&str] = &["source", "dataplane", "edge", "report"];

/// What every part may use, and what uses none of them.
const LOWER: &[&str] = &["api", "tls"];

/// Crates that hold no unsafe code, proved by the compiler.
const SAFE: &[&str] = &["speaker/proto/src/lib.rs", "speaker/core/src/lib.rs"];

/// Imports between parts of the shell, and upward ones.
pub(super) fn shell(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in tree.sources("speaker/src/") {
        let Some(own) = part_of(path) else { continue };
        for (line, code) in source.production() {
            for other in SHELL_PARTS.iter().filter(|other| **other != own) {
                if names(code, other) {
                    let what = if LOWER.contains(&own) {
                        format!("`{own}` imports `{other}`, which lies above it")
                    } else {
                        format!("`{own}` imports `{other}`; only `run` knows both")
                    };
                    findings.push(Finding::new(path, line, what));
                }
            }
        }
    }
    findings
}

fn part_of(path: &str) -> Option<&'static str> {
    let below = path.strip_prefix("speaker/src/")?;
    let first = below.split(['/', '.']).next()?;
    let parts = SHELL_PARTS.iter().chain(LOWER);
    parts.copied().find(|part| *part == first)
}

/// Whether the line reaches a part from the crate's root: by `crate::part`, `crate::{part, …}` or enough `super::`.
fn names(code: &str, part: &str) -> bool {
    words(code, part).any(|at| {
        let before = code.get(..at).unwrap_or("");
        let path = before
            .rsplit([' ', '(', '<', '&', '=', '{', ','])
            .next()
            .unwrap_or("");
        path.ends_with("crate::")
            || (path.starts_with("super::") && path.ends_with("super::"))
            || (before.contains("crate::{") && path.is_empty())
    })
}

/// The pure crates without the attribute that proves it.
pub(super) fn forbid_unsafe(tree: &Tree) -> Vec<Finding> {
    let lacking = SAFE.iter().filter(|path| {
        !tree
            .sources(path)
            .any(|(_, source)| source.code.contains("#![forbid(unsafe_code)]"))
    });
    lacking
        .map(|path| Finding::new(path, 0, "lacks #![forbid(unsafe_code)]"))
        .collect()
}
