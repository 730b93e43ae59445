//! The claims ring, read as it fills.
//!
//! A claim is a hint that something about a VIP changed; fences and counters are the truth, so one that is lost
//! costs time and nothing else. Knows nothing of what a claim means.

use super::maps;
use super::pins::Pins;
use anyhow::{Context, Result};
use aya::maps::{MapData, RingBuf};
use speaker_ebpf::abi::{self, Claim};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The reader of the ring.
pub(crate) struct Claims {
    ring: AsyncFd<RingBuf<MapData>>,
    /// Records that were no claims of this layout.
    pub(crate) malformed: u64,
    /// Claims that were dropped because a batch was full.
    pub(crate) dropped: u64,
}

impl Claims {
    pub(super) fn open(pins: &Pins) -> Result<Self> {
        let ring: RingBuf<MapData> = maps::open(pins, &abi::CLAIMS)?;
        #[expect(
            deprecated,
            reason = "the successor is unsafe; the ring owns its descriptor while it lives"
        )]
        let ring = AsyncFd::with_interest(ring, Interest::READABLE)
            .context("failed to watch the claims ring")?;
        Ok(Self {
            ring,
            malformed: 0,
            dropped: 0,
        })
    }

    /// Waits until there are claims and takes them all; keeps the first [`BATCH_MAX`] and counts the rest.
    ///
    /// Cancel-safe: what is not returned stays in the ring.
    pub(crate) async fn next_batch(&mut self) -> Result<Vec<Claim>> {
        loop {
            let mut ready = self
                .ring
                .readable_mut()
                .await
                .context("failed to wait for claims")?;
            let mut claims = Vec::new();
            let ring = ready.get_inner_mut();
            while let Some(record) = ring.next() {
                match bytemuck::try_pod_read_unaligned(&record) {
                    Ok(claim) if claims.len() < BATCH_MAX => claims.push(claim),
                    Ok(_) => self.dropped += 1,
                    Err(_) => self.malformed += 1,
                }
            }
            ready.clear_ready();
            if !claims.is_empty() {
                return Ok(claims);
            }
        }
    }
}

/// Claims per batch; more at once is a flood, and its claims repeat.
const BATCH_MAX: usize = 256;
