//! Recorded values against answers: marks stand for what differs from run to run, and must stand for the same everywhere.

use serde_json::Value;
use std::collections::BTreeMap;

/// What marks of one story stand for.
#[derive(Debug, Default)]
pub(crate) struct Meanings {
    known: BTreeMap<String, String>,
}

impl Meanings {
    /// Says what a mark stands for.
    pub(crate) fn bind(&mut self, mark: &str, meaning: &str) {
        self.known.insert(mark.to_owned(), meaning.to_owned());
    }

    /// What a mark stands for.
    pub(crate) fn get(&self, mark: &str) -> Option<&str> {
        self.known.get(mark).map(String::as_str)
    }

    /// A text with its marks replaced; unknown ones stay.
    pub(crate) fn fill_text(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (mark, meaning) in &self.known {
            filled = filled.replace(mark, meaning);
        }
        filled
    }

    /// A value with its marks replaced. Ports are numbers.
    pub(crate) fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                let filled = self.fill_text(text);
                let is_port = text.starts_with("<nodeport:") && filled != *text;
                match filled.parse::<u64>() {
                    Ok(port) if is_port => Value::from(port),
                    _text => Value::String(filled),
                }
            }
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(key, value)| (self.fill_text(key), self.fill(value)));
                Value::Object(fields.collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// Compares, and learns what new marks stand for. Fails with the place of the first difference.
    pub(crate) fn compare(
        &mut self,
        expected: &Value,
        got: &Value,
        place: &str,
    ) -> Result<(), String> {
        let differ = || Err(format!("{place}: expected {expected}, got {got}"));
        match (expected, got) {
            (Value::String(expected), Value::Number(number)) => {
                self.compare_text(expected, &number.to_string(), place)
            }
            (Value::String(expected), Value::String(got)) => {
                self.compare_text(expected, got, place)
            }
            (Value::Array(expected), Value::Array(got)) if expected.len() == got.len() => {
                let (expected, got) = (self.ordered(expected), by_owner(got.iter().collect()));
                let mut pairs = expected.into_iter().zip(got).enumerate();
                pairs.try_for_each(|(at, (one, other))| {
                    self.compare(one, other, &format!("{place}[{at}]"))
                })
            }
            (Value::Object(expected), Value::Object(got)) => {
                // A recording that leaves out the rest of a big object says so.
                let is_part = expected.contains_key("...");
                for (key, value) in expected.iter().filter(|(key, _)| *key != "...") {
                    let place = format!("{place}.{key}");
                    let Some(own) = got.get(key) else {
                        return Err(format!("{place}: expected {value}, got nothing"));
                    };
                    self.compare(value, own, &place)?;
                }
                let extra = got.iter().find(|(key, _)| !expected.contains_key(*key));
                match extra.filter(|_| !is_part) {
                    Some((key, value)) => {
                        Err(format!("{place}.{key}: expected nothing, got {value}"))
                    }
                    None => Ok(()),
                }
            }
            (one, other) if one == other => Ok(()),
            _different => differ(),
        }
    }

    /// Lists come in the order of names, and where one was generated it is another in every run.
    fn ordered<'a>(&self, list: &'a [Value]) -> Vec<&'a Value> {
        let name = |item: &'a Value| {
            let name = ["/metadata/name", "/object/metadata/name"];
            name.iter().find_map(|at| item.pointer(at)?.as_str())
        };
        let mut ordered: Vec<&Value> = list.iter().collect();
        if list
            .iter()
            .any(|item| name(item).is_some_and(|name| name.contains("<gen:")))
        {
            ordered.sort_by_key(|item| name(item).map(|name| self.fill_text(name)));
        }
        by_owner(ordered)
    }

    fn compare_text(&mut self, expected: &str, got: &str, place: &str) -> Result<(), String> {
        let differ = || Err(format!("{place}: expected {expected:?}, got {got:?}"));
        // An age: another second may have begun meanwhile.
        if expected == "0s"
            && got
                .strip_suffix('s')
                .is_some_and(|age| age.parse::<u8>().is_ok())
        {
            return Ok(());
        }
        let (mut pattern, mut text) = (expected, got);
        loop {
            let Some((literal, mark, after)) = split(pattern) else {
                return if pattern == text { Ok(()) } else { differ() };
            };
            let Some(rest) = text.strip_prefix(literal) else {
                return differ();
            };
            let next = split(after).map_or(after, |(next, _, _)| next);
            let end = if next.is_empty() {
                Some(rest.len())
            } else {
                rest.find(next)
            };
            let Some(end) = end else {
                return differ();
            };
            let (meaning, rest) = rest.split_at(end);
            self.learn(mark, meaning, place)?;
            (pattern, text) = (after, rest);
        }
    }

    fn learn(&mut self, mark: &str, meaning: &str, place: &str) -> Result<(), String> {
        // Without a number each may stand for something else.
        if !mark.contains(':') {
            return Ok(());
        }
        if let Some(known) = self.known.get(mark) {
            if known == meaning {
                return Ok(());
            }
            return Err(format!("{place}: {mark} is {known:?}, got {meaning:?}"));
        }
        let kind = mark.split(':').next().unwrap_or_default();
        let number = |word: &str| {
            word.trim_end_matches('>')
                .rsplit(':')
                .next()
                .and_then(|n| n.parse::<u64>().ok())
        };
        for (other, known) in &self.known {
            if other.split(':').next() != Some(kind) {
                continue;
            }
            // The newest revision has a name of its own, and a number too.
            if number(other).is_none() {
                continue;
            }
            // Numbers of resourceVersions keep the order in which the server gave them.
            let orders = (
                number(mark),
                number(other),
                meaning.parse::<u64>(),
                known.parse::<u64>(),
            );
            if known == meaning {
                return Err(format!("{place}: {mark} and {other} are both {meaning:?}"));
            }
            if let ("<rv", (Some(one), Some(two), Ok(ours), Ok(theirs))) = (kind, orders)
                && (one < two) != (ours < theirs)
            {
                return Err(format!(
                    "{place}: {mark} is {meaning}, but {other} is {known}"
                ));
            }
        }
        self.known.insert(mark.to_owned(), meaning.to_owned());
        Ok(())
    }
}

/// The text before the first mark, the mark, and the text after it.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(start) = text[from..].find('<').map(|at| from + at) {
        let end = text[start..].find('>').map(|at| start + at + 1)?;
        let word = &text[start..end];
        let kind = word
            .trim_matches(['<', '>'])
            .split(':')
            .next()
            .unwrap_or_default();
        if MARKS.contains(&kind) {
            return Some((&text[..start], word, &text[end..]));
        }
        from = start + 1;
    }
    None
}

/// `managedFields` come in the order of the seconds in which they were written, and of names within one: another second may have begun
/// meanwhile. Other lists stay as they are.
fn by_owner(mut list: Vec<&Value>) -> Vec<&Value> {
    if list.iter().all(|item| item["fieldsType"].is_string()) {
        let owner = ["operation", "manager", "apiVersion", "subresource"];
        list.sort_by_key(|item| owner.map(|key| item[key].as_str()));
    }
    list
}

const MARKS: &[&str] = &[
    "uid",
    "rv",
    "time",
    "continue",
    "clusterip",
    "nodeport",
    "gen",
    "ca",
    "other-ca",
    "token",
    "server",
    "hash",
];
