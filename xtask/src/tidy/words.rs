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

/// Macros of our own, names that come from everywhere, and files for things without a place.
pub(super) fn plain(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in tree.sources("") {
        let file = path.rsplit('/').next().unwrap_or(path);
        if DRAWERS.iter().any(|drawer| file.starts_with(drawer)) {
            findings.push(Finding::new(
                path,
                0,
                "is named after no thing: find its noun",
            ));
        }
        for (line, code) in source.all() {
            if words(code, "macro_rules").next().is_some() {
                findings.push(Finding::new(path, line, "a macro: write a function"));
            }
            if code.trim_start().starts_with("pub") && code.contains("use ") && code.contains("::*")
            {
                findings.push(Finding::new(
                    path,
                    line,
                    "re-exports names without naming them",
                ));
            }
        }
    }
    findings
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

const DRAWERS: &[&str] = &["util", "helper", "misc", "common"];

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
