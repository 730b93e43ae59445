//! A client that keeps asking for a VIP, and a record of when each answer's frame came.
//!
//! The client's kernel asks: it is told that it knows nothing and a datagram is sent, again and again. Its entry is not
//! deleted, with which it would throw away the packets of others that wait for the answer. tcpdump notes the answers
//! with the kernel's own time stamps, so that a slow test sees no late frame. It listens before the first question, and
//! has noted all that came before a last frame of the client's own once that one is noted: no answer is missed at either end.
//! Of an ARP reply (RFC 826) it is the hardware address in it that counts, of an advertisement (RFC 4861 §4.4) that of its frame's sender.

use super::hang::now_ns;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use xtask::lab::net::Netns;

/// An answer: when its frame came, in BOOTTIME nanoseconds, and the hardware address that it gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reply {
    pub(crate) at: u64,
    pub(crate) mac: String,
}

/// Answers in order.
#[derive(Debug)]
pub(crate) struct Replies(pub(crate) Vec<Reply>);

/// Asks and notes until it is stopped.
pub(crate) struct Prober {
    client: Netns,
    vip: IpAddr,
    stop: Arc<AtomicBool>,
    asker: JoinHandle<()>,
    capture: Child,
    notes: JoinHandle<Vec<Reply>>,
}

impl Prober {
    /// Starts asking from the client's `eth0`, once answers are noted.
    pub(crate) fn start(client: &Netns, vip: impl Into<IpAddr>) -> Self {
        let vip = vip.into();
        let mut capture = client
            .command("tcpdump")
            .args(["--immediate-mode", "-lnttqe", "-i", "eth0"])
            .arg(format!(
                "({}) or (udp and dst host {})",
                answers(vip),
                everyone(vip)
            ))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut says = BufReader::new(capture.stderr.take().unwrap()).lines();
        let listens = says.find(|line| line.as_ref().unwrap().contains("listening on"));
        assert!(listens.is_some(), "tcpdump ended before it listened");
        let lines = BufReader::new(capture.stdout.take().unwrap()).lines();
        let notes = thread::spawn(move || lines.map_while(|line| reply(&line.unwrap())).collect());
        let stop = Arc::new(AtomicBool::new(false));
        let (asking, until) = (client.clone(), Arc::clone(&stop));
        let asker = thread::spawn(move || ask(&asking, vip, &until));
        Self {
            client: client.clone(),
            vip,
            stop,
            asker,
            capture,
            notes,
        }
    }

    /// Stops and tells.
    pub(crate) fn stop(mut self) -> Replies {
        self.stop.store(true, Ordering::Relaxed);
        self.asker.join().unwrap();
        let given_up = Instant::now() + NOTED_MAX;
        while !self.notes.is_finished() {
            assert!(Instant::now() < given_up, "tcpdump notes nothing more");
            self.client.enter(|| send_last(self.vip)).unwrap();
            thread::sleep(INTERVAL);
        }
        self.capture.kill().unwrap();
        self.capture.wait().unwrap();
        Replies(self.notes.join().unwrap())
    }
}

