//! Where packets of a VIP go that is spread: rule by rule, and for any packets and tables as [`crate::model::account`] has it. Every packet of a test is
//! held to the account, too.

use super::moves_tests::{A, B, C, Ends, FAMILIES, LINK, NOW, VIP4, VIP6, key, node};
use super::{Maps, Memory, Verdict};
use crate::abi::steer::{
    DATAGRAMS_MAX, FRAGMENTS_MAX, FRAGMENTS_NS, SHARES_MAX, SILENCE_NS, STREAMS_MAX, TABLES_MAX,
};
use crate::abi::{
    Bucket, Entry, LinkValue, MacAddr, Mode, MoveValue, ORPHAN_AFTER_NS, Passage, ShareKey,
    SteerValue, Steered, StreamKey, StreamValue, TargetKey, TargetValue, Traffic,
};
use crate::frame::Frame;
use crate::model::flow::FlowWire;
use crate::model::{Tables, VecFrame, check_forward, run, run_accounted};
use proptest::prelude::*;
use std::vec::Vec;

#[test]
fn a_new_connection_goes_where_its_slot_says() {
    for ends in FAMILIES {
        let mut tables = spread(ROW, B_NOW, B_NOW);
        assert_eq!(send(&mut tables, &ends.syn(A)), To(B));
        assert_eq!(send(&mut tables, &ends.segment(A)), To(B));
        assert_eq!(tables.way(Steered::Sent), 2);
        assert!(
            tables.traffic.is_empty(),
            "what is sent on is no traffic of this node's stack"
        );
        let mut tables = spread(ROW, OWN_NOW, OWN_NOW);
        assert_eq!(send(&mut tables, &ends.syn(A)), Stays);
        assert_eq!(tables.way(Steered::Own), 1);
        assert_eq!(tables.traffic[&SLOT].packets, 1);
    }
}

#[test]
fn a_flood_of_connections_is_not_remembered_where_the_slot_names_one_node() {
    let mut tables = spread(ROW, B_NOW, B_NOW);
    for port in 0..100 {
        let ends = Ends {
            port,
            ..FAMILIES[0]
        };
        assert_eq!(send(&mut tables, &ends.syn(A)), To(B));
        assert_eq!(send(&mut tables, &ends.segment(A)), To(B));
    }
    assert!(tables.streams.is_empty());
}

#[test]
fn within_the_window_old_connections_stay_with_the_previous_node_and_both_outlive_it() {
    for ends in FAMILIES {
        let mut tables = spread(ROW, B_NOW, C_NOW);
        let (old, new) = (ends, ends.other());
        assert_eq!(send(&mut tables, &new.syn(A)), To(B));
        assert_eq!(send(&mut tables, &new.segment(A)), To(B));
        assert_eq!(send(&mut tables, &old.segment(A)), To(C));
        assert_eq!(tables.streams.len(), 2);
        tables.now_ns = WINDOW_UNTIL;
        assert_eq!(send(&mut tables, &new.segment(A)), To(B));
        assert_eq!(send(&mut tables, &old.segment(A)), To(C));
    }
}

#[test]
fn after_the_window_an_unknown_connection_is_the_current_nodes_and_nothing_is_remembered() {
    for ends in FAMILIES {
        let mut tables = spread(ROW, B_NOW, C_NOW);
        tables.now_ns = WINDOW_UNTIL;
        assert_eq!(send(&mut tables, &ends.segment(A)), To(B));
        assert_eq!(send(&mut tables, &ends.syn(A)), To(B));
        assert!(tables.streams.is_empty());
    }
}

#[test]
fn a_connection_that_opens_under_an_older_ones_mark_is_new() {
    let ends = FAMILIES[0];
    let mut tables = spread(ROW, B_NOW, C_NOW);
    assert_eq!(send(&mut tables, &ends.segment(A)), To(C));
    tables.now_ns = WINDOW_UNTIL;
    assert_eq!(send(&mut tables, &ends.syn(A)), To(B));
    assert_eq!(send(&mut tables, &ends.segment(A)), To(B));
}

#[test]
fn connections_from_before_a_vip_was_spread_stay_with_the_stack_also_after_the_window() {
    for ends in FAMILIES {
        let mut tables = spread(ROW, B_NOW, OWN_NOW);
        let (old, new) = (ends, ends.other());
        assert_eq!(send(&mut tables, &old.segment(A)), Stays);
        assert_eq!(send(&mut tables, &new.syn(A)), To(B));
        assert_eq!(send(&mut tables, &new.segment(A)), To(B));
        tables.now_ns = WINDOW_UNTIL;
        assert_eq!(send(&mut tables, &old.segment(A)), Stays, "remembered");
        assert_eq!(send(&mut tables, &new.segment(A)), To(B));
        let later = Ends { port: 7, ..ends };
        assert_eq!(send(&mut tables, &later.segment(A)), To(B), "unknown");
        assert_eq!(tables.way(Steered::Own), 2);
    }
}

#[test]
fn a_slot_of_this_nodes_remembers_nothing_when_a_vip_begins_to_be_spread() {
    let ends = FAMILIES[0];
    let mut tables = spread(ROW, OWN_NOW, OWN_NOW);
    for frame in [ends.syn(A), ends.segment(A)] {
        assert_eq!(send(&mut tables, &frame), Stays);
    }
    assert!(tables.streams.is_empty());
}

