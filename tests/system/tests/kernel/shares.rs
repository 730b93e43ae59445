//! A VIP that is spread over three nodes of a segment, all with the VIP in their stack, by the one that its client sends to.
//!
//! Each stack resets a connection that it does not have, so a byte that goes astray is a failure.

use crate::answers::Hook;
use crate::moves::{
    A, B, LINK, MACS, NAMES, PORT, SECOND, Segment, Stream, VIP4, VIP6, ask_by_datagram, tables,
};
use crate::program::{boot_ns, clear};
use crate::spread::way;
use speaker_ebpf::abi::steer::OWN_NODE;
use speaker_ebpf::abi::{
    Addr, Bucket, MacAddr, Mode, SteerValue, Steered, TargetKey, TargetValue, VipKey, hash,
};
use speaker_ebpf::model::Tables;
use std::net::{SocketAddr, UdpSocket};

#[test]
fn a_vip_is_spread_over_three_nodes_at_tc() {
    is_spread(Hook::Tcx, VIP4);
}

#[test]
fn a_vip_is_spread_over_three_nodes_at_tc_ipv6() {
    is_spread(Hook::Tcx, VIP6);
}

#[test]
fn a_vip_is_spread_over_three_nodes_at_xdp() {
    is_spread(Hook::GenericXdp, VIP4);
}

#[test]
fn a_vip_is_spread_over_three_nodes_at_xdp_ipv6() {
    is_spread(Hook::GenericXdp, VIP6);
}

#[test]
fn a_packet_between_two_holders_that_do_not_know_each_other_dies_with_its_hops() {
    for (hook, vip) in [(Hook::Tcx, VIP4), (Hook::GenericXdp, VIP6)] {
        let mut segment = Segment::new(hook, vip, 2);
        segment.point(A);
        let row = SteerValue::new(0, boot_ns());
        for (own, other) in [(A, B), (B, A)] {
            let mut tables = spread_at(own, &segment, row, |_| [other, other]);
            tables.members.clear();
            let program = &mut segment.nodes[own].program;
            clear(program, &tables, &[1]);
            program.write(&tables, 0);
        }
        // A sends it on first and B last but one, so that B's stack gets what has one hop left.
        assert_eq!(ask_by_datagram(&segment.datagrams()), Some(NAMES[B]));
        let mut sum = |steered| -> u64 {
            let nodes = segment.nodes.iter_mut();
            nodes.map(|node| way(&mut node.program, steered)).sum()
        };
        assert_eq!(sum(Steered::Sent), HOPS - 1, "{hook:?}");
        assert_eq!(sum(Steered::NoHops), 1, "{hook:?}");
    }
}

/// Connections and flows of datagrams while the VIP begins to be spread, while every slot changes its node, and after the window.
fn is_spread(hook: Hook, vip: &str) {
    let mut segment = Segment::new(hook, vip, 3);
    segment.point(A);
    let mut flows = Flows::default();
    flows.open(&segment, |_| A);
    flows.answer("before");

    let first = |slot: u32| slot as usize % 3;
    let until = boot_ns() + 60 * SECOND;
    let row = SteerValue::new(0, until);
    spread(&mut segment, row, |slot| [first(slot), A]);
    flows.datagrams.clear();
    flows.open(&segment, first);
    flows.answer("the VIP was this node's stack's");

    let second = |slot: u32| (slot as usize + 1) % 3;
    let row = SteerValue::new(1, until);
    spread(&mut segment, row, |slot| [second(slot), first(slot)]);
    flows.open(&segment, second);
    flows.answer("every slot is another node's");

    let row = SteerValue::new(1, boot_ns());
    spread(&mut segment, row, |slot| [second(slot), first(slot)]);
    flows.open(&segment, second);
    flows.answer("the window is over");
    // Bytes that fill packets, in whatever pieces the stacks put them together.
    for (stream, node) in &mut flows.streams {
        stream.ask_much(NAMES[*node]);
    }
    let nodes: std::collections::BTreeSet<_> = flows.streams.iter().map(|(_, node)| node).collect();
    assert_eq!(nodes.len(), 3, "some node got nothing");
    let program = &mut segment.nodes[A].program;
    for steered in [Steered::Sent, Steered::Own] {
        assert!(way(program, steered) > 0, "{steered:?}");
    }
}

/// What is open, and the node that has it.
#[derive(Default)]
struct Flows {
    streams: Vec<(Stream, usize)>,
    datagrams: Vec<(UdpSocket, usize)>,
}

impl Flows {
    /// Opens some more; `node` says whose a slot is.
    fn open(&mut self, segment: &Segment, node: impl Fn(u32) -> usize) {
        let of = |client: SocketAddr, protocol| {
            let [a, b] = [client.port(), PORT].map(u16::to_be_bytes);
            let ports = u32::from_ne_bytes([a[0], a[1], b[0], b[1]]);
            let (client, vip) = (Addr::from(client.ip()), Addr::from(segment.vip));
            node(hash::slot(client, vip, ports, protocol))
        };
        for _ in 0..STREAMS {
            let stream = segment.connect();
            let node = of(stream.0.local_addr().unwrap(), 6);
            self.streams.push((stream, node));
            let socket = segment.datagrams();
            let node = of(socket.local_addr().unwrap(), 17);
            self.datagrams.push((socket, node));
        }
    }

    fn answer(&mut self, when: &str) {
        for (at, (stream, node)) in self.streams.iter_mut().enumerate() {
            assert_eq!(stream.ask(), Some(NAMES[*node]), "{when}: stream {at}");
        }
        for (at, (socket, node)) in self.datagrams.iter().enumerate() {
            let answer = ask_by_datagram(socket);
            assert_eq!(answer, Some(NAMES[*node]), "{when}: datagrams {at}");
        }
    }
}

/// Spreads the VIP at A; `nodes` are the current and the previous one of a slot.
fn spread(segment: &mut Segment, row: SteerValue, nodes: impl Fn(u32) -> [usize; 2]) {
    let tables = spread_at(A, segment, row, nodes);
    segment.nodes[A].program.write(&tables, 0);
}

/// The tables by which a node spreads the VIP, to itself by the number 0.
fn spread_at(
    own: usize,
    segment: &Segment,
    row: SteerValue,
    nodes: impl Fn(u32) -> [usize; 2],
) -> Tables {
    let number = |node: usize| match node {
        node if node == own => OWN_NODE,
        A => own as u16,
        other => other as u16,
    };
    let mut tables = tables(own, segment.vip, Mode::Answer);
    tables.put_steering(VipKey::new(Addr::from(segment.vip), LINK), row);
    tables.put_table(row.table(), |slot| {
        let [current, previous] = nodes(slot).map(number);
        Bucket { current, previous }
    });
    let others = MACS.into_iter().enumerate();
    for (node, mac) in others.filter(|(node, _)| *node != own) {
        let key = TargetKey {
            ifindex: LINK,
            node: number(node).into(),
        };
        let (mac, pad) = (MacAddr(mac), [0; 2]);
        tables.targets.insert(key, TargetValue { mac, pad });
    }
    tables
}

const STREAMS: usize = 60;
/// That a client gives its packets.
const HOPS: u64 = 64;
