//! What `docs/security.md`, `docs/compatibility.md`, `docs/layer2-proof.md`, `docs/bgp-proof.md` and `docs/steering-proof.md` claim is shown
//! by tests that are there, or called a limit; and every rule of layer 2 has tests of its number.

use super::compat::Known;
use super::{Finding, Tree};
use std::collections::BTreeSet;

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

/// Rules of `docs/layer2.md` without a test whose name begins with their number: of L3.1 `l3_1_` or, of a part of it, `l3_1a_`.
pub(super) fn numbered(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.text(LAYER2) else {
        return vec![Finding::new(LAYER2, 0, "is missing")];
    };
    let known = Known::of(tree);
    let rules: BTreeSet<String> = text.split('L').skip(1).filter_map(rule).collect();
    let untested = rules.iter().filter(|rule| {
        let ends = ["_", "a_", "b_", "c_"];
        !ends
            .iter()
            .any(|end| known.has_any(&format!("l{rule}{end}")))
    });
    untested
        .map(|rule| Finding::new(LAYER2, 0, format!("no test is called l{rule}_…")))
        .collect()
}

/// The number that follows an L, as names of tests have it.
fn rule(after: &str) -> Option<String> {
    let mut chars = after.chars();
    let (part, dot, number) = (chars.next()?, chars.next()?, chars.next()?);
    let is_rule = part.is_ascii_digit() && dot == '.' && number.is_ascii_digit();
    is_rule.then(|| format!("{part}_{number}"))
}

const LAYER2: &str = "docs/layer2.md";
const FILES: [&str; 5] = [
    "docs/security.md",
    "docs/compatibility.md",
    "docs/layer2-proof.md",
    "docs/bgp-proof.md",
    "docs/steering-proof.md",
];
const HEAD: &str = "shown by";
const LIMIT: &str = "limit: ";
