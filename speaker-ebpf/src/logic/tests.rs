//! Facts about decisions that need an exact clock or an exact count, and what holds for every frame.

use super::{Verdict, refill};
use crate::abi::{
    Addr, Entry, Global, LinkValue, MacAddr, Mode, ORPHAN_AFTER_NS, Outcome, SLOTS_MAX, SlotStats,
    VipKey,
};
use crate::model::wire::{ArpWire, NdpWire, option};
use crate::model::{Limit, ReplyKind, Tables, VecFrame, fuzz_frame, parse_reply, run};
use bytemuck::Zeroable;
use core::net::{Ipv4Addr, Ipv6Addr};
use proptest::prelude::*;
use std::vec::Vec;

#[test]
fn l5_1_an_entry_is_answered_until_the_deadline_and_not_at_it() {
    let mut tables = tables(Entry::new(Mode::Answer, 1, SLOT));
    tables.node_deadline_ns = NOW + 1;
    assert_eq!(ask(&mut tables), Verdict::Reply);
    tables.node_deadline_ns = NOW;
    assert_eq!(ask(&mut tables), Verdict::Drop);
    assert_eq!(tables.outcome(SLOT, Outcome::Lapsed), 1);
}

#[test]
fn a_deadline_of_its_own_counts_more_than_the_nodes() {
    let mut tables = tables(Entry::new(Mode::Answer, 1, SLOT).until(NOW + 1));
    tables.node_deadline_ns = NOW;
    assert_eq!(ask(&mut tables), Verdict::Reply);
    tables.now_ns = NOW + 1;
    assert_eq!(ask(&mut tables), Verdict::Drop);
}

#[test]
fn l4_1_a_node_that_was_never_armed_answers_nothing_and_still_drops() {
    let mut tables = tables(Entry::new(Mode::Answer, 1, SLOT));
    tables.node_deadline_ns = 0;
    assert_eq!(ask(&mut tables), Verdict::Drop);
    assert_eq!(tables.outcome(SLOT, Outcome::Lapsed), 1);
}

#[test]
fn l4_1_everything_passes_ten_minutes_after_the_deadline() {
    for mode in [Mode::Answer, Mode::Draining, Mode::Known] {
        let mut tables = tables(Entry::new(mode, 1, SLOT).until(u64::MAX));
        tables.node_deadline_ns = NOW - ORPHAN_AFTER_NS + 1;
        assert_ne!(ask(&mut tables), Verdict::Next, "{mode:?} a moment before");
        tables.now_ns = NOW + 1;
        assert_eq!(ask(&mut tables), Verdict::Next, "{mode:?}");
        assert_eq!(tables.global(Global::Orphaned), 1);
    }
}

#[test]
fn l4_1_what_may_not_be_answered_is_dropped_and_what_is_not_in_the_table_is_left_alone() {
    for mode in [Mode::Draining, Mode::Known] {
        let mut tables = tables(Entry::new(mode, 1, SLOT));
        assert_eq!(ask(&mut tables), Verdict::Drop, "{mode:?}");
    }
    let mut fenced = tables(Entry::new(Mode::Answer, 1, SLOT));
    fenced.fence.insert(SLOT, 1);
    assert_eq!(ask(&mut fenced), Verdict::Drop);
    fenced.cleared.insert(SLOT, 1);
    assert_eq!(ask(&mut fenced), Verdict::Reply);
    let mut empty = tables(Entry::new(Mode::Answer, 1, SLOT));
    empty.vips.clear();
    assert_eq!(ask(&mut empty), Verdict::Next);
}

/// Entry, deadline, fences, members, askers and counters: a process of another version finds what it knows.
#[test]
fn l4_6_no_pinned_map_has_another_layout_than_in_the_first_version() {
    let layouts = crate::abi::MAPS.map(|map| (map.name, map.layout));
    let changed = layouts.iter().filter(|(_, layout)| *layout != 1);
    assert_eq!(changed.collect::<Vec<_>>(), Vec::<&(&str, u32)>::new());
    let entry = Entry::new(Mode::Draining, 7, SLOT).until(9);
    let fields = (entry.mode(), entry.epoch(), entry.slot());
    assert_eq!(fields, (Some(Mode::Draining), 7, SLOT));
    assert_eq!(core::mem::size_of::<Entry>(), 24);
}

#[test]
fn a_deadline_at_the_end_of_time_is_no_overflow() {
    let mut tables = tables(Entry::new(Mode::Answer, 1, SLOT));
    tables.node_deadline_ns = u64::MAX;
    assert_eq!(ask(&mut tables), Verdict::Reply);
}

