//! Which node's service proxy gets a packet that this node attracts: tables of Maglev (Eisenbud et al., NSDI 2016, §3.4), what their
//! numbers stand for, and which flows were told apart.
//!
//! Neither a table nor a row is changed while a VIP uses it: a new one is written under a free number, and the VIPs are switched over.

use super::l2::{Addr, MacAddr, VipKey};
use bytemuck::{Pod, Zeroable};

/// Slots of a Maglev table: a prime, so that every node's walk visits them all, and a hundred times the nodes that share a segment,
/// so that shares are within one percent of the weights.
pub const MAGLEV_SLOTS: u32 = 16_381;

/// Slots of one element of `MAGLEV`.
pub const CHUNK_SLOTS: u32 = 256;

/// Elements of `MAGLEV` that one table takes.
pub const TABLE_CHUNKS: u32 = MAGLEV_SLOTS.div_ceil(CHUNK_SLOTS);

/// Maglev tables at once: 64 KiB each. VIPs with the same weighted nodes, now and before, share one.
pub const TABLES_MAX: u32 = 64;

/// Nodes that packets are spread over at most, on one link of one node.
pub const TARGETS_MAX: u32 = 1_024;

/// Rows of targets on all links: eight links with as many nodes as there may be.
pub const TARGET_ROWS_MAX: u32 = 8 * TARGETS_MAX;

/// VIPs that are spread, on all links.
pub const STEERED_MAX: u32 = 16_384;

/// Rows of `SPREAD`, numbered from 1: those of all VIPs, and while these are switched over the ones that they have next.
pub const ROWS_MAX: u32 = 2 * STEERED_MAX;

/// TCP connections remembered where the table says two different nodes; least recently used go first.
pub const STREAMS_MAX: u32 = 65_536;

/// Flows of datagrams remembered; least recently used go first.
pub const DATAGRAMS_MAX: u32 = 65_536;

/// Datagrams in fragments at once; least recently used go first.
pub const FRAGMENTS_MAX: u32 = 16_384;

/// A datagram's later fragments follow its first within this long, or are lost. Nanoseconds.
pub const FRAGMENTS_NS: u64 = 2_000_000_000;

/// So long after the deadline of a VIP what belongs to connections of other nodes is dropped rather than reset by this node's stack: much
/// longer than another node needs to take the VIP and to tell of it, and short enough for a program whose agent is gone for good.
/// Nanoseconds.
pub const SILENCE_NS: u64 = 10_000_000_000;

/// Rows of [`ShareKey`] at most: with more, what was sent is counted for the VIP but not for the node.
pub const SHARES_MAX: u32 = 65_536;

/// The number of this node itself, in every table of its own.
pub const OWN_NODE: u16 = 0;

/// Value of `SPREAD`, by a number that entries name: how the packets of VIPs on a link are spread. VIPs of which all of it is the same share one.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct SteerValue {
    window_until_ns: u64,
    own: MacAddr,
    table: u8,
    flags: u8,
}

impl SteerValue {
    /// By this table; one from [`TABLES_MAX`] on is none. Until `window_until_ns` (BOOTTIME nanoseconds) a TCP segment of an unknown connection
    /// belongs to the slot's previous node.
    #[inline(always)]
    pub const fn new(table: u32, window_until_ns: u64) -> Self {
        Self {
            window_until_ns,
            own: MacAddr([0; 6]),
            table: if table < TABLES_MAX {
                table as u8
            } else {
                u8::MAX
            },
            flags: 0,
        }
    }

    /// The same, of what comes to this hardware address: this node's on the link.
    #[inline(always)]
    pub const fn sent_to(self, own: MacAddr) -> Self {
        Self { own, ..self }
    }

    /// The same, for clients that stay with one node whatever their ports (`sessionAffinity: ClientIP`).
    #[inline(always)]
    pub const fn by_client(self, is_by_client: bool) -> Self {
        let flags = if is_by_client {
            self.flags | BY_CLIENT
        } else {
            self.flags & !BY_CLIENT
        };
        Self { flags, ..self }
    }

    /// The same, over nodes on other segments as well, which have rows in `FAR`.
    #[inline(always)]
    pub const fn beyond(self, is_beyond: bool) -> Self {
        let flags = if is_beyond {
            self.flags | BEYOND
        } else {
            self.flags & !BEYOND
        };
        Self { flags, ..self }
    }

    /// This node's hardware address on the link.
    #[inline(always)]
    pub const fn own(&self) -> MacAddr {
        self.own
    }

    /// The number of its table; one that is [`TABLES_MAX`] or more is nobody's.
    #[inline(always)]
    pub const fn table(&self) -> u32 {
        self.table as u32
    }

    /// The end of the window in BOOTTIME nanoseconds.
    #[inline(always)]
    pub const fn window_until_ns(&self) -> u64 {
        self.window_until_ns
    }

    /// Whether only the client's address counts.
    #[inline(always)]
    pub const fn is_by_client(&self) -> bool {
        self.flags & BY_CLIENT != 0
    }

