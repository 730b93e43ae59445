//! Which status objects of this node should exist, and the writes that lead there.
//!
//! An object says one thing of one node: its labels say of what, its status says what. Everything here is a function of what is wanted
//! and of the objects that were seen, so that a lost answer or a late event costs a write more and nothing else. What the
//! kinds look like is in [`service`] and [`session`]; how objects are seen and written is the shell's affair.

pub mod service;
pub mod session;

use serde_json::{Value, json};
use speaker_proto::NodeName;
use std::collections::{BTreeMap, BTreeSet};

/// A kind of status object: how it is named and labelled, and what is special about it.
#[derive(Debug)]
pub struct Form {
    /// Its API group; the version is v1beta1.
    pub group: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// Its collection.
    pub plural: &'static str,
    /// What the server's names for objects begin with; `None`: the node and a dash.
    pub prefix: Option<&'static str>,
    /// The label that names the node.
    pub node_label: &'static str,
    /// The labels that name what it is about.
    pub subject_labels: [&'static str; 2],
    /// A label that ours have besides: objects of the kind without it are somebody else's and left alone.
    pub mark: Option<(&'static str, &'static str)>,
    /// Fields of the status that no write may change once they are there.
    pub fixed: &'static [&'static str],
    /// Only one node says this of a subject at a time: it takes away the objects of others.
    pub is_exclusive: bool,
}

/// What an object is about: the values of the two labels, in their order.
pub type Subject = [String; 2];

/// The subjects of which this node has something to say, and the status that says it.
pub type Wanted = BTreeMap<Subject, Value>;

/// An object as it was seen last.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    node: String,
    subject: Subject,
    owner: Option<String>,
    status: Value,
    version: u128,
}

/// One write.
#[derive(Clone, PartialEq, Debug)]
pub enum Write {
    /// Delete the object of that name.
    Delete(String),
    /// Make an object with this body; its status is a write of its own.
    Make(Value),
    /// Merge this into an object's metadata.
    Own(String, Value),
    /// Merge this into an object's status.
    Say(String, Value),
}

/// The objects of one kind that this node has to do with.
#[derive(Clone, Debug)]
pub struct StatusObjects {
    form: &'static Form,
    node: NodeName,
    seen: BTreeMap<String, Seen>,
}

impl StatusObjects {
    /// Nothing has been seen.
    pub const fn new(form: &'static Form, node: NodeName) -> Self {
        Self {
            form,
            node,
            seen: BTreeMap::new(),
        }
    }

