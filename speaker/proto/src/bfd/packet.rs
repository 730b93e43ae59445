//! The BFD control packet (RFC 5880 §4.1): its bytes, and which are not taken (§6.8.6).
//!
//! Knows nothing of sessions: that a discriminator is unknown is for others to find.

use super::{Diagnostic, State};
use crate::Span;
use std::num::{NonZeroU8, NonZeroU32};

/// A control packet without authentication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// The sender's state.
    pub state: State,
    /// Why it last went down.
    pub diagnostic: Diagnostic,
    /// P: the sender wants an answer with F.
    pub is_poll: bool,
    /// F: the answer to P.
    pub is_final: bool,
    /// C: the sender's BFD does not share the fate of its control plane. Ours does.
    pub is_independent: bool,
    /// D: the sender wants no periodic packets while both are Up.
    pub is_demand: bool,
    /// How many of these may be lost in a row.
    pub multiplier: NonZeroU8,
    /// The sender's discriminator.
    pub mine: NonZeroU32,
    /// The receiver's, as far as the sender knows it.
    pub yours: Option<NonZeroU32>,
    /// Desired Min TX Interval, whole microseconds.
    pub transmit: Span,
    /// Required Min RX Interval, whole microseconds; zero: send nothing periodically.
    pub receive: Span,
    /// Required Min Echo RX Interval, whole microseconds; zero: no echo.
    pub echo: Span,
}

/// Why a packet is not taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Discard {
    /// Its TTL is less than the session demands (RFC 5881 §5, RFC 5883 §5).
    Ttl,
    /// Not version 1.
    Version,
    /// Shorter than its fields, or than it says itself.
    Length,
    /// A multiplier of zero.
    Multiplier,
    /// M, which is for a later standard.
    Multipoint,
    /// The sender's discriminator is zero.
    NoDiscriminator,
    /// It names no session of ours, and is of a state that no new session has.
    NoSession,
    /// It is authenticated, and we have no key.
    Authenticated,
    /// It names a session that we do not have.
    UnknownSession,
    /// It names no session, and comes from where none is wanted.
    UnknownPeer,
}

impl Discard {
    /// Every cause.
    pub const ALL: [Self; 10] = [
        Self::Ttl,
        Self::Version,
        Self::Length,
        Self::Multiplier,
        Self::Multipoint,
        Self::NoDiscriminator,
        Self::NoSession,
        Self::Authenticated,
        Self::UnknownSession,
        Self::UnknownPeer,
    ];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Version => "version",
            Self::Length => "length",
            Self::Multiplier => "multiplier",
            Self::Multipoint => "multipoint",
            Self::NoDiscriminator => "no-discriminator",
            Self::NoSession => "no-session",
            Self::Authenticated => "authenticated",
            Self::UnknownSession => "unknown-session",
            Self::UnknownPeer => "unknown-peer",
        }
    }
}

impl Packet {
    /// The bytes. Intervals beyond 71 minutes are written as 71 minutes.
    pub fn encode(&self) -> [u8; PACKET_BYTES] {
        let mut bytes = [0; PACKET_BYTES];
        bytes[0] = VERSION << 5 | self.diagnostic.0 & 0x1f;
        bytes[1] = (self.state as u8) << 6
            | if self.is_poll { POLL } else { 0 }
            | if self.is_final { FINAL } else { 0 }
            | if self.is_independent { INDEPENDENT } else { 0 }
            | if self.is_demand { DEMAND } else { 0 };
        bytes[2] = self.multiplier.get();
        bytes[3] = PACKET_BYTES as u8;
        let words = [
            self.mine.get(),
            self.yours.map_or(0, NonZeroU32::get),
            microseconds(self.transmit),
            microseconds(self.receive),
            microseconds(self.echo),
        ];
        for (to, word) in bytes[4..].chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// Reads what came as the payload of one datagram.
    ///
    /// # Errors
    /// When RFC 5880 §6.8.6 has it discarded before a session is looked for; checked in the order that stands there.
    pub fn decode(payload: &[u8]) -> Result<Self, Discard> {
        let Some((bytes, _)) = payload.split_first_chunk::<PACKET_BYTES>() else {
            return Err(Discard::Length);
        };
        if bytes[0] >> 5 != VERSION {
            return Err(Discard::Version);
        }
        let (flags, length) = (bytes[1], usize::from(bytes[3]));
        let is_authenticated = flags & AUTHENTICATED != 0;
        let length_min = PACKET_BYTES + if is_authenticated { 2 } else { 0 };
        if length < length_min || length > payload.len() {
            return Err(Discard::Length);
        }
        let multiplier = NonZeroU8::new(bytes[2]).ok_or(Discard::Multiplier)?;
        if flags & MULTIPOINT != 0 {
            return Err(Discard::Multipoint);
        }
        let word = |at: usize| {
            let [a, b, c, d] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            u32::from_be_bytes([a, b, c, d])
        };
        let interval = |at| Span::from_ns(u64::from(word(at)) * 1000);
        let mine = NonZeroU32::new(word(4)).ok_or(Discard::NoDiscriminator)?;
        let yours = NonZeroU32::new(word(8));
        let state = State::ALL[usize::from(flags >> 6)];
        if yours.is_none() && matches!(state, State::Init | State::Up) {
            return Err(Discard::NoSession);
        }
        if is_authenticated {
            return Err(Discard::Authenticated);
        }
        Ok(Self {
            state,
            diagnostic: Diagnostic(bytes[0] & 0x1f),
            is_poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            is_independent: flags & INDEPENDENT != 0,
            is_demand: flags & DEMAND != 0,
            multiplier,
            mine,
            yours,
            transmit: interval(12),
            receive: interval(16),
            echo: interval(20),
        })
    }
}

fn microseconds(span: Span) -> u32 {
    u32::try_from(span.ns() / 1000).unwrap_or(u32::MAX)
}

/// Bytes of a packet without authentication.
pub const PACKET_BYTES: usize = 24;
const VERSION: u8 = 1;
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const INDEPENDENT: u8 = 0x08;
const AUTHENTICATED: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As FRR 8.4 sent it: Up, P, 3 x 50 ms, echo 50 ms.
    const SAMPLE: [u8; 24] = [
        0x20, 0xe0, 3, 24, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0, 0, 0xc3, 0x50, 0, 0,
        0xc3, 0x50, 0, 0, 0xc3, 0x50,
    ];

