//! OPEN and its capabilities.

use super::*;
use crate::bgp::message::{Capabilities, GracefulRestart, Open};
use crate::bgp::route::RouterId;
use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;
use std::net::Ipv4Addr;

fn a_family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn a_graceful_restart() -> impl Strategy<Value = GracefulRestart> {
    let families = btree_map(a_family(), any::<bool>(), 0..=2);
    (any::<(bool, bool)>(), 0..=4095_u16, families).prop_map(
        |((is_restarting, has_notification), seconds, families)| GracefulRestart {
            is_restarting,
            has_notification,
            seconds,
            families,
        },
    )
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    let families = btree_set(a_family(), 0..=2);
    let restart = proptest::option::of(a_graceful_restart());
    (families, any::<[bool; 4]>(), restart).prop_map(|(families, has, graceful_restart)| {
        let [
            has_route_refresh,
            has_enhanced_refresh,
            has_four_byte_as,
            has_v4_over_v6_next_hop,
        ] = has;
        Capabilities {
            families,
            has_route_refresh,
            has_enhanced_refresh,
            has_four_byte_as,
            has_v4_over_v6_next_hop,
            graceful_restart,
            others: BTreeSet::new(),
        }
    })
}

fn an_asn() -> impl Strategy<Value = u32> {
    prop_oneof![1..23456_u32, 23457..=65535_u32, 65536..=u32::MAX]
}

fn an_open() -> impl Strategy<Value = Open> {
    let hold = prop_oneof![Just(0_u16), 3..=u16::MAX];
    (an_asn(), hold, 1..=u32::MAX, capabilities()).prop_map(
        |(asn, hold_seconds, id, capabilities)| Open {
            // Without capability 65 there is no room for more.
            asn: match capabilities.has_four_byte_as {
                true => asn,
                false => asn % 23455 + 1,
            },
            hold_seconds,
            router_id: RouterId::new(Ipv4Addr::from_bits(id)).unwrap(),
            capabilities,
        },
    )
}

proptest! {
    #[test]
    fn an_open_comes_back_as_it_was(open in an_open()) {
        let mut out = Vec::new();
        super::open(&mut out, &open);
        prop_assert!(out.len() <= 29 + 2 + 42);
        prop_assert_eq!(read(&out, &context()), Ok(Message::Open(open)));
    }
}

/// An OPEN of AS 64513 with 90 seconds and these optional parameters behind their length.
fn open_with(parameters: &[u8]) -> Vec<u8> {
    open_of(&[4, 0xfc, 1, 0, 90, 10, 0, 0, 1], parameters)
}

fn open_of(fixed: &[u8], parameters: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::message(&mut out, Kind::Open, |out| {
        out.extend(fixed);
        out.extend(parameters);
    });
    out
}

/// What it says of capabilities in one optional parameter.
fn told(capabilities: &[u8]) -> Open {
    let count = u8::try_from(capabilities.len()).unwrap();
    let parameters = [&[count + 2, 2, count], capabilities].concat();
    opened(&open_with(&parameters))
}

fn opened(bytes: &[u8]) -> Open {
    match read(bytes, &Context::default()) {
        Ok(Message::Open(open)) => open,
        other => panic!("{other:?}"),
    }
}

fn refused(bytes: &[u8]) -> Notification {
    read(bytes, &Context::default()).unwrap_err()
}

#[test]
fn what_is_offered_stands_in_one_parameter_by_number() {
    let open = Open {
        asn: 4_200_000_000,
        hold_seconds: 90,
        router_id: RouterId::new(Ipv4Addr::new(10, 0, 0, 1)).unwrap(),
        capabilities: Capabilities {
            families: BTreeSet::from(Family::ALL),
            has_route_refresh: true,
            has_enhanced_refresh: true,
            has_four_byte_as: true,
            has_v4_over_v6_next_hop: true,
            graceful_restart: Some(GracefulRestart {
                is_restarting: true,
                has_notification: true,
                seconds: 120,
                families: [(Family::V4, true), (Family::V6, false)].into(),
            }),
            others: BTreeSet::from([71]),
        },
    };
    let mut out = Vec::new();
    super::open(&mut out, &open);
    let expected = [
        &[4, 0x5b, 0xa0, 0, 90, 10, 0, 0, 1, 44, 2, 42][..],
        &[1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1],
        &[2, 0],
        &[5, 6, 0, 1, 0, 1, 0, 2],
        &[64, 10, 0xc0, 120, 0, 1, 1, 0x80, 0, 2, 1, 0],
        &[65, 4, 0xfa, 0x56, 0xea, 0],
        &[70, 0],
    ];
    assert_eq!(out[HEADER_BYTES..], expected.concat());
}

