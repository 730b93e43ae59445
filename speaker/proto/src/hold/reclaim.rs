//! Telling a node that was dead that its VIPs are another's now (L5.4).
//!
//! Bursts get lost and switches filter, so the new holder also sends its claim by unicast to the old holder's hardware addresses, until
//! that node is back. Only the order and the pace are decided here.

use super::others::Others;
use crate::member::{NodeId, Standing};
use crate::{GroupKey, Mac, Span, Time};
use std::collections::{BTreeMap, BTreeSet};

/// Groups that were taken from the dead.
#[derive(Debug, Default)]
pub(super) struct Reclaims {
    groups: BTreeMap<GroupKey, (BTreeSet<NodeId>, Time)>,
    /// Whose turn it was last.
    last: Option<GroupKey>,
    next: Option<Time>,
}

impl Reclaims {
    /// A group was taken from these.
    pub(super) fn begin(&mut self, now: Time, group: GroupKey, from: BTreeSet<NodeId>) {
        self.groups.insert(group, (from, now + LENGTH));
        self.next.get_or_insert(now);
    }

    /// A group is not held any more.
    pub(super) fn end(&mut self, group: GroupKey) {
        self.groups.remove(&group);
        if self.groups.is_empty() {
            self.next = None;
        }
    }

    /// When [`Reclaims::turn`] is wanted.
    pub(super) const fn next(&self) -> Option<Time> {
        self.next
    }

    /// The claims to send now. With many groups they take turns.
    pub(super) fn turn(&mut self, now: Time, others: &Others) -> Vec<(GroupKey, Vec<Mac>)> {
        let Some(next) = self.next else {
            return Vec::new();
        };
        if now < next {
            return Vec::new();
        }
        let after = self.groups.keys().filter(|key| Some(**key) > self.last);
        let before = self.groups.keys().filter(|key| Some(**key) <= self.last);
        let turn: Vec<_> = after.chain(before).take(PER_TURN).copied().collect();
        let mut claims = Vec::new();
        for key in turn {
            self.last = Some(key);
            let Some((from, until)) = self.groups.get_mut(&key) else {
                continue;
            };
            from.retain(|id| is_dead(others, *id));
            if from.is_empty() || *until <= now {
                self.groups.remove(&key);
                continue;
            }
            let members = from.iter().filter_map(|id| others.roster().members.get(id));
            let macs = members.flat_map(|member| member.profile.macs.iter().copied());
            claims.push((key, macs.collect()));
        }
        self.next = (!self.groups.is_empty()).then_some(now + EACH);
        claims
    }
}

fn is_dead(others: &Others, id: NodeId) -> bool {
    let member = others.roster().members.get(&id);
    match member.map(|member| member.standing) {
        Some(Standing::Dead { .. }) => true,
        Some(Standing::Alive | Standing::Left) | None => false,
    }
}

/// L5.4.
const EACH: Span = Span::ms(200);
const LENGTH: Span = Span::s(600);
/// Two hundred frames a second, as for everything else that is sent unasked.
const PER_TURN: usize = 40;
