//! What the program counts: neighbour frames by outcome, traffic, and what belongs to no VIP.

use bytemuck::{Pod, Zeroable};

/// What became of a neighbour frame that concerned a VIP in the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(usize)]
pub enum Outcome {
    /// A reply was sent.
    Answered,
    /// Another node's VIP: dropped.
    NotOwner,
    /// Past the deadline: dropped.
    Lapsed,
    /// A member claimed it and the agent has not cleared that: dropped.
    Fenced,
    /// A planned move is under way: dropped.
    Draining,
    /// Above the token bucket: dropped.
    Limited,
    /// Not as the RFCs want it: passed.
    Malformed,
    /// Claimed by hardware that is no member's: passed.
    Foreign,
    /// Claimed in a member's name by other hardware, or by a member that is disarmed: passed.
    Spoofed,
    /// Claimed by a member: fenced if in mode answer, passed.
    Claimed,
}

impl Outcome {
    /// In the order of [`SlotStats`].
    pub const ALL: [Self; 10] = [
        Self::Answered,
        Self::NotOwner,
        Self::Lapsed,
        Self::Fenced,
        Self::Draining,
        Self::Limited,
        Self::Malformed,
        Self::Foreign,
        Self::Spoofed,
        Self::Claimed,
    ];
}

/// Value of `STATS` on one CPU: neighbour frames by outcome, and the token bucket.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct SlotStats {
    /// [`Outcome::Answered`].
    pub answered: u64,
    /// [`Outcome::NotOwner`].
    pub not_owner: u64,
    /// [`Outcome::Lapsed`].
    pub lapsed: u64,
    /// [`Outcome::Fenced`].
    pub fenced: u64,
    /// [`Outcome::Draining`].
    pub draining: u64,
    /// [`Outcome::Limited`].
    pub limited: u64,
    /// [`Outcome::Malformed`].
    pub malformed: u64,
    /// [`Outcome::Foreign`].
    pub foreign: u64,
    /// [`Outcome::Spoofed`].
    pub spoofed: u64,
    /// [`Outcome::Claimed`].
    pub claimed: u64,
    /// Tokens left, in nanoseconds of credit.
    pub bucket_ns: u64,
    /// BOOTTIME nanoseconds of the last refill.
    pub bucket_at_ns: u64,
}

impl SlotStats {
    /// The count of one outcome.
    pub const fn of(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Answered => self.answered,
            Outcome::NotOwner => self.not_owner,
            Outcome::Lapsed => self.lapsed,
            Outcome::Fenced => self.fenced,
            Outcome::Draining => self.draining,
            Outcome::Limited => self.limited,
            Outcome::Malformed => self.malformed,
            Outcome::Foreign => self.foreign,
            Outcome::Spoofed => self.spoofed,
            Outcome::Claimed => self.claimed,
        }
    }

    /// The counter of one outcome.
    #[inline(always)]
    pub const fn counter(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Answered => &mut self.answered,
            Outcome::NotOwner => &mut self.not_owner,
            Outcome::Lapsed => &mut self.lapsed,
            Outcome::Fenced => &mut self.fenced,
            Outcome::Draining => &mut self.draining,
            Outcome::Limited => &mut self.limited,
            Outcome::Malformed => &mut self.malformed,
            Outcome::Foreign => &mut self.foreign,
            Outcome::Spoofed => &mut self.spoofed,
            Outcome::Claimed => &mut self.claimed,
        }
    }
}

/// Value of `TRAFFIC` on one CPU: what was handed to the stack for a VIP.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Traffic {
    /// Frames (after GRO where the hook sees it so).
    pub packets: u64,
    /// Bytes from the Ethernet header on.
    pub bytes: u64,
}

/// Counters that belong to no VIP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum Global {
    /// ARP frames looked at.
    Arp,
    /// Neighbour discovery frames looked at.
    Ndp,
    /// Neighbour frames not as the RFCs want them, that name a VIP of the table or nothing that can be read.
    Malformed,
    /// The claims ring was full: a hint was lost.
    RingFull,
    /// An entry whose mode or slot is none of ours: passed.
    BadEntry,
    /// Frames passed because the agent has been gone for ten minutes.
    Orphaned,
    /// Frames that could not be made writable or longer.
    NoRoom,
}

impl Global {
    /// In the order of the array.
    pub const ALL: [Self; 7] = [
        Self::Arp,
        Self::Ndp,
        Self::Malformed,
        Self::RingFull,
        Self::BadEntry,
        Self::Orphaned,
        Self::NoRoom,
    ];
}

/// What became of a packet for a VIP that moves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum Passage {
    /// To the new holder, or to the one that is remembered to have the connection.
    Forwarded,
    /// To the former holder, as a connection that is not known here.
    Returned,
    /// Here: it belongs here.
    Kept,
    /// Here: from a member, which is never sent on.
    FromMember,
    /// Here: the window or the deadline has passed.
    TooLate,
    /// Here: it has no hop left.
    NoHops,
    /// Here: what it belongs to cannot be read.
    Unclear,
}

impl Passage {
    /// In the order of the array.
    pub const ALL: [Self; 7] = [
        Self::Forwarded,
        Self::Returned,
        Self::Kept,
        Self::FromMember,
        Self::TooLate,
        Self::NoHops,
        Self::Unclear,
    ];
}

const _: () = {
    assert!(size_of::<SlotStats>() == 96);
    assert!(size_of::<Traffic>() == 16);
};
