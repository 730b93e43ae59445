//! Nodes that are drained: by `speaker ctl`, and by a signal that means it.

use super::hang::QUESTIONS;
use super::probe::{MS, Prober};
use super::restart::echo_until;
use rustix::process::Signal;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use system_tests::lab::{TestLab, tell};

#[test]
fn l6_1_a_drained_holder_gives_its_vips_away_and_two_never_answer() {
    let mut lab = TestLab::sample();
    let echo = lab.frontends_of("default/echo-udp").remove(0);
    let holder = lab.holder_of(echo.vip);
    let IpAddr::V4(vip) = echo.vip else {
        panic!("the first frontend is of IPv4")
    };
    lab.answer(&echo);
    let old = lab.mac_of(echo.vip);
    let prober = Prober::start(lab.client(), vip);
    lab.until_answered(&holder, echo.vip, QUESTIONS);
    let client = lab.client().clone();
    let stop = AtomicBool::new(false);
    let (sent, lost) = thread::scope(|scope| {
        let traffic = scope.spawn(|| client.enter(|| echo_until(echo.address(), &stop)).unwrap());
        thread::sleep(Duration::from_secs(1));
        let said = lab.speakers()[&holder].ctl(&["drain"]).unwrap();
        assert!(
            said.starts_with(&format!("{holder} is drained: ")),
            "{said}"
        );
        lab.eventually("another node has it", || match lab.known_holder(echo.vip) {
            Some(node) if node != holder => Ok(()),
            other => Err(other),
        });
        thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        traffic.join().unwrap()
    });
    let replies = prober.stop();
    let last = replies.of(&old).0.last().expect("it answered before").at;
    let first = replies.but(&old).first_after(0).expect("another answers");
    assert!(first > last, "both answered for {} ms", (last - first) / MS);
    tell(&format!(
        "the holder was drained: another answered {} ms after its last answer; {lost} of {sent} datagrams lost",
        (first - last) / MS
    ));
    assert_eq!(lost, 0, "of {sent}");

    let why = lab.speakers()[&holder]
        .ctl(&["why", "default/echo-udp"])
        .unwrap();
    assert!(why.contains("this node is being drained"), "{why}");
    // It ends when nothing is held and the connections have had their time.
    let said = lab.speakers()[&holder]
        .ctl(&["drain", "--wait", "-o", "json"])
        .unwrap();
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["held"], &last["given"]),
        (&Value::Array(vec![]), &Value::Array(vec![]))
    );

    // Then a signal finds nothing to wait for, and nobody waits for the node's silence.
    let status = lab.speaker(&holder).unwrap().stop().unwrap();
    assert!(status.success(), "{status}");
    let log = lab.speaker(&holder).unwrap().log_tail();
    assert!(log.contains("because a drain is under way"), "{log}");
    assert!(log.contains("nothing is promised"), "{log}");
    lab.answer(&echo);
}

#[test]
fn a_second_signal_does_not_wait_for_the_drain() {
    let mut lab = TestLab::sample();
    let web = lab.frontends_of("default/web").remove(0);
    let holder = lab.holder_of(web.vip);
    lab.speakers()[&holder].ctl(&["drain"]).unwrap();
    lab.until_held(web.vip, |now| now.is_some_and(|now| now != holder));
    lab.speaker(&holder).unwrap().signal(Signal::TERM);
    lab.eventually("it says what it does", || {
        let log = lab.speakers()[&holder].log_tail();
        match log.contains("because a drain is under way") {
            true => Ok(()),
            false => Err(log),
        }
    });
    thread::sleep(Duration::from_secs(1));
    lab.speaker(&holder).unwrap().check().unwrap();
    let status = lab.speaker(&holder).unwrap().stop().unwrap();
    assert!(status.success(), "{status}");
    lab.answer(&web);
}

#[test]
fn a_drain_that_is_taken_back_brings_the_vips_back() {
    let lab = TestLab::sample();
    let web = lab.frontends_of("default/web").remove(0);
    let holder = lab.holder_of(web.vip);
    lab.speakers()[&holder].ctl(&["drain"]).unwrap();
    lab.until_held(web.vip, |now| now.is_some_and(|now| now != holder));
    let said = lab.speakers()[&holder].ctl(&["drain", "--undo"]).unwrap();
    assert_eq!(said.trim(), format!("{holder} is not drained"));
    lab.until_held(web.vip, |now| now == Some(&holder));
    lab.answer(&web);
}
