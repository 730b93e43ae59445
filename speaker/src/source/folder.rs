//! Which file holds which object, and what a changed file means for the whole.
//!
//! Pure: files come in as what was read of them. The same folder gives the same objects on every node, whatever
//! happened before: of an object that stands twice, the first in order of paths counts. An object is gone when no
//! file holds it any more; one that stood in a file of which a document cannot be read now is not gone, since it may
//! be that document.

use super::Event;
use speaker_core::manifest::{Manifests, Note};
use speaker_core::{Kind, Object, ObjectKey, Problem};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The path of a file within the folder.
pub(super) type Path = Arc<str>;

/// What was found at a path.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Content {
    /// A file that was read, sound or not.
    Read(Manifests),
    /// A file that could not be read.
    Unreadable(String),
    /// No file.
    Absent,
}

/// Keys of the objects in each file. With thousands of objects they weigh as much as these: each key is there once.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Folder {
    files: BTreeMap<Path, Keys>,
    /// The files of each object, in the order of their paths.
    holders: BTreeMap<Arc<ObjectKey>, Vec<Path>>,
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Keys {
    /// What the file holds now, also as a problem.
    fresh: BTreeSet<Arc<ObjectKey>>,
    /// What it held before a document of it became unreadable.
    kept: BTreeSet<Arc<ObjectKey>>,
    /// What was left aside and told.
    notes: BTreeSet<Note>,
}

/// What changed files lead to.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Change {
    /// To be told, in this order.
    pub(super) events: Vec<Event>,
    /// Files that must be read again, because something in them counts now that did not before.
    pub(super) reread: BTreeSet<Path>,
}

