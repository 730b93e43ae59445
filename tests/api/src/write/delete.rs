//! Deletion: preconditions, finalizers, and what is answered.

use super::key;
use crate::answer::{About, Answer, Refusal};
use crate::call::{Call, Stop};
use crate::schema::Cause;
use crate::store::{Key, Store};
use crate::value::{take, text};
use crate::{body, hooks, read};
use serde_json::{Value, json};
use std::sync::Arc;

/// Deletes one object, or marks it as ending while finalizers hold it.
pub(crate) fn delete(store: &mut Store, call: &Call<'_>) -> Result<Answer, Stop> {
    let options = options(call)?;
    let name = &call.target.name;
    let Some(stored) = store.get(&key(call, name)).cloned() else {
        return Err(Refusal::not_found(&call.target.about()).into());
    };
    check(call, &options, &stored)?;
    let old = read::in_version(call, &stored)?;
    hooks::admit(store, call, "DELETE", None, Some(&old))?;
    let is_dry = call.request.is_dry() || options["dryRun"][0] == "All";
    let (last, is_held) = if is_dry {
        (stored.clone(), false)
    } else {
        end(store, call, &key(call, name), &options)
    };
    // Some kinds answer with what was deleted, and all do while it is still there.
    if is_held || SHOWN.contains(&call.kind.plural.as_str()) {
        return Ok(Answer::json(200, read::present(call, &last)?));
    }
    let mut details =
        json!({"name": name, "kind": call.target.plural, "uid": stored["metadata"]["uid"]});
    if !call.target.group.is_empty() {
        details["group"] = json!(call.target.group);
    }
    Ok(Answer::json(
        200,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
        }),
    ))
}

/// Deletes every object that the selectors name and answers with the list as it was.
pub(crate) fn delete_collection(store: &mut Store, call: &Call<'_>) -> Result<Answer, Stop> {
    let options = options(call)?;
    let answer = read::list(store, call)?;
    let selector = read::selector(call)?;
    let resource = call.kind.resource();
    let found: Vec<_> = store
        .range(&resource, &call.target.namespace)
        .filter(|(_, object)| selector.matches(object))
        .map(|(key, object)| (key.clone(), Arc::clone(object)))
        .collect();
    for (_, object) in &found {
        let old = read::in_version(call, object)?;
        hooks::admit(store, call, "DELETE", None, Some(&old))?;
    }
    if !call.request.is_dry() {
        for (key, _) in &found {
            end(store, call, key, &options);
        }
    }
    Ok(answer)
}

/// Ends an object. Returns it as it is, or was at its end, and whether something still holds it.
fn end(store: &mut Store, call: &Call<'_>, key: &Key, options: &Value) -> (Arc<Value>, bool) {
    let Some(stored) = store.get(key).cloned() else {
        return (Arc::new(Value::Null), false);
    };
    let mut object = (*stored).clone();
    let metadata = &mut object["metadata"];
    let policy = match text(&options["propagationPolicy"]).as_str() {
        "" => call.request.query("propagationPolicy").to_owned(),
        named => named.to_owned(),
    };
    let added = match policy.as_str() {
        "Foreground" => Some("foregroundDeletion"),
        "Orphan" => Some("orphan"),
        _background => None,
    };
    let mut finalizers = metadata["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    finalizers.extend(added.map(|name| json!(name)));
    let is_namespace = call.kind.resource() == "namespaces";
    if finalizers.is_empty() && !is_namespace {
        let last = store.remove(key);
        return (last.unwrap_or(stored), false);
    }
    if metadata["deletionTimestamp"].is_string() {
        return (stored, true);
    }
    metadata["deletionTimestamp"] = json!(super::seconds(call));
    if is_namespace {
        // Nobody empties it here, so it stays like this.
        object["status"]["phase"] = json!("Terminating");
        take(&mut object["metadata"], "finalizers");
    } else {
        metadata["finalizers"] = json!(finalizers);
        metadata["deletionGracePeriodSeconds"] = json!(0);
        if crate::meta::has_generation(&call.kind) {
            let generation = metadata["generation"].as_u64().unwrap_or_default();
            metadata["generation"] = json!(generation + 1);
        }
    }
    (store.put(key.clone(), object), true)
}

fn options(call: &Call<'_>) -> Result<Value, Stop> {
    if call.request.body.is_empty() {
        return Ok(Value::Null);
    }
    let options = body::value(call)?;
    let policy = text(&options["propagationPolicy"]);
    if policy.is_empty() || POLICIES.contains(&policy.as_str()) {
        return Ok(options);
    }
    let known = ["Foreground", "Background", "Orphan", "nil"];
    let causes = [Cause::unlisted("propagationPolicy", &json!(policy), &known)];
    Err(Refusal::invalid(&About::options("DeleteOptions"), &causes).into())
}

fn check(call: &Call<'_>, options: &Value, stored: &Value) -> Result<(), Stop> {
    let metadata = &stored["metadata"];
    let about = About {
        kind: call.kind.kind.clone(),
        ..call.target.about()
    };
    for (key, field, hint) in [
        (
            "uid",
            "UID",
            "The object might have been deleted and then recreated",
        ),
        (
            "resourceVersion",
            "ResourceVersion",
            "The object might have been modified",
        ),
    ] {
        let wanted = text(&options["preconditions"][key]);
        let there = text(&metadata[key]);
        if !wanted.is_empty() && wanted != there {
            let why = format!(
                "the {field} in the precondition ({wanted}) does not match the {field} in record ({there}). {hint}"
            );
            return Err(Refusal::conflict(&about, &why).into());
        }
    }
    Ok(())
}

/// Kinds whose deletion is answered with the object.
const SHOWN: &[&str] = &["services", "pods", "serviceaccounts"];

const POLICIES: &[&str] = &["Foreground", "Background", "Orphan"];
