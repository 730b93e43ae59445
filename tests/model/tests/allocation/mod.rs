//! What MetalLB's controller was seen to do, step by step, and that the allocator does the same.
//!
//! `data/allocation/*.jsonl` holds one recorded sequence a line (`data/README.md` has the form). [`Cluster`] plays the API
//! server and the controller. Compared are addresses, pools, pool counters and events.

use model_tests::cluster::Cluster;
use serde_json::Value;
use speaker_core::allocator::allocate;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Sequences in which this allocator does otherwise on purpose. Each must fail, or it does not belong here.
const OTHERWISE: [(&str, &str); 0] = [];

#[test]
fn every_recorded_sequence_is_repeated() {
    let mut failures = Vec::new();
    let mut replayed = 0;
    for sequence in sequences() {
        let name = text(&sequence, "name");
        let result = replay(&sequence);
        let is_otherwise = OTHERWISE.iter().any(|(other, _)| *other == name);
        match (result, is_otherwise) {
            (Ok(()), false) => replayed += 1,
            (Err(_), true) => {}
            (Ok(()), true) => failures.push(format!("{name}: is repeated, so it is not otherwise")),
            (Err(why), false) => failures.push(format!("{name}: {why}")),
        }
    }
    assert!(
        failures.is_empty(),
        "{} failed\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(replayed >= SEQUENCES_MIN, "only {replayed} sequences");
}

#[test]
fn what_is_otherwise_names_recorded_sequences() {
    let names: BTreeSet<String> = sequences()
        .iter()
        .map(|s| text(s, "name").to_owned())
        .collect();
    for (name, _) in OTHERWISE {
        assert!(names.contains(name), "{name}");
    }
}

fn sequences() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/allocation");
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

fn replay(sequence: &Value) -> Result<(), String> {
    let mut cluster = Cluster::new(allocate);
    for (i, step) in sequence["steps"].as_array().unwrap().iter().enumerate() {
        cluster.act(step);
        let seen = step["alsoSeen"].as_array().into_iter().flatten();
        let mut wrong = Vec::new();
        for expected in std::iter::once(&step["expect"]).chain(seen) {
            match cluster.compare(expected) {
                Ok(()) => {
                    wrong.clear();
                    break;
                }
                Err(why) => wrong.push(why),
            }
        }
        if let Some(why) = wrong.first() {
            return Err(format!("step {}: {why}", i + 1));
        }
    }
    Ok(())
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// As many are recorded; a suite that shrinks is a mistake.
const SEQUENCES_MIN: usize = 170;
