//! Packets to and from nodes on other segments: byte for byte, and as [`crate::model::encap`] has it for any.

use super::Verdict;
use super::moves_tests::{A, B, CLIENT, Ends, FAMILIES, LINK, NOW, VIP4, VIP6, key, node};
use crate::abi::{
    Addr, Bucket, EndValue, Entry, FarKey, FarValue, Mode, SteerValue, Steered, TargetKey,
    TargetValue, Tunnelled,
};
use crate::model::{Tables, VecFrame, run_accounted};
use core::net::IpAddr;
use proptest::prelude::*;
use std::vec::Vec;

#[test]
fn a_packet_for_a_node_on_another_segment_goes_in_one_of_ours_byte_for_byte() {
    let inner = [
        [0x45, 0xbb, 0, 40, 0, 7, 0x40, 0, 64, 6, 0, 0, 203, 0].as_slice(),
        &[113, 9, 192, 0, 2, 100, 0x30, 0x39, 0, 80, 0, 0, 0, 1],
        &[0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0],
    ];
    let ether = [&A.0[..], &CLIENT.0, &[8, 0]].concat();
    let mut tables = beyond(Some("192.0.2.100".parse().unwrap()));
    let mut frame = VecFrame::new(LINK, &[&ether[..], &inner.concat()].concat());
    frame.route = Some((OUT, 1500));
    assert_eq!(run_accounted(&mut frame, &mut tables), Verdict::Depart(OUT));
    let outer = [
        [0x45, 0xb8, 0, 60, 0, 0, 0x40, 0, 64, 4].as_slice(),
        // 0x45b8 + 0x003c + 0x4000 + 0x4004 + 0xc000 + 0x020b + 0xc633 + 0x640c = 0x2b242, which folds to 0xb244.
        &[0x4d, 0xbb, 192, 0, 2, 11, 198, 51, 100, 12],
    ];
    let mut hopped = inner.concat();
    hopped[8..12].copy_from_slice(&[63, 6, 1, 0]);
    assert_eq!(frame.bytes, [&ether[..], &outer.concat(), &hopped].concat());
}

#[test]
fn both_families_are_sent_and_come_out_as_they_were_but_for_their_hops() {
    for ends in FAMILIES {
        for wire in [ends.syn(A), ends.segment(A), ends.datagram(A)] {
            let mut tables = beyond(None);
            let bytes = wire.bytes();
            let mut sent = routed(&bytes).scattered();
            assert_eq!(run_accounted(&mut sent, &mut tables), Verdict::Depart(OUT));
            assert_eq!(tables.passing(Tunnelled::Wrapped), 1);
            assert_eq!(tables.way(Steered::Sent), 1);
            assert_eq!(tables.shares.values().next().unwrap().packets, 1);
            assert!(tables.traffic.is_empty(), "not of this node's stack");
            let mut there = receiver();
            let mut came = VecFrame::new(LINK, &sent.bytes).scattered();
            assert_eq!(run_accounted(&mut came, &mut there), Verdict::Next);
            assert_eq!(there.passing(Tunnelled::Unwrapped), 1);
            let mut expected = wire.clone();
            expected.hops = 8;
            assert_eq!(came.bytes, expected.bytes());
        }
    }
}

/// Its stack gets it, though the VIP is spread from there as well: there is no loop.
#[test]
fn what_came_in_a_packet_of_a_members_is_never_sent_any_further() {
    for ends in FAMILIES {
        let mut tables = beyond(None);
        let mut frame = routed(&ends.syn(A).bytes());
        run_accounted(&mut frame, &mut tables);
        let mut there = beyond(None);
        there.ends = receiver().ends;
        let mut frame = VecFrame::new(LINK, &frame.bytes);
        frame.route = Some((OUT, 1500));
        assert_eq!(run_accounted(&mut frame, &mut there), Verdict::Next);
        assert!(there.steered.is_empty(), "{:?}", there.steered);
    }
}

#[test]
fn a_node_on_the_link_is_reached_there() {
    for ends in FAMILIES {
        let mut tables = beyond(None);
        let target = TargetKey {
            ifindex: LINK,
            node: FAR_NODE.into(),
        };
        let value = TargetValue {
            mac: B,
            pad: [0; 2],
        };
        tables.targets.insert(target, value);
        let mut frame = routed(&ends.syn(A).bytes());
        assert_eq!(run_accounted(&mut frame, &mut tables), Verdict::Forward);
    }
}

