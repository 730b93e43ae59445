//! The members that are alive, as election sees them: on which links each can answer, and whether it may be asked to.
//!
//! A node that cannot answer is never elected (`docs/layer2.md`, L1.1), so every node must know every other's links. How that
//! is learned is `speaker_proto::gossip`'s affair; here it is a plain value, and the same value elects the same node everywhere.

use crate::link::LinkName;
use crate::local::Local;
use speaker_proto::member::{Directory, MemberLink, Roster};
use speaker_proto::{GroupKey, NodeId, NodeName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The identity of a node in datagrams: XXH3 of its name.
pub fn node_id(name: &NodeName) -> NodeId {
    NodeId(xxh3_64(name.as_str().as_bytes()))
}

/// Members that are alive, by name, and what they hold where that counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members {
    pub(crate) by_name: BTreeMap<NodeName, Fitness>,
    /// Who holds which group, as far as placement goes by it; empty where it does not.
    pub(crate) holders: BTreeMap<GroupKey, NodeName>,
    /// Who does not answer for which group, or did not a moment ago: others come first (L6.7).
    pub(crate) shunned: BTreeMap<GroupKey, BTreeSet<NodeName>>,
}

/// What election must know of a member that is alive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fitness {
    /// Where it can answer.
    pub links: Links,
    /// It gives away what it holds and takes nothing.
    pub is_draining: bool,
    /// It failed lately: it is elected only where nobody else can be.
    pub is_held_down: bool,
}

/// The links on which a member can answer now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Links {
    /// Nothing is known of them: it is taken to answer wherever it is asked to.
    Unknown,
    /// These.
    Known(Vec<MemberLink>),
}

/// The address families that a service's VIPs are of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Families {
    /// IPv4: needs ARP.
    pub has_v4: bool,
    /// IPv6: needs neighbour discovery.
    pub has_v6: bool,
}

impl Fitness {
    /// Fit for everything, as far as is known.
    pub const fn unknown() -> Self {
        Self {
            links: Links::Unknown,
            is_draining: false,
            is_held_down: false,
        }
    }

    /// Of this node itself.
    pub fn of(local: &Local) -> Self {
        Self {
            links: Links::Known(local.member_links()),
            is_draining: local.is_draining,
            is_held_down: false,
        }
    }

    /// Whether it can answer for VIPs of all these families on links that `is_chosen`.
    pub fn can_answer(&self, families: Families, is_chosen: impl Fn(&LinkName) -> bool) -> bool {
        let Links::Known(links) = &self.links else {
            return true;
        };
        let chosen = || {
            let links = links.iter();
            links.filter(|link| is_chosen(&LinkName(Arc::clone(&link.name))))
        };
        (!families.has_v4 || chosen().any(|link| link.has_arp))
            && (!families.has_v6 || chosen().any(|link| link.has_ndp))
    }
}

impl Members {
    /// Those of a roster that are alive, and this node itself. `is_held_down` says of whom a failure was seen lately.
    pub fn of(roster: &Roster, local: &Local, is_held_down: impl Fn(NodeId) -> bool) -> Self {
        let alive = roster
            .members
            .iter()
            .filter(|(_, member)| member.is_alive());
        let others = alive.map(|(id, member)| {
            let profile = &member.profile;
            let fitness = Fitness {
                links: Links::Known(profile.links.clone()),
                is_draining: profile.is_draining,
                is_held_down: is_held_down(*id),
            };
            (profile.name.clone(), fitness)
        });
        let own = (local.node.clone(), Fitness::of(local));
        others.chain([own]).collect()
    }

    /// With what is known of who holds which group.
    pub fn holding(self, holders: BTreeMap<GroupKey, NodeName>) -> Self {
        Self { holders, ..self }
    }

    /// With what is known of who does not answer for what.
    pub fn shunning(self, shunned: BTreeMap<GroupKey, BTreeSet<NodeName>>) -> Self {
        Self { shunned, ..self }
    }

    /// What is known of a member that is alive.
    pub fn get(&self, name: &NodeName) -> Option<&Fitness> {
        self.by_name.get(name)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &NodeName> {
        self.by_name.keys()
    }
}

impl FromIterator<(NodeName, Fitness)> for Members {
    fn from_iter<I: IntoIterator<Item = (NodeName, Fitness)>>(members: I) -> Self {
        Self {
            by_name: members.into_iter().collect(),
            holders: BTreeMap::new(),
            shunned: BTreeMap::new(),
        }
    }
}

/// Names of which nothing else is known.
impl FromIterator<NodeName> for Members {
    fn from_iter<I: IntoIterator<Item = NodeName>>(names: I) -> Self {
        let unknown = names.into_iter().map(|name| (name, Fitness::unknown()));
        unknown.collect()
    }
}

/// The hardware addresses by which members may claim: from every profile that is known, gone members' too, and from what members
/// `published` that were never heard (L2.3). Own ones are left out.
pub fn member_macs(
    roster: &Roster,
    published: &Directory,
    local: &Local,
) -> BTreeSet<speaker_proto::Mac> {
    let own: BTreeSet<_> = local.links.values().map(|link| link.mac).collect();
    let heard = roster.members.values();
    let heard = heard.flat_map(|member| member.profile.macs.iter().copied());
    let read = published
        .values()
        .flat_map(|other| other.macs.iter().copied());
    heard.chain(read).filter(|mac| !own.contains(mac)).collect()
}
