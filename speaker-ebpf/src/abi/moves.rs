//! Where the packets of a VIP go while it moves from one node to another, and which connections are whose.

use super::l2::{Addr, MacAddr, VipKey};
use bytemuck::{Pod, Zeroable};

/// Value of `MOVES`. A hardware address of zero is this node itself.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct MoveValue {
    since_ns: u64,
    until_ns: u64,
    fresh: MacAddr,
    old: MacAddr,
    pad: [u8; 4],
}

impl MoveValue {
    /// New connections go to `fresh`, old ones that are not remembered to `old`; `None` is this node. It holds until `until_ns`, and
    /// connections that were remembered before `since_ns` are of another move. BOOTTIME nanoseconds.
    pub fn new(fresh: Option<MacAddr>, old: Option<MacAddr>, since_ns: u64, until_ns: u64) -> Self {
        Self {
            since_ns,
            until_ns,
            fresh: fresh.unwrap_or(HERE),
            old: old.unwrap_or(HERE),
            pad: [0; 4],
        }
    }

    /// From when on connections were remembered, in BOOTTIME nanoseconds.
    #[inline(always)]
    pub const fn since_ns(&self) -> u64 {
        self.since_ns
    }

    /// The end of the move in BOOTTIME nanoseconds: from then on everything is this node's.
    #[inline(always)]
    pub const fn until_ns(&self) -> u64 {
        self.until_ns
    }

    /// Whose new connections are; zero: this node's.
    #[inline(always)]
    pub const fn fresh(&self) -> MacAddr {
        self.fresh
    }

    /// Whose old connections are that nobody remembers; zero: this node's.
    #[inline(always)]
    pub const fn old(&self) -> MacAddr {
        self.old
    }
}

/// What a key of `FLOWS` stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum FlowKind {
    /// A TCP connection.
    Connection = 1,
    /// The fragments of one TCP segment: all but the first come without ports.
    Fragments = 2,
}

/// Key of `FLOWS`: a TCP connection to a VIP on a link, or the fragments of one of its segments.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct FlowKey {
    client: Addr,
    vip: VipKey,
    word: u32,
    kind: u32,
}

impl FlowKey {
    /// `word` is the client's port and the VIP's, or the fragments' number, as they lie in the packet.
    #[inline(always)]
    pub const fn new(kind: FlowKind, client: Addr, vip: VipKey, word: u32) -> Self {
        Self {
            client,
            vip,
            word,
            kind: kind as u32,
        }
    }
}

/// Value of `FLOWS`: whose connection it is.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct FlowValue {
    /// When that was decided, in BOOTTIME nanoseconds.
    pub at_ns: u64,
    /// The node that has it; zero: this one.
    pub mac: MacAddr,
    /// Always zero.
    pub pad: [u8; 2],
}

/// This node, where a hardware address says whose something is.
pub const HERE: MacAddr = MacAddr([0; 6]);

const _: () = {
    assert!(size_of::<MoveValue>() == 32);
    assert!(size_of::<FlowKey>() == 44);
    assert!(size_of::<FlowValue>() == 16);
};
