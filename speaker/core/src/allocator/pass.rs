//! One pass over all services: who keeps what, and who gets what is left.

use super::ask::{self, list};
use super::ledger::Ledger;
use super::shelf::Shelves;
use super::veil::Veil;
use super::{Allocation, Assignment, Assignments, Claim, Cleared, Event, EventReason};
use crate::key::{Kind, ObjectKey};
use crate::problem::Problem;
use crate::service::{Family, FamilyPolicy, Service, ServiceId};
use crate::world::World;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What became of the addresses that a service held.
pub(super) enum Kept {
    /// It has them, from this pool.
    All(String),
    /// It has them, but what it asks for cannot be read.
    Despite,
    /// It has none of them any more, or had none.
    None,
    /// It has them, from a pool that cannot be read now.
    Unseen,
    /// There is no pool, so that there is nothing to say.
    Idle,
    /// It can have none: for what the service lacks, and where.
    Barred {
        field: &'static str,
        why: &'static str,
    },
}

/// Why a service may not have just these addresses.
enum Refusal {
    NotAllowed(String),
    InUse(String),
}

impl Refusal {
    fn why(self) -> String {
        match self {
            Self::NotAllowed(why) | Self::InUse(why) => why,
        }
    }
}

pub(super) struct Pass<'w> {
    world: &'w World,
    veil: &'w Veil<'w>,
    shelves: Shelves<'w>,
    ledger: Ledger<'w>,
    pub(super) allocation: Allocation,
}

impl<'w> Pass<'w> {
    pub(super) fn new(world: &'w World, veil: &'w Veil<'w>) -> Self {
        Self {
            world,
            veil,
            shelves: Shelves::new(world),
            ledger: Ledger::default(),
            allocation: Allocation::default(),
        }
    }

    /// Keeps what services hold that are not there, if they may be behind a manifest that cannot be read.
    pub(super) fn reserve(&mut self, current: &'w Assignments) {
        let absent = current
            .iter()
            .filter(|(id, _)| !self.world.services.contains_key(id));
        for (id, assignment) in absent {
            let Some(problem) = self.veil.over_service(id) else {
                continue;
            };
            for ip in &assignment.ips {
                self.ledger.reserve(*ip, id, assignment.sharing.as_ref());
            }
            self.allocation
                .assignments
                .insert(id.clone(), assignment.clone());
            let why = format!(
                "is not there, and {} cannot be read; its addresses stay with it",
                problem.origin
            );
            self.problem(id, "", why);
        }
    }

    /// Lets a service keep what it holds if it may.
    pub(super) fn keep(&mut self, claim: &Claim<'w>) -> Kept {
        let service = claim.service;
        if let Some(pool) = self.unseen_pool(claim) {
            self.assign(claim, claim.held.clone(), pool.to_owned());
            return Kept::Unseen;
        }
        if self.world.pools.is_empty() {
            self.cleared(claim, Cleared::NoConfig);
            return Kept::Idle;
        }
        if has_no_cluster_ip(service) {
            self.cleared(claim, Cleared::NoClusterIps);
            return Kept::Barred {
                field: "spec.clusterIPs",
                why: "it has no cluster IP",
            };
        }
        if lacks_cluster_ip(service) {
            let why = "RequireDualStack needs two cluster IPs";
            self.event(service, EventReason::NotEnoughClusterIps, why.to_owned());
            self.cleared(claim, Cleared::NoClusterIps);
            return Kept::Barred {
                field: "spec.ipFamilyPolicy",
                why,
            };
        }
        if claim.held.is_empty() {
            return Kept::None;
        }
        match self.keepable(claim) {
            Ok(pool) => {
                let kept = match &claim.ask.ips {
                    Ok(_) => Kept::All(pool.clone()),
                    Err(_) => Kept::Despite,
                };
                self.assign(claim, claim.held.clone(), pool);
                kept
            }
            Err(why) => {
                self.cleared(claim, why);
                Kept::None
            }
        }
    }

    /// The pool from which the service may go on holding what it holds.
    fn keepable(&mut self, claim: &Claim<'w>) -> Result<String, Cleared> {
        let service = claim.service;
        if !self.has_fitting_families(claim) {
            return Err(Cleared::Families);
        }
        let pool = self.assignable(claim, &claim.held).map_err(|refusal| {
            let (cleared, why) = match refusal {
                Refusal::NotAllowed(why) => (Cleared::NotAllowed, why),
                Refusal::InUse(why) => (Cleared::InUse, why),
            };
            self.event(service, EventReason::ClearAssignment, format!(
                "current IP for \"{}\" not allowed by config, will attempt for new IP assignment: {why}",
                service.id
            ));
            cleared
        })?;
        if claim.ask.pool.as_ref().is_some_and(|asked| *asked != pool) {
            return Err(Cleared::OtherPool);
        }
        match &claim.ask.ips {
            Ok(asked) if !asked.is_empty() && !same(asked, &claim.held) => {
                Err(Cleared::OtherAddresses)
            }
            Ok(_) | Err(_) => Ok(pool),
        }
    }

