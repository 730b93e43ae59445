//! Which configuration MetalLB's schemas and webhooks were seen to accept, and that reading manifests agrees.
//!
//! `data/admission/*.jsonl` holds one recorded verdict a line (`data/README.md` has the form). An object is accepted
//! here if it is read without a problem and nothing is wrong between it and the objects that were there before.

use serde_json::Value;
use speaker_core::manifest::{self, DEFAULT_NAMESPACE};
use speaker_core::{ObjectKey, World};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Verdicts that differ on purpose. Each must differ, or it does not belong here.
const OTHERWISE: [(&str, &str); 1] = [(
    "namespace/update-elsewhere",
    "MetalLB's webhook lets an object that was made elsewhere by force be changed; here it never counts",
)];

#[test]
fn every_recorded_verdict_is_ours() {
    let mut failures = Vec::new();
    let mut cases = 0;
    for case in cases_of_all_kinds() {
        let name = case["name"].as_str().unwrap();
        let expected = case["allowed"].as_bool().unwrap();
        let problems = problems(&case);
        let agrees = problems.is_empty() == expected;
        let is_otherwise = OTHERWISE.iter().any(|(other, _)| *other == name);
        cases += 1;
        if agrees == is_otherwise {
            failures.push(format!("{name}: allowed {expected}, here {problems:?}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} failed\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(cases >= CASES_MIN, "only {cases} cases");
}

#[test]
fn what_is_otherwise_names_recorded_cases() {
    let cases = cases_of_all_kinds();
    let names: BTreeSet<&str> = cases
        .iter()
        .map(|case| case["name"].as_str().unwrap())
        .collect();
    for (name, _) in OTHERWISE {
        assert!(names.contains(name), "{name}");
    }
}

fn cases_of_all_kinds() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/admission");
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let lines = files.iter().flat_map(|file| {
        let text = fs::read_to_string(file).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<Value>>()
    });
    lines.collect()
}

/// What is wrong once the object stands beside those that were there. The later of two is blamed, as at a webhook,
/// so what was there is older.
fn problems(case: &Value) -> Vec<String> {
    let mut world = World::default();
    let mut submitted = None;
    let given = case["given"].as_array().unwrap();
    for (age, object) in given.iter().chain([&case["submit"]]).enumerate() {
        let mut object = object.clone();
        object["metadata"]["creationTimestamp"] = format!("2026-01-01T00:00:{age:02}Z").into();
        for read in manifest::read("api", &object.to_string(), DEFAULT_NAMESPACE).objects {
            submitted = Some(
                read.as_ref()
                    .map_or_else(|p| p.object.clone(), speaker_core::Object::key),
            );
            world.put(read);
        }
    }
    if case["operation"] == "DELETE" {
        return Vec::new();
    }
    let blamed = |key: &ObjectKey| Some(key) == submitted.as_ref();
    let own = world.problems.values().cloned();
    let between = world.config_problems();
    let all = own.chain(between).filter(|problem| blamed(&problem.object));
    all.map(|problem| problem.to_string()).collect()
}

/// As many are recorded; a suite that shrinks is a mistake.
const CASES_MIN: usize = 85;
