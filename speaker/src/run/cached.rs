//! Objects that were kept from before, until the API server has told the real ones.
//!
//! At the start they wait. If a kind is not complete in time they are told in its place; and when it is, whatever of them the API
//! server did not tell is gone. Pure: when the time is up is the caller's.

use crate::source::Event;
use speaker_core::{Kind, Object, ObjectKey};
use std::collections::{BTreeMap, BTreeSet};

/// Stands between a source and whoever is told.
#[derive(Debug, Default)]
pub(super) struct Cached {
    /// Those that were not told yet.
    kept: Vec<Object>,
    /// Whether they may still be told.
    is_waiting: bool,
    /// Kinds that the source has not told whole.
    open: BTreeMap<Kind, Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// What the source told.
    seen: BTreeSet<ObjectKey>,
    /// What was told in its place.
    told: BTreeSet<ObjectKey>,
}

impl Cached {
    /// `kept` from before; none if there is nothing.
    pub(super) fn new(kept: Vec<Object>) -> Self {
        let open = Kind::ALL.into_iter().map(|kind| (kind, Open::default()));
        Self {
            is_waiting: !kept.is_empty(),
            kept,
            open: open.collect(),
        }
    }

    /// Whether something waits to be told in time.
    pub(super) fn waits(&self) -> bool {
        self.is_waiting && !self.open.is_empty()
    }

    /// Whether something that was kept is in force.
    pub(super) fn is_in_force(&self) -> bool {
        self.open.values().any(|open| !open.told.is_empty())
    }

    /// The time is up: what is to be told in place of what the source has not.
    pub(super) fn stand_in(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        if !self.waits() {
            return events;
        }
        self.is_waiting = false;
        for object in std::mem::take(&mut self.kept) {
            let key = object.key();
            let Some(open) = self.open.get_mut(&key.kind) else {
                continue;
            };
            if !open.seen.contains(&key) {
                open.told.insert(key);
                events.push(Event::Put(Ok(object)));
            }
        }
        events.extend(self.open.keys().copied().map(Event::Synced));
        events
    }

    /// What becomes of an event of the source.
    pub(super) fn pass(&mut self, event: Event) -> Vec<Event> {
        match &event {
            Event::Put(Ok(object)) => self.seen(object.key()),
            Event::Put(Err(problem)) => {
                self.seen(problem.object.clone());
                // An edit that went wrong before the start has a last good version too.
                let mut kept = self.kept.iter();
                let good = kept.find(|object| object.key() == problem.object).cloned();
                return good
                    .map(|object| Event::Put(Ok(object)))
                    .into_iter()
                    .chain([event])
                    .collect();
            }
            Event::Gone(key) => self.seen(key.clone()),
            Event::Synced(kind) => {
                let open = self.open.remove(kind).unwrap_or_default();
                self.kept.retain(|object| object.key().kind != *kind);
                let gone = open.told.difference(&open.seen).cloned().map(Event::Gone);
                return gone.chain([event]).collect();
            }
            Event::Assignments(_) | Event::Allocates(_) | Event::Note(_) => {}
        }
        vec![event]
    }

    fn seen(&mut self, key: ObjectKey) {
        if let Some(open) = self.open.get_mut(&key.kind) {
            open.seen.insert(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use speaker_core::manifest::{self, DEFAULT_NAMESPACE};
    use speaker_core::{Problem, World};

    fn node(name: &str, label: &str) -> Object {
        let text = format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{a: {label}}}}}"
        );
        let mut read = manifest::read("f.yaml", &text, DEFAULT_NAMESPACE);
        read.objects.pop().unwrap().unwrap()
    }

    fn take(world: &mut World, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Put(object) => {
                    world.put(object);
                }
                Event::Gone(key) => {
                    world.gone(&key);
                }
                Event::Synced(kind) => {
                    world.synced(kind);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn labels(world: &World) -> Vec<(&str, &str)> {
        let nodes = world.nodes.values();
        nodes
            .map(|node| (node.name.as_str(), node.labels["a"].as_str()))
            .collect()
    }

    fn sync_all(cached: &mut Cached, world: &mut World) {
        for kind in Kind::ALL {
            take(world, cached.pass(Event::Synced(kind)));
        }
    }

    #[test]
    fn an_api_server_that_answers_in_time_is_all_that_counts() {
        let (mut cached, mut world) = (Cached::new(vec![node("n1", "old")]), World::default());
        take(&mut world, cached.pass(Event::Put(Ok(node("n2", "new")))));
        sync_all(&mut cached, &mut world);
        assert!(!cached.waits() && !cached.is_in_force());
        assert_eq!(cached.stand_in(), []);
        assert_eq!(labels(&world), [("n2", "new")]);
    }

    #[test]
    fn what_was_kept_counts_until_the_api_server_answers() {
        let kept = vec![node("n1", "old"), node("n2", "old")];
        let (mut cached, mut world) = (Cached::new(kept), World::default());
        take(&mut world, cached.stand_in());
        assert!(world.is_synced() && cached.is_in_force());
        assert_eq!(labels(&world), [("n1", "old"), ("n2", "old")]);
        take(&mut world, cached.pass(Event::Put(Ok(node("n2", "new")))));
        assert_eq!(labels(&world), [("n1", "old"), ("n2", "new")]);
        sync_all(&mut cached, &mut world);
        assert_eq!(labels(&world), [("n2", "new")]);
        assert!(!cached.is_in_force());
    }

    #[test]
    fn a_page_that_came_is_newer_than_what_was_kept() {
        let kept = vec![node("n1", "old"), node("n2", "old")];
        let (mut cached, mut world) = (Cached::new(kept), World::default());
        take(&mut world, cached.pass(Event::Put(Ok(node("n1", "new")))));
        take(&mut world, cached.stand_in());
        assert_eq!(labels(&world), [("n1", "new"), ("n2", "old")]);
    }

    #[test]
    fn a_mistake_made_before_the_start_leaves_the_last_good_version_in_force() {
        let (mut cached, mut world) = (Cached::new(vec![node("n1", "old")]), World::default());
        let key = ObjectKey::new(Kind::Node, "", "n1");
        let problem = Problem {
            object: key.clone(),
            origin: "api".to_owned(),
            field: "status".to_owned(),
            why: "is odd".to_owned(),
        };
        take(&mut world, cached.pass(Event::Put(Err(problem))));
        sync_all(&mut cached, &mut world);
        assert_eq!(labels(&world), [("n1", "old")]);
        assert!(world.problems.contains_key(&key));
    }

    #[test]
    fn nothing_kept_stands_in_for_nothing() {
        assert_eq!(Cached::new(Vec::new()).stand_in(), []);
    }

    #[test]
    fn a_kind_that_is_complete_is_left_alone() {
        let (mut cached, mut world) = (Cached::new(vec![node("n1", "old")]), World::default());
        take(&mut world, cached.pass(Event::Synced(Kind::Node)));
        take(&mut world, cached.stand_in());
        assert_eq!(labels(&world), [] as [(&str, &str); 0]);
        assert!(world.synced.contains(&Kind::Service), "the others stand in");
    }
}
