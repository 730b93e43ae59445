//! Which address each service gets, as a pure function.
//!
//! One pass looks at every service. First those that hold addresses keep them, as far as the pools and each other
//! allow; only then are new addresses given, so that what one service loses another may get, and nothing that is
//! held is ever given away. Among equals the one that has not changed stays, then the older, then the first by name.
//!
//! The rules and the texts of events are MetalLB's (`docs/metallb.md`, "Allocation"); where MetalLB leaves a choice
//! to chance, names decide here. This module knows nothing of advertisements, nodes or endpoints.

mod ask;
mod event;
mod ledger;
mod shelf;
mod space;
pub mod text;
pub mod usage;

pub use event::{Event, EventReason};
pub use usage::{Usage, usage};

use crate::object::{Kind, ObjectKey};
use crate::problem::Problem;
use crate::service::{Family, FamilyPolicy, Protocol, Service, ServiceId};
use crate::world::World;
use ask::{Ask, list};
use ledger::Ledger;
use shelf::Shelves;
use space::Space;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The addresses that services hold.
pub type Assignments = BTreeMap<ServiceId, Assignment>;

/// What one service holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// One or two addresses, in the order of the status.
    pub ips: Vec<IpAddr>,
    /// The pool they came from.
    pub pool: String,
    /// On which terms it shares them; `None` for a service that does not share. Of two services that can no longer
    /// share, the one whose terms changed leaves.
    pub sharing: Option<Sharing>,
}

/// The terms on which a service shares its addresses (`allow-shared-ip`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Sharing {
    /// The key, never empty; only services with the same one share.
    pub key: String,
    /// Which pods serve it, if only nodes with such pods may announce it (policy Local); else empty.
    pub backend: String,
    /// The ports that it takes.
    pub ports: BTreeSet<Port>,
}

/// A port of an address.
pub type Port = (Protocol, u16);

/// What one pass of the allocator comes to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Allocation {
    /// The addresses that services hold from now on.
    pub assignments: Assignments,
    /// What happened, by service in the order in which they were looked at. See [`EventReason::is_standing`] for
    /// those that come back with every pass.
    pub events: Vec<Event>,
    /// Services that do not have what they ask for.
    pub problems: Vec<Problem>,
}

/// Gives every service of `class` its addresses.
///
/// `current` is what the last pass said. Where [`World::assignments`] is in use it is the truth, and an address in a
/// status counts only for a service that `current` does not know; elsewhere the status is the truth. Before services,
/// pools and namespaces are synced nothing changes.
pub fn allocate(world: &World, current: &Assignments, class: Option<&str>) -> Allocation {
    let needed = [Kind::Service, Kind::Pool, Kind::Namespace];
    if !needed.iter().all(|kind| world.synced.contains(kind)) {
        return Allocation {
            assignments: current.clone(),
            ..Allocation::default()
        };
    }
    let shelves = Shelves::new(world);
    let mut pass = Pass {
        ledger: Ledger::default(),
        allocation: Allocation::default(),
        shelves,
    };
    if !world.pools.is_empty() {
        let claims = claims(world, current, class);
        let results: Vec<_> = claims.iter().map(|claim| pass.keep(claim)).collect();
        // What was held is back on the shelves by now, or taken by who may keep it.
        for (claim, kept) in claims.iter().zip(results) {
            pass.settle(claim, kept);
        }
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

fn claims<'w>(world: &'w World, current: &Assignments, class: Option<&str>) -> Vec<Claim<'w>> {
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
            Claim {
                service,
                held,
                ask,
                rank,
            }
        })
        .collect();
    // Services without a time of creation come last; the sort is stable and names are in order already.
    claims.sort_by_key(|claim| {
        (
            claim.rank,
            Reverse(claim.service.created.is_some()),
            claim.service.created,
        )
    });
    claims
}

/// What became of the addresses that a service held.
enum Kept {
    /// It has them, from this pool.
    All(String),
    /// It has them, but what it asks for cannot be read.
    Despite,
    /// It has none of them any more, or had none.
    None,
    /// It can have none: the service lacks what its policy requires.
    Barred,
}

struct Pass<'w> {
    shelves: Shelves<'w>,
    ledger: Ledger<'w>,
    allocation: Allocation,
}