#[test]
fn a_second_change_of_the_table_keeps_what_was_remembered_where_the_slot_names_two_nodes() {
    for (previous, expected) in [(OWN_NOW, To(C)), (B_NOW, To(B))] {
        let ends = FAMILIES[0];
        let mut tables = spread(ROW, B_NOW, C_NOW);
        assert_eq!(send(&mut tables, &ends.segment(A)), To(C));
        tables.put_table(TABLE + 1, |_| bucket(B_NOW, previous));
        let row = SteerValue::new(TABLE + 1, WINDOW_UNTIL);
        tables.put_steering(key(ends.vip.ip()), row);
        assert_eq!(send(&mut tables, &ends.segment(A)), expected);
    }
}

#[test]
fn in_a_slot_that_came_back_what_is_remembered_counts_and_what_is_not_is_its_nodes() {
    for ends in FAMILIES {
        let mut tables = spread(ROW, C_NOW, OWN_NOW);
        let (between, old) = (ends, ends.other());
        assert_eq!(send(&mut tables, &between.syn(A)), To(C));
        tables.put_table(TABLE, |_| Bucket::returned(B_NOW));
        assert_eq!(send(&mut tables, &between.segment(A)), To(C));
        assert_eq!(send(&mut tables, &old.segment(A)), To(B));
        assert_eq!(tables.streams.len(), 2);
        tables.now_ns = WINDOW_UNTIL;
        assert_eq!(send(&mut tables, &between.segment(A)), To(C));
    }
}

#[test]
fn a_flow_whose_node_is_gone_is_as_good_as_unknown() {
    for ends in FAMILIES {
        let mut tables = spread(ROW, B_NOW, C_NOW);
        assert_eq!(send(&mut tables, &ends.segment(A)), To(C));
        assert_eq!(send(&mut tables, &ends.datagram(A)), To(B));
        tables.put_table(TABLE, |_| bucket(OWN_NOW, B_NOW));
        tables.now_ns = WINDOW_UNTIL;
        assert_eq!(send(&mut tables, &ends.segment(A)), To(C));
        assert_eq!(send(&mut tables, &ends.datagram(A)), To(B));
        tables.targets.clear();
        assert_eq!(send(&mut tables, &ends.segment(A)), Stays);
        assert_eq!(send(&mut tables, &ends.datagram(A)), Stays);
        let known: Vec<_> = tables.datagrams.values().map(|value| value.node).collect();
        assert_eq!(known, [u32::from(OWN_NOW)], "remembered anew");
    }
}

#[test]
fn flows_of_datagrams_stay_where_they_were_first_sent() {
    for ends in FAMILIES {
        for protocol in [17, 132, 136] {
            let mut tables = spread(ROW, B_NOW, B_NOW);
            let of = |ends: Ends| ends.datagram(A).with(|frame| frame.protocol = protocol);
            assert_eq!(send(&mut tables, &of(ends)), To(B));
            tables.put_table(TABLE, |_| bucket(C_NOW, B_NOW));
            tables.now_ns = WINDOW_UNTIL;
            assert_eq!(send(&mut tables, &of(ends)), To(B), "{protocol}");
            assert_eq!(send(&mut tables, &of(ends.other())), To(C), "{protocol}");
            assert_eq!(tables.datagrams.len(), 2);
            assert!(tables.streams.is_empty());
        }
    }
}

#[test]
fn a_flow_that_is_seen_all_the_time_is_written_once_a_second() {
    let ends = FAMILIES[0];
    let mut tables = spread(ROW, B_NOW, C_NOW);
    let seen = |tables: &Tables| -> Vec<u64> {
        let streams = tables.streams.values().chain(tables.datagrams.values());
        streams.map(|value| value.seen_ns).collect()
    };
    for (at, expected) in [(0, 0), (SECOND - 1, 0), (SECOND, SECOND)] {
        tables.now_ns = NOW + at;
        assert_eq!(send(&mut tables, &ends.segment(A)), To(C));
        assert_eq!(send(&mut tables, &ends.datagram(A)), To(B));
        assert_eq!(seen(&tables), [NOW + expected; 2]);
    }
    tables.now_ns = NOW;
    assert_eq!(send(&mut tables, &ends.segment(A)), To(C), "a clock behind");
    assert_eq!(seen(&tables), [NOW + SECOND; 2]);
}

#[test]
fn what_has_no_ports_goes_by_its_addresses_and_is_not_remembered() {
    for ends in FAMILIES {
        let mut tables = spread(ROW, B_NOW, C_NOW);
        let [echo, ping] = if ends.vip.is_ipv4() {
            [1, 8]
        } else {
            [58, 128]
        };
        for (protocol, first) in [(echo, ping), (47, 0), (50, 1)] {
            let frame = ends.syn(A).with(|frame| {
                frame.protocol = protocol;
                frame.payload = Some([&[first][..], &[0; 15]].concat());
            });
            assert_eq!(send(&mut tables, &frame), To(B), "{protocol}");
            let rest = frame.with(|frame| frame.fragment = Some((4, 7, false)));
            assert_eq!(send(&mut tables, &rest), To(B), "{protocol}");
        }
        for memory in MEMORIES {
            assert!(tables.memory(memory).is_empty());
        }
    }
}

