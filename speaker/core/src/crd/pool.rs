//! IPAddressPool: the addresses that services may get.

use super::{once, schema};
use crate::key::ObjectKey;
use crate::problem::Faults;
use crate::selector::{self, Labels, Selector};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

/// A parsed `metallb.io/v1beta1` IPAddressPool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    /// Its name, by which advertisements and services refer to it.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// `metadata.creationTimestamp`: of two overlapping pools the older stays.
    pub created: Option<jiff::Timestamp>,
    /// Its labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// `spec.addresses` in declared order, each cut into CIDR blocks on use.
    pub ranges: Vec<AddressRange>,
    /// `spec.autoAssign`; false: only on explicit request.
    pub auto_assign: bool,
    /// `spec.avoidBuggyIPs`: IPv4 addresses ending in .0 or .255 are not used.
    pub avoid_buggy_ips: bool,
    /// `spec.serviceAllocation`.
    pub allocation: Option<ServiceAllocation>,
}

/// First and last address of a part of a pool, of one family, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AddressRange {
    /// The lowest address.
    pub first: IpAddr,
    /// The highest address.
    pub last: IpAddr,
}

impl AddressRange {
    /// The addresses of `address/bits`. Bits past the prefix are ignored; an IPv4-mapped block counts as IPv4.
    fn of_cidr(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is neither address/bits nor first-last");
        let (address, bits) = text.split_once('/').ok_or_else(bad)?;
        let ip: IpAddr = address.parse().map_err(|_| bad())?;
        let bits = Some(bits).filter(|bits| bits.bytes().all(|b| b.is_ascii_digit()));
        let bits: u8 = bits.and_then(|bits| bits.parse().ok()).ok_or_else(bad)?;
        let (ip, bits) = match ip.to_canonical() {
            IpAddr::V4(v4) if ip.is_ipv6() && bits >= 96 => (IpAddr::V4(v4), bits - 96),
            IpAddr::V4(_) | IpAddr::V6(_) => (ip, bits),
        };
        let net = ipnet::IpNet::new(ip, bits).map_err(|_| bad())?;
        Ok(match net {
            ipnet::IpNet::V4(net) => Self {
                first: net.network().into(),
                last: net.broadcast().into(),
            },
            ipnet::IpNet::V6(net) => Self {
                first: net.network().into(),
                last: net.broadcast().into(),
            },
        })
    }

    /// Whether the two have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first.is_ipv4() == other.first.is_ipv4()
            && self.first <= other.last
            && other.first <= self.last
    }

    /// Whether `ip` lies inside.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.first.is_ipv4() == ip.is_ipv4() && self.first <= ip && ip <= self.last
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Ranges that do not overlap, for finding one that another overlaps without looking at each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cover(BTreeMap<IpAddr, AddressRange>);

impl Cover {
    /// The lowest of the ranges that `range` has an address in common with.
    pub(crate) fn overlapping(&self, range: &AddressRange) -> Option<&AddressRange> {
        let before = self.0.range(..range.first).next_back();
        let inside = self.0.range(range.first..=range.last).next();
        let near = before.into_iter().chain(inside).map(|(_, near)| near);
        near.into_iter().find(|near| near.overlaps(range))
    }

    /// Adds a range, or says which one it overlaps.
    pub(crate) fn add(&mut self, range: AddressRange) -> Result<(), AddressRange> {
        if let Some(other) = self.overlapping(&range) {
            return Err(*other);
        }
        self.0.insert(range.first, range);
        Ok(())
    }
}

impl FromIterator<AddressRange> for Cover {
    fn from_iter<I: IntoIterator<Item = AddressRange>>(ranges: I) -> Self {
        Self(
            ranges
                .into_iter()
                .map(|range| (range.first, range))
                .collect(),
        )
    }
}

impl Pool {
    /// Whether this pool may give `ip`.
    pub fn contains(&self, ip: IpAddr) -> bool {
        !self.leaves_out(ip) && self.ranges.iter().any(|range| range.contains(ip))
    }

    /// Whether `avoidBuggyIPs` keeps it from giving `ip`, in its ranges or not.
    pub fn leaves_out(&self, ip: IpAddr) -> bool {
        self.avoid_buggy_ips && matches!(ip, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255))
    }
}

