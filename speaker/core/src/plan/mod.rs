//! What should be true of this node, from what the world is.

use crate::local::{LinkName, Local};
use crate::service::ServiceId;
use crate::world::World;
use speaker_proto::{Epoch, GroupKey, NodeName, Vip};
use std::collections::{BTreeMap, BTreeSet};

/// Members that are alive.
pub type Members = BTreeSet<NodeName>;

/// What this node does about a group of VIPs that it was elected for. Election is a wish; this is the fact.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Hold {
    /// Not ours, nothing under way.
    Free,
    /// Asked its holder for it.
    Asking,
    /// About to take it: groups joined, data accepted.
    Preparing,
    /// Ours: answered for.
    Holding,
    /// Given away: silent, data still taken.
    Draining,
    /// Claimed by another member: silent until settled.
    Contested,
    /// The deadline passed: silent until taken again.
    Lapsed,
}

/// A group's hold and the epoch of its taking.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Holding {
    /// The state.
    pub hold: Hold,
    /// Which taking.
    pub epoch: Epoch,
}

/// The facts about every group this node has to do with; absent is `Free`.
pub type Held = BTreeMap<GroupKey, Holding>;

/// Pure results remembered between calls, by everything they depend on.
#[derive(Clone, Debug, Default)]
pub struct Memo {}

/// What should be true of this node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Entries of the VIP table.
    pub l2: BTreeMap<(Vip, LinkName), L2Entry>,
    /// What became of every service and why.
    pub outcomes: BTreeMap<ServiceId, Outcome>,
}

/// One entry of the VIP table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct L2Entry {
    /// What the program does.
    pub mode: speaker_ebpf::abi::Mode,
    /// Which taking.
    pub epoch: Epoch,
    /// The group that it belongs to.
    pub group: GroupKey,
}

/// What became of a service on this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {}

/// What should be true of this node.
pub fn plan(
    _world: &World,
    _members: &Members,
    _held: &Held,
    _local: &Local,
    _memo: &mut Memo,
) -> Plan {
    Plan::default()
}