#[test]
fn nothing_goes_to_another_segment_unless_the_row_says_so() {
    for ends in FAMILIES {
        let mut tables = beyond(None);
        for vip in [VIP4, VIP6] {
            tables.put_steering(key(vip), SteerValue::new(TABLE, NOW));
        }
        assert_eq!(stays(&mut tables, routed(&ends.syn(A).bytes())), (1, 0));
    }
}

#[test]
fn a_node_without_an_address_of_the_family_gets_none_of_it() {
    let mut tables = beyond(None);
    tables.far.retain(|key, _| key.family == 4);
    let [four, six] = FAMILIES.map(|ends| routed(&ends.syn(A).bytes()));
    assert_eq!(stays(&mut tables, six), (1, 0));
    let mut frame = four;
    assert_eq!(run_accounted(&mut frame, &mut tables), Verdict::Depart(OUT));
}

#[test]
fn without_a_route_or_room_it_is_the_stacks_and_as_it_was() {
    for ends in FAMILIES {
        let mut tables = beyond(None);
        let frame = VecFrame::new(LINK, &ends.syn(A).bytes());
        assert_eq!(stays(&mut tables, frame), (1, 1));
        assert_eq!(tables.passing(Tunnelled::NoWay), 1);
        let mut frame = routed(&ends.syn(A).bytes());
        frame.room = 8;
        assert_eq!(stays(&mut tables, frame), (2, 2));
        assert_eq!(tables.passing(Tunnelled::NoRoom), 1);
    }
}

#[test]
fn a_packet_without_a_hop_to_give_stays() {
    for ends in FAMILIES {
        let mut wire = ends.syn(A);
        wire.hops = 1;
        let mut tables = beyond(None);
        let mut frame = routed(&wire.bytes());
        assert_eq!(run_accounted(&mut frame, &mut tables), Verdict::Next);
        assert_eq!(tables.way(Steered::NoHops), 1);
    }
}

#[test]
fn whoever_sends_too_much_is_told_how_much_would_do() {
    for (ends, told) in FAMILIES.into_iter().zip([1480_u32, 1460]) {
        let mut tables = beyond(None);
        let mut fits = routed(&big(&ends, told as usize));
        assert_eq!(run_accounted(&mut fits, &mut tables), Verdict::Depart(OUT));
        let bytes = big(&ends, told as usize + 1);
        let mut frame = routed(&bytes).scattered();
        assert_eq!(run_accounted(&mut frame, &mut tables), Verdict::Reply);
        assert_eq!(tables.passing(Tunnelled::TooBig), 1);
        // The message is checked bit by bit on the way; here is what counts in it.
        let (icmp, kind) = match ends.vip.is_ipv4() {
            true => (34, [3, 4]),
            false => (54, [2, 0]),
        };
        assert_eq!(frame.bytes[icmp..icmp + 2], kind);
        assert_eq!(frame.bytes[icmp + 4..icmp + 8], told.to_be_bytes());
        assert_eq!(frame.bytes[..6], CLIENT.0);
    }
}

#[test]
fn where_a_link_refuses_to_grow_a_packet_the_least_that_all_carry_is_told() {
    for ends in FAMILIES {
        let mut tables = beyond(None);
        let mut frame = routed(&big(&ends, 1400));
        frame.room = 10;
        // There is no room to tell it either; what would be told is in the model.
        assert_eq!(run_accounted(&mut frame, &mut tables), Verdict::Drop);
        assert_eq!(tables.passing(Tunnelled::Lost), 1);
    }
}

/// To a port that nobody serves: the far stack routes it back, and so on, until no hop is left.
#[test]
fn what_is_routed_back_to_the_holder_again_and_again_dies_soon() {
    for ends in FAMILIES {
        let mut wire = ends.datagram(A);
        let mut rounds = 0;
        loop {
            let mut tables = beyond(None);
            let mut sent = routed(&wire.bytes());
            if run_accounted(&mut sent, &mut tables) != Verdict::Depart(OUT) {
                break;
            }
            rounds += 1;
            let mut there = receiver();
            let mut came = VecFrame::new(LINK, &sent.bytes);
            assert_eq!(run_accounted(&mut came, &mut there), Verdict::Next);
            let hops = came.bytes[if ends.vip.is_ipv4() { 22 } else { 21 }];
            // The far node takes one hop, and the router another.
            let Some(left) = hops.checked_sub(2).filter(|left| *left > 0) else {
                break;
            };
            wire.hops = left;
        }
        assert_eq!(rounds, 3);
    }
}