#[test]
fn by_client_the_ports_and_the_protocol_do_not_matter() {
    for ends in FAMILIES {
        let mut tables = spread(ROW.by_client(true), B_NOW, B_NOW);
        tables.put_table(TABLE, |slot| {
            let node = if slot % 2 == 0 { B_NOW } else { C_NOW };
            bucket(node, node)
        });
        let first = send(&mut tables, &ends.syn(A));
        assert_ne!(first, Stays);
        for port in 0..64 {
            let ends = Ends { port, ..ends };
            for frame in [ends.syn(A), ends.segment(A), ends.datagram(A)] {
                assert_eq!(send(&mut tables, &frame), first, "{port}");
            }
        }
        tables.put_steering(key(ends.vip.ip()), ROW);
        let by_port: Vec<_> = (0..64)
            .map(|port| send(&mut tables, &Ends { port, ..ends }.syn(A)))
            .collect();
        assert!(by_port.contains(&To(B)) && by_port.contains(&To(C)));
    }
}

#[test]
fn an_error_goes_where_the_flow_is_that_it_is_about_and_is_not_remembered() {
    for ends in FAMILIES {
        let router = ((CLIENT.0), ends.router);
        let mut tables = spread(ROW, B_NOW, C_NOW);
        let about_unknown = ends.segment(A).error(router);
        assert_eq!(send(&mut tables, &about_unknown), To(C), "an old one");
        assert_eq!(send(&mut tables, &ends.syn(A)), To(B));
        assert_eq!(send(&mut tables, &ends.segment(A).error(router)), To(B));
        assert_eq!(send(&mut tables, &ends.datagram(A).error(router)), To(B));
        let echo = ends.segment(A).with(|frame| frame.protocol = 47);
        assert_eq!(send(&mut tables, &echo.error(router)), To(B));
        assert_eq!(tables.streams.len() + tables.datagrams.len(), 1);
        assert_eq!(send(&mut tables, &ends.datagram(A)), To(B));
        tables.put_table(TABLE, |_| bucket(C_NOW, C_NOW));
        assert_eq!(send(&mut tables, &ends.datagram(A).error(router)), To(B));
        let fragment = ends.datagram(A);
        let fragment = fragment.with(|frame| frame.fragment = Some((3, 0, true)));
        assert_eq!(send(&mut tables, &fragment.error(router)), To(B));
    }
}

#[test]
fn an_error_about_what_the_vip_never_sent_or_the_middle_of_it_is_the_stacks() {
    for ends in FAMILIES {
        let mut tables = spread(ROW, B_NOW, B_NOW);
        let router = (CLIENT.0, ends.router);
        let strange = Ends {
            vip: ends.client,
            ..ends
        };
        let error = strange.segment(A).error(router);
        let error = error.with(|frame| frame.dst = ends.vip);
        assert_eq!(send(&mut tables, &error), Stays);
        let middle = ends.datagram(A);
        let middle = middle.with(|frame| frame.fragment = Some((3, 9, true)));
        assert_eq!(send(&mut tables, &middle.error(router)), Stays);
        assert_eq!(tables.way(Steered::Unclear), 2);
    }
}

#[test]
fn later_fragments_follow_their_first_for_two_seconds() {
    for ends in FAMILIES {
        for (kind, node) in [(Ends::segment as Make, C), (Ends::datagram, B)] {
            let mut tables = spread(ROW, B_NOW, C_NOW);
            let part = |ident, offset, has_more| {
                let part = kind(&ends, A);
                part.with(|frame| frame.fragment = Some((ident, offset, has_more)))
            };
            assert_eq!(send(&mut tables, &part(1, 9, false)), Lost, "before");
            assert_eq!(send(&mut tables, &part(1, 0, true)), To(node));
            assert_eq!(send(&mut tables, &part(1, 9, true)), To(node));
            assert_eq!(send(&mut tables, &part(2, 9, false)), Lost, "another's");
            tables.now_ns += FRAGMENTS_NS - 1;
            assert_eq!(send(&mut tables, &part(1, 18, false)), To(node));
            tables.now_ns += 1;
            assert_eq!(send(&mut tables, &part(1, 18, false)), Lost, "too late");
            assert_eq!(tables.way(Steered::LostFragment), 3);
        }
    }
}

#[test]
fn a_packet_in_fragments_that_the_stack_takes_it_takes_whole() {
    let ends = FAMILIES[0];
    for targets in [true, false] {
        let mut tables = spread(ROW, if targets { OWN_NOW } else { B_NOW }, B_NOW);
        if !targets {
            tables.targets.clear();
        }
        for (offset, has_more) in [(0, true), (9, false)] {
            let part = ends.datagram(A);
            let part = part.with(|frame| frame.fragment = Some((1, offset, has_more)));
            assert_eq!(send(&mut tables, &part), Stays);
        }
    }
}

#[test]
fn fragments_of_two_protocols_with_one_number_are_two_packets() {
    let ends = FAMILIES[0];
    let mut tables = spread(ROW, B_NOW, C_NOW);
    let part = |frame: FlowWire, offset, has_more| {
        frame.with(|frame| frame.fragment = Some((1, offset, has_more)))
    };
    assert_eq!(send(&mut tables, &part(ends.segment(A), 0, true)), To(C));
    assert_eq!(send(&mut tables, &part(ends.datagram(A), 9, false)), Lost);
    assert_eq!(send(&mut tables, &part(ends.datagram(A), 0, true)), To(B));
    assert_eq!(send(&mut tables, &part(ends.segment(A), 9, false)), To(C));
    assert_eq!(send(&mut tables, &part(ends.datagram(A), 9, false)), To(B));
}

