//! An announcement byte by byte, and within its bounds whatever its attributes are.

use super::packing::{GLOBAL, V4, path};
use super::*;
use crate::bgp::route::{Attributes, Community, LargeCommunity};
use proptest::prelude::*;
use std::net::Ipv6Addr;

/// The path attributes and what follows them in an announcement of one prefix.
fn announced(path: &Path, attributes: &Attributes, prefix: Prefix) -> Vec<u8> {
    let mut out = Vec::new();
    let mut prefixes = [prefix].into_iter().peekable();
    assert_eq!(announce(&mut out, path, attributes, &mut prefixes), 1);
    assert_eq!(prefixes.next(), None);
    assert_eq!(
        out[HEADER_BYTES..HEADER_BYTES + 2],
        [0, 0],
        "nothing is withdrawn"
    );
    let context = Context {
        has_four_byte_as: path.has_four_byte_as,
        is_ebgp: path.is_ebgp,
        ..context()
    };
    assert_eq!(read_update(&out, &context).forgiven, None);
    out.split_off(HEADER_BYTES + 4)
}

fn of_v4(path: &Path, attributes: &Attributes) -> Vec<u8> {
    announced(path, attributes, prefix("198.51.100.7/32"))
}

#[test]
fn rfc4271_5_1_2_another_as_is_told_our_number_and_no_local_pref() {
    let attributes = Attributes {
        local_pref: 100,
        ..Attributes::default()
    };
    let expected = [
        &[0x40, 1, 1, 0][..],
        &[0x40, 2, 6, 2, 1, 0, 0, 0xfc, 0],
        &[0x40, 3, 4, 192, 0, 2, 1],
        &[32, 198, 51, 100, 7],
    ];
    assert_eq!(of_v4(&path(V4), &attributes), expected.concat());
}

#[test]
fn rfc4271_5_1_5_the_own_as_is_told_an_empty_path_and_local_pref() {
    let path = Path {
        is_ebgp: false,
        ..path(V4)
    };
    let attributes = Attributes {
        local_pref: 100,
        prepends: 3,
        ..Attributes::default()
    };
    let expected = [
        &[0x40, 1, 1, 0][..],
        &[0x40, 2, 0],
        &[0x40, 3, 4, 192, 0, 2, 1],
        &[0x40, 5, 4, 0, 0, 0, 100],
        &[32, 198, 51, 100, 7],
    ];
    assert_eq!(of_v4(&path, &attributes), expected.concat());
}

#[test]
fn rfc4271_5_attributes_stand_in_the_order_of_their_types() {
    let attributes = Attributes {
        local_pref: 0,
        med: Some(5),
        prepends: 1,
        communities: [Community::of(65535, 0), Community::of(1, 2)].into(),
        large_communities: [LargeCommunity(1, 2, 3)].into(),
        link_bandwidth: Some(1_000_000),
    };
    let expected = [
        &[0x40, 1, 1, 0][..],
        &[0x40, 2, 10, 2, 2, 0, 0, 0xfc, 0, 0, 0, 0xfc, 0],
        &[0x40, 3, 4, 192, 0, 2, 1],
        &[0x80, 4, 4, 0, 0, 0, 5],
        &[0xc0, 8, 8, 0, 1, 0, 2, 0xff, 0xff, 0, 0],
        // 1,000,000 is 0x49742400 as a float.
        &[0xc0, 16, 8, 0x40, 4, 0xfc, 0, 0x49, 0x74, 0x24, 0],
        &[0xc0, 32, 12, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3],
        &[32, 198, 51, 100, 7],
    ];
    assert_eq!(of_v4(&path(V4), &attributes), expected.concat());
}

#[test]
fn rfc1997_communities_are_in_order_and_each_stands_once() {
    let twice = [Community(3), Community(1), Community(3)];
    let attributes = Attributes {
        communities: twice.into(),
        ..Attributes::default()
    };
    let bytes = of_v4(&path(V4), &attributes);
    let expected = [0xc0, 8, 8, 0, 0, 0, 1, 0, 0, 0, 3];
    assert!(bytes.windows(expected.len()).any(|part| part == expected));
}

