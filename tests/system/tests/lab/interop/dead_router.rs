//! One of two routers dies, without a word, while a thousand datagrams a second come through both: when its sessions end, what the traffic
//! loses, and that they come back once.
//!
//! ```text
//!              ┌── 203.0.113.1 router 192.0.2.1 ──┐
//!   visitor ───┤                                  ├── switch ── n1, n2, n3
//!              └── 203.0.114.1 other  192.0.2.4 ──┘
//! ```
//!
//! The visitor spreads over both while their links to it have a carrier, as a router upstream would. Answers take the other router always: which
//! one a node sends by is not the speaker's affair.

use super::frr::{BFD_NEIGHBOUR, BFDD, bgpd};
use super::peer;
use super::traffic::{routed_echo, under_load};
use super::wire::{DOWN, Frame, Said, UP, Wire};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread::sleep;
use std::time::{Duration, Instant};
use system_tests::lab::{TestLab, tell};
use xtask::lab::net::Netns;
use xtask::lab::router::frr::Frr;
use xtask::lab::topology::ROUTER_V4;
use xtask::lab::traffic::Traffic;

#[test]
fn rfc5880_6_8_4_a_router_that_dies_is_missed_in_time_and_comes_back_once() {
    let mut lab = lab();
    let routers = [
        lab.topology().router.clone().unwrap(),
        second_router(&mut lab),
    ];
    ways(&lab, &routers);
    let config = bgpd(&lab, BFD_NEIGHBOUR);
    let first = Frr::start(&mut lab, &config, BFDD).unwrap();
    let of_other = config.replace("router-id 192.0.2.1", "router-id 192.0.2.4");
    let other = routers[1].clone();
    let second = Frr::start_in(&mut lab, other, "frr-other", &of_other, BFDD).unwrap();
    lab.start_speakers().unwrap();
    let echo = lab.frontends_of("default/echo-udp").remove(0);
    for frr in [&first, &second] {
        sent_everywhere(&lab, frr, echo.vip);
    }
    at_rest(&lab);
    let wires = NODES.map(|node| Wire::watch(&lab, node, ROUTER_V4));
    let before = NODES.map(|node| sessions(&lab, node));
    let visitor = lab.topology().visitor.clone().unwrap();
    let traffic = Traffic::open(&visitor, echo.address()).unwrap();
    lab.eventually("every flow is answered", || traffic.by_node());

    let ((died, back, _first), tally) = under_load(&traffic, || {
        both_carry(&lab, &routers);
        let died = Instant::now();
        routers[0]
            .ip("link set eth1 down\nlink set eth0 down")
            .unwrap();
        first.kill();
        for (node, wire) in NODES.iter().zip(&wires) {
            missed(&lab, node, wire);
        }
        sleep(LEAD);
        let back = Instant::now();
        routers[0].ip("link set eth0 up").unwrap();
        let first = Frr::start(&mut lab, &config, BFDD).unwrap();
        sent_everywhere(&lab, &first, echo.vip);
        at_rest(&lab);
        let way_back = format!("link set eth1 up\nroute add {VISITOR} via 203.0.113.2");
        routers[0].ip(&way_back).unwrap();
        both_carry(&lab, &routers);
        (died, back, first)
    });

    for ((node, wire), before) in NODES.iter().zip(&wires).zip(before) {
        came_back_once(&lab, node, &wire.frames(), before);
    }
    let [died, back] = [died, back].map(|at| at.duration_since(tally.begun));
    let last = tally.lost.last().map(|at| at.saturating_sub(died));
    tell(&format!(
        "a router of two died and came back under 1 kpps: {} lost of {}, the last sent {last:?} after its end",
        tally.lost.len(),
        tally.sent
    ));
    assert!(tally.lost.iter().all(|at| *at < back), "{tally:?}");
}

/// A lab whose echo service both routers are told of.
#[track_caller]
fn lab() -> TestLab {
    let watched = "  bfdProfile: fast\n  connectTime: 1s\n";
    let peers = [
        peer("router", &ROUTER_V4.to_string(), watched),
        peer("other", &OTHER_V4.to_string(), watched),
    ];
    routed_echo(&peers.concat())
}