#[test]
fn spread_packets_have_their_options_skipped() {
    let ends = FAMILIES[0];
    let mut tables = spread(ROW, B_NOW, C_NOW);
    for words in 0..=10_u8 {
        let with = |frame: FlowWire| {
            frame.with(|frame| frame.options = [1].repeat(usize::from(words) * 4))
        };
        let ends = Ends {
            port: words.into(),
            ..ends
        };
        assert_eq!(send(&mut tables, &with(ends.syn(A))), To(B), "{words}");
        assert_eq!(send(&mut tables, &ends.segment(A)), To(B), "{words}");
    }
}

#[test]
fn four_extension_headers_of_forty_bytes_are_walked() {
    let ends = FAMILIES[1];
    for (bytes, expected) in [
        (header(6, 0).repeat(1), To(B)),
        ([header(43, 0), header(60, 0), header(6, 0)].concat(), To(B)),
        (
            [header(60, 0), header(43, 1), header(60, 0), header(6, 0)].concat(),
            To(B),
        ),
        (header(6, 4), To(B)),
        (header(6, 5), Stays),
        ([header(60, 3), header(6, 1)].concat(), Stays),
        ([header(60, 0).repeat(4), header(6, 0)].concat(), Stays),
        (header(51, 0), Stays),
        (
            [
                header(44, 0),
                vec_of([60, 0, 0, 1, 0, 0, 0, 9]),
                header(6, 0),
            ]
            .concat(),
            Stays,
        ),
    ] {
        let mut tables = spread(ROW, B_NOW, B_NOW);
        let frame = ends.syn(A).with(|frame| {
            frame.first_option = Some(0);
            frame.options = bytes.clone();
        });
        assert_eq!(send(&mut tables, &frame), expected, "{bytes:?}");
        let unclear = u64::from(expected == Stays);
        assert_eq!(tables.way(Steered::Unclear), unclear, "{bytes:?}");
    }
}

#[test]
fn a_fragment_header_behind_options_is_understood() {
    let ends = FAMILIES[1];
    let mut tables = spread(ROW, B_NOW, C_NOW);
    for (offset, has_more) in [(0, true), (9, false)] {
        let part = ends.segment(A).with(|frame| {
            frame.first_option = Some(60);
            frame.options = header(44, 0);
            frame.fragment = Some((1, offset, has_more));
        });
        assert_eq!(send(&mut tables, &part), To(C));
    }
}

#[test]
fn a_spread_packet_without_hops_left_is_the_stacks_and_leaves_no_trace() {
    for ends in FAMILIES {
        let mut tables = spread(ROW, B_NOW, C_NOW);
        for hops in [0, 1] {
            for frame in [ends.syn(A), ends.datagram(A)] {
                let frame = frame.with(|frame| frame.hops = hops);
                assert_eq!(send(&mut tables, &frame), Stays);
            }
        }
        assert_eq!(tables.way(Steered::NoHops), 4);
        assert!(tables.streams.is_empty() && tables.datagrams.is_empty());
        assert!(tables.shares.is_empty());
        let frame = ends.syn(A).with(|frame| frame.hops = 2);
        assert_eq!(send(&mut tables, &frame), To(B));
    }
}

#[test]
fn what_a_member_or_this_node_sent_is_never_spread() {
    for ends in FAMILIES {
        let mut tables = spread(ROW, B_NOW, B_NOW);
        for mac in [A, B, C] {
            let ends = ends.from(mac);
            for frame in [ends.syn(A), ends.segment(A), ends.datagram(A)] {
                assert_eq!(send(&mut tables, &frame), Stays);
            }
        }
        assert_eq!(tables.way(Steered::FromMember), 9);
        tables.members.clear();
        assert_eq!(send(&mut tables, &ends.from(A).syn(A)), Stays);
    }
}

#[test]
fn only_a_holder_within_its_deadline_spreads() {
    let ends = FAMILIES[0];
    let vip = key(ends.vip.ip());
    let entry = |mode| Entry::new(mode, 1, SLOT).steered(1);
    let mut cases = Vec::new();
    for (entry, deadline, expected) in [
        (entry(Mode::Answer), NOW + 1, To(B)),
        (entry(Mode::Answer), NOW, Stays),
        (entry(Mode::Answer), 0, Stays),
        (entry(Mode::Answer).until(NOW + 1), 1, To(B)),
        (entry(Mode::Answer).until(NOW), u64::MAX, Stays),
        (entry(Mode::Draining), NOW + 1, To(B)),
        (entry(Mode::Draining), NOW, Stays),
        (entry(Mode::Known), NOW + 1, Stays),
        (entry(Mode::Passive), NOW + 1, Stays),
    ] {
        let mut tables = spread(ROW, B_NOW, B_NOW);
        tables.put_vip(vip, entry);
        tables.node_deadline_ns = deadline;
        cases.push((tables, expected));
    }
    let mut unknown_mode = entry(Mode::Answer);
    bytemuck::bytes_of_mut(&mut unknown_mode)[20] = 9;
    let mut tables = spread(ROW, B_NOW, B_NOW);
    tables.put_vip(vip, unknown_mode);
    cases.push((tables, Stays));
    for (mode, expected) in [(Mode::Answer, Stays), (Mode::Draining, To(B))] {
        let mut tables = spread(ROW, B_NOW, B_NOW);
        tables.put_vip(vip, entry(mode));
        tables.fence(SLOT);
        cases.push((tables, expected));
    }
    for (at, (mut tables, expected)) in cases.into_iter().enumerate() {
        assert_eq!(send(&mut tables, &ends.syn(A)), expected, "{at}");
        let not_held = u64::from(expected == Stays);
        assert_eq!(tables.way(Steered::NotHeld), not_held, "{at}");
    }
}

