//! What a session with a peer that announces much costs in memory: nothing for each route, and nothing for each message; and what a service
//! weighs, with all that is decided of it.
//!
//! A test binary of its own, for its allocator counts. Whether the routes are counted rightly, and which errors are forgiven, others see.
#![expect(
    clippy::unwrap_used,
    reason = "in a test binary a panic is a failed test"
)]

use speaker_core::agent::{self, Agent};
use speaker_core::key::Kind;
use speaker_core::local::Local;
use speaker_core::manifest;
use speaker_core::plan::BgpOutcome;
use speaker_proto::bgp::session::{
    Input, NextHops, PeerAsn, Session, Settings, Side, Start, State,
};
use speaker_proto::bgp::wire::{self, NextHop, Path};
use speaker_proto::bgp::{Attributes, Capabilities, Family, Open, Prefix, RouterId};
use speaker_proto::member::Roster;
use speaker_proto::{Machine, Span, Time};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The system's allocator, with a count of what each thread asked it for.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static MADE: Cell<u64> = const { Cell::new(0) };
    /// Bytes that are not given back; what another thread gives back is missing here.
    static HELD: Cell<i64> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator as it came; what is added allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = MADE.try_with(|made| made.set(made.get() + 1));
        hold(layout.size() as i64);
        // SAFETY: the caller keeps the rules of this same function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(-(layout.size() as i64));
        // SAFETY: the caller keeps the rules of this same function.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn hold(bytes: i64) {
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

const ANNOUNCED: u32 = 20_000;
const SERVICES: usize = 2_000;
/// For a service with its slice: the objects, what is decided of it in layer 2 and in BGP, and why.
const SERVICE_BYTES_MAX: i64 = 3_500;

#[test]
fn no_route_and_no_update_that_is_received_costs_an_allocation() {
    let mut session = established();
    let routes = [Family::V4, Family::V6].map(announcements);
    // Those of each family once as they come from a fast peer, some messages at a time, and once in pieces.
    let wholes = routes.iter().flat_map(|bytes| bytes.chunks(65_536));
    let pieces = routes.iter().flat_map(|bytes| bytes.chunks(1_000));
    let reads: Vec<Vec<u8>> = wholes.chain(pieces).map(<[u8]>::to_vec).collect();
    let first = reads.first().unwrap().clone();
    // What is kept of a message that has not come whole is made room for once.
    receive(&mut session, first[..100].to_vec());
    receive(&mut session, first[100..].to_vec());
    let before = session.status().counters.announced;
    let made = MADE.get();
    for read in reads.into_iter().skip(1) {
        receive(&mut session, read);
    }
    let made = MADE.get() - made;
    let counted = session.status().counters.announced;
    assert_eq!(made, 0, "for {counted:?} routes after {before:?}");
    assert_eq!(counted, [2 * u64::from(ANNOUNCED); 2]);
    assert_eq!(session.state(), State::Established);
}

#[test]
fn a_service_weighs_no_more_than_its_bound() {
    let before = HELD.get();
    let agent = node_with_services();
    let each = (HELD.get() - before) / SERVICES as i64;
    let outcomes = agent.plan().bgp_outcomes.values();
    let announced = outcomes.filter(|outcome| matches!(outcome, BgpOutcome::Announced(_)));
    assert_eq!(announced.count(), SERVICES);
    assert!(each <= SERVICE_BYTES_MAX, "{each} bytes");
}

#[test]
fn the_allocator_counts() {
    let (made, held) = (MADE.get(), HELD.get());
    let one = Box::new(1_u64);
    assert_eq!((MADE.get() - made, HELD.get() - held), (1, 8));
    drop(one);
    assert_eq!((MADE.get() - made, HELD.get() - held), (1, 0));
}

/// A node alone that announces services by BGP, each read by itself.
fn node_with_services() -> Agent {
    let start = agent::Start {
        local: Local::new("n1".parse().unwrap()),
        adopted: BTreeMap::new(),
        last_deadline: None,
        spread: BTreeMap::new(),
        is_armed: true,
        drain_window: Span::s(30),
        seed: 1,
    };
    let mut agent = Agent::new(start, NOW);
    let alone = Roster {
        is_settled: true,
        ..Roster::default()
    };
    agent.input(NOW, agent::Input::Roster(Arc::new(alone)));
    let links = agent::Input::Links {
        announcing: BTreeMap::new(),
        others: BTreeSet::new(),
    };
    agent.input(NOW, links);
    let texts = (0..SERVICES).map(service);
    for text in std::iter::once(SETTING.to_owned()).chain(texts) {
        for object in manifest::read("f", &text, manifest::DEFAULT_NAMESPACE).objects {
            agent.input(NOW, agent::Input::Object(object));
        }
    }
    for kind in Kind::ALL {
        agent.input(NOW, agent::Input::Synced(kind));
    }
    settle(&mut agent);
    agent
}

