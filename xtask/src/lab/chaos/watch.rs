//! The watch: two stations on ports of their own, which ask for every VIP each millisecond, and what they were answered.
//!
//! What the answers mean is [`super::judge`]'s.

use super::capture::Capture;
use super::frame::{self, Asker, Mac};
use super::judge::{Answer, Seen};
use super::socket::Sender;
use crate::lab::net::Netns;
use anyhow::{Context, Result};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A station that asks and notes.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) name: String,
    shared: Arc<Shared>,
    capture: Capture,
    asking: JoinHandle<()>,
    ends: Ends,
}

/// Ends the asking when its station is dropped.
#[derive(Debug)]
struct Ends(Arc<Shared>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    asked: Mutex<Asked>,
}

/// What a station asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Asked {
    /// When it asked for all addresses, one after the other.
    pub(super) turns: Vec<u64>,
    /// Questions that the link took, and those that it refused.
    pub(super) sent: u64,
    pub(super) unsent: u64,
}

impl Station {
    /// Starts asking for these from `eth0` of a namespace, each once in `interval`.
    ///
    /// # Errors
    /// When its link, the packet socket or tcpdump is not to be had.
    pub(super) fn start(
        netns: &Netns,
        asker: Asker,
        vips: &[IpAddr],
        interval: Duration,
    ) -> Result<Self> {
        let sender = netns.enter(|| Sender::open("eth0"))??;
        let capture = Capture::start(netns, "eth0")?;
        let shared = Arc::new(Shared::default());
        let asking = Arc::clone(&shared);
        let questions = vips.iter().map(|vip| frame::question(asker, *vip));
        let questions: Vec<Vec<u8>> = questions.collect();
        Ok(Self {
            name: netns.name().to_owned(),
            ends: Ends(Arc::clone(&shared)),
            shared,
            capture,
            asking: thread::spawn(move || ask(&sender, &questions, interval, &asking)),
        })
    }

    /// The hardware address that the VIP was last given, and when.
    pub(super) fn last(&self, vip: IpAddr) -> Option<Answer> {
        self.capture.last(|answer| answer.vip == vip)
    }

    /// What listens for answers to it.
    pub(super) const fn capture(&self) -> &Capture {
        &self.capture
    }

    /// Stops and gives what it saw.
    ///
    /// # Errors
    /// When the capture could not be read to its end.
    pub(super) fn stop(self) -> Result<Seen> {
        drop(self.ends);
        if let Err(panic) = self.asking.join() {
            std::panic::resume_unwind(panic);
        }
        let answers = self.capture.stop()?;
        let mut asked = self.shared.asked.lock();
        let asked = asked
            .as_deref_mut()
            .map_or_else(|_| Asked::default(), std::mem::take);
        Ok(Seen {
            station: self.name,
            answers,
            asked,
        })
    }
}

/// Asks at even intervals; a turn that came late is not made up for.
fn ask(sender: &Sender, questions: &[Vec<u8>], interval: Duration, shared: &Shared) {
    let mut next = Instant::now();
    while !shared.is_over.load(Ordering::Relaxed) {
        let turn = now();
        let sent = questions.iter().filter(|q| sender.send(q).is_ok()).count() as u64;
        let mut asked = shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.turns.push(turn);
        asked.sent += sent;
        asked.unsent += questions.len() as u64 - sent;
        drop(asked);
        next = (next + interval).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// The clock of tcpdump's stamps.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

/// A station's hardware address, read from its link.
pub(super) fn mac_of(netns: &Netns, link: &str) -> Result<Mac> {
    let macs = netns.macs()?;
    let text = macs.get(link).with_context(|| format!("no link {link}"))?;
    Mac::parse(text).with_context(|| format!("{text} is no hardware address"))
}
