//! A router that ends its sessions a thousand times.
//!
//! One session may flap once in a second or so, at FRR as here: so it is many at once, each from an address of its own. A changed hold time
//! begins them anew at once, for a speaker waits longer and longer for a router that flaps.

use super::{POOL, routed};
use rustix::process::Pid;
use serde_json::Value;
use std::fs;
use system_tests::lab::{TestLab, tell};
use xtask::lab::router::frr::Frr;

#[test]
fn a_router_that_flaps_a_thousand_times_costs_nothing_in_the_end() {
    let mut lab = routed(&peers(30));
    let node = lab.netns("n1").clone();
    for number in 0..SESSIONS {
        node.ip(&format!("address add {}/24 dev eth0", source(number)))
            .unwrap();
    }
    let frr = Frr::start(&mut lab, &bgpd(), "").unwrap();
    lab.start_speakers().unwrap();
    until(&lab, "all are up", |_, is_up| is_up);
    let mut early = None;
    for round in 1..=ROUNDS {
        frr.vtysh(&["clear bgp *"]).unwrap();
        until(&lab, "all went down", |downs, _| downs >= round);
        let pool_and_peers = format!("{POOL}{}", peers(30 + round % 2));
        let file = lab.manifests().join("bgp.yaml");
        let draft = file.with_extension("draft");
        fs::write(&draft, pool_and_peers).unwrap();
        fs::rename(draft, file).unwrap();
        until(&lab, "all are up again", |downs, is_up| {
            downs >= round && is_up
        });
        if round == ROUNDS / 10 {
            early = Some(Use::of(&lab));
        }
    }
    let (early, late) = (early.unwrap(), Use::of(&lab));
    let downs: u64 = peers_of(&lab).unwrap().iter().map(downs).sum();
    tell(&format!("{downs} flaps, from {early:?} to {late:?}"));
    assert!(downs >= SESSIONS as u64 * ROUNDS, "{downs}");
    assert!(late.files <= early.files + 3, "{early:?} {late:?}");
    assert!(
        late.threads <= early.threads + SESSIONS,
        "{early:?} {late:?}"
    );
    assert!(late.kib <= early.kib + 8 * 1024, "{early:?} {late:?}");
    let web = lab.frontends_of("default/web");
    let vip = web
        .iter()
        .map(|web| web.vip)
        .find(|vip| vip.is_ipv4())
        .unwrap();
    lab.eventually("the router has every way", || {
        match frr.paths(&format!("{vip}/32")).unwrap().len() {
            SESSIONS => Ok(()),
            other => Err(other),
        }
    });
}

/// What the speaker of `n1` has of the machine.
#[derive(Debug)]
struct Use {
    files: usize,
    threads: usize,
    kib: u64,
}

impl Use {
    fn of(lab: &TestLab) -> Self {
        let pid = Pid::from_raw(i32::try_from(lab.speakers()["n1"].id()).unwrap()).unwrap();
        let place = format!("/proc/{}", pid.as_raw_nonzero());
        let count = |what: &str| fs::read_dir(format!("{place}/{what}")).unwrap().count();
        let status = fs::read_to_string(format!("{place}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.unwrap().trim().trim_end_matches(" kB");
        Self {
            files: count("fd"),
            threads: count("task"),
            kib: kib.parse().unwrap(),
        }
    }
}

fn peers_of(lab: &TestLab) -> Result<Vec<Value>, String> {
    let mut seen = lab.seen("n1", &["bgp"])?;
    match seen["peers"].take() {
        Value::Array(peers) => Ok(peers),
        other => Err(other.to_string()),
    }
}

/// How often a session went down; never, while there is none.
fn downs(peer: &Value) -> u64 {
    peer["ups_downs"][1].as_u64().unwrap_or_default()
}

/// Waits until every session is as wanted: how often it went down, and whether it is up and all is told.
#[track_caller]
fn until(lab: &TestLab, what: &str, is: impl Fn(u64, bool) -> bool) {
    lab.eventually(what, || {
        let peers = peers_of(lab)?;
        let is_well = |peer: &&Value| {
            let is_up = peer["state"] == "Established" && peer["is_in_sync"] == true;
            is(downs(peer), is_up)
        };
        match peers.iter().filter(is_well).count() {
            SESSIONS => Ok(()),
            other => Err(format!("{other} of {SESSIONS}")),
        }
    });
}

fn source(number: usize) -> String {
    format!("192.0.2.{}", 101 + number)
}

fn peers(hold_seconds: u64) -> String {
    let peer = |number: usize| {
        let source = source(number);
        let more = format!(
            "  sourceAddress: {source}\n  holdTime: {hold_seconds}s\n  nodeSelectors:\n    - matchLabels: {{kubernetes.io/hostname: n1}}\n"
        );
        super::peer(&format!("p{number}"), "192.0.2.1", &more)
    };
    (0..SESSIONS).map(peer).collect()
}

fn bgpd() -> String {
    let head = "router bgp 64513\n bgp router-id 192.0.2.1\n no bgp ebgp-requires-policy\n";
    let neighbour = |number: usize| {
        let source = source(number);
        format!(" neighbor {source} remote-as 64512\n neighbor {source} timers connect 1\n")
    };
    let neighbours: String = (0..SESSIONS).map(neighbour).collect();
    format!("{head}{neighbours}")
}

const SESSIONS: usize = 25;
const ROUNDS: u64 = 40;
