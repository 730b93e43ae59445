//! One entry of `metadata.managedFields`.

use super::set::Set;
use crate::value::text;
use serde_json::{Value, json};

/// Who writes, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manager<'a> {
    /// `fieldManager` of the request, or the name of its program.
    pub name: &'a str,
    /// As in `status`; empty on the main path.
    pub subresource: &'a str,
    /// Now, as objects have it; entries go without if it is not said.
    pub time: Option<&'a str>,
}

impl<'a> From<&'a str> for Manager<'a> {
    fn from(name: &'a str) -> Self {
        Self {
            name,
            subresource: "",
            time: None,
        }
    }
}

/// How a manager came to own its fields. Those of an apply are told apart from those of other writes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn text(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    manager: String,
    operation: Operation,
    version: String,
    subresource: String,
    pub(super) time: Option<String>,
    pub(super) fields: Set,
}

impl Entry {
    pub(super) fn apply(
        manager: &Manager<'_>,
        object: &Value,
        fields: Set,
        time: Option<String>,
    ) -> Self {
        Self {
            manager: manager.name.to_owned(),
            operation: Operation::Apply,
            version: text(&object["apiVersion"]),
            subresource: manager.subresource.to_owned(),
            time,
            fields,
        }
    }

    pub(super) fn update(manager: &Manager<'_>, object: &Value, fields: Set) -> Self {
        Self {
            operation: Operation::Update,
            time: manager.time.map(ToOwned::to_owned),
            ..Self::apply(manager, object, fields, None)
        }
    }

    /// Whether a write of this manager goes into this entry. One that applies has one entry in all versions.
    pub(super) fn is_of(
        &self,
        manager: &Manager<'_>,
        operation: Operation,
        object: &Value,
    ) -> bool {
        let is_same_version = match operation {
            Operation::Apply => true,
            Operation::Update => object["apiVersion"] == *self.version,
        };
        is_same_version
            && self.operation == operation
            && self.manager == manager.name
            && self.subresource == manager.subresource
    }

    /// As conflicts name it.
    pub(super) fn owner(&self) -> String {
        let mut owner = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            owner = format!("{owner} with subresource {:?}", self.subresource);
        }
        match self.operation {
            Operation::Apply => owner,
            Operation::Update => format!("{owner} using {}", self.version),
        }
    }

    fn read(entry: &Value) -> Self {
        Self {
            manager: text(&entry["manager"]),
            operation: match entry["operation"].as_str() {
                Some("Apply") => Operation::Apply,
                _ => Operation::Update,
            },
            version: text(&entry["apiVersion"]),
            subresource: text(&entry["subresource"]),
            time: entry["time"].as_str().map(ToOwned::to_owned),
            fields: Set::read(&entry["fieldsV1"]),
        }
    }

    fn written(&self) -> Value {
        let mut entry = json!({
            "manager": self.manager,
            "operation": self.operation.text(),
            "apiVersion": self.version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.written(),
        });
        if let Some(time) = &self.time {
            entry["time"] = json!(time);
        }
        if !self.subresource.is_empty() {
            entry["subresource"] = json!(self.subresource);
        }
        entry
    }
}

/// The entries of an object.
pub(super) fn read(object: Option<&Value>) -> Vec<Entry> {
    let entries = object.and_then(|object| object["metadata"]["managedFields"].as_array());
    let entries = entries.into_iter().flatten();
    entries.map(Entry::read).collect()
}

/// Puts entries into an object, in the server's order; none where there are none.
pub(super) fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|a, b| {
        let order = |entry: &Entry| {
            (
                entry.operation,
                entry.time.clone(),
                entry.manager.clone(),
                entry.version.clone(),
                entry.subresource.clone(),
            )
        };
        order(a).cmp(&order(b))
    });
    let Some(object) = object.as_object_mut() else {
        return;
    };
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    let entries: Vec<Value> = entries.iter().map(Entry::written).collect();
    if let Some(metadata) = metadata.as_object_mut() {
        if entries.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".to_owned(), Value::Array(entries));
        }
    }
}
