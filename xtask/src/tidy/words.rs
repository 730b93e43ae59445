//! What every file must say first, and what no file may still say.

use super::rust::words;
use super::{Finding, Tree};

/// Rust files that do not begin with a module's documentation.
pub(super) fn module_docs(tree: &Tree) -> Vec<Finding> {
    tree.texts("", ".rs")
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| Finding::new(path, 1, "does not begin with `//!` and what it is for"))
        .collect()
}

/// Marks of unfinished work.
pub(super) fn markers(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts("", "") {
        for (at, line) in text.lines().enumerate() {
            for marker in MARKERS
                .iter()
                .filter(|marker| words(line, marker).next().is_some())
            {
                findings.push(Finding::new(
                    path,
                    at + 1,
                    format!("`{marker}`: finish it or drop it"),
                ));
            }
        }
    }
    findings
}

/// In two halves each, so that this file has none.
const MARKERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("HA", "CK"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("#[ig", "nore"),
    concat!("place", "holder"),
    concat!("Place", "holder"),
    concat!("db", "g!"),
];
