//! Patches: merge (RFC 7386), JSON (RFC 6902) and server-side apply.

use super::{Way, apply, check_name, key, strange_namespace, update};
use crate::answer::{Answer, Refusal};
use crate::call::{Call, Stop};
use crate::schema::Cause;
use crate::store::Store;
use crate::value::text;
use crate::{body, builtin, read};
use serde_json::{Value, json};

/// Changes an object by the request's body.
pub(crate) fn patch(store: &mut Store, call: &Call<'_>) -> Result<Answer, Stop> {
    super::options(call, "PatchOptions")?;
    let content = call
        .request
        .content_type
        .split(';')
        .next()
        .unwrap_or_default();
    let form = match content {
        MERGE => patch_merge,
        JSON => patch_json,
        APPLY => return apply::apply(store, call),
        _other => return Err(unknown_form(call).into()),
    };
    let Some(stored) = store.get(&key(call, &call.target.name)).cloned() else {
        return Err(Refusal::not_found(&call.target.about()).into());
    };
    let old = read::in_version(call, &stored)?;
    let mut new = form(call, old.clone())?;
    check_name(call, &new)?;
    if text(&new["metadata"]["namespace"]) != call.target.namespace {
        return Err(strange_namespace().into());
    }
    if call.kind.plural == "leases"
        && let Err(time) = builtin::lease_times(&mut new)
    {
        return Err(unreadable(&new, &time).into());
    }
    update(store, call, &stored, new, Way::Update)
}

fn patch_merge(call: &Call<'_>, mut object: Value) -> Result<Value, Stop> {
    let patch = body::value_or(call, |why| {
        Refusal::bad(format!("error decoding patch: {why}"))
    })?;
    if !patch.is_object() {
        let why = "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}";
        return Err(Refusal::bad(why).into());
    }
    json_patch::merge(&mut object, &patch);
    Ok(object)
}

fn patch_json(call: &Call<'_>, mut object: Value) -> Result<Value, Stop> {
    let patch = body::value_or(call, |why| {
        Refusal::bad(format!("error decoding patch: {why}"))
    })?;
    let Some(operations) = patch.as_array() else {
        let why = "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp";
        return Err(Refusal::bad(why).into());
    };
    for operation in operations {
        let mut operation = operation.clone();
        // The server replaces a member that is not there.
        let pointer = text(&operation["path"]);
        if operation["op"] == "replace" && object.pointer(&pointer).is_none() {
            operation["op"] = json!("add");
        }
        let parsed = serde_json::from_value::<json_patch::PatchOperation>(operation);
        let done = parsed
            .map_err(drop)
            .and_then(|operation| json_patch::patch(&mut object, &[operation]).map_err(drop));
        if done.is_err() {
            let mut refusal = Refusal::new(422, "Invalid", REJECTED);
            refusal.details = Some(json!({}));
            return Err(refusal.into());
        }
    }
    Ok(object)
}

/// The refusal of a patch whose outcome cannot be decoded: it shows the whole object.
fn unreadable(object: &Value, time: &str) -> Refusal {
    let shown = json!(object.to_string());
    let why = builtin::time_fault(time);
    let message = format!("Invalid value: {shown}: {why}");
    let causes = json!([{"reason": "FieldValueInvalid", "message": message, "field": "patch"}]);
    let mut refusal = Refusal::new(
        422,
        "Invalid",
        format!(" \"\" is invalid: patch: {message}"),
    );
    refusal.details = Some(json!({"causes": causes}));
    refusal
}

/// What is wrong with the options that only patches have.
pub(super) fn option_faults(call: &Call<'_>, content: &str) -> Vec<Cause> {
    let request = call.request;
    let manager = request.query("fieldManager");
    let mut causes = Vec::new();
    if content != APPLY && !request.query("force").is_empty() {
        causes.push(Cause::forbidden(
            "force",
            "may not be specified for non-apply patch",
        ));
    }
    if content == APPLY && manager.is_empty() {
        causes.push(Cause::wanted("fieldManager", "is required for apply patch"));
    }
    if manager.len() > MANAGER_MAX {
        causes.push(Cause::too_long("fieldManager", MANAGER_MAX as u64));
    }
    causes
}

fn unknown_form(call: &Call<'_>) -> Refusal {
    let content = call.request.content_type.as_str();
    let known = [JSON, MERGE, APPLY];
    if content == STRATEGIC {
        let why = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            known.join(", ")
        );
        return Refusal::new(415, "UnsupportedMediaType", why);
    }
    let mut refusal = Refusal::new(415, "UnsupportedMediaType", "415: Unsupported Media Type");
    refusal.details = Some(json!({}));
    refusal
}

/// Letters of a field manager's name.
const MANAGER_MAX: usize = 128;

const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const REJECTED: &str = "the server rejected our request due to an error in our request";
