//! What one service asks for, whoever else there is: its addresses, its advertisements, and why nobody may
//! announce it. The order of the checks is MetalLB's.

use super::routes::Routed;
use super::setting::{Field, Setting};
use super::{Reason, Unmatched, options, steering};
use crate::allocator::{Assignment, Assignments};
use crate::annotations;
use crate::crd::Pool;
use crate::election::Placement;
use crate::key::{Kind, ObjectKey};
use crate::members::Families;
use crate::problem::Problem;
use crate::service::{Endpoint, EndpointSlice, Service, ServiceId, TrafficPolicy};
use crate::steering::Weights;
use crate::world::World;
use speaker_proto::shared_map::SharedMap;
use speaker_proto::{GroupKey, NodeName, Vip};
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::net::IpAddr;
use std::sync::Arc;

/// What one service asks for, and what that was worked out from.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    pub(super) service: Arc<Service>,
    assigned: Option<Assignment>,
    slices: Vec<Arc<EndpointSlice>>,
    /// Its addresses, in the order of the status; none if they are not valid or not allowed.
    pub(super) addresses: Vec<IpAddr>,
    /// The pool that has them all.
    pub(super) pool: Option<String>,
    /// Its pool lets its addresses be taken though a stranger answers for them.
    pub(super) is_forced: bool,
    /// Its packets are to be spread over nodes.
    pub(super) is_spread: bool,
    /// Over such on other segments as well.
    pub(super) is_beyond: bool,
    /// Sockets of a service proxy are to serve it.
    pub(super) is_socketed: bool,
    /// What else is to be done with its packets.
    pub(super) options: options::Asked,
    /// Those of its addresses that are no node's; none exactly if no protocol may announce it.
    pub(super) vips: Vec<Vip>,
    /// Where its advertisements say that its group should be; of several the one that keeps or spreads most.
    pub(super) placement: Option<Placement>,
    /// The candidates of its advertisements; `None`: layer 2 does not concern it.
    pub(super) field: Option<Arc<Field>>,
    /// The nodes that its BGPAdvertisements select; `None`: BGP does not concern it.
    pub(super) routed: Option<Arc<Routed>>,
    /// The nodes with an endpoint that can serve, if only those may announce.
    pub(super) hosts: Option<BTreeSet<NodeName>>,
    /// Why nobody may announce it.
    pub(super) fault: Option<Reason>,
    /// What the operator should know although it may be announced in part.
    pub(super) problems: Vec<Problem>,
}

impl Demand {
    /// Its name.
    pub(super) fn id(&self) -> &ServiceId {
        &self.service.id
    }

    /// The key of its group, were it alone.
    pub(super) fn key(&self) -> Option<GroupKey> {
        self.addresses.first().copied().map(GroupKey)
    }

    /// Whether some node may announce it, as far as the service itself is concerned.
    pub(super) fn has_candidate(&self) -> bool {
        let Some(field) = &self.field else {
            return false;
        };
        self.fault.is_none()
            && match &self.hosts {
                None => !field.candidates.scores.is_empty(),
                Some(hosts) => hosts
                    .iter()
                    .any(|h| field.candidates.scores.contains_key(h)),
            }
    }

    /// How many endpoints on a node can serve for addresses of a family, each once in however many slices it is.
    pub(super) fn endpoints_on(&self, node: &NodeName, is_v4: bool) -> u32 {
        let endpoints = self.slices.iter().flat_map(|slice| &slice.endpoints);
        let here = endpoints.filter(|e| e.can_serve && e.node.as_ref() == Some(node));
        let first = here.filter_map(|endpoint| endpoint.addresses.first());
        let distinct: BTreeSet<_> = first.filter(|ip| ip.is_ipv4() == is_v4).collect();
        u32::try_from(distinct.len()).unwrap_or(u32::MAX)
    }

    /// The nodes with endpoints for addresses of a family, each with their number; of those that are ready, if there is any.
    pub(super) fn endpoints(&self, is_v4: bool) -> Weights {
        let endpoints = || self.slices.iter().flat_map(|slice| &slice.endpoints);
        let count = |counts: &dyn Fn(&Endpoint) -> bool| {
            let mut seen = BTreeSet::new();
            let mut weights = Weights::new();
            for endpoint in endpoints().filter(|endpoint| counts(endpoint)) {
                let first = endpoint.addresses.first();
                let Some((ip, node)) = first.zip(endpoint.node.as_ref()) else {
                    continue;
                };
                if ip.is_ipv4() == is_v4 && seen.insert(ip) {
                    *weights.entry(node.clone()).or_default() += 1;
                }
            }
            weights
        };
        let ready = count(&|endpoint| endpoint.is_ready);
        if ready.is_empty() {
            return count(&|endpoint| endpoint.can_serve);
        }
        ready
    }

