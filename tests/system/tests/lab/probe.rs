//! A client that keeps asking for a VIP, and a record of when each answer's frame came.
//!
//! The client's kernel asks: its entry is deleted and a datagram sent, again and again. tcpdump notes the answers
//! with the kernel's own time stamps, so that a slow test sees no late frame.

use super::hang::now_ns;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use xtask::lab::net::Netns;

/// BOOTTIME nanoseconds of each answer, in order.
#[derive(Debug)]
pub(crate) struct Replies(pub(crate) Vec<u64>);

/// Asks and notes until it is stopped.
pub(crate) struct Prober {
    stop: Arc<AtomicBool>,
    asker: JoinHandle<()>,
    capture: Child,
    notes: JoinHandle<Vec<u64>>,
}

impl Prober {
    /// Starts asking from the client's `eth0`, and notes what comes from these hardware addresses.
    pub(crate) fn start(client: &Netns, vip: Ipv4Addr, macs: impl Iterator<Item = String>) -> Self {
        let macs: Vec<String> = macs.map(|mac| format!("ether src {mac}")).collect();
        let mut capture = client
            .command("tcpdump")
            .args(["--immediate-mode", "-lnttq", "-i", "eth0"])
            .arg(format!(
                "arp[6:2] = 2 and arp[14:4] = {:#010x} and ({})",
                u32::from(vip),
                macs.join(" or ")
            ))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(capture.stdout.take().unwrap()).lines();
        let notes = thread::spawn(move || lines.map(|line| boottime_ns(&line.unwrap())).collect());
        let stop = Arc::new(AtomicBool::new(false));
        let (client, until) = (client.clone(), Arc::clone(&stop));
        let asker = thread::spawn(move || ask(&client, vip, &until));
        Self {
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
        self.capture.kill().unwrap();
        self.capture.wait().unwrap();
        Replies(self.notes.join().unwrap())
    }
}

fn ask(client: &Netns, vip: Ipv4Addr, stop: &AtomicBool) {
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
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            while !stop.load(Ordering::Relaxed) {
                writeln!(orders, "neigh flush to {vip} dev eth0").unwrap();
                thread::sleep(INTERVAL);
                // Port 9 discards; what matters is that the kernel looks for the neighbour.
                let _ = socket.send_to(b"", (vip, 9));
            }
        })
        .unwrap();
    drop(orders);
    ip.wait().unwrap();
}

/// The time stamp that a line of tcpdump starts with, on the clock of deadlines.
fn boottime_ns(line: &str) -> u64 {
    let (seconds, micros) = line.split_once(' ').unwrap().0.split_once('.').unwrap();
    let stamp =
        seconds.parse::<u64>().unwrap() * 1_000_000_000 + micros.parse::<u64>().unwrap() * 1000;
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    now_ns() - (u64::try_from(wall).unwrap() - stamp)
}

/// Between questions, about.
const INTERVAL: Duration = Duration::from_millis(5);
