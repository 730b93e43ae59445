//! What a link carried of BFD, with the kernel's time stamps: tcpdump writes it, so that nobody's being late makes a packet late.

use crate::net::{CLIENT_LINK, NODE_IP, Namespace};
use crate::process::Process;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A running capture of the BFD packets that the node sends.
pub(super) struct Capture {
    process: Process,
    file: PathBuf,
}

/// When packets of state Up came, in nanoseconds, by the peer that they went to.
pub(super) type Arrivals = BTreeMap<Ipv4Addr, Vec<u64>>;

impl Capture {
    /// Starts it in a peer's namespace.
    pub(super) fn start(namespace: &Namespace, folder: &Path) -> Result<Self> {
        let file = folder.join("bfd.pcap");
        let filter = format!("udp dst port {} and src host {NODE_IP}", super::watch::PORT);
        let mut command = Command::new("tcpdump");
        command.args(["-i", CLIENT_LINK, "-n", "-p", "-U", "-B", BUFFER_KIB]);
        command.args(["--time-stamp-precision", "nano", "-s", "96", "-w"]);
        command.arg(&file).arg(filter);
        let log = folder.join("tcpdump.log");
        let mut process = namespace.run(|| Process::start(&mut command, &log))?;
        let start = Instant::now();
        while !process.said().contains("listening on") {
            process.check()?;
            ensure!(start.elapsed() < STARTED_MAX, "tcpdump does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { process, file })
    }

    /// Ends it, and reads what it wrote.
    pub(super) fn stop(self) -> Result<Arrivals> {
        // What it was handed and has not written yet.
        std::thread::sleep(Duration::from_millis(500));
        self.process.stop()?;
        let bytes = fs::read(&self.file);
        let bytes = bytes.with_context(|| format!("failed to read {}", self.file.display()))?;
        fs::remove_file(&self.file)?;
        arrivals(&bytes).context("tcpdump wrote something else")
    }
}

/// Of a file in pcap's format, of this machine's byte order, with nanoseconds.
fn arrivals(bytes: &[u8]) -> Option<Arrivals> {
    const NANOSECONDS: u32 = 0xa1b2_3c4d;
    let word = |bytes: &[u8], at: usize| {
        let word = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(word))
    };
    if word(bytes, 0)? != NANOSECONDS {
        return None;
    }
    let (mut rest, mut all) = (bytes.get(24..)?, Arrivals::new());
    while !rest.is_empty() {
        let at = u64::from(word(rest, 0)?) * 1_000_000_000 + u64::from(word(rest, 4)?);
        let length = word(rest, 8)? as usize;
        let frame = rest.get(16..16 + length)?;
        if let Some((peer, true)) = packet(frame) {
            all.entry(peer).or_default().push(at);
        }
        rest = &rest[16 + length..];
    }
    Some(all)
}

/// To whom a frame goes, and whether it says Up.
fn packet(frame: &[u8]) -> Option<(Ipv4Addr, bool)> {
    const ETHERNET: usize = 14;
    const UDP: usize = 8;
    let ip = frame.get(ETHERNET..)?;
    let header = usize::from(ip.first()? & 0x0f) * 4;
    let to: [u8; 4] = ip.get(16..20)?.try_into().ok()?;
    let flags = ip.get(header + UDP + 1)?;
    Some((to.into(), flags >> 6 == 3))
}

/// The longest time between packets of one session, in milliseconds; none where a session has hardly any.
pub(super) fn longest_gap(arrivals: &[u64]) -> Option<f64> {
    let gaps = arrivals
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]));
    gaps.max().map(|gap| gap as f64 / 1e6)
}

/// Some seconds of 100 sessions.
const BUFFER_KIB: &str = "8192";
const STARTED_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at: [u32; 2], state: u8) -> Vec<u8> {
        let mut frame = vec![0; 14];
        frame.extend([
            0x45, 0, 0, 52, 0, 0, 0, 0, 255, 17, 0, 0, 10, 85, 1, 2, 10, 85, 2, 1,
        ]);
        frame.extend([0; 8]);
        frame.extend([0x20, state << 6, 3, 24]);
        let words = [at[0], at[1], frame.len() as u32, frame.len() as u32];
        let mut record: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        record.extend(frame);
        record
    }

    #[test]
    fn times_of_packets_that_say_up_are_read() {
        let mut file = 0xa1b2_3c4d_u32.to_ne_bytes().to_vec();
        file.extend([0; 20]);
        for (at, state) in [
            ([1, 0], 3),
            ([1, 40_000_000], 3),
            ([1, 50_000_000], 1),
            ([2, 0], 3),
        ] {
            file.extend(record(at, state));
        }
        let all = arrivals(&file).unwrap();
        let peer = Ipv4Addr::new(10, 85, 2, 1);
        assert_eq!(all[&peer], [1_000_000_000, 1_040_000_000, 2_000_000_000]);
        assert_eq!(longest_gap(&all[&peer]), Some(960.0));
        assert_eq!(arrivals(&file[..file.len() - 1]), None);
    }
}