/// A second router at the switch.
#[track_caller]
fn second_router(lab: &mut TestLab) -> Netns {
    let other = lab.plug_in("other", OTHER_V4, OTHER_V6).unwrap();
    let forwards = [
        ("ipv4.ip_forward", "1"),
        ("ipv4.fib_multipath_hash_policy", "1"),
    ];
    other.sysctl(&forwards).unwrap();
    other
}

/// The visitor's two ways to the nodes, from an address that is on neither link, and the one back.
#[track_caller]
fn ways(lab: &TestLab, [router, other]: &[Netns; 2]) {
    let visitor = lab.topology().visitor.as_ref().unwrap();
    let spreads = [
        ("ipv4.conf.all.ignore_routes_with_linkdown", "1"),
        ("ipv4.fib_multipath_hash_policy", "1"),
    ];
    visitor.sysctl(&spreads).unwrap();
    let link = format!(
        "link add eth1 type veth peer name eth1 netns {}\nlink set eth1 up\naddress add 203.0.114.1/24 dev eth1\n",
        visitor.name()
    );
    other.ip(&link).unwrap();
    let spread = format!(
        "link set eth1 up\naddress add 203.0.114.2/24 dev eth1\naddress add {VISITOR}/32 dev lo\n\
         route replace default src {VISITOR} nexthop via 203.0.113.1 dev eth0 nexthop via 203.0.114.1 dev eth1"
    );
    visitor.ip(&spread).unwrap();
    let via = |next: &str| format!("route add {VISITOR} via {next}");
    other.ip(&via("203.0.114.2")).unwrap();
    router.ip(&via("203.0.113.2")).unwrap();
    for node in &lab.topology().nodes {
        node.netns.ip(&via(&OTHER_V4.to_string())).unwrap();
    }
}

/// Waits until a router sends datagrams for an address to every node.
#[track_caller]
fn sent_everywhere(lab: &TestLab, frr: &Frr, vip: IpAddr) {
    lab.eventually("the router has the ways of all nodes", || {
        let routes = frr.routes().map_err(|error| format!("{error:#}"))?;
        match routes.get(&format!("{vip}/32")) {
            Some(hops) if hops.len() == NODES.len() => Ok(()),
            hops => Err(format!("{hops:?}")),
        }
    });
}

/// Waits until every node has had both sessions with both routers for a while, at the ordinary intervals.
#[track_caller]
fn at_rest(lab: &TestLab) {
    for node in NODES {
        for peer in PEERS {
            lab.eventually("both sessions are up and stay so", || {
                let [bgp, bfd] = seen(lab, node, peer)?;
                let is_up = bgp["state"] == "Established" && bgp["is_in_sync"] == true;
                let is_watched = bfd["state"] == "up" && bfd["theirs"]["state"] == "up";
                let is_agreed = bfd["interval_ms"] == 100 && bfd["detection_ms"] == DETECTION_MS;
                let rests = |of: &Value| of["for_ms"].as_u64() >= Some(REST_MS);
                match is_up && is_watched && is_agreed && rests(&bgp) && rests(&bfd) {
                    true => Ok(()),
                    false => Err(format!("{bgp} {bfd}")),
                }
            });
        }
    }
}

/// What a speaker says of its sessions with a router: BGP and BFD.
fn seen(lab: &TestLab, node: &str, peer: &str) -> Result<[Value; 2], String> {
    let mut bgp = lab.seen(node, &["bgp", peer])?;
    let mut bfd = lab.seen(node, &["bfd", peer])?;
    Ok([bgp["peers"][0].take(), bfd["sessions"][0].take()])
}

/// How often sessions came up and went down: BGP and BFD with the one router and with the other.
type Sessions = [[[u64; 2]; 2]; 2];

#[track_caller]
fn sessions(lab: &TestLab, node: &str) -> Sessions {
    let count = |number: &Value| number.as_u64().unwrap();
    let of = |seen: Value| [0, 1].map(|which| count(&seen["ups_downs"][which]));
    PEERS.map(|peer| seen(lab, node, peer).unwrap().map(of))
}

/// Waits until datagrams come to both routers.
#[track_caller]
fn both_carry(lab: &TestLab, routers: &[Netns; 2]) {
    let carried = || routers.each_ref().map(carried);
    let before = carried();
    lab.eventually("both routers carry datagrams", || {
        let now = carried();
        let mut more = now.iter().zip(before).map(|(now, before)| now - before);
        if more.all(|more| more > 100) {
            Ok(())
        } else {
            Err(now)
        }
    });
}

