//! What options of a VIP do with packets: rule by rule, and for any packets as [`crate::model::options`] has it. Every packet of a test is held to
//! that account, byte for byte.

use super::moves_tests::{A, B, C, Ends, FAMILIES, LINK, NOW, VIP4, VIP6, key, node};
use super::{Maps, Verdict};
use crate::abi::options::{Closed, OPTION_BURST_NS, OPTION_INTERVAL_NS, SET_BITS};
use crate::abi::{
    Addr, Bucket, Entry, Global, MacAddr, Mode, Opted, OptionValue, ServiceKey, ServiceValue,
    SourceKey, SteerValue, Steered, TargetKey, TargetValue,
};
use crate::model::flow::FlowWire;
use crate::model::{Tables, VecFrame, run_accounted};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use proptest::prelude::*;
use std::vec::Vec;

#[test]
fn a_port_that_no_service_has_is_passed_refused_or_dropped() {
    for ends in FAMILIES {
        for frame in [ends.syn(A), ends.segment(A), ends.datagram(A)] {
            let mut tables = with(OptionValue::new(Closed::Pass, true, true));
            assert_eq!(send(&mut tables, &frame), Verdict::Next);
            assert!(tables.opted.is_empty());
            let mut tables = with(OptionValue::new(Closed::Drop, false, false));
            assert_eq!(send(&mut tables, &frame), Verdict::Drop);
            assert_eq!(tables.by_option(Opted::Closed), 1);
            let mut tables = with(REJECT);
            assert_eq!(send(&mut tables, &frame), Verdict::Reply);
            assert_eq!(tables.by_option(Opted::Rejected), 1);
            assert!(tables.traffic.is_empty(), "no traffic of the stack's");
        }
    }
}

#[test]
fn a_port_that_a_service_has_is_served_whatever_the_option() {
    for ends in FAMILIES {
        for closed in [Closed::Reject, Closed::Drop] {
            let mut tables = with(OptionValue::new(closed, false, false));
            offer(&mut tables, ends.vip, 6, 0);
            assert_eq!(send(&mut tables, &ends.syn(A)), Verdict::Next);
            let other = send(&mut tables, &ends.datagram(A));
            assert_ne!(other, Verdict::Next, "the same port of another protocol");
        }
    }
}

/// RFC 9293 §3.10.7.1.
#[test]
fn a_reset_acknowledges_what_came_or_continues_what_was_acknowledged() {
    let ends = FAMILIES[0];
    let numbers = |flags, data: usize| {
        let mut payload = ends.vip.port().to_be_bytes().to_vec();
        payload.extend([0, 0, 0, 0, 1, 0, 0, 0, 0, 7, 0x50, flags, 4, 0, 0, 0, 0, 0]);
        payload.splice(..2, ends.port.to_be_bytes());
        payload.splice(2..4, ends.vip.port().to_be_bytes());
        payload.resize(20 + data, 9);
        let frame = ends.syn(A).with(|frame| frame.payload = Some(payload));
        let mut frame = VecFrame::new(LINK, &frame.bytes());
        assert_eq!(run_accounted(&mut frame, &mut with(REJECT)), Verdict::Reply);
        let number = |at: usize| u32::from_be_bytes(frame.bytes[at..at + 4].try_into().unwrap());
        (number(38), number(42), frame.bytes[47])
    };
    assert_eq!(
        numbers(0x02, 0),
        (0, 0x101, 0x14),
        "an opening counts as one"
    );
    assert_eq!(numbers(0x03, 5), (0, 0x107, 0x14), "with data and an end");
    assert_eq!(
        numbers(0x10, 5),
        (7, 0, 0x04),
        "an acknowledgement is taken up"
    );
}

#[test]
fn nothing_is_answered_that_must_not_be() {
    for ends in FAMILIES {
        let reset = ends.segment(A).with(|frame| frame.flags = 0x04);
        let sctp = ends.datagram(A).with(|frame| frame.protocol = 132);
        let mut silent = std::vec![reset, sctp];
        for src in never_answered(ends.vip.is_ipv4(), ends.vip.ip()) {
            let to = SocketAddr::new(src, 9);
            silent.push(ends.syn(A).with(|frame| frame.src = to));
            silent.push(ends.datagram(A).with(|frame| frame.src = to));
        }
        let group = ends.syn(A).with(|frame| frame.from = [3, 0, 0, 0, 0, 1]);
        silent.push(group);
        for frame in silent {
            let mut tables = with(REJECT);
            assert_eq!(send(&mut tables, &frame), Verdict::Drop, "{frame:?}");
            assert_eq!(tables.by_option(Opted::Closed), 1);
        }
        // These are no packets to a port, as far as this can see.
        let error = ends.datagram(A).error((C.0, ends.client.ip()));
        let first = ends
            .datagram(A)
            .with(|frame| frame.fragment = Some((7, 0, true)));
        let later = ends
            .datagram(A)
            .with(|frame| frame.fragment = Some((7, 5, false)));
        let optional = ends.datagram(A).with(|frame| {
            frame.options = std::vec![1; 8];
            frame.first_option = frame.src.is_ipv6().then_some(60);
        });
        for frame in [error, first, later, optional] {
            let mut tables = with(REJECT);
            assert_eq!(send(&mut tables, &frame), Verdict::Next, "{frame:?}");
        }
        let mut tables = with(REJECT);
        for to in [MacAddr::BROADCAST, B] {
            assert_eq!(send(&mut tables, &ends.syn(to)), Verdict::Next);
        }
    }
}

