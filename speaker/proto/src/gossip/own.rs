//! What this node says of itself, and how it notices that another process says it too.

use super::wire::{self, CHANGES_MAX, Delta};
use super::{HELD_MAX, Start};
use crate::member::{Boot, HeldSet, HeldVersion, NodeId, Profile};
use crate::{GroupKey, Span, Time};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// This node.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) id: NodeId,
    pub(super) boot: Boot,
    /// Which start of this node's speaker this is: the highest is the present one.
    pub(super) generation: u64,
    pub(super) profile: Arc<Profile>,
    pub(super) profile_version: u64,
    pub(super) profile_blob: Vec<u8>,
    held: Arc<HeldSet>,
    /// On the wire: 1 is what the kernel was found to hold, deciding's versions follow, one higher.
    pub(super) held_version: u64,
    pub(super) held_blob: Vec<u8>,
    pub(super) held_hash: u64,
    /// What changed with each of the last versions, the newest last.
    history: VecDeque<(u64, BTreeSet<GroupKey>)>,
    rival: Rival,
}

/// What points at another process of this name.
#[derive(Debug, Default)]
struct Rival {
    seen: Option<Time>,
    is_certain: bool,
}

impl Own {
    pub(super) fn new(start: &Start) -> Self {
        let profile_blob = wire::profile_blob(&start.profile);
        let held_blob = wire::held_blob(&start.held);
        Self {
            id: start.me,
            boot: start.boot,
            // Time since the machine's boot: a speaker that comes after another on a running machine is above it without asking.
            generation: start.now.ns() / 1_000_000 + 1,
            profile: Arc::clone(&start.profile),
            profile_version: 1,
            profile_blob,
            held: Arc::clone(&start.held),
            held_version: 1,
            held_hash: wire::hash(&held_blob),
            held_blob,
            history: VecDeque::new(),
            rival: Rival::default(),
        }
    }

    /// Says something else of itself; whether it differs.
    pub(super) fn set_profile(&mut self, profile: Arc<Profile>) -> bool {
        if self.profile == profile {
            return false;
        }
        self.profile_blob = wire::profile_blob(&profile);
        self.profile = profile;
        self.profile_version += 1;
        true
    }

    /// Holds something else; whether the version is new.
    pub(super) fn set_held(&mut self, version: HeldVersion, held: &Arc<HeldSet>) -> bool {
        let version = version.0.saturating_add(1);
        if version <= self.held_version {
            return false;
        }
        let held = if held.len() > HELD_MAX {
            Arc::new(held.iter().take(HELD_MAX).map(|(k, v)| (*k, *v)).collect())
        } else {
            Arc::clone(held)
        };
        let mut changed: BTreeSet<GroupKey> = difference(&self.held, &held).collect();
        changed.extend(difference(&held, &self.held));
        // Versions that were skipped are as if they had changed together with this one.
        self.history.push_back((version, changed));
        while self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
        self.held = held;
        self.held_version = version;
        self.held_blob = wire::held_blob(&self.held);
        self.held_hash = wire::hash(&self.held_blob);
        true
    }

    /// What brings anyone who has `base`, or a version between it and the present one, to the present one. `None`: too much.
    pub(super) fn delta(&self, base: u64) -> Option<Delta> {
        let oldest = self.history.front()?.0;
        // What changed with the oldest is relative to a version that nobody kept: its own predecessor at least.
        let reaches_back = self.history.len() < HISTORY_MAX || base >= oldest;
        if base == 0 || base >= self.held_version || !reaches_back {
            return None;
        }
        let changes: BTreeSet<GroupKey> = self
            .history
            .iter()
            .filter(|(version, _)| *version > base)
            .flat_map(|(_, groups)| groups.iter().copied())
            .collect();
        (changes.len() <= CHANGES_MAX).then(|| Delta {
            base,
            version: self.held_version,
            hash: self.held_hash,
            changes: changes
                .into_iter()
                .map(|group| (group, self.held.get(&group).copied()))
                .collect(),
        })
    }

    /// Another boot of this node was heard of, in this generation. Whether the own generation rose above it.
    ///
    /// Once is what every restart looks like to the new process; twice is another process that rises as well.
    pub(super) fn overtake(&mut self, now: Time, generation: u64) -> bool {
        if generation < self.generation
            || self.rival.seen.is_some_and(|seen| now.since(seen) < RISE)
        {
            return false;
        }
        self.rival.is_certain |= self
            .rival
            .seen
            .is_some_and(|seen| now.since(seen) <= RIVAL_WITHIN);
        self.rival.seen = Some(now);
        self.generation = generation.saturating_add(1);
        true
    }

    /// Whether another process uses this node's name.
    pub(super) fn is_name_taken(&self) -> bool {
        self.rival.is_certain
    }

    /// Forgets a rival that was not heard of for long; whether that changed something.
    pub(super) fn forget_rival(&mut self, now: Time) -> bool {
        let is_gone = self
            .rival
            .seen
            .is_some_and(|seen| now.since(seen) > RIVAL_FOR);
        if is_gone {
            return std::mem::take(&mut self.rival).is_certain;
        }
        false
    }
}

/// Groups of `a` that `b` says otherwise.
fn difference<'a>(a: &'a HeldSet, b: &'a HeldSet) -> impl Iterator<Item = GroupKey> + 'a {
    a.iter()
        .filter(|(group, entry)| b.get(group) != Some(entry))
        .map(|(group, _)| *group)
}

/// Versions that can be told as a change: some seconds of a busy node.
const HISTORY_MAX: usize = 64;
/// The generation rises no more often, so that two processes of one name do not drive each other.
const RISE: Span = Span::s(1);
/// Overtaken twice within this: another process uses the name.
const RIVAL_WITHIN: Span = Span::s(10);
/// Not heard of for so long, it is gone.
const RIVAL_FOR: Span = Span::s(30);
