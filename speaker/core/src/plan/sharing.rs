//! Who holds an address together with whom, and who may not.
//!
//! Of two services that hold one address without sharing it, the older one keeps it: by creation (those without a time come
//! last), then by UID, then by name. The terms of sharing are the allocator's.

use super::Reason;
use super::demand::Demand;
use crate::allocator::Sharing;
use speaker_proto::Vip;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Services by place in the list of demands, joined where they share addresses.
#[derive(Debug)]
pub(super) struct Holders {
    /// The parent of each in its tree; a root is its own.
    parents: Vec<usize>,
    /// Those that may not hold an address of theirs, and why.
    pub(super) duplicates: BTreeMap<usize, Reason>,
    /// By address that several hold: those that may.
    accepted: BTreeMap<IpAddr, Vec<(usize, Option<Sharing>)>>,
}

impl Holders {
    pub(super) fn of(demands: &[Arc<Demand>]) -> Self {
        let mut holders = Self {
            parents: (0..demands.len()).collect(),
            duplicates: BTreeMap::new(),
            accepted: BTreeMap::new(),
        };
        for i in shared_oldest_first(demands) {
            holders.place(demands, i);
        }
        holders
    }

    /// A name for the set of services that `i` shares addresses with, directly or through others.
    pub(super) fn set_of(&mut self, mut i: usize) -> usize {
        while self.parents[i] != i {
            self.parents[i] = self.parents[self.parents[i]];
            i = self.parents[i];
        }
        i
    }

    /// Joins one service with the older ones that hold its addresses, or finds that it may not.
    fn place(&mut self, demands: &[Arc<Demand>], i: usize) {
        let terms = Sharing::of(&demands[i].service);
        let mut fellows = BTreeSet::new();
        for ip in &demands[i].addresses {
            for (older, theirs) in self.accepted.get(ip).into_iter().flatten() {
                let agree = |(a, b): (&Sharing, &Sharing)| a.agrees_with(b);
                if !terms.as_ref().zip(theirs.as_ref()).is_some_and(agree) {
                    let reason = Reason::DuplicateAddress {
                        vip: Vip(*ip),
                        holder: demands[*older].id().clone(),
                    };
                    self.duplicates.insert(i, reason);
                    return;
                }
                fellows.insert(*older);
            }
        }
        for ip in &demands[i].addresses {
            self.accepted
                .entry(*ip)
                .or_default()
                .push((i, terms.clone()));
        }
        for fellow in fellows {
            let (a, b) = (self.set_of(fellow), self.set_of(i));
            self.parents[a.max(b)] = a.min(b);
        }
    }
}

/// The places of those that hold an address that another holds too, older services first.
fn shared_oldest_first(demands: &[Arc<Demand>]) -> Vec<usize> {
    let mut held: Vec<(IpAddr, usize)> = demands
        .iter()
        .enumerate()
        .flat_map(|(i, demand)| demand.addresses.iter().map(move |ip| (*ip, i)))
        .collect();
    held.sort_unstable();
    held.dedup();
    let shared = held
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|chunk| chunk.len() > 1);
    let holders: BTreeSet<usize> = shared.flatten().map(|(_, i)| *i).collect();
    let mut holders: Vec<usize> = holders.into_iter().collect();
    holders.sort_by(|a, b| age(&demands[*a]).cmp(&age(&demands[*b])));
    holders
}

/// Smaller is older.
pub(super) fn age(demand: &Demand) -> impl Ord + '_ {
    let service = &demand.service;
    (
        service.created.is_none(),
        service.created,
        &service.uid,
        &service.id,
    )
}
