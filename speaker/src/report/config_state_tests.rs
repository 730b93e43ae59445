//! What the object should say, step by step, without an API server.

use super::*;
use speaker_core::{Kind, ObjectKey};

fn speaker() -> Component {
    Component::Speaker("n1".parse().unwrap())
}

fn owner() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "name": "speaker-x", "uid": "u1"})
}

fn problem(name: &str, why: &str) -> Problem {
    Problem {
        object: ObjectKey::new(Kind::Pool, "metallb-system", name),
        origin: "api".to_owned(),
        field: "spec.addresses[0]".to_owned(),
        why: why.to_owned(),
    }
}

fn bad() -> Verdict {
    Verdict::of(&[problem("p", "\"x\" is no range")])
}

fn good() -> Verdict {
    Verdict::of(&[])
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

/// The object after the steps, as an API server would have it.
fn after(seen: Option<Value>, steps: &[Step]) -> Value {
    let mut object = seen.unwrap_or_default();
    for step in steps {
        match step {
            Step::Make(made) => object = made.clone(),
            Step::Own(patch) => {
                for (key, value) in patch["metadata"].as_object().unwrap() {
                    object["metadata"][key] = value.clone();
                }
            }
            Step::Say(said) => object["status"] = said["status"].clone(),
        }
    }
    object
}

fn taken(verdict: &Verdict, seen: Option<&Value>, second: u64) -> Vec<Step> {
    steps(&speaker(), Some(&owner()), verdict, seen, at(second))
}

#[test]
fn the_object_is_made_as_metallb_makes_it() {
    let made = after(None, &taken(&bad(), None, 5));
    let message =
        "configuration error: IPAddressPool metallb-system/p: spec.addresses[0]: \"x\" is no range";
    let expected = json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "ConfigurationState",
        "metadata": {
            "name": "speaker-n1",
            "labels": {"metallb.io/component-type": "speaker", "metallb.io/node-name": "n1"},
            "ownerReferences": [owner()],
        },
        "status": {
            "result": "Invalid",
            "errorSummary": message,
            "conditions": [{
                "type": "configReconcilerValid",
                "status": "False",
                "reason": "ConfigurationError",
                "message": message,
                "lastTransitionTime": "1970-01-01T00:00:05Z",
            }],
        },
    });
    assert_eq!(made, expected);
}

#[test]
fn the_controller_has_its_own_names() {
    let made = after(
        None,
        &steps(&Component::Controller, None, &good(), None, at(0)),
    );
    assert_eq!(made["metadata"]["name"], "controller");
    assert_eq!(
        made["metadata"]["labels"],
        json!({"metallb.io/component-type": "controller"})
    );
    assert_eq!(made["metadata"].get("ownerReferences"), None);
    assert_eq!(
        made["status"]["conditions"][0]["type"],
        "poolReconcilerValid"
    );
    assert_eq!(made["status"]["result"], "Valid");
    assert_eq!(made["status"]["errorSummary"], "");
    assert_eq!(Component::Controller.field_owner(), "poolReconciler");
    assert_eq!(speaker().field_owner(), "configReconciler");
}

#[test]
fn what_is_said_already_is_not_written_again() {
    for verdict in [good(), bad()] {
        let mut seen = after(None, &taken(&verdict, None, 5));
        assert_eq!(taken(&verdict, Some(&seen), 9), []);
        // The API server leaves nothing out, but another writer may.
        if verdict == good() {
            seen["status"]
                .as_object_mut()
                .unwrap()
                .remove("errorSummary");
            assert_eq!(taken(&verdict, Some(&seen), 9), []);
        }
    }
}

#[test]
fn the_time_of_a_condition_changes_with_its_status_only() {
    let seen = after(None, &taken(&bad(), None, 5));
    let worse = Verdict::of(&[problem("p", "is empty"), problem("q", "is empty")]);
    let seen = after(Some(seen.clone()), &taken(&worse, Some(&seen), 6));
    let condition = &seen["status"]["conditions"][0];
    assert_eq!(condition["lastTransitionTime"], "1970-01-01T00:00:05Z");
    assert_eq!(
        condition["message"].as_str().unwrap().lines().count(),
        2,
        "{condition}"
    );
    let seen = after(Some(seen.clone()), &taken(&good(), Some(&seen), 7));
    let condition = &seen["status"]["conditions"][0];
    assert_eq!(condition["lastTransitionTime"], "1970-01-01T00:00:07Z");
    assert_eq!(condition["reason"], "Reconciled");
}

#[test]
fn the_object_of_an_earlier_pod_is_taken_over() {
    let mut seen = after(None, &taken(&good(), None, 5));
    seen["metadata"]["ownerReferences"][0]["uid"] = json!("u0");
    seen["metadata"]["labels"]["team"] = json!("net");
    let steps = taken(&good(), Some(&seen), 6);
    let expected = json!({"metadata": {
        "labels": {"metallb.io/component-type": "speaker", "metallb.io/node-name": "n1"},
        "ownerReferences": [owner()],
    }});
    assert_eq!(steps, [Step::Own(expected)]);
}

#[test]
fn a_label_that_somebody_changed_is_put_back_and_another_left_alone() {
    let mut seen = after(None, &taken(&good(), None, 5));
    seen["metadata"]["labels"]["team"] = json!("net");
    assert_eq!(taken(&good(), Some(&seen), 6), []);
    seen["metadata"]["labels"]["metallb.io/node-name"] = json!("n2");
    assert!(matches!(taken(&good(), Some(&seen), 6)[..], [Step::Own(_)]));
}

#[test]
fn the_message_is_bounded() {
    let long = "€".repeat(10_000);
    let problems: Vec<Problem> = (0..1000).map(|i| problem(&i.to_string(), &long)).collect();
    let verdict = Verdict::of(&problems);
    let message = verdict.condition()[2];
    assert!(message.len() < 32_768, "{}", message.len());
    assert!(message.ends_with("\nand 980 more"), "{message}");
}

#[test]
fn what_cannot_be_seen_is_neither_valid_nor_invalid() {
    let unseen = Verdict::unknown("pools cannot be followed".to_owned());
    let seen = after(None, &taken(&unseen, None, 5));
    assert_eq!(seen["status"]["result"], "Unknown");
    assert_eq!(seen["status"]["errorSummary"], "pools cannot be followed");
    let condition = &seen["status"]["conditions"][0];
    assert_eq!(condition["status"], "False");
    assert_eq!(condition["reason"], "UnknownError");
    let seen = after(Some(seen.clone()), &taken(&bad(), Some(&seen), 6));
    let condition = &seen["status"]["conditions"][0];
    assert_eq!(condition["reason"], "ConfigurationError");
    assert_eq!(condition["lastTransitionTime"], "1970-01-01T00:00:05Z");
}
