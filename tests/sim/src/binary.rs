//! What speakers of other versions say to each other, as bytes: messages that grew, kinds that are not known, another protocol.
//!
//! There is only one speaker here; what a later one would say beyond it is put onto its datagrams and, where only that one would
//! understand it, taken off again. How messages may grow is the protocol's own promise (`docs/layer2.md`, "Membership").

use crate::chance::Chance;
use crate::node::Binary;
use speaker_proto::gossip::{BODY_BYTES_MAX, MESSAGE_BYTES_MAX};

/// A body as a process of this binary sends it.
pub(crate) fn sent(binary: Binary, mut body: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    if binary.is_grown {
        grow(&mut body);
        if chance.hits(UNKNOWN) {
            body[KIND] = NO_KIND;
        }
    }
    exchanged(binary, body)
}

/// A body as a process of this binary reads it.
pub(crate) fn received(binary: Binary, body: Vec<u8>) -> Vec<u8> {
    exchanged(binary, body)
}

/// Most messages grow at their end, and what the deciding threads say by kinds of their own; pieces of something longer do not.
fn grow(body: &mut Vec<u8>) {
    match body[KIND] {
        PART => {}
        TELL if body.len() + GROWN.len() <= HEAD + MESSAGE_BYTES_MAX => body.extend(GROWN),
        TELL => {}
        _ if body.len() + GROWN.len() <= BODY_BYTES_MAX => body.extend(GROWN),
        _ => {}
    }
}

/// Swaps this protocol's version and the other's: who speaks the other reads this one as another.
fn exchanged(binary: Binary, mut body: Vec<u8>) -> Vec<u8> {
    if let Some(version) = body.first_mut().filter(|_| binary.is_other) {
        *version = match *version {
            THIS => OTHER,
            OTHER => THIS,
            unknown => unknown,
        };
    }
    body
}

/// Versions of the protocol.
const THIS: u8 = 1;
const OTHER: u8 = 2;
/// The place of a message's kind, and what comes before its fields: version, kind, and for whom it is.
const KIND: usize = 1;
const HEAD: usize = 10;
/// Kinds of messages that end with bytes of any number.
const PART: u8 = 7;
const TELL: u8 = 14;
/// A kind that nobody knows, here and among what the deciding threads say.
const NO_KIND: u8 = 200;
/// Fields of a later version. They read as a message of an unknown kind, and its length.
const GROWN: [u8; 8] = [NO_KIND, 6, 1, 2, 3, 4, 5, 6];
/// Of a thousand datagrams, how many say something of which others know nothing.
const UNKNOWN: u64 = 20;
