//! The tables that the bench and its kernel object share.
//!
//! Included by both sides as source, since nothing else of the project has a use for it.

/// What to send and as whom: a frame in memory order, and its last half words as below.
pub(crate) type Order = [u16; 64];
/// Where an order has the last two bytes of the hardware address to which packets are sent on.
pub(crate) const TARGET_AT: usize = 61;
/// Where an order says which bits of the sequence number choose the client.
pub(crate) const CLIENT_MASK_AT: usize = 62;
/// Where an order says whether each request is stamped: 0 or 1.
pub(crate) const STAMPS_AT: usize = 63;
/// Latency samples of one run.
pub(crate) const SAMPLES_MAX: u32 = 65_536;

/// Index of the sink's counter of good answers.
pub(crate) const ANSWERS: u32 = 0;
/// Index of the sink's counter of other ARP frames.
pub(crate) const OTHERS: u32 = 1;
/// Index of the generator's counter.
pub(crate) const SENT: u32 = 2;
