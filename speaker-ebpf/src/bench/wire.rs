//! The tables that the bench and its kernel object share.
//!
//! Included by both sides as source, since nothing else of the project has a use for it.

use bytemuck::{Pod, Zeroable};

/// Half words of a frame in [`Order`]: 128 bytes.
pub(crate) const FRAME_HALVES: usize = 64;
/// Half words of an Ethernet frame with an ARP body.
pub(crate) const ARP_HALVES: usize = 21;
/// Half words of the shortest frame on a wire (60 bytes without check sum), which is what the generator sends.
pub(crate) const SENT_HALVES: usize = 30;
/// Half words of a neighbour solicitation with one link-layer option.
pub(crate) const NS_HALVES: usize = 43;
/// Clients that the generator can play; the last byte of their addresses.
pub(crate) const CLIENTS_MAX: u32 = 256;
/// Latency samples of one run.
pub(crate) const SAMPLES_MAX: u32 = 65_536;

/// What to send, and as whom.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Order {
    /// The frame, in memory order.
    pub(crate) frame: [u16; FRAME_HALVES],
    /// Which bits of the sequence number choose the client.
    pub(crate) client_mask: u32,
    /// Whether each request is stamped: 0 or 1.
    pub(crate) stamps: u32,
}

/// When a client asked last.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Stamp {
    /// Number of the request, from 1 on.
    pub(crate) sequence: u64,
    /// MONOTONIC nanoseconds.
    pub(crate) at_ns: u64,
}

/// Index of the sink's counter of good answers.
pub(crate) const ANSWERS: u32 = 0;
/// Index of the sink's counter of other ARP frames.
pub(crate) const OTHERS: u32 = 1;
/// Index of the generator's counter.
pub(crate) const SENT: u32 = 2;
/// How many counters there are.
pub(crate) const COUNTS: usize = 3;
