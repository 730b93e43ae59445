//! Pools during one pass: whom they serve, in which order, and their next usable addresses.
//!
//! Nothing is given back while new addresses are given, so that places once found taken need no second look; that is
//! what keeps a pass linear.

use super::Port;
use super::ask::Ask;
use super::ledger::Ledger;
use super::space::Space;
use crate::crd::{Pool, ServiceAllocation};
use crate::selector::{Labels, any_matches};
use crate::service::{Family, Service};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// All pools.
pub(super) struct Shelves<'w> {
    /// By name.
    shelves: Vec<Shelf<'w>>,
    space: Space<'w>,
    /// Pools for everybody, which have no serviceAllocation.
    open: Vec<usize>,
}

/// One pool.
pub(super) struct Shelf<'w> {
    pub(super) pool: &'w Pool,
    /// The namespaces that it is for; empty for all.
    namespaces: BTreeSet<&'w str>,
    /// Whether it overlaps an older pool. Such a pool gives no address, but takes none away.
    is_overlapping: bool,
    /// For each range the lowest address that may be free; `None` past its end.
    cursors: Vec<Option<IpAddr>>,
    /// Its shared addresses by key, backend and family.
    joint: BTreeMap<(String, String, Family), Joint>,
}

/// The shared addresses of one key.
#[derive(Default)]
struct Joint {
    spots: BTreeSet<Spot>,
    /// For a port, the first spot where it may be free.
    passed: BTreeMap<Port, Spot>,
}

/// A range by its place, and an address in it: in the order in which addresses are given.
type Spot = (usize, IpAddr);

impl<'w> Shelves<'w> {
    pub(super) fn new(world: &'w World) -> Self {
        let labels = namespace_labels(world);
        let space = Space::of(world);
        let pools = world.pools.values().enumerate();
        let shelves: Vec<_> = pools
            .map(|(place, pool)| Shelf::new(pool, &labels, space.is_overlapping(place)))
            .collect();
        let is_open = |shelf: &Shelf<'_>| shelf.pool.auto_assign && shelf.pool.allocation.is_none();
        let open = (0..shelves.len())
            .filter(|i| is_open(&shelves[*i]))
            .collect();
        Self {
            shelves,
            space,
            open,
        }
    }

    pub(super) fn at(&mut self, place: usize) -> &mut Shelf<'w> {
        &mut self.shelves[place]
    }

    pub(super) fn named(&mut self, name: &str) -> Option<&mut Shelf<'w>> {
        let found = self
            .shelves
            .binary_search_by(|shelf| shelf.pool.name.as_str().cmp(name));
        found.ok().map(|place| &mut self.shelves[place])
    }

    /// The pool that all of `ips` belong to.
    pub(super) fn holding(&self, ips: &[IpAddr]) -> Option<&Shelf<'w>> {
        self.space
            .pool_of_all(ips)
            .map(|place| &self.shelves[place])
    }

    /// Notes that an address is in use on these terms.
    pub(super) fn taken(&mut self, ip: IpAddr, ask: &Ask) {
        let (Some(sharing), Some(place)) = (&ask.sharing, self.space.pool_of(ip)) else {
            return;
        };
        let shelf = &mut self.shelves[place];
        let Some(range) = shelf
            .pool
            .ranges
            .iter()
            .position(|range| range.contains(ip))
        else {
            return;
        };
        let key = (sharing.key.clone(), sharing.backend.clone(), Family::of(ip));
        shelf.joint.entry(key).or_default().add((range, ip));
    }

    /// Pools for everybody, by name.
    pub(super) fn open(&self) -> Vec<usize> {
        self.open.clone()
    }

    /// Pools whose serviceAllocation picks the service, in MetalLB's order.
    pub(super) fn pinned(&self, service: &Service) -> Vec<usize> {
        let picks = |place: &usize| self.shelves[*place].picks(service);
        let places: Vec<usize> = (0..self.shelves.len()).filter(picks).collect();
        let by_namespace = |place: &usize| !self.shelves[*place].namespaces.is_empty();
        let (mut places, others): (Vec<usize>, Vec<usize>) =
            places.into_iter().partition(by_namespace);
        places.extend(others);
        let priority = |place: usize| {
            self.shelves[place]
                .pool
                .allocation
                .as_ref()
                .map_or(0, |a| a.priority)
        };
        for i in 1..places.len() {
            let mut j = i;
            while j > 0 && goes_before(priority(places[j]), priority(places[j - 1])) {
                places.swap(j, j - 1);
                j -= 1;
            }
        }
        places
    }
}

/// MetalLB's comparison of priorities. It is no order: what is 0 or less is said to go before its equals, so that
/// pools without a priority come out in reverse. The sort above makes of it what MetalLB's does.
fn goes_before(this: i64, that: i64) -> bool {
    match (this, that) {
        (1.., 1..) => this < that,
        (0, 1..) => false,
        _ => true,
    }
}