#[test]
fn rfc7606_5_1_mp_reach_stands_first() {
    let expected = [
        &[0x90, 14, 0, 44, 0, 2, 1, 32][..],
        &BOTH,
        &[0, 48, 0x20, 1, 0xd, 0xb8, 0, 9],
        &[0x40, 1, 1, 0],
        &[0x40, 2, 6, 2, 1, 0, 0, 0xfc, 0],
    ];
    let prefix = prefix("2001:db8:9::/48");
    assert_eq!(
        announced(&path(v6()), &Attributes::default(), prefix),
        expected.concat()
    );
}

#[test]
fn rfc8950_3_a_prefix_of_ipv4_goes_with_a_next_hop_of_ipv6() {
    let expected = [
        &[0x90, 14, 0, 41, 0, 1, 1, 32][..],
        &BOTH,
        &[0, 20, 198, 51, 96],
        &[0x40, 1, 1, 0],
        &[0x40, 2, 6, 2, 1, 0, 0, 0xfc, 0],
    ];
    let prefix = prefix("198.51.100.0/20");
    assert_eq!(
        announced(&path(v6()), &Attributes::default(), prefix),
        expected.concat()
    );
}

/// A global next hop with a link-local one beside it, and their bytes (RFC 2545 §3).
const fn v6() -> NextHop {
    NextHop::V6 {
        address: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
        link_local: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
    }
}

const BOTH: [u8; 32] = [
    0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, //
    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
];

#[test]
fn rfc6793_4_2_2_an_old_speaker_is_told_as_trans_and_the_number_beside_it() {
    let old = |asn| Path {
        asn,
        has_four_byte_as: false,
        ..path(V4)
    };
    let attributes = Attributes {
        prepends: 1,
        link_bandwidth: Some(0),
        ..Attributes::default()
    };
    let expected = [
        &[0x40, 1, 1, 0][..],
        &[0x40, 2, 6, 2, 2, 0x5b, 0xa0, 0x5b, 0xa0],
        &[0x40, 3, 4, 192, 0, 2, 1],
        &[0xc0, 16, 8, 0x40, 4, 0x5b, 0xa0, 0, 0, 0, 0],
        &[0xc0, 17, 10, 2, 2, 0, 1, 0x11, 0x70, 0, 1, 0x11, 0x70],
        &[32, 198, 51, 100, 7],
    ];
    assert_eq!(of_v4(&old(70_000), &attributes), expected.concat());
    let small = of_v4(&old(64512), &Attributes::default());
    assert_eq!(small[4..11], [0x40, 2, 4, 2, 1, 0xfc, 0]);
    assert_eq!(small.len(), 4 + 7 + 7 + 5, "no AS4_PATH is needed");
    let within = Path {
        is_ebgp: false,
        ..old(70_000)
    };
    let within = of_v4(&within, &Attributes::default());
    assert_eq!(within.len(), 4 + 3 + 7 + 7 + 5, "nor for an empty path");
}

#[test]
fn withdrawals_stand_where_the_announcement_stood() {
    let withdrawn = |next_hop, text| {
        let mut out = Vec::new();
        let mut prefixes = [prefix(text)].into_iter().peekable();
        assert_eq!(withdraw(&mut out, &path(next_hop), &mut prefixes), 1);
        out.split_off(HEADER_BYTES)
    };
    assert_eq!(
        withdrawn(V4, "198.51.100.0/24"),
        [0, 4, 24, 198, 51, 100, 0, 0]
    );
    assert_eq!(
        withdrawn(GLOBAL, "198.51.100.0/24"),
        [0, 0, 0, 11, 0x90, 15, 0, 7, 0, 1, 1, 24, 198, 51, 100]
    );
    assert_eq!(
        withdrawn(V4, "2001:db8::/32"),
        [0, 0, 0, 12, 0x90, 15, 0, 8, 0, 2, 1, 32, 0x20, 1, 0xd, 0xb8]
    );
    assert_eq!(withdrawn(V4, "0.0.0.0/0"), [0, 1, 0, 0, 0]);
}

