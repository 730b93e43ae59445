//! What nodes of one cluster know of each other: who is a member, what it says of itself, and what it holds.
//!
//! Plain values that [`crate::gossip`] brings from node to node and that deciding reads. Nothing here knows how they travel or
//! what they lead to. The rules are in `docs/layer2.md`, "Membership" and "Taking".

use crate::{Epoch, GroupKey, Mac, NodeName, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Which node, in a datagram: a hash of its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u64);

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Which start of a node's speaker: random bytes, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Boot(pub [u8; 16]);

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

/// What a member says of itself, besides what it holds. It changes seldom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// Its node's name.
    pub name: NodeName,
    /// Where it hears datagrams, one per node address; at most [`ADDRESSES_MAX`]. Never a VIP, never link-local.
    pub addresses: Vec<SocketAddr>,
    /// Its links that can answer now; at most [`LINKS_MAX`].
    pub links: Vec<MemberLink>,
    /// Every hardware address that may stand in a frame of its own, those of `links` included; at most [`MACS_MAX`].
    pub macs: Vec<Mac>,
    /// It gives away what it holds and takes nothing.
    pub is_draining: bool,
    /// Its view of the objects is older than 30 s: it follows those whose view is fresh.
    pub is_stale: bool,
    /// A hash of the settings that must be the same on every node, such as the order of election.
    pub rules: u64,
    /// The version of its software, for people.
    pub version: String,
    /// What names the newest secret that it has, whether it uses that yet or not; `None`: none, or an older version's, which do not say.
    pub key: Option<u8>,
    /// Nodes that came lately, while it was there; at most [`NEWCOMERS_MAX`]. Who came later learns from it who was there before.
    pub newcomers: BTreeSet<NodeId>,
}

impl Profile {
    /// That of a node that says nothing but its name, for whoever fills in what matters.
    pub const fn of(name: NodeName) -> Self {
        Self {
            name,
            addresses: Vec::new(),
            links: Vec::new(),
            macs: Vec::new(),
            is_draining: false,
            is_stale: false,
            rules: 0,
            version: String::new(),
            key: None,
            newcomers: BTreeSet::new(),
        }
    }
}

/// A link of a member that can answer now.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MemberLink {
    /// The name of the interface.
    pub name: Arc<str>,
    /// The hardware address that its answers carry.
    pub mac: Mac,
    /// It can answer ARP.
    pub has_arp: bool,
    /// It can answer neighbour solicitations.
    pub has_ndp: bool,
}

/// What a member does about a group of VIPs, as far as others must know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HeldState {
    /// About to take it, and waits until every live member knows.
    Preparing,
    /// Answers for it.
    Holding,
    /// Gave it to this node, and says so until its flows have ended.
    Yielded(NodeId),
}

/// One VIP in a [`HeldSet`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HeldEntry {
    /// Which taking; of a group that was yielded, that of the node that it was given to.
    pub epoch: Epoch,
    /// What the member does about it.
    pub state: HeldState,
}

/// Everything that a member says it has to do with, by VIP: every address of a group stands here for itself, since nodes may group
/// services differently for a moment.
pub type HeldSet = BTreeMap<GroupKey, HeldEntry>;

/// Which of its held sets a member means; grows with each change within a boot, the first is 1, 0 means none yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct HeldVersion(pub u64);

impl HeldVersion {
    /// The version after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Whether a member can be counted on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is heard of.
    Alive,
    /// Its observers voted it dead. From `silent_at` on its kernel cannot answer: the freshest heartbeat that any voter or this node
    /// heard, and its promise, and 100 ms (L3.1 b).
    Dead {
        /// When its kernel is silent for certain.
        silent_at: Time,
    },
    /// It said that it goes and holds nothing any more.
    Left,
}

/// A member as this node knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Which start of its speaker.
    pub boot: Boot,
    /// What it says of itself.
    pub profile: Arc<Profile>,
    /// Whether it can be counted on.
    pub standing: Standing,
    /// What it holds, the newest version that arrived whole.
    pub held: Arc<HeldSet>,
    /// Which version that is; 0: none arrived yet.
    pub held_version: HeldVersion,
    /// The newest version of *this* node's held set that the member has, counted only while this node has the
    /// held set that the member had when it said so: whatever it had to say about a group is known here too.
    pub acked: HeldVersion,
    /// It was heard within the last 200 ms, or need not be, since this node does not observe it and its observers are content.
    pub is_reachable: bool,
    /// Its speaker promised to be back and is not heard, and this node observes it: whether its kernel still answers is for this node to
    /// find out (L6.3).
    pub is_in_grace: bool,
    /// It has acknowledged this node's profile in this boot: its kernel takes this node's claims for a member's.
    pub has_met: bool,
}

impl Member {
    /// Whether it is alive.
    pub fn is_alive(&self) -> bool {
        self.standing == Standing::Alive
    }

    /// If it is dead: in which boot, and when its kernel is silent for certain.
    pub fn died(&self) -> Option<(Boot, Time)> {
        match self.standing {
            Standing::Dead { silent_at } => Some((self.boot, silent_at)),
            Standing::Alive | Standing::Left => None,
        }
    }
}

/// Everyone that this node knows, itself left out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Roster {
    /// The others.
    pub members: BTreeMap<NodeId, Arc<Member>>,
    /// The held sets of all live members are in, and every seed has answered or stayed silent for 1.5 s after the start. Never
    /// goes back to false, though a new member may be without its held set for a moment.
    pub is_settled: bool,
    /// Another process uses this node's name: nothing may be held (both refuse).
    pub is_name_taken: bool,
}

/// What a node's speaker published of itself outside of gossip, for others that hear nothing of it (L2.3 of `docs/layer2.md`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// Its node's name.
    pub name: NodeName,
    /// Every hardware address that may stand in a frame of its own; at most [`MACS_MAX`].
    pub macs: BTreeSet<Mac>,
}

/// What nodes published, this one left out.
pub type Directory = BTreeMap<NodeId, Published>;

/// Addresses in a profile.
pub const ADDRESSES_MAX: usize = 8;
/// Links in a profile.
pub const LINKS_MAX: usize = 24;
/// Newcomers in a profile: a cluster seldom grows faster, and one that is left out counts as one that was there.
pub const NEWCOMERS_MAX: usize = 32;
/// Hardware addresses in a profile.
pub const MACS_MAX: usize = 48;
