//! Merging, comparing and thinning out of objects whose lists have keys.

use super::lists::{Lists, Shape, children, element, field, shape};
use super::set::Set;
use serde_json::{Map, Value};

/// What differs between two states of an object.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// New, or with another value.
    pub(super) changed: Set,
    /// Gone.
    pub(super) removed: Set,
}

impl Differences {
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

/// `wanted` on top of `live`. Lists by key keep what only `live` has, and have the order of `wanted` otherwise.
pub(super) fn merge(live: &Value, wanted: &Value, schema: &Value) -> Value {
    match (live, wanted, shape(wanted, schema)) {
        (Value::Object(live), Value::Object(wanted), Shape::Fields) => {
            let mut merged = live.clone();
            for (name, value) in wanted {
                let below = field(schema, name);
                let value = match live.get(name) {
                    Some(live) => merge(live, value, below),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(live), Value::Array(wanted), Shape::Items) => {
            merge_items(live, wanted, schema)
        }
        _ => wanted.clone(),
    }
}

fn merge_items(live: &[Value], wanted: &[Value], schema: &Value) -> Value {
    let is_wanted = |item: &Value| {
        let key = element(item, schema);
        wanted.iter().any(|item| element(item, schema) == key)
    };
    let mut merged = Vec::new();
    let mut rest = live;
    for item in wanted {
        let alone = rest.iter().take_while(|item| !is_wanted(item)).count();
        merged.extend_from_slice(&rest[..alone]);
        rest = rest.get(alone + 1..).unwrap_or_default();
        let key = element(item, schema);
        let before = live.iter().find(|item| element(item, schema) == key);
        merged.push(match before {
            Some(live) => merge(live, item, &schema["items"]),
            None => item.clone(),
        });
    }
    merged.extend(rest.iter().filter(|item| !is_wanted(item)).cloned());
    Value::Array(merged)
}

/// What differs, without the fields that nobody owns.
pub(super) fn compare(old: Option<&Value>, new: &Value, lists: &Lists) -> Differences {
    let blank = lists.blank(new);
    let old = old.unwrap_or(&blank);
    let mut found = Differences::default();
    differences(Some(old), Some(new), lists.root(), &mut found);
    Differences {
        changed: found.changed.without_metadata(),
        removed: found.removed.without_metadata(),
    }
}

fn differences(old: Option<&Value>, new: Option<&Value>, schema: &Value, found: &mut Differences) {
    if old == new {
        return;
    }
    match (parts(old, schema), parts(new, schema)) {
        (Some(old_parts), Some(new_parts)) if !(old_parts.is_empty() && new_parts.is_empty()) => {
            for (key, old, schema) in &old_parts {
                let new = new_parts.iter().find(|(other, ..)| other == key);
                below(key, Some(old), new.map(|part| part.1), schema, found);
            }
            for (key, new, schema) in &new_parts {
                if !old_parts.iter().any(|(other, ..)| other == key) {
                    below(key, None, Some(new), schema, found);
                }
            }
            found.changed.is_member |= old.is_none();
            found.removed.is_member |= new.is_none();
        }
        _ if new.is_none() => found.removed.is_member = true,
        _ => found.changed.is_member = true,
    }
}

/// The parts of a value, none of one that is not there; nothing if it is a leaf.
fn parts<'a>(
    value: Option<&'a Value>,
    schema: &'a Value,
) -> Option<Vec<(String, &'a Value, &'a Value)>> {
    match value {
        Some(value) => (shape(value, schema) != Shape::Leaf).then(|| children(value, schema)),
        None => Some(Vec::new()),
    }
}

fn below(
    key: &str,
    old: Option<&Value>,
    new: Option<&Value>,
    schema: &Value,
    found: &mut Differences,
) {
    let mut deeper = Differences::default();
    differences(old, new, schema, &mut deeper);
    for (set, deeper) in [
        (&mut found.changed, deeper.changed),
        (&mut found.removed, deeper.removed),
    ] {
        if !deeper.is_empty() {
            set.below.insert(key.to_owned(), deeper);
        }
    }
}

/// Takes away what a manager applied the `last` time and what nobody keeps now.
pub(super) fn remove(value: &mut Value, last: &Set, kept: &Set, schema: &Value) {
    for (key, last) in &last.below {
        let kept = kept.below.get(key).filter(|kept| !kept.is_empty());
        match value {
            Value::Object(fields) => {
                let name = key.trim_start_matches("f:");
                match (kept, fields.get_mut(name)) {
                    (Some(kept), Some(value)) => remove(value, last, kept, field(schema, name)),
                    // Only there because of what is below it: what others put there stays.
                    (None, Some(inner)) if !last.is_member && inner.is_object() => {
                        remove(inner, last, &Set::default(), field(schema, name));
                        if inner.as_object().is_some_and(Map::is_empty) {
                            fields.remove(name);
                        }
                    }
                    (None, Some(_)) => {
                        fields.remove(name);
                    }
                    (_, None) => {}
                }
            }
            Value::Array(items) => match kept {
                Some(kept) => {
                    let mut items = items.iter_mut();
                    if let Some(item) = items.find(|item| element(item, schema) == *key) {
                        remove(item, last, kept, &schema["items"]);
                    }
                }
                None => items.retain(|item| element(item, schema) != *key),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}