#[test]
fn what_may_be_cut_and_is_too_big_is_the_stacks() {
    let mut bytes = big(&FAMILIES[0], 1500);
    bytes[20] = 0;
    let mut tables = beyond(None);
    assert_eq!(stays(&mut tables, routed(&bytes)), (1, 1));
    assert_eq!(tables.passing(Tunnelled::Uncut), 1);
}

#[test]
fn nobody_is_told_more_often_than_a_slot_may_answer_or_less_than_must_be_carried() {
    for ends in FAMILIES {
        let mut tables = beyond(None);
        tables.limit.burst_ns = 2 * tables.limit.interval_ns;
        for expected in [Verdict::Reply, Verdict::Reply, Verdict::Drop] {
            let mut frame = routed(&big(&ends, 1500));
            assert_eq!(run_accounted(&mut frame, &mut tables), expected);
        }
        let mut tables = beyond(None);
        let mut frame = routed(&big(&ends, 1500));
        frame.route = Some((OUT, 590));
        assert_eq!(run_accounted(&mut frame, &mut tables), Verdict::Drop);
        assert_eq!(tables.passing(Tunnelled::Untold), 1);
    }
}

/// GRO makes frames of 64 KiB of them, which are taken apart again when they leave.
#[test]
fn of_what_was_put_together_the_parts_are_measured() {
    for (ends, header) in FAMILIES.into_iter().zip([20_u32, 40]) {
        let most = 1500 - header - header - 20;
        for (segment_bytes, expected) in [(most, Verdict::Depart(OUT)), (most + 1, Verdict::Reply)]
        {
            let mut tables = beyond(None);
            let mut frame = routed(&big(&ends, 9_000));
            frame.segment_bytes = segment_bytes;
            assert_eq!(run_accounted(&mut frame, &mut tables), expected);
        }
    }
}

/// Others use such packets too: overlay networks, and whoever wants to get past a filter.
#[test]
fn what_no_member_sent_to_this_node_for_a_vip_is_passed_as_it_is() {
    for ends in FAMILIES {
        let mut tables = beyond(None);
        let mut sent = routed(&ends.syn(A).bytes());
        run_accounted(&mut sent, &mut tables);
        let is_v4 = ends.vip.is_ipv4();
        let header = if is_v4 { 20 } else { 40 };
        let [from, to, version, next] = if is_v4 {
            [26, 30, 34, 23]
        } else {
            [22, 38, 54, 20]
        };
        let inner = to + header;
        for (at, strangers) in [(from, 1), (to, 1), (inner, 0), (version, 0), (next, 0)] {
            let mut there = receiver();
            let mut bytes = sent.bytes.clone();
            bytes[at] ^= 0x30;
            let mut frame = VecFrame::new(LINK, &bytes);
            assert_eq!(run_accounted(&mut frame, &mut there), Verdict::Next);
            assert_eq!(frame.bytes, bytes);
            assert_eq!(there.passing(Tunnelled::Stranger), strangers, "{at}");
            assert_eq!(there.passing(Tunnelled::Unwrapped), 0);
        }
    }
}

#[test]
fn an_outer_packet_in_fragments_or_with_options_is_none_of_ours() {
    let mut tables = beyond(None);
    let mut sent = routed(&FAMILIES[0].syn(A).bytes());
    run_accounted(&mut sent, &mut tables);
    for (at, byte) in [(14, 0x46), (20, 0x20), (21, 1)] {
        let mut there = receiver();
        let mut bytes = sent.bytes.clone();
        bytes[at] = byte;
        let mut frame = VecFrame::new(LINK, &bytes);
        assert_eq!(run_accounted(&mut frame, &mut there), Verdict::Next);
        assert_eq!(frame.bytes, bytes);
    }
}

