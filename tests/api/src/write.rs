//! Writes: create, replace, patch, apply and delete, as the server carries them out.
//!
//! Governed by the "Kubernetes API Concepts" page, and by recorded exchanges where it is silent. A write is begun anew for
//! each reply of a webhook, and nothing is stored before the last one.

mod apply;
mod delete;
mod patch;
mod settle;

pub(crate) use delete::{delete, delete_collection};
pub(crate) use patch::patch;

use crate::answer::{About, Answer, Refusal};
use crate::call::{Call, Stop};
use crate::schema::Cause;
use crate::store::{Key, Store};
use crate::value::{take, text};
use crate::{body, builtin, hooks, meta, read, schema};
use serde_json::{Value, json};
use std::sync::Arc;

/// Makes an object of the request's body.
pub(crate) fn create(store: &mut Store, call: &Call<'_>) -> Result<Answer, Stop> {
    options(call, "CreateOptions")?;
    let object = body::object(call)?;
    make(store, call, object, Way::Update)
}

/// How a writer comes to own what it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By POST, PUT and plain patches; the owners are yet to be told.
    Update,
    /// By server-side apply, which told them already.
    Apply,
}

/// Replaces an object by the request's body.
pub(crate) fn replace(store: &mut Store, call: &Call<'_>) -> Result<Answer, Stop> {
    options(call, "UpdateOptions")?;
    let object = body::object(call)?;
    check_name(call, &object)?;
    let Some(old) = store.get(&key(call, &call.target.name)).cloned() else {
        // A Lease is made by whoever writes it first.
        if call.kind.plural == "leases" {
            return make(store, call, object, Way::Update);
        }
        return Err(Refusal::not_found(&call.target.about()).into());
    };
    update(store, call, &old, object, Way::Update)
}

/// Whether the object is the one that the path names.
fn check_name(call: &Call<'_>, object: &Value) -> Result<(), Refusal> {
    let (name, named) = (&call.target.name, text(&object["metadata"]["name"]));
    if named == *name {
        return Ok(());
    }
    let why =
        format!("the name of the object ({named}) does not match the name on the URL ({name})");
    Err(Refusal::bad(why))
}

/// What is said of an object that is in another namespace than the path.
fn strange_namespace() -> Refusal {
    let why =
        "the namespace of the provided object does not match the namespace sent on the request";
    Refusal::bad(why)
}

fn key(call: &Call<'_>, name: &str) -> Key {
    Key::new(&call.kind.resource(), &call.target.namespace, name)
}

fn make(store: &mut Store, call: &Call<'_>, mut object: Value, way: Way) -> Result<Answer, Stop> {
    check_namespace(store, call, &object)?;
    if !matches!(
        object["metadata"]["resourceVersion"].as_str(),
        None | Some("")
    ) {
        let why = "resourceVersion should not be set on objects to be created";
        return Err(Refusal::plain_500(why).into());
    }
    let now = seconds(call);
    let generation = object["metadata"]["generation"].clone();
    let target = &call.target;
    meta::make(
        &call.kind,
        &target.namespace,
        call.identity,
        &now,
        &mut object,
    );
    if !generation.is_null() && !meta::has_generation(&call.kind) {
        object["metadata"]["generation"] = generation;
    }
    if call.kind.is_custom() && call.version().has_status {
        take(&mut object, "status");
    }
    settle::settle(store, call, way, None, &mut object)?;
    hooks::admit(store, call, "CREATE", Some(&object), None)?;
    let name = text(&object["metadata"]["name"]);
    if let Some(there) = store.get(&key(call, &name)) {
        let is_ending = there["metadata"]["deletionTimestamp"].is_string();
        let about = target.about_name(&name);
        return Err(Refusal::exists(&about, is_ending).into());
    }
    let stored = to_storage(call, object)?;
    if call.request.is_dry() {
        return Ok(Answer::json(201, read::present(call, &Arc::new(stored))?));
    }
    // The answer may need a webhook too, and after the write nothing may stop.
    read::present(call, &Arc::new(stored.clone()))?;
    let object = store.put(key(call, &name), stored);
    let answer = read::present(call, &object)?;
    if let Some(accepted) = builtin::accept(&call.kind, &object, &now) {
        store.put(key(call, &name), accepted);
    }
    Ok(Answer::json(201, answer))
}

