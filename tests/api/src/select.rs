//! Label and field selectors: which objects a list or a watch is about.
//!
//! Governed by the "Labels and Selectors" and "Field Selectors" pages; the words of refusals are the recorded ones.

use crate::answer::Refusal;
use crate::kinds::Kind;
use crate::value::each;
use serde_json::Value;
use std::collections::BTreeSet;

/// Which objects are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Field>,
}

#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Exists,
    Missing,
    In(BTreeSet<String>),
    /// Also true without the label.
    NotIn(BTreeSet<String>),
    More(i64),
    Less(i64),
}

#[derive(Clone, Debug)]
struct Field {
    pointer: String,
    value: String,
    is_equal: bool,
}

impl Selector {
    /// Reads both selectors. Refused with 400 if one is not understood or names a field that the kind cannot be selected by.
    pub(crate) fn read(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Refusal> {
        Ok(Self {
            labels: read_labels(labels).map_err(Refusal::bad)?,
            fields: read_fields(kind, fields).map_err(Refusal::bad)?,
        })
    }

    /// Whether there is anything to test.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object is wanted.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels
            .iter()
            .all(|requirement| requirement.matches(labels[&requirement.key].as_str()))
            && self.fields.iter().all(|field| field.matches(object))
    }
}

impl Requirement {
    fn matches(&self, label: Option<&str>) -> bool {
        let number = || label.and_then(|label| label.parse::<i64>().ok());
        match &self.test {
            Test::Exists => label.is_some(),
            Test::Missing => label.is_none(),
            Test::In(values) => label.is_some_and(|label| values.contains(label)),
            Test::NotIn(values) => label.is_none_or(|label| !values.contains(label)),
            Test::More(bound) => number().is_some_and(|number| number > *bound),
            Test::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

impl Field {
    fn matches(&self, object: &Value) -> bool {
        let value = object.pointer(&self.pointer).unwrap_or(&Value::Null);
        (value.as_str().unwrap_or_default() == self.value) == self.is_equal
    }
}

/// Whether an object's labels fit a `LabelSelector` of an object, as webhooks have them.
pub(crate) fn fits(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut equal = equal.map(|(key, value)| labels.get(key) == Some(value));
    let mut expressions = each(&selector["matchExpressions"]).map(|expression| {
        let key = expression["key"].as_str().unwrap_or_default();
        let values = each(&expression["values"]);
        let values = values
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let test = match expression["operator"].as_str() {
            Some("In") => Test::In(values),
            Some("NotIn") => Test::NotIn(values),
            Some("DoesNotExist") => Test::Missing,
            _exists => Test::Exists,
        };
        let key = key.to_owned();
        let label = labels[&key].as_str().map(str::to_owned);
        Requirement { key, test }.matches(label.as_deref())
    });
    equal.all(|is_equal| is_equal) && expressions.all(|is_met| is_met)
}

fn read_labels(text: &str) -> Result<Vec<Requirement>, String> {
    let mut tokens = Tokens::new(text);
    let mut requirements = Vec::new();
    if tokens.peek().is_empty() {
        return Ok(requirements);
    }
    loop {
        requirements.push(tokens.requirement()?);
        match tokens.next().as_str() {
            "" => return Ok(requirements),
            "," => {
                let next = tokens.peek();
                if !is_word(&next) && next != "!" {
                    return Err(format!("found '{next}', expected: identifier after ','"));
                }
            }
            other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
        }
    }
}

/// Words and signs of a label selector.
struct Tokens {
    tokens: Vec<String>,
    at: usize,
}

impl Tokens {
    fn new(text: &str) -> Self {
        let mut tokens: Vec<String> = Vec::new();
        let mut is_open = false;
        for letter in text.chars() {
            let is_sign = SIGNS.contains(letter);
            let joins = is_open
                && tokens.last().is_some_and(|last| {
                    if is_sign {
                        matches!((last.as_str(), letter), ("=" | "!", '='))
                    } else {
                        is_word(last)
                    }
                });
            if letter.is_whitespace() {
                is_open = false;
                continue;
            }
            match tokens.last_mut() {
                Some(last) if joins => last.push(letter),
                _none => tokens.push(letter.to_string()),
            }
            is_open = true;
        }
        Self { tokens, at: 0 }
    }

    fn peek(&self) -> String {
        self.tokens.get(self.at).cloned().unwrap_or_default()
    }

    fn next(&mut self) -> String {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let is_missing = self.peek() == "!";
        if is_missing {
            self.at += 1;
        }
        let key = self.next();
        if is_missing {
            let test = Test::Missing;
            return Ok(Requirement { key, test });
        }
        let ends = matches!(self.peek().as_str(), "" | ",");
        let test = if ends {
            Test::Exists
        } else {
            self.test(&key)
                .map_err(|why| format!("unable to parse requirement: {why}"))?
        };
        Ok(Requirement { key, test })
    }

    fn test(&mut self, key: &str) -> Result<Test, String> {
        let one = |value: String| BTreeSet::from([value]);
        match self.next().as_str() {
            "=" | "==" => Ok(Test::In(one(self.value(key)?))),
            "!=" => Ok(Test::NotIn(one(self.value(key)?))),
            "in" => Ok(Test::In(self.values()?)),
            "notin" => Ok(Test::NotIn(self.values()?)),
            ">" | "gt" => Ok(Test::More(self.number()?)),
            "<" | "lt" => Ok(Test::Less(self.number()?)),
            other => Err(format!(
                "found '{other}', expected: in, notin, =, ==, !=, gt, lt"
            )),
        }
    }

    fn value(&mut self, key: &str) -> Result<String, String> {
        if matches!(self.peek().as_str(), "" | ",") {
            return Ok(String::new());
        }
        let value = self.next();
        match crate::meta::label_fault(&value) {
            Some(why) => Err(format!("values[0][{key}]: Invalid value: {value:?}: {why}")),
            None => Ok(value),
        }
    }

    fn number(&mut self) -> Result<i64, String> {
        let text = self.next();
        let number = text.parse();
        number.map_err(|_| {
            format!("for 'Gt', 'Lt' operators, the value must be an integer, not {text}")
        })
    }

    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        if self.peek() != "(" {
            return Err(format!("found '{}' expected: '('", self.peek()));
        }
        self.at += 1;
        let mut values = BTreeSet::new();
        loop {
            match self.next().as_str() {
                ")" => return Ok(values),
                "," => {}
                word if is_word(word) => {
                    values.insert(word.to_owned());
                    let next = self.peek();
                    if next != "," && next != ")" {
                        return Err(format!("found '{next}', expected: ',' or ')'"));
                    }
                }
                other => return Err(format!("found '{other}', expected: ',', ')' or identifier")),
            }
        }
    }
}

fn is_word(token: &str) -> bool {
    !token.is_empty() && !token.contains(|letter| SIGNS.contains(letter))
}

const SIGNS: &str = "=!(),<>";

fn read_fields(kind: &Kind, text: &str) -> Result<Vec<Field>, String> {
    let clauses = text.split(',').filter(|clause| !clause.is_empty());
    clauses
        .map(|clause| {
            let (name, value, is_equal) = if let Some((name, value)) = clause.split_once("!=") {
                (name, value, false)
            } else if let Some((name, value)) = clause.split_once("==") {
                (name, value, true)
            } else if let Some((name, value)) = clause.split_once('=') {
                (name, value, true)
            } else {
                return Err(format!(
                    "invalid selector: '{text}'; can't understand '{clause}'"
                ));
            };
            let own = OWN_FIELDS
                .iter()
                .find(|(resource, _)| *resource == kind.resource());
            let own = own.map_or(&[] as &[_], |(_, fields)| fields);
            if !COMMON_FIELDS.contains(&name) && !own.contains(&name) {
                return Err(unsupported(kind, name, own));
            }
            Ok(Field {
                pointer: format!("/{}", name.replace('.', "/")),
                value: value.to_owned(),
                is_equal,
            })
        })
        .collect()
}

fn unsupported(kind: &Kind, name: &str, own: &[&str]) -> String {
    if kind.is_custom() || !own.is_empty() {
        return format!("field label not supported: {name}");
    }
    let known = r#"only "metadata.name", "metadata.namespace""#;
    format!("{name:?} is not a known field selector: {known}")
}

const COMMON_FIELDS: &[&str] = &["metadata.name", "metadata.namespace"];

/// Those that the product and its users send.
const OWN_FIELDS: &[(&str, &[&str])] = &[
    ("services", &["spec.type", "spec.clusterIP"]),
    ("pods", &["spec.nodeName", "status.phase"]),
    ("namespaces", &["status.phase"]),
    (
        "events",
        &[
            "involvedObject.kind",
            "involvedObject.name",
            "involvedObject.namespace",
            "involvedObject.uid",
            "reason",
            "type",
        ],
    ),
];
