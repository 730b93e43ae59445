//! Connections of both families that a router brings by all nodes, while a node is drained, and one of the nodes is on another segment.

use super::super::traffic::Ends;
use super::{until_spread, visitor, with_echo};
use crate::encap::{ELSEWHERE, behind_the_router, tunnelled};
use crate::moves::{Talk, open, open_until, talk_until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{IpAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use system_tests::lab::{TestLab, tell};
use xtask::lab::client::ask;
use xtask::lab::proxy::Frontend;

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// What it serves stays with it; the router sends that to the others, which send it on.
#[test]
fn a_node_may_be_drained_and_every_connection_goes_on() {
    let (mut lab, _frr) = with_echo("spread", &[]);
    lab.start_speakers().unwrap();
    let echoes = spread(&lab);
    let streams = opened(&lab, &echoes);
    let rest = ["n2", "n3"];
    let talks = under_traffic(streams, |stop| {
        lab.speakers()["n1"].ctl(&["drain"]).unwrap();
        echoes
            .iter()
            .for_each(|echo| until_spread(&lab, echo.vip, &rest, &rest));
        let counts = || -> Vec<u64> {
            let of = |echo: &Frontend| {
                rest.iter()
                    .map(|node| sent(&lab, node, "n1", echo.vip))
                    .sum()
            };
            echoes.iter().map(of).collect()
        };
        let before = counts();
        lab.eventually("they send on to it what it has", || {
            let now = counts();
            match now.iter().zip(&before).all(|(now, before)| now > before) {
                true => Ok(()),
                false => Err((before.clone(), now)),
            }
        });
        thread::sleep(WHILE);
        stop.store(true, Ordering::Relaxed);
    });
    none_broke(&lab, "n1 was drained", &echoes, &talks);
}

/// No router has a session with the one that is elsewhere, and it has its share all the same.
#[test]
fn a_node_on_another_segment_serves_what_routes_bring_and_a_drain_breaks_nothing() {
    let (mut lab, _frr) = with_echo("spread-encap", &ELSEWHERE);
    behind_the_router(&lab);
    lab.start_speakers().unwrap();
    let echoes = lab.frontends_of("default/echo-tcp");
    let near = ["n1", "n3"];
    echoes
        .iter()
        .for_each(|echo| until_spread(&lab, echo.vip, &near, &NODES));
    let streams = opened(&lab, &echoes);
    let talks = under_traffic(streams, |stop| {
        thread::sleep(WHILE);
        lab.speakers()["n3"].ctl(&["drain"]).unwrap();
        let left = ["n1", "n2"];
        echoes
            .iter()
            .for_each(|echo| until_spread(&lab, echo.vip, &["n1"], &left));
        thread::sleep(WHILE);
        stop.store(true, Ordering::Relaxed);
    });
    for node in near {
        let told = tunnelled(&lab, node);
        assert!(told["wrapped"] > 0, "{node}: {told:?}");
    }
    let told = tunnelled(&lab, "n2");
    assert!(told["unwrapped"] > 0 && told["stranger"] == 0, "{told:?}");
    for echo in &echoes {
        let far = sent(&lab, "n1", "n2", echo.vip);
        assert!(far > 0, "of {} to n2", echo.vip);
    }
    none_broke(&lab, "n3 was drained, n2 is elsewhere", &echoes, &talks);
}

/// To the others it is dead meanwhile, and they give its share away, but for the connections that it has.
#[test]
fn a_speaker_may_be_killed_and_be_back_and_no_connection_breaks() {
    let (mut lab, _frr) = with_echo("spread", &[]);
    lab.start_speakers().unwrap();
    let echoes = spread(&lab);
    let streams = opened(&lab, &echoes);
    let visitor = visitor(&lab);
    let rest = ["n2", "n3"];
    let mut later = Vec::new();
    let talks = under_traffic(streams, |stop| {
        thread::sleep(WHILE);
        lab.speaker("n1").unwrap().kill().unwrap();
        for echo in &echoes {
            until_shared(&lab, echo.vip, &rest, &rest);
        }
        later = thread::scope(|scope| {
            let visitor = &visitor;
            let open = move |at| visitor.enter(|| open_until(at, stop)).unwrap();
            let fresh = echoes.iter().map(|echo| echo.address());
            let fresh: Vec<_> = fresh.map(|at| scope.spawn(move || open(at))).collect();
            let _ends = Ends(stop);
            thread::sleep(WHILE);
            lab.start_speaker("n1").unwrap();
            for echo in &echoes {
                until_spread(&lab, echo.vip, &NODES, &NODES);
            }
            thread::sleep(WHILE);
            stop.store(true, Ordering::Relaxed);
            let fresh = fresh.into_iter().map(|talk| talk.join().unwrap());
            fresh.collect()
        });
    });
    none_broke(&lab, "n1's speaker was killed", &echoes, &talks);
    none_broke(&lab, "it was away and is back", &echoes, &later);
    assert!(later.iter().all(|talk| talk.all > 20), "{later:?}");
}

/// Waits until each of these nodes spreads an address over exactly those.
#[track_caller]
fn until_shared(lab: &TestLab, vip: IpAddr, nodes: &[&str], over: &[&str]) {
    let over: BTreeSet<&str> = over.iter().copied().collect();
    lab.eventually("they spread it over those that are left", || {
        let told: Vec<Value> = nodes
            .iter()
            .map(|node| super::steer(lab, node, vip))
            .collect();
        match told.iter().all(|told| super::is_spread(told, &over)) {
            true => Ok(()),
            false => Err(told),
        }
    });
}

/// The addresses of the echo, once all nodes announce them and spread them over each other.
#[track_caller]
fn spread(lab: &TestLab) -> Vec<Frontend> {
    let echoes = lab.frontends_of("default/echo-tcp");
    assert_eq!(echoes.len(), 2, "one of each family");
    echoes
        .iter()
        .for_each(|echo| until_spread(lab, echo.vip, &NODES, &NODES));
    echoes
}

/// Connections from behind the router, by address.
fn opened(lab: &TestLab, echoes: &[Frontend]) -> Vec<Vec<TcpStream>> {
    let visitor = visitor(lab);
    let open = |echo: &Frontend| {
        lab.eventually("it answers", || visitor.enter(|| ask(echo)).unwrap());
        visitor.enter(|| open(echo.address(), STREAMS)).unwrap()
    };
    echoes.iter().map(open).collect()
}

/// What becomes of connections while `f` runs, which says when they have talked enough.
fn under_traffic(streams: Vec<Vec<TcpStream>>, f: impl FnOnce(&AtomicBool)) -> Vec<Talk> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        let talk = |streams| scope.spawn(move || talk_until(streams, stop));
        let talks: Vec<_> = streams.into_iter().map(talk).collect();
        let _ends = Ends(stop);
        f(stop);
        let talks = talks.into_iter().map(|talk| talk.join().unwrap());
        talks.collect()
    })
}

#[track_caller]
fn none_broke(lab: &TestLab, what: &str, echoes: &[Frontend], talks: &[Talk]) {
    for (echo, talk) in echoes.iter().zip(talks) {
        tell(&format!(
            "{what}: {} of {} connections to {} broke",
            talk.broken, talk.all, echo.vip
        ));
    }
    let told = echoes.iter().flat_map(|echo| {
        NODES.map(|node| format!("{node}: {}\n", super::steer(lab, node, echo.vip)))
    });
    let broken: usize = talks.iter().map(|talk| talk.broken).sum();
    assert_eq!(broken, 0, "{what}: {talks:?}\n{}", told.collect::<String>());
}

/// Packets that one node gave to another.
fn sent(lab: &TestLab, by: &str, to: &str, vip: IpAddr) -> u64 {
    let told = super::steer(lab, by, vip);
    let rows = told["nodes"].as_array().cloned().unwrap_or_default();
    let row = rows.iter().find(|row| row["node"] == to);
    row.and_then(|row: &Value| row["packets"].as_u64())
        .unwrap_or_default()
}

const STREAMS: usize = 60;
/// Long enough for every connection to say something several times.
const WHILE: Duration = Duration::from_secs(4);
