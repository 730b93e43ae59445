//! Packets that a router sends to nodes by routes of BGP, and what is done with them there by steering and options (`docs/steering.md`,
//! `docs/options.md`).
//!
//! The router has equal ways to all nodes that announce an address, and chooses anew for connections that are there when a node comes. The
//! service proxy of each node translates addresses by tables of its own, so that a packet of a connection that reaches another node than
//! before is reset.

#[path = "steered/lives.rs"]
mod lives;

use super::frr::bgpd;
use super::{POOL, peer};
use crate::moves::{open, open_until, talk_until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use system_tests::lab::{TestLab, tell, within};
use xtask::lab::client::ask;
use xtask::lab::net::Netns;
use xtask::lab::router::frr::Frr;
use xtask::lab::topology::{Node, ROUTER_V4, ROUTER_V6, VISITOR_V4};

/// A lab with FRR whose BGPAdvertisement has these lines more, and `service` in its pool; no speaker runs yet.
fn lab(metadata: &str, spec: &str, changes: &[(&str, &str, &str)]) -> (TestLab, Frr) {
    let head = "kind: BGPAdvertisement\nmetadata:\n";
    let pool = POOL.replace(head, &format!("{head}  annotations: {{{metadata}}}\n"));
    let pools = "  ipAddressPools: [routed]\n";
    let pool = pool.replace(pools, &format!("{pools}{spec}"));
    let graceful = "  enableGracefulRestart: true\n";
    let by_v4 = peer("router-v4", &ROUTER_V4.to_string(), graceful);
    let by_v6 = peer("router-v6", &ROUTER_V6.to_string(), graceful);
    let manifest = format!("{pool}{by_v4}{by_v6}");
    let mut all = vec![("bgp.yaml", "", manifest.as_str())];
    all.extend(changes);
    let mut lab = TestLab::routed(&all);
    let config = bgpd(&lab, "");
    let frr = Frr::start(&mut lab, &config, "").unwrap();
    (lab, frr)
}

/// A lab whose echo has addresses of the pool and is spread.
fn with_echo(how: &str, changes: &[(&str, &str, &str)]) -> (TestLab, Frr) {
    let of = |name: &str| format!("  name: {name}\n  namespace: default\n  annotations:\n");
    let into = |name: &str| format!("{}    metallb.io/address-pool: routed\n", of(name));
    let [tcp, udp] = ["echo-tcp", "echo-udp"].map(|name| (of(name), into(name)));
    let mut all = vec![
        ("echo.yaml", tcp.0.as_str(), tcp.1.as_str()),
        ("echo.yaml", udp.0.as_str(), udp.1.as_str()),
    ];
    all.extend(changes);
    lab(&format!("heliograph.io/steering: {how}"), "", &all)
}

fn visitor(lab: &TestLab) -> Netns {
    let visitor = &lab.topology().visitor;
    visitor.clone().expect("it is behind the router")
}

/// What the node tells of a VIP on its one link.
fn steer(lab: &TestLab, node: &str, vip: IpAddr) -> Value {
    let told = lab.seen(node, &["steer", &vip.to_string()]);
    told.map_or(Value::Null, |mut told| told["vips"][0].take())
}

/// The nodes that the router's kernel sends packets for an address to. What BGP says comes a little earlier, and a connection that is opened in
/// between is sent to another node right after.
fn ways(lab: &TestLab, vip: IpAddr) -> BTreeSet<String> {
    let router = lab.topology().router.clone().expect("there is one");
    let family = if vip.is_ipv4() { "-4" } else { "-6" };
    let told = router.output("ip", &[family, "route", "show", &vip.to_string()]);
    let told = told.unwrap_or_default();
    let words: Vec<&str> = told.split_whitespace().collect();
    let hops = words.windows(2).filter(|pair| pair[0] == "via");
    let hops: BTreeSet<IpAddr> = hops.filter_map(|pair| pair[1].parse().ok()).collect();
    let nodes = lab.topology().nodes.iter();
    let is_hop = |node: &&Node| {
        let own = node.netns.addresses().unwrap_or_default();
        own.iter().any(|address| hops.contains(address))
    };
    nodes.filter(is_hop).map(|node| node.name.clone()).collect()
}

/// Waits until exactly these nodes announce an address, and each spreads it over these.
#[track_caller]
fn until_spread(lab: &TestLab, vip: IpAddr, announcing: &[&str], over: &[&str]) {
    let over: BTreeSet<&str> = over.iter().copied().collect();
    let nodes: BTreeSet<String> = announcing.iter().map(ToString::to_string).collect();
    // A node that comes announces it when it has been there for ten seconds.
    let settled = within(PATIENCE, || {
        let seen = ways(lab, vip);
        let told = announcing.iter().map(|node| steer(lab, node, vip));
        let told: Vec<Value> = told.collect();
        match seen == nodes && told.iter().all(|told| is_spread(told, &over)) {
            true => Ok(()),
            false => Err(format!("{seen:?} {told:?}")),
        }
    });
    settled.unwrap_or_else(|why| panic!("they announce it and spread it: {why}"));
}

/// Whether it is spread over exactly these nodes, by what a node tells of it.
fn is_spread(told: &Value, over: &BTreeSet<&str>) -> bool {
    let rows = told["nodes"].as_array().cloned().unwrap_or_default();
    let sharing = rows.iter().filter(|row| row["weight"] != 0);
    let sharing: BTreeSet<_> = sharing.filter_map(|row| row["node"].as_str()).collect();
    told["is_spread"] == true && sharing == *over
}

/// The words of an answer.
fn words(answer: &str) -> BTreeMap<&str, &str> {
    let words = answer.split_whitespace();
    words.filter_map(|word| word.split_once('=')).collect()
}

/// How often the nodes did something by option.
fn by_option(lab: &TestLab, name: &str) -> u64 {
    let nodes = lab.speakers().keys();
    let counts = nodes.filter_map(|node| {
        let told = lab.seen(node, &["counters"]).ok()?;
        told["options"][name].as_u64()
    });
    counts.sum()
}

/// Only one of the three nodes announces it, and two have pods.
#[test]
fn what_a_route_brings_reaches_nodes_that_have_none_and_pods_see_the_client() {
    let named = "  name: web-local\n  namespace: default\nspec:\n";
    let pooled = "  name: web-local\n  namespace: default\n  annotations:\n    metallb.io/address-pool: routed\n    \
                  heliograph.io/source-ranges: program\nspec:\n";
    let letting = "kind: IPAddressPool\nmetadata:\n  annotations: {heliograph.io/allow-service: source-ranges}\n";
    let (mut lab, _frr) = lab(
        "heliograph.io/steering: spread-encap, heliograph.io/closed-port: reject, heliograph.io/echo: 'true'",
        "  nodeSelectors:\n    - matchLabels: {kubernetes.io/hostname: n1}\n",
        &[("web-local.yaml", named, pooled)],
    );
    lab.edit("bgp.yaml", "kind: IPAddressPool\nmetadata:\n", letting);
    lab.start_speakers().unwrap();
    let web = lab.frontends_of("default/web-local").remove(0);
    until_spread(&lab, web.vip, &["n1"], &["n1", "n2"]);
    let visitor = visitor(&lab);
    let mut nodes = BTreeSet::new();
    for _ in 0..ASKED {
        let answer = lab.eventually("it answers", || visitor.enter(|| ask(&web)).unwrap());
        let words = words(&answer);
        assert_eq!(words["client"], VISITOR_V4.to_string(), "{answer}");
        nodes.insert(words["node"].to_owned());
    }
    assert_eq!(nodes, BTreeSet::from(["n1".to_owned(), "n2".to_owned()]));
    tell(&format!("{}", steer(&lab, "n1", web.vip)));

    let opened = |port| {
        let at = SocketAddr::new(web.vip, port);
        let tried = visitor.enter(|| TcpStream::connect_timeout(&at, BRIEFLY));
        tried
            .unwrap()
            .map_or_else(|why| why.kind(), |_| ErrorKind::Other)
    };
    lab.eventually("a closed port is refused", || match opened(CLOSED) {
        ErrorKind::ConnectionRefused if by_option(&lab, "rejected") > 0 => Ok(()),
        other => Err(other),
    });
    lab.eventually("a ping is answered", || {
        let words = ["-n", "-c", "1", "-W", "2", &web.vip.to_string()];
        let told = visitor.output("ping", &words);
        match told.is_ok() && by_option(&lab, "echoed") > 0 {
            true => Ok(()),
            false => Err(told.map_err(|why| why.to_string())),
        }
    });
    let spec = "  externalTrafficPolicy: Local\n";
    let ranges = format!("{spec}  loadBalancerSourceRanges: [192.0.2.0/24]\n");
    lab.edit("web-local.yaml", spec, &ranges);
    lab.eventually("nobody outside the ranges is served", || match opened(80) {
        ErrorKind::TimedOut if by_option(&lab, "refused") > 0 => Ok(()),
        other => Err(other),
    });
}

/// Without it the router's new choice of ways breaks two of three connections or so.
#[test]
fn connections_outlive_that_a_node_comes_and_the_router_chooses_ways_anew() {
    let (mut lab, _frr) = with_echo("spread", &[]);
    for node in ["n1", "n2"] {
        lab.start_speaker(node).unwrap();
    }
    let echo = lab.frontends_of("default/echo-tcp").remove(0);
    let two = ["n1", "n2"];
    until_spread(&lab, echo.vip, &two, &two);
    let visitor = visitor(&lab);
    lab.eventually("it answers", || visitor.enter(|| ask(&echo)).unwrap());
    let stop = AtomicBool::new(false);
    let streams = visitor.enter(|| open(echo.address(), STREAMS)).unwrap();
    let three = ["n1", "n2", "n3"];
    let (talk, later) = thread::scope(|scope| {
        let talk = scope.spawn(|| talk_until(streams, &stop));
        lab.start_speaker("n3").unwrap();
        until_spread(&lab, echo.vip, &three, &three);
        let later = scope.spawn(|| visitor.enter(|| open_until(echo.address(), &stop)).unwrap());
        thread::sleep(WHILE);
        stop.store(true, Ordering::Relaxed);
        (talk.join().unwrap(), later.join().unwrap())
    });
    let told = three.map(|node| format!("{node}: {}", steer(&lab, node, echo.vip)));
    tell(&format!(
        "n3 came: {} of {} connections broke, and {} of {} later ones; {told:?}",
        talk.broken, talk.all, later.broken, later.all
    ));
    assert_eq!((talk.broken, later.broken), (0, 0), "{told:?}");
    let from_n3 = steer(&lab, "n3", echo.vip);
    let rows = from_n3["nodes"].as_array().unwrap();
    let others = rows.iter().filter(|row| row["node"] != "n3");
    let sent: u64 = others.filter_map(|row| row["packets"].as_u64()).sum();
    assert!(
        sent > 0,
        "the router chose n3 for some of the others': {told:?}"
    );
}

/// Requests that find both of two nodes but for one time in a thousand million.
const ASKED: usize = 30;
const STREAMS: usize = 100;
/// A port that no service has.
const CLOSED: u16 = 4_444;
const BRIEFLY: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(90);
/// Long enough for every connection to say something several times.
const WHILE: Duration = Duration::from_secs(4);
