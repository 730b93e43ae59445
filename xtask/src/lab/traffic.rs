//! A thousand datagrams a second over some flows, each to come back from an echo, and which did not.
//!
//! A flow is a port of the client, so that a router that spreads by ports sends flows different ways. A datagram that the kernel
//! would not send counts as lost.

use crate::lab::net::Netns;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The client's ends of the flows to one address.
#[derive(Debug)]
pub struct Traffic(Vec<UdpSocket>);

/// What came of it.
#[derive(Debug)]
pub struct Tally {
    /// When the first was sent.
    pub begun: Instant,
    /// How many there were.
    pub sent: usize,
    /// When each of those was sent that did not come back, since the first was.
    pub lost: Vec<Duration>,
}

impl Traffic {
    /// Opens the flows from a namespace.
    ///
    /// # Errors
    /// When there is no way to the address.
    pub fn open(from: &Netns, to: SocketAddr) -> Result<Self> {
        let flows = from.enter(|| (0..FLOWS).map(|_| flow(to)).collect::<Result<_>>())?;
        Ok(Self(flows?))
    }

    /// The same flows for another thread.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn try_clone(&self) -> Result<Self> {
        let flows = self.0.iter().map(UdpSocket::try_clone);
        Ok(Self(flows.collect::<Result<_, _>>()?))
    }

    /// How many flows end on each node, as the pods say.
    ///
    /// # Errors
    /// When one gets no answer in time.
    pub fn by_node(&self) -> Result<BTreeMap<String, usize>> {
        let mut nodes = BTreeMap::new();
        for flow in &self.0 {
            let answer = who(flow)?;
            let node = answer
                .split(' ')
                .find_map(|word| word.strip_prefix("node="));
            let node = node.with_context(|| format!("no node in {answer:?}"))?;
            *nodes.entry(node.to_owned()).or_default() += 1;
        }
        Ok(nodes)
    }

    /// Sends until it is to stop, on each flow in turn, and waits for the last answers.
    pub fn run(&self, stop: &AtomicBool) -> Tally {
        let start = Instant::now();
        let mut sent: Vec<(Duration, bool)> = Vec::new();
        let mut flows = self.0.iter().cycle();
        while !stop.load(Ordering::Relaxed) {
            let (Some(flow), Ok(number)) = (flows.next(), u32::try_from(sent.len())) else {
                break;
            };
            note_answers(flow, &mut sent);
            sent.push((start.elapsed(), false));
            let number = number.to_be_bytes();
            // An error may tell of an earlier datagram, in place of sending this one.
            let _ = flow.send(&number).or_else(|_| flow.send(&number));
            let next = start + INTERVAL * u32::try_from(sent.len()).unwrap_or(u32::MAX);
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        thread::sleep(LATE);
        for flow in &self.0 {
            note_answers(flow, &mut sent);
        }
        let lost = sent.iter().filter(|(_, is_back)| !is_back);
        Tally {
            begun: start,
            sent: sent.len(),
            lost: lost.map(|(at, _)| *at).collect(),
        }
    }
}

impl Tally {
    /// From the first that was lost to the last, if any was.
    pub fn gap(&self) -> Option<Duration> {
        Some(*self.lost.last()? - *self.lost.first()? + INTERVAL)
    }
}

fn flow(to: SocketAddr) -> Result<UdpSocket> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).context("failed to open a socket")?;
    socket
        .connect(to)
        .with_context(|| format!("failed to connect to {to}"))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn who(flow: &UdpSocket) -> Result<String> {
    let mut buffer = [0; 512];
    let until = Instant::now() + LATE;
    flow.send(b"who").context("failed to ask who answers")?;
    loop {
        match flow.recv(&mut buffer) {
            // An echo that came late is shorter.
            Ok(length) if length > NUMBER_BYTES => {
                return Ok(String::from_utf8_lossy(&buffer[..length])
                    .trim_end()
                    .to_owned());
            }
            Ok(_) | Err(_) if Instant::now() < until => thread::sleep(INTERVAL),
            Ok(_) | Err(_) => anyhow::bail!("a flow gets no answer"),
        }
    }
}

/// Takes what has come back on a flow.
fn note_answers(flow: &UdpSocket, sent: &mut [(Duration, bool)]) {
    let mut buffer = [0; 512];
    while let Ok(length) = flow.recv(&mut buffer) {
        let number = buffer[..length].try_into().map(u32::from_be_bytes);
        if let Ok(number) = number
            && let Some((_, is_back)) = sent.get_mut(number as usize)
        {
            *is_back = true;
        }
    }
}

const FLOWS: usize = 16; // that none of three nodes gets one happens once in 200 tours
const INTERVAL: Duration = Duration::from_millis(1);
/// What comes back later than this is lost. Longer than a machine that has other work lets an echo wait.
const LATE: Duration = Duration::from_secs(3);
const NUMBER_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_back_is_counted_and_timed() {
        let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = echo.local_addr().unwrap();
        let traffic = Traffic((0..FLOWS).map(|_| flow(to).unwrap()).collect());
        let stop = AtomicBool::new(false);
        let tally = thread::scope(|scope| {
            let client = scope.spawn(|| traffic.run(&stop));
            let mut buffer = [0; 512];
            loop {
                let (length, from) = echo.recv_from(&mut buffer).unwrap();
                let number = u32::from_be_bytes(buffer[..length].try_into().unwrap());
                if number == 300 {
                    stop.store(true, Ordering::Relaxed);
                    echo.send_to(&buffer[..length], from).unwrap();
                    break;
                }
                if !(100..150).contains(&number) {
                    echo.send_to(&buffer[..length], from).unwrap();
                }
            }
            echo.set_read_timeout(Some(LATE / 2)).unwrap();
            while let Ok((length, from)) = echo.recv_from(&mut buffer) {
                echo.send_to(&buffer[..length], from).unwrap();
            }
            client.join().unwrap()
        });
        assert_eq!(tally.lost.len(), 50, "of {}", tally.sent);
        assert!(tally.sent > 300);
        let gap = tally.gap().unwrap();
        // Datagrams go out on time or late, and late ones in a bunch.
        assert!(
            gap > Duration::from_millis(1) && gap < Duration::from_secs(1),
            "{gap:?}"
        );
    }
}