    #[test]
    fn rfc5880_4_1_a_packet_is_read_field_by_field() {
        let packet = Packet {
            state: State::Up,
            diagnostic: Diagnostic::NONE,
            is_poll: true,
            is_final: false,
            is_independent: false,
            is_demand: false,
            multiplier: NonZeroU8::new(3).unwrap(),
            mine: NonZeroU32::new(0x1234_5678).unwrap(),
            yours: NonZeroU32::new(0x9abc_def0),
            transmit: Span::ms(50),
            receive: Span::ms(50),
            echo: Span::ms(50),
        };
        assert_eq!(Packet::decode(&SAMPLE), Ok(packet));
        assert_eq!(packet.encode(), SAMPLE);
    }

    /// What comes of the sample with these bytes changed.
    fn check(changes: &[(usize, u8)], expected: Result<(), Discard>) {
        let mut bytes = SAMPLE;
        for (at, byte) in changes {
            bytes[*at] = *byte;
        }
        let decoded = Packet::decode(&bytes).map(drop);
        assert_eq!(decoded, expected, "{changes:?}");
    }

    #[test]
    fn rfc5880_6_8_6_what_must_be_discarded_is() {
        check(&[], Ok(()));
        check(&[(0, 0x00)], Err(Discard::Version));
        check(&[(0, 0x40)], Err(Discard::Version));
        check(&[(3, 23)], Err(Discard::Length));
        check(&[(3, 25)], Err(Discard::Length));
        check(&[(1, 0xe4)], Err(Discard::Length));
        check(&[(2, 0)], Err(Discard::Multiplier));
        check(&[(1, 0xe1)], Err(Discard::Multipoint));
        let no_mine = [(4, 0), (5, 0), (6, 0), (7, 0)];
        check(&no_mine, Err(Discard::NoDiscriminator));
        for (flags, expected) in [
            (0x00, Ok(())),
            (0x40, Ok(())),
            (0x80, Err(Discard::NoSession)),
            (0xc0, Err(Discard::NoSession)),
        ] {
            check(&[(1, flags), (8, 0), (9, 0), (10, 0), (11, 0)], expected);
        }
        for short in 0..24 {
            assert_eq!(Packet::decode(&SAMPLE[..short]), Err(Discard::Length));
        }
    }

    #[test]
    fn rfc5880_6_8_6_what_is_authenticated_is_discarded_without_a_key() {
        let mut bytes = [0; 33];
        bytes[..24].copy_from_slice(&SAMPLE);
        bytes[1] |= AUTHENTICATED;
        bytes[3] = 33;
        bytes[24..27].copy_from_slice(&[1, 9, 1]);
        assert_eq!(Packet::decode(&bytes), Err(Discard::Authenticated));
        bytes[3] = 25;
        assert_eq!(Packet::decode(&bytes), Err(Discard::Length));
    }

    #[test]
    fn what_follows_the_packet_in_its_datagram_is_not_looked_at() {
        let mut bytes = [0xff; 40];
        bytes[..24].copy_from_slice(&SAMPLE);
        assert_eq!(Packet::decode(&bytes), Packet::decode(&SAMPLE));
    }

    #[test]
    fn causes_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> =
            Discard::ALL.iter().map(|cause| cause.as_str()).collect();
        assert_eq!(names.len(), Discard::ALL.len());
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_was_written(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(packet) = Packet::decode(&bytes) {
                prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
            }
        }

        #[test]
        fn what_is_nearly_right_is_read_or_refused_and_written_alike(
            at in 0usize..24, byte in any::<u8>(), at_too in 0usize..24, byte_too in any::<u8>(),
        ) {
            let mut bytes = SAMPLE;
            bytes[at] = byte;
            bytes[at_too] = byte_too;
            if let Ok(packet) = Packet::decode(&bytes) {
                prop_assert_eq!(packet.encode(), bytes);
            }
        }
    }
}
