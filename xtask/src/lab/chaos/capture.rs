//! What tcpdump hears on one link: answers for addresses, with the kernel's stamps.
//!
//! The kernel stamps a frame when it comes out of a link, so that a busy machine makes none of them late. What the answers mean is
//! [`super::judge`]'s. The format is pcap with nanoseconds, in this machine's byte order.

use super::frame::{self, Mac};
use super::judge::Answer;
use crate::lab::net::Netns;
use anyhow::{Context, Result, bail, ensure};
use std::io::{ErrorKind, Read};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// A tcpdump that runs, and the answers that it has heard.
#[derive(Debug)]
pub(super) struct Capture {
    child: Child,
    reader: Option<JoinHandle<Result<()>>>,
    heard: Arc<Mutex<Vec<Answer>>>,
}

impl Capture {
    /// Begins to listen on a link of a namespace.
    ///
    /// # Errors
    /// When tcpdump is not to be had.
    pub(super) fn start(netns: &Netns, link: &str) -> Result<Self> {
        let mut child = netns
            .command("tcpdump")
            .args(["--immediate-mode", "-U", "-n", "-i", link, "-s", "128"])
            .args(["-B", BUFFER_KIB, "--time-stamp-precision=nano"])
            .args(["-Q", "in", "-w", "-"])
            .arg("arp[6:2] = 2 or (icmp6 and ip6[40] = 136)")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to run tcpdump")?;
        let stdout = child.stdout.take().context("tcpdump has no output")?;
        let heard = Arc::default();
        let into = Arc::clone(&heard);
        Ok(Self {
            child,
            reader: Some(thread::spawn(move || note(stdout, &into))),
            heard,
        })
    }

    /// The last answer heard of which this holds.
    pub(super) fn last(&self, is_it: impl Fn(&Answer) -> bool) -> Option<Answer> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().rev().find(|answer| is_it(answer)).copied()
    }

    /// Stops and gives all answers. Who needs those up to some moment waits until one of a later moment is there.
    ///
    /// # Errors
    /// When what tcpdump wrote could not be read to its end.
    pub(super) fn stop(mut self) -> Result<Vec<Answer>> {
        // What tcpdump has not handed on by now is later than what was waited for.
        self.child.kill().context("failed to end tcpdump")?;
        self.child.wait().context("failed to wait for tcpdump")?;
        match self.reader.take().map(JoinHandle::join) {
            Some(Ok(read)) => read?,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => {}
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut heard))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Ended already when it was stopped in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the capture as it is written.
fn note(mut from: ChildStdout, heard: &Mutex<Vec<Answer>>) -> Result<()> {
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
        if let Some(answer) = answer(at, bytes) {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            ensure!(heard.len() < ANSWERS_MAX, "more answers than are kept");
            heard.push(answer);
        }
    }
    Ok(())
}

fn answer(at: u64, frame: &[u8]) -> Option<Answer> {
    let (vip, mac) = frame::answer(frame)?;
    let to = Mac(frame.get(..6)?.try_into().ok()?);
    Some(Answer { at, vip, mac, to })
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

const PCAP_NANOSECONDS: u32 = 0xa1b2_3c4d;
/// More than is captured of each frame.
const FRAME_BYTES_MAX: usize = 256;
/// Of a link in one fault: some minutes at a thousand a second for each of a dozen VIPs, and 200 MB.
const ANSWERS_MAX: usize = 4_000_000;
/// Room for some seconds in which tcpdump gets no processor.
const BUFFER_KIB: &str = "16384";
