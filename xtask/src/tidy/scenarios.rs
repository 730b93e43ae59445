//! A scenario is a folder of manifests with what should come of them; half a folder proves nothing.

use super::{Finding, Tree};
use std::collections::BTreeSet;

/// Scenario folders that lack a part, files that no part mentions, and expectations that are empty.
pub(super) fn complete(tree: &Tree) -> Vec<Finding> {
    let folders: BTreeSet<&str> = tree
        .texts(ROOT, "")
        .filter_map(|(path, _)| folder(path))
        .collect();
    folders
        .into_iter()
        .flat_map(|name| lacking(tree, name))
        .collect()
}

fn folder(path: &str) -> Option<&str> {
    path.strip_prefix(ROOT)?
        .split_once('/')
        .map(|(name, _)| name)
}

fn lacking(tree: &Tree, name: &str) -> Vec<Finding> {
    let at = format!("{ROOT}{name}");
    let mut findings = Vec::new();
    for file in [SETUP, PLAN] {
        let text = tree.text(&format!("{at}/{file}"));
        if text.is_none_or(|text| text.trim().is_empty()) {
            findings.push(Finding::new(&at, 0, format!("lacks {file}")));
        }
    }
    let setup = tree.text(&format!("{at}/{SETUP}")).unwrap_or("");
    if !setup.starts_with("about: ") {
        findings.push(Finding::new(
            &format!("{at}/{SETUP}"),
            1,
            "does not begin with `about:`",
        ));
    }
    let beside = format!("{at}/");
    let is_manifest = |path: &str| {
        let file = path.strip_prefix(&beside).unwrap_or(path);
        file != SETUP && !file.contains('/')
    };
    if !tree
        .texts(&beside, ".yaml")
        .any(|(path, _)| is_manifest(path))
    {
        findings.push(Finding::new(&at, 0, "has no manifest"));
    }
    let steps = format!("{at}/steps/");
    for (path, _) in tree.texts(&steps, "") {
        let step = path.strip_prefix(&format!("{at}/")).unwrap_or(path);
        if !setup.contains(step) {
            findings.push(Finding::new(
                path,
                0,
                format!("no step of {SETUP} applies it"),
            ));
        }
    }
    findings
}

const ROOT: &str = "tests/model/scenarios/";
const SETUP: &str = "scenario.yaml";
const PLAN: &str = "plan.txt";
