//! `tests/compat.toml` says of each of MetalLB's end-to-end tests which test of ours shows the same, or why none does.
//!
//! A table of one-line entries is all of TOML that is read here: a header in brackets, and `key = { case = "…", tests = ["…"] }` or
//! `key = { case = "…", not-here = "…" }`.

use super::{Finding, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// Entries that cannot be read, name no test that is there, or stand there twice; and groups that are not whole.
pub(super) fn covered(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.text(FILE) else {
        return vec![Finding::new(FILE, 0, "is missing")];
    };
    let known = Known::of(tree);
    let mut findings = Vec::new();
    let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut group = "";
    for (at, line) in text.lines().enumerate() {
        let mut find = |what: String| findings.push(Finding::new(FILE, at + 1, what));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            group = name;
            continue;
        }
        let Some(entry) = entry(line) else {
            find("is no entry `key = { case = \"…\", tests = [\"…\"] }`".to_owned());
            continue;
        };
        if !groups.entry(group).or_default().insert(entry.key) {
            find(format!("{} stands there twice", entry.key));
        }
        let missing = entry.tests.iter().filter(|test| !known.has(test));
        missing.for_each(|test| find(format!("there is no test `{test}`")));
    }
    findings.extend(counted(&groups));
    findings
}

/// Groups with another number of cases than MetalLB's tests have.
fn counted(groups: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (group, expected) in CASES {
        let count = groups.get(group).map_or(0, BTreeSet::len);
        if count != *expected {
            let what = format!("[{group}] has {count} cases, MetalLB's tests have {expected}");
            findings.push(Finding::new(FILE, 0, what));
        }
    }
    let unknown = groups
        .keys()
        .filter(|group| !CASES.iter().any(|(known, _)| known == *group));
    findings.extend(unknown.map(|group| Finding::new(FILE, 0, format!("[{group}] is no group"))));
    findings
}

/// One case. Without tests it has a reason.
struct Entry<'a> {
    key: &'a str,
    tests: Vec<&'a str>,
}

fn entry(line: &str) -> Option<Entry<'_>> {
    let (key, rest) = line.split_once(" = { case = \"")?;
    let (case, rest) = rest.strip_suffix(" }")?.split_once("\", ")?;
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '-');
    if !is_key || case.is_empty() {
        return None;
    }
    if let Some(list) = rest.strip_prefix("tests = [\"") {
        let tests = list.strip_suffix("\"]")?.split("\", \"").collect();
        return Some(Entry { key, tests });
    }
    let reason = rest.strip_prefix("not-here = \"")?.strip_suffix('"')?;
    let tests = Vec::new();
    (!reason.is_empty()).then_some(Entry { key, tests })
}

/// The tests that are there.
pub(super) struct Known<'a> {
    tree: &'a Tree,
    functions: BTreeSet<&'a str>,
    recordings: BTreeSet<String>,
}

impl<'a> Known<'a> {
    pub(super) fn of(tree: &'a Tree) -> Self {
        let functions = tree
            .sources("")
            .flat_map(|(_, source)| functions(&source.code));
        let recordings = RECORDINGS.iter().flat_map(|kind| {
            let files = tree.texts(DATA, ".jsonl");
            let of_kind = files.filter(move |(path, _)| path.contains(&format!("/{kind}/")));
            let names = of_kind.flat_map(|(_, text)| text.lines().filter_map(recorded));
            names.map(move |name| format!("{kind}: {name}"))
        });
        Self {
            tree,
            functions: functions.collect(),
            recordings: recordings.collect(),
        }
    }

    pub(super) fn has(&self, test: &str) -> bool {
        match test.split_once(": ") {
            Some(("scenario", name)) => self.tree.has(&format!("{SCENARIOS}{name}")),
            Some(_) => self.recordings.contains(test),
            None => self.functions.contains(test),
        }
    }

    /// Whether the name of any test begins so.
    pub(super) fn has_any(&self, prefix: &str) -> bool {
        let mut from = self.functions.range(prefix..);
        from.next().is_some_and(|name| name.starts_with(prefix))
    }
}

/// The functions that an attribute makes a test.
pub(super) fn functions(code: &str) -> impl Iterator<Item = &str> {
    let attributes = ["#[test]", "#[tokio::test"];
    let places = attributes
        .into_iter()
        .flat_map(|attribute| code.match_indices(attribute));
    places.filter_map(|(at, _)| {
        let rest = code.get(at..)?;
        let name = rest.get(rest.find("fn ")? + 3..)?;
        name.get(..name.find('(')?)
    })
}

/// The name of a recording; it stands first in its line.
fn recorded(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("{\"name\": \"")?;
    rest.split('"').next()
}

const FILE: &str = "tests/compat.toml";
const SCENARIOS: &str = "tests/model/scenarios/";
const DATA: &str = "tests/model/data/";
/// Kinds of recordings, which are folders of [`DATA`].
const RECORDINGS: [&str; 2] = ["allocation", "admission"];

/// The cases of each group.
const CASES: &[(&str, usize)] = &[
    ("layer-2", 10),
    ("speaker-failover", 2),
    ("interface-selector", 6),
    ("node-selector", 3),
    ("service-selector", 4),
    ("preferred-nodes", 8),
    ("class", 1),
    ("assignment", 25),
    ("bgp-traffic", 23),
    ("bgp-attributes", 11),
    ("bfd", 7),
    ("bgp-selectors", 12),
    ("metrics", 4),
    ("webhooks", 17),
    ("configuration-state", 10),
    ("network-policies", 1),
    ("operator", 15),
    ("beyond", 8),
];