/// The labels of every namespace. One that has no manifest has the label that an API server gives.
fn namespace_labels(world: &World) -> BTreeMap<&str, Labels> {
    let named = |name: &str| Labels::from([(NAME_LABEL.to_owned(), name.to_owned())]);
    let ids = world.services.keys();
    let mut labels: BTreeMap<&str, Labels> = ids
        .map(|id| (id.namespace.as_str(), named(&id.namespace)))
        .collect();
    for namespace in world.namespaces.values() {
        let mut all = named(&namespace.name);
        all.extend(namespace.labels.clone());
        labels.insert(&namespace.name, all);
    }
    labels
}

impl<'w> Shelf<'w> {
    fn new(pool: &'w Pool, labels: &BTreeMap<&'w str, Labels>, is_overlapping: bool) -> Self {
        let mut namespaces = BTreeSet::new();
        if let Some(allocation) = &pool.allocation {
            namespaces.extend(allocation.namespaces.iter().map(String::as_str));
            let selects = |labels: &Labels| {
                allocation
                    .namespace_selectors
                    .iter()
                    .any(|s| s.matches(labels))
            };
            namespaces.extend(
                labels
                    .iter()
                    .filter(|(_, labels)| selects(labels))
                    .map(|(name, _)| *name),
            );
        }
        Self {
            pool,
            namespaces,
            is_overlapping,
            cursors: pool.ranges.iter().map(|range| Some(range.first)).collect(),
            joint: BTreeMap::new(),
        }
    }

    /// Whether the service may have addresses of this pool if it asks for them. Selectors that match no namespace
    /// are no restriction, as in MetalLB.
    pub(super) fn serves(&self, service: &Service) -> bool {
        let namespace = service.id.namespace.as_str();
        let in_namespace = self.namespaces.is_empty() || self.namespaces.contains(namespace);
        let selected = |a: &ServiceAllocation| any_matches(&a.service_selectors, &service.labels);
        in_namespace && self.pool.allocation.as_ref().is_none_or(selected)
    }

    /// Whether the pool is meant for the service though it does not ask for it.
    fn picks(&self, service: &Service) -> bool {
        let Some(allocation) = &self.pool.allocation else {
            return false;
        };
        let reaches_nobody = self.namespaces.is_empty()
            && !allocation.namespace_selectors.is_empty()
            && allocation.service_selectors.is_empty();
        self.pool.auto_assign && !reaches_nobody && self.serves(service)
    }

    /// Whether it has addresses of a family, free or not.
    pub(super) fn has(&self, family: Family) -> bool {
        self.pool
            .ranges
            .iter()
            .any(|range| Family::of(range.first) == family)
    }

    /// One usable address of each family, or none at all.
    pub(super) fn usable_all(
        &mut self,
        families: &[Family],
        ledger: &Ledger<'_>,
        ask: &Ask,
    ) -> Option<Vec<IpAddr>> {
        families
            .iter()
            .map(|family| self.usable(*family, ledger, ask))
            .collect()
    }

    /// The first address of a family that is free or can be shared.
    pub(super) fn usable(
        &mut self,
        family: Family,
        ledger: &Ledger<'_>,
        ask: &Ask,
    ) -> Option<IpAddr> {
        if self.is_overlapping {
            return None;
        }
        let free = self.free(family, ledger);
        let sharing = ask.sharing.as_ref();
        let joint = sharing.and_then(|sharing| {
            let key = (sharing.key.clone(), sharing.backend.clone(), family);
            self.joint.get_mut(&key)?.first(ledger, ask)
        });
        let first = free.into_iter().chain(joint).min();
        first.map(|(_, ip)| ip)
    }

    fn free(&mut self, family: Family, ledger: &Ledger<'_>) -> Option<Spot> {
        for (place, range) in self.pool.ranges.iter().enumerate() {
            if Family::of(range.first) != family {
                continue;
            }
            while let Some(ip) = self.cursors[place] {
                if ledger.is_free(ip) && !self.pool.leaves_out(ip) {
                    return Some((place, ip));
                }
                self.cursors[place] = next(ip).filter(|ip| range.contains(*ip));
            }
        }
        None
    }
}

impl Joint {
    fn add(&mut self, spot: Spot) {
        let is_last = self.spots.last().is_none_or(|last| *last < spot);
        if self.spots.insert(spot) && !is_last {
            for passed in self.passed.values_mut() {
                *passed = spot.min(*passed);
            }
        }
    }

    /// The first shared address that can take these ports too.
    fn first(&mut self, ledger: &Ledger<'_>, ask: &Ask) -> Option<Spot> {
        let first = *self.spots.first()?;
        let mut start = first;
        for port in &ask.ports {
            let passed = self.passed.entry(*port).or_insert(first);
            let mut spots = self.spots.range(*passed..);
            // Past the last spot it stays there: a later one is looked at again.
            let free = spots
                .find(|(_, ip)| !ledger.has_port(*ip, *port))
                .or(self.spots.last())?;
            *passed = *free;
            start = start.max(*free);
        }
        let mut spots = self.spots.range(start..);
        spots.find(|(_, ip)| ledger.may_join(*ip, ask)).copied()
    }
}

fn next(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => ip
            .to_bits()
            .checked_add(1)
            .map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(ip) => ip
            .to_bits()
            .checked_add(1)
            .map(|bits| IpAddr::V6(bits.into())),
    }
}

const NAME_LABEL: &str = "kubernetes.io/metadata.name";