/// The link may have an owner of the address who is none of ours.
#[test]
fn of_what_only_routes_bring_neighbour_frames_are_left_alone() {
    for is_routed in [true, false] {
        let mut tables = tables(Entry::new(Mode::Passive, 0, SLOT).routed(is_routed));
        let before = tables.clone();
        for bytes in seeds() {
            let mut frame = VecFrame::new(LINK, &bytes);
            assert_eq!(run(&mut frame, &mut tables), Verdict::Next);
            assert_eq!(frame.bytes, bytes);
        }
        let counted = [Global::Arp, Global::Ndp].map(|global| tables.global(global));
        assert_eq!(counted, [2, 4]);
        tables.globals.clear();
        assert_eq!(tables, before, "nothing is counted, fenced or remembered");
    }
}

#[test]
fn an_entry_that_cannot_be_ours_passes() {
    let mut unknown_mode = Entry::new(Mode::Answer, 1, SLOT);
    bytemuck::bytes_of_mut(&mut unknown_mode)[20] = 9;
    for entry in [unknown_mode, Entry::new(Mode::Answer, 1, SLOTS_MAX)] {
        let mut tables = tables(entry);
        assert_eq!(ask(&mut tables), Verdict::Next);
        assert_eq!(tables.global(Global::BadEntry), 1);
    }
}

#[test]
fn a_link_without_an_address_passes() {
    let mut tables = tables(Entry::new(Mode::Answer, 1, SLOT));
    tables.links.clear();
    assert_eq!(ask(&mut tables), Verdict::Next);
}

#[test]
fn l4_5_a_slot_gives_a_burst_and_then_one_answer_per_interval() {
    let mut tables = tables(Entry::new(Mode::Answer, 1, SLOT));
    tables.node_deadline_ns = u64::MAX;
    tables.limit = Limit {
        interval_ns: 1_000,
        burst_ns: 3_000,
    };
    for _ in 0..3 {
        assert_eq!(ask(&mut tables), Verdict::Reply);
    }
    assert_eq!(ask(&mut tables), Verdict::Drop);
    tables.now_ns += 999;
    assert_eq!(ask(&mut tables), Verdict::Drop);
    tables.now_ns += 1;
    assert_eq!(ask(&mut tables), Verdict::Reply);
    assert_eq!(tables.outcome(SLOT, Outcome::Limited), 2);
}

#[test]
fn l4_5_a_flood_above_the_limit_is_not_remembered() {
    let mut tables = tables(Entry::new(Mode::Answer, 1, SLOT));
    tables.limit.burst_ns = 0;
    assert_eq!(ask(&mut tables), Verdict::Drop);
    assert!(tables.askers.is_empty());
}

#[test]
fn a_clock_that_went_back_costs_no_credit() {
    let mut stats = SlotStats::zeroed();
    assert!(refill(&mut stats, 5_000, 1_000, 3_000));
    assert!(refill(&mut stats, 4_000, 1_000, 3_000));
    assert_eq!(stats.bucket_ns, 1_000);
}

#[test]
fn a_duplicate_detection_without_room_for_the_answer_is_dropped_whole() {
    let mut tables = tables(Entry::new(Mode::Answer, 1, SLOT));
    let bytes = NdpWire::duplicate_detection(CLIENT.0, VIP6).bytes();
    let mut frame = VecFrame::new(LINK, &bytes);
    frame.room = 7;
    assert_eq!(run(&mut frame, &mut tables), Verdict::Drop);
    assert_eq!(frame.bytes, bytes);
    assert_eq!(tables.global(Global::NoRoom), 1);
}

#[test]
fn headers_outside_the_linear_part_are_found() {
    for bytes in [
        ArpWire::request(CLIENT, VIP4).bytes(),
        NdpWire::solicitation(CLIENT6, VIP6).bytes(),
    ] {
        let mut tables = tables(Entry::new(Mode::Answer, 1, SLOT));
        let mut frame = VecFrame::new(LINK, &bytes).scattered();
        assert_eq!(run(&mut frame, &mut tables), Verdict::Reply);
    }
}

#[test]
fn the_ring_overflows_into_a_counter() {
    let mut tables = tables(Entry::new(Mode::Known, 1, SLOT));
    let claim = ArpWire::announcement(CLIENT_AS_VIP, 1).bytes();
    for _ in 0..2_000 {
        let mut frame = VecFrame::new(LINK, &claim);
        assert_eq!(run(&mut frame, &mut tables), Verdict::Next);
    }
    let kept = tables.claims.len() as u64;
    assert_eq!(kept + tables.global(Global::RingFull), 2_000);
    assert_eq!(tables.outcome(SLOT, Outcome::Foreign), 2_000);
}

