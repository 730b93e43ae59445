//! Which of two members goes first for a VIP, when nothing else decides.
//!
//! Members must agree on it whatever their settings, or two could stand back for each other. It knows no names: the order is given.

use crate::member::NodeId;
use crate::{Epoch, GroupKey};
use std::fmt;

/// A number for each VIP and node, the same on every node: the smaller goes first. Options of the election must not change it.
pub type RankOf = Box<dyn Fn(GroupKey, NodeId) -> [u8; 32] + Send>;

/// The order among members.
pub(super) struct Rank(pub(super) RankOf);

impl Rank {
    /// Whether `a` goes before `b`.
    pub(super) fn precedes(&self, vip: GroupKey, a: NodeId, b: NodeId) -> bool {
        (self.0(vip, a), a) < (self.0(vip, b), b)
    }

    /// Which of two that both answer goes on: the later taking, then precedence.
    pub(super) fn outlasts(&self, vip: GroupKey, a: (NodeId, Epoch), b: (NodeId, Epoch)) -> bool {
        a.1 > b.1 || a.1 == b.1 && self.precedes(vip, a.0, b.0)
    }
}

impl fmt::Debug for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rank")
    }
}