#[test]
fn a_message_is_put_behind_those_that_are_there() {
    let mut out = Vec::new();
    keepalive(&mut out);
    let mut prefixes = [prefix("2001:db8::1/128"), prefix("198.51.100.1/32")]
        .into_iter()
        .peekable();
    announce(&mut out, &path(V4), &Attributes::default(), &mut prefixes);
    withdraw(&mut out, &path(V4), &mut prefixes);
    end_of_rib(&mut out, Family::V4);
    let mut reader = Reader::new();
    let mut left = out.as_slice();
    let mut updates = Vec::new();
    while let Some(frame) = reader.take(&mut left).unwrap() {
        updates.push(decode(frame, &context()).unwrap());
    }
    let announced = Message::Update(Update {
        announced: [0, 1],
        ..Update::default()
    });
    let withdrawn = Message::Update(Update {
        withdrawn: [1, 0],
        ..Update::default()
    });
    let end = Message::Update(Update {
        end_of_rib: Some(Family::V4),
        ..Update::default()
    });
    assert_eq!(updates, [Message::Keepalive, announced, withdrawn, end]);
}

/// As many attributes as there may be, and more.
fn most(count: u32) -> Attributes {
    Attributes {
        local_pref: u32::MAX,
        med: Some(u32::MAX),
        prepends: 255,
        communities: (0..count).map(Community).collect(),
        large_communities: (0..count).map(|n| LargeCommunity(n, n, n)).collect(),
        link_bandwidth: Some(u64::MAX),
    }
}

#[test]
fn attributes_leave_room_for_prefixes_whatever_they_are() {
    let old = Path {
        asn: 4_200_000_000,
        has_four_byte_as: false,
        ..path(V4)
    };
    let longest = of_v4(&old, &most(63));
    assert_eq!(longest.len(), 1120 + 5);
    assert_eq!(of_v4(&old, &most(1000)), longest, "no more are sent");
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let communities = proptest::collection::btree_set(any::<u32>().prop_map(Community), 0..64);
    let large = any::<(u32, u32, u32)>().prop_map(|(a, b, c)| LargeCommunity(a, b, c));
    let large = proptest::collection::btree_set(large, 0..64);
    let numbers = any::<(u32, Option<u32>, Option<u64>)>();
    (numbers, 0..=10_u8, communities, large).prop_map(
        |((local_pref, med, link_bandwidth), prepends, communities, large_communities)| {
            Attributes {
                local_pref,
                med,
                prepends,
                communities,
                large_communities,
                link_bandwidth,
            }
        },
    )
}

fn a_path() -> impl Strategy<Value = Path> {
    let v4 = any::<std::net::Ipv4Addr>().prop_map(NextHop::V4);
    let v6 = any::<(Ipv6Addr, Option<Ipv6Addr>)>().prop_map(|(address, link_local)| NextHop::V6 {
        address,
        link_local,
    });
    let asn = prop_oneof![1..65536_u32, 65536..u32::MAX];
    (asn, any::<(bool, bool)>(), prop_oneof![v4, v6]).prop_map(
        |(asn, (is_ebgp, has_four_byte_as), next_hop)| Path {
            asn,
            is_ebgp,
            has_four_byte_as,
            next_hop,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn what_is_announced_is_found_without_complaint_and_so_is_what_is_withdrawn(
        path in a_path(), attributes in attributes(),
        prefixes in proptest::collection::btree_set((any::<std::net::IpAddr>(), 0..=128_u8), 0..600)
    ) {
        let prefixes: BTreeSet<_> = prefixes.into_iter().map(|(ip, length)| Prefix::of(ip, length)).collect();
        let context = Context {
            is_ebgp: path.is_ebgp,
            has_four_byte_as: path.has_four_byte_as,
            ..context()
        };
        let mut told = Update::default();
        let (mut announced, mut withdrawn) = (prefixes.iter().copied().peekable(), prefixes.iter().copied().peekable());
        let mut out = Vec::new();
        while announce(&mut out, &path, &attributes, &mut announced) + withdraw(&mut out, &path, &mut withdrawn) > 0 {}
        let (mut reader, mut left) = (Reader::new(), out.as_slice());
        while let Some(frame) = reader.take(&mut left).unwrap() {
            let Ok(Message::Update(update)) = decode(frame, &context) else {
                panic!("{frame:?}");
            };
            prop_assert_eq!(update.forgiven, None);
            for at in [0, 1] {
                told.announced[at] += update.announced[at];
                told.withdrawn[at] += update.withdrawn[at];
            }
        }
        let count = |family| prefixes.iter().filter(|p| p.family() == family).count() as u32;
        let counts = Family::ALL.map(count);
        prop_assert_eq!((told.announced, told.withdrawn), (counts, counts));
    }
}
