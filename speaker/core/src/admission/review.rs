//! AdmissionReview: the request taken apart, and the verdict put into its answer.

use super::verdict::{self, Asked, Operation, Request, Verdict};
use super::{Answer, Given};
use crate::key::{Kind, ObjectKey};
use crate::manifest;
use serde_json::{Map, Value, json};

/// What of a review is echoed.
struct Envelope {
    api_version: String,
    uid: String,
}

/// Judges the object in a review.
pub(super) fn answer(kind: Kind, body: &[u8], given: &Given, namespace: &str) -> Answer {
    judged(kind.as_str(), body, |asked| {
        let request = Request {
            operation: asked.operation,
            key: ObjectKey::new(kind, asked.namespace, asked.name),
            object: asked.object,
            is_leaving: asked.is_leaving,
        };
        verdict::judge(request, given, namespace)
    })
}

/// Judges the MetalLB in a review.
pub(super) fn answer_metallb(body: &[u8]) -> Answer {
    judged(METALLB, body, verdict::judge_metallb)
}

fn judged(kind: &str, body: &[u8], judge: impl FnOnce(Asked) -> Verdict) -> Answer {
    if body.is_empty() {
        return malformed("request body is empty");
    }
    let review = match serde_json::from_slice(body) {
        Ok(Value::Object(review)) => review,
        Ok(_) => return malformed("request body is no JSON object"),
        Err(error) => return malformed(&format!("request body is no JSON: {error}")),
    };
    let (envelope, mut request) = match open(review) {
        Ok(opened) => opened,
        Err(why) => return malformed(&why),
    };
    let verdict = match read(kind, &mut request) {
        Ok(Some(asked)) => judge(asked),
        Ok(None) => Verdict::allowed(),
        Err(why) => Verdict::Undecodable(why),
    };
    envelope.seal(verdict)
}

/// The answer to what is no review.
pub(super) fn malformed(why: &str) -> Answer {
    json_answer(&json!({"response": response("", Verdict::Undecodable(why.to_owned()))}))
}

/// The envelope of a review and its request. A review that does not name its version is taken for the newest.
fn open(mut review: Map<String, Value>) -> Result<(Envelope, Map<String, Value>), String> {
    let text = |field: &str| review.get(field).and_then(Value::as_str).unwrap_or("");
    let (version, kind) = (text("apiVersion"), text("kind"));
    let api_version = match (version, kind) {
        ("", "" | "AdmissionReview") => VERSIONS[0],
        (version, "" | "AdmissionReview") if VERSIONS.contains(&version) => version,
        (version, kind) => {
            return Err(format!(
                "{kind:?} of {version:?} is no AdmissionReview of {} or {}",
                VERSIONS[0], VERSIONS[1]
            ));
        }
    };
    let api_version = api_version.to_owned();
    let Some(Value::Object(request)) = review.remove("request") else {
        return Err("request is missing".to_owned());
    };
    let uid = request.get("uid").and_then(Value::as_str).unwrap_or("");
    let uid = uid.to_owned();
    Ok((Envelope { api_version, uid }, request))
}

/// The object to be judged, or `None` for an operation that asks for no judgement.
fn read(kind: &str, request: &mut Map<String, Value>) -> Result<Option<Asked>, String> {
    let operation = match request.get("operation").and_then(Value::as_str) {
        Some("CREATE") => Operation::Create,
        Some("UPDATE") => Operation::Update,
        Some("DELETE") => Operation::Delete,
        Some(_) | None => return Ok(None),
    };
    let (object, is_leaving) = match operation {
        Operation::Create => (content("object", request)?, false),
        Operation::Delete => (content("oldObject", request)?, false),
        Operation::Update => {
            let (new, old) = (content("object", request)?, content("oldObject", request)?);
            let is_leaving = is_leaving(&new, &old);
            (new, is_leaving)
        }
    };
    let found = object.get("kind").and_then(Value::as_str).unwrap_or("");
    if found != kind {
        return Err(format!("the object is a {found:?} and no {kind}"));
    }
    Ok(Some(Asked {
        operation,
        namespace: named("namespace", &object, request),
        name: named("name", &object, request),
        object,
        is_leaving,
    }))
}

/// The object in a field, with nulls as the API server takes them.
fn content(field: &str, request: &mut Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut object = request.remove(field).unwrap_or(Value::Null);
    manifest::settle_nulls(&mut object, false);
    match object {
        Value::Object(object) => Ok(object),
        Value::Null => Err(format!("there is no content to decode in {field}")),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(format!("{field} is no object"))
        }
    }
}

/// Whether an object that is deleted already changes in its metadata only.
fn is_leaving(new: &Map<String, Value>, old: &Map<String, Value>) -> bool {
    let deleted = old.get("metadata").and_then(|m| m.get("deletionTimestamp"));
    deleted.is_some() && new.get("spec") == old.get("spec")
}

/// A name from the object's metadata, else from the request.
fn named(field: &str, object: &Map<String, Value>, request: &Map<String, Value>) -> String {
    let in_object = object.get("metadata").and_then(|m| m.get(field));
    let name = in_object.or(request.get(field)).and_then(Value::as_str);
    name.unwrap_or("").to_owned()
}

impl Envelope {
    fn seal(self, verdict: Verdict) -> Answer {
        json_answer(&json!({
            "kind": "AdmissionReview",
            "apiVersion": self.api_version,
            "response": response(&self.uid, verdict),
        }))
    }
}

fn response(uid: &str, verdict: Verdict) -> Value {
    let refused = |code: u16, reason: Option<&str>, message: String| {
        let mut status = json!({"metadata": {}, "message": message, "code": code});
        if let Some(reason) = reason {
            status["reason"] = reason.into();
        }
        json!({"uid": uid, "allowed": false, "status": status})
    };
    match verdict {
        Verdict::Allowed { warnings } => {
            let status = json!({"metadata": {}, "code": 200});
            let mut response = json!({"uid": uid, "allowed": true, "status": status});
            if !warnings.is_empty() {
                response["warnings"] = warnings.into();
            }
            response
        }
        Verdict::Refused(why) => refused(403, Some("Forbidden"), why),
        Verdict::Undecodable(why) => refused(400, None, why),
        Verdict::NotYet(why) => refused(503, Some("ServiceUnavailable"), why),
    }
}

pub(super) fn json_answer(body: &Value) -> Answer {
    Answer {
        status: 200,
        body: body.to_string().into_bytes(),
    }
}

/// The kind that the operator judges.
const METALLB: &str = "MetalLB";
const VERSIONS: [&str; 2] = ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"];