#[test]
fn a_holder_answers_pings_and_nobody_else_does() {
    for ends in FAMILIES {
        let mut tables = with(ECHO);
        assert_eq!(send(&mut tables, &ping(&ends)), Verdict::Reply);
        assert_eq!(tables.by_option(Opted::Echoed), 1);
        let mut off = with(REJECT);
        assert_eq!(send(&mut off, &ping(&ends)), Verdict::Next);
        for src in never_answered(ends.vip.is_ipv4(), ends.vip.ip()) {
            let frame = ping(&ends).with(|frame| frame.src = SocketAddr::new(src, 0));
            assert_eq!(send(&mut tables, &frame), Verdict::Next);
        }
        let fragment = ping(&ends).with(|frame| frame.fragment = Some((1, 0, true)));
        assert_eq!(send(&mut tables, &fragment), Verdict::Next);
        let reply = ping(&ends).with(|frame| {
            let kind = if frame.src.is_ipv4() { 0 } else { 129 };
            frame.payload.as_mut().unwrap()[0] = kind;
        });
        assert_eq!(send(&mut tables, &reply), Verdict::Next);
        assert_eq!(tables.by_option(Opted::Echoed), 1);
    }
}

#[test]
fn past_the_deadline_or_behind_a_fence_no_option_does_anything() {
    for ends in FAMILIES {
        let all = OptionValue::new(Closed::Reject, true, true);
        let mut cases: Vec<Tables> = (0..4).map(|_| with(all)).collect();
        cases[0].node_deadline_ns = NOW;
        cases[1].fence(SLOT);
        let vip = key(ends.vip.ip());
        cases[2].put_vip(vip, Entry::new(Mode::Known, 1, SLOT).opted(true));
        cases[3].options.clear();
        for mut tables in cases {
            offer(&mut tables, ends.vip, 17, NOBODY);
            for frame in [ends.syn(A), ends.datagram(A), ping(&ends)] {
                assert_eq!(send(&mut tables, &frame), Verdict::Next);
            }
            assert!(tables.opted.is_empty());
        }
        let mut draining = with(all);
        draining.put_vip(vip, Entry::new(Mode::Draining, 1, SLOT).opted(true));
        assert_eq!(send(&mut draining, &ping(&ends)), Verdict::Reply);
    }
}

#[test]
fn a_flood_is_answered_at_a_bounded_rate_and_does_not_starve_pings() {
    let ends = FAMILIES[0];
    let mut tables = with(OptionValue::new(Closed::Reject, true, false));
    let burst = OPTION_BURST_NS / OPTION_INTERVAL_NS;
    for _ in 0..burst {
        assert_eq!(send(&mut tables, &ends.syn(A)), Verdict::Reply);
    }
    assert_eq!(send(&mut tables, &ends.syn(A)), Verdict::Drop);
    assert_eq!(tables.by_option(Opted::Limited), 1);
    assert_eq!(send(&mut tables, &ping(&ends)), Verdict::Reply);
    tables.now_ns += OPTION_INTERVAL_NS;
    assert_eq!(send(&mut tables, &ends.syn(A)), Verdict::Reply);
}

