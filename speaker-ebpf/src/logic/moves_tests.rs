//! L6.2: where packets go while a VIP moves, for single packets and for any two nodes.

use super::{Maps, Verdict};
use crate::abi::{
    Addr, Entry, FLOWS_MAX, FlowKey, FlowKind, FlowValue, LinkValue, MacAddr, MacKey, MemberValue,
    Mode, MoveValue, Passage, VipKey,
};
use crate::model::flow::FlowWire;
use crate::model::{Tables, VecFrame, check_forward, run};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use proptest::prelude::*;
use std::vec::Vec;

#[test]
fn l6_2_at_the_giver_new_connections_go_to_the_taker_and_old_ones_stay() {
    for ends in FAMILIES {
        let mut giver = giver(A);
        assert_eq!(send(&mut giver, &ends.syn(A)), Some(B.0));
        assert_eq!(send(&mut giver, &ends.segment(A)), Some(B.0), "remembered");
        assert_eq!(send(&mut giver, &ends.other().segment(A)), None, "old");
        assert_eq!(send(&mut giver, &ends.datagram(A)), Some(B.0));
        assert_eq!(giver.passage(Passage::Forwarded), 3);
        assert_eq!(giver.passage(Passage::Kept), 1);
        let kept: u64 = giver.traffic.values().map(|traffic| traffic.packets).sum();
        assert_eq!(
            kept, 1,
            "what is sent on is no traffic of this node's stack"
        );
    }
}

#[test]
fn l6_2_at_the_taker_new_connections_stay_and_old_ones_go_back() {
    for ends in FAMILIES {
        let mut taker = taker(B);
        assert_eq!(send(&mut taker, &ends.syn(B)), None);
        assert_eq!(send(&mut taker, &ends.segment(B)), None, "remembered");
        assert_eq!(send(&mut taker, &ends.other().segment(B)), Some(A.0), "old");
        assert_eq!(send(&mut taker, &ends.datagram(B)), None);
        assert_eq!(taker.passage(Passage::Returned), 1);
        assert_eq!(taker.passage(Passage::Kept), 3);
    }
}

#[test]
fn l6_2_what_the_giver_sent_here_is_known_when_the_client_sends_here_itself() {
    for ends in FAMILIES {
        let mut taker = taker(B);
        assert_eq!(send(&mut taker, &ends.from(A).syn(B)), None);
        assert_eq!(send(&mut taker, &ends.segment(B)), None);
        // The first of it was lost, or was taken in before the move was known here.
        assert_eq!(send(&mut taker, &ends.other().from(A).segment(B)), None);
        assert_eq!(send(&mut taker, &ends.other().segment(B)), None);
    }
}

#[test]
fn l6_2_a_members_packet_is_never_sent_on() {
    for ends in FAMILIES {
        let members = ends.from(C);
        let (mut giver, mut taker) = (giver(A), taker(B));
        for frame in [members.syn(A), members.segment(A), members.datagram(A)] {
            assert_eq!(send(&mut giver, &frame), None);
        }
        for frame in [members.segment(B), members.datagram(B)] {
            assert_eq!(send(&mut taker, &frame), None);
        }
        // The peer is one, also where the table of members is full.
        giver.members.clear();
        assert_eq!(send(&mut giver, &ends.from(B).syn(A)), None);
        assert_eq!(giver.passage(Passage::FromMember), 4);
    }
}

#[test]
fn l6_2_a_move_ends_with_its_window_and_with_the_deadline() {
    let ends = FAMILIES[0];
    for (until, deadline) in [(NOW, NOW + 1), (NOW + 1, NOW), (NOW + 1, 0)] {
        let mut giver = giver(A);
        giver.put_move(
            key(ends.vip.ip()),
            MoveValue::new(Some(B), None, NOW, until),
        );
        giver.node_deadline_ns = deadline;
        assert_eq!(send(&mut giver, &ends.syn(A)), None);
        assert_eq!(giver.passage(Passage::TooLate), 1);
    }
}