proptest! {
    #[test]
    fn no_frame_does_harm(data in any::<Vec<u8>>()) {
        fuzz_frame(&data);
    }

    #[test]
    fn no_changed_request_does_harm(
        choice in any::<u8>(),
        pulled in any::<u8>(),
        which in 0..6usize,
        changes in prop::collection::vec((0..110usize, any::<u8>()), 0..6),
        cut in 0..120usize,
    ) {
        let mut data = seeds()[which].clone();
        for (at, value) in changes {
            if let Some(byte) = data.get_mut(at) {
                *byte = value;
            }
        }
        data.truncate(cut);
        let data = [&[choice, pulled], data.as_slice()].concat();
        fuzz_frame(&data);
    }

    #[test]
    fn every_sound_request_gets_the_reply_that_its_sender_can_use(
        mac in any::<[u8; 6]>(),
        ip in any::<u32>(),
        ip6 in any::<[u8; 16]>(),
        nonce in any::<bool>(),
    ) {
        let mac = [mac[0] & 0xfe | 2, mac[1], mac[2], mac[3], mac[4], mac[5]];
        prop_assume!(mac != OWN.0);
        let (ip, ip6) = (Ipv4Addr::from(ip), Ipv6Addr::from(ip6));
        prop_assume!(ip != VIP4 && !ip6.is_multicast() && !ip6.is_unspecified() && ip6 != VIP6);
        let arp = answered(&ArpWire::request((mac, ip), VIP4).bytes());
        prop_assert_eq!(arp.client, ip);
        prop_assert_eq!(arp.to, mac);
        let solicitation = NdpWire::solicitation((mac, ip6), VIP6).with(|frame| {
            if nonce {
                frame.options.extend(option(14, [9; 6]));
            }
        });
        let ndp = answered(&solicitation.bytes());
        prop_assert_eq!(ndp.client, ip6);
        prop_assert_eq!(ndp.to, mac);
        prop_assert_eq!(ndp.mac, Some(OWN.0));
        let expected = ReplyKind::Advertisement { is_solicited: true, is_override: true };
        prop_assert_eq!(ndp.kind, expected);
    }
}

fn seeds() -> [Vec<u8>; 6] {
    [
        ArpWire::request(CLIENT, VIP4).bytes(),
        ArpWire::announcement(CLIENT_AS_VIP, 2).bytes(),
        NdpWire::solicitation(CLIENT6, VIP6).bytes(),
        NdpWire::probe(CLIENT6, (OWN.0, VIP6)).bytes(),
        NdpWire::duplicate_detection(CLIENT.0, VIP6).bytes(),
        NdpWire::announcement((CLIENT.0, VIP6)).bytes(),
    ]
}

fn answered(bytes: &[u8]) -> crate::model::Reply {
    let mut tables = tables(Entry::new(Mode::Answer, 1, SLOT));
    let mut frame = VecFrame::new(LINK, bytes);
    assert_eq!(run(&mut frame, &mut tables), Verdict::Reply);
    parse_reply(&frame.bytes).unwrap()
}

fn ask(tables: &mut Tables) -> Verdict {
    let mut frame = VecFrame::new(LINK, &ArpWire::request(CLIENT, VIP4).bytes());
    run(&mut frame, tables)
}

fn tables(entry: Entry) -> Tables {
    let mut tables = Tables {
        now_ns: NOW,
        node_deadline_ns: NOW + 1,
        ..Tables::default()
    };
    tables.links.insert(LINK, LinkValue::new(OWN));
    tables.put_vip(VipKey::new(Addr::v4(VIP4.octets()), LINK), entry);
    tables.put_vip(VipKey::new(Addr::v6(VIP6.octets()), LINK), entry);
    tables
}

const LINK: u32 = 3;
const SLOT: u32 = 5;
const NOW: u64 = ORPHAN_AFTER_NS * 100;
const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const CLIENT: ([u8; 6], Ipv4Addr) = ([2, 0, 0, 0, 0, 0xcc], Ipv4Addr::new(192, 0, 2, 77));
const CLIENT_AS_VIP: ([u8; 6], Ipv4Addr) = (CLIENT.0, VIP4);
const CLIENT6: ([u8; 6], Ipv6Addr) = (CLIENT.0, Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77));
/// What the fuzzer's tables have, too.
const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
