//! Manifests: Kubernetes YAML or JSON, into objects or what is wrong with them.
//!
//! Where there is no API server this module stands in for it: it fills in defaults, refuses what the API server and
//! MetalLB's webhooks refuse of one object, and leaves checks between objects to [`crate::World`]. It knows nothing
//! of files but the name they go by in messages.
//!
//! People apply folders that hold more than is read here. A kind that is not ours is a [`Note`], never a problem;
//! what looks like a misspelt kind of ours is a problem.

mod document;
mod list;
mod native;
mod public;
mod text;
mod write;

pub(crate) use text::settle_nulls;

use crate::key::{Kind, ObjectKey};
use crate::object::Object;
use crate::problem::Problem;
use serde::Serialize;
use serde_json::Value;
use std::fmt;

pub use public::{LEFT_OUT, without_secrets};
pub use write::write;

/// The namespace in which MetalLB looks for its configuration unless told otherwise.
pub const DEFAULT_NAMESPACE: &str = "metallb-system";

/// What a file holds, in its order.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Manifests {
    /// Objects, and what is wrong with others. A problem right after its own object stands beside it: the object is
    /// in force, but not all of it.
    pub objects: Vec<Result<Object, Problem>>,
    /// What was left aside, and why.
    pub notes: Vec<Note>,
}

/// Something that was left aside without being wrong.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Note {
    /// The file and document.
    pub origin: String,
    /// Kind, namespace and name as they stand there.
    pub subject: String,
    /// Why, as a fragment that continues the subject.
    pub why: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.subject, self.why)
    }
}

/// Reads the text of one file. `origin` names the file in messages; configuration counts only in
/// `config_namespace`, which is also where it is taken to be when it names none.
pub fn read(origin: &str, text: &str, config_namespace: &str) -> Manifests {
    let mut manifests = Manifests::default();
    for document in text::split(text) {
        let origin = format!("{origin}#{}", document.number);
        if document.number > DOCUMENTS_MAX {
            let why = format!(
                "and the documents after it are past the limit of {DOCUMENTS_MAX} in a file"
            );
            manifests.objects.push(Err(unnamed(&origin, why)));
            break;
        }
        if let Some(list) = list::List::of(&document)
            && document::list(&origin, &list, config_namespace, &mut manifests).is_ok()
        {
            continue;
        }
        match text::values(&document) {
            Ok(values) => {
                for value in values {
                    document::read(&origin, value, config_namespace, &mut manifests);
                }
            }
            Err(why) => manifests.objects.push(Err(unnamed(&origin, why))),
        }
    }
    manifests
}

/// Reads one object, or a list of them, that came as a value, such as from an API server.
pub fn of_value(origin: &str, value: Value, config_namespace: &str) -> Manifests {
    let mut manifests = Manifests::default();
    document::read(origin, value, config_namespace, &mut manifests);
    manifests
}

/// The Secrets of a file by namespace and name, as they stand there. They are no objects: nobody who is not asked for one sees it. A document
/// that cannot be read is passed over here, and a problem of [`read`]. `namespace` is that of a Secret that names none.
pub fn secrets(text: &str, namespace: &str) -> Vec<((String, String), Value)> {
    let documents = text::split(text).take(DOCUMENTS_MAX);
    let of_secrets = documents.filter(|document| document.text.contains(SECRET));
    let values = of_secrets.flat_map(|document| text::values(&document).unwrap_or_default());
    let all = values.flat_map(document::items);
    all.filter(|value| value["apiVersion"] == "v1" && value["kind"] == SECRET)
        .filter_map(|value| {
            let metadata = &value["metadata"];
            let own = metadata["namespace"].as_str().unwrap_or(namespace);
            let name = (own.to_owned(), metadata["name"].as_str()?.to_owned());
            Some((name, value))
        })
        .collect()
}

/// The kind of a Secret.
pub const SECRET: &str = "Secret";

/// The values of a text that is one document, or none.
pub(crate) fn values(text: &str) -> Result<Vec<Value>, String> {
    let mut values = Vec::new();
    for document in text::split(text) {
        values.extend(text::values(&document)?);
    }
    Ok(values)
}

/// A problem of a document whose object is not known.
fn unnamed(origin: &str, why: impl Into<String>) -> Problem {
    Problem {
        object: ObjectKey::new(Kind::Document, "", origin),
        origin: origin.to_owned(),
        field: String::new(),
        why: why.into(),
    }
}

const DOCUMENTS_MAX: usize = 20_000; // more than the objects of a large cluster

#[cfg(test)]
mod tests;
