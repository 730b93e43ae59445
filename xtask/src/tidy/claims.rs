//! What `docs/security.md` and `docs/compatibility.md` claim is shown by tests that are there, or called a limit.

use super::compat::Known;
use super::{Finding, Tree};

/// Rows of tables whose last column is headed `shown by` that name no test, or one that is not there.
pub(super) fn shown(tree: &Tree) -> Vec<Finding> {
    let known = Known::of(tree);
    let findings = FILES.iter().flat_map(|file| in_file(tree, &known, file));
    findings.collect()
}

fn in_file(tree: &Tree, known: &Known<'_>, file: &str) -> Vec<Finding> {
    let Some(text) = tree.text(file) else {
        return vec![Finding::new(file, 0, "is missing")];
    };
    let mut findings = Vec::new();
    let mut is_claim = false;
    for (at, line) in text.lines().enumerate() {
        let Some(row) = line
            .strip_prefix("| ")
            .and_then(|row| row.strip_suffix(" |"))
        else {
            // The line below a head has no space, and what is no row ends a table.
            is_claim &= line.starts_with("|---");
            continue;
        };
        let last = row.rsplit(" | ").next().unwrap_or(row);
        if last == HEAD {
            is_claim = true;
            continue;
        }
        if !is_claim || last.starts_with(LIMIT) {
            continue;
        }
        let mut find = |what: String| findings.push(Finding::new(file, at + 1, what));
        let tests: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            find(format!("names no test, and is not called a `{LIMIT}`"));
        }
        let missing = tests.iter().filter(|test| !known.has(test));
        missing.for_each(|test| find(format!("there is no test `{test}`")));
    }
    findings
}

const FILES: [&str; 2] = ["docs/security.md", "docs/compatibility.md"];
const HEAD: &str = "shown by";
const LIMIT: &str = "limit: ";
