//! Files and functions stay short; what was long when the rule came may only get shorter.
//!
//! [`RATCHET`] holds the exceptions with their exact numbers. A number that is too low means that something grew, one
//! that is too high that the exception must be lowered with the change that made it so: it never leaves room to grow.

use super::{Finding, Tree};
use std::collections::BTreeMap;

/// Where the exceptions stand: lines of a path (`a/b.rs`) or of a function (`a/b.rs name`), then the number.
pub(crate) const RATCHET: &str = "xtask/src/tidy/ratchet.txt";

/// Sizes of files and functions against their limits and the ratchet.
pub(super) fn short(tree: &Tree) -> Vec<Finding> {
    let (mut allowed, mut findings) = match tree.text(RATCHET) {
        Some(text) => parse(text),
        None => (
            BTreeMap::new(),
            vec![Finding::new(RATCHET, 0, "is missing")],
        ),
    };
    for (path, source) in tree.sources("") {
        if !source.is_test {
            let lines = source.production_lines();
            let key = path.to_owned();
            findings.extend(judge(
                path,
                0,
                "the file",
                lines,
                FILE_MAX,
                allowed.remove(&key),
            ));
        }
        for function in source.functions() {
            let what = format!("fn {}", function.name);
            let exception = allowed.remove(&format!("{path} {}", function.name));
            let lines = function.lines;
            findings.extend(judge(
                path,
                function.line,
                &what,
                lines,
                FUNCTION_MAX,
                exception,
            ));
        }
    }
    findings.extend(allowed.into_keys().map(|key| {
        Finding::new(
            RATCHET,
            0,
            format!("`{key}` is gone or has no such function: remove it"),
        )
    }));
    findings
}

/// Numbers that rose from one version of the ratchet to the next, new ones included.
pub(crate) fn rises(before: &str, after: &str) -> Vec<Finding> {
    let (before, _) = parse(before);
    let (after, _) = parse(after);
    after
        .into_iter()
        .filter(|(key, number)| before.get(key).is_none_or(|old| number > old))
        .map(|(key, number)| Finding::new(RATCHET, 0, format!("`{key} {number}` is new or rose")))
        .collect()
}

fn judge(
    path: &str,
    line: usize,
    what: &str,
    lines: usize,
    limit: usize,
    exception: Option<usize>,
) -> Option<Finding> {
    let why = match exception {
        None if lines <= limit => return None,
        Some(allowed) if lines == allowed && lines > limit => return None,
        None => format!("{what} has {lines} lines, the limit is {limit}"),
        Some(allowed) if lines > allowed => {
            format!("{what} grew from {allowed} to {lines} lines, the limit is {limit}")
        }
        Some(_) if lines <= limit => format!("{what} is short now: remove it from {RATCHET}"),
        Some(_) => format!("{what} shrank to {lines} lines: lower its number in {RATCHET}"),
    };
    Some(Finding::new(path, line, why))
}

fn parse(text: &str) -> (BTreeMap<String, usize>, Vec<Finding>) {
    let (mut allowed, mut findings) = (BTreeMap::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line
            .rsplit_once(' ')
            .map(|(key, number)| (key, number.parse()));
        match pair {
            Some((key, Ok(number))) => {
                allowed.insert(key.to_owned(), number);
            }
            Some((_, Err(_))) | None => {
                findings.push(Finding::new(
                    RATCHET,
                    at + 1,
                    "is not `path [function] number`",
                ));
            }
        }
    }
    (allowed, findings)
}

/// Longer than this, and a file does two things.
const FILE_MAX: usize = 500;
/// Longer than this, and a function no longer fits on a screen.
const FUNCTION_MAX: usize = 70;