    /// Whether nothing that decides who shares addresses with whom differs.
    pub(super) fn has_stake_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.service, &other.service) && self.addresses == other.addresses
    }

    fn is_of(&self, raw: &Raw<'_>) -> bool {
        Arc::ptr_eq(&self.service, raw.service)
            && self.assigned.as_ref() == raw.assigned
            && same(&self.slices, raw.slices)
    }
}

/// What a demand is worked out from, beside the setting.
struct Raw<'w> {
    service: &'w Arc<Service>,
    assigned: Option<&'w Assignment>,
    slices: &'w [Arc<EndpointSlice>],
    /// Whether addresses come from assignments and not from the status.
    is_assigned: bool,
}

/// What the demands of all services come from, beside the setting.
#[derive(Clone, Debug)]
struct Origin {
    services: SharedMap<ServiceId, Arc<Service>>,
    slices: SharedMap<ServiceId, Vec<Arc<EndpointSlice>>>,
    assignments: Option<Arc<Assignments>>,
}

impl Origin {
    fn of(world: &World) -> Self {
        Self {
            services: world.services.clone(),
            slices: world.slices.clone(),
            assignments: world.assignments.clone(),
        }
    }

    /// Names of services of which something differs in `world`; `None`: addresses may differ everywhere.
    fn differing<'w>(&'w self, world: &'w World) -> Option<BTreeSet<&'w ServiceId>> {
        let has_same_addresses = match (&self.assignments, &world.assignments) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        has_same_addresses.then(|| {
            let services = world.services.differing(&self.services, Arc::ptr_eq);
            let slices = world.slices.differing(&self.slices, |a, b| same(a, b));
            services.into_iter().chain(slices).collect()
        })
    }
}

fn same<T>(a: &[Arc<T>], b: &[Arc<T>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}

/// The demands of all services by name, and how they differ from the ones before.
#[derive(Clone, Debug, Default)]
pub(super) struct Demands {
    origin: Option<Origin>,
    pub(super) list: Vec<Arc<Demand>>,
    /// Places of those that were worked out anew.
    pub(super) fresh: BTreeSet<usize>,
    /// Whether services came, went, or changed what they share.
    pub(super) is_regrouped: bool,
    /// Places of those that ask for something that is done with their packets.
    pub(super) asking: BTreeSet<usize>,
    /// Places of those that have problems.
    pub(super) troubled: BTreeSet<usize>,
}

impl Demands {
    /// Notes what is rare of the one at a place, so that it is found without a look at all.
    fn note(&mut self, place: usize) {
        let demand = &self.list[place];
        let note = |places: &mut BTreeSet<usize>, is_so: bool| match is_so {
            true => places.insert(place),
            false => places.remove(&place),
        };
        note(&mut self.asking, demand.asks_for_something());
        note(&mut self.troubled, !demand.problems.is_empty());
    }
}

/// The demands of all services by name; those of `old` that still hold are kept.
pub(super) fn demands(setting: &mut Setting, world: &World, old: Demands) -> Demands {
    let ids = old.origin.as_ref().and_then(|old| old.differing(world));
    match ids.and_then(|ids| places(&old.list, world, &ids)) {
        Some(places) => renewed(setting, world, old, &places),
        None => joined(setting, world, old.list),
    }
}

/// The places of services of which something differs; `None` if services came or went, or if it is cheaper to look at all.
fn places<'w>(
    list: &[Arc<Demand>],
    world: &'w World,
    ids: &BTreeSet<&ServiceId>,
) -> Option<Vec<(usize, &'w Arc<Service>)>> {
    if ids.len() * SEARCH_COSTS > list.len() {
        return None;
    }
    let mut places = Vec::new();
    for id in ids {
        let place = list.binary_search_by(|demand| demand.id().cmp(id));
        match (place, world.services.get(*id)) {
            (Ok(place), Some(service)) => places.push((place, service)),
            // Slices may be of services that are not followed.
            (Err(_), None) => {}
            (Ok(_), None) | (Err(_), Some(_)) => return None,
        }
    }
    Some(places)
}

/// A place is found in the time that so many steps of [`joined`] take.
const SEARCH_COSTS: usize = 16;

