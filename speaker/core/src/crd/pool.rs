//! IPAddressPool: the addresses that services may get.

use crate::selector::{Labels, Selector};
use std::collections::BTreeSet;
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
    pub annotations: std::collections::BTreeMap<String, String>,
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
    /// Whether `ip` lies inside.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.first.is_ipv4() == ip.is_ipv4() && self.first <= ip && ip <= self.last
    }
}

impl Pool {
    /// Whether this pool may give `ip`.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let buggy = self.avoid_buggy_ips
            && matches!(ip, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255));
        !buggy && self.ranges.iter().any(|range| range.contains(ip))
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