fn check_namespace(store: &Store, call: &Call<'_>, object: &Value) -> Result<(), Stop> {
    if !call.kind.is_namespaced {
        return Ok(());
    }
    let namespace = &call.target.namespace;
    let named = object["metadata"]["namespace"].as_str();
    if named.is_some_and(|named| !named.is_empty() && named != namespace) {
        return Err(strange_namespace().into());
    }
    let Some(there) = store.get(&Key::new("namespaces", "", namespace)) else {
        let about = About {
            kind: "namespaces".to_owned(),
            name: namespace.clone(),
            ..About::default()
        };
        return Err(Refusal::not_found(&about).into());
    };
    if there["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    let about = call.target.about_name(&text(&object["metadata"]["name"]));
    let mut refusal = Refusal::forbidden(&about, &why);
    if let Some(details) = &mut refusal.details {
        let message = format!("namespace {namespace} is being terminated");
        details["causes"] = json!([
            {"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"},
        ]);
    }
    Err(refusal.into())
}

/// Writes `new` over `old`, which is as stored; `new` is in the request's version.
fn update(
    store: &mut Store,
    call: &Call<'_>,
    stored: &Arc<Value>,
    mut new: Value,
    way: Way,
) -> Result<Answer, Stop> {
    check_based(call, stored, &new)?;
    let old = read::in_version(call, stored)?;
    let finalizers = new["metadata"]["finalizers"].clone();
    check_finalizers(call, &old, &finalizers)?;
    meta::keep(&call.kind, &old, &mut new);
    if call.is_status() {
        take_status(call, &old, &mut new);
    } else if call.version().has_status {
        match old.get("status") {
            Some(status) => new["status"] = status.clone(),
            None => take(&mut new, "status"),
        }
    }
    settle::settle(store, call, way, Some(&old), &mut new)?;
    let changed = meta::specification(&old) != meta::specification(&new);
    if changed && meta::has_generation(&call.kind) && !call.is_status() {
        let generation = old["metadata"]["generation"].as_u64().unwrap_or_default();
        new["metadata"]["generation"] = json!(generation + 1);
    }
    hooks::admit(store, call, "UPDATE", Some(&new), Some(&old))?;
    let next = to_storage(call, new)?;
    let next = Arc::new(next);
    let answer = read::present(call, &next)?;
    if call.request.is_dry() {
        return Ok(Answer::json(200, answer));
    }
    if crate::apply::is_same_but_for_times(&next, stored) {
        return Ok(Answer::json(200, read::present(call, stored)?));
    }
    let place = key(call, &call.target.name);
    let metadata = &next["metadata"];
    let is_over = metadata["deletionTimestamp"].is_string() && metadata["finalizers"].is_null();
    if is_over {
        store.remove(&place);
        return Ok(Answer::json(200, answer));
    }
    let object = store.put(place.clone(), Arc::unwrap_or_clone(next));
    let answer = read::present(call, &object)?;
    if let Some(accepted) = builtin::accept(&call.kind, &object, &seconds(call)) {
        store.put(place, accepted);
    }
    Ok(Answer::json(200, answer))
}

/// Whether the write knows the object as it is: same uid, same resourceVersion if it names one.
fn check_based(call: &Call<'_>, stored: &Value, new: &Value) -> Result<(), Stop> {
    let about = call.target.about();
    let (was, is) = (&stored["metadata"], &new["metadata"]);
    let uid = text(&is["uid"]);
    if !uid.is_empty() && is["uid"] != was["uid"] {
        let resource = call.kind.resource();
        let (namespace, name) = (&call.target.namespace, &call.target.name);
        let there = text(&was["uid"]);
        if call.request.method == "PATCH" {
            let cause = Cause::shown("metadata.uid", &is["uid"], "field is immutable");
            let causes = [cause.clone(), cause];
            return Err(Refusal::invalid(&call.about(stored), &causes).into());
        }
        let resource = match call.kind.is_custom() {
            true => format!("{}/{}", call.target.group, call.target.plural),
            false => resource,
        };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{resource}/{namespace}/{name}, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {there}"
        );
        return Err(Refusal::conflict(&about, &why).into());
    }
    let revision = text(&is["resourceVersion"]);
    if revision.is_empty() {
        if call.kind.is_custom() {
            let (field, why) = (
                "metadata.resourceVersion",
                "must be specified for an update",
            );
            let causes = [Cause::shown(field, &json!(0), why)];
            return Err(Refusal::invalid(&about, &causes).into());
        }
    } else if is["resourceVersion"] != was["resourceVersion"] {
        return Err(Refusal::conflict(&about, STALE).into());
    }
    Ok(())
}