/// They know each other: whichever of them a router takes, the packet is sent on once.
#[test]
fn of_what_routes_bring_every_node_sends_on_and_nobody_a_second_time() {
    for ends in FAMILIES {
        for mode in [Mode::Passive, Mode::Known, Mode::Answer, Mode::Draining] {
            let mut nodes = [(A, B), (B, A)].map(|(own, other)| {
                let mut tables = spread_at(own);
                let vip = key(ends.vip.ip());
                let row = tables.vips[&vip].row();
                let entry = Entry::new(mode, 0, SLOT).steered(row);
                tables.put_vip(vip, entry.routed(true));
                put_target(&mut tables, B_NOW, other);
                tables
            });
            let sent = |tables: &mut Tables, bytes: &[u8]| {
                let mut frame = VecFrame::new(LINK, bytes);
                let verdict = run_accounted(&mut frame, tables);
                (verdict, frame.bytes)
            };
            let (verdict, bytes) = sent(&mut nodes[0], &ends.syn(A).bytes());
            assert_eq!(verdict, Verdict::Forward, "{mode:?}");
            let (verdict, _) = sent(&mut nodes[1], &bytes);
            assert_eq!(verdict, Verdict::Next, "{mode:?}");
            assert_eq!(nodes[1].way(Steered::FromMember), 1);
        }
    }
}

/// Routers keep its routes, and a link that another answers on has nothing to do with them.
#[test]
fn what_routes_bring_is_spread_without_a_speaker_for_ten_minutes_and_behind_a_fence() {
    for ends in FAMILIES {
        let mut tables = spread(ROW, B_NOW, B_NOW);
        let entry = Entry::new(Mode::Answer, 1, SLOT).steered(1).routed(true);
        tables.put_vip(key(ends.vip.ip()), entry);
        tables.fence(SLOT);
        tables.node_deadline_ns = NOW;
        for frame in [ends.syn(A), ends.segment(A), ends.datagram(A)] {
            tables.now_ns = NOW + ORPHAN_AFTER_NS - 1;
            assert_eq!(send(&mut tables, &frame), To(B));
            tables.now_ns = NOW + ORPHAN_AFTER_NS;
            assert_eq!(send(&mut tables, &frame), Stays);
        }
        tables.node_deadline_ns = 0;
        assert_eq!(send(&mut tables, &ends.syn(A)), To(B), "not armed yet");
    }
}

/// Its stack would reset them, and their clients have not heard of the new holder yet.
#[test]
fn past_its_deadline_a_node_drops_for_ten_seconds_what_is_of_connections_of_others() {
    for ends in FAMILIES {
        let mut tables = spread(ROW, B_NOW, B_NOW);
        tables.node_deadline_ns = NOW;
        for _ in 0..2 {
            assert_eq!(send(&mut tables, &ends.segment(A)), Lost);
            assert_eq!(
                send(&mut tables, &ends.syn(A)),
                Stays,
                "a new one is served"
            );
            assert_eq!(send(&mut tables, &ends.datagram(A)), Stays);
            assert_eq!(
                send(&mut tables, &ends.from(B).segment(A)),
                Stays,
                "sent on"
            );
            tables.now_ns = NOW + SILENCE_NS - 1;
        }
        assert_eq!(tables.way(Steered::Silenced), 2);
        tables.now_ns = NOW + SILENCE_NS;
        assert_eq!(send(&mut tables, &ends.segment(A)), Stays);
        tables.node_deadline_ns = 0;
        tables.now_ns = 1;
        assert_eq!(send(&mut tables, &ends.segment(A)), Stays, "never armed");
        assert!(tables.streams.is_empty() && tables.fragments.is_empty());
    }
}

#[test]
fn past_its_deadline_a_node_keeps_its_own_connections() {
    for ends in FAMILIES {
        let mut tables = spread(ROW, OWN_NOW, OWN_NOW);
        tables.node_deadline_ns = NOW;
        assert_eq!(send(&mut tables, &ends.segment(A)), Stays);
        tables.put_table(TABLE, |_| bucket(B_NOW, OWN_NOW));
        assert_eq!(send(&mut tables, &ends.segment(A)), Stays, "from before");
        tables.node_deadline_ns = u64::MAX;
        tables.put_table(TABLE, |_| bucket(OWN_NOW, B_NOW));
        assert_eq!(send(&mut tables, &ends.segment(A)), To(B), "remembered");
        tables.node_deadline_ns = NOW;
        tables.now_ns = WINDOW_UNTIL.min(NOW + SILENCE_NS - 1);
        assert_eq!(send(&mut tables, &ends.segment(A)), Lost, "remembered");
        tables.targets.clear();
        assert_eq!(send(&mut tables, &ends.segment(A)), Stays, "out of reach");
    }
}