/// With the services at these places looked at again, and nothing else different.
fn renewed(
    setting: &mut Setting,
    world: &World,
    old: Demands,
    places: &[(usize, &Arc<Service>)],
) -> Demands {
    let mut new = Demands {
        origin: Some(Origin::of(world)),
        fresh: places.iter().map(|(place, _)| *place).collect(),
        is_regrouped: false,
        ..old
    };
    for (place, service) in places {
        let raw = Raw {
            service,
            assigned: world.assignments.as_ref().and_then(|a| a.get(&service.id)),
            slices: world.slices_of(&service.id),
            is_assigned: world.assignments.is_some(),
        };
        let demand = demand(setting, &raw);
        new.is_regrouped |= !demand.has_stake_of(&new.list[*place]);
        new.list[*place] = Arc::new(demand);
        new.note(*place);
    }
    new
}

/// With all services looked at, in step with what else there is of them and with `old`.
fn joined(setting: &mut Setting, world: &World, old: Vec<Arc<Demand>>) -> Demands {
    let mut new = Demands {
        origin: Some(Origin::of(world)),
        is_regrouped: old.len() != world.services.len(),
        ..Demands::default()
    };
    new.list.reserve(world.services.len());
    let mut old = old.into_iter().peekable();
    let assigned = world.assignments.iter().flat_map(|given| given.iter());
    let mut assigned = Walk(assigned.peekable());
    let mut slices = Walk(world.slices.iter().peekable());
    for (id, service) in &world.services {
        let raw = Raw {
            service,
            assigned: assigned.at(id),
            slices: slices.at(id).map_or(&[], Vec::as_slice),
            is_assigned: world.assignments.is_some(),
        };
        while old.next_if(|demand| demand.id() < id).is_some() {}
        let before = old.next_if(|demand| demand.id() == id);
        let place = new.list.len();
        if let Some(before) = before.as_ref().filter(|demand| demand.is_of(&raw)) {
            new.list.push(Arc::clone(before));
        } else {
            let demand = demand(setting, &raw);
            new.is_regrouped |= before.is_none_or(|before| !demand.has_stake_of(&before));
            new.fresh.insert(place);
            new.list.push(Arc::new(demand));
        }
        new.note(place);
    }
    new
}

/// Walks a map in step with rising keys, so that a join costs one pass.
struct Walk<I: Iterator>(Peekable<I>);

impl<'a, K: Ord + 'a, V: 'a, I: Iterator<Item = (&'a K, &'a V)>> Walk<I> {
    fn at(&mut self, key: &K) -> Option<&'a V> {
        while self.0.next_if(|(k, _)| *k < key).is_some() {}
        self.0.next_if(|(k, _)| *k == key).map(|(_, value)| value)
    }
}

fn demand(setting: &mut Setting, raw: &Raw<'_>) -> Demand {
    let mut demand = Demand {
        service: Arc::clone(raw.service),
        assigned: raw.assigned.cloned(),
        slices: raw.slices.to_vec(),
        addresses: Vec::new(),
        pool: None,
        is_forced: false,
        is_spread: false,
        is_beyond: false,
        is_socketed: false,
        placement: None,
        options: options::Asked::default(),
        vips: Vec::new(),
        field: None,
        routed: None,
        hosts: None,
        fault: None,
        problems: Vec::new(),
    };
    if let Err(reason) = fill(&mut demand, setting, raw) {
        demand.fault = Some(reason);
    }
    demand
}

/// Fills in what holds and stops at the first check that fails.
fn fill(demand: &mut Demand, setting: &mut Setting, raw: &Raw<'_>) -> Result<(), Reason> {
    let addresses = addresses(setting, raw)?;
    let pool = pool_of(setting, raw, &addresses).ok_or(Reason::AddressNotAllowed)?;
    demand.addresses = addresses;
    demand.is_forced = setting
        .pool(&pool)
        .is_some_and(|pool| annotations::is_set(&pool.annotations, "announce-anyway"));
    demand.pool = Some(pool.clone());
    demand.vips = vips(demand, setting)?;
    let all = setting.kept(raw.service, &pool);
    let kept = &all.on_links;
    let said = kept.iter().map(|i| setting.advertisement(*i).placement());
    demand.placement = said.max().flatten();
    if !kept.is_empty() {
        demand.field = Some(setting.field(kept.clone(), families(&demand.vips)));
    }
    if !all.in_bgp.is_empty() {
        demand.routed = Some(setting.routed(&all.in_bgp));
    }
    let (word, doubts) = steering::asked(setting, raw.service, &pool, &all);
    demand.is_beyond = word == Some(steering::BEYOND);
    demand.is_spread = demand.is_beyond || word == Some(steering::SPREAD);
    demand.is_socketed = word == Some(steering::SOCKET);
    demand.problems.extend(doubts);
    let (options, doubts) = options::asked(setting, raw.service, &pool, &all);
    demand.options = options;
    demand.problems.extend(doubts);
    let hosts = hosts(raw.slices).ok_or(Reason::NoEndpoints)?;
    demand.hosts = match raw.service.policy {
        TrafficPolicy::Cluster => None,
        TrafficPolicy::Local => Some(hosts),
    };
    if kept.is_empty() {
        return Err(Reason::NoMatchingAdvertisement(
            match setting.advertisements(&pool) {
                [] => Unmatched::Pool(pool),
                [..] => Unmatched::Service,
            },
        ));
    }
    let selective = kept
        .iter()
        .map(|i| setting.advertisement(*i))
        .find(|ad| !ad.service_selectors.is_empty());
    match selective {
        Some(ad) if has_sharing_annotation(raw.service) => {
            Err(Reason::SharedIpWithServiceSelector {
                advertisement: ad.name.clone(),
            })
        }
        Some(_) | None => Ok(()),
    }
}

