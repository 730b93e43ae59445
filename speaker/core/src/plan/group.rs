//! Which services live and move together, and which node each such group elects.
//!
//! Services that share an address form one group: all its addresses, of both families, are on one node. A service whose
//! address an older one holds without sharing it is left out.

use super::Reason;
use super::demand::{Demand, Demands};
use super::ranks::Ranks;
use super::setting::Candidates;
use super::sharing::Holders;
use crate::election::{Candidate, Score};
use crate::service::ServiceId;
use speaker_proto::{GroupKey, NodeName};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Services that share addresses, directly or through others.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) key: GroupKey,
    /// Places of its services in the list of demands, rising.
    pub(super) members: Vec<usize>,
    /// The elected node; `None`: its services have no candidate, or none in common.
    pub(super) owner: Option<NodeName>,
    /// The first [`LINE`] in the order: the elected one, unless placement says otherwise, and who comes after it.
    pub(super) line: Vec<NodeName>,
    /// Whether `line` is up to date.
    is_judged: bool,
    /// The version of all groups in which a demand, the line or the owner last changed.
    version: u64,
}

/// All groups, and who is in none.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    /// By key.
    pub(super) list: Vec<Group>,
    /// By place of the demand: the place of its group.
    pub(super) of: Vec<Option<usize>>,
    /// By place of the demand: the older holder of an address of it.
    pub(super) duplicates: BTreeMap<usize, Reason>,
    /// Places of groups that are not where they would be, since their holder does not answer.
    pub(super) shunned: Vec<usize>,
    /// Grows with every election; 0 before the first.
    pub(super) version: u64,
    /// That in which services were last sorted into groups.
    sorted: u64,
}

impl Groups {
    /// Sorts services into groups anew; nobody is elected yet.
    pub(super) fn sorted(&self, demands: &[Arc<Demand>]) -> Self {
        let version = self.version + 1;
        let mut holders = Holders::of(demands);
        let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, demand) in demands.iter().enumerate() {
            if demand.key().is_some() && !holders.duplicates.contains_key(&i) {
                sets.entry(holders.set_of(i)).or_default().push(i);
            }
        }
        let key = |members: &[usize]| members.iter().filter_map(|i| demands[*i].key()).min();
        let group = |members: Vec<usize>| {
            Some(Group {
                key: key(&members)?,
                members,
                owner: None,
                line: Vec::new(),
                is_judged: false,
                version,
            })
        };
        let mut list: Vec<Group> = sets.into_values().filter_map(group).collect();
        list.sort_by_key(|group| group.key);
        let mut of = vec![None; demands.len()];
        for (at, group) in list.iter().enumerate() {
            for i in &group.members {
                of[*i] = Some(at);
            }
        }
        Self {
            list,
            of,
            duplicates: holders.duplicates,
            shunned: Vec::new(),
            version,
            sorted: version,
        }
    }

    /// The groups of which something changed since this version; `None`: all may be others. Whatever else
    /// a result about a group depends on is up to whoever asks.
    pub(super) fn changed(&self, since: u64) -> Option<impl Iterator<Item = &Group>> {
        let list = self.list.iter();
        (self.sorted <= since).then(|| list.filter(move |group| group.version > since))
    }

    /// The group of a key.
    pub(super) fn get(&self, key: GroupKey) -> Option<&Group> {
        let at = self
            .list
            .binary_search_by_key(&key, |group| group.key)
            .ok()?;
        Some(&self.list[at])
    }

    /// Elects anew where a demand is fresh, until about `hashes_max` hashes have been computed. Whether every group has
    /// its owner.
    pub(super) fn elect(
        &mut self,
        demands: &Demands,
        ranks: &mut Ranks,
        hashes_max: usize,
    ) -> bool {
        self.version += 1;
        for i in &demands.fresh {
            if let Some(at) = self.of[*i] {
                self.list[at].is_judged = false;
                self.list[at].version = self.version;
            }
        }
        let hashes_end = ranks.hashes.saturating_add(hashes_max);
        for group in self.list.iter_mut().filter(|group| !group.is_judged) {
            if ranks.hashes >= hashes_end {
                return false;
            }
            group.elect(&demands.list, ranks);
            group.version = self.version;
        }
        true
    }

    /// Elects for the group of the service at place `i` only.
    pub(super) fn elect_for(&mut self, i: usize, demands: &[Arc<Demand>], ranks: &mut Ranks) {
        if let Some(at) = self.of[i] {
            self.list[at].elect(demands, ranks);
            self.list[at].version = self.version;
        }
    }

    /// Says whose the group at a place is.
    pub(super) fn give(&mut self, at: usize, owner: Option<NodeName>) {
        let group = &mut self.list[at];
        if group.owner != owner {
            group.owner = owner;
            group.version = self.version;
        }
    }
}

