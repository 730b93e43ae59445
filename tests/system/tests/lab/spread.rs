//! Packets of a VIP that are spread over the nodes (`docs/steering.md`): who serves, what a client sees, and which connections outlive
//! what happens to nodes.
//!
//! The service proxy of each node translates addresses by tables of its own, so that a packet of a connection which reaches another
//! node than before is reset.

#[path = "spread/crowd.rs"]
mod crowd;
#[path = "spread/datagrams.rs"]
mod datagrams;
#[path = "spread/many.rs"]
mod many;

use super::moves::{Talk, open, open_until, talk_until};
use super::restart::echo_until;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use system_tests::lab::{TestLab, tell};
use xtask::lab::proxy::Frontend;

/// What makes the one advertisement ask for it.
const SPREAD: (&str, &str, &str) = (
    "pools.yaml",
    "kind: L2Advertisement\nmetadata:\n",
    "kind: L2Advertisement\nmetadata:\n  annotations: {heliograph.io/steering: spread}\n",
);

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// What the node tells of a VIP on its one link.
fn steer(lab: &TestLab, node: &str, vip: IpAddr) -> Value {
    let told = lab.speakers()[node].ctl_json(&["steer", &vip.to_string()]);
    told.map_or(Value::Null, |told| told["vips"][0].clone())
}

/// The holder of a VIP, once it spreads over exactly these nodes, and the others would as well.
fn until_spread(lab: &TestLab, vip: IpAddr, nodes: &[&str]) -> String {
    let wanted: BTreeSet<&str> = nodes.iter().copied().collect();
    lab.eventually("every node spreads it over them", || {
        let holder = lab
            .holder(vip)
            .ok_or_else(|| "nobody holds it".to_owned())?;
        let told = lab
            .speakers()
            .keys()
            .map(|node| (node, steer(lab, node, vip)));
        let told: BTreeMap<_, _> = told.collect();
        let is_said = |told: &Value| {
            let rows = told["nodes"].as_array().cloned().unwrap_or_default();
            let sharing = rows.iter().filter(|row| row["weight"] != 0);
            sharing
                .filter_map(|row| row["node"].as_str())
                .collect::<BTreeSet<_>>()
                == wanted
        };
        match told[&holder]["is_spread"] == true && told.values().all(is_said) {
            true => Ok(holder),
            false => Err(format!("{holder}: {told:?}")),
        }
    })
}

/// Packets that each node got of a VIP, as its holder counts them.
fn packets(lab: &TestLab, holder: &str, vip: IpAddr) -> BTreeMap<String, u64> {
    let told = steer(lab, holder, vip);
    let rows = told["nodes"].as_array().cloned().unwrap_or_default();
    let row = |row: &Value| Some((row["node"].as_str()?.to_owned(), row["packets"].as_u64()?));
    rows.iter().filter_map(row).collect()
}

#[test]
fn every_node_serves_and_the_client_is_as_without() {
    let lab = TestLab::with(&[SPREAD]);
    for frontend in lab.frontends_of("default/web") {
        let holder = until_spread(&lab, frontend.vip, &NODES);
        // The node that serves puts an address of its own in the client's place: of its link, or for its own pods of theirs.
        let serving = |address: IpAddr| {
            let nodes = &lab.topology().nodes;
            let mut nodes = nodes.iter();
            nodes
                .find(|node| node.netns.addresses().unwrap().contains(&address))
                .map(|node| node.name.clone())
        };
        let seen: BTreeSet<_> = (0..ASKED)
            .map(|_| serving(lab.answer(&frontend).client()))
            .collect();
        assert_eq!(seen.len(), NODES.len(), "{seen:?}");
        assert!(!seen.contains(&None), "{seen:?}");
        let packets = packets(&lab, &holder, frontend.vip);
        assert!(NODES.iter().all(|node| packets[*node] > 0), "{packets:?}");
        tell(&format!("{} from {holder}: {packets:?}", frontend.vip));
    }
}

