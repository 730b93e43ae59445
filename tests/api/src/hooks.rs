//! Webhooks: which are to be asked about a write or a conversion, and what their replies mean.
//!
//! Governed by the "Dynamic Admission Control" and "Versions in CustomResourceDefinitions" pages; the words of failures are the
//! recorded ones. Asking itself is up to [`super::post`].

use crate::answer::Refusal;
use crate::call::{Call, Question, Reply, Stop};
use crate::policies;
use crate::select;
use crate::store::{Key, Store};
use crate::value::{each, take, text};
use serde_json::{Value, json};

/// What a webhook is shown of a write, in the version that its rules ask for.
struct Shown<'a> {
    operation: &'a str,
    version: &'a str,
    object: Option<Value>,
    old: Option<Value>,
}

/// Judges by policies, then asks every validating webhook whose rules fit. Refused in the words of the first that refuses.
pub(crate) fn admit(
    store: &Store,
    call: &Call<'_>,
    operation: &str,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), Stop> {
    // A webhook cannot guard its own registration.
    if call.kind.group == "admissionregistration.k8s.io" {
        return Ok(());
    }
    policies::admit(store, call, operation, object, old)?;
    let mut concerned = Vec::new();
    for (_, configuration) in store.range(CONFIGURATIONS, "") {
        for hook in each(&configuration["webhooks"]) {
            let Some(version) = version(call, operation, hook) else {
                continue;
            };
            if !is_selected(store, call, object.or(old), hook) {
                continue;
            }
            // Every webhook's version is there before the first webhook is asked.
            let shown = Shown {
                operation,
                version,
                old: in_version(call, old, version)?,
                object: in_version(call, object, version)?,
            };
            concerned.push((hook, shown));
        }
    }
    for (hook, shown) in &concerned {
        admit_by(call, shown, hook)?;
    }
    Ok(())
}

/// The version in which a webhook asks to see the write; None if no rule of it fits. A rule for the request's own version goes
/// first; by `matchPolicy: Equivalent` one for another version of the kind does too.
fn version<'a>(call: &'a Call<'_>, operation: &str, hook: &Value) -> Option<&'a str> {
    let own = call.target.version.as_str();
    let rules = || each(&hook["rules"]);
    if rules().any(|rule| is_ruled(call, operation, own, rule)) {
        return Some(own);
    }
    if hook["matchPolicy"] != "Equivalent" {
        return None;
    }
    let versions = call.kind.versions.iter().map(|version| &*version.name);
    rules().find_map(|rule| {
        let mut others = versions.clone().filter(|other| *other != own);
        others.find(|other| is_ruled(call, operation, other, rule))
    })
}

/// Whether a rule is about such a request.
pub(crate) fn is_ruled(call: &Call<'_>, operation: &str, version: &str, rule: &Value) -> bool {
    let target = &call.target;
    let resource = match target.subresource.as_str() {
        "" => target.plural.clone(),
        sub => format!("{}/{sub}", target.plural),
    };
    let has = |words: &Value, word: &str| each(words).any(|each| each == word || each == "*");
    has(&rule["operations"], operation)
        && has(&rule["apiGroups"], &target.group)
        && has(&rule["apiVersions"], version)
        && has(&rule["resources"], &resource)
}

/// Whether selectors of namespace and object fit.
pub(crate) fn is_selected(
    store: &Store,
    call: &Call<'_>,
    object: Option<&Value>,
    hook: &Value,
) -> bool {
    let place = Key::new("namespaces", "", &call.target.namespace);
    let namespace = store
        .get(&place)
        .map(|namespace| &namespace["metadata"]["labels"]);
    let is_near = !call.kind.is_namespaced
        || select::fits(
            &hook["namespaceSelector"],
            namespace.unwrap_or(&Value::Null),
        );
    let labels = object.map_or(&Value::Null, |object| &object["metadata"]["labels"]);
    is_near && select::fits(&hook["objectSelector"], labels)
}