    /// Whether nodes on other segments are among those that it is spread over.
    #[inline(always)]
    pub const fn is_beyond(&self) -> bool {
        self.flags & BEYOND != 0
    }
}

/// Flags of a [`SteerValue`].
const BY_CLIENT: u8 = 1;
const BEYOND: u8 = 2;

/// One slot of a Maglev table: numbers of nodes, keys of `TARGETS`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct Bucket {
    /// Whose new flows are.
    pub current: u16,
    /// Whose flows from before are; the same where nothing changed, or where that node is gone. With [`RETURNED`]: the same, though another
    /// had them in between.
    pub previous: u16,
}

impl Bucket {
    /// The slot of a node that had it before another did: it has what is new and what is not remembered, and that other what is.
    pub const fn returned(node: u16) -> Self {
        Self {
            current: node,
            previous: node | RETURNED,
        }
    }

    /// Whose flows from before are.
    #[inline(always)]
    pub const fn earlier(&self) -> u16 {
        self.previous & !RETURNED
    }

    /// Whether flows are remembered because they may be of more than one node.
    #[inline(always)]
    pub const fn is_in_doubt(&self) -> bool {
        self.current != self.previous
    }
}

/// A bit of [`Bucket::previous`], above the numbers of nodes.
pub const RETURNED: u16 = 1 << 15;

/// An element of `MAGLEV`: a run of slots of one table. Element `table * TABLE_CHUNKS + slot / CHUNK_SLOTS`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct Chunk {
    /// Slots beyond [`MAGLEV_SLOTS`] are never asked for and zero.
    pub buckets: [Bucket; CHUNK_SLOTS as usize],
}

/// Key of `TARGETS`: a node as tables number it, on a link.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct TargetKey {
    /// The link that packets come in on and leave by.
    pub ifindex: u32,
    /// The node's number.
    pub node: u32,
}

/// Value of `TARGETS`: where the node's frames go. A node that did not prove itself on a link has none there.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct TargetValue {
    /// Its hardware address on that link.
    pub mac: MacAddr,
    /// Always zero.
    pub pad: [u8; 2],
}

/// Key of `SHARES`: a VIP's slot (that of its [`super::Entry`]) and a node's number.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct ShareKey {
    /// The VIP on a link.
    pub slot: u32,
    /// The node.
    pub node: u32,
}

/// Key of `STREAMS`, `DATAGRAMS` and `FRAGMENTS`: a flow to a VIP on a link.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct StreamKey {
    /// The client.
    pub client: Addr,
    /// The VIP and the link.
    pub vip: VipKey,
    /// The client's port and the VIP's, or a datagram's number, as they lie in the packet.
    pub word: u32,
    /// The protocol's number.
    pub protocol: u32,
}

/// Value of `STREAMS`, `DATAGRAMS` and `FRAGMENTS`: whose it is.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct StreamValue {
    /// When a packet of it was last seen, in BOOTTIME nanoseconds, to a second or so.
    pub seen_ns: u64,
    /// The node's number.
    pub node: u32,
    /// Always zero.
    pub pad: u32,
}

/// What became of a packet for a VIP that is spread.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum Steered {
    /// To another node.
    Sent,
    /// Here: its share is this node's.
    Own,
    /// Here: from a member, which is never sent on.
    FromMember,
    /// Here: this node is past its deadline, fenced, or does not hold the VIP.
    NotHeld,
    /// Here: it has no hop left.
    NoHops,
    /// Here: what it belongs to cannot be read.
    Unclear,
    /// Here: the node whose it is has no address on this link and no row in `FAR`, or the row's table is not there.
    NoTarget,
    /// Dropped: a later fragment of a datagram whose first was not seen lately.
    LostFragment,
    /// Sent, but not counted for the node: there is no row left for that.
    Uncounted,
    /// Dropped: of a connection that another node has, while this node may not speak for the VIP any more.
    Silenced,
}

impl Steered {
    /// In the order of the array.
    pub const ALL: [Self; 10] = [
        Self::Sent,
        Self::Own,
        Self::FromMember,
        Self::NotHeld,
        Self::NoHops,
        Self::Unclear,
        Self::NoTarget,
        Self::LostFragment,
        Self::Uncounted,
        Self::Silenced,
    ];
}

const _: () = {
    assert!(size_of::<SteerValue>() == 16);
    assert!(size_of::<Chunk>() == 1024);
    assert!(size_of::<TargetKey>() == 8);
    assert!(size_of::<TargetValue>() == 8);
    assert!(size_of::<ShareKey>() == 8);
    assert!(size_of::<StreamKey>() == 44);
    assert!(size_of::<StreamValue>() == 16);
    assert!(TARGETS_MAX <= u16::MAX as u32);
    assert!(TABLES_MAX < u8::MAX as u32);
    assert!(ROWS_MAX <= u16::MAX as u32);
};
