//! One TCP connection as a session sees it: how far its OPENs have come, its timers, and the bytes under way.
//!
//! Knows nothing of the other connection and of what is decided from any of this.

use super::open::KEEPALIVE_MIN;
use super::status::{Negotiated, State};
use super::timers::Chance;
use super::{IN_FLIGHT_MAX, NextHops};
use crate::bgp::wire::{Context, MESSAGE_BYTES_MAX, Reader};
use crate::{Span, Time};

/// One TCP connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// The peer's OPEN was taken, and this came of it.
    negotiated: Option<Negotiated>,
    /// The peer's KEEPALIVE came.
    is_established: bool,
    pub(super) reader: Reader,
    pub(super) next_hops: NextHops,
    /// What is agreed on, for the codec.
    pub(super) context: Context,
    /// When the peer counts as dead.
    pub(super) hold_at: Option<Time>,
    pub(super) keepalive_at: Option<Time>,
    /// The hold timer was once let run on, since the peer was last heard.
    was_spared: bool,
    in_flight: usize,
    /// Since when nothing was written of what is in flight.
    stuck_since: Time,
}

impl Connection {
    /// One on which OPEN is about to be said.
    pub(super) fn new(now: Time, next_hops: NextHops) -> Self {
        Self {
            negotiated: None,
            is_established: false,
            reader: Reader::new(),
            next_hops,
            context: Context::default(),
            hold_at: Some(now + HOLD_OPEN_SENT),
            keepalive_at: None,
            was_spared: false,
            in_flight: 0,
            stuck_since: now,
        }
    }

    pub(super) const fn state(&self) -> State {
        match (&self.negotiated, self.is_established) {
            (None, _) => State::OpenSent,
            (Some(_), false) => State::OpenConfirm,
            (Some(_), true) => State::Established,
        }
    }

    pub(super) const fn negotiated(&self) -> Option<&Negotiated> {
        self.negotiated.as_ref()
    }

    pub(super) const fn negotiated_mut(&mut self) -> Option<&mut Negotiated> {
        self.negotiated.as_mut()
    }

    /// The peer's KEEPALIVE came.
    pub(super) const fn establish(&mut self) {
        self.is_established = true;
    }

    /// The peer's OPEN was taken: its hold time counts from now on.
    pub(super) fn confirm(&mut self, now: Time, negotiated: Negotiated, chance: &mut Chance) {
        self.context = Context {
            has_four_byte_as: negotiated.has_four_byte_as,
            is_ebgp: negotiated.is_external,
            families: negotiated.families.clone(),
        };
        self.negotiated = Some(negotiated);
        self.heard(now);
        self.spoke(now, chance);
    }

    /// The peer said something that restarts the hold timer.
    pub(super) fn heard(&mut self, now: Time) {
        if let Some(negotiated) = self.negotiated() {
            let hold = negotiated.hold;
            self.was_spared = false;
            self.hold_at = (hold > Span::s(0)).then(|| now + hold);
        }
    }

    /// Whether the peer has been silent for its hold time. If nobody looked for a while, what it said may not have been read: then
    /// it has a little more time, once.
    pub(super) fn is_dead(&mut self, now: Time) -> bool {
        let Some(at) = self.hold_at.filter(|at| *at <= now) else {
            return false;
        };
        let is_late = now.since(at) >= LATE && !self.was_spared;
        if is_late {
            self.was_spared = true;
            self.hold_at = Some(now + LATE);
        }
        !is_late
    }

    /// We said something that spares the peer a KEEPALIVE.
    pub(super) fn spoke(&mut self, now: Time, chance: &mut Chance) {
        if let Some(negotiated) = self.negotiated() {
            let keepalive = negotiated.keepalive;
            let wait = chance.jitter(keepalive).max(KEEPALIVE_MIN);
            self.keepalive_at = (keepalive > Span::s(0)).then(|| now + wait);
        }
    }

    /// So many bytes were given to the driver.
    pub(super) fn gave(&mut self, now: Time, bytes: usize) {
        if self.in_flight == 0 {
            self.stuck_since = now;
        }
        self.in_flight += bytes;
    }

    /// The socket took so many.
    pub(super) fn wrote(&mut self, now: Time, bytes: usize) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        if bytes > 0 {
            self.stuck_since = now;
        }
    }

    /// Whether one more message may be given.
    pub(super) const fn has_room(&self) -> bool {
        self.in_flight + MESSAGE_BYTES_MAX <= IN_FLIGHT_MAX
    }

    /// When a peer that reads nothing counts as dead (RFC 9687 §3).
    pub(super) fn send_hold_at(&self) -> Option<Time> {
        let hold = self.negotiated()?.hold;
        let wait = SEND_HOLD_MIN.max(Span::from_ns(2 * hold.ns()));
        (self.in_flight > 0).then(|| self.stuck_since + wait)
    }
}

/// RFC 4271 §8.2.2: a peer may take so long to say OPEN.
const HOLD_OPEN_SENT: Span = Span::s(240);
/// A driver that comes so late was not running, and has not read either.
const LATE: Span = Span::s(1);
/// RFC 9687 §3.3: a peer that reads nothing for less than this is slow, not dead.
const SEND_HOLD_MIN: Span = Span::s(480);
