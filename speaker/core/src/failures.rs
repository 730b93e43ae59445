//! Hold-down: a node that failed where others saw it is elected last until it was sound for a while (`docs/layer2.md`, L1.1).
//!
//! A failure is a verdict of death, or a link that could answer and cannot any more. Every node counts for itself what it sees, so
//! views differ by moments only. The same counts for one group of VIPs that a node does not answer for (L6.7). It knows nothing of
//! why a node failed.

use speaker_proto::{NodeId, Span, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long a node must be sound after its first failure; doubles with each further one.
pub const HOLD_DOWN: Span = Span::s(5);
/// It never takes longer than this.
pub const HOLD_DOWN_MAX: Span = Span::s(300);
/// A node that was sound for so long after its hold-down begins anew.
const FORGIVEN_AFTER: Span = Span::s(600);

/// What was seen of every node, or of whatever else can fail.
#[derive(Clone, Debug)]
pub struct Failures<K = NodeId> {
    nodes: BTreeMap<K, Record>,
}

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::new(),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Record {
    /// Links that could answer when last seen.
    links: BTreeSet<Arc<str>>,
    /// Links that could answer once, and cannot since.
    lost: BTreeSet<Arc<str>>,
    is_dead: bool,
    count: u32,
    /// End of the last hold-down.
    until: Option<Time>,
}

impl<K: Copy + Ord> Failures<K> {
    /// Takes note of how a node is: `links` can answer.
    pub fn see(&mut self, now: Time, node: K, is_dead: bool, links: BTreeSet<Arc<str>>) {
        let record = self.nodes.entry(node).or_default();
        let was_failed = record.is_failed();
        if is_dead {
            record.is_dead = true;
        } else {
            record.is_dead = false;
            let lost: Vec<_> = record.links.difference(&links).cloned().collect();
            record.lost.extend(lost);
            record.lost.retain(|link| !links.contains(link));
            record.links = links;
        }
        if was_failed && !record.is_failed() {
            record.recover(now);
        }
    }

    /// It fails, and has no links.
    pub fn fail(&mut self, now: Time, node: K) {
        self.see(now, node, true, BTreeSet::new());
    }

    /// It is sound again, if it had failed; whether it had.
    pub fn recovers(&mut self, now: Time, node: K) -> bool {
        let had_failed = self.nodes.get(&node).is_some_and(Record::is_failed);
        if had_failed {
            self.see(now, node, false, BTreeSet::new());
        }
        had_failed
    }

    /// Whether it fails, or did a moment ago.
    pub fn is_out(&self, now: Time, node: K) -> bool {
        self.nodes
            .get(&node)
            .is_some_and(|record| record.is_out(now))
    }

    /// All that do.
    pub fn out(&self, now: Time) -> impl Iterator<Item = K> {
        let nodes = self.nodes.iter();
        let out = nodes.filter(move |(_, record)| record.is_out(now));
        out.map(|(node, _)| *node)
    }

    /// As if it had never failed.
    pub fn forget(&mut self, node: K) {
        self.nodes.remove(&node);
    }

    /// Forgets all nodes but these.
    pub fn keep(&mut self, is_known: impl Fn(K) -> bool) {
        self.nodes.retain(|node, _| is_known(*node));
    }

    /// Whether it is elected only where nobody else can be.
    pub fn is_held_down(&self, now: Time, node: K) -> bool {
        let until = self.nodes.get(&node).and_then(|record| record.until);
        until.is_some_and(|until| now < until)
    }

    /// When the next hold-down ends.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let ends = self.nodes.values().filter_map(|record| record.until);
        ends.filter(|end| now < *end).min()
    }
}

impl Record {
    fn is_failed(&self) -> bool {
        self.is_dead || !self.lost.is_empty()
    }

    fn is_out(&self, now: Time) -> bool {
        self.is_failed() || self.until.is_some_and(|until| now < until)
    }

    fn recover(&mut self, now: Time) {
        if self
            .until
            .is_some_and(|until| now.since(until) >= FORGIVEN_AFTER)
        {
            self.count = 0;
        }
        let doubled = HOLD_DOWN.ns().saturating_mul(1 << self.count.min(16));
        self.until = Some(now + Span::from_ns(doubled.min(HOLD_DOWN_MAX.ns())));
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(7);

    fn links(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn l1_1_a_node_that_was_never_seen_to_fail_is_not_held_down() {
        let mut failures: Failures = Failures::default();
        failures.see(Time::ms(0), NODE, false, links(&["eth0"]));
        failures.see(Time::ms(10), NODE, false, links(&["eth0", "eth1"]));
        assert!(!failures.is_held_down(Time::ms(10), NODE));
        assert_eq!(failures.deadline(Time::ms(10)), None);
    }

    #[test]
    fn l1_1_a_node_that_comes_back_is_held_down_twice_as_long_each_time() {
        let mut failures: Failures = Failures::default();
        let mut now = Time::ms(0);
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            failures.see(now, NODE, true, links(&[]));
            failures.see(now, NODE, false, links(&["eth0"]));
            let end = now + Span::s(seconds);
            assert_eq!(failures.deadline(now), Some(end), "{seconds}");
            assert!(failures.is_held_down(end - Span::ms(1), NODE));
            assert!(!failures.is_held_down(end, NODE));
            now = end;
        }
        now += FORGIVEN_AFTER;
        failures.see(now, NODE, true, links(&[]));
        failures.see(now, NODE, false, links(&["eth0"]));
        assert_eq!(failures.deadline(now), Some(now + HOLD_DOWN));
    }

    #[test]
    fn l1_1_a_link_that_comes_back_holds_its_node_down() {
        let mut failures: Failures = Failures::default();
        failures.see(Time::ms(0), NODE, false, links(&["eth0", "eth1"]));
        failures.see(Time::ms(1), NODE, false, links(&["eth1"]));
        assert!(
            !failures.is_held_down(Time::ms(1), NODE),
            "eth1 still answers"
        );
        failures.see(Time::ms(2), NODE, false, links(&["eth0", "eth1"]));
        assert!(failures.is_held_down(Time::ms(2), NODE));
    }
}
