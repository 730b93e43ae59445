//! Server-side apply: from the request's body to a write.
//!
//! Who owns what is up to [`crate::apply`]; here are the checks before, and the way into the store.

use super::settle::lists;
use super::{Way, check_name, key, make, seconds, update};
use crate::answer::{Answer, Refusal};
use crate::apply::{self, Manager};
use crate::call::{Call, Stop};
use crate::store::Store;
use crate::value::{take, text};
use crate::{body, read};
use serde_json::{Value, json};

/// Applies the request's body.
pub(super) fn apply(store: &mut Store, call: &Call<'_>) -> Result<Answer, Stop> {
    let mut wanted = read_body(call)?;
    let stored = store.get(&key(call, &call.target.name)).cloned();
    let live = match &stored {
        Some(stored) => Some(read::in_version(call, stored)?),
        None if call.is_status() => return Err(Refusal::not_found(&call.target.about()).into()),
        None => None,
    };
    let revision = text(&wanted["metadata"]["resourceVersion"]);
    if let Some(live) = &live
        && !revision.is_empty()
        && live["metadata"]["resourceVersion"] != *revision
    {
        return Err(Refusal::conflict(&call.target.about(), super::STALE).into());
    }
    cut(call, &mut wanted);
    let (name, time) = (call.request.manager(), seconds(call));
    let manager = Manager {
        name: &name,
        subresource: &call.target.subresource,
        time: Some(&time),
    };
    let force = call.request.says("force");
    let merged = apply::apply(live.as_ref(), &wanted, manager, force, &lists(call));
    let merged = merged.map_err(|conflict| refuse(&conflict))?;
    match stored {
        None => make(store, call, merged, Way::Apply),
        Some(stored) => update(store, call, &stored, merged, Way::Apply),
    }
}

fn read_body(call: &Call<'_>) -> Result<Value, Stop> {
    let wanted = body::value_or(call, |why| {
        Refusal::bad(format!(
            "error decoding YAML: error converting YAML to JSON: yaml: {why}"
        ))
    })?;
    let (kind, version) = (text(&wanted["kind"]), text(&wanted["apiVersion"]));
    if kind.is_empty() || version.is_empty() {
        return Err(Refusal::bad(format!("invalid object type: /{version}, Kind={kind}")).into());
    }
    if kind != call.kind.kind || version != call.api_version() {
        body::check_type(call, &wanted)?;
    }
    check_name(call, &wanted)?;
    if wanted["metadata"].get("managedFields").is_some() {
        return Err(Refusal::bad("metadata.managedFields must be nil").into());
    }
    Ok(wanted)
}

/// Takes away what the path may not write.
fn cut(call: &Call<'_>, wanted: &mut Value) {
    if !call.version().has_status {
        return;
    }
    if !call.is_status() {
        take(wanted, "status");
    } else if call.kind.is_custom() {
        let kept = ["apiVersion", "kind", "metadata", "status"];
        if let Some(fields) = wanted.as_object_mut() {
            fields.retain(|key, _| kept.contains(&key.as_str()));
        }
        wanted["metadata"] = json!({"name": call.target.name});
    }
}

fn refuse(conflict: &apply::Conflict) -> Refusal {
    let mut refusal = match conflict.code {
        409 => Refusal::new(409, "Conflict", conflict.message.clone()),
        _other => Refusal::plain_500(conflict.message.clone()),
    };
    if !conflict.causes.is_empty() {
        let causes = conflict.causes.iter().map(|(field, message)| {
            json!({"reason": "FieldManagerConflict", "message": message, "field": field})
        });
        refusal.details = Some(json!({"causes": causes.collect::<Vec<_>>()}));
    }
    refusal
}
