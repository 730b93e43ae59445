//! When to try again with whom: each node has one time at which it is due, and a wait that doubles with each try.

use crate::member::NodeId;
use crate::{Span, Time};
use std::collections::{BTreeMap, BTreeSet};

/// Nodes with something to be tried until it is done; no more entries than members.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    by_time: BTreeSet<(Time, NodeId)>,
    by_node: BTreeMap<NodeId, (Time, Span)>,
}

impl Schedule {
    /// Tries `node` at `at` for the first time, and again after the shortest wait; what was planned for it is forgotten.
    pub(super) fn begin(&mut self, node: NodeId, at: Time) {
        self.set(node, at, WAIT_MIN);
    }

    /// The same, unless something is planned for it.
    pub(super) fn ensure(&mut self, node: NodeId, at: Time) {
        if !self.by_node.contains_key(&node) {
            self.begin(node, at);
        }
    }

    /// Nothing is to be tried any more.
    pub(super) fn end(&mut self, node: NodeId) {
        if let Some((at, _)) = self.by_node.remove(&node) {
            self.by_time.remove(&(at, node));
        }
    }

    /// One that is due, which is due again later.
    pub(super) fn take(&mut self, now: Time) -> Option<NodeId> {
        let (at, node) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        let (_, wait) = *self.by_node.get(&node)?;
        let longer = Span::from_ns((wait.ns() * 2).min(WAIT_MAX.ns()));
        self.set(node, now + wait, longer);
        Some(node)
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    fn set(&mut self, node: NodeId, at: Time, wait: Span) {
        self.end(node);
        self.by_time.insert((at, node));
        self.by_node.insert(node, (at, wait));
    }
}

/// Longer than a round trip on one segment.
const WAIT_MIN: Span = Span::ms(20);
/// A member that is alive but does not answer costs one datagram a second.
const WAIT_MAX: Span = Span::s(1);

/// Something that is told to everybody a few times, since one datagram may be lost; no more than [`FANOUT`] at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    /// When it goes on.
    pub(super) due: Time,
    begun: Time,
    done: u32,
    after: Option<NodeId>,
}

impl Rounds {
    /// Begins at once.
    pub(super) fn new(now: Time) -> Self {
        Self {
            due: now,
            begun: now,
            done: 0,
            after: None,
        }
    }

    /// The next of `everybody` (in order) whom to tell now. Three rounds [`ROUND`] apart, then one a second.
    pub(super) fn step(
        &mut self,
        now: Time,
        everybody: impl Iterator<Item = NodeId>,
    ) -> Vec<NodeId> {
        let after = self.after;
        let mut rest = everybody.filter(|node| Some(*node) > after);
        let told: Vec<NodeId> = rest.by_ref().take(FANOUT).collect();
        if rest.next().is_some() {
            self.after = told.last().copied();
            self.due = now + PACE;
        } else {
            self.after = None;
            self.done += 1;
            self.due = now + if self.done < ROUNDS { ROUND } else { REPEAT };
        }
        told
    }

    /// The first rounds are over.
    pub(super) fn is_told(&self) -> bool {
        self.done >= ROUNDS
    }

    /// It was told for so long by now.
    pub(super) fn age(&self, now: Time) -> Span {
        now.since(self.begun)
    }
}

/// Datagrams to different members in one go: above that a burst overruns receivers' and senders' queues.
pub(super) const FANOUT: usize = 300;
/// Between two such goes.
pub(super) const PACE: Span = Span::ms(10);
const ROUNDS: u32 = 3;
const ROUND: Span = Span::ms(50);
const REPEAT: Span = Span::s(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_further_and_further_apart() {
        let mut schedule = Schedule::default();
        schedule.begin(NodeId(1), Time::ms(100));
        assert_eq!(schedule.take(Time::ms(99)), None);
        let mut gaps = Vec::new();
        let mut last = 100;
        for ms in 100..3_000 {
            if schedule.take(Time::ms(ms)).is_some() {
                gaps.push(ms - last);
                last = ms;
            }
        }
        assert_eq!(gaps, [0, 20, 40, 80, 160, 320, 640, 1_000]);
        schedule.end(NodeId(1));
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn a_large_cluster_is_told_in_goes() {
        let everybody = || (0..700).map(NodeId);
        let mut rounds = Rounds::new(Time::ms(0));
        let mut goes = Vec::new();
        for _ in 0..4 {
            let due = rounds.due;
            goes.push((due, rounds.step(due, everybody()).len()));
        }
        assert_eq!(
            goes,
            [
                (Time::ms(0), 300),
                (Time::ms(10), 300),
                (Time::ms(20), 100),
                (Time::ms(70), 300)
            ]
        );
    }
}
