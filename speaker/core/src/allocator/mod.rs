//! Which address each service gets, as a pure function.
//!
//! One pass looks at every service. First those that hold addresses keep them, as far as the pools and each other
//! allow; only then are new addresses given, so that what one service loses another may get, and nothing that is
//! held is ever given away. Among equals the one that has not changed stays, then the older, then the
//! first by UID where there is one, then by name.
//!
//! The rules and the texts of events are MetalLB's (`docs/metallb.md`, "Allocation"); where MetalLB leaves a choice
//! to chance, names decide here. This module knows nothing of advertisements, nodes or endpoints.

mod ask;
pub(crate) mod assignment;
mod event;
mod ledger;
mod pass;
mod shelf;
mod space;
pub mod text;
pub mod usage;
mod veil;

pub use assignment::{Assignment, Assignments, Port, Sharing};
pub use event::{Cleared, Event, EventReason};
pub use usage::{Usage, usage};

use crate::key::Kind;
use crate::problem::Problem;
use crate::service::{Service, ServiceId};
use crate::world::World;
use ask::Ask;
use pass::Pass;
use space::Space;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use veil::Veil;

/// What one pass of the allocator comes to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Allocation {
    /// The addresses that services hold from now on.
    pub assignments: Assignments,
    /// What happened, by service in the order in which they were looked at. See [`EventReason::is_standing`] for
    /// those that come back with every pass.
    pub events: Vec<Event>,
    /// Services that lost what they held, and why, also where no event tells of it.
    pub cleared: BTreeMap<ServiceId, Cleared>,
    /// Services that do not have what they ask for.
    pub problems: Vec<Problem>,
}

/// Gives every service of `class` its addresses.
///
/// `current` is what the last pass said. Where [`World::assignments`] is in use it is the truth, and an address in a
/// status counts only for a service that `current` does not know; elsewhere the status is the truth. Before services,
/// pools and namespaces are synced nothing changes, and what cannot be read frees no address.
pub fn allocate(world: &World, current: &Assignments, class: Option<&str>) -> Allocation {
    let needed = [Kind::Service, Kind::Pool, Kind::Namespace];
    if !needed.iter().all(|kind| world.synced.contains(kind)) {
        return Allocation {
            assignments: current.clone(),
            ..Allocation::default()
        };
    }
    let veil = Veil::of(world);
    let mut pass = Pass::new(world, &veil);
    let claims = claims(world, current, class);
    pass.reserve(current);
    let results: Vec<_> = claims.iter().map(|claim| pass.keep(claim)).collect();
    // What was held is back on the shelves by now, or taken by who may keep it.
    for (claim, kept) in claims.iter().zip(results) {
        pass.settle(claim, kept);
    }
    pass.allocation
}

/// Pools that give no new addresses because they overlap an older one. What they gave stays.
pub(crate) fn overlaps(world: &World) -> Vec<Problem> {
    Space::of(world).problems()
}

/// A service, what it holds, and what it asks for.
struct Claim<'w> {
    service: &'w Service,
    held: Vec<IpAddr>,
    /// The pool that they were given from, as far as anybody remembers.
    pool: Option<&'w str>,
    ask: Ask,
    rank: Rank,
}

/// Who comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Holds what it was given, on the same terms.
    Unchanged,
    /// Holds what it was given, on other terms.
    Changed,
    /// Says that it holds something.
    Claims,
    /// Holds nothing.
    Waits,
}

fn claims<'w>(world: &'w World, current: &'w Assignments, class: Option<&str>) -> Vec<Claim<'w>> {
    let services = world.services.values().map(AsRef::as_ref);
    let ours = services.filter(|s| s.is_load_balancer && s.class.as_deref() == class);
    let mut claims: Vec<_> = ours
        .map(|service| {
            let ask = Ask::of(service);
            let given = current.get(&service.id);
            let in_status = || service.ingress.iter().flatten().copied().collect();
            let held: Vec<IpAddr> = match given {
                Some(given) if world.assignments.is_some() => given.ips.clone(),
                Some(_) | None => in_status(),
            };
            let rank = match given {
                _ if held.is_empty() => Rank::Waits,
                Some(given) if given.ips != held => Rank::Claims,
                Some(given) if given.sharing == ask.sharing => Rank::Unchanged,
                Some(_) => Rank::Changed,
                None => Rank::Claims,
            };
            let written = service.annotations.get(POOL_ANNOTATION).map(String::as_str);
            Claim {
                service,
                held,
                pool: given.map(|given| given.pool.as_str()).or(written),
                ask,
                rank,
            }
        })
        .collect();
    // The sort is stable, and names are in order already.
    claims.sort_by(|a, b| a.place().cmp(&b.place()));
    claims
}

impl Claim<'_> {
    /// Services without a time of creation come last. Of two of the same second that hold an address, speakers go on
    /// announcing the one that comes first by UID, and the same one keeps it here.
    fn place(&self) -> impl Ord + '_ {
        let service = self.service;
        let uid = match self.rank {
            Rank::Unchanged | Rank::Changed | Rank::Claims => service.uid.as_str(),
            Rank::Waits => "",
        };
        (
            self.rank,
            Reverse(service.created.is_some()),
            service.created,
            uid,
        )
    }
}

/// The annotation by which a service says which pool its addresses are from.
pub const POOL_ANNOTATION: &str = "metallb.io/ip-allocated-from-pool";

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