#[test]
fn behind_a_fence_a_node_drops_what_is_of_connections_of_others() {
    let ends = FAMILIES[1];
    let mut tables = spread(ROW, B_NOW, B_NOW);
    tables.node_deadline_ns = NOW + SECOND;
    tables.fence(SLOT);
    assert_eq!(send(&mut tables, &ends.segment(A)), Lost);
    tables.put_vip(
        key(ends.vip.ip()),
        Entry::new(Mode::Known, 1, SLOT).steered(1),
    );
    assert_eq!(send(&mut tables, &ends.segment(A)), Stays, "another's VIP");
}

#[test]
fn a_node_without_an_address_on_the_link_gets_nothing() {
    for ends in FAMILIES {
        let mut tables = spread(ROW, B_NOW, B_NOW);
        let there = TargetKey {
            ifindex: LINK,
            node: B_NOW.into(),
        };
        let elsewhere = TargetKey {
            ifindex: LINK + 1,
            ..there
        };
        let row = tables.targets.remove(&there).unwrap();
        tables.targets.insert(elsewhere, row);
        for frame in [ends.syn(A), ends.datagram(A)] {
            assert_eq!(send(&mut tables, &frame), Stays);
        }
        assert_eq!(tables.way(Steered::NoTarget), 2);
        assert!(tables.streams.is_empty() && tables.datagrams.is_empty());
    }
}

#[test]
fn a_table_that_is_none_spreads_nothing() {
    let ends = FAMILIES[0];
    for table in [TABLES_MAX, u32::MAX] {
        let mut tables = spread(SteerValue::new(table, WINDOW_UNTIL), B_NOW, B_NOW);
        assert_eq!(send(&mut tables, &ends.syn(A)), Stays);
        assert_eq!(tables.way(Steered::NoTarget), 1);
    }
    let mut empty = spread(SteerValue::new(TABLES_MAX - 1, 0), B_NOW, B_NOW);
    assert_eq!(send(&mut empty, &ends.syn(A)), Stays);
    assert_eq!(empty.way(Steered::Own), 1, "zeroes are this node's");
}

#[test]
fn a_target_that_is_this_node_gets_nothing_by_wire() {
    let ends = FAMILIES[0];
    for mac in [A, MacAddr([0; 6])] {
        let mut tables = spread(ROW, B_NOW, B_NOW);
        put_target(&mut tables, B_NOW, mac);
        assert_eq!(send(&mut tables, &ends.syn(A)), Stays);
        assert_eq!(tables.way(Steered::Own), 1);
    }
}

#[test]
fn a_spread_packet_by_a_group_address_or_for_another_station_is_left_alone() {
    let ends = FAMILIES[0];
    let mut tables = spread(ROW, B_NOW, B_NOW);
    for to in [MacAddr::BROADCAST, B] {
        assert_eq!(send(&mut tables, &ends.syn(to)), Stays);
    }
    assert!(tables.steered.is_empty());
}

#[test]
fn a_vip_that_is_spread_and_moves_is_spread_and_without_a_row_it_moves() {
    let ends = FAMILIES[0];
    let vip = key(ends.vip.ip());
    let mut tables = spread(ROW, B_NOW, B_NOW);
    tables.put_move(vip, MoveValue::new(Some(C), None, NOW, NOW + 1));
    assert_eq!(send(&mut tables, &ends.syn(A)), To(B));
    // An entry of before there were rows names none.
    let unnamed = tables.vips[&vip].steered(0).moving(true);
    tables.put_vip(vip, unnamed);
    assert_eq!(send(&mut tables, &ends.syn(A)), To(C));
    assert_eq!(tables.passage(Passage::Forwarded), 1);
    tables.moves.clear();
    assert_eq!(send(&mut tables, &ends.syn(A)), Stays);
}

#[test]
fn what_each_node_gets_is_counted_and_a_full_table_only_counts_for_the_vip() {
    let ends = FAMILIES[0];
    let mut tables = spread(ROW, B_NOW, B_NOW);
    let frame = ends.syn(A);
    assert_eq!(send(&mut tables, &frame), To(B));
    assert_eq!(send(&mut tables, &frame), To(B));
    let share = |node: u16| ShareKey {
        slot: SLOT,
        node: node.into(),
    };
    let expected = Traffic {
        packets: 2,
        bytes: 2 * frame.bytes().len() as u64,
    };
    assert_eq!(tables.shares[&share(B_NOW)], expected);
    for slot in 0..SHARES_MAX {
        let node = 999;
        tables
            .shares
            .entry(ShareKey { slot, node })
            .or_insert(expected);
    }
    tables.shares.retain(|key, _| key.node == 999);
    assert_eq!(send(&mut tables, &frame), To(B));
    assert_eq!(tables.way(Steered::Uncounted), 1);
    assert_eq!(tables.way(Steered::Sent), 3);
}

#[test]
fn each_memory_is_bounded_and_forgets_what_is_oldest() {
    for (memory, most) in [
        (Memory::Streams, STREAMS_MAX),
        (Memory::Datagrams, DATAGRAMS_MAX),
        (Memory::Fragments, FRAGMENTS_MAX),
    ] {
        let mut tables = Tables::default();
        let key = |word| StreamKey {
            client: VIP4.into(),
            vip: key(VIP4),
            word,
            protocol: 6,
        };
        let value = |seen_ns| StreamValue {
            seen_ns,
            node: 1,
            pad: 0,
        };
        for word in 0..most {
            tables.keep_stream(memory, &key(word), &value(word.into()));
        }
        tables.keep_stream(memory, &key(0), &value(u64::MAX));
        assert_eq!(tables.memory(memory).len(), most as usize);
        tables.keep_stream(memory, &key(most), &value(u64::MAX));
        assert_eq!(tables.memory(memory).len(), most as usize);
        assert_eq!(tables.stream(memory, &key(1)), None, "the oldest");
        assert!(tables.stream(memory, &key(0)).is_some());
    }
}

