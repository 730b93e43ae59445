//! Which nodes came lately, so that those that came can learn from those that were there who had the packets before.
//!
//! A node cannot tell by itself: where a cluster starts everybody is new to everybody, and a speaker that starts again was there
//! all along. What counts is what others saw: that it was not there, and then was. Whoever began to look a moment ago may just be
//! finding out who is there, and says nothing. It knows nothing of VIPs or shares.

use super::history::{FINDING, WINDOW};
use speaker_proto::member::{NEWCOMERS_MAX, Roster};
use speaker_proto::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};

/// What a node saw of others' coming.
#[derive(Clone, Debug, Default)]
pub struct Newcomers {
    /// When it knew of all who were there.
    begun: Option<Time>,
    there: BTreeSet<NodeId>,
    came: BTreeMap<NodeId, Time>,
}

impl Newcomers {
    /// Takes note of who is there now.
    pub fn see(&mut self, now: Time, roster: &Roster) {
        let alive = roster.members.iter().filter(|(_, m)| m.is_alive());
        let there: BTreeSet<NodeId> = alive.map(|(id, _)| *id).collect();
        if !self.is_finding(now) {
            let new = there.difference(&self.there);
            self.came.extend(new.map(|id| (*id, now)));
        }
        if roster.is_settled {
            self.begun.get_or_insert(now);
        }
        self.there = there;
        self.came.retain(|_, at| now < *at + WINDOW);
    }

    /// Whether it began to look a moment ago, and what it does not know may have been before.
    pub fn is_finding(&self, now: Time) -> bool {
        self.begun.is_none_or(|begun| now < begun + FINDING)
    }

    /// Those that came within the time for which connections are followed; of too many the latest.
    pub fn lately(&self) -> BTreeSet<NodeId> {
        let mut came: Vec<(Time, NodeId)> = self.came.iter().map(|(id, at)| (*at, *id)).collect();
        came.sort_unstable();
        let latest = came.iter().rev().take(NEWCOMERS_MAX);
        latest.map(|(_, id)| *id).collect()
    }
}

/// Those that members which are there say came lately.
pub fn told(roster: &Roster) -> BTreeSet<NodeId> {
    let alive = roster.members.values().filter(|m| m.is_alive());
    alive
        .flat_map(|member| member.profile.newcomers.iter().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use speaker_proto::member::{Boot, HeldVersion, Member, Profile, Standing};
    use std::sync::Arc;

    fn member() -> Member {
        Member {
            boot: Boot::default(),
            profile: Arc::new(Profile::of("n".parse().unwrap())),
            standing: Standing::Alive,
            held: Arc::default(),
            held_version: HeldVersion(1),
            acked: HeldVersion(1),
            is_reachable: true,
            is_in_grace: false,
            has_met: true,
        }
    }

    fn at(seconds: u64) -> Time {
        Time::ms(seconds * 1_000)
    }

    fn roster(members: impl IntoIterator<Item = (u64, Member)>) -> Roster {
        let members = members.into_iter();
        Roster {
            members: members.map(|(id, m)| (NodeId(id), Arc::new(m))).collect(),
            is_settled: true,
            is_name_taken: false,
        }
    }

    fn there(ids: &[u64]) -> Roster {
        roster(ids.iter().map(|id| (*id, member())))
    }

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn where_a_cluster_starts_nobody_came() {
        let mut newcomers = Newcomers::default();
        newcomers.see(at(1), &there(&[]));
        newcomers.see(at(3), &there(&[2]));
        newcomers.see(at(10), &there(&[2, 3]));
        assert_eq!(newcomers.lately(), ids(&[]));
    }

    #[test]
    fn who_comes_later_came_for_as_long_as_connections_are_followed() {
        let mut newcomers = Newcomers::default();
        newcomers.see(at(1), &there(&[2]));
        newcomers.see(at(20), &there(&[2, 3]));
        newcomers.see(at(100), &there(&[2, 3]));
        assert_eq!(newcomers.lately(), ids(&[3]));
        newcomers.see(at(20) + WINDOW, &there(&[2, 3]));
        assert_eq!(newcomers.lately(), ids(&[]));
    }

    #[test]
    fn who_was_dead_came_and_whose_speaker_began_anew_did_not() {
        let mut newcomers = Newcomers::default();
        newcomers.see(at(1), &there(&[2, 3]));
        let dead = Member {
            standing: Standing::Dead { silent_at: at(19) },
            ..member()
        };
        let again = Member {
            boot: Boot([9; 16]),
            ..member()
        };
        newcomers.see(at(20), &roster([(2, dead), (3, again.clone())]));
        newcomers.see(at(21), &roster([(2, again.clone()), (3, again)]));
        assert_eq!(newcomers.lately(), ids(&[2]));
    }

    #[test]
    fn who_does_not_know_yet_who_was_there_has_seen_nobody_come() {
        let mut newcomers = Newcomers::default();
        let unsettled = Roster {
            is_settled: false,
            ..there(&[])
        };
        newcomers.see(at(1), &unsettled);
        newcomers.see(at(60), &there(&[2, 3]));
        assert_eq!(newcomers.lately(), ids(&[]));
        assert!(newcomers.is_finding(at(60)) && !newcomers.is_finding(at(60) + FINDING));
    }

    #[test]
    fn of_too_many_the_latest_are_told() {
        let mut newcomers = Newcomers::default();
        newcomers.see(at(1), &there(&[]));
        let all: Vec<u64> = (1..=40).collect();
        for last in 1..=all.len() {
            newcomers.see(at(20 + last as u64), &there(&all[..last]));
        }
        assert_eq!(newcomers.lately(), ids(&all[40 - NEWCOMERS_MAX..]));
    }

    #[test]
    fn only_those_that_are_there_are_believed() {
        let says = |came: &[u64], standing| {
            let mut member = member();
            Arc::make_mut(&mut member.profile).newcomers = ids(came);
            Member { standing, ..member }
        };
        let members = [
            (2, says(&[3], Standing::Alive)),
            (3, says(&[], Standing::Alive)),
            (4, says(&[5], Standing::Left)),
        ];
        assert_eq!(told(&roster(members)), ids(&[3]));
    }
}