impl<'w> Pass<'w> {
    /// Lets a service keep what it holds if it may.
    fn keep(&mut self, claim: &Claim<'w>) -> Kept {
        let service = claim.service;
        if lacks_cluster_ip(service) {
            let why = "RequireDualStack needs two cluster IPs";
            self.event(service, EventReason::NotEnoughClusterIps, why.to_owned());
            return Kept::Barred;
        }
        if claim.held.is_empty() {
            return Kept::None;
        }
        let held = list(&claim.held);
        let families = match ask::families(&claim.held) {
            Ok(families) => families,
            Err(why) => {
                let message = format!("Failed to retrieve LBIPs IPFamily for {held}: {why}");
                self.event(service, EventReason::StatusFamilies, message);
                return Kept::None;
            }
        };
        let wanted: BTreeSet<_> = service.families.iter().copied().collect();
        let may_lack_one = service.family_policy == FamilyPolicy::PreferDualStack;
        if families != wanted && !(may_lack_one && families.is_subset(&wanted)) {
            return Kept::None;
        }
        let pool = match self.assignable(claim, &claim.held) {
            Ok(pool) => pool,
            Err(why) => {
                self.event(service, EventReason::ClearAssignment, format!(
                    "current IP for \"{}\" not allowed by config, will attempt for new IP assignment: {why}",
                    service.id
                ));
                return Kept::None;
            }
        };
        if claim.ask.pool.as_ref().is_some_and(|asked| *asked != pool) {
            return Kept::None;
        }
        let kept = match &claim.ask.ips {
            Ok(asked) if asked.is_empty() || same(asked, &claim.held) => Kept::All(pool.clone()),
            Ok(_) => return Kept::None,
            Err(_) => Kept::Despite,
        };
        self.assign(claim, claim.held.clone(), pool);
        kept
    }

    /// Gives a service what it still lacks.
    fn settle(&mut self, claim: &Claim<'w>, kept: Kept) {
        let service = claim.service;
        match kept {
            Kept::Barred => {
                let why = "RequireDualStack needs two cluster IPs";
                self.problem(service, "spec.ipFamilyPolicy", why.to_owned());
                return;
            }
            Kept::Despite => {
                if let Err(why) = &claim.ask.ips {
                    let message = format!("invalid requested loadbalancer IPs: {why}");
                    self.problem(service, "", message.clone());
                    self.event(service, EventReason::LoadBalancerFailed, message);
                }
            }
            Kept::All(pool) => self.add(claim, &pool),
            Kept::None => match self.choose(claim) {
                Ok((ips, pool)) => {
                    self.event(
                        service,
                        EventReason::Allocated,
                        format!("Assigned IP {}", list(&ips)),
                    );
                    let ips = if claim.ask.asks_for_ips() {
                        sorted_as_text(ips)
                    } else {
                        ips
                    };
                    self.assign(claim, ips, pool.clone());
                    self.add(claim, &pool);
                }
                Err(why) => {
                    self.problem(service, "", why.clone());
                    let message = format!("Failed to allocate IP for \"{}\": {why}", service.id);
                    self.event(service, EventReason::AllocationFailed, message);
                    return;
                }
            },
        }
        for key in &claim.ask.deprecated {
            let message = format!("Service uses deprecated annotation {key}");
            self.event(service, EventReason::DeprecatedAnnotation, message);
        }
    }

    /// Adds the address of the other family to a service that prefers both and has one.
    fn add(&mut self, claim: &Claim<'w>, pool: &str) {
        let service = claim.service;
        let Some(assignment) = self.allocation.assignments.get(&service.id) else {
            return;
        };
        let ([held], FamilyPolicy::PreferDualStack, 2) = (
            assignment.ips.as_slice(),
            service.family_policy,
            service.families.len(),
        ) else {
            return;
        };
        let held = *held;
        match self.addition(claim, held, pool) {
            Ok(ip) => {
                let message = format!("Assigned additional IP \"{ip}\"");
                self.event(service, EventReason::Allocated, message);
                self.assign(claim, vec![held, ip], pool.to_owned());
            }
            Err(why) => {
                let message = format!("cannot assign additional IP in PreferDualStack: {why}");
                self.event(service, EventReason::AdditionFailed, message);
            }
        }
    }

    fn addition(&mut self, claim: &Claim<'w>, held: IpAddr, pool: &str) -> Result<IpAddr, String> {
        let family = Family::of(held).other();
        let shelf = self
            .shelves
            .named(pool)
            .ok_or_else(|| format!("unknown pool {pool:?}"))?;
        if !shelf.has(family) {
            return Err(format!("[\"{held}\" \"<nil>\"] is not allowed in config"));
        }
        let usable = shelf.usable(family, &self.ledger, &claim.ask);
        usable.ok_or_else(|| format!("no available IPs in pool {pool}"))
    }

    /// New addresses for a service, and their pool.
    fn choose(&mut self, claim: &Claim<'w>) -> Result<(Vec<IpAddr>, String), String> {
        let asked = claim.ask.ips.as_ref().map_err(Clone::clone)?;
        if !asked.is_empty() {
            return self.as_asked(claim, asked);
        }
        match &claim.ask.pool {
            Some(pool) => self.in_pool(claim, pool),
            None => self.anywhere(claim),
        }
    }