#[test]
fn without_capabilities_there_is_no_parameter() {
    let open = opened(&open_with(&[0]));
    assert_eq!(open.capabilities, Capabilities::default());
    let mut out = Vec::new();
    super::open(&mut out, &open);
    assert_eq!(out, open_with(&[0]));
}

#[test]
fn rfc4271_6_2_another_version_is_answered_with_ours() {
    for version in [0, 3, 5] {
        let bytes = open_of(&[version, 0xfc, 1, 0, 90, 10, 0, 0, 1], &[0]);
        let told = Notification {
            data: vec![0, 4],
            ..Notification::new(2, 1)
        };
        assert_eq!(refused(&bytes), told);
    }
}

#[test]
fn rfc4271_6_2_a_hold_time_of_one_or_two_seconds_is_refused() {
    for (seconds, is_refused) in [(0, false), (1, true), (2, true), (3, false)] {
        let bytes = open_of(&[4, 0xfc, 1, 0, seconds, 10, 0, 0, 1], &[0]);
        let answer = read(&bytes, &Context::default());
        assert_eq!(answer == Err(Notification::new(2, 6)), is_refused);
        assert_eq!(answer.is_err(), is_refused);
    }
}

#[test]
fn rfc6286_2_1_an_identifier_of_zero_is_refused() {
    let bytes = open_of(&[4, 0xfc, 1, 0, 90, 0, 0, 0, 0], &[0]);
    assert_eq!(refused(&bytes), Notification::new(2, 3));
}

#[test]
fn rfc7607_2_as_0_and_as_trans_are_nobody() {
    let four_bytes = |asn: u32| [&[8, 2, 6, 65, 4][..], &asn.to_be_bytes()].concat();
    for bytes in [
        open_of(&[4, 0, 0, 0, 90, 10, 0, 0, 1], &[0]),
        open_of(&[4, 0x5b, 0xa0, 0, 90, 10, 0, 0, 1], &[0]),
        open_with(&four_bytes(0)),
        open_with(&four_bytes(23456)),
    ] {
        assert_eq!(refused(&bytes), Notification::new(2, 2));
    }
    assert_eq!(opened(&open_with(&four_bytes(70000))).asn, 70000);
}

#[test]
fn rfc4271_6_2_an_optional_parameter_that_is_unknown_is_refused() {
    for code in [0, 1, 3, 254] {
        assert_eq!(refused(&open_with(&[2, code, 0])), Notification::new(2, 4));
    }
}

#[test]
fn lengths_that_do_not_fit_an_open_are_refused() {
    let unspecific = Notification::new(2, 0);
    for parameters in [
        &[1][..],
        &[0, 0],
        &[1, 2],
        &[2, 2, 1],
        &[3, 2, 1, 2],
        &[4, 2, 2, 2, 1],
        &[3, 2, 0, 2],
    ] {
        assert_eq!(
            refused(&open_with(parameters)),
            unspecific,
            "{parameters:?}"
        );
    }
}

#[test]
fn rfc5492_4_capabilities_may_stand_in_many_parameters_and_more_than_once() {
    let parameters = [
        26, 2, 6, 1, 4, 0, 1, 0, 1, 2, 8, 1, 4, 0, 1, 0, 1, 2, 0, 2, 6, 1, 4, 0, 2, 0, 1,
    ];
    let open = opened(&open_with(&parameters));
    assert_eq!(open.capabilities.families, BTreeSet::from(Family::ALL));
    assert!(open.capabilities.has_route_refresh);
}