#[test]
fn between_two_holders_that_do_not_know_each_other_a_packet_dies_with_its_hops() {
    for ends in FAMILIES {
        let mut nodes = [(A, B), (B, A)].map(|(own, other)| {
            let mut tables = spread_at(own);
            tables.members.clear();
            put_target(&mut tables, B_NOW, other);
            tables
        });
        let mut bytes = ends.syn(A).with(|frame| frame.hops = 64).bytes();
        let mut hops = 0;
        loop {
            let mut frame = VecFrame::new(LINK, &bytes);
            if run(&mut frame, &mut nodes[hops % 2]) != Verdict::Forward {
                break;
            }
            check_forward(&bytes, &frame.bytes).unwrap();
            bytes = frame.bytes;
            hops += 1;
        }
        assert_eq!(hops, 63);
        assert_eq!(nodes[1].way(Steered::NoHops), 1);
    }
}

proptest! {
    #[test]
    fn any_packets_over_any_tables_are_spread_as_the_account_says(
        world in any_world(),
        packets in prop::collection::vec(any_packet(), 1..24),
    ) {
        let mut tables = world;
        for packet in packets {
            tables.now_ns += packet.pause;
            if let Some(step) = packet.change {
                let change = |node| (node + step) % 5;
                tables.put_table(TABLE, |slot| bucket(change(slot as u16), slot as u16 % 5));
                let key = TargetKey {
                    ifindex: LINK,
                    node: step.into(),
                };
                if tables.targets.remove(&key).is_none() {
                    put_target(&mut tables, step, MacAddr([2, 0, 0, 0, 1, step as u8]));
                }
            }
            follow(&mut tables, &packet.bytes());
        }
    }
}

/// What a packet was made from.
#[derive(Clone, Debug)]
struct Chance {
    /// The table changes before it comes, each slot's node by so much, and the node of that number comes or goes.
    change: Option<u16>,
    pause: u64,
    kind: u8,
    is_v6: bool,
    port: u16,
    fragment: Option<(u16, u16, bool)>,
    hops: u8,
    options: Vec<u8>,
    is_error: bool,
    from: u8,
    protocol: Option<u8>,
    cut: Option<usize>,
    changes: Vec<(usize, u8)>,
}

impl Chance {
    fn bytes(&self) -> Vec<u8> {
        let mut ends = FAMILIES[usize::from(self.is_v6)];
        ends.port = self.port;
        ends = match self.from {
            0 => ends.from(B),
            1 => ends.from(A),
            _ => ends,
        };
        let wire = match self.kind % 3 {
            0 => ends.syn(A),
            1 => ends.segment(A),
            _ => ends.datagram(A),
        };
        let wire = wire.with(|frame| {
            frame.fragment = self.fragment;
            frame.protocol = self.protocol.unwrap_or(frame.protocol);
            if self.is_v6 {
                frame.first_option = self.options.first().map(|_| 60);
                let next = if self.fragment.is_some() {
                    44
                } else {
                    frame.protocol
                };
                let count = self.options.len();
                let headers =
                    self.options.iter().enumerate().map(|(at, words)| {
                        header(if at + 1 < count { 43 } else { next }, words % 4)
                    });
                frame.options = headers.collect::<Vec<_>>().concat();
            } else {
                frame.options = [1].repeat(self.options.len() * 4);
            }
        });
        let wire = if self.is_error {
            wire.error((CLIENT.0, ends.router))
        } else {
            wire
        };
        let mut bytes = wire.with(|frame| frame.hops = self.hops).bytes();
        for (at, value) in &self.changes {
            if let Some(byte) = bytes.get_mut(12 + at) {
                *byte = *value;
            }
        }
        bytes.truncate(self.cut.unwrap_or(usize::MAX));
        bytes
    }
}

fn any_packet() -> impl Strategy<Value = Chance> {
    let often = |rare: std::ops::RangeInclusive<u8>| prop_oneof![3 => Just(64), 1 => rare];
    let changes = prop::collection::vec((0..120_usize, any::<u8>()), 1..4);
    (
        (
            prop_oneof![Just(0), Just(SECOND / 2), Just(FRAGMENTS_NS)],
            any::<u8>(),
            any::<bool>(),
            0..2_u16,
            prop::option::weighted(0.3, (0..2_u16, 0..3_u16, any::<bool>())),
            often(0..=2),
        ),
        (
            prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(any::<u8>(), 1..6)],
            prop::bool::weighted(0.2),
            0..12_u8,
            prop::option::weighted(0.2, prop_oneof![Just(1), Just(58), Just(132), any::<u8>()]),
            prop::option::weighted(0.05, 15..160_usize),
            prop::option::weighted(0.1, 0..5_u16),
            prop_oneof![9 => Just(Vec::new()), 1 => changes],
        ),
    )
        .prop_map(
            |(
                (pause, kind, is_v6, port, fragment, hops),
                (options, is_error, from, protocol, cut, change, changes),
            )| Chance {
                change,
                pause,
                kind,
                is_v6,
                port,
                fragment,
                hops,
                options,
                is_error,
                from,
                protocol,
                cut,
                changes,
            },
        )
}

