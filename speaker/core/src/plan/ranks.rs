//! The first nodes of each group's order, remembered: a rank depends on nothing but the group's key and the node.
//!
//! Ranking a thousand nodes for each of ten thousand groups takes about a second; a node that comes or goes must not cost that
//! again. So the first few of all nodes ever seen are kept, and a candidate among them is found without hashing.

use crate::election::{self, Candidate, Election, Rank, Ranking};
use speaker_proto::{GroupKey, NodeName};
use std::collections::{BTreeMap, BTreeSet};

/// Remembered ranks.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranks {
    election: Election,
    /// Every node seen, in order of appearance; grows only, until it is forgotten as a whole.
    seen: Vec<NodeName>,
    known: BTreeSet<NodeName>,
    firsts: BTreeMap<GroupKey, Firsts>,
    /// Hashes computed so far.
    pub(super) hashes: usize,
}

/// The nodes of smallest rank among the first `counted` of those seen.
#[derive(Clone, Debug, Default)]
struct Firsts {
    nodes: Vec<(Rank, NodeName)>,
    counted: usize,
}

impl Ranks {
    /// Takes note of the nodes that there are, and of the election in force.
    pub(super) fn meet(&mut self, election: Election, nodes: &BTreeSet<NodeName>) {
        let is_stale = self.known.len() > STALE_MAX + 2 * nodes.len();
        if self.election != election || is_stale {
            *self = Self {
                election,
                ..Self::default()
            };
        }
        for node in nodes {
            if self.known.insert(node.clone()) {
                self.seen.push(node.clone());
            }
        }
    }

    /// Forgets groups that are gone.
    pub(super) fn keep(&mut self, keys: &BTreeSet<GroupKey>) {
        self.firsts.retain(|key, _| keys.contains(key));
    }

    /// The first of `best`, nodes of equal score.
    pub(super) fn first_of(
        &mut self,
        key: GroupKey,
        best: &BTreeSet<NodeName>,
    ) -> Option<NodeName> {
        self.firsts_of(key, best, 1).into_iter().next()
    }

    /// The first few of `nodes`, which have equal scores. The first of all is always among them; where most of all nodes are not, there
    /// may be fewer others than there could be.
    pub(super) fn firsts_of(
        &mut self,
        key: GroupKey,
        nodes: &BTreeSet<NodeName>,
        count_max: usize,
    ) -> Vec<NodeName> {
        if nodes.len() <= FIRSTS {
            return self.smallest(key, nodes, count_max);
        }
        let firsts = self.firsts.entry(key).or_default();
        self.hashes += firsts.count(self.election, key, &self.seen);
        let known = firsts.nodes.iter().map(|(_, node)| node);
        let known = known.filter(|node| nodes.contains(*node)).take(count_max);
        let known: Vec<_> = known.cloned().collect();
        match known.is_empty() {
            true => self.smallest(key, nodes, count_max),
            false => known,
        }
    }

    fn smallest(
        &mut self,
        key: GroupKey,
        nodes: &BTreeSet<NodeName>,
        count_max: usize,
    ) -> Vec<NodeName> {
        self.hashes += nodes.len();
        let mut ranking = Ranking::new(self.election, key);
        let mut ranked: Vec<_> = nodes.iter().map(|n| (ranking.rank(n), n)).collect();
        ranked.sort_unstable();
        let first = ranked.into_iter().take(count_max);
        first.map(|(_, node)| node.clone()).collect()
    }

    /// The first few of candidates with scores.
    pub(super) fn firsts_by_score(
        &mut self,
        key: GroupKey,
        candidates: Vec<Candidate>,
        count_max: usize,
    ) -> Vec<NodeName> {
        self.hashes += candidates.len();
        let ordered = election::order(self.election, key, candidates).into_iter();
        ordered.take(count_max).map(|c| c.node).collect()
    }
}

impl Firsts {
    /// Ranks those of `seen` that are not ranked yet, and says how many they were.
    fn count(&mut self, election: Election, key: GroupKey, seen: &[NodeName]) -> usize {
        let new = &seen[self.counted..];
        let mut ranking = Ranking::new(election, key);
        for node in new {
            let rank = ranking.rank(node);
            let is_first = self.nodes.len() < FIRSTS
                || self.nodes.last().is_some_and(|(last, _)| rank < *last);
            if is_first {
                let at = self.nodes.partition_point(|(r, n)| (r, n) < (&rank, node));
                self.nodes.insert(at, (rank, node.clone()));
                self.nodes.truncate(FIRSTS);
            }
        }
        self.counted = seen.len();
        new.len()
    }
}

/// Nodes kept per group: with a tenth of the nodes unfit, one group in 10^8 must rank all of them again.
const FIRSTS: usize = 8;

/// Nodes gone before everything is forgotten: rolling replacement of nodes must not fill the memory.
const STALE_MAX: usize = 1_024;