#[test]
fn l6_2_a_packet_without_hops_left_is_the_stacks() {
    for ends in FAMILIES {
        let mut giver = giver(A);
        for hops in [0, 1] {
            let frame = ends.syn(A).with(|frame| frame.hops = hops);
            assert_eq!(send(&mut giver, &frame), None);
        }
        assert_eq!(giver.passage(Passage::NoHops), 2);
        let frame = ends.syn(A).with(|frame| frame.hops = 2);
        assert_eq!(send(&mut giver, &frame), Some(B.0));
    }
}

#[test]
fn what_was_remembered_in_an_earlier_move_is_forgotten() {
    let ends = FAMILIES[0];
    let mut giver = giver(A);
    assert_eq!(send(&mut giver, &ends.syn(A)), Some(B.0));
    giver.now_ns += 10;
    giver.node_deadline_ns += 10;
    let later = MoveValue::new(Some(B), None, giver.now_ns, giver.now_ns + 1);
    giver.put_move(key(ends.vip.ip()), later);
    assert_eq!(send(&mut giver, &ends.segment(A)), None);
}

#[test]
fn after_a_move_back_each_node_keeps_what_it_had() {
    for ends in FAMILIES {
        let (mut a, mut b) = (giver(A), taker(B));
        assert_eq!(send(&mut a, &ends.syn(A)), Some(B.0));
        assert_eq!(send(&mut b, &ends.from(A).syn(B)), None);
        let vip = key(ends.vip.ip());
        a.put_move(vip, MoveValue::new(None, None, NOW, NOW + 1));
        b.put_move(vip, MoveValue::new(Some(A), Some(A), NOW, NOW + 1));
        assert_eq!(send(&mut a, &ends.segment(A)), Some(B.0), "B's, through A");
        assert_eq!(send(&mut b, &ends.segment(B)), None, "B's");
        assert_eq!(send(&mut a, &ends.other().segment(A)), None, "A's");
        assert_eq!(
            send(&mut b, &ends.other().segment(B)),
            Some(A.0),
            "A's, through B"
        );
        let new = Ends { port: 7, ..ends };
        assert_eq!(send(&mut b, &new.syn(B)), Some(A.0), "new");
    }
}

#[test]
fn a_connection_follows_its_node_and_not_the_newest_holder() {
    let ends = FAMILIES[0];
    let mut a = giver(A);
    assert_eq!(send(&mut a, &ends.syn(A)), Some(B.0));
    let c = C;
    a.put_move(
        key(ends.vip.ip()),
        MoveValue::new(Some(c), None, NOW, NOW + 1),
    );
    assert_eq!(send(&mut a, &ends.segment(A)), Some(B.0));
    assert_eq!(send(&mut a, &ends.other().syn(A)), Some(c.0));
    a.members.remove(&MacKey::new(B));
    assert_eq!(
        send(&mut a, &ends.segment(A)),
        None,
        "B is no member any more"
    );
}

#[test]
fn an_error_about_a_connection_goes_where_the_connection_is() {
    for ends in FAMILIES {
        let (mut giver, mut taker) = (giver(A), taker(B));
        assert_eq!(send(&mut giver, &ends.syn(A)), Some(B.0));
        assert_eq!(send(&mut taker, &ends.syn(B)), None);
        let router = (CLIENT.0, ends.router);
        assert_eq!(send(&mut giver, &ends.segment(A).error(router)), Some(B.0));
        assert_eq!(send(&mut taker, &ends.segment(B).error(router)), None);
        let old = ends.other();
        assert_eq!(send(&mut giver, &old.segment(A).error(router)), None);
        assert_eq!(send(&mut taker, &old.segment(B).error(router)), Some(A.0));
        let datagram = ends.datagram(A).error(router);
        assert_eq!(send(&mut giver, &datagram), Some(B.0));
    }
}

