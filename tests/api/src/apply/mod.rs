//! Who owns which field of an object: server-side apply, and the owners that every other write leaves behind.
//!
//! It knows one object, how its lists are to be read, and who writes; no clock, no store, no HTTP. Ruled by the chapter
//! "Server-Side Apply" of Kubernetes' documentation; the texts are those of kube-apiserver, as recorded. Not known: conversion
//! of owners between versions, and the limit of ten owners by update.
//!
//! What a path may not write, the caller takes out of the object first: the status on the main path, all but the status on
//! `/status` of a custom resource.

mod entry;
mod lists;
mod set;
mod weave;

pub use entry::Manager;
pub use lists::Lists;

use crate::value::text;
use entry::{Entry, Operation};
use serde_json::Value;
use set::Set;
use weave::Differences;

/// Why an apply is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// 409 when others own what is asked for; 500 when the object cannot be read as its kind.
    pub code: u16,
    /// The whole message.
    pub message: String,
    /// Field and message of each cause, `FieldManagerConflict` all of them.
    pub causes: Vec<(String, String)>,
}

/// The object after a manager applied `wanted` to it, with its `managedFields`. Defaults are left to the caller. `force` takes
/// fields away from their owners.
///
/// # Errors
/// Another manager owns a field and has another value there, or an item of a list has no key.
pub fn apply<'a>(
    live: Option<&Value>,
    wanted: &Value,
    manager: impl Into<Manager<'a>>,
    force: bool,
    lists: &Lists,
) -> Result<Value, Conflict> {
    let manager = manager.into();
    lists.check(wanted).map_err(|why| Conflict {
        code: 500,
        message: format!(
            "failed to create typed patch object {}: {why}",
            of_object(wanted)
        ),
        causes: Vec::new(),
    })?;
    let mut entries = entry::read(live);
    if let Some(live) = live.filter(|_| entries.is_empty()) {
        let before = Manager {
            name: "before-first-apply",
            subresource: "",
            time: manager.time,
        };
        entries.push(Entry::update(&before, live, everything(live, lists)));
    }
    let own = Set::of(wanted, lists.root()).without_metadata();
    let mut merged = match live {
        Some(live) => weave::merge(live, wanted, lists.root()),
        None => wanted.clone(),
    };
    let is_own = |entry: &Entry| entry.is_of(&manager, Operation::Apply, wanted);
    let mut last = None;
    if let Some(at) = entries.iter().position(is_own) {
        last = Some(entries.remove(at));
    }
    if let Some(last) = &last {
        let mut kept = own.clone();
        for entry in &entries {
            kept.add(&entry.fields);
        }
        weave::remove(&mut merged, &last.fields, &kept, lists.root());
    }
    let changes = weave::compare(live, &merged, lists);
    take(&mut entries, &changes, force)?;
    let time = if changes.is_empty() {
        last.and_then(|last| last.time)
    } else {
        manager.time.map(ToOwned::to_owned)
    };
    entries.push(Entry::apply(&manager, wanted, own, time));
    entry::write(&mut merged, entries);
    Ok(merged)
}

/// Records in `new` that a manager wrote it by PUT, POST or PATCH. What `new` itself says of owners counts as what was before, which is
/// how owners are changed by hand; `managedFields: [{}]` makes it forget them all.
pub fn own_update<'a>(
    old: Option<&Value>,
    new: &mut Value,
    manager: impl Into<Manager<'a>>,
    lists: &Lists,
) {
    let manager = manager.into();
    let is_reset = new["metadata"]["managedFields"] == serde_json::json!([{}]);
    let mut entries = entry::read(Some(new));
    if entries.is_empty() {
        entries = entry::read(old);
    }
    if is_reset || (old.is_some() && entries.is_empty()) {
        // An object without owners gets none before the first apply.
        entry::write(new, Vec::new());
        return;
    }
    let changes = weave::compare(old, new, lists);
    take(&mut entries, &changes, true).expect("who takes by force meets no conflict");
    if !changes.changed.is_empty() {
        let is_own = |entry: &Entry| entry.is_of(&manager, Operation::Update, new);
        let mut fields = changes.changed;
        if let Some(at) = entries.iter().position(is_own) {
            fields.add(&entries.remove(at).fields);
        }
        entries.push(Entry::update(&manager, new, fields));
    }
    entry::write(new, entries);
}

/// Whether two versions of an object differ at most in when their owners wrote: such a write is none, and the older version stays.
pub fn is_same_but_for_times(one: &Value, other: &Value) -> bool {
    let timeless = |object: &Value| {
        let mut object = object.clone();
        if let Some(entries) = object["metadata"]["managedFields"].as_array_mut() {
            for entry in entries.iter_mut() {
                crate::value::take(entry, "time");
            }
            entries.sort_by_key(Value::to_string);
        }
        object
    };
    one == other || timeless(one) == timeless(other)
}

/// Takes what changed away from those who own it; without force that is a conflict.
fn take(entries: &mut Vec<Entry>, changes: &Differences, force: bool) -> Result<(), Conflict> {
    let contested = |entry: &Entry| entry.fields.intersection(&changes.changed);
    if !force {
        let mut causes: Vec<(String, String)> = Vec::new();
        for entry in entries.iter() {
            let owner = entry.owner();
            let paths = contested(entry).paths();
            causes.extend(paths.into_iter().map(|path| (path, owner.clone())));
        }
        if !causes.is_empty() {
            return Err(conflict(causes));
        }
    }
    for entry in entries.iter_mut() {
        entry.fields.subtract(&changes.changed);
        entry.fields.subtract(&changes.removed);
    }
    entries.retain(|entry| !entry.fields.is_empty());
    Ok(())
}

/// `causes`: path and owner.
fn conflict(mut causes: Vec<(String, String)>) -> Conflict {
    causes.sort_by(|a, b| a.1.cmp(&b.1));
    let message = match causes.as_slice() {
        [(path, owner)] => format!("Apply failed with 1 conflict: conflict with {owner}: {path}"),
        several => {
            let mut lines = Vec::new();
            let mut told = "";
            for (path, owner) in several {
                if owner != told {
                    lines.push(format!("conflicts with {owner}:"));
                    told = owner;
                }
                lines.push(format!("- {path}"));
            }
            let count = several.len();
            format!("Apply failed with {count} conflicts: {}", lines.join("\n"))
        }
    };
    let causes = causes.into_iter();
    Conflict {
        code: 409,
        message,
        causes: causes
            .map(|(path, owner)| (path, format!("conflict with {owner}")))
            .collect(),
    }
}

/// All fields of an object, as if it had just been made.
fn everything(object: &Value, lists: &Lists) -> Set {
    weave::compare(None, object, lists).changed
}

/// As in `(ns/name; group/version, Kind=Kind)`.
fn of_object(object: &Value) -> String {
    let metadata = &object["metadata"];
    let version = text(&object["apiVersion"]);
    let slash = if version.contains('/') { "" } else { "/" };
    format!(
        "({}/{}; {slash}{version}, Kind={})",
        text(&metadata["namespace"]),
        text(&metadata["name"]),
        text(&object["kind"])
    )
}