#[test]
fn flows_of_datagrams_are_told_with_whose_they_are() {
    let lab = TestLab::with(&[SPREAD]);
    for udp in lab.frontends_of("default/echo-udp") {
        until_spread(&lab, udp.vip, &NODES);
        lab.eventually("the holder remembers the flow", || {
            lab.answer(&udp);
            let holder = lab.holder(udp.vip).ok_or_else(|| "nobody".to_owned())?;
            let words = ["flows", &udp.vip.to_string(), "--limit", "10"];
            let told = lab.speakers()[&holder].ctl_json(&words);
            let told = told.map_err(|why| format!("{why:?}"))?;
            let is_told = |flow: &Value| {
                let node = flow["node"].as_str().unwrap_or_default();
                let at = udp.address().to_string();
                flow["protocol"] == "UDP" && flow["vip"] == at && NODES.contains(&node)
            };
            let mut flows = told["flows"].as_array().into_iter().flatten();
            match flows.any(is_told) {
                true => Ok(()),
                false => Err(told.to_string()),
            }
        });
    }
}

/// Without it only one of the nodes that have endpoints ever gets anything.
#[test]
fn with_policy_local_every_node_with_endpoints_serves_and_sees_the_client() {
    let lab = TestLab::with(&[SPREAD]);
    for frontend in lab.frontends_of("default/web-local") {
        until_spread(&lab, frontend.vip, &["n1", "n2"]);
        let mut nodes = BTreeSet::new();
        for _ in 0..ASKED {
            let answer = lab.answer(&frontend);
            nodes.insert(answer.node().to_owned());
            let own = lab.client().addresses().unwrap();
            assert!(
                own.contains(&answer.client()),
                "{} of {own:?}",
                answer.client()
            );
        }
        assert_eq!(nodes, BTreeSet::from(["n1".to_owned(), "n2".to_owned()]));
    }
}

#[test]
fn connections_outlive_that_it_begins_and_that_it_ends() {
    let lab = TestLab::sample();
    let echo = lab.frontends_of("default/echo-tcp").remove(0);
    lab.until_held(echo.vip, |holder| holder.is_some());
    lab.answer(&echo);
    let (_, from, to) = SPREAD;
    let (talk, later) = under_traffic(&lab, &echo, || {
        lab.edit("pools.yaml", from, to);
        let holder = until_spread(&lab, echo.vip, &NODES);
        thread::sleep(WHILE);
        lab.edit("pools.yaml", to, from);
        // The holder alone has what is new; what went to others goes on there.
        lab.eventually("nobody else gets what is new", || {
            let told = steer(&lab, &holder, echo.vip);
            match told["is_spread"] == true && told["nodes"][0]["slots"] == 16_381 {
                true => Ok(()),
                false => Err(told),
            }
        });
        thread::sleep(WHILE);
    });
    assert_eq!((talk.broken, later.broken), (0, 0), "{talk:?} {later:?}");
    assert!(later.all > 20, "{}", later.all);
}

#[test]
fn a_node_that_leaves_keeps_its_connections_and_gets_no_new_ones() {
    let lab = TestLab::with(&[SPREAD]);
    let echo = lab.frontends_of("default/echo-tcp").remove(0);
    let holder = until_spread(&lab, echo.vip, &NODES);
    let leaving = *NODES.iter().find(|node| **node != holder).unwrap();
    let rest: Vec<&str> = NODES.into_iter().filter(|node| *node != leaving).collect();
    let (talk, later) = under_traffic(&lab, &echo, || {
        thread::sleep(WHILE);
        lab.exclude(leaving);
        until_spread(&lab, echo.vip, &rest);
        thread::sleep(WHILE);
    });
    let told = steer(&lab, &holder, echo.vip);
    assert_eq!(
        (talk.broken, later.broken),
        (0, 0),
        "{talk:?} {later:?} {told}"
    );
    let row = told["nodes"].as_array().unwrap().iter();
    let row = row.clone().find(|row| row["node"] == leaving).unwrap();
    assert_eq!(row["slots"], 0, "{told}");
    assert!(row["slots_before"].as_u64() > Some(0), "{told}");
}

