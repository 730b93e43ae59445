//! What is wrong with an object, as a value.
//!
//! The same value goes to the log, `ctl status` and the metrics.

use crate::object::ObjectKey;
use serde::Serialize;
use std::fmt;

/// A fault in one object: where it came from, which field, and why.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Problem {
    /// The object; for a document that could not be read so far, a key made of the file and its place in it.
    pub object: ObjectKey,
    /// The file and document (`services.yaml#3`) or `api`.
    pub origin: String,
    /// The path of the field, such as `spec.addresses[2]`; empty when it is the object as a whole.
    pub field: String,
    /// What is wrong, as a fragment that continues the field: `not a range`.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.object)?;
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.why)
    }
}