proptest! {
    /// Any packet, any room and any route: the model says what becomes of it, here as there.
    #[test]
    fn any_packet_becomes_what_the_model_says(
        is_v4: bool,
        class: u8,
        hops: u8,
        length in 60_usize..3_000,
        route in proptest::option::of(0_u32..2_000),
        room in 0_u32..80,
        segment_bytes in prop_oneof![Just(0_u32), 0_u32..1_500],
        cut in prop_oneof![Just(0x40_u8), any::<u8>()],
    ) {
        let ends = if is_v4 { FAMILIES[0] } else { FAMILIES[1] };
        let mut bytes = big(&ends, length);
        if is_v4 {
            bytes[15] = class;
            bytes[20] = cut;
            bytes[22] = hops;
        } else {
            bytes[15] = class;
            bytes[21] = hops;
        }
        let mut tables = beyond(None);
        let mut frame = VecFrame::new(LINK, &bytes).scattered();
        frame.route = route.map(|most| (OUT, most));
        frame.room = room;
        frame.segment_bytes = segment_bytes;
        if let Verdict::Depart(link) = run_accounted(&mut frame, &mut tables) {
            prop_assert_eq!(link, OUT);
            let mut there = receiver();
            let mut came = VecFrame::new(LINK, &frame.bytes);
            prop_assert_eq!(run_accounted(&mut came, &mut there), Verdict::Next);
            prop_assert_eq!(there.passing(Tunnelled::Unwrapped), 1);
            prop_assert_eq!(came.bytes.len(), bytes.len());
        }
    }
}

/// That it stays as it was; how often packets had no target, and how often they met an obstacle on the way to another segment.
fn stays(tables: &mut Tables, mut frame: VecFrame) -> (u64, u64) {
    let before = frame.bytes.clone();
    assert_eq!(run_accounted(&mut frame, tables), Verdict::Next);
    assert_eq!(frame.bytes, before);
    (
        tables.way(Steered::NoTarget),
        tables.tunnelled.values().sum(),
    )
}

/// A frame that finds a route.
fn routed(bytes: &[u8]) -> VecFrame {
    let mut frame = VecFrame::new(LINK, bytes);
    frame.route = Some((OUT, 1500));
    frame
}

/// A TCP segment in a packet of so many bytes, which may not be cut.
fn big(ends: &Ends, length: usize) -> Vec<u8> {
    let mut bytes = ends.segment(A).bytes();
    bytes.resize(14 + length, 0x5a);
    let is_v4 = ends.vip.is_ipv4();
    if is_v4 {
        bytes[16..18].copy_from_slice(&(length as u16).to_be_bytes());
        bytes[20] = 0x40;
        bytes[46] = 0x50;
    } else {
        bytes[18..20].copy_from_slice(&(length as u16 - 40).to_be_bytes());
        bytes[66] = 0x50;
    }
    bytes
}

/// This node is A; both VIPs, and this one, are spread over a node on another segment.
fn beyond(vip: Option<IpAddr>) -> Tables {
    let mut tables = node(A);
    tables.node_deadline_ns = u64::MAX;
    let vips = [VIP4, VIP6].into_iter().chain(vip);
    for vip in vips {
        tables.put_vip(key(vip), Entry::new(Mode::Answer, 1, SLOT));
        tables.put_steering(key(vip), SteerValue::new(TABLE, NOW).beyond(true));
    }
    let bucket = Bucket {
        current: FAR_NODE,
        previous: FAR_NODE,
    };
    tables.put_table(TABLE, |_| bucket);
    for (family, [from, to]) in [(4, NODES4), (6, NODES6)] {
        let node = FAR_NODE.into();
        let key = FarKey { node, family };
        tables.far.insert(key, FarValue { from, to });
    }
    tables
}

/// That node.
fn receiver() -> Tables {
    let mut tables = Tables::default();
    for [sender, own] in [NODES4, NODES6] {
        tables.ends.insert(sender, EndValue::MEMBER);
        tables.ends.insert(own, EndValue::OWN);
    }
    for vip in [VIP4, VIP6] {
        tables.ends.insert(vip.into(), EndValue::SERVED);
    }
    tables
}

const OUT: u32 = 77;
const SLOT: u32 = 5;
const TABLE: u32 = 3;
const FAR_NODE: u16 = 9;
const NODES4: [Addr; 2] = [Addr::v4([192, 0, 2, 11]), Addr::v4([198, 51, 100, 12])];
const NODES6: [Addr; 2] = [
    Addr::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11]),
    Addr::v6([0x20, 1, 0xd, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12]),
];