/// Lets a minute pass, in which every plan is applied.
fn settle(agent: &mut Agent) {
    let mut now = NOW;
    loop {
        while let Some(output) = agent.output() {
            if matches!(output, agent::Output::Apply(_)) {
                agent.input(now, agent::Input::Applied(Ok(())));
            }
        }
        match agent.deadline() {
            Some((due, _)) if due < NOW + Span::s(60) => now = now.max(due),
            Some(_) | None => return,
        }
        agent.expire(now);
    }
}

const SETTING: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool}
spec: {addresses: [10.64.0.0/16]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: all}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.2}
";

fn service(number: usize) -> String {
    let (high, low) = (number >> 8, number & 255);
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: service-{number:05}, namespace: default}}
spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}
status: {{loadBalancer: {{ingress: [{{ip: 10.64.{high}.{low}}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: service-{number:05}-1, namespace: default, labels: {{kubernetes.io/service-name: service-{number:05}}}}}
addressType: IPv4
ports: [{{port: 8080}}]
endpoints: [{{addresses: [10.128.0.1], nodeName: elsewhere, conditions: {{ready: true}}}}]
"
    )
}

fn receive(session: &mut Session, bytes: Vec<u8>) {
    session.input(NOW, Input::Received(Side::Dialled, bytes));
    while session.output().is_some() {}
}

/// One that is up with a peer of both families, which announces nothing yet.
fn established() -> Session {
    let mut session = Session::new(Start {
        settings: Settings {
            asn: 64_512,
            peer_asn: PeerAsn::External,
            router_id: router_id(1),
            hold_seconds: 90,
            keepalive_seconds: 30,
            connect_retry: Span::s(30),
            families: BTreeSet::from(Family::ALL),
            has_v4_over_v6_next_hop: false,
            graceful_restart: None,
            drain_prepends: 0,
        },
        is_restarting: false,
        kept_forwarding: false,
        seed: 7,
        now: NOW,
    });
    let (side, next_hops) = (Side::Dialled, NextHops::default());
    session.input(NOW, Input::Start);
    session.input(NOW, Input::Connected { side, next_hops });
    let mut bytes = Vec::new();
    let open = Open {
        asn: 64_513,
        hold_seconds: 90,
        router_id: router_id(2),
        capabilities: Capabilities {
            families: BTreeSet::from(Family::ALL),
            has_four_byte_as: true,
            ..Capabilities::default()
        },
    };
    wire::open(&mut bytes, &open);
    wire::keepalive(&mut bytes);
    receive(&mut session, bytes);
    assert_eq!(session.state(), State::Established);
    session
}

/// UPDATEs with [`ANNOUNCED`] routes of a family.
fn announcements(family: Family) -> Vec<u8> {
    let (v4, v6) = (Ipv4Addr::new(192, 0, 2, 2), Ipv6Addr::LOCALHOST);
    let next_hop = match family {
        Family::V4 => NextHop::V4(v4),
        Family::V6 => NextHop::V6 {
            address: v6,
            link_local: None,
        },
    };
    let path = Path {
        asn: 64_513,
        is_ebgp: true,
        has_four_byte_as: true,
        next_hop,
    };
    let address = |number| match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(
            (0x2001_0db8 << 96) + u128::from(number),
        )),
    };
    let prefixes = (0..ANNOUNCED).map(|number| Prefix::of(address(number), 128));
    let (mut prefixes, mut bytes) = (prefixes.peekable(), Vec::new());
    let attributes = Attributes::default();
    while wire::announce(&mut bytes, &path, &attributes, &mut prefixes) > 0 {}
    bytes
}

fn router_id(last: u8) -> RouterId {
    RouterId::new(Ipv4Addr::new(192, 0, 2, last)).unwrap()
}

const NOW: Time = Time::ms(1_000);
