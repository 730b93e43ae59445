//! The watch: two stations on ports of their own, which ask for every VIP each millisecond, and what they were answered.
//!
//! tcpdump writes the answers with the kernel's time stamps, so that a busy machine makes none of them late. What they mean is
//! [`super::judge`]'s.

use super::frame::{self, Asker, Mac};
use super::judge::Answer;
use super::socket::Sender;
use crate::lab::net::Netns;
use anyhow::{Context, Result, bail, ensure};
use std::io::{ErrorKind, Read};
use std::net::IpAddr;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A station that asks and notes.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) name: String,
    shared: Arc<Shared>,
    capture: Child,
    threads: Vec<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    asked: AtomicU64,
    unsent: AtomicU64,
    answers: Mutex<Vec<Answer>>,
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
        let mut capture = netns
            .command("tcpdump")
            .args(["--immediate-mode", "-U", "-n", "-i", "eth0", "-s", "128"])
            .args(["--time-stamp-precision=nano", "-Q", "in", "-w", "-"])
            .arg("arp[6:2] = 2 or (icmp6 and ip6[40] = 136)")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to run tcpdump")?;
        let stdout = capture.stdout.take().context("tcpdump has no output")?;
        let shared = Arc::new(Shared::default());
        let reader = Arc::clone(&shared);
        let asking = Arc::clone(&shared);
        let questions = vips.iter().map(|vip| frame::question(asker, *vip));
        let questions: Vec<Vec<u8>> = questions.collect();
        let threads = vec![
            thread::spawn(move || note(stdout, &reader)),
            thread::spawn(move || {
                ask(&sender, &questions, interval, &asking);
                Ok(())
            }),
        ];
        Ok(Self {
            name: netns.name().to_owned(),
            shared,
            capture,
            threads,
        })
    }

    /// The hardware address that the VIP was last given, and when.
    pub(super) fn last(&self, vip: IpAddr) -> Option<Answer> {
        let answers = self.shared.answers.lock();
        let answers = answers.unwrap_or_else(PoisonError::into_inner);
        answers
            .iter()
            .rev()
            .find(|answer| answer.vip == vip)
            .copied()
    }

    /// How many questions went out so far, and how many the link refused.
    pub(super) fn asked(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.shared.asked), count(&self.shared.unsent))
    }

    /// Stops and gives all answers.
    ///
    /// # Errors
    /// When what tcpdump wrote could not be read to its end.
    pub(super) fn stop(mut self) -> Result<Vec<Answer>> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // tcpdump has handed on every frame at once; those in its hands are of this very moment.
        self.capture.kill().context("failed to end tcpdump")?;
        self.capture.wait().context("failed to wait for tcpdump")?;
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(ended) => ended?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        let mut answers = self.shared.answers.lock();
        let answers = answers.as_deref_mut();
        Ok(answers.map(std::mem::take).unwrap_or_default())
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Ended already when it was stopped in order.
        let _ = self.capture.kill();
        let _ = self.capture.wait();
    }
}

/// Asks at even intervals; a turn that came late is not made up for.
fn ask(sender: &Sender, questions: &[Vec<u8>], interval: Duration, shared: &Shared) {
    let mut next = Instant::now();
    while !shared.is_over.load(Ordering::Relaxed) {
        for question in questions {
            let counter = match sender.send(question) {
                Ok(()) => &shared.asked,
                Err(_) => &shared.unsent,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        next = (next + interval).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Reads the capture as it is written (pcap with nanoseconds, in this machine's byte order).
fn note(mut from: ChildStdout, shared: &Shared) -> Result<()> {
    let mut header = [0; 24];
    if !fill(&mut from, &mut header)? {
        return Ok(());
    }
    ensure!(
        word(&header, 0) == PCAP_NANOSECONDS,
        "tcpdump writes another format than expected"
    );
    let mut record = [0; 16];
    let mut frame = vec![0; FRAME_BYTES_MAX];
    while fill(&mut from, &mut record)? {
        let length = word(&record, 8) as usize;
        let Some(bytes) = frame.get_mut(..length) else {
            bail!("tcpdump wrote a frame of {length} bytes");
        };
        if !fill(&mut from, bytes)? {
            break;
        }
        let at = u64::from(word(&record, 0)) * 1_000_000_000 + u64::from(word(&record, 4));
        let answer = frame::answer(bytes).map(|(vip, mac)| Answer { at, vip, mac });
        let mut answers = shared.answers.lock();
        let answers = answers.as_deref_mut();
        if let (Some(answer), Ok(answers)) = (answer, answers) {
            ensure!(answers.len() < ANSWERS_MAX, "more answers than are kept");
            answers.push(answer);
        }
    }
    Ok(())
}

/// False at the end, also in the middle of a record: tcpdump was ended.
fn fill(from: &mut ChildStdout, bytes: &mut [u8]) -> Result<bool> {
    match from.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error).context("failed to read what tcpdump writes"),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    u32::from_ne_bytes(word.expect("headers are longer than that"))
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

const PCAP_NANOSECONDS: u32 = 0xa1b2_3c4d;
/// More than is captured of each frame.
const FRAME_BYTES_MAX: usize = 256;
/// Of a station in one fault: some minutes at a thousand a second for each of a dozen VIPs, and 200 MB.
const ANSWERS_MAX: usize = 4_000_000;