#[test]
fn sources_that_a_service_does_not_serve_are_kept_out() {
    for ends in FAMILIES {
        let all = OptionValue::new(Closed::Pass, false, true);
        for (sources, expected) in [
            (0, Verdict::Next),
            (NOBODY, Verdict::Drop),
            (SOME, Verdict::Next),
            (OTHERS, Verdict::Drop),
            (EVERYBODY, Verdict::Next),
        ] {
            let mut tables = with(all);
            offer(&mut tables, ends.vip, 6, sources);
            let client = ends.client.ip();
            put_source(
                &mut tables,
                SOME,
                client,
                if client.is_ipv4() { 24 } else { 64 },
            );
            put_source(&mut tables, OTHERS, ends.vip.ip(), full(client));
            let zero: IpAddr = match client {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            put_source(&mut tables, EVERYBODY, zero, 0);
            assert_eq!(send(&mut tables, &ends.syn(A)), expected, "{sources}");
            let refused = u64::from(expected == Verdict::Drop);
            assert_eq!(tables.by_option(Opted::Refused), refused, "{sources}");
            let other = ends.datagram(A);
            assert_eq!(send(&mut tables, &other), Verdict::Next, "another port");
            let row = OptionValue::new(Closed::Pass, true, false);
            tables.put_options(key(ends.vip.ip()), row);
            assert_eq!(
                send(&mut tables, &ends.syn(A)),
                Verdict::Next,
                "not asked for"
            );
        }
    }
}

#[test]
fn options_come_before_packets_are_spread() {
    for ends in FAMILIES {
        let mut tables = with(OptionValue::new(Closed::Reject, true, true));
        spread(&mut tables);
        assert_eq!(send(&mut tables, &ends.syn(A)), Verdict::Reply);
        assert_eq!(send(&mut tables, &ping(&ends)), Verdict::Reply);
        assert!(tables.steered.is_empty());
        offer(&mut tables, ends.vip, 6, 0);
        offer(&mut tables, ends.vip, 17, NOBODY);
        assert_eq!(send(&mut tables, &ends.syn(A)), Verdict::Forward);
        assert_eq!(send(&mut tables, &ends.datagram(A)), Verdict::Drop);
        assert_eq!(tables.way(Steered::Sent), 1);
    }
}

/// Its sender left the checksum to the hardware, which goes by what it was told of the packet.
#[test]
fn an_answer_is_right_where_its_checksum_is_written_by_whoever_sends_it() {
    for ends in FAMILIES {
        for (wire, sum_at) in [(ends.syn(A), 16), (ends.datagram(A), 6)] {
            let transport = if ends.vip.is_ipv4() { 34 } else { 54 };
            let sound = {
                let mut frame = VecFrame::new(LINK, &wire.bytes());
                assert_eq!(super::handle(&mut frame, &mut with(REJECT)), Verdict::Reply);
                frame.bytes
            };
            let mut frame = VecFrame::new(LINK, &wire.bytes());
            frame.owes_sum = true;
            assert_eq!(super::handle(&mut frame, &mut with(REJECT)), Verdict::Reply);
            let sum = !ones(&frame.bytes[transport..]);
            let at = transport + sum_at;
            frame.bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
            let payload = &frame.bytes[transport..];
            let (protocol, has_pseudo) = match (sum_at, ends.vip.is_ipv4()) {
                (16, _) => (6, true),
                (_, true) => (1, false),
                (_, false) => (58, true),
            };
            let addresses = if ends.vip.is_ipv4() { 26..34 } else { 22..54 };
            let length = payload.len() as u16;
            let pseudo = [
                &frame.bytes[addresses],
                &[0, protocol],
                &length.to_be_bytes()[..],
            ];
            let pseudo = if has_pseudo {
                pseudo.concat()
            } else {
                Vec::new()
            };
            assert_eq!(ones(&[&pseudo[..], payload].concat()), 0xffff, "{wire:?}");
            // Nothing else differs but, of an error, what receivers ignore.
            let differing = (0..sound.len()).filter(|at| sound[*at] != frame.bytes[*at]);
            let ignored = if sum_at == 6 {
                transport + 2..transport + 8
            } else {
                0..0
            };
            assert!(
                differing.clone().all(|at| ignored.contains(&at)),
                "{wire:?}"
            );
        }
    }
}

#[test]
fn without_room_for_an_answer_a_packet_is_dropped() {
    let ends = FAMILIES[0];
    let mut frame = VecFrame::new(LINK, &ends.datagram(A).bytes());
    frame.room = 3;
    let mut tables = with(REJECT);
    assert_eq!(run_accounted(&mut frame, &mut tables), Verdict::Drop);
    assert_eq!(tables.global(Global::NoRoom), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn any_packets_under_any_options_are_treated_as_the_account_says(
        chances in prop::collection::vec(any_packet(), 1..6),
        (closed, is_echo, is_filtered, is_spread, mode) in (0..3_u8, any::<bool>(), any::<bool>(), any::<bool>(), 0..9_u8),
    ) {
        let closed = [Closed::Pass, Closed::Reject, Closed::Drop][usize::from(closed)];
        let mut tables = with(OptionValue::new(closed, is_echo, is_filtered));
        for ends in FAMILIES {
            offer(&mut tables, ends.vip, 6, SOME);
            put_source(&mut tables, SOME, ends.client.ip(), full(ends.vip.ip()) - 1);
        }
        if is_spread {
            spread(&mut tables);
        }
        match mode {
            0 => tables.node_deadline_ns = NOW,
            1 => tables.fence = [(SLOT, 1)].into(),
            2 | 3 => {
                let entry = Entry::new(Mode::Passive, 0, SLOT).opted(true);
                for vip in [VIP4, VIP6] {
                    let entry = entry.steered(is_spread.into()).routed(mode == 2);
                    tables.put_vip(key(vip), entry);
                }
            }
            _ => {}
        }
        for (bytes, room) in chances {
            let mut frame = VecFrame::new(LINK, &bytes).scattered();
            frame.room = room;
            run_accounted(&mut frame, &mut tables);
        }
    }
}

fn any_packet() -> impl Strategy<Value = (Vec<u8>, u32)> {
    let changes = prop::collection::vec((0..80_usize, any::<u8>()), 0..3);
    let kind = (0..2_usize, 0..6_u8, any::<u8>(), any::<bool>());
    let cut = prop::option::weighted(0.2, 15..90_usize);
    (
        kind,
        changes,
        cut,
        prop_oneof![3 => Just(64), 1 => 0..60_u32],
    )
        .prop_map(|((family, kind, flags, is_other), changes, cut, room)| {
            let ends = FAMILIES[family];
            let ends = if is_other { ends.other() } else { ends };
            let frame = match kind {
                0 => ends.syn(A),
                1 => ends.segment(A).with(|frame| frame.flags = flags),
                2 => ends.datagram(A),
                3 => ends.datagram(A).with(|frame| frame.protocol = 132),
                4 => ping(&ends),
                _ => ends.datagram(A).error((C.0, ends.client.ip())),
            };
            let mut bytes = frame.bytes();
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(12 + at) {
                    *byte = value;
                }
            }
            bytes.truncate(cut.unwrap_or(usize::MAX));
            (bytes, room)
        })
}

fn send(tables: &mut Tables, wire: &FlowWire) -> Verdict {
    let mut frame = VecFrame::new(LINK, &wire.bytes()).scattered();
    run_accounted(&mut frame, tables)
}

/// This node is A and holds both VIPs with these options.
fn with(value: OptionValue) -> Tables {
    let mut tables = node(A);
    tables.node_deadline_ns = NOW + 1_000_000_000_000;
    for vip in [VIP4, VIP6] {
        tables.put_vip(key(vip), Entry::new(Mode::Answer, 1, SLOT));
        tables.put_options(key(vip), value);
    }
    tables
}

/// All slots are B's.
fn spread(tables: &mut Tables) {
    for vip in [VIP4, VIP6] {
        tables.put_steering(key(vip), SteerValue::new(0, 0));
    }
    let bucket = Bucket {
        current: 1,
        previous: 1,
    };
    tables.put_table(0, |_| bucket);
    let target = TargetKey {
        ifindex: LINK,
        node: 1,
    };
    let value = TargetValue {
        mac: B,
        pad: [0; 2],
    };
    tables.targets.insert(target, value);
}

fn offer(tables: &mut Tables, vip: SocketAddr, protocol: u8, sources: u32) {
    let key = ServiceKey::new(vip.ip().into(), protocol, vip.port().to_be_bytes());
    tables.services.insert(key, ServiceValue { sources });
}

fn put_source(tables: &mut Tables, set: u32, net: IpAddr, bits: u32) {
    let above = if net.is_ipv4() {
        SET_BITS + 96
    } else {
        SET_BITS
    };
    let addr = Addr::from(net);
    tables
        .sources
        .insert((above + bits, SourceKey { set, addr }));
}

const fn full(ip: IpAddr) -> u32 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn ping(ends: &Ends) -> FlowWire {
    let is_v4 = ends.vip.is_ipv4();
    ends.datagram(A).with(|frame| {
        frame.protocol = if is_v4 { 1 } else { 58 };
        let kind = if is_v4 { 8 } else { 128 };
        frame.payload = Some([kind, 0, 0x12, 0x34, 0, 1, 0, 2, 3, 4, 5, 6, 7].to_vec());
    })
}

/// Sources that are no one station's, or this one's.
fn never_answered(is_v4: bool, vip: IpAddr) -> Vec<IpAddr> {
    let texts = if is_v4 {
        ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"]
    } else {
        ["::", "::1", "ff02::1", "ff0e::1"]
    };
    let mut all: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
    all.push(vip);
    all
}

/// The sum of bytes: all ones if the checksum among them is right.
fn ones(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or_default();
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

const REJECT: OptionValue = OptionValue::new(Closed::Reject, false, false);
const ECHO: OptionValue = OptionValue::new(Closed::Pass, true, false);
/// The slot of both entries.
const SLOT: u32 = 5;
const NOBODY: u32 = 1;
const SOME: u32 = 2;
const OTHERS: u32 = 3;
const EVERYBODY: u32 = 4;