fn ask(client: &Netns, vip: IpAddr, stop: &AtomicBool) {
    let mut ip = client
        .command("ip")
        .args(["-force", "-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut orders = ip.stdin.take().unwrap();
    client
        .enter(|| {
            let socket = socket(vip);
            while !stop.load(Ordering::Relaxed) {
                writeln!(orders, "neigh replace {vip} dev eth0 nud none").unwrap();
                thread::sleep(INTERVAL);
                // Port 9 discards; what matters is that the kernel looks for the neighbour.
                let _ = socket.send_to(b"", (vip, 9));
            }
        })
        .unwrap();
    drop(orders);
    ip.wait().unwrap();
}

/// tcpdump's words for frames that say where the VIP is, asked for or not.
fn answers(vip: IpAddr) -> String {
    match vip {
        IpAddr::V4(vip) => format!("arp[6:2] = 2 and arp[14:4] = {:#010x}", u32::from(vip)),
        IpAddr::V6(vip) => {
            let words = vip.octets();
            let words = words.chunks(4).zip([48, 52, 56, 60]);
            let target = words.map(|(word, at)| {
                let word = u32::from_be_bytes(word.try_into().unwrap());
                format!(" and ip6[{at}:4] = {word:#010x}")
            });
            let target: String = target.collect();
            format!("ip6[6] = 58 and ip6[40] = 136{target}")
        }
    }
}

fn socket(vip: IpAddr) -> UdpSocket {
    let any = if vip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    UdpSocket::bind(any).unwrap()
}

/// All of the VIP's segment, to which nobody but the prober's end sends.
fn everyone(vip: IpAddr) -> IpAddr {
    match vip {
        IpAddr::V4(vip) => Ipv4Addr::from(u32::from(vip) | 0xff).into(),
        // Of global scope, so that it needs no link's number.
        IpAddr::V6(_) => Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// A frame that is noted after every answer that came before it.
fn send_last(vip: IpAddr) {
    let socket = socket(vip);
    if vip.is_ipv4() {
        socket.set_broadcast(true).unwrap();
    }
    // The next one is as good, should there be no room for this one.
    let _ = socket.send_to(b"", (everyone(vip), 9));
}

/// None for the last frame.
fn reply(line: &str) -> Option<Reply> {
    let mac = if line.contains(" IPv6, ") {
        (!line.contains("UDP")).then(|| line.split_whitespace().nth(1))??
    } else {
        line.split_once(" is-at ")?.1
    };
    Some(Reply {
        at: boottime_ns(line),
        mac: mac.split([',', ' ']).next().unwrap().to_owned(),
    })
}

/// The time stamp that a line of tcpdump starts with, on the clock of deadlines.
fn boottime_ns(line: &str) -> u64 {
    let (seconds, micros) = line.split_once(' ').unwrap().0.split_once('.').unwrap();
    let stamp =
        seconds.parse::<u64>().unwrap() * 1_000_000_000 + micros.parse::<u64>().unwrap() * 1000;
    now_minus_wall_ns().wrapping_add(stamp)
}

/// What the clock of deadlines is ahead of the calendar's by, modulo 2^64: of some readings the one that was held up least.
fn now_minus_wall_ns() -> u64 {
    let readings = (0..4).map(|_| {
        let before = now_ns();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let took = now_ns() - before;
        let wall = u64::try_from(wall.as_nanos()).unwrap();
        (took, (before + took / 2).wrapping_sub(wall))
    });
    readings.min().unwrap().1
}

impl Replies {
    /// Only those that gave this hardware address.
    pub(crate) fn of(&self, mac: &str) -> Self {
        let own = self.0.iter().filter(|reply| reply.mac == mac);
        Self(own.cloned().collect())
    }

    /// All but those.
    pub(crate) fn but(&self, mac: &str) -> Self {
        let others = self.0.iter().filter(|reply| reply.mac != mac);
        Self(others.cloned().collect())
    }

    pub(crate) fn assert_silent(&self, from: u64, until: u64) {
        let within = self.0.iter().map(|reply| reply.at);
        let within: Vec<u64> = within.filter(|at| (from..until).contains(at)).collect();
        assert!(
            within.is_empty(),
            "{} answers in between, the first {} ms in",
            within.len(),
            (within[0] - from) / MS
        );
    }

    pub(crate) fn first_after(&self, from: u64) -> Option<u64> {
        self.0.iter().map(|reply| reply.at).find(|at| *at >= from)
    }

    pub(crate) fn longest_gap_ns(&self, from: u64, until: u64) -> u64 {
        let inside = self.0.iter().map(|reply| reply.at);
        let inside = inside.filter(|at| (from..until).contains(at));
        let points: Vec<u64> = std::iter::once(from).chain(inside).chain([until]).collect();
        // Each is put on this clock by itself, so that two may have changed places by some microseconds.
        let gaps = points
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]));
        gaps.max().unwrap()
    }
}

pub(crate) const MS: u64 = 1_000_000;

/// Between questions, about.
const INTERVAL: Duration = Duration::from_millis(5);

/// A safety net: the last frame is noted at once.
const NOTED_MAX: Duration = Duration::from_secs(30);
