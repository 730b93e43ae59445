//! Metadata: what the server fills in, what it keeps, and what names, labels and owners may look like.
//!
//! Governed by the "Object Names and IDs" and "Labels and Selectors" pages; the words are the recorded ones.

use crate::kinds::Kind;
use crate::schema::Cause;
use crate::value::{each, take, text};
use serde_json::{Map, Value, json};

/// Fills in a new object's metadata, whatever the client set there. `identity` is a fresh uid.
pub(crate) fn make(kind: &Kind, namespace: &str, identity: &str, now: &str, object: &mut Value) {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    let metadata = &mut object["metadata"];
    if !metadata["name"].is_string()
        && let Some(prefix) = metadata["generateName"].as_str()
    {
        metadata["name"] = json!(format!("{prefix}{}", suffix(identity)));
    }
    for key in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
    ] {
        take(metadata, key);
    }
    if kind.is_namespaced {
        metadata["namespace"] = json!(namespace);
    } else {
        take(metadata, "namespace");
    }
    metadata["uid"] = json!(identity);
    metadata["creationTimestamp"] = json!(now);
    if has_generation(kind) {
        metadata["generation"] = json!(1);
    }
    tidy(metadata);
}

/// Carries over what an update cannot change.
pub(crate) fn keep(kind: &Kind, old: &Value, new: &mut Value) {
    if !new["metadata"].is_object() {
        new["metadata"] = json!({});
    }
    let metadata = &mut new["metadata"];
    for key in [
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "resourceVersion",
    ] {
        match old["metadata"].get(key) {
            Some(value) => metadata[key] = value.clone(),
            None if key == "generation" && !has_generation(kind) => {}
            None => take(metadata, key),
        }
    }
    take(metadata, "selfLink");
    tidy(metadata);
}

/// Whether a kind counts the changes of its specification.
pub(crate) fn has_generation(kind: &Kind) -> bool {
    kind.is_custom() || COUNTED.contains(&kind.plural.as_str())
}

/// The object without metadata and status: what the generation counts.
pub(crate) fn specification(object: &Value) -> Map<String, Value> {
    let mut fields = object.as_object().cloned().unwrap_or_default();
    for key in ["metadata", "status", "apiVersion", "kind"] {
        fields.remove(key);
    }
    fields
}

/// Five letters as `generateName` appends them.
fn suffix(identity: &str) -> String {
    let digits: String = identity.chars().filter(char::is_ascii_hexdigit).collect();
    let mut number = u64::from_str_radix(&digits[digits.len() - 12..], 16).unwrap_or_default();
    number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    (0..5)
        .map(|_| {
            let letter = SUFFIX_LETTERS[(number % SUFFIX_LETTERS.len() as u64) as usize];
            number /= SUFFIX_LETTERS.len() as u64;
            char::from(letter)
        })
        .collect()
}

fn tidy(metadata: &mut Value) {
    let Some(fields) = metadata.as_object_mut() else {
        return;
    };
    fields.retain(|_, value| {
        !value.is_null()
            && value.as_object().is_none_or(|map| !map.is_empty())
            && value.as_array().is_none_or(|list| !list.is_empty())
    });
}

