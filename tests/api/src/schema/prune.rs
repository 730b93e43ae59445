//! Takes away what a schema does not know, and puts in what it has defaults for.

use serde_json::{Map, Value};

/// Fields of every object that are no part of its schema.
const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Takes away the fields of an object that its schema does not know; gives their paths.
pub(super) fn prune(schema: &Value, object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    if let Value::Object(fields) = object {
        let kept: Vec<(&str, Value)> = OF_EVERY_OBJECT
            .into_iter()
            .filter_map(|name| Some((name, fields.remove(name)?)))
            .collect();
        prune_fields(schema, fields, "", &mut unknown);
        for (name, value) in kept {
            fields.insert(name.to_owned(), value);
        }
    }
    unknown
}

fn prune_value(schema: &Value, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => prune_fields(schema, fields, path, unknown),
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                prune_value(&schema["items"], item, &format!("{path}[{at}]"), unknown);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn prune_fields(
    schema: &Value,
    fields: &mut Map<String, Value>,
    path: &str,
    unknown: &mut Vec<String>,
) {
    let keeps_unknown = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let begin = if path.is_empty() { "" } else { "." };
    fields.retain(|name, value| {
        let path = format!("{path}{begin}{name}");
        match field(schema, name) {
            Some(below) => prune_value(below, value, &path, unknown),
            None if keeps_unknown => {}
            None => {
                unknown.push(path);
                return false;
            }
        }
        true
    });
}

/// Puts in defaults where nothing is, and takes away `null` where it says nothing.
pub(super) fn fill_in(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| {
                let below = field(schema, name);
                !value.is_null() || below.is_none_or(|below| below["nullable"] == true)
            });
            for (name, below) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = below.get("default").filter(|_| !fields.contains_key(name)) {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in fields {
                if let Some(below) = field(schema, name) {
                    fill_in(below, value);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                fill_in(&schema["items"], item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The schema of a field.
pub(super) fn field<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let listed = schema["properties"].get(name);
    listed.or_else(|| {
        schema
            .get("additionalProperties")
            .filter(|values| values.is_object())
    })
}