/// What it serves itself stays with it, and what others serve goes on through the one that takes the VIP.
#[test]
fn the_holder_may_be_drained_and_no_connection_breaks() {
    let lab = TestLab::with(&[SPREAD]);
    let echo = lab.frontends_of("default/echo-tcp").remove(0);
    let udp = lab.frontends_of("default/echo-udp").remove(0);
    let holder = until_spread(&lab, echo.vip, &NODES);
    lab.answer(&udp);
    let client = lab.client().clone();
    let stop = AtomicBool::new(false);
    let streams = client.enter(|| open(echo.address(), STREAMS)).unwrap();
    let (talk, (sent, lost)) = thread::scope(|scope| {
        let talk = scope.spawn(|| talk_until(streams, &stop));
        let datagrams = scope.spawn(|| client.enter(|| echo_until(udp.address(), &stop)).unwrap());
        thread::sleep(WHILE);
        lab.speakers()[&holder].ctl(&["drain"]).unwrap();
        lab.eventually("another has it, and spreads it", || {
            let mut others = NODES.iter().filter(|node| **node != holder);
            let is_there = |node: &&&str| steer(&lab, node, echo.vip)["is_spread"] == true;
            others.find(is_there).map(drop).ok_or("nobody")
        });
        thread::sleep(WHILE);
        stop.store(true, Ordering::Relaxed);
        (talk.join().unwrap(), datagrams.join().unwrap())
    });
    tell(&format!(
        "{holder} was drained: {} of {STREAMS} connections broke, {lost} of {sent} datagrams lost",
        talk.broken
    ));
    let told = NODES.map(|node| {
        let speaker = &lab.speakers()[node];
        let all = [["steer"], ["counters"]].map(|asked| speaker.ctl(&asked).unwrap());
        format!("{node}:\n{}", all.join("\n"))
    });
    let told = told.join("\n");
    assert_eq!(
        (talk.broken, lost),
        (0, 0),
        "of {STREAMS} and {sent}; {told}"
    );
}

/// Its kernel goes on, but may not speak for the VIP: what it does not spread any more it must not reset either.
#[test]
fn the_holders_speaker_may_be_killed_and_what_others_serve_goes_on() {
    let mut lab = TestLab::with(&[SPREAD]);
    let echo = lab.frontends_of("default/echo-tcp").remove(0);
    let holder = until_spread(&lab, echo.vip, &NODES);
    let client = lab.client().clone();
    let stop = AtomicBool::new(false);
    let before = packets(&lab, &holder, echo.vip);
    let streams = client.enter(|| open(echo.address(), STREAMS)).unwrap();
    let after = packets(&lab, &holder, echo.vip);
    let talk = thread::scope(|scope| {
        let talk = scope.spawn(|| talk_until(streams, &stop));
        thread::sleep(WHILE);
        lab.speaker(&holder).unwrap().kill().unwrap();
        lab.eventually("another has it, and spreads it", || {
            let mut others = NODES.iter().filter(|node| **node != holder);
            let is_there = |node: &&&str| steer(&lab, node, echo.vip)["is_spread"] == true;
            others.find(is_there).map(drop).ok_or("nobody")
        });
        thread::sleep(WHILE);
        stop.store(true, Ordering::Relaxed);
        talk.join().unwrap()
    });
    let on_others = |counts: &BTreeMap<String, u64>| -> u64 {
        let of_others = counts.iter().filter(|(node, _)| **node != holder);
        of_others.map(|(_, packets)| packets).sum()
    };
    assert!(
        on_others(&after) > on_others(&before),
        "{before:?} {after:?}"
    );
    tell(&format!(
        "the speaker of {holder} was killed: {} of {STREAMS} connections broke",
        talk.broken
    ));
    assert_eq!(talk.broken, 0, "of {STREAMS}; {before:?} {after:?}");
}

/// What becomes of connections from before and of those that are opened while `f` runs.
fn under_traffic(lab: &TestLab, echo: &Frontend, f: impl FnOnce()) -> (Talk, Talk) {
    let client = lab.client().clone();
    let stop = AtomicBool::new(false);
    let streams = client.enter(|| open(echo.address(), STREAMS)).unwrap();
    thread::scope(|scope| {
        let talk = scope.spawn(|| talk_until(streams, &stop));
        let later = scope.spawn(|| client.enter(|| open_until(echo.address(), &stop)).unwrap());
        f();
        stop.store(true, Ordering::Relaxed);
        (talk.join().unwrap(), later.join().unwrap())
    })
}

/// Requests that find every one of three nodes but for one time in ten thousand million.
const ASKED: usize = 60;
const STREAMS: usize = 100;
const WHILE: Duration = Duration::from_secs(2);
