//! The webhooks' answers. What a schema or a rule in it decides is the API server's and never comes to a webhook.

use super::{Otherwise, assert_none, assert_recorded, cases, is_otherwise, name};
use serde_json::{Value, json};
use speaker_core::World;
use speaker_core::admission::{self, Given};
use speaker_core::manifest::{self, DEFAULT_NAMESPACE};
use std::sync::Arc;

const OTHERWISE: &Otherwise = &[
    (
        "native/peer-gr",
        "there is one mode here, and it has graceful restart",
    ),
    (
        "native/peer-dual",
        "there is one mode here, and it has both families on a session",
    ),
    (
        "native/peer-interface",
        "there is one mode here, and it has peers on a link",
    ),
    (
        "native/peer-localasn",
        "there is one mode here, and it has a local AS number",
    ),
    (
        "native/adv-v6-pool",
        "there is one mode here, and it has IPv6",
    ),
    (
        "native/large-community",
        "there is one mode here, and it has large communities",
    ),
    (
        "native/large-community-cr",
        "there is one mode here, and it has large communities",
    ),
    (
        "native/identical",
        "two sessions from one node to one address are a clash, as in MetalLB's other modes",
    ),
    (
        "native/myasn-differs",
        "one node is in one AS within a VRF, as in MetalLB's other modes",
    ),
];

#[test]
fn every_recorded_verdict_is_ours() {
    let mut failures = Vec::new();
    let (mut at_webhook, mut before) = (0, 0);
    for case in cases() {
        if case["by"] == "schema" || case["by"] == "cel" || case["operation"] == "UPDATE_STATUS" {
            before += 1;
            continue;
        }
        at_webhook += 1;
        let response = response(&case, &world(&case));
        let agrees = response["allowed"] == case["allowed"] && warnings_agree(&case, &response);
        if agrees == is_otherwise(OTHERWISE, &case) {
            failures.push(format!("{}: {response}", name(&case)));
        }
        if agrees && case["allowed"] == false {
            failures.extend(badly_refused(&case, &response));
        }
    }
    assert_none(&failures);
    assert!(at_webhook >= AT_WEBHOOK_MIN, "only {at_webhook} cases");
    assert!(
        before >= BEFORE_MIN,
        "only {before} cases are the API server's"
    );
    assert_recorded(OTHERWISE, &cases());
}

/// As just after a start: what can be said without other objects is said, the rest is asked for again.
#[test]
fn without_the_other_objects_no_verdict_is_another() {
    let (mut same, mut later) = (0, 0);
    for case in cases() {
        if case["by"] == "schema" || case["by"] == "cel" || case["operation"] == "UPDATE_STATUS" {
            continue;
        }
        let known = response(&case, &world(&case));
        let unknown = response(&case, &Given::Unknown);
        if unknown["status"]["code"] == 503 {
            let message = unknown["status"]["message"].as_str().unwrap();
            assert!(message.contains("try again"), "{message}");
            later += 1;
        } else {
            assert_eq!(unknown, known, "{}", name(&case));
            same += 1;
        }
    }
    assert!(same > 80 && later > 100, "{same} {later}");
}

/// The warnings that do not come from the API server itself.
fn warnings_agree(case: &Value, response: &Value) -> bool {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut expected = list(&case["warnings"]);
    expected.retain(|warning| {
        let text = warning.as_str().unwrap();
        !text.contains("unknown field") && !text.contains("please use v1beta2")
    });
    let ours = list(&response["warnings"]);
    let ours: Vec<Value> = ours
        .iter()
        .map(|text| format!("299 - {text}").into())
        .collect();
    ours == expected
}

/// What is missing in a refusal: the status as MetalLB's, and the object's kind and name.
fn badly_refused(case: &Value, response: &Value) -> Option<String> {
    let status = &response["status"];
    let message = status["message"].as_str().unwrap();
    let (kind, object) = (&case["submit"]["kind"], &case["submit"]["metadata"]["name"]);
    let has = |text: &Value| message.contains(text.as_str().unwrap());
    let is_good = has(kind)
        && has(object)
        && status["code"] == case["status"]
        && status.get("reason") == case.get("reason");
    (!is_good).then(|| format!("{}: {response}", name(case)))
}

/// What the webhook says to a case: a v1beta1 object comes to it converted, as the API server sends it.
fn response(case: &Value, given: &Given) -> Value {
    let mut submit = case["submit"].clone();
    if submit["kind"] == "BGPPeer" && submit["apiVersion"] == "metallb.io/v1beta1" {
        submit = converted(&submit, "metallb.io/v1beta2");
    }
    let before = case["given"].as_array().unwrap().iter();
    let mut before = before.filter(|given| {
        given["kind"] == submit["kind"] && given["metadata"]["name"] == submit["metadata"]["name"]
    });
    let (object, old) = match case["operation"].as_str().unwrap() {
        "CREATE" => (submit.clone(), Value::Null),
        "UPDATE" => (submit.clone(), before.next().cloned().unwrap()),
        "DELETE" => (Value::Null, before.next().cloned().unwrap()),
        other => panic!("{other}"),
    };
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "operation": case["operation"],
            "name": submit["metadata"]["name"],
            "namespace": submit["metadata"]["namespace"],
            "object": object,
            "oldObject": old,
        },
    });
    let body = post(path(&submit), &review, given);
    assert_eq!(body["response"]["uid"], "u");
    body["response"].clone()
}

fn path(submit: &Value) -> &'static str {
    let kind = submit["kind"].as_str().unwrap();
    let mut paths = admission::PATHS.iter();
    let path = paths.find(|(_, known)| known.as_str() == kind);
    path.unwrap_or_else(|| panic!("no path for {kind}")).0
}

fn converted(object: &Value, to: &str) -> Value {
    let review = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "ConversionReview",
        "request": {"uid": "u", "desiredAPIVersion": to, "objects": [object]},
    });
    let body = post(admission::CONVERT, &review, &Given::Unknown);
    body["response"]["convertedObjects"][0].clone()
}

fn post(path: &str, body: &Value, given: &Given) -> Value {
    let body = body.to_string();
    let answer = admission::answer(path, body.as_bytes(), given, DEFAULT_NAMESPACE);
    assert_eq!(answer.status, 200);
    serde_json::from_slice(&answer.body).unwrap()
}

fn world(case: &Value) -> Given {
    let mut world = World::default();
    for object in case["given"].as_array().unwrap() {
        for read in manifest::read("api", &object.to_string(), DEFAULT_NAMESPACE).objects {
            world.put(read);
        }
    }
    Given::Known(Arc::new(world))
}

/// As many are recorded; a suite that shrinks is a mistake.
const AT_WEBHOOK_MIN: usize = 230;
const BEFORE_MIN: usize = 45;