#[test]
fn an_error_about_what_the_vip_never_sent_is_the_stacks() {
    for ends in FAMILIES {
        let mut giver = giver(A);
        let strange = Ends {
            vip: ends.client,
            ..ends
        };
        let error = strange.segment(A).error((CLIENT.0, ends.router));
        let error = error.with(|frame| frame.dst = ends.vip);
        assert_eq!(send(&mut giver, &error), None);
        assert_eq!(giver.passage(Passage::Unclear), 1);
    }
}

#[test]
fn an_echo_request_is_new() {
    for ends in FAMILIES {
        let mut giver = giver(A);
        let (protocol, kind) = if ends.vip.is_ipv4() {
            (1, 8)
        } else {
            (58, 128)
        };
        let echo = ends.syn(A).with(|frame| {
            frame.protocol = protocol;
            frame.payload = Some([&[kind][..], &[0; 15]].concat());
        });
        assert_eq!(send(&mut giver, &echo), Some(B.0));
    }
}

#[test]
fn fragments_of_a_segment_go_where_its_first_one_went() {
    for ends in FAMILIES {
        let (mut giver, mut taker) = (giver(A), taker(B));
        assert_eq!(send(&mut giver, &ends.syn(A)), Some(B.0));
        let part = |to, ends: Ends, offset, has_more| {
            let part = ends.segment(to);
            part.with(|frame| frame.fragment = Some((0x1234, offset, has_more)))
        };
        assert_eq!(
            send(&mut giver, &part(A, ends, 3, false)),
            None,
            "before its first"
        );
        assert_eq!(send(&mut giver, &part(A, ends, 0, true)), Some(B.0));
        assert_eq!(send(&mut giver, &part(A, ends, 3, false)), Some(B.0));
        let old = ends.other();
        assert_eq!(send(&mut taker, &part(B, old, 0, true)), Some(A.0));
        assert_eq!(send(&mut taker, &part(B, old, 3, true)), Some(A.0));
        assert_eq!(send(&mut taker, &part(B, old, 6, false)), Some(A.0));
    }
}

#[test]
fn fragments_of_a_datagram_go_to_the_taker_all_of_them() {
    for ends in FAMILIES {
        let mut giver = giver(A);
        for (offset, has_more) in [(1, false), (0, true)] {
            let part = ends.datagram(A);
            let part = part.with(|frame| frame.fragment = Some((9, offset, has_more)));
            assert_eq!(send(&mut giver, &part), Some(B.0));
        }
        assert!(giver.flows.is_empty());
    }
}

#[test]
fn ipv4_options_are_skipped() {
    let ends = FAMILIES[0];
    let mut taker = taker(B);
    for words in 0..=10 {
        let ends = Ends {
            port: words,
            ..ends
        };
        let with = |frame: FlowWire| {
            frame.with(|frame| frame.options = [1].repeat(usize::from(words) * 4))
        };
        assert_eq!(
            send(&mut taker, &with(ends.segment(B))),
            Some(A.0),
            "{words}"
        );
        assert_eq!(send(&mut taker, &with(ends.syn(B))), None, "{words}");
        assert_eq!(send(&mut taker, &with(ends.segment(B))), None, "{words}");
    }
}

#[test]
fn extension_headers_are_walked_and_what_cannot_be_walked_is_the_stacks() {
    let ends = FAMILIES[1];
    let mut giver = giver(A);
    let behind = |header| {
        ends.syn(A).with(|frame| {
            frame.first_option = Some(header);
            frame.options = [&[6, 0][..], &[0; 6]].concat();
        })
    };
    for header in [0, 43, 60] {
        assert_eq!(send(&mut giver, &behind(header)), Some(B.0), "{header}");
    }
    for header in [51, 135, 139, 140] {
        assert_eq!(send(&mut giver, &behind(header)), None, "{header}");
    }
    assert_eq!(giver.passage(Passage::Unclear), 4);
}

#[test]
fn a_group_address_or_another_stations_frame_is_left_alone() {
    let ends = FAMILIES[0];
    let mut giver = giver(A);
    for to in [MacAddr::BROADCAST, B] {
        assert_eq!(send(&mut giver, &ends.syn(to)), None);
    }
    assert!(giver.passages.is_empty());
}

