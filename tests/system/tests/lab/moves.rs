//! A drain under traffic (L6.1, L6.2): the holder of an address is taken out of the election while its clients are at work.
//!
//! The connections' addresses are translated by the nodes' own tables of connections, as kube-proxy has it, so that whatever reaches the
//! wrong node is reset.

use super::restart::echo_until;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use system_tests::lab::{TestLab, tell};
use xtask::lab::proxy::Frontend;

#[test]
fn l6_2_a_drain_resets_no_connection_and_loses_no_datagram_within_the_window() {
    let lab = TestLab::sample();
    // The second drain comes within the window of the first, and moves both families again.
    for family in 0..2 {
        let tcp = lab.frontends_of("default/echo-tcp").remove(family);
        let udp = lab.frontends_of("default/echo-udp").remove(family);
        assert_eq!(tcp.vip, udp.vip);
        drain_under_traffic(&lab, &tcp, &udp);
    }
}

fn drain_under_traffic(lab: &TestLab, tcp: &Frontend, udp: &Frontend) {
    let holder = lab.holder_of(tcp.vip);
    lab.answer(tcp);
    lab.answer(udp);
    let client = lab.client().clone();
    let stop = AtomicBool::new(false);
    let streams = client.enter(|| open(tcp.address(), STREAMS)).unwrap();
    let (heir, sent, lost, talk, later) = thread::scope(|scope| {
        let datagrams = scope.spawn(|| client.enter(|| echo_until(udp.address(), &stop)).unwrap());
        let talk = scope.spawn(|| talk_until(streams, &stop));
        let fresh = || client.enter(|| open_until(tcp.address(), &stop)).unwrap();
        let later = scope.spawn(fresh);
        thread::sleep(Duration::from_millis(500));
        lab.exclude(&holder);
        let heir = lab.eventually("another node has it", || match lab.known_holder(tcp.vip) {
            Some(node) if node != holder => Ok(node),
            other => Err(other),
        });
        thread::sleep(AFTER);
        stop.store(true, Ordering::Relaxed);
        let (sent, lost) = datagrams.join().unwrap();
        (
            heir,
            sent,
            lost,
            talk.join().unwrap(),
            later.join().unwrap(),
        )
    });
    let counted = |node: &str| lab.speakers()[node].ctl(&["counters"]).unwrap();
    tell(&format!(
        "drain of {} from {holder} to {heir}: {lost} of {sent} datagrams lost, {} of {STREAMS} connections reset, {} of {} \
         opened meanwhile",
        tcp.vip, talk.broken, later.broken, later.all
    ));
    let told = format!(
        "{holder}:\n{}\n{heir}:\n{}",
        counted(&holder),
        counted(&heir)
    );
    assert_eq!(
        talk,
        Talk {
            all: STREAMS,
            broken: 0
        },
        "{told}"
    );
    assert_eq!(later.broken, 0, "{told}");
    assert!(later.all > 20, "{}", later.all);
    assert_eq!(lost, 0, "of {sent}; {told}");
    let returned = heir_returned(&counted(&heir));
    assert!(returned > 0, "no old connection went back: {told}");
}

fn heir_returned(counters: &str) -> u64 {
    let line = counters.lines().find(|line| line.starts_with("returned"));
    let count = line.and_then(|line| line.split_whitespace().nth(1));
    count.unwrap().parse().unwrap()
}

/// What became of connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Talk {
    pub(super) all: usize,
    pub(super) broken: usize,
}

pub(super) fn open(at: SocketAddr, count: usize) -> Vec<TcpStream> {
    let streams = (0..count).map(|_| connect(at).unwrap());
    streams.collect()
}

fn connect(at: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    say(&mut stream, 0)?;
    Ok(stream)
}

/// A line that must come back.
fn say(stream: &mut TcpStream, number: u32) -> io::Result<()> {
    let line = format!("{number:08}\n");
    stream.write_all(line.as_bytes())?;
    let mut back = [0; 9];
    stream.read_exact(&mut back)?;
    match back == *line.as_bytes() {
        true => Ok(()),
        false => Err(io::Error::other("another line came back")),
    }
}

/// Each connection says something in turn, again and again.
pub(super) fn talk_until(mut streams: Vec<TcpStream>, stop: &AtomicBool) -> Talk {
    let all = streams.len();
    for number in 1.. {
        streams.retain_mut(|stream| say(stream, number).is_ok());
        if stop.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    Talk {
        all,
        broken: all - streams.len(),
    }
}

/// Opens a connection each 20 ms; all of them go on.
pub(super) fn open_until(at: SocketAddr, stop: &AtomicBool) -> Talk {
    let mut streams = Vec::new();
    let mut talk = Talk::default();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        talk.all += 1;
        match connect(at) {
            Ok(stream) => streams.push(stream),
            Err(_) => talk.broken += 1,
        }
        number += 1;
        let before = streams.len();
        streams.retain_mut(|stream| say(stream, number).is_ok());
        talk.broken += before - streams.len();
        thread::sleep(Duration::from_millis(20).saturating_sub(started.elapsed()));
    }
    talk
}

const STREAMS: usize = 100;
/// Longer than a client waits until it sends again what was lost while an address had no holder.
const PATIENCE: Duration = Duration::from_secs(15);
/// Within the window of 30 s, and long enough for every client to hear of the move.
const AFTER: Duration = Duration::from_secs(5);