/// What came from the visitor.
fn carried(router: &Netns) -> u64 {
    let shown = router.output("ip", &["-json", "-stats", "link", "show", "eth1"]);
    let shown: Value = serde_json::from_str(&shown.unwrap()).unwrap();
    shown[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
}

/// Waits until a node has ended its sessions with the router, which must be once the detection time is over that counts from the router's
/// last packet.
#[track_caller]
fn missed(lab: &TestLab, node: &str, wire: &Wire) {
    let took = lab.eventually("the node ends the session", || {
        let frames = wire.frames();
        let mut ours = frames.iter().filter(|frame| frame.is_ours);
        let is_down = |frame: &&Frame| matches!(frame.said, Said::Bfd(DOWN, ..));
        let is_end = |frame: &&Frame| matches!(frame.said, Said::Notification([6, 10], _));
        let down = ours.clone().find(is_down);
        let end = ours.find(is_end);
        let mut theirs = frames.iter().filter(|frame| !frame.is_ours);
        let last = theirs.rfind(|frame| frame.is_bfd());
        match (last, down, end) {
            (Some(last), Some(down), Some(end)) => {
                let since = |at: u64| Duration::from_nanos(at.saturating_sub(last.at));
                Ok([down, end].map(|frame| since(frame.at)))
            }
            other => Err(format!("{other:?}")),
        }
    });
    let [_, bfd] = seen(lab, node, "router").unwrap();
    let [down, end] = took;
    tell(&format!(
        "{node}: BFD down {down:?} after the router's last packet, its BGP session ended after {end:?}, {DETECTION_MS} ms allowed, given again {} times",
        bfd["late"]
    ));
    let allowed = Duration::from_millis(DETECTION_MS) - SLEWED;
    assert!(down >= allowed && end >= allowed, "{took:?}");
    // On a busy machine it is late, but not by what BGP's own hold time of 90 s would take.
    assert!(end < Duration::from_secs(10), "{took:?}");
}

/// Each session ended once, and came back once; but for those that the router itself ended again. FRR that has BFD up before BGP makes its
/// session of BFD anew once BGP is up, and ends both for it.
#[track_caller]
fn came_back_once(lab: &TestLab, node: &str, frames: &[Frame], before: Sessions) {
    let again = ended_by_router(frames);
    let ends = frames.iter().filter_map(|frame| match frame.said {
        Said::Notification(_, port) => Some(port),
        Said::Bfd(..) => None,
    });
    let ends: BTreeSet<u16> = ends.collect();
    let [router, other] = before;
    let once = router.map(|counts| counts.map(|count| count + 1 + again));
    let after = sessions(lab, node);
    tell(&format!(
        "{node}: up and down {after:?}, {again} times by the router's own doing"
    ));
    assert_eq!(after, [once, other], "{frames:?}");
    assert_eq!(ends.len() as u64, 1 + again, "{frames:?}");
}

/// How often the router went from Up to Down with a session, and not because it heard nothing.
fn ended_by_router(frames: &[Frame]) -> u64 {
    let theirs = frames.iter().filter(|frame| !frame.is_ours);
    let said: Vec<Said> = theirs.map(|frame| frame.said).collect();
    let bfd: Vec<&Said> = said
        .iter()
        .filter(|said| matches!(said, Said::Bfd(..)))
        .collect();
    let changes = bfd.windows(2).filter(|pair| match (pair[0], pair[1]) {
        (Said::Bfd(UP, _, one), Said::Bfd(DOWN, why, same)) => one == same && *why != TIMED_OUT,
        _ => false,
    });
    changes.count() as u64
}

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const PEERS: [&str; 2] = ["router", "other"];
const OTHER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 4);
const OTHER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 4);
const VISITOR: Ipv4Addr = Ipv4Addr::new(203, 0, 115, 1);
/// Three times the slower of 100 ms here and 100 ms there.
const DETECTION_MS: u64 = 300;
/// The stamps are of a clock that is set right while it runs, by half a thousandth at most.
const SLEWED: Duration = Duration::from_millis(1);
/// The diagnostic of who heard nothing.
const TIMED_OUT: u8 = 1;
/// Longer than FRR takes to make a session anew.
const REST_MS: u64 = 2000;
/// How long the router is away once it is missed.
const LEAD: Duration = Duration::from_secs(1);