/// As converted, and nothing more: what the version would add is not in it.
fn in_version(
    call: &Call<'_>,
    object: Option<&Value>,
    version: &str,
) -> Result<Option<Value>, Stop> {
    let Some(object) = object else {
        return Ok(None);
    };
    if version == call.target.version {
        return Ok(Some(object.clone()));
    }
    match convert(call, vec![object.clone()], version) {
        Ok(mut converted) => Ok(converted.pop()),
        Err(Stop::Refused(why)) => Err(Refusal::internal(&why.message).into()),
        Err(ask @ Stop::Ask(_)) => Err(ask),
    }
}

fn admit_by(call: &Call<'_>, shown: &Shown<'_>, hook: &Value) -> Result<(), Stop> {
    let uid = call.review_uid();
    let target = &call.target;
    let kind =
        |version: &str| json!({"group": target.group, "version": version, "kind": call.kind.kind});
    let resource = |version: &str| json!({"group": target.group, "version": version, "resource": target.plural});
    let Shown {
        operation,
        version,
        object,
        old,
    } = shown;
    let name = object.as_ref().or(old.as_ref());
    let name = name.map(|object| text(&object["metadata"]["name"]));
    let options = match *operation {
        "CREATE" => "CreateOptions",
        "UPDATE" => "UpdateOptions",
        _delete => "DeleteOptions",
    };
    let mut request = json!({
        "uid": uid, "kind": kind(version), "resource": resource(version),
        "requestKind": kind(&target.version), "requestResource": resource(&target.version),
        "name": name, "operation": operation,
        "userInfo": {"username": call.user.name, "groups": call.user.groups},
        "object": object, "oldObject": old, "dryRun": call.request.is_dry(),
        "options": {"kind": options, "apiVersion": "meta.k8s.io/v1"},
    });
    if call.kind.is_namespaced {
        request["namespace"] = json!(target.namespace);
    }
    let question = Question {
        client: hook["clientConfig"].clone(),
        seconds: hook["timeoutSeconds"].as_u64().unwrap_or(HOOK_SECONDS),
        review: json!({"kind": "AdmissionReview", "apiVersion": ADMISSION, "request": request}),
    };
    let hook_name = text(&hook["name"]);
    let (asked, reply) = call.ask(question)?;
    match judge(reply, &text(&asked.review["request"]["uid"])) {
        Ok(response) => {
            for warning in each(&response["warnings"]) {
                call.warn(text(warning));
            }
            verdict(&hook_name, response)
        }
        // The server could not tell what the webhook thinks.
        Err(_) if hook["failurePolicy"] == "Ignore" => Ok(()),
        Err(why) => {
            let why = format!("failed calling webhook {hook_name:?}: {why}");
            Err(Refusal::internal(&why).into())
        }
    }
}

fn judge<'a>(reply: &'a Reply, uid: &str) -> Result<&'a Value, String> {
    let review = reply
        .as_ref()
        .map_err(|why| format!("failed to call webhook: {why}"))?;
    if review["apiVersion"] == "admission.k8s.io/v1beta1" {
        let why =
            "converting (v1beta1.AdmissionReview) to (v1.AdmissionReview): unknown conversion";
        return Err(format!("failed to call webhook: {why}"));
    }
    if review["apiVersion"] != ADMISSION || review["kind"] != "AdmissionReview" {
        return Err(
            "received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind="
                .to_owned(),
        );
    }
    let response = &review["response"];
    if response["uid"] != uid {
        let got = text(&response["uid"]);
        return Err(format!(
            "received invalid webhook response: expected response.uid={uid:?}, got {got:?}"
        ));
    }
    if !response["patch"].is_null() {
        let why = "validating webhook may not return response.patch";
        return Err(format!("received invalid webhook response: {why}"));
    }
    Ok(response)
}

