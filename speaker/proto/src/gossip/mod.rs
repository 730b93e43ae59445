//! Membership: who is there, who is dead, and what each holds.
//!
//! Every node is observed by [`OBSERVERS`] others, to which it sends a heartbeat each [`crate::pulse::PERIOD`]; an observer that
//! hears nothing for the promise and [`LATE`] votes, directly to all members, and [`QUORUM`] votes are a verdict.
//! Beside that a slow exchange brings every member's [`Profile`] and [`HeldSet`] to every other; a change of the own ones is sent to all at
//! once and acknowledged. It knows nothing of sockets, keys or what a group is for (`docs/layer2.md`, "Membership").
//!
//! Datagrams are sealed outside: what comes in is authentic, in the name of a sender and a boot, and numbered. Replay and unknown
//! boots are judged here.

mod counts;
mod exchange;
mod held;
mod machine;
mod observers;
mod own;
mod peer;
mod promise;
mod receive;
mod replay;
mod roster;
mod schedule;
mod seeds;
mod votes;
mod watch;
mod wire;

#[cfg(test)]
mod tests;

pub use counts::Counts;
pub use machine::Gossip;
pub(crate) use observers::mix;
pub use peer::Contact;

use crate::member::{Boot, HeldSet, HeldVersion, NodeId, Profile, Roster};
use crate::{Span, Time};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// Observers of each node (K).
pub const OBSERVERS: usize = 5;
/// Votes that make a verdict, if there are so many live observers (Q).
pub const QUORUM: usize = 2;
/// An observer votes when nothing was heard for the promise of the last heartbeat and this.
pub const LATE: Span = Span::ms(150);
/// Certainty of silence: the freshest heartbeat heard, its promise, and this.
pub const SILENCE_MARGIN: Span = Span::ms(100);
/// Bytes of a datagram's body: what IPv6's smallest MTU leaves, less envelope and seal.
pub const BODY_BYTES_MAX: usize = 1120;
/// Bytes of a message from deciding to deciding.
pub const MESSAGE_BYTES_MAX: usize = 1024;
/// Members, this node included; more are refused and counted.
pub const MEMBERS_MAX: usize = 1_000;
/// Groups in a held set: as many as the kernel's table has slots.
pub const HELD_MAX: usize = 65_536;

/// A datagram that was opened: authentic, from whom it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// Where it came from.
    pub from: SocketAddr,
    /// Who sent it.
    pub sender: NodeId,
    /// In which boot.
    pub boot: Boot,
    /// Its number within that boot; each is used once.
    pub number: u64,
    /// Which of the keys it was sealed with, as the sealer names it.
    pub key: u8,
    /// What it says.
    pub body: Vec<u8>,
}

/// A datagram to be sealed and sent in this node's name and boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// Where to.
    pub to: SocketAddr,
    /// Its number; never used twice within a boot.
    pub number: u64,
    /// What it says.
    pub body: Vec<u8>,
    /// It is a heartbeat: whether the network stack accepted it counts for the pulse.
    pub is_heartbeat: bool,
}

/// What happens to the machine.
#[derive(Clone, Debug)]
pub enum Input {
    /// A datagram came.
    Received(Received),
    /// Where other speakers may be found; the own addresses left out.
    Seeds(BTreeSet<SocketAddr>),
    /// What this node says of itself.
    Profile(Arc<Profile>),
    /// What this node holds, under a version greater than the last.
    Held(HeldVersion, Arc<HeldSet>),
    /// A message for another member's deciding; may be lost.
    Tell(NodeId, Vec<u8>),
    /// A turn of the pulse: send the heartbeats, from this very `now`.
    Beat,
    /// The process is about to stop and to be followed by another: ask the observers to wait that long.
    Promise(Span),
    /// The kernel of a member that is in its grace ([`crate::member::Member::is_in_grace`]) does not answer (true), or does again.
    Kernel(NodeId, bool),
    /// This node goes and holds nothing any more.
    Leave,
    /// Whether the deciding loop finishes its turns. While it does not, nothing is sent: a node that cannot take or yield is to be
    /// found dead, though its other threads live.
    Steered(bool),
    /// This thread's own turn came late by this much: silence of others proves nothing.
    Starved(Span),
}

/// What the machine wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Seal it and send it.
    Send(Datagram),
    /// What is known changed.
    Roster(Arc<Roster>),
    /// A message from another member's deciding, in its present boot.
    Told(NodeId, Vec<u8>),
    /// Every live observer acknowledged the promise (true), or not within 200 ms (false).
    Promised(bool),
}

/// When a promise that was not acknowledged by all is void.
pub const PROMISE_WAIT: Span = Span::ms(200);

/// Where a machine begins.
#[derive(Clone, Debug)]
pub struct Start {
    /// This node.
    pub me: NodeId,
    /// This boot.
    pub boot: Boot,
    /// What this node says of itself at first.
    pub profile: Arc<Profile>,
    /// What the kernel was found to answer for; empty: nothing.
    pub held: Arc<HeldSet>,
    /// For choosing whom to talk to; any number.
    pub seed: u64,
    /// When.
    pub now: Time,
}
