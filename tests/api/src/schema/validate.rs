//! Types, bounds and required fields.

use super::Cause;
use super::list::counterpart;
use super::prune::field;
use crate::value::each;
use jiff::Timestamp;
use kube_cel::cel::{Context, Program};
use serde_json::{Value, json};

/// One run over one object, or a part of it.
pub(super) struct Validation {
    /// Where the part is; empty for a whole object.
    base: &'static str,
    causes: Vec<Cause>,
}

impl Validation {
    /// Of a whole object.
    pub(super) fn whole() -> Self {
        Self::below("")
    }

    /// Of the part that is the field `base`. Texts say paths within the part.
    pub(super) fn below(base: &'static str) -> Self {
        Self {
            base,
            causes: Vec::new(),
        }
    }

    /// All that is wrong with a value that replaces `old`.
    pub(super) fn of(mut self, schema: &Value, new: &Value, old: Option<&Value>) -> Vec<Cause> {
        self.value(schema, new, old, "");
        self.causes
    }

    fn value(&mut self, schema: &Value, new: &Value, old: Option<&Value>, path: &str) {
        if old == Some(new) || (new.is_null() && schema["nullable"] == true) {
            return;
        }
        self.kind(schema, new, path);
        match new {
            Value::String(text) => self.string(schema, text, path),
            Value::Number(_) => self.number(schema, new, path),
            Value::Array(items) => self.list(schema, items, old, path),
            Value::Object(_) | Value::Bool(_) | Value::Null => {}
        }
        if let Some(allowed) = schema["enum"].as_array().filter(|all| !all.contains(new)) {
            let cause = Cause::unlisted(self.field(path), new, allowed);
            self.causes.push(cause);
        }
        if new.is_object() {
            self.fields(schema, new, old, path);
        }
    }

    /// The type. Where a number has a format, the server names that in place of the type.
    fn kind(&mut self, schema: &Value, value: &Value, path: &str) {
        let (is, format) = kind_of(value);
        let wanted = match schema["type"].as_str() {
            Some(_) if schema["x-kubernetes-int-or-string"] == true => "integer,string",
            Some(wanted) => wanted,
            None if schema["x-kubernetes-int-or-string"] == true => "integer,string",
            None => return,
        };
        if wanted.split(',').any(|wanted| wanted == is) || (wanted, is) == ("number", "integer") {
            return;
        }
        let (wanted, is) = match schema["format"].as_str() {
            Some(of_wanted) if !matches!(is, "string" | "array" | "null") => (of_wanted, format),
            _ => (wanted, is),
        };
        let text = format!("{} must be of type {wanted}: \"{is}\"", in_body(path));
        let cause = Cause::type_invalid(&self.field(path), &json!(is), &text);
        self.causes.push(cause);
    }

    /// The first of length and pattern that does not hold; then the format.
    fn string(&mut self, schema: &Value, text: &str, path: &str) {
        let length = text.chars().count() as u64;
        let value = json!(text);
        if let Some(length_max) = schema["maxLength"].as_u64().filter(|max| length > *max) {
            let cause = Cause::too_long(self.field(path), length_max);
            self.causes.push(cause);
        } else if let Some(length_min) = schema["minLength"].as_u64().filter(|min| length < *min) {
            let text = format!("should be at least {length_min} chars long");
            self.invalid(path, &value, &text);
        } else if let Some(pattern) = schema["pattern"].as_str().filter(|p| !matches(p, text)) {
            self.invalid(path, &value, &format!("should match '{pattern}'"));
        }
        if schema["format"] == "date-time" && text.parse::<Timestamp>().is_err() {
            let text = format!("{} must be of type date-time: {value}", in_body(path));
            let cause = Cause::type_invalid(&self.field(path), &value, &text);
            self.causes.push(cause);
        }
    }

    fn number(&mut self, schema: &Value, value: &Value, path: &str) {
        if schema["type"] == "integer" {
            let format = schema["format"].as_str().unwrap_or_default();
            let whole = value.as_i64().or_else(|| whole(value));
            let fits = match format {
                "int32" => whole.is_some_and(|n| i32::try_from(n).is_ok()),
                _ => whole.is_some(),
            };
            if !fits {
                // This one sort of error comes without a field.
                let text =
                    format!("Checked value must be of type integer with format {format} in {path}");
                let cause = Cause::invalid(self.base, &json!(""), &text);
                self.causes.push(cause);
            }
        }
        let number = value.as_f64();
        let beyond = |bound: &Value, is_beyond: fn(&f64, &f64) -> bool| {
            let (number, bound) = (number?, bound.as_f64()?);
            is_beyond(&number, &bound).then_some(())
        };
        for (name, is_beyond, words) in [
            ("minimum", f64::lt as fn(&f64, &f64) -> bool, "greater"),
            ("maximum", f64::gt, "less"),
        ] {
            if beyond(&schema[name], is_beyond).is_some() {
                let text = format!("should be {words} than or equal to {}", schema[name]);
                self.invalid(path, value, &text);
            }
        }
    }

    fn list(&mut self, schema: &Value, items: &[Value], old: Option<&Value>, path: &str) {
        for (at, item) in items.iter().enumerate() {
            let old = counterpart(schema, item, old);
            self.value(&schema["items"], item, old, &format!("{path}[{at}]"));
        }
        let count = items.len() as u64;
        if let Some(count_min) = schema["minItems"].as_u64().filter(|min| count < *min) {
            let text = format!("should have at least {count_min} items");
            self.invalid(path, &json!(count), &text);
        }
        if let Some(count_max) = schema["maxItems"].as_u64().filter(|max| count > *max) {
            let cause = Cause::too_many(&self.field(path), items.len(), count_max);
            self.causes.push(cause);
        }
    }

    /// First what is there, then what is missing.
    fn fields(&mut self, schema: &Value, new: &Value, old: Option<&Value>, path: &str) {
        for (name, value) in new.as_object().into_iter().flatten() {
            if let Some(below) = field(schema, name) {
                let old = old.and_then(|old| old.get(name));
                self.value(below, value, old, &join(path, name));
            }
        }
        for name in each(&schema["required"]) {
            let name = name.as_str().unwrap_or_default();
            if new.get(name).is_none() {
                let cause = Cause::wanted(self.field(&join(path, name)), "");
                self.causes.push(cause);
            }
        }
    }

    fn invalid(&mut self, path: &str, value: &Value, text: &str) {
        let text = format!("{} {text}", in_body(path));
        let cause = Cause::invalid(&self.field(path), value, &text);
        self.causes.push(cause);
    }

    fn field(&self, path: &str) -> String {
        if path.is_empty() {
            self.base.to_owned()
        } else {
            join(self.base, path)
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn in_body(path: &str) -> String {
    format!("{path} in body")
}

/// Type and format of a value, as the server's validator calls them.
fn kind_of(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        // A whole number is an integer however it was written.
        Value::Number(n) if n.as_f64().is_some_and(|n| n.fract() == 0.0) => ("integer", "int64"),
        Value::Number(_) => ("number", "float64"),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    }
}

/// A whole number that was written as a fraction, as in `3.0`.
fn whole(value: &Value) -> Option<i64> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
    format!("{number:.0}").parse().ok()
}

/// Whether a text has a pattern in it. CEL's `matches` has the same regular expressions, so no other engine is needed.
fn matches(pattern: &str, text: &str) -> bool {
    let program = Program::compile("text.matches(pattern)").expect("the expression is fixed");
    let mut context = Context::default();
    context.add_variable_from_value("text", text.to_owned());
    context.add_variable_from_value("pattern", pattern.to_owned());
    program.execute(&context) == Ok(true.into())
}
