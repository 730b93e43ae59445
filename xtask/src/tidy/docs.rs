//! Links in Markdown lead somewhere: to a file of the repository and, after `#`, to one of its headings. Paths in code of documents exist.
//!
//! Other hosts are not asked: a check must say the same with and without a network.

use super::commands::code;
use super::rust::Source;
use super::{Finding, Tree};

/// Relative links to what is not there.
pub(super) fn links(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts("", ".md") {
        for (line, prose) in prose(text) {
            for target in targets(prose) {
                if let Err(why) = resolve(tree, path, target) {
                    findings.push(Finding::new(path, line, format!("`{target}`: {why}")));
                }
            }
        }
    }
    findings
}

/// Files and folders of the repository that commands and other code in Markdown name, and that are not there.
pub(super) fn paths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts("", ".md") {
        for (line, code) in code(text) {
            let words = code.split_whitespace().map(|word| {
                word.trim_matches(|c: char| "\"'()[],;:".contains(c))
                    .trim_end_matches(['.', '/'])
            });
            let named = words.filter(|word| is_path(word) && !tree.has(word));
            findings
                .extend(named.map(|word| Finding::new(path, line, format!("there is no {word}"))));
        }
    }
    findings
}

/// Whether a word is a path below one of the repository's folders, and no pattern of several.
fn is_path(word: &str) -> bool {
    let Some((folder, rest)) = word.split_once('/') else {
        return false;
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    FOLDERS.contains(&folder) && !rest.is_empty() && rest.chars().all(is_plain)
}

/// Documents that sources and manifests name, with a heading after a comma or without (`docs/a.md`, "Heading").
pub(super) fn mentions(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let texts = tree
        .texts("", "")
        .filter(|(path, _)| !path.ends_with(".md") && !path.starts_with(OURS));
    for (path, text) in texts {
        for (at, line) in text.lines().enumerate() {
            for (document, after) in documents(line) {
                let Some(text) = tree.text(document) else {
                    findings.push(Finding::new(
                        path,
                        at + 1,
                        format!("there is no {document}"),
                    ));
                    continue;
                };
                let heading = after
                    .strip_prefix("`, \"")
                    .and_then(|rest| rest.split_once('"'));
                let is_there = |name: &str| {
                    prose(text).any(|(_, line)| line.starts_with('#') && line.ends_with(name))
                };
                if let Some((name, _)) = heading.filter(|(name, _)| !is_there(name)) {
                    findings.push(Finding::new(
                        path,
                        at + 1,
                        format!("{document} has no \"{name}\""),
                    ));
                }
            }
        }
    }
    findings
}

/// Variants of the planner's reasons that their document does not name.
pub(super) fn reasons(tree: &Tree) -> Vec<Finding> {
    let Some(document) = tree.text(REASONS) else {
        return vec![Finding::new(REASONS, 0, "is missing")];
    };
    let mut findings = Vec::new();
    let sources = REASONS_SOURCES.iter().flat_map(|path| tree.sources(path));
    for (path, source) in sources {
        for (line, name) in variants(source) {
            if !document.contains(&format!("`{name}`")) {
                findings.push(Finding::new(
                    path,
                    line,
                    format!("{REASONS} does not name {name}"),
                ));
            }
        }
    }
    findings
}

/// Metrics that the reference does not name: the figures that it is made from lack them.
pub(super) fn metrics(tree: &Tree) -> Vec<Finding> {
    let Some(document) = tree.text(METRICS) else {
        return vec![Finding::new(METRICS, 0, "is missing")];
    };
    let mut findings = Vec::new();
    for (path, text) in tree.texts(METRICS_SOURCE, "") {
        for (at, line) in text.lines().enumerate() {
            let names = line
                .split('"')
                .skip(1)
                .step_by(2)
                .filter(|word| is_metric(word));
            // Where the code puts a name together, what stands there is its beginning.
            let is_there = |name: &&str| {
                document.contains(&format!("`{name}`"))
                    || document.contains(&format!("`{}_", name.trim_end_matches('_')))
            };
            for name in names.filter(|name| !is_there(name)) {
                findings.push(Finding::new(
                    path,
                    at + 1,
                    format!("{METRICS} does not name {name}"),
                ));
            }
        }
    }
    findings
}

fn is_metric(word: &str) -> bool {
    let begins = ["metallb_", "heliograph_", "process_"];
    begins.iter().any(|begin| word.starts_with(begin))
        && word
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// The variants of every enum, as rustfmt lays them out.
fn variants(source: &Source) -> Vec<(usize, &str)> {
    let mut is_enum = false;
    let mut found = Vec::new();
    for (line, code) in source.production() {
        if code.starts_with("pub enum ") {
            is_enum = true;
        } else if code.starts_with('}') {
            is_enum = false;
        } else if let Some(variant) = code.strip_prefix("    ").filter(|_| is_enum) {
            let end = variant
                .find(|c: char| !c.is_alphanumeric())
                .unwrap_or(variant.len());
            let name = variant.get(..end).unwrap_or("");
            if name.starts_with(|c: char| c.is_ascii_uppercase()) {
                found.push((line, name));
            }
        }
    }
    found
}

/// Every `docs/….md` of the line, and what follows it.
fn documents(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.match_indices("docs/").filter_map(move |(at, _)| {
        let is_longer = line
            .get(..at)?
            .ends_with(|c: char| c.is_alphanumeric() || c == '/' || c == '.');
        let rest = line.get(at..).filter(|_| !is_longer)?;
        let end = rest.find(".md")? + ".md".len();
        let (document, after) = rest.split_at(end);
        let is_name = |c: char| c.is_alphanumeric() || "/._-".contains(c);
        document.chars().all(is_name).then_some((document, after))
    })
}

/// Lines outside fenced blocks, numbered from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence).then_some((at + 1, line))
    })
}

fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(move |(at, open)| {
        let rest = line.get(at + open.len()..)?;
        rest.get(..rest.find(')')?)
    })
}

fn resolve(tree: &Tree, from: &str, target: &str) -> Result<(), String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    let (file, anchor) = match target.split_once('#') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (target, None),
    };
    let path = if file.is_empty() {
        from.to_owned()
    } else {
        join(from, file)?
    };
    if !path.is_empty() && !tree.has(&path) && tree.text(&path).is_none() {
        return Err(format!("there is no {path}"));
    }
    let Some(anchor) = anchor else { return Ok(()) };
    let text = tree.text(&path).ok_or("only a text file has headings")?;
    let is_there = prose(text).any(|(_, line)| line.starts_with('#') && slug(line) == anchor);
    if is_there {
        Ok(())
    } else {
        Err(format!("{path} has no such heading"))
    }
}

fn join(from: &str, file: &str) -> Result<String, String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in file.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop().ok_or("leads out of the repository")?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// As GitHub makes anchors of headings.
fn slug(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

const FOLDERS: [&str; 6] = [
    "deploy",
    "docs",
    "speaker",
    "speaker-ebpf",
    "tests",
    "xtask",
];

const REASONS: &str = "docs/reasons.md";
const REASONS_SOURCES: [&str; 2] = [
    "speaker/core/src/plan/reason.rs",
    "speaker/core/src/plan/bgp/reason.rs",
];

const METRICS: &str = "docs/reference/metrics.md";
const METRICS_SOURCE: &str = "speaker/src/report/metrics";

/// The rules themselves, whose tests name documents that are not there.
const OURS: &str = "xtask/src/tidy";
