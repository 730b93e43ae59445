//! A set of fields: the tree that `fieldsV1` is.
//!
//! Elements of a path are kept as they stand there: `f:name` for a field, `k:{…}` for an item of a list by its key, `v:…` for one
//! by itself. A node can be in the set itself (`.`), or be there only because something below it is.

use super::lists::{Shape, shape};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A set of fields.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Set {
    pub(super) is_member: bool,
    pub(super) below: BTreeMap<String, Set>,
}

impl Set {
    /// The leaves of a value.
    pub(super) fn of(value: &Value, schema: &Value) -> Self {
        let mut set = Self::default();
        let children = match shape(value, schema) {
            Shape::Leaf => Vec::new(),
            Shape::Fields | Shape::Items => super::lists::children(value, schema),
        };
        if children.is_empty() {
            set.is_member = true;
        }
        for (element, child, schema) in children {
            let mut child = Self::of(child, schema);
            child.is_member |= !element.starts_with("f:");
            set.below.insert(element, child);
        }
        set
    }

    /// Without the fields that nobody owns.
    pub(super) fn without_metadata(mut self) -> Self {
        self.is_member = false;
        for name in ["f:apiVersion", "f:kind"] {
            self.below.remove(name);
        }
        if let Some(metadata) = self.below.get_mut("f:metadata") {
            metadata.is_member = false;
            for name in UNOWNED {
                metadata.below.remove(*name);
            }
        }
        self.trim();
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.is_member && self.below.values().all(Self::is_empty)
    }

    /// Takes in all of another set.
    pub(super) fn add(&mut self, other: &Self) {
        self.is_member |= other.is_member;
        for (element, child) in &other.below {
            self.below.entry(element.clone()).or_default().add(child);
        }
    }

    /// Takes out the members of another set.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.is_member &= !other.is_member;
        for (element, child) in &other.below {
            if let Some(own) = self.below.get_mut(element) {
                own.subtract(child);
            }
        }
        self.trim();
    }

    /// The members of both.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let below = self.below.iter().filter_map(|(element, child)| {
            let both = child.intersection(other.below.get(element)?);
            (!both.is_empty()).then(|| (element.clone(), both))
        });
        Self {
            is_member: self.is_member && other.is_member,
            below: below.collect(),
        }
    }

    fn trim(&mut self) {
        self.below.retain(|_, child| !child.is_empty());
    }

    /// Paths of the members, as in `.spec.ports[port=80,protocol="TCP"].name`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, path: &str, paths: &mut Vec<String>) {
        if self.is_member {
            paths.push(path.to_owned());
        }
        for (element, child) in &self.below {
            child.collect(&format!("{path}{}", spoken(element)), paths);
        }
    }

    /// From `fieldsV1`.
    pub(super) fn read(fields: &Value) -> Self {
        let mut set = Self::default();
        let fields = fields.as_object().into_iter().flatten();
        for (element, below) in fields {
            if element == "." {
                set.is_member = true;
            } else {
                let mut child = Self::read(below);
                child.is_member |= child.below.is_empty();
                set.below.insert(element.clone(), child);
            }
        }
        set
    }

    /// As `fieldsV1`.
    pub(super) fn written(&self) -> Value {
        let mut fields = Map::new();
        if self.is_member && !self.below.is_empty() {
            fields.insert(".".to_owned(), json!({}));
        }
        for (element, child) in &self.below {
            fields.insert(element.clone(), child.written());
        }
        Value::Object(fields)
    }
}

/// An element as messages have it.
fn spoken(element: &str) -> String {
    let (sort, rest) = element.split_at(2.min(element.len()));
    match (sort, serde_json::from_str(rest)) {
        ("k:", Ok(Value::Object(key))) => {
            let fields = key.iter().map(|(name, value)| format!("{name}={value}"));
            format!("[{}]", fields.collect::<Vec<_>>().join(","))
        }
        ("v:", Ok(value)) => format!("[={value}]"),
        _ => format!(".{rest}"),
    }
}

/// Fields of `metadata` that are the server's.
const UNOWNED: &[&str] = &[
    "f:creationTimestamp",
    "f:deletionTimestamp",
    "f:generation",
    "f:managedFields",
    "f:name",
    "f:namespace",
    "f:resourceVersion",
    "f:selfLink",
    "f:uid",
];