    fn cleared(&mut self, claim: &Claim<'w>, why: Cleared) {
        if !claim.held.is_empty() {
            let id = claim.service.id.clone();
            self.allocation.cleared.insert(id, why);
        }
    }

    /// Whether what is held is of the families that the service wants; PreferDualStack may lack one.
    fn has_fitting_families(&mut self, claim: &Claim<'w>) -> bool {
        let service = claim.service;
        match ask::families(&claim.held) {
            Ok(families) => {
                let wanted: BTreeSet<_> = service.families.iter().copied().collect();
                let may_lack_one = service.family_policy == FamilyPolicy::PreferDualStack;
                families == wanted || (may_lack_one && families.is_subset(&wanted))
            }
            Err(why) => {
                let held = list(&claim.held);
                let message = format!("Failed to retrieve LBIPs IPFamily for {held}: {why}");
                self.event(service, EventReason::StatusFamilies, message);
                false
            }
        }
    }

    /// The pool of what is held, if it may be one that cannot be read: no pool that can be read holds it, and there is
    /// one that cannot.
    fn unseen_pool(&self, claim: &Claim<'w>) -> Option<&'w str> {
        if claim.held.is_empty() || self.shelves.holding(&claim.held).is_some() {
            return None;
        }
        let unread = |pool: &&str| !self.world.pools.contains_key(*pool);
        let named = claim.pool.filter(unread);
        let pool = match named.filter(|pool| self.veil.over_pool(pool).is_some()) {
            Some(pool) => pool,
            None => self.veil.unread_pool(self.world)?,
        };
        let is_undisputed = claim
            .held
            .iter()
            .all(|ip| self.ledger.check(*ip, claim.service, &claim.ask).is_ok());
        is_undisputed.then_some(pool)
    }

    /// Gives a service what it still lacks.
    pub(super) fn settle(&mut self, claim: &Claim<'w>, kept: Kept) {
        let service = claim.service;
        match kept {
            Kept::Idle => {
                self.problem(&service.id, "", "there is no pool".to_owned());
                return;
            }
            Kept::Unseen => {
                let why = "the pool of its addresses cannot be read; they stay with it";
                self.problem(&service.id, "", why.to_owned());
            }
            Kept::Barred { field, why } => {
                self.problem(&service.id, field, why.to_owned());
                return;
            }
            Kept::Despite => {
                if let Err(why) = &claim.ask.ips {
                    let message = format!("invalid requested loadbalancer IPs: {why}");
                    self.problem(&service.id, "", message.clone());
                    self.event(service, EventReason::LoadBalancerFailed, message);
                }
            }
            Kept::All(pool) => self.add(claim, &pool),
            Kept::None => {
                if let Err(why) = self.give(claim) {
                    self.problem(&service.id, "", why.clone());
                    let message = format!("Failed to allocate IP for \"{}\": {why}", service.id);
                    self.event(service, EventReason::AllocationFailed, message);
                    return;
                }
            }
        }
        for key in &claim.ask.deprecated {
            let message = format!("Service uses deprecated annotation {key}");
            self.event(service, EventReason::DeprecatedAnnotation, message);
        }
    }

    /// Gives new addresses to a service that has none.
    fn give(&mut self, claim: &Claim<'w>) -> Result<(), String> {
        let (ips, pool) = self.choose(claim)?;
        let message = format!("Assigned IP {}", list(&ips));
        self.event(claim.service, EventReason::Allocated, message);
        let ips = match claim.ask.asks_for_ips() {
            true => sorted_as_text(ips),
            false => ips,
        };
        self.assign(claim, ips, pool.clone());
        self.add(claim, &pool);
        Ok(())
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
        // With an address that it does not ask for it would lose both.
        if claim.ask.asks_for_ips() {
            let asked = list(&[held]);
            return Err(format!(
                "requested loadBalancer IP(s) {asked} does not match the ipFamily of the service"
            ));
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
        let pool = self.assignable(claim, asked).map_err(Refusal::why)?;
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
    fn assignable(&self, claim: &Claim<'w>, ips: &[IpAddr]) -> Result<String, Refusal> {
        let Some(shelf) = self.shelves.holding(ips) else {
            let why = format!("{} is not allowed in config", list(ips));
            return Err(Refusal::NotAllowed(why));
        };
        let name = &shelf.pool.name;
        if !shelf.serves(claim.service) {
            let why = format!("pool {name} not compatible for ip assignment");
            return Err(Refusal::NotAllowed(why));
        }
        for ip in ips {
            let checked = self.ledger.check(*ip, claim.service, &claim.ask);
            checked.map_err(Refusal::InUse)?;
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

    fn problem(&mut self, id: &ServiceId, field: &str, why: String) {
        self.allocation.problems.push(Problem {
            object: ObjectKey::new(Kind::Service, &id.namespace, &id.name),
            origin: ORIGIN.to_owned(),
            field: field.to_owned(),
            why,
        });
    }
}

/// An API server gives each load balancer a cluster address, and a UID; manifests have neither.
fn has_no_cluster_ip(service: &Service) -> bool {
    !service.uid.is_empty() && service.cluster_ips.is_empty()
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
