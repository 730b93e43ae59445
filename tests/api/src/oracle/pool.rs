//! A pool: which addresses it has, whom it serves, and whether it can be used at all.

use super::labels::{self, Labels};
use super::service::{Family, Service};
use super::text;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a pool can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// As a webhook lets it pass.
    Regular,
    /// It overlaps an older one.
    Overlapping,
    /// It cannot be read.
    Broken,
}

/// One pool.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) standing: Standing,
    created: String,
    /// First and last addresses.
    pub(super) ranges: Vec<(IpAddr, IpAddr)>,
    auto_assign: bool,
    pub(super) avoid_buggy: bool,
    allocation: Option<Allocation>,
    /// As last written.
    pub(super) status: Value,
}

#[derive(Clone, Debug)]
struct Allocation {
    namespaces: BTreeSet<String>,
    namespace_selectors: Vec<Value>,
    service_selectors: Vec<Value>,
}

impl Pool {
    pub(super) fn of(object: &Value) -> Self {
        let spec = &object["spec"];
        let addresses = spec["addresses"].as_array().into_iter().flatten();
        let ranges: Option<Vec<_>> = addresses.map(|entry| range(text(entry))).collect();
        Self {
            standing: match &ranges {
                Some(_) => Standing::Regular,
                None => Standing::Broken,
            },
            created: text(&object["metadata"]["creationTimestamp"]).to_owned(),
            ranges: ranges.unwrap_or_default(),
            auto_assign: spec["autoAssign"].as_bool().unwrap_or(true),
            avoid_buggy: spec["avoidBuggyIPs"].as_bool().unwrap_or(false),
            allocation: Some(&spec["serviceAllocation"])
                .filter(|allocation| allocation.is_object())
                .map(allocation),
            status: object["status"].clone(),
        }
    }

    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.covers(ip) && !self.leaves_out(ip)
    }

    /// Whether the address is in one of its ranges, also where it is left out.
    pub(super) fn covers(&self, ip: IpAddr) -> bool {
        self.ranges.iter().any(|range| is_in(ip, *range))
    }

    pub(super) fn has_all(&self, ips: &[IpAddr]) -> bool {
        ips.iter().all(|ip| self.has(*ip))
    }

    pub(super) fn has_family(&self, family: Family) -> bool {
        self.ranges
            .iter()
            .any(|(first, _)| Family::of(*first) == family)
    }

    fn leaves_out(&self, ip: IpAddr) -> bool {
        let IpAddr::V4(ip) = ip else { return false };
        self.avoid_buggy && matches!(ip.octets(), [_, _, _, 0 | 255])
    }

    /// Addresses of a family in order: all of a small pool, and of a large one the first `limit` of each range.
    pub(super) fn addresses(&self, family: Family, limit: usize) -> impl Iterator<Item = IpAddr> {
        let ranges = self
            .ranges
            .iter()
            .filter(move |(first, _)| Family::of(*first) == family);
        ranges.flat_map(move |range| {
            let start = bits(range.0);
            let all = (0..).map_while(move |i| address(family, start.checked_add(i)?));
            all.take_while(move |ip| is_in(*ip, *range))
                .filter(|ip| !self.leaves_out(*ip))
                .take(limit)
        })
    }

    /// Whether the service may have addresses of it, asked or unasked.
    pub(super) fn serves(&self, service: &Service, namespaces: &BTreeMap<String, Labels>) -> bool {
        let Some(allocation) = &self.allocation else {
            return true;
        };
        let listed = allocation.reach(namespaces);
        let in_namespace = listed.is_empty() || listed.contains(service.namespace.as_str());
        let selectors = &allocation.service_selectors;
        in_namespace && (selectors.is_empty() || labels::any(selectors, &service.labels))
    }

    /// Whether the service may get addresses of it without asking for it.
    pub(super) fn is_offered(
        &self,
        service: &Service,
        namespaces: &BTreeMap<String, Labels>,
    ) -> bool {
        // Selectors that match no namespace leave the pool to those who ask.
        let is_hidden = self.allocation.as_ref().is_some_and(|allocation| {
            !allocation.namespace_selectors.is_empty()
                && allocation.service_selectors.is_empty()
                && allocation.reach(namespaces).is_empty()
        });
        self.auto_assign && !is_hidden && self.serves(service, namespaces)
    }
}

impl Allocation {
    /// The namespaces that are listed or selected.
    fn reach<'a>(&'a self, namespaces: &'a BTreeMap<String, Labels>) -> BTreeSet<&'a str> {
        let selected = namespaces
            .iter()
            .filter(|(_, labels)| labels::any(&self.namespace_selectors, labels));
        let names = selected.map(|(name, _)| name).chain(self.namespaces.iter());
        names.map(String::as_str).collect()
    }
}

/// Finds the pools that overlap an older one; of pools of one second the first by name is the older.
pub(super) fn rank(pools: &mut BTreeMap<String, Pool>) {
    let mut names: Vec<(bool, String, String)> = pools
        .iter()
        .map(|(name, pool)| (pool.created.is_empty(), pool.created.clone(), name.clone()))
        .collect();
    names.sort();
    let mut taken: Vec<(IpAddr, IpAddr)> = Vec::new();
    for (_, _, name) in names {
        let Some(pool) = pools.get_mut(&name) else {
            continue;
        };
        let meets = |range: &(IpAddr, IpAddr)| {
            taken
                .iter()
                .any(|other| is_in(range.0, *other) || is_in(other.0, *range))
        };
        if pool.ranges.iter().any(meets) {
            pool.standing = Standing::Overlapping;
        } else {
            taken.extend(&pool.ranges);
        }
    }
}

fn allocation(value: &Value) -> Allocation {
    let list = |field: &str| value[field].as_array().cloned().unwrap_or_default();
    Allocation {
        namespaces: list("namespaces")
            .iter()
            .map(text)
            .map(str::to_owned)
            .collect(),
        namespace_selectors: list("namespaceSelectors"),
        service_selectors: list("serviceSelectors"),
    }
}

/// A prefix, or two addresses with a hyphen between.
fn range(entry: &str) -> Option<(IpAddr, IpAddr)> {
    if let Some((first, last)) = entry.split_once('-') {
        let ip = |text: &str| Some(text.trim().parse::<IpAddr>().ok()?.to_canonical());
        let range = (ip(first)?, ip(last)?);
        return Some(range).filter(|(first, last)| first <= last);
    }
    let (ip, length) = entry.split_once('/')?;
    let (ip, length) = (ip.parse::<IpAddr>().ok()?, length.parse::<u32>().ok()?);
    let canonical = ip.to_canonical();
    let length = match (ip, canonical) {
        (IpAddr::V6(_), IpAddr::V4(_)) => length.checked_sub(96)?,
        (_, _) => length,
    };
    let width = width(Family::of(canonical));
    let host_bits = width.checked_sub(length)?;
    let hosts = u128::MAX.checked_shr(128 - host_bits).unwrap_or(0);
    let first = bits(canonical) & !hosts;
    let family = Family::of(canonical);
    Some((address(family, first)?, address(family, first | hosts)?))
}

fn is_in(ip: IpAddr, (first, last): (IpAddr, IpAddr)) -> bool {
    Family::of(ip) == Family::of(first) && first <= ip && ip <= last
}

pub(super) fn width(family: Family) -> u32 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

pub(super) fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn address(family: Family, bits: u128) -> Option<IpAddr> {
    match family {
        Family::V4 => Some(Ipv4Addr::from_bits(u32::try_from(bits).ok()?).into()),
        Family::V6 => Some(Ipv6Addr::from_bits(bits).into()),
    }
}
