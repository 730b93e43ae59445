//! Speakers that are away for a moment, a while and long, at every router that can keep routes meanwhile (RFC 4724); and what those hear
//! that cannot.

use super::frr::{bgpd, next_hops};
use super::others::{
    EXABGP, bird_conf, dual_stack, gobgp_toml, paths_at_gobgp, prefixes, ways_at_bird,
};
use super::service;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};
use system_tests::lab::TestLab;
use xtask::lab::router::bird::Bird;
use xtask::lab::router::exabgp::ExaBgp;
use xtask::lab::router::frr::Frr;
use xtask::lab::router::gobgp::GoBgp;

#[test]
fn rfc4724_frr_keeps_the_routes_of_a_speaker_that_is_away_for_twenty_seconds() {
    let mut lab = dual_stack(GRACEFUL);
    let config = bgpd(&lab, " neighbor {N} password secret\n");
    let frr = Frr::start(&mut lab, &config, "").unwrap();
    lab.start_speakers().unwrap();
    away(&mut lab, |prefix| {
        let (vip, _) = prefix.split_once('/').unwrap();
        next_hops(&frr, vip.parse().unwrap()).len()
    });
}

#[test]
fn rfc4724_bird_keeps_the_routes_of_a_speaker_that_is_away_for_twenty_seconds() {
    let mut lab = dual_stack(GRACEFUL);
    let config = bird_conf(&lab, "");
    let bird = Bird::start(&mut lab, &config).unwrap();
    lab.start_speakers().unwrap();
    away(&mut lab, |prefix| ways_at_bird(&bird, prefix));
}

#[test]
fn rfc4724_gobgp_keeps_the_routes_of_a_speaker_that_is_away_for_twenty_seconds() {
    let mut lab = dual_stack(GRACEFUL);
    let config = gobgp_toml(&lab)
        .replace(
            "  [neighbors.transport.config]",
            "  [neighbors.graceful-restart.config]\n    enabled = true\n    restart-time = 120\n  [neighbors.transport.config]",
        )
        .replace(
            "-unicast\"\n",
            "-unicast\"\n    [neighbors.afi-safis.mp-graceful-restart.config]\n      enabled = true\n",
        );
    let gobgp = GoBgp::start(&mut lab, &config).unwrap();
    lab.start_speakers().unwrap();
    away(&mut lab, |prefix| paths_at_gobgp(&gobgp, prefix).len());
}

#[test]
fn a_router_that_restarts_is_dialled_each_connect_time_and_told_everything_anew() {
    let mut lab = dual_stack("  enableGracefulRestart: true\n  connectTime: 1s\n");
    let ebgp = " no bgp ebgp";
    let config = bgpd(&lab, "").replace(ebgp, &format!(" bgp graceful-restart\n{ebgp}"));
    let frr = Frr::start(&mut lab, &config, "").unwrap();
    lab.start_speakers().unwrap();
    chosen(&lab, &frr);
    frr.kill();
    let mut waits = BTreeSet::new();
    lab.eventually("it is dialled every second, however often in vain", || {
        let seen = lab.seen("n1", &["bgp", "router"])?;
        let peer = &seen["peers"][0];
        let is_active = peer["state"] == "Active";
        let wait_ms = peer["retry_ms"].as_u64().filter(|_| is_active);
        assert!(wait_ms <= Some(1_000), "{seen}");
        // Dials are closer together for the first ten seconds.
        if wait_ms > Some(200) {
            waits.insert(peer["times"].as_u64());
        }
        if waits.len() > 4 { Ok(()) } else { Err(seen) }
    });
    let frr = Frr::start(&mut lab, &config, "").unwrap();
    chosen(&lab, &frr);
    lab.eventually("FRR restarted gracefully, and heard the End-of-RIB", || {
        let neighbour = frr.neighbour("192.0.2.11").unwrap();
        let graceful = &neighbour["gracefulRestartInfo"];
        let both = json!({"ipv4Unicast": true, "ipv6Unicast": true});
        match graceful["localGrMode"] == "Restart*" && graceful["endOfRibRecv"] == both {
            true => Ok(()),
            false => Err(neighbour),
        }
    });
    let seen = lab.speakers()["n1"].ctl_json(&["bgp", "router"]).unwrap();
    assert_eq!(seen["peers"][0]["ups_downs"], json!([2, 1]), "{seen}");
}

/// Waits until FRR has the ways of all nodes to each address, and has chosen among them: one that restarts gracefully does so only once all
/// have said their End-of-RIB, or after minutes.
#[track_caller]
fn chosen(lab: &TestLab, frr: &Frr) {
    for prefix in prefixes(lab, "default/web") {
        lab.eventually("all ways are there, and one is the best", || {
            let paths = frr.paths(&prefix).unwrap();
            let is_best = |path: &Value| path["bestpath"]["overall"] == true;
            match paths.len() == 3 && paths.iter().any(is_best) {
                true => Ok(()),
                false => Err(paths),
            }
        });
    }
}

