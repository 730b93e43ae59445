//! What a session is told and what it says, as values.

use super::packet::Packet;
use super::peer::Peer;
use super::{Diagnostic, Settings, State};
use crate::{Span, Time};
use std::num::NonZeroU32;

/// What happens to a [`Session`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// A packet of this session, with a TTL that it takes.
    Packet(Packet),
    /// It should be like this from now on.
    Settings(Settings),
    /// It is not wanted any more: tell so for a detection time, then [`Output::Left`] (RFC 5880 §6.8.16).
    AdminDown,
    /// The process will be gone for so long, [`GRACE_MAX`] at most: have the other side bear it, and answer with [`Output::Stretched`].
    Stretch(Span),
}

/// What a [`Session`] wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send this now.
    Send(Packet),
    /// The state is another.
    Changed(Change),
    /// The answer to [`Input::Stretch`], within [`ANSWER_MAX`]. Who is not in it must not count on the other side's patience.
    Stretched(Option<Saved>),
    /// The other side was told long enough that the session is not wanted.
    Left,
}

/// A change of state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// The state from now on.
    pub state: State,
    /// Why it went down.
    pub diagnostic: Diagnostic,
    /// The other side's state, as far as it is known. A session that goes down for its AdminDown has not failed (RFC 5882 §3.2).
    pub peer: State,
    /// The other side is not the one that the session was last Up with: it made its session anew.
    pub is_new_peer: bool,
}

/// A session that a next process may go on with. Plain data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Saved {
    /// Our discriminator.
    pub mine: NonZeroU32,
    /// The other side.
    pub peer: Peer,
    /// How often the other side thinks that we send.
    pub transmit: Span,
    /// How often it thinks that we take packets.
    pub receive: Span,
    /// When the other side may have given up.
    pub until: Time,
}

/// What came of a session so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Packets taken.
    pub received: u64,
    /// Packets made.
    pub sent: u64,
    /// Times that it came Up.
    pub ups: u64,
    /// Times that it left Up.
    pub downs: u64,
    /// Detection times that passed while we were held up ourselves, and were given again.
    pub late: u64,
}

/// No other side is asked to bear more.
pub const GRACE_MAX: Span = Span::s(30);
/// So long is waited for the answer to a stretch.
pub const ANSWER_MAX: Span = Span::s(1);