#[test]
fn a_vip_that_moves_without_a_row_is_the_stacks() {
    let ends = FAMILIES[0];
    let mut giver = giver(A);
    giver.moves.clear();
    assert_eq!(send(&mut giver, &ends.syn(A)), None);
    giver.put_move(
        key(ends.vip.ip()),
        MoveValue::new(Some(B), None, NOW, NOW + 1),
    );
    giver.links.clear();
    assert_eq!(send(&mut giver, &ends.syn(A)), None);
}

#[test]
fn a_full_memory_forgets_what_is_oldest() {
    let mut tables = giver(A);
    let key = |word| FlowKey::new(FlowKind::Connection, VIP4.into(), key(VIP4), word);
    for word in 0..=FLOWS_MAX {
        let value = FlowValue {
            at_ns: u64::from(word),
            mac: B,
            pad: [0; 2],
        };
        if word == FLOWS_MAX {
            tables.keep_flow(&key(0), &value);
        }
        tables.keep_flow(&key(word), &value);
    }
    assert_eq!(tables.flows.len(), FLOWS_MAX as usize);
    assert_eq!(tables.flow(&key(1)), None);
    assert!(tables.flow(&key(0)).is_some());
}

proptest! {
    #[test]
    fn l6_2_no_two_nodes_send_a_packet_in_circles(
        which in 0..2_usize,
        kind in 0..4_u8,
        hops in 0..=255_u8,
        rows in [any::<u8>(), any::<u8>()],
        memories in [any::<u8>(), any::<u8>()],
        first in 0..2_usize,
        is_known in any::<bool>(),
    ) {
        let ends = FAMILIES[which];
        let mut nodes = [node(A), node(B)];
        for at in 0..2 {
            let other = [B, A][at];
            let someone = |bits: u8| match bits & 3 { 0 => None, 1 | 2 => Some(other), _ => Some(C) };
            let row = MoveValue::new(someone(rows[at]), someone(rows[at] >> 2), NOW, NOW + 1);
            nodes[at].put_move(key(ends.vip.ip()), row);
            if memories[at] & 4 == 0 {
                let mac = someone(memories[at]).unwrap_or(MacAddr([0; 6]));
                let ports = ports(&ends);
                let flow = FlowKey::new(FlowKind::Connection, ends.client.ip().into(), key(ends.vip.ip()), ports);
                nodes[at].flows.insert(flow, FlowValue { at_ns: NOW, mac, pad: [0; 2] });
            }
            if !is_known {
                // Profiles travel slowly: each knows of the other only what its row says.
                nodes[at].members.clear();
            }
        }
        let start = [A, B][first];
        let wire = match kind {
            0 => ends.syn(start),
            1 => ends.segment(start),
            2 => ends.datagram(start),
            _ => ends.segment(start).error((CLIENT.0, ends.router)),
        };
        let mut bytes = wire.with(|frame| frame.hops = hops).bytes();
        let mut at = first;
        for hop in 0.. {
            let mut frame = VecFrame::new(LINK, &bytes);
            if run(&mut frame, &mut nodes[at]) != Verdict::Forward {
                prop_assert_eq!(&frame.bytes, &bytes);
                break;
            }
            prop_assert!(hop < 2, "a third hop");
            let sent = check_forward(&bytes, &frame.bytes).unwrap();
            prop_assert_eq!(sent.from, [A, B][at].0);
            bytes = frame.bytes;
            match [A, B].iter().position(|mac| mac.0 == sent.to) {
                Some(next) => at = next,
                None => break,
            }
        }
    }

    #[test]
    fn the_checksum_is_right_after_each_hop(
        src in any::<u32>(), hops in 2..=255_u8, ident in any::<u16>(),
    ) {
        let ends = FAMILIES[0];
        let mut giver = giver(A);
        let wire = ends.syn(A).with(|frame| {
            frame.src = SocketAddr::new(Ipv4Addr::from(src).into(), 1);
            frame.hops = hops;
            frame.fragment = Some((ident, 0, false));
        });
        prop_assert_eq!(send(&mut giver, &wire), Some(B.0));
    }
}

