//! What members say to each other, as bytes: fixed widths, big-endian, a byte of version first.
//!
//! The first byte is the protocol's version. One that differs is another protocol: such speakers do not hear each other, count it, and
//! see two clusters on one segment, which the claim rule then keeps apart. So it is never raised while the additive ways suffice: a
//! message may grow at its end (what is beyond the known fields is not read), and a kind that is not known is passed over and counted.
//!
//! Decoding never panics, whatever the bytes. Nothing here knows what a message leads to.

mod blob;
mod bytes;
mod codec;

pub(super) use blob::{held_blob, held_of, profile_blob, profile_of};
pub(super) use bytes::hash;

use crate::GroupKey;
use crate::member::{Boot, HeldEntry, NodeId};

/// The protocol's version.
pub(super) const PROTOCOL: u8 = 1;
/// Whoever is at an address: of a [`Message::Join`], whose sender does not know.
pub(super) const ANYONE: NodeId = NodeId(0);
/// Bytes of a blob in one [`Message::Part`].
pub(super) const PART_BYTES: usize = 1_000;
/// Parts of one blob: 65,536 groups, as many as the kernel's table has slots, of at most 34 bytes each.
pub(super) const PARTS_MAX: u16 = 2_304;
/// Items in one [`Message::Items`].
pub(super) const ITEMS_MAX: usize = 15;
/// Buckets in a [`Message::Digest`].
pub(super) const BUCKETS: usize = 32;

/// One datagram's body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Message {
    /// The sender is alive, its kernel is silent so long after this was sent, and this is what it has to say.
    Heartbeat(Heartbeat),
    /// The receiver was not heard for a while: it should send a heartbeat.
    Probe,
    /// What an observer knows of its subject.
    Vote(Vote),
    /// What does the receiver, an observer of this node, know of it?
    Ask(NodeId),
    /// Hashes over [`Item`]s, by bucket.
    Digest {
        /// It answers one; otherwise one is wanted in return.
        is_reply: bool,
        /// One hash a bucket.
        buckets: Box<[u64; BUCKETS]>,
    },
    /// Members as the sender knows them.
    Items {
        /// Nothing more follows of what was asked for.
        is_last: bool,
        /// At most [`ITEMS_MAX`].
        items: Vec<Item>,
    },
    /// A piece of a profile or held set.
    Part(Part),
    /// Pieces are wanted.
    Pull(Pull),
    /// A held set as a change of an earlier one.
    Delta(Delta),
    /// What the sender has of the receiver's.
    Ack(Ack),
    /// A newcomer asks for everything that the receiver knows.
    Join,
    /// Proof is wanted that the receiver runs now: it returns these bytes.
    Challenge([u8; 16]),
    /// The bytes of a challenge, returned.
    Response {
        /// Those bytes.
        nonce: [u8; 16],
        /// Which start of its node's speaker this is, among all.
        generation: u64,
    },
    /// From deciding to deciding.
    Tell(Vec<u8>),
    /// The sender's kernel may answer this long, though its process stops: wait so long before voting.
    PromiseAsk {
        /// How long, in ms.
        ms: u32,
        /// When that ends by the sender's clock, in ns: it tells its promises apart and is to be returned.
        until: u64,
    },
    /// The promise that ends then by the receiver's clock was noted.
    PromiseAck(u64),
    /// The sender goes and holds nothing any more.
    Leave,
}

/// See [`Message::Heartbeat`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Heartbeat {
    pub(super) promise_ms: u32,
    /// Its low half, to be compared only.
    pub(super) profile_version: u32,
    pub(super) held_version: u64,
    /// The low half of it.
    pub(super) held_hash: u32,
}

/// When a member was last heard, as somebody knows it; ages, because clocks are never compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Trace {
    /// The highest number of a datagram.
    pub(super) number: u64,
    /// How long ago, rounded down: a later moment is the safe error.
    pub(super) age_ms: u32,
    /// Its last promise.
    pub(super) promise_ms: u32,
}

/// See [`Message::Vote`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Vote {
    pub(super) subject: NodeId,
    pub(super) boot: Boot,
    pub(super) trace: Trace,
    /// It is late; otherwise it is heard, and an earlier vote is withdrawn.
    pub(super) is_late: bool,
    /// Its kernel does not answer, though it promised to (L6.3). Earlier versions neither say nor read it.
    pub(super) is_void: bool,
}

/// What a member's standing is to somebody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Told {
    Alive,
    Dead,
    Left,
}

/// A member in short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Item {
    pub(super) node: NodeId,
    pub(super) boot: Boot,
    pub(super) generation: u64,
    pub(super) profile_version: u64,
    pub(super) held_version: u64,
    pub(super) standing: Told,
    pub(super) trace: Trace,
}

/// What is sent in parts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum What {
    Profile,
    Held,
}

/// Which blob: of whom, in which boot, and which version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Title {
    pub(super) node: NodeId,
    pub(super) boot: Boot,
    pub(super) what: What,
    pub(super) version: u64,
}

/// See [`Message::Part`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub(super) title: Title,
    pub(super) generation: u64,
    /// Of the whole blob.
    pub(super) hash: u64,
    pub(super) index: u16,
    pub(super) count: u16,
    pub(super) bytes: Vec<u8>,
}

/// See [`Message::Pull`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pull {
    pub(super) title: Title,
    pub(super) first: u16,
    pub(super) count: u16,
}

/// See [`Message::Delta`]. The sender's own held set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Delta {
    pub(super) base: u64,
    pub(super) version: u64,
    /// Of the whole new blob.
    pub(super) hash: u64,
    /// `None`: gone.
    pub(super) changes: Vec<(GroupKey, Option<HeldEntry>)>,
}

/// See [`Message::Ack`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ack {
    /// Which boot of the receiver's: versions begin anew with each.
    pub(super) boot: Boot,
    pub(super) profile_version: u64,
    pub(super) held_version: u64,
    /// The sender's own held set as it was when it had the receiver's.
    pub(super) own_version: u64,
}

/// Why a body says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Malformed {
    /// It ends before its fields do.
    Short,
    /// Another protocol.
    Protocol(u8),
    /// A message of a later version of this protocol.
    Kind(u8),
    /// A field is outside its bounds.
    Value,
}

/// Changes in one [`Delta`]: of at most 34 bytes each, they fit a body.
pub(super) const CHANGES_MAX: usize = 31;

#[cfg(test)]
mod tests;
