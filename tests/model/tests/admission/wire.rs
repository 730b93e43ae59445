//! What MetalLB's webhook server answered to direct requests, and that ours answers in the same form: the same status, the same
//! JSON but for the texts of refusals.

use super::{Otherwise, WIRE, assert_none, assert_recorded, is_otherwise, lines, name};
use serde_json::Value;
use speaker_core::World;
use speaker_core::admission::{self, Answer, Given};
use speaker_core::manifest::DEFAULT_NAMESPACE;
use std::path::Path;
use std::sync::Arc;

const OTHERWISE: &Otherwise = &[(
    "convert-undecodable",
    "one refusal breaks every list of BGPPeers; the text stays as it is and the webhook refuses it when it is written",
)];

#[test]
fn every_recorded_answer_has_our_form() {
    let cases = recorded();
    let mut failures = Vec::new();
    for case in &cases {
        let answer = answered(case);
        let expected = &case["response"];
        let body = match serde_json::from_slice::<Value>(&answer.body) {
            Ok(body) => without_texts(body),
            Err(_) => String::from_utf8(answer.body).unwrap().into(),
        };
        let is_same =
            expected["status"] == answer.status && without_texts(expected["body"].clone()) == body;
        if is_same == is_otherwise(OTHERWISE, case) {
            failures.push(format!("{}: {} {body}", name(case), answer.status));
        }
    }
    assert_none(&failures);
    assert!(cases.len() >= CASES_MIN, "only {}", cases.len());
    assert_recorded(OTHERWISE, &cases);
}

/// A body of another content type does not come to the verdicts; the server has an answer of its own for it.
fn answered(case: &Value) -> Answer {
    let request = &case["request"];
    let body = match &request["body"] {
        Value::String(text) => text.clone(),
        json => json.to_string(),
    };
    let is_json = request["contentType"] == "application/json";
    if !is_json && !body.is_empty() {
        return admission::malformed("is not of content type application/json");
    }
    let given = Given::Known(Arc::new(World::default()));
    let path = request["path"].as_str().unwrap();
    admission::answer(path, body.as_bytes(), &given, DEFAULT_NAMESPACE)
}

/// The texts of refusals are our own.
fn without_texts(mut body: Value) -> Value {
    for place in ["/response/status/message", "/response/result/message"] {
        if let Some(text) = body.pointer_mut(place) {
            assert!(text.is_string());
            *text = "...".into();
        }
    }
    body
}

fn recorded() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/admission");
    lines(&folder.join(WIRE))
}

/// As many are recorded; a suite that shrinks is a mistake.
const CASES_MIN: usize = 33;
