//! What became of one object: how it was left, and how often it had to be put right.

use serde_json::Value;
use speaker_proto::{Span, Time};

/// An object as this process applied it.
pub(super) struct Applied {
    pub(super) wanted: Value,
    /// The object as it was after that, without what changes by itself.
    pub(super) left: Value,
    /// Somebody changed it since.
    pub(super) is_stale: bool,
    /// How often it was put right in a row, and when it may be again.
    repairs: u32,
    calm_until: Time,
}

impl Applied {
    /// Of what was wanted; how it was left is yet to be told.
    pub(super) fn new(wanted: &Value) -> Self {
        Self {
            wanted: wanted.clone(),
            left: Value::Null,
            is_stale: false,
            repairs: 0,
            calm_until: Time::default(),
        }
    }

    /// When it may be put right: at once, unless somebody keeps changing it.
    pub(super) const fn due(&self) -> Time {
        match self.is_stale {
            true => self.calm_until,
            false => Time::from_ns(0),
        }
    }

    /// Notes that it was put right.
    pub(super) fn repaired(&mut self, now: Time) {
        if now.since(self.calm_until) > FIGHT_OVER {
            self.repairs = 0;
        }
        let wait = REPAIR_FIRST.ns() << self.repairs.min(REPAIR_DOUBLINGS_MAX);
        self.calm_until = now + Span::from_ns(wait);
        self.repairs += 1;
    }
}

/// An object without what changes by itself.
pub(super) fn lasting(object: &Value) -> Value {
    let mut object = object.clone();
    let Some(fields) = object.as_object_mut() else {
        return object;
    };
    // Items of a list do not say what they are.
    for field in ["apiVersion", "kind", "status"] {
        fields.remove(field);
    }
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["generation", "managedFields", "resourceVersion"] {
            metadata.remove(field);
        }
    }
    object
}

/// Somebody who changes an object again and again is answered more and more slowly, at last twice a minute.
const REPAIR_FIRST: Span = Span::s(1);
const REPAIR_DOUBLINGS_MAX: u32 = 5;
const FIGHT_OVER: Span = Span::s(300);
