//! From the text of a file to JSON values, one per document, within bounds.
//!
//! The file is cut at its `---` lines before any YAML is parsed, so that a broken document hides none of its
//! neighbours. Whatever the text, time and memory stay in proportion to its length: depth is limited by the
//! readers, and what aliases may add by [`Budget`].

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;

/// One document of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Document<'a> {
    /// Its place among the documents of the file, from 1.
    pub(super) number: usize,
    /// How many lines of the file stand before it.
    pub(super) lines_before: usize,
    /// Its text, without separators.
    pub(super) text: &'a str,
}

impl Document<'_> {
    pub(super) fn is_too_long(&self) -> bool {
        self.text.len() > DOCUMENT_BYTES_MAX
    }
}

/// Cuts a file at the lines that start with `---` or `...` (YAML 1.2 §9.1.2). Parts that hold only comments and
/// directives are no documents.
pub(super) fn split(text: &str) -> impl Iterator<Item = Document<'_>> {
    let mut rest = Some(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut lines_before = 0;
    let parts = std::iter::from_fn(move || {
        let (part, after) = cut(rest?);
        rest = after;
        let start = lines_before;
        lines_before += part.matches('\n').count();
        Some((start, part))
    });
    parts
        .filter(|(_, part)| !is_blank(part))
        .enumerate()
        .map(|(i, (lines_before, text))| Document {
            number: i + 1,
            lines_before,
            text,
        })
}

/// The text before the first separator, and that after it.
fn cut(text: &str) -> (&str, Option<&str>) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if is_separator(line) {
            return (&text[..at], Some(&text[at + "---".len()..]));
        }
        at += line.len();
    }
    (text, None)
}

fn is_separator(line: &str) -> bool {
    let after = line
        .strip_prefix("---")
        .or_else(|| line.strip_prefix("..."));
    after.is_some_and(|after| after.is_empty() || after.starts_with([' ', '\t', '\r', '\n']))
}

fn is_blank(part: &str) -> bool {
    part.lines().all(|line| {
        let line = line.trim_start();
        line.is_empty() || line.starts_with(['#', '%'])
    })
}

/// The values of a document: one of YAML, or a stream of JSON objects. The error tells lines as the file has them.
pub(super) fn values(document: &Document<'_>) -> Result<Vec<Value>, String> {
    let mut values = parse(document)?;
    values
        .iter_mut()
        .for_each(|value| settle_nulls(value, false));
    Ok(values)
}

fn parse(document: &Document<'_>) -> Result<Vec<Value>, String> {
    let text = document.text;
    if document.is_too_long() {
        return Err(format!("is longer than {DOCUMENT_BYTES_MAX} bytes"));
    }
    if text.trim_start().starts_with('{')
        && let Ok(values) = json(text)
    {
        return Ok(values);
    }
    match Budget::of(text).deserialize(serde_norway::Deserializer::from_str(text)) {
        Ok(value) => Ok(vec![value]),
        Err(error) => Err(told_in_the_file(&error, document.lines_before)),
    }
}

fn json(text: &str) -> Result<Vec<Value>, serde_json::Error> {
    let budget = Budget::of(text);
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut values = Vec::new();
    while reader.end().is_err() {
        values.push(budget.deserialize(&mut reader)?);
    }
    Ok(values)
}

/// The reader counts lines from the start of the document; a person counts from that of the file.
fn told_in_the_file(error: &serde_norway::Error, lines_before: usize) -> String {
    let text = error.to_string();
    let Some(place) = error.location() else {
        return text;
    };
    let told = format!(" at line {} column {}", place.line(), place.column());
    let line = lines_before + place.line();
    let meant = format!(" at line {line} column {}", place.column());
    text.replacen(&told, &meant, 1)
}

/// What the value of one document may still take, counted in nodes and bytes of text.
///
/// Aliases let a short YAML text stand for a huge value; without them a value takes less than its text.
pub(super) struct Budget(Cell<usize>);

impl Budget {
    pub(super) fn of(text: &str) -> Self {
        Self(Cell::new(VALUE_COST_MIN.max(4 * text.len())))
    }

    fn spend<E: Error>(&self, cost: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(cost + 1);
        self.0
            .set(left.ok_or_else(|| E::custom("grows too large by its aliases"))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &Budget {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Budget {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without tags")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.spend(0)?;
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.spend(0)?;
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.spend(0)?;
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.spend(0)?;
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that JSON does not have"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.spend(value.len())?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.spend(0)?;
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        self.deserialize(reader)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.spend(key.len())?;
            let value = entries.next_value_seed(self)?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!(
                    "the key {key:?} stands there twice"
                )));
            }
            map.insert(key, value);
        }
        merge(&mut map);
        Ok(Value::Object(map))
    }
}

/// YAML's merge key: entries of the maps under `<<` count where the map has none of that name.
fn merge(map: &mut Map<String, Value>) {
    let others = match map.remove("<<") {
        None => return,
        Some(Value::Array(others)) => others,
        Some(other) => vec![other],
    };
    for other in others {
        if let Value::Object(other) = other {
            for (key, value) in other {
                map.entry(key).or_insert(value);
            }
        }
    }
}

/// Treats null as the API server does: a field that is null is absent, and an entry of a map of texts is empty.
pub(crate) fn settle_nulls(value: &mut Value, holds_texts: bool) {
    match value {
        Value::Object(map) => {
            if holds_texts {
                let nulls = map.values_mut().filter(|value| value.is_null());
                nulls.for_each(|null| *null = Value::String(String::new()));
            }
            map.retain(|_, value| !value.is_null());
            for (key, value) in map {
                settle_nulls(value, TEXT_MAPS.contains(&key.as_str()));
            }
        }
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| settle_nulls(value, false)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

const DOCUMENT_BYTES_MAX: usize = 16 << 20; // some 10,000 services in one List
const VALUE_COST_MIN: usize = 64 << 10; // a short document may use aliases freely
const TEXT_MAPS: [&str; 4] = ["labels", "annotations", "matchLabels", "selector"];