    /// The kind.
    pub const fn form(&self) -> &'static Form {
        self.form
    }

    /// The label selector of this node's objects.
    pub fn own_labels(&self) -> String {
        let own = format!("{}={}", self.form.node_label, self.node);
        match self.form.mark {
            Some((label, ours)) => format!("{own},{label}={ours}"),
            None => own,
        }
    }

    /// The label selector of other nodes' objects.
    pub fn others_labels(&self) -> String {
        format!("{}!={}", self.form.node_label, self.node)
    }

    /// The label selector of all nodes' objects about one subject.
    pub fn labels_of(&self, [first, second]: &Subject) -> String {
        let [one, two] = self.form.subject_labels;
        format!("{one}={first},{two}={second}")
    }

    /// An object as a list, a watch or the answer to a write has it. One that is older than what was seen is late news.
    pub fn put(&mut self, object: &Value) {
        let Some((name, seen)) = self.form.read(object) else {
            return;
        };
        let is_late = |known: &Seen| known.version > seen.version;
        if !self.seen.get(&name).is_some_and(is_late) {
            self.seen.insert(name, seen);
        }
    }

    /// An object is gone.
    pub fn gone(&mut self, name: &str) {
        self.seen.remove(name);
    }

    /// Forgets the objects of other nodes, which are looked for when they matter and not followed.
    pub fn forget_others(&mut self) {
        self.seen.retain(|_, seen| seen.node == self.node.as_str());
    }

    /// The subjects of which this node has no object yet although only one node may have: those whose objects of other nodes it has
    /// not looked for.
    pub fn fresh<'w>(&self, wanted: &'w Wanted) -> Vec<&'w Subject> {
        if !self.form.is_exclusive {
            return Vec::new();
        }
        let own = self
            .seen
            .values()
            .filter(|seen| seen.node == self.node.as_str());
        let known: BTreeSet<&Subject> = own.map(|seen| &seen.subject).collect();
        wanted
            .keys()
            .filter(|subject| !known.contains(subject))
            .collect()
    }

    /// What is still to be written, what takes away first. `owner` is the `ownerReferences` entry of this pod.
    pub fn writes(&self, wanted: &Wanted, owner: Option<&Value>) -> Vec<Write> {
        let mut deletes = Vec::new();
        let mut rest = Vec::new();
        let mut missing: BTreeSet<&Subject> = wanted.keys().collect();
        for (name, seen) in &self.seen {
            let status = wanted.get(&seen.subject);
            if seen.node != self.node.as_str() {
                // Where this node says nothing, the object is its node's to take away.
                let is_ours_to_say = status.filter(|_| self.form.is_exclusive);
                deletes.extend(is_ours_to_say.map(|_| Write::Delete(name.clone())));
                continue;
            }
            // Of two of its own one is enough; one that speaks of something else cannot be set right.
            let may_say = |status: &&Value| self.form.may_become(&seen.status, status);
            let Some(status) = status.filter(may_say) else {
                deletes.push(Write::Delete(name.clone()));
                continue;
            };
            if !missing.remove(&seen.subject) {
                deletes.push(Write::Delete(name.clone()));
                continue;
            }
            rest.extend(mended(name, seen, status, owner));
        }
        let made = missing.into_iter();
        rest.extend(made.map(|subject| Write::Make(self.object(subject, owner))));
        deletes.extend(rest);
        deletes
    }

    fn object(&self, subject: &Subject, owner: Option<&Value>) -> Value {
        let form = self.form;
        let [first, second] = form.subject_labels;
        let own_prefix = || format!("{}-", self.node);
        let mut object = json!({
            "apiVersion": format!("{}/v1beta1", form.group),
            "kind": form.kind,
            "metadata": {
                "generateName": form.prefix.map_or_else(own_prefix, str::to_owned),
                "labels": {
                    form.node_label: self.node.as_str(),
                    first: subject[0],
                    second: subject[1],
                },
            },
        });
        if let Some((label, ours)) = form.mark {
            object["metadata"]["labels"][label] = json!(ours);
        }
        if let Some(owner) = owner {
            object["metadata"]["ownerReferences"] = json!([owner]);
        }
        object
    }
}

fn mended(name: &str, seen: &Seen, status: &Value, owner: Option<&Value>) -> Vec<Write> {
    let mut writes = Vec::new();
    if let Some(owner) = owner
        && owner["uid"].as_str() != seen.owner.as_deref()
    {
        let metadata = json!({"metadata": {"ownerReferences": [owner]}});
        writes.push(Write::Own(name.to_owned(), metadata));
    }
    // What a later version of the kind says besides is not ours to judge.
    let mut fields = status.as_object().into_iter().flatten();
    if !fields.all(|(field, value)| seen.status[field] == *value) {
        writes.push(Write::Say(name.to_owned(), json!({"status": status})));
    }
    writes
}

impl Form {
    /// Whether the fields that no write may change once they are there are absent or right.
    fn may_become(&self, from: &Value, to: &Value) -> bool {
        let mut fixed = self.fixed.iter();
        fixed.all(|field| from[field].is_null() || from[field] == to[field])
    }

    /// Name and content; `None` if it lacks a label or our mark, since then it is not one of ours.
    fn read(&self, object: &Value) -> Option<(String, Seen)> {
        let metadata = &object["metadata"];
        let label = |key: &str| metadata["labels"][key].as_str().map(str::to_owned);
        let [first, second] = self.subject_labels;
        if let Some((mark, ours)) = self.mark
            && label(mark).as_deref() != Some(ours)
        {
            return None;
        }
        let seen = Seen {
            node: label(self.node_label)?,
            subject: [label(first)?, label(second)?],
            owner: metadata["ownerReferences"][0]["uid"]
                .as_str()
                .map(str::to_owned),
            status: object["status"].clone(),
            version: metadata["resourceVersion"]
                .as_str()
                .and_then(|version| version.parse().ok())
                .unwrap_or_default(),
        };
        Some((metadata["name"].as_str()?.to_owned(), seen))
    }
}

#[cfg(test)]
mod tests;