fn check_finalizers(call: &Call<'_>, old: &Value, finalizers: &Value) -> Result<(), Stop> {
    if old["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let had = list(&old["metadata"]["finalizers"]);
    let added: Vec<_> = list(finalizers)
        .into_iter()
        .filter(|one| !had.contains(one))
        .map(|one| one.to_string())
        .collect();
    if added.is_empty() || call.is_status() {
        return Ok(());
    }
    let why = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    let cause = Cause::forbidden("metadata.finalizers", &why);
    // The server looks twice.
    let causes = [cause.clone(), cause];
    Err(Refusal::invalid(&call.about(old), &causes).into())
}

/// `/status` changes the status alone. Of a custom resource it changes no metadata either.
fn take_status(call: &Call<'_>, old: &Value, new: &mut Value) {
    let status = new.get("status").cloned();
    let metadata = new["metadata"].take();
    *new = old.clone();
    match status {
        Some(status) => new["status"] = status,
        None => take(new, "status"),
    }
    if !call.kind.is_custom() {
        new["metadata"] = metadata;
    } else if let Some(owners) = metadata.get("managedFields") {
        new["metadata"]["managedFields"] = owners.clone();
    }
}

fn to_storage(call: &Call<'_>, object: Value) -> Result<Value, Stop> {
    if !call.kind.is_custom() {
        return Ok(typed(call, object));
    }
    let version = call.kind.stored();
    let mut converted = hooks::convert(call, vec![object], &version.name)?;
    let mut object = converted.pop().unwrap_or_default();
    if version.name != call.target.version {
        schema::complete(&version.schema, &mut object);
    }
    Ok(object)
}

fn typed(call: &Call<'_>, mut object: Value) -> Value {
    object["apiVersion"] = json!(call.api_version());
    object["kind"] = json!(call.kind.kind);
    object
}

/// Now, as the server writes times.
fn seconds(call: &Call<'_>) -> String {
    format!("{:.0}", call.request.now)
}

/// Checks the options that every write has.
fn options(call: &Call<'_>, kind: &str) -> Result<(), Stop> {
    let dry = call.request.query("dryRun");
    let mut causes = Vec::new();
    if !matches!(dry, "" | "All") {
        causes.push(Cause::unlisted("dryRun", &json!([dry]), &["All"]));
    }
    let strictness = call.request.query("fieldValidation");
    if !FIELD_VALIDATIONS.contains(&strictness) {
        let field = "fieldValidation";
        causes.push(Cause::unlisted(
            field,
            &json!(strictness),
            FIELD_VALIDATIONS,
        ));
    }
    let content = call.request.content_type.as_str();
    if kind == "PatchOptions" {
        causes.extend(patch::option_faults(call, content));
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(Refusal::invalid(&About::options(kind), &causes).into())
}

const STALE: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

const FIELD_VALIDATIONS: &[&str] = &["", "Ignore", "Strict", "Warn"];
