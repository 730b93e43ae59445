//! Bidirectional Forwarding Detection (RFC 5880): whether packets still pass between two systems, known within a fraction of a second.
//!
//! [`Packet`] is what two systems say, [`Session`] one side of one session. Which packet belongs to which session, TTL and ports are those
//! of RFC 5881 (one hop) and 5883 (several) and the driver's affair; here stands only what a session demands of a TTL. Echo, demand mode of
//! our own and authentication are left out: we announce that we take no echo, honour demand of the other side, and discard what is
//! authenticated. Nothing here knows of BGP, sockets or clocks.

mod events;
mod packet;
mod peer;
mod session;
mod timers;

pub use events::{ANSWER_MAX, Change, Counts, GRACE_MAX, Input, Output, Saved};
pub use packet::{Discard, PACKET_BYTES, Packet};
pub use peer::Peer;
pub use session::Session;

use crate::Span;
use std::fmt;
use std::num::NonZeroU8;

/// What a session should be like. All of it may change while the session is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How often we want to send; at least [`INTERVAL_MIN`]. The other side may ask for less.
    pub transmit: Span,
    /// How often we can take packets; at least [`INTERVAL_MIN`].
    pub receive: Span,
    /// How many of our packets in a row may be lost before the other side finds us gone.
    pub multiplier: NonZeroU8,
    /// Send nothing before the other side did (RFC 5880 §6.1).
    pub is_passive: bool,
    /// Packets that come with less are not taken: [`TTL`] for one hop (RFC 5881 §5), less for several.
    pub ttl_min: u8,
}

impl Settings {
    /// How long the other side may be silent if both are set like this.
    pub fn detection(&self) -> Span {
        let interval = self.transmit.max(self.receive).max(INTERVAL_MIN);
        times(interval, self.multiplier.get())
    }
}

impl Default for Settings {
    /// One hop, 300 ms, three packets: what FRR takes for a profile that says nothing.
    fn default() -> Self {
        Self {
            transmit: Span::ms(300),
            receive: Span::ms(300),
            multiplier: NonZeroU8::MIN.saturating_add(2),
            is_passive: false,
            ttl_min: TTL,
        }
    }
}

/// The state of one side (RFC 5880 §6.2), by its number on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// Switched off by an operator. Not a failure (RFC 5882 §3.2).
    AdminDown = 0,
    /// No packets came, or the other side says so.
    Down = 1,
    /// We hear the other side; whether it hears us is not known.
    Init = 2,
    /// Both hear each other.
    Up = 3,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::AdminDown, Self::Down, Self::Init, Self::Up];

    /// The state after a packet of the other side in state `peer` (RFC 5880 §6.8.6).
    #[must_use]
    pub const fn after(self, peer: Self) -> Self {
        match (self, peer) {
            (Self::AdminDown, _) => Self::AdminDown,
            (Self::Down | Self::Init | Self::Up, Self::AdminDown)
            | (Self::Down, Self::Up)
            | (Self::Up, Self::Down) => Self::Down,
            (Self::Down | Self::Init, Self::Down) => Self::Init,
            (Self::Down, Self::Init) | (Self::Init | Self::Up, Self::Init | Self::Up) => Self::Up,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AdminDown => "admin-down",
            Self::Down => "down",
            Self::Init => "init",
            Self::Up => "up",
        })
    }
}

/// Why a session last left the state Up (RFC 5880 §4.1): five bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Diagnostic(pub u8);

impl Diagnostic {
    /// It did not.
    pub const NONE: Self = Self(0);
    /// Nothing was heard for the detection time.
    pub const TIMED_OUT: Self = Self(1);
    /// The other side said that it is down.
    pub const NEIGHBOUR_DOWN: Self = Self(3);
    /// An operator's will.
    pub const ADMIN_DOWN: Self = Self(7);
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "no diagnostic",
            1 => "control detection time expired",
            2 => "echo function failed",
            3 => "neighbour signalled session down",
            4 => "forwarding plane reset",
            5 => "path down",
            6 => "concatenated path down",
            7 => "administratively down",
            8 => "reverse concatenated path down",
            _ => "unknown diagnostic",
        })
    }
}

/// `multiplier` intervals.
const fn times(interval: Span, multiplier: u8) -> Span {
    Span::from_ns(interval.ns().saturating_mul(multiplier as u64))
}

/// With this TTL packets are sent, and with it they must come over one hop (RFC 5881 §5).
pub const TTL: u8 = 255;
/// What sessions over several hops demand unless told otherwise: one router between, as FRR does.
pub const TTL_MIN_MULTIHOP: u8 = 254;
/// No interval of ours is shorter: what user space can keep (MetalLB's schema has the same bound).
pub const INTERVAL_MIN: Span = Span::ms(10);
/// Who is not Up sends no faster than this (RFC 5880 §6.8.3).
pub const SLOW: Span = Span::s(1);

#[cfg(test)]
mod tests;
