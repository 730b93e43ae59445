//! Packets for a VIP that is spread: to which node they go, byte for byte.

mod encap;
mod kinds;

use super::*;
use speaker_ebpf::abi::steer::{OWN_NODE, RETURNED, TABLES_MAX};
use speaker_ebpf::abi::{Bucket, SteerValue, StreamKey, StreamValue, TargetKey, TargetValue};
use speaker_ebpf::model::flow::FlowWire;
use std::net::SocketAddr;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = connections();
    cases.extend(remembered());
    cases.extend(kinds::cases());
    cases.extend(senders());
    cases.extend(staying());
    cases.extend(encap::cases());
    cases.extend(silenced());
    cases.extend(routes());
    cases
}

fn connections() -> Vec<Case> {
    let (v4, v6) = ends();
    vec![
        Case::new("a spread connection opens at its node", syn(v4))
            .given(one)
            .spread_to(NEW),
        Case::new("a spread connection opens at its node, IPv6", syn(v6))
            .given(one)
            .spread_to(NEW),
        Case::new("a spread connection goes on at its node", segment(v4))
            .given(one)
            .spread_to(NEW),
        Case::new("a spread connection goes on at its node, IPv6", segment(v6))
            .given(one)
            .spread_to(NEW),
        Case::new("within the window an opening is remembered", syn(v4))
            .given(two)
            .spread_to(NEW)
            .noting([1, 0, 0]),
        Case::new("within the window an old connection stays", segment(v4))
            .given(two)
            .spread_to(OLD)
            .noting([1, 0, 0]),
        Case::new(
            "within the window an old connection stays, IPv6",
            segment(v6),
        )
        .given(two)
        .spread_to(OLD)
        .noting([1, 0, 0]),
        Case::new("after the window an unknown connection is new", segment(v6))
            .given(two_later)
            .spread_to(NEW),
        Case::new("after the window an opening is not remembered", syn(v6))
            .given(two_later)
            .spread_to(NEW),
        Case::new("a share of this node's stays", syn(v4))
            .given(|tables| spread(tables, row(), OWN_NODE, OWN_NODE))
            .spread_here(),
        Case::new("what was the stack's stays the stack's", segment(v4))
            .given(|tables| spread(tables, row(), NEW, OWN_NODE))
            .spread_here()
            .noting([1, 0, 0]),
        Case::new("by client it is another slot", syn(v4))
            .given(|tables| {
                spread(tables, row().by_client(true), NEW, NEW);
                only_slot(tables, 0, 0);
            })
            .spread_to(OLD),
        Case::new("by ports it is its slot", syn(v4))
            .given(|tables| {
                spread(tables, row(), NEW, NEW);
                only_slot(tables, ports(), 6);
            })
            .spread_to(OLD),
    ]
}

/// What was remembered before.
fn remembered() -> Vec<Case> {
    let (v4, v6) = ends();
    let noted = |node: u16, age: u64| {
        move |tables: &mut Tables| {
            two_later(tables);
            note(tables, Memory::Streams, 6, ports(), node, age);
        }
    };
    vec![
        Case::new("a connection that is remembered stays", segment(v4))
            .given(noted(OLD, 0))
            .spread_to(OLD)
            .noting([2, 0, 0]),
        Case::new("a connection that is remembered stays, IPv6", segment(v6))
            .given(noted(OLD, 5 * SECOND))
            .spread_to(OLD)
            .noting([2, 0, 0]),
        Case::new("one that opens under its mark is new", syn(v4))
            .given(noted(OLD, 0))
            .spread_to(NEW)
            .noting([2, 0, 0]),
        Case::new("one whose node is gone is new", segment(v4))
            .given(noted(GONE, 0))
            .spread_to(NEW)
            .noting([2, 0, 0]),
        Case::new("in a slot of one node nothing is looked up", segment(v4))
            .given(|tables| {
                one(tables);
                note(tables, Memory::Streams, 6, ports(), OLD, 0);
            })
            .spread_to(NEW)
            .noting([2, 0, 0]),
        Case::new("in a slot that came back all is looked up", segment(v4))
            .given(|tables| {
                spread(tables, row(), NEW, NEW | RETURNED);
                note(tables, Memory::Streams, 6, ports(), OLD, 0);
            })
            .spread_to(OLD)
            .noting([2, 0, 0]),
        Case::new(
            "in a slot that came back the rest is its node's",
            segment(v4),
        )
        .given(|tables| spread(tables, row(), NEW, NEW | RETURNED))
        .spread_to(NEW)
        .noting([1, 0, 0]),
    ]
}

fn senders() -> Vec<Case> {
    let (v4, v6) = ends();
    vec![
        Case::new("a member's packet is not spread", {
            with(v4, |frame| frame.from = MEMBER)
        })
        .given(one)
        .unspread(Steered::FromMember),
        Case::new("a disarmed member's packet is not spread", {
            with(v6, |frame| frame.from = DISARMED)
        })
        .given(one)
        .unspread(Steered::FromMember),
        Case::new("our own packet is not spread", {
            with(v4, |frame| frame.from = OWN)
        })
        .given(one)
        .unspread(Steered::FromMember),
        Case::new("a broadcast packet is not spread", {
            with(v4, |frame| frame.to = EVERYBODY)
        })
        .given(one)
        .traffic(),
    ]
}