#[test]
fn rfc9072_2_parameters_may_have_lengths_of_two_bytes() {
    let capabilities = [1, 4, 0, 2, 0, 1, 65, 4, 0, 1, 0, 1];
    let parameter = [&[2, 0, 12][..], &capabilities].concat();
    // The first length should be 255, but need not be.
    for count in [255, 1] {
        let extended = [&[count, 255, 0, 15][..], &parameter].concat();
        let open = opened(&open_with(&extended));
        assert_eq!(open.asn, 65537);
        assert_eq!(open.capabilities.families, BTreeSet::from([Family::V6]));
    }
    let too_long = [&[255, 255, 0, 16][..], &parameter].concat();
    assert_eq!(refused(&open_with(&too_long)), Notification::new(2, 0));
    // More than 255 bytes of capabilities, each of a code that says nothing to us.
    let many = [200, 0].repeat(300);
    let extended = [&[255, 255, 2, 91, 2, 2, 88][..], &many].concat();
    let open = opened(&open_with(&extended));
    assert_eq!(open.capabilities.others, BTreeSet::from([200]));
}

#[test]
fn capabilities_that_mean_nothing_to_us_are_kept_by_their_codes() {
    // Extended messages, role, add-path, LLGR, a link-local next hop, a host name.
    let all = [6, 0, 9, 1, 3, 69, 4, 0, 1, 1, 3, 71, 0, 77, 0, 73, 2, 0, 0];
    let open = told(&all);
    assert_eq!(
        open.capabilities.others,
        BTreeSet::from([6, 9, 69, 71, 73, 77])
    );
}

#[test]
fn capabilities_whose_values_make_no_sense_are_kept_by_their_codes() {
    let odd: [(&[u8], u8); 4] = [
        (&[1, 3, 0, 1, 0], 1),
        (&[5, 5, 0, 1, 0, 1, 0], 5),
        (&[64, 1, 0], 64),
        (&[64, 5, 0, 120, 0, 1, 1], 64),
    ];
    for (capability, code) in odd {
        let others = BTreeSet::from([code]);
        let expected = Capabilities {
            others,
            ..Capabilities::default()
        };
        assert_eq!(told(capability).capabilities, expected);
    }
}

#[test]
fn rfc6793_3_a_four_byte_as_number_of_another_length_is_refused() {
    for capability in [&[65, 0][..], &[65, 2, 0, 1], &[65, 5, 0, 0, 0, 1, 0]] {
        let count = u8::try_from(capability.len()).unwrap();
        let parameters = [&[count + 2, 2, count], capability].concat();
        assert_eq!(refused(&open_with(&parameters)), Notification::new(2, 0));
    }
}

#[test]
fn rfc2918_2_route_refresh_has_an_old_number_too() {
    assert!(told(&[2, 0]).capabilities.has_route_refresh);
    assert!(told(&[128, 0]).capabilities.has_route_refresh);
    assert_eq!(told(&[128, 0]).capabilities.others, BTreeSet::new());
}

#[test]
fn rfc8950_4_only_ipv4_unicast_with_an_ipv6_next_hop_counts() {
    let has = |value: [u8; 6]| {
        told(&[&[5, 6][..], &value].concat())
            .capabilities
            .has_v4_over_v6_next_hop
    };
    assert!(has([0, 1, 0, 1, 0, 2]));
    assert!(!has([0, 1, 0, 128, 0, 2]));
    assert!(!has([0, 2, 0, 1, 0, 1]));
    let several = [5, 12, 0, 1, 0, 1, 0, 2, 0, 1, 0, 128, 0, 2];
    assert!(told(&several).capabilities.has_v4_over_v6_next_hop);
}

#[test]
fn rfc4724_3_of_several_graceful_restarts_the_last_counts() {
    let twice = [64, 6, 0x80, 120, 0, 1, 1, 0x80, 64, 2, 0x40, 30];
    let expected = GracefulRestart {
        has_notification: true,
        seconds: 30,
        ..GracefulRestart::default()
    };
    assert_eq!(told(&twice).capabilities.graceful_restart, Some(expected));
}

#[test]
fn rfc4724_3_families_that_are_not_ours_are_left_out() {
    let restart = told(&[64, 10, 0, 120, 0, 1, 128, 0x80, 0, 2, 1, 0x80]);
    let families = restart.capabilities.graceful_restart.unwrap().families;
    assert_eq!(families, [(Family::V6, true)].into());
}