/// What is wrong with an object's metadata.
pub(crate) fn faults(kind: &Kind, object: &Value) -> Vec<Cause> {
    let metadata = &object["metadata"];
    let mut causes = Vec::new();
    match metadata["name"].as_str() {
        None | Some("") => causes.push(Cause::wanted(
            "metadata.name",
            "name or generateName is required",
        )),
        Some(name) => {
            let why = name_fault(kind, name);
            causes.extend(why.map(|why| Cause::shown("metadata.name", &metadata["name"], &why)));
        }
    }
    let labels = metadata["labels"].as_object().into_iter().flatten();
    for (key, value) in labels {
        if let Some(why) = key_fault(key) {
            causes.push(Cause::shown("metadata.labels", &json!(key), why));
        }
        if let Some(why) = label_fault(value.as_str().unwrap_or_default()) {
            causes.push(Cause::shown("metadata.labels", value, why));
        }
    }
    let annotations = metadata["annotations"].as_object().into_iter().flatten();
    let mut bytes = 0;
    for (key, value) in annotations {
        bytes += key.len() + value.as_str().map_or(0, str::len);
        if let Some(why) = key_fault(key) {
            causes.push(Cause::shown("metadata.annotations", &json!(key), why));
        }
    }
    if bytes > ANNOTATION_BYTES_MAX {
        causes.push(Cause::too_long(
            "metadata.annotations",
            ANNOTATION_BYTES_MAX as u64,
        ));
    }
    causes.extend(owner_faults(&metadata["ownerReferences"]));
    let finalizers = each(&metadata["finalizers"]);
    for (at, finalizer) in finalizers.enumerate() {
        let name = finalizer.as_str().unwrap_or_default();
        if !name.contains('/') && !["foregroundDeletion", "orphan", "kubernetes"].contains(&name) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            let field = format!("metadata.finalizers[{at}]");
            causes.push(Cause::shown(field, finalizer, why));
        }
    }
    causes
}

fn owner_faults(owners: &Value) -> Vec<Cause> {
    let list = || each(owners);
    let mut causes = Vec::new();
    if list().any(|owner| text(&owner["uid"]).is_empty()) {
        let field = "metadata.ownerReferences.uid";
        causes.push(Cause::shown(field, &json!(""), "must not be empty"));
    }
    let controllers: Vec<_> = list()
        .filter(|owner| owner["controller"] == true)
        .map(|owner| format!("{}/{}", text(&owner["kind"]), text(&owner["name"])))
        .collect();
    if let [one, other, ..] = controllers.as_slice() {
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {one} and {other}"
        );
        causes.push(Cause::shown("metadata.ownerReferences", owners, &why));
    }
    causes
}

fn name_fault(kind: &Kind, name: &str) -> Option<String> {
    if kind.resource() == "services" && name.len() > LABEL_MAX {
        return Some(format!("must be no more than {LABEL_MAX} characters"));
    }
    if name.len() > NAME_MAX {
        return Some(format!("must be no more than {NAME_MAX} characters"));
    }
    // Names of roles and bindings are path segments: nearly everything goes.
    if kind.group == "rbac.authorization.k8s.io" {
        return None;
    }
    let is_word = |label: &str| {
        let inner = label
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    (!name.split('.').all(is_word)).then(|| SUBDOMAIN_RULE.to_owned())
}

/// What is wrong with a label's value.
pub(crate) fn label_fault(value: &str) -> Option<&'static str> {
    (!value.is_empty() && !is_qualified(value)).then_some(LABEL_RULE)
}

/// What is wrong with a label's or an annotation's key.
pub(crate) fn key_fault(key: &str) -> Option<&'static str> {
    let mut parts = key.split('/');
    let (Some(first), second, None) = (parts.next(), parts.next(), parts.next()) else {
        return Some(KEY_RULE);
    };
    let name = second.unwrap_or(first);
    (!is_qualified(name)).then_some(NAME_RULE)
}

fn is_qualified(word: &str) -> bool {
    let bytes = word.as_bytes();
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    bytes.len() <= LABEL_MAX
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(inner)
}

/// Kinds of core with a generation, of those that are served.
const COUNTED: &[&str] = &[
    "endpointslices",
    "validatingwebhookconfigurations",
    "customresourcedefinitions",
    "deployments",
    "daemonsets",
];

/// No vowels and no digits that look like letters.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// RFC 1123: a label of a name.
const LABEL_MAX: usize = 63;

/// RFC 1123: a name.
const NAME_MAX: usize = 253;

/// All keys and values together.
const ANNOTATION_BYTES_MAX: usize = 256 << 10;

const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

const LABEL_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

const KEY_RULE: &str = "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";

/// The name part of a key, and of a load balancer class.
pub(crate) const NAME_RULE: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
