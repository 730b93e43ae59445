//! A host that claims a VIP in a member's name a thousand times a second: for how long that silences it (L5.3).
//!
//! The forger puts its frames on the holder's port, as on a switch that binds hardware addresses to ports: it learns nothing from them, and the
//! member can be asked. Or it is at a port of its own of a switch that learns, which sends it what is for that member. What was silent is read from the time stamps of the answers at the client.

use super::hang::{QUESTIONS, now_ns};
use super::probe::{MS, Prober, Replies};
use std::fs;
use std::net::IpAddr;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;
use system_tests::lab::{TestLab, tell};
use xtask::lab::net::Netns;

#[test]
fn l5_3_a_thousand_spoofed_claims_a_second_silence_a_vip_for_a_small_share_of_the_time() {
    let lab = TestLab::sample();
    let web = lab.frontends_of("default/web").remove(0);
    let holder = lab.holder_of(web.vip);
    let silent = flooded(&lab, (&lab.topology().switch, &holder), &holder, web.vip);
    assert!(silent.rate >= CLAIMS_MIN, "{silent:?}");
    let log = fs::read_to_string(lab.folder().join(format!("log/{holder}.log"))).unwrap();
    let denied = log.lines().filter(|line| line.contains("vipSpoofed"));
    assert!(denied.count() >= 2, "fenced at once and after 10 s: {log}");
    assert!(silent.share <= SHARE_MAX, "{silent:?}");
    assert_eq!(silent.others, 0, "it moves nowhere");
}

#[test]
fn l6_7_a_forger_at_a_switch_that_learns_silences_until_an_heir_is_sure_at_most() {
    let lab = TestLab::sample();
    let web = lab.frontends_of("default/web").remove(0);
    let holder = lab.holder_of(web.vip);
    let switch = &lab.topology().switch;
    switch
        .ip("link add port type veth peer name forger\nlink set port master br0 up\nlink set forger up")
        .unwrap();
    let silent = flooded(&lab, (switch, "forger"), &holder, web.vip);
    assert!(silent.rate >= CLAIMS_MIN, "{silent:?}");
    let longest = silent.gaps.iter().max();
    assert!(longest.is_none_or(|gap| *gap <= SURE_MAX), "{silent:?}");
    lab.settle();
    lab.answer(&web);
}

/// What a flood of claims did.
#[derive(Debug)]
struct Silent {
    /// Claims that came, in a second.
    rate: u64,
    /// Thousandths of the time in which nobody answered.
    share: u64,
    /// Of how many nanoseconds that consists.
    gaps: Vec<u64>,
    /// Answers that gave another node's hardware address.
    others: usize,
}

/// Claims a VIP in the name of a member that does not hold it, by frames from a link of a namespace to the holder.
#[track_caller]
fn flooded(lab: &TestLab, (from, link): (&Netns, &str), holder: &str, vip: IpAddr) -> Silent {
    let mut others = lab.topology().nodes.iter().filter(|n| n.name != holder);
    let member = others.next().unwrap().netns.macs().unwrap()["eth0"].clone();
    let own = lab.mac_of(vip);
    let prober = Prober::start(lab.client(), vip);
    lab.until_answered(holder, vip, QUESTIONS);
    let begun = now_ns();
    let forger = Forger::start(from, link, &own, &member, vip);
    thread::sleep(LONG);
    let ended = now_ns();
    let came = seen_by_the_holder(lab, holder, vip);
    forger.end();
    let replies = prober.stop();
    let gaps = gaps_ns(&replies, begun, ended);
    let (took, sum) = ((ended - begun) / MS, gaps.iter().sum::<u64>());
    let silent = Silent {
        rate: came * 1_000 / took,
        share: sum * 1_000 / (ended - begun),
        gaps,
        others: replies.but(&own).0.len(),
    };
    tell(&format!(
        "{came} claims in {took} ms: silent for {} ms at {} times, {} thousandths; {} answers of others, the longest silence {} ms",
        sum / MS,
        silent.gaps.len(),
        silent.share,
        silent.others,
        silent.gaps.iter().max().unwrap_or(&0) / MS
    ));
    silent
}

/// Claims in the name of a member that the holder's program counted, whether they raised a fence or not.
#[track_caller]
fn seen_by_the_holder(lab: &TestLab, holder: &str, vip: IpAddr) -> u64 {
    let seen = lab.seen(holder, &["counters"]).unwrap();
    let slots = seen["vips"].as_array().into_iter().flatten();
    let own = slots.filter(|slot| slot["vip"] == vip.to_string());
    let counts =
        own.map(|slot| ["claimed", "spoofed"].map(|of| slot["outcomes"][of].as_u64().unwrap_or(0)));
    counts.flatten().sum()
}

/// Times between two answers in which several questions were not answered.
fn gaps_ns(replies: &Replies, from: u64, until: u64) -> Vec<u64> {
    let within = replies.0.iter().map(|reply| reply.at);
    let within = within.filter(|at| (from..until).contains(at));
    let mut points: Vec<u64> = std::iter::once(from).chain(within).chain([until]).collect();
    // Stamps are brought to this clock one by one, and may change places.
    points.sort_unstable();
    let gaps = points.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.filter(|gap| *gap > UNASKED).collect()
}

/// Sends claims until it is ended.
struct Forger(Child);

impl Forger {
    fn start(on: &Netns, link: &str, to: &str, member: &str, vip: IpAddr) -> Self {
        let mut forger = on.command("python3");
        forger.args(["-c", FORGER, link, to, member, &vip.to_string()]);
        Self(forger.stdin(Stdio::null()).spawn().unwrap())
    }

    fn end(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Replies that nobody asked for (RFC 826), a thousand a second: who was late sends what is owed.
const FORGER: &str = r#"
import socket, struct, sys, time
link, to, member, vip = sys.argv[1:]
to, member = (bytes.fromhex(mac.replace(":", "")) for mac in (to, member))
vip = socket.inet_aton(vip)
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((link, 0))
claim = to + member + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 2) + member + vip + to + vip
begun, sent = time.monotonic(), 0
while True:
    while sent < (time.monotonic() - begun) * 1000:
        try:
            out.send(claim)
        except BlockingIOError:
            pass
        sent += 1
    time.sleep(0.0005)
"#;

/// In which the member is disarmed twice: at once for 10 s, and then for 20 s.
const LONG: Duration = Duration::from_secs(25);
/// The client asks each 5 ms; who has other work asks later.
const UNASKED: u64 = 20 * MS;
/// Of the thousand that are sent in a second, on a machine that has other work.
const CLAIMS_MIN: u64 = 500;
/// Three probes a second apart that nobody answers, and the taking, on a machine that has other work.
const SURE_MAX: u64 = 6_000 * MS;
/// In thousandths: twice 0.3 s within 25 s, and as much again for a client that has other work.
const SHARE_MAX: u64 = 48;
