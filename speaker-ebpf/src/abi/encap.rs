//! Packets of VIPs that go to a node on another segment, in a packet of ours: IPv4 in IPv4 (RFC 2003), IPv6 in IPv6 (RFC 2473).
//!
//! The outer packet is of the same family as the inner one: a node is reached so only if both have an address of it.

use super::l2::Addr;
use super::steer::TARGETS_MAX;
use bytemuck::{Pod, Zeroable};

/// Rows of nodes behind routers: each node once for each family.
pub const FAR_MAX: u32 = 2 * TARGETS_MAX;

/// Rows of ends: four addresses of each of a thousand nodes, and the VIPs that may be spread.
pub const ENDS_MAX: u32 = 32_768;

/// Key of `FAR`: a node as tables number it, and the family of the packets.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct FarKey {
    /// The node's number.
    pub node: u32,
    /// 4 or 6.
    pub family: u32,
}

/// Value of `FAR`: the ends of the way to the node.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct FarValue {
    /// An address of this node.
    pub from: Addr,
    /// An address of that node.
    pub to: Addr,
}

/// Value of `ENDS`, by [`Addr`]: what the address may be to a packet that comes in another one.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Pod, Zeroable)]
pub struct EndValue {
    flags: u32,
}

impl EndValue {
    /// An address of this node: outer packets come to it.
    pub const OWN: Self = Self { flags: 1 };
    /// An address of a member: outer packets come from it.
    pub const MEMBER: Self = Self { flags: 2 };
    /// A VIP that this node may be sent packets for: inner packets are for it.
    pub const SERVED: Self = Self { flags: 4 };

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            flags: self.flags | other.flags,
        }
    }

    /// Whether it is all that the other is.
    #[inline(always)]
    pub const fn is(self, other: Self) -> bool {
        self.flags & other.flags == other.flags
    }
}

/// What became of a packet that goes to another segment, or came from one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum Tunnelled {
    /// Sent, in a packet of ours.
    Wrapped,
    /// Its sender was told that it is too big.
    TooBig,
    /// Dropped: it is too big, and more senders are told that than should be, or they cannot be told.
    Untold,
    /// Here: too big, and its sender lets routers cut it, which is not done here.
    Uncut,
    /// Here: this node's kernel knows no way to the node now.
    NoWay,
    /// Here: memory was short.
    NoRoom,
    /// Dropped: memory was short when its sender should have been told.
    Lost,
    /// Taken out of the packet that it came in, for the stack.
    Unwrapped,
    /// Passed: a packet for one of our VIPs in one that no member sent, or not to an address of this node.
    Stranger,
}

impl Tunnelled {
    /// In the order of the array.
    pub const ALL: [Self; 9] = [
        Self::Wrapped,
        Self::TooBig,
        Self::Untold,
        Self::Uncut,
        Self::NoWay,
        Self::NoRoom,
        Self::Lost,
        Self::Unwrapped,
        Self::Stranger,
    ];
}

const _: () = {
    assert!(size_of::<FarKey>() == 8);
    assert!(size_of::<FarValue>() == 32);
    assert!(size_of::<EndValue>() == 4);
};