fn staying() -> Vec<Case> {
    let (v4, v6) = ends();
    let both = |then: fn(&mut Tables)| {
        move |tables: &mut Tables| {
            then(tables);
            one(tables);
        }
    };
    vec![
        Case::new("a spread packet on its last hop stays", {
            with(v4, |frame| frame.hops = 1)
        })
        .given(two)
        .unspread(Steered::NoHops),
        Case::new("a spread packet on its last hop stays, IPv6", {
            with(v6, |frame| frame.hops = 1)
        })
        .given(two)
        .unspread(Steered::NoHops),
        Case::new("a draining VIP is spread", syn(v4))
            .given(both(draining))
            .spread_to(NEW),
        Case::new("another node's VIP is not spread", syn(v6))
            .given(both(known))
            .unspread(Steered::NotHeld),
        Case::new("past the deadline nothing is spread", syn(v4))
            .given(both(lapsed))
            .unspread(Steered::NotHeld),
        Case::new("past its own deadline a VIP is not spread", syn(v6))
            .given(both(own_deadline_past))
            .unspread(Steered::NotHeld),
        Case::new("up to its own deadline a VIP is spread", syn(v6))
            .given(both(own_deadline_ahead))
            .spread_to(NEW),
        Case::new("behind a fence nothing is spread", syn(v4))
            .given(both(fence_is_up))
            .unspread(Steered::NotHeld),
        Case::new("a node without an address gets nothing", datagram(v4))
            .given(|tables| spread(tables, row(), GONE, GONE))
            .unspread(Steered::NoTarget),
        Case::new("there is no such table", syn(v6))
            .given(|tables| spread(tables, SteerValue::new(TABLES_MAX, 0), NEW, NEW))
            .unspread(Steered::NoTarget),
        Case::new("a table that was never written is this node's", syn(v4))
            .given(|tables| spread(tables, SteerValue::new(TABLES_MAX - 1, 0), NEW, NEW))
            .spread_here(),
        Case::new("an entry whose row there is not", syn(v4))
            .given(|tables| {
                one(tables);
                for entry in tables.vips.values_mut() {
                    *entry = entry.steered(u16::MAX);
                }
            })
            .traffic(),
        Case::new("what is spread and moves is spread", syn(v6))
            .given(both(giver))
            .spread_to(NEW),
        Case::new("a spread TCP header that ends early is unclear", {
            syn(v4)[..46].to_vec()
        })
        .given(one)
        .unspread(Steered::Unclear),
    ]
}

/// Of a VIP whose packets routes bring.
fn routes() -> Vec<Case> {
    let (v4, v6) = ends();
    let both = |then: fn(&mut Tables)| {
        move |tables: &mut Tables| {
            then(tables);
            one(tables);
        }
    };
    vec![
        Case::new("what routes bring is spread", syn(v4))
            .given(both(routed))
            .spread_to(NEW),
        Case::new("what routes bring is spread, IPv6", segment(v6))
            .given(both(routed))
            .spread_to(NEW),
        Case::new("of what routes bring old connections stay", segment(v4))
            .given(routed)
            .given(two)
            .spread_to(OLD)
            .noting([1, 0, 0]),
        Case::new(
            "what routes bring is spread though another holds it",
            datagram(v6),
        )
        .given(both(known_and_routed))
        .spread_to(NEW)
        .noting([0, 1, 0]),
        Case::new("what routes bring is spread without a speaker", segment(v4))
            .given(both(routed))
            .given(lapsed)
            .spread_to(NEW),
        Case::new(
            "what routes bring is the stack's long after the speaker",
            segment(v6),
        )
        .given(both(routed))
        .given(orphaned)
        .unspread(Steered::NotHeld),
        Case::new("what routes brought to a member is not sent on", {
            with(v4, |frame| frame.from = MEMBER)
        })
        .given(both(routed))
        .unspread(Steered::FromMember),
        Case::new("what routes bring dies of its hops as well", {
            with(v6, |frame| frame.hops = 1)
        })
        .given(both(routed))
        .unspread(Steered::NoHops),
    ]
}

/// By a node that held the VIP until a moment ago.
fn silenced() -> Vec<Case> {
    let (v4, v6) = ends();
    let both = |then: fn(&mut Tables)| {
        move |tables: &mut Tables| {
            then(tables);
            one(tables);
        }
    };
    vec![
        Case::new(
            "past the deadline another's connection is dropped",
            segment(v4),
        )
        .given(both(lapsed))
        .silenced(),
        Case::new(
            "past its own deadline another's connection is dropped",
            segment(v6),
        )
        .given(both(own_deadline_past))
        .silenced(),
        Case::new(
            "behind a fence another's connection is dropped",
            segment(v6),
        )
        .given(both(fence_is_up))
        .silenced(),
        Case::new("past the deadline a datagram stays", datagram(v4))
            .given(both(lapsed))
            .unspread(Steered::NotHeld),
    ]
}

