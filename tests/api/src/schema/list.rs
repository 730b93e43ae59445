//! Lists whose items are told apart by a key or by themselves.

use super::Cause;
use super::prune::field;
use serde_json::{Map, Value};

/// Items that are there twice, anywhere in an object.
pub(super) fn duplicates(schema: &Value, value: &Value) -> Vec<Cause> {
    let mut found = Vec::new();
    search(schema, value, "", &mut found);
    found
}

fn search(schema: &Value, value: &Value, path: &str, found: &mut Vec<Cause>) {
    match value {
        Value::Object(fields) => {
            let begin = if path.is_empty() { "" } else { "." };
            for (name, value) in fields {
                if let Some(below) = field(schema, name) {
                    search(below, value, &format!("{path}{begin}{name}"), found);
                }
            }
        }
        Value::Array(items) => {
            let mut keys = Vec::new();
            for (at, item) in items.iter().enumerate() {
                let path = format!("{path}[{at}]");
                if let Some(key) = key(schema, item) {
                    if keys.contains(&key) {
                        found.push(Cause::duplicate(&path, &key));
                    }
                    keys.push(key);
                }
                search(&schema["items"], item, &path, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What tells an item of a list from the others; nothing in a list where only the place does.
pub(super) fn key(list: &Value, item: &Value) -> Option<Value> {
    match list["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(item.clone()),
        Some("map") => {
            let names = list["x-kubernetes-list-map-keys"].as_array()?;
            let names = names.iter().filter_map(Value::as_str);
            let fields = names.map(|name| (name.to_owned(), item[name].clone()));
            Some(Value::Object(fields.collect::<Map<_, _>>()))
        }
        _ => None,
    }
}

/// The item of an old list that a new one continues.
pub(super) fn counterpart<'a>(
    list: &Value,
    item: &Value,
    old: Option<&'a Value>,
) -> Option<&'a Value> {
    let wanted = key(list, item)?;
    let mut items = old?.as_array()?.iter();
    items.find(|item| key(list, item).as_ref() == Some(&wanted))
}
