//! Random histories of a cluster: what users and chance do to it, from a seed.
//!
//! The same seed and length give the same history on every machine. Names and addresses are few, so that services meet: they
//! wait for each other's addresses, share them, and lose their pools. Knows nothing of what should come of it.

mod chance;
mod pools;
mod services;
mod shrink;

pub use shrink::shrink;

use chance::Chance;
use serde_json::{Value, json};
use std::fmt;

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// A user applies an object; it replaces what the user said of it before.
    Apply(Value),
    /// A user deletes an object, if it is there.
    Delete(Subject),
    /// Someone empties the status of a service, if it is there.
    Empty(Subject),
    /// Every controller stops as asked to and starts anew.
    Restart,
    /// The controller that writes dies right after it has sent so many more requests; the next takes over.
    Kill {
        /// 1 for the next one.
        requests: usize,
    },
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Such as `Service`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Subject {
    fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// One line of JSON, in the form of the recorded sequences where they have one.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            |of: &Subject| json!({"kind": of.kind, "namespace": of.namespace, "name": of.name});
        let line = match self {
            Self::Apply(object) => json!({"apply": object}),
            Self::Delete(subject) => json!({"delete": names(subject)}),
            Self::Empty(subject) => json!({"empty-status": names(subject)}),
            Self::Restart => json!({"restart-controller": {}}),
            Self::Kill { requests } => json!({"kill-leader": {"requests": requests}}),
        };
        line.fmt(f)
    }
}

/// A history of so many operations. A service is of no class, or of another than `class` once in a while.
pub fn history(seed: u64, count: usize, class: Option<&str>) -> Vec<Operation> {
    let mut chance = Chance::new(seed);
    let mut killed = 0;
    let operations = (0..count).map(|i| match i {
        // Something to do from the start.
        0..3 => Operation::Apply(pools::pool(&mut chance)),
        _ => operation(&mut chance, class, &mut killed),
    });
    operations.collect()
}

fn operation(chance: &mut Chance, class: Option<&str>, killed: &mut usize) -> Operation {
    match chance.below(100) {
        0..48 => Operation::Apply(services::service(chance, class)),
        48..58 => Operation::Delete(services::subject(chance)),
        58..74 => Operation::Apply(pools::pool(chance)),
        74..79 => Operation::Delete(pools::subject(chance)),
        79..86 => Operation::Apply(namespace(chance)),
        86..90 => Operation::Empty(services::subject(chance)),
        90..93 => Operation::Restart,
        _ => {
            // In turn, so that each place between two writes is met.
            *killed += 1;
            Operation::Kill {
                requests: 1 + (*killed - 1) % REQUESTS_MAX,
            }
        }
    }
}

fn namespace(chance: &mut Chance) -> Value {
    let labels = match chance.below(3) {
        0 => json!({}),
        1 => json!({"tier": "gold"}),
        _ => json!({"tier": "silver"}),
    };
    let metadata = json!({"name": chance.pick(&NAMESPACES), "labels": labels});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
}

/// Where services are.
const NAMESPACES: [&str; 3] = ["a", "b", "c"];
/// A change rarely needs more: two statuses, two events, and the pools.
const REQUESTS_MAX: usize = 6;

#[cfg(test)]
mod tests;
