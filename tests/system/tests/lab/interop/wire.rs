//! What one node and one router said to each other of BFD, and how sessions of BGP ended, with the kernel's time stamps.
//!
//! tcpdump writes it in order, so that once a frame is seen here all that came before it are. Read by RFC 5880 §4.1, RFC 4271 §4.5 and the
//! file's format, and not by the speaker's own codecs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use system_tests::lab::TestLab;

/// A running capture on a node's `eth0`.
pub(super) struct Wire {
    node: Ipv4Addr,
    file: PathBuf,
    tcpdump: Child,
}

/// A frame that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    /// In nanoseconds.
    pub(super) at: u64,
    /// Whether the node sent it.
    pub(super) is_ours: bool,
    pub(super) said: Said,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// State, diagnostic and the sender's discriminator.
    Bfd(u8, u8, u32),
    /// Code and subcode of a NOTIFICATION, and the node's port, by which one that is sent again is known.
    Notification([u8; 2], u16),
}

impl Wire {
    /// Starts it for what goes by IPv4, and waits until it listens.
    #[track_caller]
    pub(super) fn watch(lab: &TestLab, node: &str, router: Ipv4Addr) -> Self {
        let at = lab.topology().node(node).unwrap();
        let file = lab.folder().join(format!("{node}-{router}.pcap"));
        let mut tcpdump = at
            .netns
            .command("tcpdump")
            .args(["-i", "eth0", "-n", "-p", "-U", "--immediate-mode"])
            .args(["--time-stamp-precision", "nano", "-B", "8192", "-Z", "root"])
            .arg("-w")
            .arg(&file)
            .arg(between(at.v4(), router))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut says = BufReader::new(tcpdump.stderr.take().unwrap()).lines();
        let listens = says.find(|line| line.as_ref().unwrap().contains("listening on"));
        assert!(listens.is_some(), "tcpdump ended before it listened");
        Self {
            node: at.v4(),
            file,
            tcpdump,
        }
    }

    /// All so far. A frame that is being written is left out.
    pub(super) fn frames(&self) -> Vec<Frame> {
        let bytes = fs::read(&self.file).unwrap();
        let mut rest = bytes.get(24..).unwrap_or_default();
        let mut frames = Vec::new();
        while let Some(length) = word(rest, 8) {
            let Some(frame) = rest.get(16..16 + length as usize) else {
                break;
            };
            let seconds = u64::from(word(rest, 0).unwrap()) * 1_000_000_000;
            let at = seconds + u64::from(word(rest, 4).unwrap());
            let is_ours = frame[ETHERNET + 12..ETHERNET + 16] == self.node.octets();
            let said = said(frame, is_ours).into_iter();
            frames.extend(said.map(|said| Frame { at, is_ours, said }));
            rest = &rest[16 + length as usize..];
        }
        frames
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

impl Frame {
    pub(super) const fn is_bfd(&self) -> bool {
        matches!(self.said, Said::Bfd(..))
    }
}

/// tcpdump's words. What is for a router that has gone a switch sends to every node, so that both addresses count.
fn between(node: Ipv4Addr, router: Ipv4Addr) -> String {
    format!("host {node} and host {router} and (udp dst port 3784 or tcp port 179)")
}

/// What counts in a frame of IPv4.
fn said(frame: &[u8], is_ours: bool) -> Vec<Said> {
    let header = usize::from(frame[ETHERNET] & 0x0f) * 4;
    let inner = &frame[ETHERNET + header..];
    match frame[ETHERNET + 9] {
        UDP => {
            let bfd = &inner[8..];
            let mine = u32::from_be_bytes(bfd[4..8].try_into().unwrap());
            vec![Said::Bfd(bfd[1] >> 6, bfd[0] & 0x1f, mine)]
        }
        TCP => {
            let port = &inner[if is_ours { 0..2 } else { 2..4 }];
            let port = u16::from_be_bytes([port[0], port[1]]);
            let ends = notifications(&inner[usize::from(inner[12] >> 4) * 4..]);
            ends.map(|end| Said::Notification(end, port)).collect()
        }
        _ => Vec::new(),
    }
}

/// Code and subcode of those that begin in a segment.
fn notifications(segment: &[u8]) -> impl Iterator<Item = [u8; 2]> {
    let messages = segment.windows(21);
    let ends = messages.filter(|bytes| bytes[..16] == [0xff; 16] && bytes[18] == NOTIFICATION);
    ends.map(|bytes| [bytes[19], bytes[20]])
}

/// Of a header in this machine's order.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(word.try_into().unwrap()))
}

const ETHERNET: usize = 14;
const TCP: u8 = 6;
const UDP: u8 = 17;
const NOTIFICATION: u8 = 3;
/// States of BFD as packets have them.
pub(super) const DOWN: u8 = 1;
pub(super) const UP: u8 = 3;
