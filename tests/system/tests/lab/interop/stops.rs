//! What a restart, a drain and a crash are to a router that keeps routes over one session (RFC 4724, asked for over IPv4) and does not over the
//! other (over IPv6), with BFD on both: what it does with the routes, and what it says it was told. How long it keeps them stands in `restarts`.

use super::frr::{BFD_NEIGHBOUR, BFDD, announced_by_all, bgpd, next_hops, watched};
use super::{bfd_settled, peer, routed};
use rustix::process::Signal;
use serde_json::Value;
use std::net::IpAddr;
use system_tests::lab::TestLab;
use xtask::lab::router::frr::Frr;
use xtask::lab::topology::{ROUTER_V4, ROUTER_V6};

#[test]
fn a_drain_ends_for_good_what_a_restart_and_a_crash_leave_to_the_router_that_keeps_routes() {
    let keeps = "  enableGracefulRestart: true\n  bfdProfile: fast\n";
    let peers = [
        peer("router-v4", &ROUTER_V4.to_string(), keeps),
        peer("router-v6", &ROUTER_V6.to_string(), "  bfdProfile: fast\n"),
    ];
    let mut lab = routed(&peers.concat());
    let config = bgpd(&lab, BFD_NEIGHBOUR);
    let frr = Frr::start(&mut lab, &config, BFDD).unwrap();
    lab.start_speakers().unwrap();
    let mut vips: Vec<IpAddr> = lab
        .frontends_of("default/web")
        .iter()
        .map(|web| web.vip)
        .collect();
    vips.sort_unstable();
    let [kept, unkept] = vips[..] else {
        panic!("one of each family: {vips:?}")
    };
    let all_up = |lab: &TestLab| {
        watched(lab, &frr, kept);
        watched(lab, &frr, unkept);
    };
    all_up(&lab);
    let heard = frr.neighbour(NODE_V4).unwrap();
    assert_eq!(heard["gracefulRestartInfo"]["rBit"], false, "{heard}");
    restarted(&mut lab, &frr, kept, unkept);
    all_up(&lab);
    drained(&lab, &frr, [kept, unkept]);
    lab.speakers()["n1"].ctl(&["drain", "--undo"]).unwrap();
    all_up(&lab);
    crashed(&mut lab, &frr, kept, unkept);
}

/// The router keeps the routes of the session that ends without a word, and loses those of the other one, which is reset.
#[track_caller]
fn restarted(lab: &mut TestLab, frr: &Frr, kept: IpAddr, unkept: IpAddr) {
    lab.speaker("n1").unwrap().stop().unwrap();
    let heard = lab.eventually("the session that keeps nothing is over", || {
        assert_eq!(next_hops(frr, kept).len(), 3, "a way is gone that is kept");
        let (hops, heard) = (next_hops(frr, unkept), frr.neighbour(NODE_V6).unwrap());
        match hops.len() == 2 && heard["bgpState"] != "Established" {
            true => Ok(heard),
            false => Err(heard),
        }
    });
    assert_eq!(
        heard["lastNotificationReason"], "Cease/Administrative Reset",
        "{heard}"
    );
    let heard = frr.neighbour(NODE_V4).unwrap();
    assert_ne!(heard["bgpState"], "Established", "{heard}");
    assert!(heard["lastNotificationReason"].is_null(), "{heard}");
    lab.start_speaker("n1").unwrap();
    lab.speaker("n1").unwrap().wait_until_ready().unwrap();
    told_of_restart(lab, frr);
}

/// Waits until the router has a session with `n1` whose OPEN says that it restarted, and that it forwarded meanwhile.
#[track_caller]
fn told_of_restart(lab: &TestLab, frr: &Frr) {
    lab.eventually("the router is told of a restart", || {
        let heard = frr.neighbour(NODE_V4).unwrap();
        let said = &heard["gracefulRestartInfo"];
        let is_told = said["rBit"] == true && said["ipv4Unicast"]["fBit"] == true;
        match is_told && heard["bgpState"] == "Established" {
            true => Ok(()),
            false => Err(heard),
        }
    });
}

/// Nothing is kept of who says that it goes, and BGP is over before BFD is switched off: a router like BIRD ends BGP for that.
#[track_caller]
fn drained(lab: &TestLab, frr: &Frr, vips: [IpAddr; 2]) {
    lab.speakers()["n1"].ctl(&["drain"]).unwrap();
    for vip in vips {
        lab.eventually("no way leads to the drained node", || {
            let hops = next_hops(frr, vip);
            if hops.len() == 2 { Ok(()) } else { Err(hops) }
        });
    }
    let ends = [
        ("router-v4", NODE_V4, "6/9", "6/2"),
        ("router-v6", NODE_V6, "6/2", "node drain"),
    ];
    for (name, node, first, then) in ends {
        let ended = lab.eventually("the session ends", || {
            let mut seen = lab.seen("n1", &["bgp", name])?;
            let peer = seen["peers"][0].take();
            match peer["last_sent"]["words"].is_string() {
                true => Ok(peer),
                false => Err(peer.to_string()),
            }
        });
        let said = ended["last_sent"]["words"].as_str().unwrap();
        assert!(said.starts_with(first) && said.contains(then), "{said}");
        assert!(said.contains("node drain"), "{said}");
        // Of BFD that goes down while BGP is up FRR says 6/10.
        assert!(ended["last_received"].is_null(), "{ended}");
        let seen = lab.eventually("its BFD is down then", || match bfd(frr, node) {
            seen if seen["status"] == "down" => Ok(seen),
            seen => Err(seen),
        });
        let said = seen["remote-diagnostic"].to_string();
        assert!(said.contains("administratively down"), "{seen}");
    }
}

/// The router keeps what it promised to keep though BFD is down, loses the rest, and has all back with the next process.
#[track_caller]
fn crashed(lab: &mut TestLab, frr: &Frr, kept: IpAddr, unkept: IpAddr) {
    let keeps = || assert_eq!(next_hops(frr, kept).len(), 3, "a way is gone that is kept");
    let had = bfd_settled(lab, "router-v4", keeps);
    let speaker = lab.speaker("n1").unwrap();
    speaker.signal(Signal::KILL);
    speaker.stop().unwrap();
    lab.eventually("BFD is down and the other way gone", || {
        keeps();
        let (hops, seen) = (next_hops(frr, unkept), bfd(frr, NODE_V4));
        match hops.len() == 2 && seen["status"] == "down" {
            true => Ok(()),
            false => Err((hops, seen)),
        }
    });
    lab.start_speaker("n1").unwrap();
    lab.speaker("n1").unwrap().wait_until_ready().unwrap();
    lab.eventually("the way that was gone is back", || {
        keeps();
        let hops = next_hops(frr, unkept);
        if hops.len() == 3 { Ok(()) } else { Err(hops) }
    });
    told_of_restart(lab, frr);
    let has = bfd_settled(lab, "router-v4", keeps);
    let number = |session: &Value| session["ours"]["discriminator"].clone();
    assert_ne!(number(&has), number(&had), "it is another session");
    announced_by_all(lab, frr, kept);
}

/// The session with a node as FRR's BFD has it; null while it has none.
fn bfd(frr: &Frr, node: &str) -> Value {
    let seen = frr.show("show bfd peers json").unwrap();
    let mut peers = seen.as_array().into_iter().flatten();
    let found = peers.find(|peer| peer["peer"] == *node);
    found.cloned().unwrap_or_default()
}

const NODE_V4: &str = "192.0.2.11";
const NODE_V6: &str = "2001:db8::11";
