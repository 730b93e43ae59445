//! An object is accepted from a folder if it is read without a problem and nothing is wrong between it and the objects that
//! were there before.

use super::{Otherwise, assert_none, assert_recorded, cases, is_otherwise, name};
use serde_json::Value;
use speaker_core::manifest::{self, DEFAULT_NAMESPACE};
use speaker_core::{ObjectKey, World};

const OTHERWISE: &Otherwise = &[
    (
        "namespace/update-elsewhere",
        "MetalLB's webhook lets an object that was made elsewhere by force be changed; here it never counts",
    ),
    (
        "namespace/create-peer-disablemp",
        "MetalLB's webhook looks at nothing of such a peer; here it does not count, as with MetalLB afterwards",
    ),
];

#[test]
fn every_recorded_verdict_is_ours() {
    let mut failures = Vec::new();
    let mut count = 0;
    for case in cases().iter().filter(|case| is_about_reading(case)) {
        let expected = case["allowed"].as_bool().unwrap();
        let problems = problems(case);
        let agrees = problems.is_empty() == expected;
        count += 1;
        if agrees == is_otherwise(OTHERWISE, case) {
            let name = name(case);
            failures.push(format!("{name}: allowed {expected}, here {problems:?}"));
        }
    }
    assert_none(&failures);
    assert!(count >= CASES_MIN, "only {count} cases");
    assert_recorded(OTHERWISE, &cases());
}

/// Not about status, not about a mode that we do not have, and not about BGP's objects beside others: from a folder they are
/// read one by one only, as nothing acts on them.
fn is_about_reading(case: &Value) -> bool {
    let kind = case["submit"]["kind"].as_str().unwrap();
    let is_bgp = ["BGPPeer", "BGPAdvertisement", "BFDProfile"].contains(&kind);
    let stands_alone = case["given"].as_array().unwrap().is_empty();
    case["operation"] != "UPDATE_STATUS" && case["mode"].is_null() && (stands_alone || !is_bgp)
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
const CASES_MIN: usize = 215;
