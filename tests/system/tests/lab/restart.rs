//! Speakers that go and come back while traffic runs.

use super::hang::{QUESTIONS, now_ns};
use super::probe::{MS, Prober};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use system_tests::lab::{TestLab, tell};
use xtask::lab::backend::queue_seconds;

#[test]
fn a_restart_loses_nothing_of_a_thousand_datagrams_a_second() {
    let mut lab = TestLab::sample();
    let echo = lab.frontends_of("default/echo-udp").remove(0);
    let holder = lab.holder_of(echo.vip);
    lab.answer(&echo);
    let client = lab.client().clone();
    let stop = AtomicBool::new(false);
    let (sent, lost) = thread::scope(|scope| {
        let traffic = scope.spawn(|| client.enter(|| echo_until(echo.address(), &stop)).unwrap());
        // Without this the client would go on by what it has in its table, and no answer would be needed.
        scope.spawn(|| forget_until(&client, echo.vip, &stop));
        thread::sleep(Duration::from_secs(1));
        let status = lab.speaker(&holder).unwrap().stop().unwrap();
        assert!(status.success(), "a clean stop: {status}");
        lab.start_speaker(&holder).unwrap();
        lab.speaker(&holder).unwrap().wait_until_ready().unwrap();
        thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        traffic.join().unwrap()
    });
    tell(&format!(
        "restart of the holder under 1 kpps of UDP echo: {lost} lost of {sent}"
    ));
    assert_eq!(lost, 0, "of {sent}");
}

#[test]
fn l6_4_another_takes_the_vip_of_a_killed_speaker_and_both_never_answer() {
    let mut lab = TestLab::sample();
    let web = lab.frontends_of("default/web").remove(0);
    let holder = lab.holder_of(web.vip);
    let IpAddr::V4(vip) = web.vip else {
        panic!("the first frontend is of IPv4")
    };
    let old = lab.mac_of(web.vip);
    let prober = Prober::start(lab.client(), vip);
    lab.until_answered(&holder, web.vip, QUESTIONS);
    let killed = now_ns();
    lab.speaker(&holder).unwrap().kill().unwrap();
    lab.until_held(web.vip, |now| now.is_some_and(|now| now != holder));
    lab.answer(&web);
    let started = now_ns();
    lab.start_speaker(&holder).unwrap();
    lab.speaker(&holder).unwrap().wait_until_ready().unwrap();
    // In which the one that is back could do wrong.
    thread::sleep(Duration::from_millis(500));
    let replies = prober.stop();
    let (old, others) = (replies.of(&old).0, replies.but(&old));
    let mut old = old.iter().map(|reply| reply.at);
    // Once it was sound for so long it may have the VIP back, which a slow test sees.
    let last = old.rfind(|at| *at < started + SOUND_NS);
    let last = last.expect("it answered before");
    let first = others.first_after(0).expect("another answers");
    assert!(first > last, "both answered for {} ms", (last - first) / MS);
    tell(&format!(
        "the holder was killed: another answered after {} ms, {} ms after the last answer",
        (first - killed) / MS,
        (first - last) / MS
    ));
    lab.answer(&web);
}

/// Sends a numbered datagram each millisecond and counts those that never come back: sent, lost.
///
/// What a machine with other work lets the sender do late is left out, not made up for: a burst of what is overdue would only show how long queues are.
pub(super) fn echo_until(at: SocketAddr, stop: &AtomicBool) -> (usize, usize) {
    let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(at).unwrap();
    socket.set_read_timeout(Some(LATE)).unwrap();
    queue_seconds(&socket).unwrap();
    let mut sent = 0;
    let mut back = Vec::new();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&socket, stop));
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let number = u32::try_from(sent).unwrap();
            if socket.send(&number.to_be_bytes()).is_ok() {
                sent += 1;
            }
            next = (next + Duration::from_millis(1)).max(Instant::now());
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        back = receiver.join().unwrap();
    });
    back.sort_unstable();
    back.dedup();
    (sent, sent - back.len())
}

/// Numbers that come back, until nothing more is sent and none has for a while.
fn receive(socket: &UdpSocket, stop: &AtomicBool) -> Vec<u32> {
    let mut numbers = Vec::new();
    let mut buffer = [0; 64];
    loop {
        let is_over = stop.load(Ordering::Relaxed);
        match socket.recv(&mut buffer) {
            Ok(length) => numbers.push(u32::from_be_bytes(buffer[..length].try_into().unwrap())),
            Err(error) if is_over && error.kind() == ErrorKind::WouldBlock => return numbers,
            // A pause, or a refusal on the way: what is lost is counted.
            Err(_) => {}
        }
    }
}

fn forget_until(client: &xtask::lab::net::Netns, vip: IpAddr, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        // Deleting it would throw away what waits for an answer.
        let _ = client.ip(&format!("neigh replace {vip} dev eth0 nud none"));
        thread::sleep(Duration::from_millis(50));
    }
}

/// Nobody has heard of a datagram for so long that it is lost.
const LATE: Duration = Duration::from_millis(1500);
/// A node that failed is elected again after five sound seconds at the earliest.
const SOUND_NS: u64 = 5_000 * MS;