impl Folder {
    /// Whether no file holds anything, as before the first was read.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Every path that held something.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys()
    }

    /// Takes what was found at some paths.
    pub(super) fn take(&mut self, found: BTreeMap<Path, Content>) -> Change {
        let mut change = Change::default();
        let mut left = BTreeSet::new();
        for (path, content) in &found {
            left.extend(self.index(path, content, &mut change.events));
        }
        let paths: BTreeSet<Path> = found.keys().cloned().collect();
        for (path, content) in found {
            self.tell(&path, content, &mut change.events);
        }
        let kept = self.kept(left.is_empty());
        for key in left {
            match self.first(&key) {
                Some(first) if paths.contains(first) => {}
                Some(first) => {
                    change.reread.insert(first.clone());
                }
                None if kept.contains(&key) => {}
                None => change.events.push(Event::Gone(ObjectKey::clone(&key))),
            }
        }
        change
    }

    /// The file of which an object counts.
    fn first(&self, key: &ObjectKey) -> Option<&Path> {
        self.holders.get(key)?.first()
    }

    /// Every object that stays in force although no file shows it; not asked for if nothing has left.
    fn kept(&self, is_idle: bool) -> BTreeSet<Arc<ObjectKey>> {
        if is_idle {
            return BTreeSet::new();
        }
        self.files
            .values()
            .flat_map(|file| &file.kept)
            .cloned()
            .collect()
    }

    /// Notes which keys a file holds now; the keys that it has left.
    fn index(
        &mut self,
        path: &Path,
        content: &Content,
        events: &mut Vec<Event>,
    ) -> BTreeSet<Arc<ObjectKey>> {
        let old = self.files.remove(path).unwrap_or_default();
        let fresh = keys(path, content).into_iter();
        let mut new = Keys {
            fresh: fresh.map(|key| self.shared(key)).collect(),
            ..Keys::default()
        };
        let lost = old
            .fresh
            .union(&old.kept)
            .filter(|key| !new.fresh.contains(*key));
        let (kept, left): (BTreeSet<_>, BTreeSet<_>) = lost
            .cloned()
            .partition(|key| is_veiled(content) && key.kind != Kind::Document);
        new.kept = kept;
        if let Content::Read(manifests) = content {
            new.notes.extend(manifests.notes.iter().cloned());
            let news = new.notes.difference(&old.notes);
            events.extend(news.cloned().map(Event::Note));
        }
        for key in old.fresh.difference(&new.fresh) {
            self.release(key, path);
        }
        for key in &new.fresh {
            let holders = self.holders.entry(Arc::clone(key));
            let holders = holders.or_insert_with(|| Vec::with_capacity(1));
            if let Err(place) = holders.binary_search(path) {
                holders.insert(place, Arc::clone(path));
            }
        }
        if new != Keys::default() {
            self.files.insert(Arc::clone(path), new);
        }
        left
    }

    /// The key as it is there already, if some file holds the object.
    fn shared(&self, key: ObjectKey) -> Arc<ObjectKey> {
        let known = self.holders.get_key_value(&key);
        known.map_or_else(|| Arc::new(key), |(known, _)| Arc::clone(known))
    }

    fn release(&mut self, key: &ObjectKey, path: &Path) {
        if let Some(holders) = self.holders.get_mut(key) {
            holders.retain(|holder| holder != path);
            if holders.is_empty() {
                self.holders.remove(key);
            }
        }
    }

    /// Tells what of a file counts.
    fn tell(&self, path: &Path, content: Content, events: &mut Vec<Event>) {
        let manifests = match content {
            Content::Read(manifests) => manifests,
            Content::Unreadable(why) => {
                events.push(Event::Put(Err(unreadable(path, &why))));
                return;
            }
            Content::Absent => return,
        };
        let mut defined = BTreeSet::new();
        let mut twice = BTreeSet::new();
        for object in manifests.objects {
            let key = key(&object);
            let counts = self.first(&key) == Some(path);
            let is_repeated = object.is_ok() && !defined.insert(key.clone());
            if is_repeated {
                twice.insert(key);
            } else if counts {
                events.push(Event::Put(object));
            }
        }
        let held = self.files.get(path).into_iter();
        let duplicates = held.flat_map(|file| &file.fresh).filter_map(|key| {
            let first = self.first(key)?;
            self.duplicate(key, first, twice.contains(&**key))
        });
        events.extend(duplicates.map(|problem| Event::Put(Err(problem))));
    }

    /// What is wrong with an object that stands twice; `None` if it does not.
    fn duplicate(&self, key: &ObjectKey, first: &Path, is_twice_there: bool) -> Option<Problem> {
        let other = self.holders.get(key)?.get(1);
        let (origin, why) = match other {
            Some(other) => (other, format!("is also in {first}, and that one counts")),
            None if is_twice_there => {
                (first, "is there twice, and the first one counts".to_owned())
            }
            None => return None,
        };
        Some(Problem {
            object: key.clone(),
            origin: origin.to_string(),
            field: String::new(),
            why,
        })
    }
}

fn key(object: &Result<Object, Problem>) -> ObjectKey {
    match object {
        Ok(object) => object.key(),
        Err(problem) => problem.object.clone(),
    }
}

fn keys(path: &Path, content: &Content) -> BTreeSet<ObjectKey> {
    match content {
        Content::Read(manifests) => manifests.objects.iter().map(key).collect(),
        Content::Unreadable(why) => BTreeSet::from([unreadable(path, why).object]),
        Content::Absent => BTreeSet::new(),
    }
}

/// Whether objects may hide in what cannot be read.
fn is_veiled(content: &Content) -> bool {
    match content {
        Content::Read(manifests) => manifests
            .objects
            .iter()
            .any(|object| key(object).kind == Kind::Document),
        Content::Unreadable(_) => true,
        Content::Absent => false,
    }
}

/// A file as a whole that cannot be read.
pub(super) fn unreadable(path: &str, why: &str) -> Problem {
    Problem {
        object: ObjectKey::new(Kind::Document, "", path),
        origin: path.to_owned(),
        field: String::new(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
