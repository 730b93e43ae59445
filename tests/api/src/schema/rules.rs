//! Rules in CEL (`x-kubernetes-validations`), each evaluated on the value that it stands at.

use super::Cause;
use super::list::counterpart;
use super::prune::field;
use crate::value::each;
use kube_cel::{ErrorKind, ValidationError, Validator};
use serde_json::{Map, Value};

const RULES: &str = "x-kubernetes-validations";

/// Whether a schema has rules at all.
pub(super) fn has_any(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => fields.contains_key(RULES) || fields.values().any(has_any),
        Value::Array(items) => items.iter().any(has_any),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// What the rules refuse. A value that is as it was is not judged again.
pub(super) fn broken(schema: &Value, new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    walk(schema, new, old, "", &mut causes);
    causes
}

fn walk(schema: &Value, new: &Value, old: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    if old == Some(new) {
        return;
    }
    causes.extend(here(schema, new, old, path));
    match new {
        Value::Object(fields) => {
            let begin = if path.is_empty() { "" } else { "." };
            for (name, value) in fields {
                if let Some(below) = field(schema, name) {
                    let old = old.and_then(|old| old.get(name));
                    walk(below, value, old, &format!("{path}{begin}{name}"), causes);
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                let old = counterpart(schema, item, old);
                let path = format!("{path}[{at}]");
                walk(&schema["items"], item, old, &path, causes);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What the rules of this one place refuse.
fn here(schema: &Value, new: &Value, old: Option<&Value>, path: &str) -> Vec<Cause> {
    let Some(rules) = schema.get(RULES) else {
        return Vec::new();
    };
    let mut bare = without_rules(schema);
    bare[RULES] = rules.clone();
    let broken = Validator::new().validate(&bare, new, old);
    let broken = broken.err().into_iter().flatten();
    broken
        .map(|error| cause(&error, schema, new, path))
        .collect()
}

/// The server's words for a rule that does not hold, or that could not be evaluated.
fn cause(error: &ValidationError, schema: &Value, value: &Value, path: &str) -> Cause {
    let rules = each(&schema[RULES]);
    let said = rules
        .filter(|rule| rule["rule"] == *error.rule)
        .find(|rule| {
            error.kind != ErrorKind::ValidationFailure || rule["message"] == *error.message
        })
        .unwrap_or(&Value::Null);
    let path = format!("{path}{}", said["fieldPath"].as_str().unwrap_or_default());
    if error.kind != ErrorKind::ValidationFailure {
        let meant = said["message"].as_str().unwrap_or(&error.rule);
        let text = format!("{} evaluating rule: {meant}", failure(error));
        return Cause::invalid(&path, &schema["type"], &text);
    }
    match said["reason"].as_str() {
        Some("FieldValueForbidden") => Cause::forbidden(&path, &error.message),
        Some("FieldValueRequired") => Cause::wanted(&path, ""),
        _ => Cause::invalid(&path, value, &error.message),
    }
}

/// The evaluator of the server is another one than ours; where it is known, its text is given.
fn failure(error: &ValidationError) -> String {
    if error.rule.contains("duration(self)") {
        "type conversion error from 'string' to 'google.protobuf.Duration'".to_owned()
    } else {
        error.message.clone()
    }
}

/// The schema without any rule, so that those further down are not evaluated twice.
fn without_rules(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| *name != RULES);
            let fields = fields.map(|(name, value)| (name.clone(), without_rules(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(without_rules).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema.clone(),
    }
}
