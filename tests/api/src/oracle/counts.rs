//! The counters in the statuses of pools, counted again.

use super::pool::{Pool, Standing, bits, width};
use super::service::Family;
use super::{Picture, Rule, Violation};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Pools whose status does not say what is in use and what is left.
pub(super) fn counted(picture: &Picture) -> Vec<Violation> {
    let mut violations = Vec::new();
    // Which pool has an address that no readable one has, is left open.
    if picture.hides_pools() {
        return violations;
    }
    let regular = picture
        .pools
        .iter()
        .filter(|(_, pool)| pool.standing == Standing::Regular);
    for (name, pool) in regular {
        let of_pool = picture
            .ours()
            .filter(|service| service.from_pool.as_ref() == Some(name));
        let in_use: BTreeSet<IpAddr> = of_pool.flat_map(|service| &service.held).copied().collect();
        let expected = status(pool, &in_use);
        if pool.status != expected {
            let what = format!("{name} says {}, there are {expected}", pool.status);
            violations.push(Violation::new(Rule::Miscounted, what));
        }
    }
    violations
}

fn status(pool: &Pool, in_use: &BTreeSet<IpAddr>) -> Value {
    let counts = Family::BOTH.map(|family| {
        let assigned = in_use
            .iter()
            .filter(|ip| Family::of(**ip) == family)
            .count() as i64;
        (assigned, size(pool, family).wrapping_sub(assigned))
    });
    let [(assigned_v4, available_v4), (assigned_v6, available_v6)] = counts;
    json!({
        "assignedIPv4": assigned_v4,
        "assignedIPv6": assigned_v6,
        "availableIPv4": available_v4,
        "availableIPv6": available_v6,
    })
}

/// As MetalLB counts: block by block, where a block of 62 free bits or more sets the sum to the greatest number, and what
/// is added to that wraps round.
fn size(pool: &Pool, family: Family) -> i64 {
    let ranges = pool
        .ranges
        .iter()
        .filter(|(first, _)| Family::of(*first) == family);
    let mut sum = 0_i64;
    for (first, last) in ranges {
        for (start, free_bits) in blocks(bits(*first), bits(*last), width(family)) {
            sum = match free_bits {
                62.. => i64::MAX,
                free_bits => {
                    sum.wrapping_add((1 << free_bits) - buggy(pool, family, start, free_bits))
                }
            };
        }
    }
    sum
}

/// The CIDR blocks of a range: where each starts and how many bits are free in it.
fn blocks(first: u128, last: u128, width: u32) -> Vec<(u128, u32)> {
    let mut blocks = Vec::new();
    let mut next = Some(first);
    while let Some(start) = next.filter(|start| *start <= last) {
        let end_of = |bits: u32| {
            u128::MAX
                .checked_shr(128 - bits)
                .map_or(start, |hosts| start | hosts)
        };
        let fits = |bits: &u32| start.trailing_zeros() >= *bits && end_of(*bits) <= last;
        let free_bits = (0..=width).rev().find(fits).unwrap_or(0);
        blocks.push((start, free_bits));
        next = end_of(free_bits).checked_add(1);
    }
    blocks
}

/// How many addresses of an IPv4 block end in 0 or 255, where they are left out. One alone counts twice in MetalLB.
fn buggy(pool: &Pool, family: Family, start: u128, free_bits: u32) -> i64 {
    let ends_so = |ip: u128| matches!(ip % 256, 0 | 255);
    match (pool.avoid_buggy && family == Family::V4, free_bits) {
        (false, _) => 0,
        (true, 8..) => 2 << (free_bits - 8),
        (true, 0) => 2 * i64::from(ends_so(start)),
        (true, bits) => {
            let last = start + (1 << bits) - 1;
            i64::from(ends_so(start)) + i64::from(ends_so(last))
        }
    }
}
