//! How full the pools are, counted as MetalLB counts.

use super::Assignments;
use crate::crd::{AddressRange, Pool};
use crate::service::Family;
use crate::world::World;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The addresses of one pool, in numbers. A shared address counts once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Usage {
    /// IPv4 addresses in use.
    #[serde(rename = "assignedIPv4")]
    pub assigned_v4: i64,
    /// IPv6 addresses in use.
    #[serde(rename = "assignedIPv6")]
    pub assigned_v6: i64,
    /// IPv4 addresses that are left; wraps round as [`size`] says.
    #[serde(rename = "availableIPv4")]
    pub available_v4: i64,
    /// IPv6 addresses that are left; wraps round as [`size`] says.
    #[serde(rename = "availableIPv6")]
    pub available_v6: i64,
}

/// The usage of every pool by name.
pub fn usage(world: &World, assignments: &Assignments) -> BTreeMap<String, Usage> {
    let mut in_use: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
    for assignment in assignments.values() {
        in_use
            .entry(&assignment.pool)
            .or_default()
            .extend(&assignment.ips);
    }
    let none = BTreeSet::new();
    let pools = world.pools.values();
    pools
        .map(|pool| {
            let ips = in_use.get(pool.name.as_str()).unwrap_or(&none);
            let v6 = ips.iter().filter(|ip| ip.is_ipv6()).count() as i64;
            let v4 = ips.len() as i64 - v6;
            let usage = Usage {
                assigned_v4: v4,
                assigned_v6: v6,
                available_v4: size(pool, Family::V4).wrapping_sub(v4),
                available_v6: size(pool, Family::V6).wrapping_sub(v6),
            };
            (pool.name.clone(), usage)
        })
        .collect()
}

/// How many addresses of a family a pool has. Ranges are cut into CIDR blocks; a block with 62 host bits or more sets
/// the sum to the greatest number there is, and what comes after it wraps round, as in MetalLB.
pub fn size(pool: &Pool, family: Family) -> i64 {
    let ranges = pool
        .ranges
        .iter()
        .filter(|range| Family::of(range.first) == family);
    let blocks = ranges.flat_map(AddressRange::blocks);
    blocks.fold(0, |sum: i64, block| match block.host_bits {
        62.. => i64::MAX,
        bits => sum.wrapping_add((1 << bits) - left_out(pool, block)),
    })
}

/// How many addresses of a block `avoidBuggyIPs` leaves out. A single such address counts twice, as in MetalLB.
fn left_out(pool: &Pool, block: Block) -> i64 {
    if !pool.avoid_buggy_ips || block.first.is_ipv6() {
        return 0;
    }
    match block.host_bits {
        bits @ 8.. => 2 << (bits - 8),
        _ => [block.first, block.last]
            .into_iter()
            .filter(|ip| pool.leaves_out(*ip))
            .count() as i64,
    }
}

/// A block of addresses that one prefix covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Its lowest address.
    pub first: IpAddr,
    /// Its highest address.
    pub last: IpAddr,
    /// How many low bits vary: 0 to 32 or 128.
    pub host_bits: u32,
}

impl AddressRange {
    /// The fewest CIDR blocks that cover the range and nothing else, in order; at most 62 or 254 of them.
    pub fn blocks(&self) -> impl Iterator<Item = Block> {
        let (width, first, last) = match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                (32, u128::from(first.to_bits()), u128::from(last.to_bits()))
            }
            (first, last) => (128, bits(first), bits(last)),
        };
        let address = move |bits: u128| match width {
            32 => IpAddr::V4(std::net::Ipv4Addr::from(bits as u32)),
            _ => IpAddr::V6(bits.into()),
        };
        let mut next = Some(first);
        std::iter::from_fn(move || {
            let start = next.filter(|start| *start <= last)?;
            let aligned = start.trailing_zeros().min(width);
            let fitting = match (last - start).checked_add(1) {
                Some(count) => count.ilog2(),
                None => width,
            };
            let host_bits = aligned.min(fitting);
            let end = start
                | 1_u128
                    .checked_shl(host_bits)
                    .map_or(u128::MAX, |size| size - 1);
            next = end.checked_add(1);
            Some(Block {
                first: address(start),
                last: address(end),
                host_bits,
            })
        })
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}
