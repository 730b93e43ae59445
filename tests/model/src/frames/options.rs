//! Packets for a VIP with options: what is answered, byte for byte, and what is dropped.
//!
//! The answers stand here as they are on the wire, with checksums that another program summed.

use super::*;
use speaker_ebpf::abi::options::{Closed, OPTION_BURST_NS, SET_BITS};
use speaker_ebpf::abi::{
    Opted, OptedStats, OptionValue, ServiceKey, ServiceValue, SourceKey, SteerValue,
};
use speaker_ebpf::model::flow::FlowWire;
use std::net::SocketAddr;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = refused();
    cases.extend(dropped());
    cases.extend(pings());
    cases.extend(sources());
    cases
}

fn refused() -> Vec<Case> {
    let all = |bytes: Vec<u8>, name| Case::new(name, bytes).given(reject);
    vec![
        all(syn(V4), "a closed port resets an opening").replied(Opted::Rejected, RESET4),
        all(segment(V4), "a closed port resets a connection").replied(Opted::Rejected, RESET4_OPEN),
        all(syn(V6), "a closed port resets an opening, IPv6").replied(Opted::Rejected, RESET6),
        all(datagram(V4), "a closed port is unreachable").replied(Opted::Rejected, UNREACHABLE4),
        all(datagram(V6), "a closed port is unreachable, IPv6")
            .replied(Opted::Rejected, UNREACHABLE6),
        all(syn(V4), "what a service has is not closed")
            .given(|tables| offer(tables, 6, 0))
            .traffic(),
        all(
            syn(V4),
            "a closed port of a VIP that is spread is refused before",
        )
        .given(|tables| {
            let key = VipKey::new(Addr::from(IpAddr::from(VIP4)), LINK);
            tables.put_steering(key, SteerValue::new(0, 0));
        })
        .replied(Opted::Rejected, RESET4),
        all(syn(V4), "behind a fence nothing is refused")
            .given(fence_is_up)
            .traffic(),
        all(syn(V6), "past the deadline nothing is refused")
            .given(lapsed)
            .traffic(),
        all(syn(V4), "another node's VIP refuses nothing")
            .given(|tables| {
                known(tables);
                reject(tables);
            })
            .traffic(),
        all(syn(V4), "a closed port of what routes bring is refused")
            .given(by_route)
            .given(lapsed)
            .replied(Opted::Rejected, RESET4),
        all(fragment(), "a fragment is never refused").traffic(),
        all(syn(V4), "one refusal too many is not sent")
            .given(|tables| spent(tables, Opted::Rejected))
            .dropped_by(Opted::Limited),
    ]
}

fn dropped() -> Vec<Case> {
    let all = |bytes: Vec<u8>, name| Case::new(name, bytes).given(drop_closed);
    vec![
        all(syn(V4), "a closed port drops an opening").dropped_by(Opted::Closed),
        all(datagram(V6), "a closed port drops a datagram").dropped_by(Opted::Closed),
        all(
            with(V4, |frame| frame.protocol = 1),
            "what has no port is not closed",
        )
        .traffic(),
        Case::new(
            "a reset is never answered",
            with(V4, |frame| frame.flags = 4),
        )
        .given(reject)
        .dropped_by(Opted::Closed),
        Case::new("a group is never answered", {
            let group = SocketAddr::new(Ipv4Addr::new(224, 0, 0, 5).into(), PORTS[0]);
            with(V4, |frame| frame.src = group)
        })
        .given(reject)
        .dropped_by(Opted::Closed),
    ]
}

fn pings() -> Vec<Case> {
    vec![
        Case::new("a ping is answered", ping(V4))
            .given(echo)
            .replied(Opted::Echoed, PONG4),
        Case::new("a ping is answered, IPv6", ping(V6))
            .given(echo)
            .replied(Opted::Echoed, PONG6),
        Case::new("a ping is passed without the option", ping(V4))
            .given(reject)
            .traffic(),
        Case::new("past the deadline no ping is answered", ping(V4))
            .given(echo)
            .given(lapsed)
            .traffic(),
        Case::new("behind a fence no ping is answered", ping(V6))
            .given(echo)
            .given(fence_is_up)
            .traffic(),
        Case::new("a ping that a route brings is answered", ping(V6))
            .given(echo)
            .given(by_route)
            .replied(Opted::Echoed, PONG6),
        Case::new("one ping too many is not answered", ping(V6))
            .given(echo)
            .given(|tables| spent(tables, Opted::Echoed))
            .dropped_by(Opted::Limited),
    ]
}

fn sources() -> Vec<Case> {
    let all = |bytes: Vec<u8>, name| Case::new(name, bytes).given(filter);
    vec![
        all(syn(V4), "a source of the set is served")
            .given(|tables| source(tables, FAR4.into(), 24))
            .traffic(),
        all(syn(V6), "a source of the set is served, IPv6")
            .given(|tables| source(tables, FAR6.into(), 48))
            .traffic(),
        all(syn(V4), "a source outside the set is kept out")
            .given(|tables| source(tables, VIP4.into(), 24))
            .dropped_by(Opted::Refused),
        all(segment(V6), "a source outside the set is kept out, IPv6")
            .given(|tables| source(tables, VIP6.into(), 48))
            .dropped_by(Opted::Refused),
        all(syn(V4), "a set of IPv6 alone has no source of IPv4")
            .given(|tables| source(tables, FAR6.into(), 48))
            .given(|tables| source(tables, VIP4.into(), 32))
            .dropped_by(Opted::Refused),
        all(datagram(V4), "a port without a set serves everybody").traffic(),
        all(syn(V4), "a source that a route brings is kept out")
            .given(|tables| source(tables, VIP4.into(), 24))
            .given(by_route)
            .dropped_by(Opted::Refused),
        all(syn(V4), "past the deadline nobody is kept out")
            .given(lapsed)
            .traffic(),
    ]
}

