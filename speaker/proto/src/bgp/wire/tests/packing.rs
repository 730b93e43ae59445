//! How many routes go into a message.

use super::*;
use crate::bgp::route::Attributes;
use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) const V4: NextHop = NextHop::V4(Ipv4Addr::new(192, 0, 2, 1));
pub(super) const GLOBAL: NextHop = NextHop::V6 {
    address: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    link_local: None,
};
pub(super) const BOTH: NextHop = NextHop::V6 {
    address: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    link_local: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
};

pub(super) fn path(next_hop: NextHop) -> Path {
    Path {
        asn: 64512,
        is_ebgp: true,
        has_four_byte_as: true,
        next_hop,
    }
}

/// So many prefixes of one length, one after the other.
pub(super) fn prefixes(family: Family, length: u8, count: u32) -> Vec<Prefix> {
    let nth = |at: u32| {
        let shift = family.bits() - length;
        match family {
            Family::V4 => Prefix::of(
                Ipv4Addr::from_bits((10 << 24) + (at << shift)).into(),
                length,
            ),
            Family::V6 => {
                let first = 0x2001_0db8_u128 << 96;
                Prefix::of(
                    Ipv6Addr::from_bits(first + (u128::from(at) << shift)).into(),
                    length,
                )
            }
        }
    };
    (0..count).map(nth).collect()
}

/// How many prefixes each message has, and that they come back as sent.
fn announced(next_hop: NextHop, prefixes: &[Prefix]) -> Vec<usize> {
    let mut left = prefixes.iter().copied().peekable();
    let mut counts = Vec::new();
    let mut out = Vec::new();
    loop {
        out.clear();
        let count = announce(&mut out, &path(next_hop), &Attributes::default(), &mut left);
        if count == 0 {
            assert!(out.is_empty());
            return counts;
        }
        assert!(out.len() <= MESSAGE_BYTES_MAX);
        let update = update_of(read_whole(&out, &context()));
        assert_eq!(update.announced.iter().sum::<u32>() as usize, count);
        assert_eq!((update.withdrawn, update.forgiven), ([0, 0], None));
        counts.push(count);
    }
}

fn withdrawn(next_hop: NextHop, prefixes: &[Prefix]) -> Vec<usize> {
    let mut left = prefixes.iter().copied().peekable();
    let mut counts = Vec::new();
    let mut out = Vec::new();
    loop {
        out.clear();
        let count = withdraw(&mut out, &path(next_hop), &mut left);
        if count == 0 {
            assert!(out.is_empty());
            return counts;
        }
        assert!(out.len() <= MESSAGE_BYTES_MAX);
        let update = update_of(read_whole(&out, &context()));
        assert_eq!(update.withdrawn.iter().sum::<u32>() as usize, count);
        assert_eq!((update.announced, update.forgiven), ([0, 0], None));
        counts.push(count);
    }
}

#[test]
fn a_full_update_has_810_hosts_or_1013_subnets_of_ipv4() {
    assert_eq!(
        announced(V4, &prefixes(Family::V4, 32, 2000)),
        [810, 810, 380]
    );
    assert_eq!(announced(V4, &prefixes(Family::V4, 24, 2026)), [1013, 1013]);
    assert_eq!(announced(GLOBAL, &prefixes(Family::V4, 32, 808)), [807, 1]);
    assert_eq!(announced(BOTH, &prefixes(Family::V4, 32, 804)), [803, 1]);
}

#[test]
fn a_full_update_has_237_hosts_of_ipv6_or_one_less_with_a_link_local_next_hop() {
    assert_eq!(
        announced(GLOBAL, &prefixes(Family::V6, 128, 500)),
        [237, 237, 26]
    );
    assert_eq!(announced(BOTH, &prefixes(Family::V6, 128, 237)), [236, 1]);
    assert_eq!(announced(V4, &prefixes(Family::V6, 128, 238)), [237, 1]);
}

#[test]
fn a_full_update_withdraws_814_hosts_of_ipv4_or_239_of_ipv6() {
    assert_eq!(withdrawn(V4, &prefixes(Family::V4, 32, 815)), [814, 1]);
    assert_eq!(withdrawn(BOTH, &prefixes(Family::V4, 32, 814)), [813, 1]);
    assert_eq!(withdrawn(GLOBAL, &prefixes(Family::V6, 128, 240)), [239, 1]);
}

#[test]
fn a_hundred_thousand_hosts_take_124_updates_of_ipv4_and_422_of_ipv6() {
    assert_eq!(announced(V4, &prefixes(Family::V4, 32, 100_000)).len(), 124);
    assert_eq!(
        announced(GLOBAL, &prefixes(Family::V6, 128, 100_000)).len(),
        422
    );
}

#[test]
fn prefixes_of_the_other_family_wait_for_the_next_update() {
    let mixed = [
        prefix("192.0.2.1/32"),
        prefix("2001:db8::1/128"),
        prefix("192.0.2.2/32"),
    ];
    assert_eq!(announced(GLOBAL, &mixed), [1, 1, 1]);
    assert_eq!(withdrawn(V4, &mixed), [1, 1, 1]);
}