impl Case {
    /// It goes to this node.
    fn spread_to(mut self, node: u16) -> Self {
        self.steered = Some(Steered::Sent);
        self.node = Some(node);
        self.readdressed(mac(node))
    }

    /// It is of this node's share.
    fn spread_here(mut self) -> Self {
        self.node = Some(OWN_NODE);
        self.unspread(Steered::Own)
    }

    /// It stays, with this reason.
    fn unspread(mut self, steered: Steered) -> Self {
        self.steered = Some(steered);
        self.traffic()
    }

    fn lost(mut self) -> Self {
        self.steered = Some(Steered::LostFragment);
        self.verdict = Verdict::Drop;
        self
    }

    fn silenced(mut self) -> Self {
        self.steered = Some(Steered::Silenced);
        self.verdict = Verdict::Drop;
        self
    }

    /// How much is remembered afterwards, what was before included.
    fn noting(mut self, remembered: [usize; 3]) -> Self {
        self.remembered = remembered;
        self
    }
}

/// All slots are one node's.
fn one(tables: &mut Tables) {
    spread(tables, row(), NEW, NEW);
}

/// All slots are one node's, and were another's.
fn two(tables: &mut Tables) {
    spread(tables, row(), NEW, OLD);
}

fn two_later(tables: &mut Tables) {
    spread(tables, SteerValue::new(TABLE, NOW - SECOND), NEW, OLD);
}

const fn row() -> SteerValue {
    SteerValue::new(TABLE, NOW + MINUTE)
}

fn spread(tables: &mut Tables, row: SteerValue, current: u16, previous: u16) {
    for vip in [IpAddr::from(VIP4), IpAddr::from(VIP6)] {
        tables.put_steering(VipKey::new(Addr::from(vip), LINK), row);
    }
    tables.put_table(TABLE, |_| Bucket { current, previous });
    for node in [NEW, OLD] {
        let key = TargetKey {
            ifindex: LINK,
            node: node.into(),
        };
        let value = TargetValue {
            mac: MacAddr(mac(node)),
            pad: [0; 2],
        };
        tables.targets.insert(key, value);
    }
}

/// The one slot of the IPv4 connection, by these ports and protocol, is the old node's.
fn only_slot(tables: &mut Tables, ports: u32, protocol: u32) {
    let ((client, vip), _) = ends_of();
    let hit = speaker_ebpf::abi::hash::slot(client, vip, ports, protocol);
    tables.put_table(TABLE, |slot| {
        let node = if slot == hit { OLD } else { NEW };
        Bucket {
            current: node,
            previous: node,
        }
    });
}

/// Remembers a flow of each family.
fn note(tables: &mut Tables, memory: Memory, protocol: u32, word: u32, node: u16, age: u64) {
    let (v4, v6) = ends_of();
    for (client, vip) in [v4, v6] {
        let key = StreamKey {
            client,
            vip: VipKey::new(vip, LINK),
            word,
            protocol,
        };
        let value = StreamValue {
            seen_ns: NOW - age,
            node: node.into(),
            pad: 0,
        };
        let streams = match memory {
            Memory::Streams => &mut tables.streams,
            Memory::Datagrams => &mut tables.datagrams,
            Memory::Fragments => &mut tables.fragments,
        };
        streams.insert(key, value);
    }
}

/// Ports as they lie in packets.
fn ports() -> u32 {
    let [a, b] = PORTS.map(u16::to_be_bytes);
    u32::from_ne_bytes([a[0], a[1], b[0], b[1]])
}

const fn mac(node: u16) -> [u8; 6] {
    [2, 0, 0, 1, 0, node as u8]
}

type Ends = (([u8; 6], SocketAddr), SocketAddr);

fn ends() -> (Ends, Ends) {
    let of = |client: IpAddr, vip: IpAddr| {
        (
            (CLIENT, SocketAddr::new(client, PORTS[0])),
            SocketAddr::new(vip, PORTS[1]),
        )
    };
    (of(FAR4.into(), VIP4.into()), of(FAR6.into(), VIP6.into()))
}

fn ends_of() -> ((Addr, Addr), (Addr, Addr)) {
    let of = |client: IpAddr, vip: IpAddr| (Addr::from(client), Addr::from(vip));
    (of(FAR4.into(), VIP4.into()), of(FAR6.into(), VIP6.into()))
}

fn syn(ends: Ends) -> Vec<u8> {
    with(ends, |_| {})
}

fn with(ends: Ends, change: impl FnOnce(&mut FlowWire)) -> Vec<u8> {
    FlowWire::syn(OWN, ends.0, ends.1).with(change).bytes()
}

fn segment(ends: Ends) -> Vec<u8> {
    FlowWire::segment(OWN, ends.0, ends.1).bytes()
}

fn datagram(ends: Ends) -> Vec<u8> {
    FlowWire::datagram(OWN, ends.0, ends.1).bytes()
}

const TABLE: u32 = 7;
const NEW: u16 = 1;
const OLD: u16 = 2;
/// It has no address.
const GONE: u16 = 3;
const PORTS: [u16; 2] = [40_000, 443];
const IDENT: u16 = 0x4711;
const FAR4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 7);