/// Nobody holds it on the link.
fn by_route(tables: &mut Tables) {
    routed(tables);
    for entry in tables.vips.values_mut() {
        *entry = entry.opted(true);
    }
}

impl Case {
    /// It is turned into this frame.
    fn replied(mut self, opted: Opted, frame: &str) -> Self {
        self.verdict = Verdict::Reply;
        self.bytes = bytes(frame);
        self.opted = Some(opted);
        self
    }

    fn dropped_by(mut self, opted: Opted) -> Self {
        self.verdict = Verdict::Drop;
        self.opted = Some(opted);
        self
    }
}

fn reject(tables: &mut Tables) {
    options(tables, OptionValue::new(Closed::Reject, false, false));
}

fn drop_closed(tables: &mut Tables) {
    options(tables, OptionValue::new(Closed::Drop, false, false));
}

fn echo(tables: &mut Tables) {
    options(tables, OptionValue::new(Closed::Pass, true, false));
}

/// TCP is served to a set, which is empty yet, and UDP to everybody.
fn filter(tables: &mut Tables) {
    options(tables, OptionValue::new(Closed::Reject, false, true));
    offer(tables, 6, SET);
    offer(tables, 17, 0);
}

fn options(tables: &mut Tables, value: OptionValue) {
    for vip in [IpAddr::from(VIP4), IpAddr::from(VIP6)] {
        tables.put_options(VipKey::new(Addr::from(vip), LINK), value);
    }
}

fn offer(tables: &mut Tables, protocol: u8, sources: u32) {
    for vip in [IpAddr::from(VIP4), IpAddr::from(VIP6)] {
        let key = ServiceKey::new(vip.into(), protocol, PORTS[1].to_be_bytes());
        tables.services.insert(key, ServiceValue { sources });
    }
}

fn source(tables: &mut Tables, net: IpAddr, bits: u32) {
    let above = if net.is_ipv4() {
        SET_BITS + 96
    } else {
        SET_BITS
    };
    let key = SourceKey {
        set: SET,
        addr: net.into(),
    };
    tables.sources.insert((above + bits, key));
}

/// No credit, and none to come.
fn spent(tables: &mut Tables, opted: Opted) {
    let stats = OptedStats {
        bucket_at_ns: NOW + OPTION_BURST_NS + MINUTE,
        ..OptedStats::default()
    };
    tables.opted.insert(opted, stats);
}

type Ends = (IpAddr, IpAddr);

fn with((client, vip): Ends, change: impl FnOnce(&mut FlowWire)) -> Vec<u8> {
    let client = (CLIENT, SocketAddr::new(client, PORTS[0]));
    let vip = SocketAddr::new(vip, PORTS[1]);
    FlowWire::syn(OWN, client, vip).with(change).bytes()
}

fn syn(ends: Ends) -> Vec<u8> {
    with(ends, |_| {})
}

fn segment(ends: Ends) -> Vec<u8> {
    with(ends, |frame| frame.flags = 0x18)
}

fn datagram(ends: Ends) -> Vec<u8> {
    with(ends, |frame| frame.protocol = 17)
}

fn fragment() -> Vec<u8> {
    with(V4, |frame| {
        frame.protocol = 17;
        frame.fragment = Some((7, 0, true));
    })
}

/// Few hops are left to it: the reply has its own.
fn ping(ends: Ends) -> Vec<u8> {
    with(ends, |frame| {
        let (protocol, head) = match ends.0 {
            IpAddr::V4(_) => (1, [8, 0, 0x06, 0xfa]),
            IpAddr::V6(_) => (58, [128, 0, 0x82, 0x6f]),
        };
        frame.protocol = protocol;
        frame.hops = 9;
        frame.payload = Some([&head[..], &[0x12, 0x34, 0, 1], b"ping"].concat());
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    digits
        .map(|pair| byte(pair).expect("hexadecimal"))
        .collect()
}

const V4: Ends = (IpAddr::V4(FAR4), IpAddr::V4(VIP4));
const V6: Ends = (IpAddr::V6(FAR6), IpAddr::V6(VIP6));
const FAR4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 7);
const PORTS: [u16; 2] = [40_000, 443];
const SET: u32 = 9;
const RESET4: &str = "\
    0200000000cc0200000000110800450000280000400040064e8bc000020ac633640701bb9c4000000000000000025014\
    0000258e0000";
const RESET4_OPEN: &str = "\
    0200000000cc0200000000110800450000280000400040064e8bc000020ac633640701bb9c4000000001000000005004\
    0000259f0000";
const RESET6: &str = "\
    0200000000cc02000000001186dd600000000014064020010db80000000000000000000ab0c020010db8ffff00000000\
    00000000000701bb9c4000000000000000025014000005900000";
const UNREACHABLE4: &str = "\
    0200000000cc0200000000110800450000380000400040014e80c000020ac633640703035ef500000000450000200000\
    000040118e88c6336407c000020a9c4001bb000c0000";
const UNREACHABLE6: &str = "\
    0200000000cc02000000001186dd6000000000383a4020010db80000000000000000000ab0c020010db8ffff00000000\
    0000000000070104d6ad0000000060000000000c114020010db8ffff0000000000000000000720010db8000000000000\
    0000000ab0c09c4001bb000c0000";
const PONG4: &str = "\
    0200000000cc0200000000110800450000200000000040018e98c000020ac633640700000efa1234000170696e67";
const PONG6: &str = "\
    0200000000cc02000000001186dd60000000000c3a4020010db80000000000000000000ab0c020010db8ffff00000000\
    0000000000078100816f1234000170696e67";
