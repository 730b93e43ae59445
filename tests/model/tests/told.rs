//! What is told of objects in words: their faults, from the sources, in `docs/reference/errors.md`.
//!
//! `UPDATE_EXPECT=1` writes the page of faults anew.

use super::reference::{compare, files, parts};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

#[test]
fn the_reference_of_errors_is_what_is_said_of_objects() {
    let mut page = String::from(HEAD);
    let mut count = 0;
    for folder in ["manifest", "crd", "admission", "allocator"] {
        let mut rows = BTreeSet::new();
        for file in files(&format!("speaker/core/src/{folder}"), "rs") {
            rows.extend(faults(&product(&file)));
        }
        count += rows.len();
        writeln!(
            page,
            "\n## `{folder}`\n\n| field | what is said of it |\n|---|---|"
        )
        .unwrap();
        for (field, what) in rows {
            writeln!(page, "| {field} | {} |", what.replace('|', "\\|")).unwrap();
        }
    }
    assert!(count > 50, "only {count}");
    compare("errors.md", &page);
}

/// A source without its tests.
fn product(file: &Path) -> String {
    if file.to_string_lossy().ends_with("tests.rs") {
        return String::new();
    }
    let text = fs::read_to_string(file).unwrap();
    text.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap()
        .to_owned()
}

/// Fields and texts of the faults that a source can find; braces stand for what is put in.
fn faults(code: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for begin in ["faults.push(", "Fault::new(", "found.push("] {
        for (at, _) in code.match_indices(begin) {
            let parts = parts(&code[at + begin.len()..]);
            let [field, what] = parts.as_slice() else {
                continue;
            };
            let field = match literal(field) {
                Some(field) if field.is_empty() => "the object".to_owned(),
                Some(field) => format!("`{field}`"),
                None => "the field in question".to_owned(),
            };
            let texts = match literal(what) {
                Some(text) => vec![text],
                None => bound(&code[..at], what),
            };
            found.extend(texts.into_iter().map(|text| (field.clone(), text)));
        }
    }
    found
}

/// The text of a literal, or of one within `format!`.
fn literal(part: &str) -> Option<String> {
    let begin = ["format!(\"", "\""]
        .iter()
        .find_map(|begin| part.strip_prefix(begin))?;
    let mut text = String::new();
    let mut is_escaped = false;
    for c in begin.chars() {
        match c {
            _ if is_escaped => {
                // A line that goes on says so by the escape.
                if c != '\n' {
                    text.push(c);
                }
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => break,
            c => text.push(c),
        }
    }
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The texts that the last binding of a name before here can be.
fn bound(before: &str, name: &str) -> Vec<String> {
    let name = name.trim_end_matches(".clone()");
    let Some(at) = before.rfind(&format!("let {name} = ")) else {
        return Vec::new();
    };
    let near = &before[at..];
    if near.len() > NEAR_BYTES {
        return Vec::new();
    }
    let end = near.find(";\n").unwrap_or(near.len());
    let pieces = near[..end].match_indices('"').step_by(2);
    pieces
        .filter_map(|(at, _)| literal(&near[at..]))
        .filter(|text| text.contains(' '))
        .collect()
}

const NEAR_BYTES: usize = 800; // further away a name is another one
const HEAD: &str = "# What is said of objects

Made from the sources by a test; change those, not this page. Each comes with file or namespace, object and field: in the log (`problem`), in `speaker ctl status`, in a
ConfigurationState, and where a webhook refuses in the answer of the API server. Braces stand for what the object says. What keeps a service from being announced is in
[reasons.md](../reasons.md), what the doctor finds in [doctor.md](doctor.md), what the log says in [log.md](log.md).
";
