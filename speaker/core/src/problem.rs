//! What is wrong with an object, as a value.
//!
//! The same value goes to the log, `ctl status` and the metrics.

use crate::key::{Kind, ObjectKey};
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
        f.write_str(&self.origin)?;
        if self.object.kind != Kind::Document {
            write!(f, ": {}", self.object)?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.why)
    }
}

/// A fault in one field, before it is known which object it belongs to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fault {
    /// The path of the field; empty when it is the object as a whole.
    pub field: String,
    /// What is wrong, as a fragment that continues the field.
    pub why: String,
}

impl Fault {
    /// A fault in `field`.
    pub fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            why: why.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.why)
    }
}

/// Everything that is wrong with one object, in the order in which it was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Adds one.
    pub fn push(&mut self, field: impl Into<String>, why: impl Into<String>) {
        self.0.push(Fault::new(field, why));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value if nothing is wrong.
    pub fn none_or<T>(self, value: impl FnOnce() -> T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value())
        } else {
            Err(self)
        }
    }

    /// Keeps a value, or adds why there is none.
    pub fn take<T>(
        &mut self,
        field: impl FnOnce() -> String,
        parsed: Result<T, String>,
    ) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(why) => {
                self.push(field(), why);
                None
            }
        }
    }

    /// In one line; faults past [`FAULTS_SHOWN_MAX`] are counted.
    pub fn brief(&self) -> String {
        let shown: Vec<String> = self
            .0
            .iter()
            .take(FAULTS_SHOWN_MAX)
            .map(Fault::to_string)
            .collect();
        let shown = shown.join("; ");
        match self.0.len().saturating_sub(FAULTS_SHOWN_MAX) {
            0 => shown,
            left_out => format!("{shown}; and {left_out} more"),
        }
    }

    /// The faults as one problem of `object`: the first gives the field, the next ones stand in the text, and those
    /// past [`FAULTS_SHOWN_MAX`] are counted. `None` if there is no fault.
    pub fn into_problem(self, object: ObjectKey, origin: &str) -> Option<Problem> {
        let left_out = self.0.len().saturating_sub(FAULTS_SHOWN_MAX);
        let mut faults = self.0.into_iter().take(FAULTS_SHOWN_MAX);
        let Fault { field, mut why } = faults.next()?;
        for fault in faults {
            why = format!("{why}; {fault}");
        }
        if left_out > 0 {
            why = format!("{why}; and {left_out} more");
        }
        Some(Problem {
            object,
            origin: origin.to_owned(),
            field,
            why,
        })
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

const FAULTS_SHOWN_MAX: usize = 4; // a log line stays readable