impl Group {
    fn elect(&mut self, demands: &[Arc<Demand>], ranks: &mut Ranks) {
        self.line = self.line_up(demands, ranks);
        self.owner = self.first().cloned();
        self.is_judged = true;
    }

    /// The first in the order.
    pub(super) fn first(&self) -> Option<&NodeName> {
        self.line.first()
    }

    /// The two that would be elected if `holder` could not be.
    pub(super) fn heirs<'l>(
        line: &'l [NodeName],
        holder: &'l NodeName,
    ) -> impl Iterator<Item = &'l NodeName> {
        line.iter().filter(move |node| *node != holder).take(HEIRS)
    }

    /// Whether a node is elected or an heir.
    pub(super) fn is_near(&self, node: &NodeName) -> bool {
        self.owner.as_ref().is_some_and(|owner| {
            owner == node || Self::heirs(&self.line, owner).any(|heir| heir == node)
        })
    }

    fn line_up(&self, demands: &[Arc<Demand>], ranks: &mut Ranks) -> Vec<NodeName> {
        let wanting = self.wanting(demands);
        let Some(candidates) = alike(&wanting) else {
            return ranks.firsts_by_score(self.key, common(&wanting), LINE);
        };
        let mut line = ranks.firsts_of(self.key, &candidates.best, LINE);
        for tier in &candidates.next {
            let room = LINE - line.len();
            if room > 0 {
                line.extend(ranks.firsts_of(self.key, tier, room));
            }
        }
        line
    }

    /// The services of it that have a candidate; the others do not hold these back.
    fn wanting<'d>(&self, demands: &'d [Arc<Demand>]) -> Vec<&'d Demand> {
        let members = self.members.iter().map(|i| &*demands[*i]);
        members.filter(|demand| demand.has_candidate()).collect()
    }

    /// The nodes that may announce all its services that have a candidate at all, by name, with their scores summed.
    pub(super) fn candidates(&self, demands: &[Arc<Demand>]) -> Vec<Candidate> {
        common(&self.wanting(demands))
    }

    /// Those of its candidates that have the highest score.
    pub(super) fn best<'d>(&self, demands: &'d [Arc<Demand>]) -> Cow<'d, BTreeSet<NodeName>> {
        let wanting = self.wanting(demands);
        if let Some(alike) = alike(&wanting) {
            return Cow::Borrowed(&alike.best);
        }
        let candidates = common(&wanting);
        let highest = candidates.iter().map(|candidate| candidate.score).max();
        let best = candidates.into_iter().filter(|c| Some(c.score) == highest);
        Cow::Owned(best.map(|candidate| candidate.node).collect())
    }

    /// The names of its services but for one.
    pub(super) fn others(&self, demands: &[Arc<Demand>], but: usize) -> Vec<ServiceId> {
        let others = self.members.iter().filter(|i| **i != but);
        others.map(|i| demands[*i].id().clone()).collect()
    }
}

/// The candidates of services that all have the same ones, wherever their endpoints are.
fn alike<'d>(wanting: &[&'d Demand]) -> Option<&'d Candidates> {
    let first = wanting.first()?;
    let is_alike = |d: &&Demand| d.hosts.is_none() && same_candidates(d, first);
    let field = first.field.as_ref()?;
    wanting.iter().all(is_alike).then_some(&*field.candidates)
}

/// Nodes and scores by which advertisements judge are the same; the links need not be.
fn same_candidates(a: &Demand, b: &Demand) -> bool {
    match (&a.field, &b.field) {
        (Some(a), Some(b)) => Arc::ptr_eq(&a.candidates, &b.candidates),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn common(wanting: &[&Demand]) -> Vec<Candidate> {
    let score = |demand: &Demand, node: &NodeName| {
        let is_host = demand
            .hosts
            .as_ref()
            .is_none_or(|hosts| hosts.contains(node));
        let field = demand.field.as_ref().filter(|_| is_host)?;
        field.candidates.scores.get(node).copied()
    };
    let total = |node: &NodeName| {
        wanting.iter().try_fold(Score::default(), |sum, demand| {
            Some(sum.plus(score(demand, node)?))
        })
    };
    let Some(first) = wanting.first() else {
        return Vec::new();
    };
    let fields = first
        .field
        .iter()
        .flat_map(|field| field.candidates.scores.keys());
    let nodes: Vec<_> = match &first.hosts {
        Some(hosts) => hosts.iter().collect(),
        None => fields.collect(),
    };
    let candidate = |node: &NodeName| {
        Some(Candidate {
            node: node.clone(),
            score: total(node)?,
        })
    };
    nodes.into_iter().filter_map(candidate).collect()
}

/// A group's holder and its two heirs (L6.6, L6.7).
pub(super) const LINE: usize = 1 + HEIRS;
const HEIRS: usize = 2;