    fn as_asked(
        &mut self,
        claim: &Claim<'w>,
        asked: &[IpAddr],
    ) -> Result<(Vec<IpAddr>, String), String> {
        let wanted: BTreeSet<_> = claim.service.families.iter().copied().collect();
        if ask::families(asked)? != wanted {
            return Err(format!(
                "requested loadBalancer IP(s) {} does not match the ipFamily of the service",
                list(asked)
            ));
        }
        if let Some(pool) = &claim.ask.pool
            && self
                .shelves
                .holding(asked)
                .is_none_or(|shelf| shelf.pool.name != *pool)
        {
            return Err(format!(
                "requested loadBalancer IP(s) {} is not compatible with requested address pool {pool}",
                list(asked)
            ));
        }
        let pool = self.assignable(claim, asked)?;
        Ok((asked.to_vec(), pool))
    }

    fn in_pool(&mut self, claim: &Claim<'w>, name: &str) -> Result<(Vec<IpAddr>, String), String> {
        let service = claim.service;
        let shelf = self.shelves.named(name);
        let shelf = shelf.ok_or_else(|| format!("unknown pool {name:?}"))?;
        if !shelf.serves(service) {
            return Err(format!("pool {name} not compatible for ip assignment"));
        }
        let wishes = wishes(service);
        for families in &wishes {
            if let Some(ips) = shelf.usable_all(families, &self.ledger, &claim.ask) {
                return Ok((ips, name.to_owned()));
            }
        }
        Err(match service.families.as_slice() {
            [family] if !shelf.has(*family) => "[\"<nil>\"] is not allowed in config".to_owned(),
            [_] => format!("no available IPs in pool {name}"),
            _ => format!("no available IPs in pool {name} for dual IPFamily"),
        })
    }

    fn anywhere(&mut self, claim: &Claim<'w>) -> Result<(Vec<IpAddr>, String), String> {
        let wishes = wishes(claim.service);
        let tiers = [self.shelves.pinned(claim.service), self.shelves.open()];
        for tier in tiers {
            for families in &wishes {
                for shelf in &tier {
                    let shelf = self.shelves.at(*shelf);
                    if let Some(ips) = shelf.usable_all(families, &self.ledger, &claim.ask) {
                        return Ok((ips, shelf.pool.name.clone()));
                    }
                }
            }
        }
        Err("no available IPs".to_owned())
    }

    /// The pool from which the service may have just these addresses.
    fn assignable(&self, claim: &Claim<'w>, ips: &[IpAddr]) -> Result<String, String> {
        let Some(shelf) = self.shelves.holding(ips) else {
            return Err(format!("{} is not allowed in config", list(ips)));
        };
        let name = &shelf.pool.name;
        if !shelf.serves(claim.service) {
            return Err(format!("pool {name} not compatible for ip assignment"));
        }
        for ip in ips {
            self.ledger.check(*ip, claim.service, &claim.ask)?;
        }
        Ok(name.clone())
    }

    fn assign(&mut self, claim: &Claim<'w>, ips: Vec<IpAddr>, pool: String) {
        for ip in &ips {
            self.ledger.take(*ip, claim.service, &claim.ask);
            self.shelves.taken(*ip, &claim.ask);
        }
        let assignment = Assignment {
            ips,
            pool,
            sharing: claim.ask.sharing.clone(),
        };
        self.allocation
            .assignments
            .insert(claim.service.id.clone(), assignment);
    }

    fn event(&mut self, service: &Service, reason: EventReason, message: String) {
        self.allocation.events.push(Event {
            service: service.id.clone(),
            reason,
            message,
        });
    }

    fn problem(&mut self, service: &Service, field: &str, why: String) {
        self.allocation.problems.push(Problem {
            object: ObjectKey::new(Kind::Service, &service.id.namespace, &service.id.name),
            origin: ORIGIN.to_owned(),
            field: field.to_owned(),
            why,
        });
    }
}

/// Where an API server gives cluster addresses, two families need two of them.
fn lacks_cluster_ip(service: &Service) -> bool {
    service.family_policy == FamilyPolicy::RequireDualStack && service.families.len() < 2
}

/// The sets of families that will do, best first.
fn wishes(service: &Service) -> Vec<Vec<Family>> {
    let families = &service.families;
    match (service.family_policy, families.as_slice()) {
        (FamilyPolicy::PreferDualStack, [first, second]) => {
            vec![vec![Family::V4, Family::V6], vec![*first], vec![*second]]
        }
        (_, [_, _]) => vec![vec![Family::V4, Family::V6]],
        (_, families) => vec![families.to_vec()],
    }
}

fn same(a: &[IpAddr], b: &[IpAddr]) -> bool {
    a.iter().collect::<BTreeSet<_>>() == b.iter().collect::<BTreeSet<_>>()
}

fn sorted_as_text(mut ips: Vec<IpAddr>) -> Vec<IpAddr> {
    ips.sort_by_key(ToString::to_string);
    ips
}

const ORIGIN: &str = "allocator";

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