/// `spec.serviceAllocation`: which services the pool is for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServiceAllocation {
    /// Lower is earlier; 0 is last.
    pub priority: i64,
    /// Namespaces by name.
    pub namespaces: BTreeSet<String>,
    /// Namespaces by label.
    pub namespace_selectors: Vec<Selector>,
    /// Services by label.
    pub service_selectors: Vec<Selector>,
}

impl TryFrom<(&ObjectKey, schema::IPAddressPool)> for Pool {
    type Error = Faults;

    fn try_from((key, raw): (&ObjectKey, schema::IPAddressPool)) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let ranges = ranges(&raw.spec.addresses, &mut faults);
        let allocation = raw
            .spec
            .service_allocation
            .map(|raw| allocation(raw, &mut faults));
        faults.none_or(|| Self {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            created: raw.metadata.creation_timestamp.map(|time| time.0),
            labels: raw.metadata.labels.unwrap_or_default(),
            annotations: raw.metadata.annotations.unwrap_or_default(),
            ranges,
            auto_assign: raw.spec.auto_assign,
            avoid_buggy_ips: raw.spec.avoid_buggy_ips,
            allocation,
        })
    }
}

fn ranges(addresses: &[String], faults: &mut Faults) -> Vec<AddressRange> {
    if addresses.is_empty() {
        faults.push("spec.addresses", "is empty");
    }
    let mut ranges = Vec::with_capacity(addresses.len());
    let mut cover = Cover::default();
    for (i, text) in addresses.iter().enumerate() {
        let field = || format!("spec.addresses[{i}]");
        let Some(Some(range)) = faults.take(field, range(text)) else {
            continue;
        };
        if let Err(other) = cover.add(range) {
            faults.push(field(), format!("{text:?} overlaps {other}"));
        }
        ranges.push(range);
    }
    ranges
}

/// A CIDR or two addresses with `-` between; `None` for a range from IPv4 to IPv6, which MetalLB accepts and takes
/// nothing from.
fn range(text: &str) -> Result<Option<AddressRange>, String> {
    let Some((first, last)) = text.split_once('-') else {
        return AddressRange::of_cidr(text).map(Some);
    };
    let end = |end: &str| {
        let end = end.trim();
        let ip: IpAddr = end
            .parse()
            .map_err(|_| format!("{text:?} is no range: {end:?} is no address"))?;
        Ok::<_, String>(ip.to_canonical())
    };
    let (first, last) = (end(first)?, end(last)?);
    if wide(first) > wide(last) {
        return Err(format!("{text:?} is no range: {first} is after {last}"));
    }
    Ok((first.is_ipv4() == last.is_ipv4()).then_some(AddressRange { first, last }))
}

/// The address as a number of 128 bits, IPv4 in its mapped form.
fn wide(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn allocation(raw: schema::ServiceAllocationSpec, faults: &mut Faults) -> ServiceAllocation {
    let field = "spec.serviceAllocation";
    let namespaces = once(&format!("{field}.namespaces"), raw.namespaces, faults);
    let mut selectors =
        |name: &str, raw| selector::parse_list(&format!("{field}.{name}"), raw, faults);
    ServiceAllocation {
        priority: raw.priority,
        namespaces,
        namespace_selectors: selectors("namespaceSelectors", raw.namespace_selectors),
        service_selectors: selectors("serviceSelectors", raw.service_selectors),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range() -> impl Strategy<Value = AddressRange> {
        (any::<bool>(), 0_u32..60, 0_u32..6).prop_map(|(is_v4, first, count)| {
            let at = |n: u32| match is_v4 {
                true => IpAddr::V4(n.into()),
                false => IpAddr::V6(u128::from(n).into()),
            };
            AddressRange {
                first: at(first),
                last: at(first + count),
            }
        })
    }

    proptest! {
        #[test]
        fn a_cover_finds_what_looking_at_each_range_finds(
            ranges in prop::collection::vec(range(), 0..20),
        ) {
            let mut cover = Cover::default();
            let mut kept: Vec<AddressRange> = Vec::new();
            for range in ranges {
                let found = cover.overlapping(&range).copied();
                let overlapping = kept.iter().filter(|other| other.overlaps(&range));
                prop_assert_eq!(found, overlapping.min().copied());
                prop_assert_eq!(cover.add(range).err(), found);
                if found.is_none() {
                    kept.push(range);
                }
            }
        }
    }
}
