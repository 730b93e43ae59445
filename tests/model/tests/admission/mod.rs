//! Which configuration MetalLB's schemas and webhooks were seen to accept, and that our webhooks and our reader of manifests
//! agree. `data/admission/*.jsonl` holds one recorded verdict a line (`data/README.md` has the form).

mod manifests;
mod webhooks;
mod wire;

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The recorded verdicts of all kinds.
fn cases() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/admission");
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.file_name().is_some_and(|name| name != WIRE));
    files.sort();
    files.iter().flat_map(|file| lines(file)).collect()
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// Verdicts that differ on purpose, with the reason; each must be recorded, or it does not belong here.
type Otherwise = [(&'static str, &'static str)];

fn assert_recorded(otherwise: &Otherwise, cases: &[Value]) {
    let names: BTreeSet<&str> = cases.iter().map(name).collect();
    for (name, _) in otherwise {
        assert!(names.contains(name), "{name}");
    }
}

fn name(case: &Value) -> &str {
    case["name"].as_str().unwrap()
}

fn is_otherwise(otherwise: &Otherwise, case: &Value) -> bool {
    otherwise.iter().any(|(other, _)| *other == name(case))
}

fn assert_none(failures: &[String]) {
    let count = failures.len();
    assert!(
        failures.is_empty(),
        "{count} failed\n{}",
        failures.join("\n")
    );
}

/// What the webhook server itself said, in another form than the verdicts.
const WIRE: &str = "wire.jsonl";