#[test]
fn rfc8326_a_router_that_keeps_no_routes_sees_a_drain_when_its_speaker_restarts() {
    let mut lab = dual_stack("  nodeSelectors:\n    - matchLabels: {kubernetes.io/hostname: n1}\n");
    let config = EXABGP.replace("[ watch ];", "[ watch ]; neighbor-changes;");
    let exabgp = ExaBgp::start(&mut lab, &config).unwrap();
    lab.start_speakers().unwrap();
    let web = prefixes(&lab, "default/web");
    let said = || -> Vec<String> {
        let messages = exabgp.messages().unwrap();
        messages.iter().map(ToString::to_string).collect()
    };
    let names_all = |text: &str| web.iter().all(|prefix| text.contains(prefix.as_str()));
    lab.eventually("both routes", || {
        let said = said();
        if names_all(&said.concat()) {
            Ok(())
        } else {
            Err(said)
        }
    });
    lab.speaker("n1")
        .unwrap()
        .signal(rustix::process::Signal::TERM);
    let said = lab.eventually("the session ends", || {
        let said = said();
        let is_over = |text: &String| text.contains("\"state\":\"down\"");
        if said.iter().any(is_over) {
            Ok(said)
        } else {
            Err(said)
        }
    });
    let at = |part: &str| said.iter().position(|text| text.contains(part));
    let marked = at("[65535,0]").expect("GRACEFUL_SHUTDOWN");
    let withdrawn = at("\"withdraw\"").expect("a withdrawal");
    let ended = at("\"state\":\"down\"").expect("the end");
    assert!(marked < withdrawn && withdrawn < ended, "{said:#?}");
    let end = &said[ended];
    // A NOTIFICATION, which this ExaBGP hears and cannot pass on.
    assert!(end.contains("type \\\"3\\\""), "{end}");
}

/// Has the speaker of `n1` restart and be away, in order and by a crash, while `ways` counts how many nodes a router has to a prefix.
#[track_caller]
fn away(lab: &mut TestLab, ways: impl Fn(&str) -> usize) {
    let web = prefixes(lab, "default/web");
    for prefix in &web {
        until(lab, &ways, prefix, 3);
    }
    let look = || {
        for prefix in &web {
            assert_eq!(ways(prefix), 3, "a way to {prefix} is gone");
        }
    };
    for (is_crash, milliseconds) in [(false, 200), (false, 2_000), (true, 2_000), (false, 20_000)] {
        leave(lab, is_crash);
        let left = Instant::now();
        while left.elapsed() < Duration::from_millis(milliseconds) {
            look();
            sleep(Duration::from_millis(50)); // The time away itself is what is tried.
        }
        back(lab, look);
    }
    // What is no more when the speaker is back goes at the End-of-RIB, and not before.
    lab.edit("late.yaml", "", &service("late"));
    let late = prefixes(lab, "default/late").remove(0);
    until(lab, &ways, &late, 3);
    lab.speaker("n1").unwrap().stop().unwrap();
    fs::remove_file(lab.manifests().join("late.yaml")).unwrap();
    until(lab, &ways, &late, 1);
    back(lab, look);
    until(lab, &ways, &late, 0);
    look();
}

#[track_caller]
fn until(lab: &TestLab, ways: impl Fn(&str) -> usize, prefix: &str, wanted: usize) {
    lab.eventually(&format!("{wanted} ways to {prefix}"), || {
        match ways(prefix) {
            is if is == wanted => Ok(()),
            other => Err(other),
        }
    });
}

/// Ends the speaker of `n1`, in order or by a crash.
pub(super) fn leave(lab: &mut TestLab, is_crash: bool) {
    let speaker = lab.speaker("n1").unwrap();
    if is_crash {
        speaker.signal(rustix::process::Signal::KILL);
    }
    speaker.stop().unwrap();
}

/// Starts the speaker again, and sees that it is up and has told everything, while nothing is missed.
#[track_caller]
pub(super) fn back(lab: &mut TestLab, look: impl Fn()) {
    lab.start_speaker("n1").unwrap();
    lab.speaker("n1").unwrap().wait_until_ready().unwrap();
    lab.eventually("the session is up again, and everything told", || {
        look();
        let seen = lab.seen("n1", &["bgp", "router"])?;
        let peer = &seen["peers"][0];
        let is_back = peer["state"] == "Established" && peer["is_in_sync"] == true;
        let is_helped = peer["negotiated"]["has_graceful_restart"] == true;
        if is_back && is_helped {
            Ok(())
        } else {
            Err(seen)
        }
    });
    look();
}

const GRACEFUL: &str = "  password: secret\n  enableGracefulRestart: true\n";
