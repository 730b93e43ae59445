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
    /// The version that the oldest of these follows.
    history_base: u64,
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
            history_base: 1,
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
        let changed = difference(&self.held, &held);
        if changed.len() > CHANGES_MAX {
            self.history.clear();
            self.history_base = version;
        } else {
            // Versions that were skipped are as if they had changed together with this one.
            self.history.push_back((version, changed));
        }
        if self.history.len() > HISTORY_MAX
            && let Some((oldest, _)) = self.history.pop_front()
        {
            self.history_base = oldest;
        }
        self.held = held;
        self.held_version = version;
        self.held_blob = wire::held_blob(&self.held);
        self.held_hash = wire::hash(&self.held_blob);
        true
    }

    /// What brings anyone who has `base`, or a version between it and the present one, to the present one. `None`: too much.
    pub(super) fn delta(&self, base: u64) -> Option<Delta> {
        if base < self.history_base || base >= self.held_version {
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

/// Groups of which both do not say the same. Both are in order, so that one pass finds them.
fn difference(a: &HeldSet, b: &HeldSet) -> BTreeSet<GroupKey> {
    let (mut ours, mut theirs) = (a.iter().peekable(), b.iter().peekable());
    let mut changed = BTreeSet::new();
    while let Some(first) = ours.peek().into_iter().chain(theirs.peek()).min() {
        let group = *first.0;
        let before = ours.next_if(|(key, _)| **key == group);
        let after = theirs.next_if(|(key, _)| **key == group);
        if before != after {
            changed.insert(group);
        }
    }
    changed
}

/// Versions that can be told as a change: some seconds of a busy node.
const HISTORY_MAX: usize = 64;
/// The generation rises no more often, so that two processes of one name do not drive each other.
const RISE: Span = Span::s(1);
/// Overtaken twice within this: another process uses the name.
const RIVAL_WITHIN: Span = Span::s(10);
/// Not heard of for so long, it is gone.
const RIVAL_FOR: Span = Span::s(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;
    use crate::member::{HeldEntry, HeldState};

    fn own() -> Own {
        let profile = Profile::of("node-a".parse().unwrap());
        Own::new(&Start {
            me: NodeId(1),
            boot: Boot([1; 16]),
            profile: Arc::new(profile),
            held: Arc::default(),
            seed: 1,
            now: Time::ms(1_000),
        })
    }

    fn set(groups: impl IntoIterator<Item = u8>, epoch: u64) -> Arc<HeldSet> {
        let entry = HeldEntry {
            epoch: Epoch(epoch),
            state: HeldState::Holding,
        };
        let groups = groups.into_iter();
        Arc::new(
            groups
                .map(|n| (GroupKey([203, 0, 113, n].into()), entry))
                .collect(),
        )
    }

    #[test]
    fn one_pass_finds_whatever_two_sets_say_differently() {
        let (one, other) = (set([1, 2, 3, 7], 1), set([2, 3, 4, 9], 1));
        let mut other = HeldSet::clone(&other);
        other.extend(set([3], 2).iter().map(|(group, entry)| (*group, *entry)));
        let groups = [1, 3, 4, 7, 9].map(|n| GroupKey([203, 0, 113, n].into()));
        assert_eq!(difference(&one, &other), BTreeSet::from(groups));
        assert_eq!(difference(&other, &one), BTreeSet::from(groups));
        assert_eq!(difference(&one, &one), BTreeSet::new());
        assert_eq!(difference(&one, &HeldSet::new()).len(), 4);
    }

    #[test]
    fn a_change_holds_for_every_version_from_its_base_on() {
        let mut own = own();
        let mut versions = vec![(1, HeldSet::new())];
        // The second change takes back what the first did: who has only the first must hear of it.
        for (version, held) in [(1, set([1], 1)), (2, set([], 1)), (5, set([2, 3], 4))] {
            assert!(own.set_held(HeldVersion(version), &held));
            versions.push((own.held_version, HeldSet::clone(&held)));
        }
        let delta = own.delta(1).unwrap();
        for (version, mut held) in versions {
            for (group, entry) in &delta.changes {
                match entry {
                    Some(entry) => held.insert(*group, *entry),
                    None => held.remove(group),
                };
            }
            assert_eq!(wire::hash(&wire::held_blob(&held)), delta.hash, "{version}");
        }
    }

    #[test]
    fn an_old_version_and_a_great_change_are_told_whole() {
        let mut own = own();
        for version in 1..=HISTORY_MAX as u64 + 1 {
            own.set_held(HeldVersion(version), &set([1], version));
        }
        assert_eq!(own.delta(1), None, "forgotten");
        assert!(own.delta(2).is_some());
        assert_eq!(own.delta(own.held_version), None, "nothing to tell");
        own.set_held(HeldVersion(1_000), &set(0..100, 1));
        assert_eq!(own.delta(60), None, "too much");
        own.set_held(HeldVersion(1_001), &set(0..99, 1));
        let changes = own.delta(1_001).map(|delta| delta.changes.len());
        assert_eq!(changes, Some(1), "from there on it is short again");
    }

    #[test]
    fn a_version_that_is_not_new_is_not_taken() {
        let mut own = own();
        assert!(
            own.set_held(HeldVersion(1), &set([1], 1)),
            "deciding's first is above the kernel's"
        );
        assert!(!own.set_held(HeldVersion(1), &set([2], 1)));
        assert_eq!(own.held_version, 2);
    }

    #[test]
    fn a_held_set_beyond_the_bound_is_cut() {
        let mut own = own();
        let entry = HeldEntry {
            epoch: Epoch(1),
            state: HeldState::Holding,
        };
        let many =
            (0..=HELD_MAX as u32).map(|n| (GroupKey(std::net::Ipv4Addr::from(n).into()), entry));
        own.set_held(HeldVersion(1), &Arc::new(many.collect()));
        assert_eq!(own.held.len(), HELD_MAX);
    }

    #[test]
    fn overtaken_once_is_a_restart_and_twice_a_rival() {
        let mut own = own();
        let first = own.generation;
        assert!(
            !own.overtake(Time::ms(2_000), first - 1),
            "below is the past"
        );
        assert!(own.overtake(Time::ms(2_000), first));
        assert_eq!(own.generation, first + 1);
        assert!(
            !own.overtake(Time::ms(2_001), first),
            "the same from another"
        );
        assert!(
            !own.overtake(Time::ms(2_500), first + 1),
            "no more than one a second"
        );
        assert!(!own.is_name_taken());
        assert!(own.overtake(Time::ms(11_000), first + 2));
        assert!(own.is_name_taken());
        assert!(!own.forget_rival(Time::ms(41_000)));
        assert!(own.forget_rival(Time::ms(41_001)) && !own.is_name_taken());
    }

    #[test]
    fn overtaken_again_much_later_is_another_restart() {
        let mut own = own();
        let first = own.generation;
        assert!(own.overtake(Time::ms(2_000), first));
        assert!(own.overtake(Time::ms(12_001), first + 1));
        assert!(!own.is_name_taken());
    }
}
