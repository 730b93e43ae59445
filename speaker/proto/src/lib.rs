//! Protocols and timers as sans-IO machines, and the names they share.
//!
//! No clock, random numbers, sockets or async live here: time is an argument, chance is an argument, and what
//! should be done comes out as values. That is what lets the simulator run the real machines.
#![forbid(unsafe_code)]

pub mod announce;
pub mod bfd;
pub mod bgp;
pub mod claim;
pub mod gossip;
pub mod hold;
pub mod id;
pub mod lease;
pub mod member;
pub mod neighbour;
mod pace;
pub mod probe;
pub mod pulse;
pub mod shared_map;
pub mod time;
pub mod vicinity;
pub mod watch;

pub use id::{Epoch, GroupKey, Mac, NodeName, Vip};
pub use member::{Boot, NodeId};
pub use time::{Span, Time};

/// A state machine without I/O.
///
/// The contract is one sentence: after each [`Machine::input`] or [`Machine::expire`], take outputs until there
/// is none. Only a driver or a simulator holds the `&mut`.
pub trait Machine {
    /// What happens to it.
    type Input;
    /// What it wants done.
    type Output;

    /// Takes one input at `now`.
    fn input(&mut self, now: Time, input: Self::Input);

    /// Lets the timers that are due at `now` fire. Harmless when none is.
    fn expire(&mut self, now: Time);

    /// The next thing to do; `None` when drained.
    fn output(&mut self) -> Option<Self::Output>;

    /// When [`Machine::expire`] is next wanted, and what for.
    fn deadline(&self) -> Option<(Time, &'static str)>;
}
