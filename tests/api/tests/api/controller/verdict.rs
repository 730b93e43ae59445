//! What the ConfigurationState of a controller says, and that it is there.

use super::site::{Site, pool};
use crate::random::is_night;
use api_tests::{Fault, Rule};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_configuration_state_that_was_deleted_is_made_again() {
    let site = Site::new();
    site.put(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "c-0", "namespace": "metallb-system"},
        "spec": {"containers": [{"name": "controller", "image": "heliograph"}]},
    }));
    site.put(&pool("p", "192.0.2.0/30"));
    let _controller = site.controller("c-0", &[]);
    site.until("a verdict", || site.state()["result"] == "Valid");
    let made = site.get(STATE);
    let metadata = &made["metadata"];
    let component = &metadata["labels"]["metallb.io/component-type"];
    assert_eq!(component, "controller");
    assert_eq!(metadata["ownerReferences"][0]["name"], "c-0");
    assert_eq!(site.double.delete(STATE), 200);
    if is_night() {
        site.until_within(MISSED_MAX, "another", || site.state()["result"] == "Valid");
    } else {
        println!("not waited for: it is missed within 75 s (HELIOGRAPH_NIGHT=1)");
    }
    // Whenever something else is to be said, it is missed at once.
    site.put(&pool("q", "192.0.2.8-nonsense"));
    site.until("a verdict", || site.state()["result"] == "Invalid");
    let again = site.get(STATE);
    assert_ne!(again["metadata"]["uid"], metadata["uid"]);
    for field in ["labels", "ownerReferences"] {
        assert_eq!(again["metadata"][field], metadata[field], "{field}");
    }
}

#[test]
fn a_label_of_a_configuration_state_is_put_back_and_anothers_left_alone() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    let _controller = site.controller("c-0", &[]);
    site.until("a verdict", || site.state()["result"] == "Valid");
    let labels =
        json!({"metadata": {"labels": {"metallb.io/component-type": "speaker", "team": "net"}}});
    let merge = "application/merge-patch+json";
    assert_eq!(site.double.request("PATCH", STATE, merge, &labels).0, 200);
    site.put(&pool("q", "192.0.2.8-nonsense"));
    site.until("a verdict", || site.state()["result"] == "Invalid");
    let labels = &site.get(STATE)["metadata"]["labels"];
    assert_eq!(labels["metallb.io/component-type"], "controller");
    assert_eq!(labels["team"], "net");
}

#[test]
fn one_mistake_follows_another_and_what_is_said_is_true() {
    let site = Site::new();
    let controller = site.controller("c-0", &[]);
    controller.until_it_says("allocationBegins");
    let summary = || {
        let summary = site.state()["errorSummary"].clone();
        summary.as_str().unwrap_or_default().to_owned()
    };
    site.put(&pool("p", "first-mistake"));
    site.until("the first", || summary().contains("first-mistake"));
    site.put(&pool("p", "second-mistake"));
    site.until("the second", || summary().contains("second-mistake"));
    assert!(!summary().contains("first-mistake"), "{}", summary());
    let condition = site.state()["conditions"][0].clone();
    assert_eq!(condition["reason"], "ConfigurationError");
    assert_eq!(condition["message"], summary());
    site.put(&pool("p", "192.0.2.0/30"));
    site.until("a verdict", || site.state()["result"] == "Valid");
    let condition = site.state()["conditions"][0].clone();
    assert_eq!(condition["reason"], "Reconciled");
    assert_eq!(summary(), "");
}

#[test]
fn a_configuration_that_cannot_be_seen_is_unknown() {
    let site = Site::new();
    let refused = Rule {
        path: "/communities".into(),
        fault: Fault::Refuse {
            code: 500,
            retry_after: 0,
        },
        ..Rule::default()
    };
    site.double.faults(vec![refused], 1);
    let _controller = site.controller("c-0", &[]);
    site.until("a verdict", || site.state()["result"] == "Unknown");
    let condition = site.state()["conditions"][0].clone();
    assert_eq!(condition["reason"], "UnknownError");
    let why = condition["message"].as_str().unwrap();
    assert!(
        why.starts_with("Community objects cannot be followed: "),
        "{why}"
    );
    site.double.faults(Vec::new(), 1);
    site.until("a verdict", || site.state()["result"] == "Valid");
    assert_eq!(site.state()["conditions"][0]["reason"], "Reconciled");
}

const STATE: &str =
    "/apis/metallb.io/v1beta1/namespaces/metallb-system/configurationstates/controller";
/// It is looked for every 60 to 75 s; the rest is for a busy machine.
const MISSED_MAX: Duration = Duration::from_secs(120);
