//! `tests/interop.toml` says of each feature and each router which tests try the two together, or why none does; the table in `docs/bgp.md` is made of it.
//!
//! Of TOML as little is read here as of `tests/compat.toml`: a feature in brackets, and for each router `router = { tests = ["…"] }`,
//! `router = { lacks = "…" }` where the router has no such thing, or `router = { untried = "…" }`.

use super::compat::functions;
use super::{Finding, Tree};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Lines that cannot be read, features without a word on a router, tests that are not there, and a table that says something else.
pub(super) fn tried(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.text(FILE) else {
        return vec![Finding::new(FILE, 0, "is missing")];
    };
    let sources = tree.sources("");
    let known: BTreeSet<&str> = sources
        .flat_map(|(_, source)| functions(&source.code))
        .collect();
    let mut findings = Vec::new();
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let mut find = |what: String| findings.push(Finding::new(FILE, at + 1, what));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(feature) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            let cells = Vec::new();
            rows.push(Row { feature, cells });
            continue;
        }
        match (rows.last_mut(), entry(line)) {
            (Some(row), Some((router, cell)))
                if ROUTERS.get(row.cells.len()).is_some_and(|r| r.0 == router) =>
            {
                if let Cell::Tried(tests) = &cell {
                    let missing = tests.iter().filter(|test| !known.contains(*test));
                    missing.for_each(|test| find(format!("there is no test `{test}`")));
                }
                row.cells.push(cell);
            }
            (_, Some(_)) => find("the routers are not in order, or one is lost".to_owned()),
            (_, None) => find("is no entry `router = { tests = [\"…\"] }`".to_owned()),
        }
    }
    let short = rows.iter().filter(|row| row.cells.len() != ROUTERS.len());
    findings.extend(short.map(|row| {
        let what = format!("[{}] does not say something of each router", row.feature);
        Finding::new(FILE, 0, what)
    }));
    let table = table(&rows);
    if !tree.text(PAGE).is_some_and(|page| page.contains(&table)) {
        let what = format!("has not the table of {FILE}, which is\n{table}");
        findings.push(Finding::new(PAGE, 0, what));
    }
    findings
}

/// A feature and what is said of each router, in order.
struct Row<'a> {
    feature: &'a str,
    cells: Vec<Cell<'a>>,
}

enum Cell<'a> {
    /// By these tests.
    Tried(Vec<&'a str>),
    /// The router has no such thing.
    Lacks(&'a str),
    /// It was left out.
    Untried(&'a str),
}

fn entry(line: &str) -> Option<(&str, Cell<'_>)> {
    let (router, rest) = line.split_once(" = { ")?;
    let rest = rest.strip_suffix(" }")?;
    if let Some(list) = rest.strip_prefix("tests = [\"") {
        let tests = list.strip_suffix("\"]")?.split("\", \"").collect();
        return Some((router, Cell::Tried(tests)));
    }
    let (word, reason) = rest.strip_suffix('"')?.split_once(" = \"")?;
    match (word, reason) {
        (_, "") => None,
        ("lacks", reason) => Some((router, Cell::Lacks(reason))),
        ("untried", reason) => Some((router, Cell::Untried(reason))),
        (_, _) => None,
    }
}

/// The table, and below it the reasons, each once.
fn table(rows: &[Row<'_>]) -> String {
    let names: Vec<&str> = ROUTERS.iter().map(|(_, name)| *name).collect();
    let mut reasons: Vec<&str> = Vec::new();
    let mut number = |reason| {
        let known = reasons.iter().position(|known| *known == reason);
        1 + known.unwrap_or_else(|| {
            reasons.push(reason);
            reasons.len() - 1
        })
    };
    let mut text = format!(
        "| | {} |\n|---|{}\n",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for Row { feature, cells } in rows {
        let cells = cells.iter().map(|cell| match cell {
            Cell::Tried(_) => "yes".to_owned(),
            Cell::Lacks(reason) => format!("no ({})", number(reason)),
            Cell::Untried(reason) => format!("not tried ({})", number(reason)),
        });
        let cells: Vec<String> = cells.collect();
        let line = format!("| {feature} | {} |\n", cells.join(" | "));
        text += &line;
    }
    text += "\n";
    for (at, reason) in reasons.iter().enumerate() {
        writeln!(text, "{}. {reason}", at + 1).expect("a string takes everything");
    }
    text
}

const FILE: &str = "tests/interop.toml";
const PAGE: &str = "docs/bgp.md";
/// The routers in order: in the file, and as they are called.
const ROUTERS: [(&str, &str); 4] = [
    ("frr", "FRR 8.4.4"),
    ("bird", "BIRD 2.0.12"),
    ("gobgp", "GoBGP 3.10.0"),
    ("exabgp", "ExaBGP 4.2.21"),
];
