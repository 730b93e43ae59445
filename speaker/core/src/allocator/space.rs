//! Which pool an address belongs to, where pools may claim the same one.
//!
//! Of two pools that overlap the older one counts, then the first by name. The other keeps what it gave but gives
//! nothing new, since MetalLB would not have let it come to be.

use crate::crd::{AddressRange, Pool};
use crate::key::{Kind, ObjectKey};
use crate::problem::Problem;
use crate::world::World;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The ranges of all pools. Pools go by their place in the order of names.
pub(super) struct Space<'w> {
    pools: Vec<&'w Pool>,
    /// First address of each range of the pools that give addresses: its last one, and the pool. They do not overlap.
    ranges: BTreeMap<IpAddr, (IpAddr, usize)>,
    overlaps: BTreeMap<usize, Overlap>,
}

/// Why a pool gives nothing.
struct Overlap {
    /// Place of the range in `spec.addresses`.
    place: usize,
    /// The older pool.
    with: usize,
}

impl<'w> Space<'w> {
    pub(super) fn of(world: &'w World) -> Self {
        let pools: Vec<&Pool> = world.pools.values().map(AsRef::as_ref).collect();
        let mut by_age: Vec<usize> = (0..pools.len()).collect();
        by_age.sort_by_key(|i| (pools[*i].created.is_none(), pools[*i].created));
        let mut ranges = BTreeMap::new();
        let mut overlaps = BTreeMap::new();
        for i in by_age {
            if let Some(overlap) = overlap(pools[i], &ranges) {
                overlaps.insert(i, overlap);
                continue;
            }
            let own = pools[i].ranges.iter();
            ranges.extend(own.map(|range| (range.first, (range.last, i))));
        }
        Self {
            pools,
            ranges,
            overlaps,
        }
    }

    /// Whether the pool gives nothing because it overlaps an older one.
    pub(super) fn is_overlapping(&self, pool: usize) -> bool {
        self.overlaps.contains_key(&pool)
    }

    /// The pool that `ip` belongs to.
    pub(super) fn pool_of(&self, ip: IpAddr) -> Option<usize> {
        if let Some(pool) = pool_at(&self.ranges, ip) {
            return Some(pool).filter(|pool| self.pools[*pool].contains(ip));
        }
        let mut overlapping = self.overlaps.keys().copied();
        overlapping.find(|pool| self.pools[*pool].contains(ip))
    }

    /// The pool that all of `ips` belong to. Where an older pool has come to have a part of them, that is the younger one
    /// which has them all: it keeps what it gave.
    pub(super) fn pool_of_all(&self, ips: &[IpAddr]) -> Option<usize> {
        let (first, others) = ips.split_first()?;
        let place = self.pool_of(*first)?;
        if others.iter().all(|ip| self.pool_of(*ip) == Some(place)) {
            return Some(place);
        }
        let mut overlapping = self.overlaps.keys().copied();
        overlapping.find(|pool| ips.iter().all(|ip| self.pools[*pool].contains(*ip)))
    }

    /// Pools that give nothing because they overlap an older one.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let overlaps = self.overlaps.iter();
        overlaps
            .map(|(pool, overlap)| {
                let (pool, other) = (self.pools[*pool], self.pools[overlap.with]);
                Problem {
                    object: ObjectKey::new(Kind::Pool, &pool.namespace, &pool.name),
                    origin: "configuration".to_owned(),
                    field: format!("spec.addresses[{}]", overlap.place),
                    why: format!(
                        "overlaps pool {:?}, which came first; {:?} gives no new addresses until it does not",
                        other.name, pool.name
                    ),
                }
            })
            .collect()
    }
}

fn overlap(pool: &Pool, ranges: &BTreeMap<IpAddr, (IpAddr, usize)>) -> Option<Overlap> {
    pool.ranges.iter().enumerate().find_map(|(place, range)| {
        let inside = ranges.range(range.first..=range.last).next();
        let inside = inside.map(|(_, (_, other))| *other);
        let with = inside.or_else(|| pool_at(ranges, range.first))?;
        Some(Overlap { place, with })
    })
}

fn pool_at(ranges: &BTreeMap<IpAddr, (IpAddr, usize)>, ip: IpAddr) -> Option<usize> {
    let (first, (last, pool)) = ranges.range(..=ip).next_back()?;
    let range = AddressRange {
        first: *first,
        last: *last,
    };
    range.contains(ip).then_some(*pool)
}
