//! MetalLB's speakers still answer while ours start: whose VIPs are left to them, how that is seen, and when they are taken (L3.3).
//!
//! The other responder is a real kernel that has the VIPs as its own addresses. It answers every form of question, ours before a
//! taking among them, as MetalLB's responder does. Who answered is read from frames that came to the client.

use super::probe::{MS, Prober, Replies};
use std::fs;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;
use system_tests::lab::{TestLab, tell};
use xtask::lab::net::Netns;

#[test]
fn l3_3_vips_that_another_responder_answers_for_are_taken_only_when_it_stops() {
    let service = ("web.yaml", "  name: web\n", ADDRESSES);
    let mut lab = TestLab::routed(&[service]);
    let router = lab.topology().router.clone().unwrap();
    let other = router.macs().unwrap()["eth0"].clone();
    announce(&router, "add");
    let probers = VIPS.map(|vip| Prober::start(lab.client(), vip));

    lab.start_speakers().unwrap();
    let holder = lab.eventually("the elected node says who answers", || {
        says_who_answers(&lab, &other)
    });
    // As long as a MetalLB that is about to be removed may need.
    thread::sleep(OVERLAP);
    assert_eq!(says_who_answers(&lab, &other).as_ref(), Ok(&holder));
    announce(&router, "del");
    for vip in VIPS {
        lab.until_held(vip, |now| now == Some(&holder));
    }
    lab.settle();

    for (vip, prober) in VIPS.into_iter().zip(probers) {
        let replies = prober.stop();
        let gap = taken_after(
            &replies,
            &other,
            &lab.netns(&holder).macs().unwrap()["eth0"],
        );
        tell(&format!(
            "{vip}: {holder} answered {gap} ms after the last answer of the other one"
        ));
        assert!(gap < TAKEN_MS_MAX, "{vip}: {gap} ms without an answer");
    }
    lab.eventually("nothing says that another answers", || {
        let why = lab.said(&holder, &["why", SERVICE])?;
        match why.contains("vipStranger") {
            true => Err(why),
            false => Ok(()),
        }
    });
}

/// Milliseconds from the other one's last answer to ours. Nobody but the one before and the other after has answered.
#[track_caller]
fn taken_after(replies: &Replies, other: &str, ours: &str) -> u64 {
    let stopped = replies.of(other).0.last().expect("it answered").at;
    let rest = replies.but(other);
    let taken = rest.first_after(0).expect("ours answers");
    assert!(taken > stopped, "{} ms of two", (stopped - taken) / MS);
    assert_eq!(rest.but(ours).0, [], "a third one answers");
    let begun = replies.0[0].at;
    let answered_for = (stopped - begun) / MS;
    assert!(
        u128::from(answered_for) >= OVERLAP.as_millis(),
        "{answered_for} ms"
    );
    (taken - stopped) / MS
}

/// The node that is elected and says in `ctl why`, log and metrics that this hardware answers for the service's VIPs.
fn says_who_answers(lab: &TestLab, mac: &str) -> Result<String, String> {
    let because = format!("elected, but {mac} answers for it and is no member's (vipStranger)");
    let mut nodes = lab.speakers().keys();
    let told = nodes.find(|node| {
        let why = lab.said(node, &["why", SERVICE]);
        why.is_ok_and(|why| why.contains(&because))
    });
    let node = told.ok_or("nobody says so")?;
    let log = fs::read_to_string(lab.folder().join(format!("log/{node}.log"))).unwrap();
    let is_it = |line: &str| line.contains("vipStranger") && line.contains(mac);
    if !log.lines().any(is_it) {
        return Err(format!("the log of {node} does not: {log}"));
    }
    let page = ["-sS", "--fail", "http://127.0.0.1:7472/metrics"];
    let metrics = lab.netns(node).output("curl", &page);
    let metrics = metrics.map_err(|error| format!("{error:#}"))?;
    let counted = |line: &str| {
        let count = line.strip_prefix("heliograph_group_events_total{event=\"vipStranger\"");
        count.is_some_and(|count| !count.ends_with(" 0"))
    };
    match metrics.lines().any(counted) {
        true => Ok(node.clone()),
        false => Err(format!("the metrics of {node} do not: {metrics}")),
    }
}

/// Lets the other responder begin or end.
fn announce(on: &Netns, word: &str) {
    let [v4, v6] = VIPS;
    on.ip(&format!(
        "address {word} {v4}/32 dev eth0\naddress {word} {v6}/128 dev eth0{}",
        if word == "add" { " nodad" } else { "" }
    ))
    .unwrap();
}

const SERVICE: &str = "default/web";
const VIPS: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 110)),
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x110)),
];
/// Chosen, so that another can answer for them before a speaker ever ran.
const ADDRESSES: &str =
    "  name: web\n  annotations:\n    metallb.io/loadBalancerIPs: 192.0.2.110,2001:db8::110\n";
/// How long both are there.
const OVERLAP: Duration = Duration::from_secs(30);
/// It is asked again every 5 s; the rest is for the two probes (0.15 s), and for a machine that has other work.
const TAKEN_MS_MAX: u64 = 8_000;