fn verdict(hook: &str, response: &Value) -> Result<(), Stop> {
    if response["allowed"] == true {
        return Ok(());
    }
    let status = &response["status"];
    let code = status["code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok());
    let code = code.filter(|code| *code >= 400).unwrap_or(400);
    let reason = text(&status["reason"]);
    let why = [text(&status["message"]), reason.clone()]
        .into_iter()
        .find(|why| !why.is_empty());
    let message = match why {
        Some(why) => format!("admission webhook {hook:?} denied the request: {why}"),
        None => format!("admission webhook {hook:?} denied the request without explanation"),
    };
    Err(Refusal::new(code, &reason, message).into())
}

/// Objects in another version, by the definition's strategy. Metadata but for labels and annotations stays.
pub(crate) fn convert(
    call: &Call<'_>,
    objects: Vec<Value>,
    version: &str,
) -> Result<Vec<Value>, Stop> {
    let wanted = call.kind.api_version(version);
    let strange: Vec<_> = objects
        .iter()
        .filter(|object| object["apiVersion"] != wanted)
        .map(bare)
        .collect();
    let conversion = call.kind.conversion.as_ref();
    let conversion = conversion.filter(|conversion| conversion["strategy"] == "Webhook");
    let converted = match conversion {
        Some(conversion) if !strange.is_empty() => {
            let was = text(&strange[0]["apiVersion"]);
            let (uid, kind) = (call.review_uid(), &call.kind.kind);
            let request = json!({"uid": uid, "desiredAPIVersion": wanted, "objects": strange});
            let (_, reply) = call.ask(Question {
                client: conversion["webhook"]["clientConfig"].clone(),
                seconds: CONVERSION_SECONDS,
                review: json!({"kind": "ConversionReview", "apiVersion": CONVERSION, "request": request}),
            })?;
            converted(reply, &strange, &wanted).map_err(|why| {
                Refusal::plain_500(format!("conversion webhook for {was}, Kind={kind} {why}"))
            })?
        }
        _same => strange,
    };
    Ok(joined(objects, converted, &wanted))
}

/// What a conversion is asked with: the server sends no resourceVersion.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    take(&mut object["metadata"], "resourceVersion");
    take(&mut object["metadata"], "managedFields");
    object
}

/// The objects of a reply. Fails in the server's words.
fn converted(reply: &Reply, asked: &[Value], wanted: &str) -> Result<Vec<Value>, String> {
    let review = reply.as_ref().map_err(|why| format!("failed: {why}"))?;
    let response = &review["response"];
    if response["result"]["status"] != "Success" {
        let message = text(&response["result"]["message"]);
        return Err(format!("failed: {message}"));
    }
    let objects = response["convertedObjects"].as_array();
    let objects = objects.cloned().unwrap_or_default();
    if objects.len() != asked.len() {
        let (got, expected) = (objects.len(), asked.len());
        return Err(format!("returned {got} objects, expected {expected}"));
    }
    for (at, (object, was)) in objects.iter().zip(asked).enumerate() {
        if object["apiVersion"] != wanted {
            let got = text(&object["apiVersion"]);
            return Err(format!(
                "returned invalid object at index {at}: invalid groupVersion (expected {wanted}, received {got})"
            ));
        }
        let name = |object: &Value| text(&object["metadata"]["name"]);
        if name(object) != name(was) {
            let (was, got) = (name(was), name(object));
            return Err(format!(
                "returned invalid object: must have the same name: {was} != {got}"
            ));
        }
    }
    Ok(objects)
}

/// Puts converted objects in the places of those that needed it, with their own metadata.
fn joined(objects: Vec<Value>, converted: Vec<Value>, wanted: &str) -> Vec<Value> {
    let mut converted = converted.into_iter();
    let each = objects.into_iter().map(|object| {
        if object["apiVersion"] == wanted {
            return object;
        }
        let Some(mut new) = converted.next() else {
            return object;
        };
        let mut metadata = object["metadata"].clone();
        for key in ["labels", "annotations"] {
            match new["metadata"].get(key) {
                Some(value) => metadata[key] = value.clone(),
                None => take(&mut metadata, key),
            }
        }
        new["metadata"] = metadata;
        new["apiVersion"] = json!(wanted);
        new
    });
    each.collect()
}

const CONFIGURATIONS: &str = "validatingwebhookconfigurations.admissionregistration.k8s.io";

const ADMISSION: &str = "admission.k8s.io/v1";

const CONVERSION: &str = "apiextensions.k8s.io/v1";

/// The server's default.
const HOOK_SECONDS: u64 = 10;

/// Conversions have no field for it.
const CONVERSION_SECONDS: u64 = 30;

#[cfg(test)]
mod tests;