/// A table of five nodes, of which some have an address, in any state.
fn any_world() -> impl Strategy<Value = Tables> {
    let nodes = (1..5_u16, 0..5_u16, any::<u8>());
    let flags = (any::<bool>(), any::<bool>());
    let state = (0..11_u8, any::<bool>(), 0..20_u8);
    (nodes, flags, state).prop_map(|((step, other, targets), (by_client, is_one), state)| {
        let (mode, is_moving, lapse) = state;
        let until = NOW + SECOND;
        let table = if mode == 7 { TABLES_MAX } else { TABLE };
        let row = SteerValue::new(table, until).by_client(by_client);
        let mut tables = spread(row, 0, 0);
        tables.put_table(TABLE, |slot| {
            let current = (slot / u32::from(step) % 5) as u16;
            let previous = if is_one {
                current
            } else {
                (current + other) % 5
            };
            if slot % 7 == 0 {
                return Bucket::returned(current);
            }
            bucket(current, previous)
        });
        tables.targets.clear();
        for node in 1..5 {
            if targets >> node & 1 == 0 {
                put_target(&mut tables, node, MacAddr([2, 0, 0, 0, 1, node as u8]));
            }
        }
        for vip in [VIP4, VIP6] {
            let is_routed = mode > 7;
            let mode = match mode {
                0 | 8 => Mode::Known,
                1 => Mode::Draining,
                9 => Mode::Passive,
                _ => Mode::Answer,
            };
            let row = tables.vips[&key(vip)].row();
            let entry = Entry::new(mode, 1, SLOT).steered(row).moving(is_moving);
            tables.put_vip(key(vip), entry.routed(is_routed));
        }
        if mode == 2 {
            tables.fence(SLOT);
        }
        match lapse {
            0 => tables.node_deadline_ns = NOW + 2 * SECOND,
            1 => tables.node_deadline_ns = NOW + SECOND - SILENCE_NS,
            2 => tables.node_deadline_ns = NOW + SECOND - ORPHAN_AFTER_NS,
            3 => tables.node_deadline_ns = 0,
            _ => {}
        }
        tables
    })
}

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Went {
    To(MacAddr),
    Stays,
    Lost,
}
use Went::{Lost, Stays, To};

fn send(tables: &mut Tables, wire: &FlowWire) -> Went {
    follow(tables, &wire.bytes())
}

/// Runs a frame, and holds it to the account of it.
fn follow(tables: &mut Tables, bytes: &[u8]) -> Went {
    let mut frame = VecFrame::new(LINK, bytes).scattered();
    match run_accounted(&mut frame, tables) {
        Verdict::Forward => To(frame.load(0).unwrap()),
        Verdict::Next | Verdict::Mark => Stays,
        Verdict::Drop => Lost,
        Verdict::Reply | Verdict::Depart(_) => panic!("an answer, or to another segment"),
    }
}

/// This node is A; both VIPs are spread by `row`, all slots alike.
fn spread(row: SteerValue, current: u16, previous: u16) -> Tables {
    let mut tables = node(A);
    tables.node_deadline_ns = u64::MAX;
    for vip in [VIP4, VIP6] {
        tables.put_vip(key(vip), Entry::new(Mode::Answer, 1, SLOT));
        tables.put_steering(key(vip), row);
    }
    tables.put_table(TABLE, |_| bucket(current, previous));
    put_target(&mut tables, B_NOW, B);
    put_target(&mut tables, C_NOW, C);
    tables
}

/// As [`spread`], all slots B's, on a node with this hardware address.
fn spread_at(own: MacAddr) -> Tables {
    let mut tables = spread(ROW, B_NOW, B_NOW);
    tables.links.insert(LINK, LinkValue::new(own));
    for vip in [VIP4, VIP6] {
        tables.put_steering(key(vip), ROW);
    }
    tables
}

fn put_target(tables: &mut Tables, node: u16, mac: MacAddr) {
    let key = TargetKey {
        ifindex: LINK,
        node: node.into(),
    };
    tables.targets.insert(key, TargetValue { mac, pad: [0; 2] });
}

const fn bucket(current: u16, previous: u16) -> Bucket {
    Bucket { current, previous }
}

/// An extension header of eight bytes and `more` times as many.
fn header(next: u8, more: u8) -> Vec<u8> {
    let mut bytes = vec_of([next, more, 1, 4, 0, 0, 0, 0]);
    bytes.resize(8 + 8 * usize::from(more), 0);
    bytes
}

fn vec_of(bytes: [u8; 8]) -> Vec<u8> {
    bytes.to_vec()
}

type Make = fn(&Ends, MacAddr) -> FlowWire;

const MEMORIES: [Memory; 3] = [Memory::Streams, Memory::Datagrams, Memory::Fragments];
const CLIENT: MacAddr = super::moves_tests::CLIENT;
const SECOND: u64 = 1_000_000_000;
const WINDOW_UNTIL: u64 = NOW + 30 * SECOND;
const TABLE: u32 = 3;
const ROW: SteerValue = SteerValue::new(TABLE, WINDOW_UNTIL);
/// The slot of both entries.
const SLOT: u32 = 5;
const OWN_NOW: u16 = 0;
const B_NOW: u16 = 1;
const C_NOW: u16 = 2;