fn addresses(setting: &Setting, raw: &Raw<'_>) -> Result<Vec<IpAddr>, Reason> {
    let service = raw.service;
    if !service.is_load_balancer {
        return Err(Reason::NotLoadBalancer);
    }
    if service.class != setting.rules.class {
        return Err(Reason::OtherClass {
            class: service.class.clone(),
        });
    }
    let addresses: Vec<_> = if raw.is_assigned {
        raw.assigned.map_or_else(Vec::new, |a| a.ips.clone())
    } else {
        let ingress = service.ingress.iter().cloned();
        ingress
            .collect::<Result<_, _>>()
            .map_err(Reason::InvalidAddress)?
    };
    if addresses.is_empty() {
        return Err(Reason::NoAddress);
    }
    Ok(addresses)
}

/// The pool that contains all the addresses; the one they came from, if it still does.
fn pool_of(setting: &Setting, raw: &Raw<'_>, addresses: &[IpAddr]) -> Option<String> {
    let contains = |pool: &&Arc<Pool>| addresses.iter().all(|ip| pool.contains(*ip));
    let origin = raw
        .assigned
        .and_then(|assignment| setting.pool(&assignment.pool));
    let pool = origin
        .filter(contains)
        .or_else(|| setting.pools.iter().find(contains))?;
    Some(pool.name.clone())
}

fn vips(demand: &mut Demand, setting: &Setting) -> Result<Vec<Vip>, Reason> {
    let mut vips = Vec::with_capacity(demand.addresses.len());
    let mut taken = None;
    for (i, ip) in demand.addresses.iter().enumerate() {
        let Some(node) = setting.node_addresses.get(ip) else {
            vips.push(Vip(*ip));
            continue;
        };
        let reason = Reason::NodeAddress {
            vip: Vip(*ip),
            node: node.clone(),
        };
        let field = format!("status.loadBalancer.ingress[{i}]");
        demand
            .problems
            .push(problem(&demand.service, field, &reason));
        taken.get_or_insert(reason);
    }
    match taken {
        Some(reason) if vips.is_empty() => Err(reason),
        Some(_) | None => Ok(vips),
    }
}

fn families(vips: &[Vip]) -> Families {
    Families {
        has_v4: vips.iter().any(|vip| vip.0.is_ipv4()),
        has_v6: vips.iter().any(|vip| vip.0.is_ipv6()),
    }
}

/// What is wrong with a service's place among other objects.
pub(super) fn problem(service: &Service, field: impl Into<String>, reason: &Reason) -> Problem {
    let id = &service.id;
    Problem {
        object: ObjectKey::new(Kind::Service, &id.namespace, &id.name),
        origin: "plan".into(),
        field: field.into(),
        why: reason.to_string(),
    }
}

/// The nodes of all endpoints that can serve; `None` if there is no such endpoint.
fn hosts(slices: &[Arc<EndpointSlice>]) -> Option<BTreeSet<NodeName>> {
    let mut serving = slices
        .iter()
        .flat_map(|slice| &slice.endpoints)
        .filter(|endpoint| endpoint.can_serve)
        .peekable();
    serving.peek()?;
    Some(
        serving
            .filter_map(|endpoint| endpoint.node.clone())
            .collect(),
    )
}

/// Whether a service carries the annotation that lets it share its address, even an empty one.
fn has_sharing_annotation(service: &Service) -> bool {
    let keys = [
        "metallb.io/allow-shared-ip",
        "metallb.universe.tf/allow-shared-ip",
    ];
    keys.iter()
        .any(|key| service.annotations.contains_key(*key))
}