/// Runs a frame through a node; to whom it was sent on, if it was.
fn send(tables: &mut Tables, wire: &FlowWire) -> Option<[u8; 6]> {
    let before = wire.bytes();
    let mut frame = VecFrame::new(LINK, &before).scattered();
    match run(&mut frame, tables) {
        Verdict::Forward => {
            let hop = check_forward(&before, &frame.bytes).unwrap();
            assert_eq!(hop.from, wire.to);
            Some(hop.to)
        }
        Verdict::Next => {
            assert_eq!(frame.bytes, before, "changed but not sent on");
            None
        }
        other => panic!("{other:?}"),
    }
}

fn giver(own: MacAddr) -> Tables {
    moving(own, MoveValue::new(Some(B), None, NOW, NOW + 1))
}

fn taker(own: MacAddr) -> Tables {
    moving(own, MoveValue::new(None, Some(A), NOW, NOW + 1))
}

fn moving(own: MacAddr, row: MoveValue) -> Tables {
    let mut tables = node(own);
    for vip in [VIP4, VIP6] {
        tables.put_move(key(vip), row);
    }
    tables
}

pub(super) fn node(own: MacAddr) -> Tables {
    let mut tables = Tables {
        now_ns: NOW,
        node_deadline_ns: NOW + 1,
        ..Tables::default()
    };
    tables.links.insert(LINK, LinkValue::new(own));
    for mac in [A, B, C] {
        let armed = MemberValue {
            disarmed_until_ns: 0,
        };
        tables.members.insert(MacKey::new(mac), armed);
    }
    for vip in [VIP4, VIP6] {
        tables.put_vip(key(vip), Entry::new(Mode::Draining, 1, 5));
    }
    tables
}

pub(super) fn key(vip: IpAddr) -> VipKey {
    VipKey::new(Addr::from(vip), LINK)
}

pub(super) fn ports(ends: &Ends) -> u32 {
    let bytes: Vec<u8> = [ends.port, ends.vip.port()].map(u16::to_be_bytes).concat();
    u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The ends of a connection.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) mac: MacAddr,
    pub(super) client: SocketAddr,
    pub(super) port: u16,
    pub(super) vip: SocketAddr,
    pub(super) router: IpAddr,
}

impl Ends {
    const fn of(client: IpAddr, vip: IpAddr, router: IpAddr) -> Self {
        Self {
            mac: CLIENT,
            client: SocketAddr::new(client, 0),
            port: 40_000,
            vip: SocketAddr::new(vip, 80),
            router,
        }
    }

    /// Another connection of the same client.
    pub(super) fn other(self) -> Self {
        Self {
            port: self.port + 1,
            ..self
        }
    }

    /// The same, in frames of this station.
    pub(super) fn from(self, mac: MacAddr) -> Self {
        Self { mac, ..self }
    }

    fn client(&self) -> ([u8; 6], SocketAddr) {
        (self.mac.0, SocketAddr::new(self.client.ip(), self.port))
    }

    pub(super) fn syn(&self, to: MacAddr) -> FlowWire {
        FlowWire::syn(to.0, self.client(), self.vip)
    }

    pub(super) fn segment(&self, to: MacAddr) -> FlowWire {
        FlowWire::segment(to.0, self.client(), self.vip)
    }

    pub(super) fn datagram(&self, to: MacAddr) -> FlowWire {
        FlowWire::datagram(to.0, self.client(), self.vip)
    }
}

pub(super) const LINK: u32 = 3;
pub(super) const NOW: u64 = 1_000_000_000_000;
pub(super) const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
pub(super) const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x22]);
pub(super) const C: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x33]);
pub(super) const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xcc]);
pub(super) const VIP4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
pub(super) const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10));
pub(super) const FAMILIES: [Ends; 2] = [
    Ends::of(
        IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)),
        VIP4,
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
    ),
    Ends::of(
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 7)),
        VIP6,
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xfffe, 0, 0, 0, 0, 1)),
    ),
];
