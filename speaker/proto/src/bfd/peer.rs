//! The other side of a session, as far as its packets tell (RFC 5880 §6.8.1).

use super::packet::Packet;
use super::{Diagnostic, State};
use crate::Span;
use std::num::{NonZeroU8, NonZeroU32};

/// What the other side last said. Who was not heard for a detection time said nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its discriminator.
    pub discriminator: Option<NonZeroU32>,
    /// Its state.
    pub state: State,
    /// Why its side went down.
    pub diagnostic: Diagnostic,
    /// Its multiplier.
    pub multiplier: NonZeroU8,
    /// How often it wants to send.
    pub transmit: Span,
    /// How often it takes packets.
    pub receive: Span,
    /// It wants no periodic packets while both are Up.
    pub is_demand: bool,
}

impl Peer {
    /// Of whom nothing is known (RFC 5880 §6.8.1).
    pub(super) const UNHEARD: Self = Self {
        discriminator: None,
        state: State::Down,
        diagnostic: Diagnostic::NONE,
        multiplier: NonZeroU8::MIN,
        transmit: Span::from_ns(0),
        receive: Span::from_ns(1000),
        is_demand: false,
    };

    pub(super) const fn of(packet: &Packet) -> Self {
        Self {
            discriminator: Some(packet.mine),
            state: packet.state,
            diagnostic: packet.diagnostic,
            multiplier: packet.multiplier,
            transmit: packet.transmit,
            receive: packet.receive,
            is_demand: packet.is_demand,
        }
    }
}
