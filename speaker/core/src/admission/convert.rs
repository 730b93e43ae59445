//! ConversionReview: BGPPeers of one version as the other.

use super::Answer;
use super::review::json_answer;
use crate::crd::conversion::{self, Version};
use crate::key::Kind;
use serde_json::{Map, Value, json};

/// Converts every object of a review, or says why none is.
pub(super) fn answer(body: &[u8]) -> Answer {
    let unread = Answer {
        status: 400,
        body: Vec::new(),
    };
    let Ok(Value::Object(mut review)) = serde_json::from_slice(body) else {
        return unread;
    };
    let Some(Value::Object(mut request)) = review.remove("request") else {
        return unread;
    };
    let desired = request.get("desiredAPIVersion").and_then(Value::as_str);
    let desired = desired.unwrap_or("").to_owned();
    let objects = match request.remove("objects") {
        Some(Value::Array(objects)) => objects,
        Some(_) | None => Vec::new(),
    };
    let converted: Result<Vec<Value>, String> = objects
        .into_iter()
        .enumerate()
        .map(|(i, object)| convert(object, &desired).map_err(|why| format!("objects[{i}] {why}")))
        .collect();
    let (objects, result) = match converted {
        Ok(objects) => (objects, json!({"metadata": {}, "status": "Success"})),
        Err(why) => {
            let result = json!({"metadata": {}, "status": "Failure", "message": why});
            (Vec::new(), result)
        }
    };
    let objects = Some(objects).filter(|objects| !objects.is_empty());
    json_answer(&json!({
        "kind": review.get("kind").cloned().unwrap_or_else(|| KIND.into()),
        "apiVersion": review.get("apiVersion").cloned().unwrap_or_else(|| VERSION.into()),
        "response": {
            "uid": request.get("uid").cloned().unwrap_or_else(|| "".into()),
            "convertedObjects": objects,
            "result": result,
        },
    }))
}

fn convert(object: Value, desired: &str) -> Result<Value, String> {
    let Value::Object(object) = object else {
        return Err("is no object".to_owned());
    };
    let text = |field: &str| text(&object, field);
    let (version, kind) = (text("apiVersion"), text("kind"));
    if kind != Kind::BgpPeer.as_str() {
        return Err(format!("is a {kind:?}, and only BGPPeers are converted"));
    }
    match (Version::of(version), Version::of(desired)) {
        (Some(from), Some(to)) if from != to => Ok(Value::Object(conversion::convert(object, to))),
        (Some(_), Some(_)) => Err(format!("is of version {desired} already")),
        (None, _) | (Some(_), None) => Err(format!("cannot be made {desired:?} of {version:?}")),
    }
}

fn text<'a>(object: &'a Map<String, Value>, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or("")
}

const KIND: &str = "ConversionReview";
const VERSION: &str = "apiextensions.k8s.io/v1";
