//! What this node knows of itself. What others must know of it is told to them as its profile, and elects the same node
//! there as here.

use crate::election::{Election, Placement};
use crate::foreign::ForeignPeers;
use crate::link::{Link, LinkName};
use crate::peering::BgpType;
use crate::steering::socket::Listeners;
use speaker_proto::member::MemberLink;
use speaker_proto::{NodeId, NodeName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What this node knows of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Local {
    /// Its name.
    pub node: NodeName,
    /// Its links that may announce, by name.
    pub links: BTreeMap<LinkName, Link>,
    /// Every other link name that exists (down, enslaved), so that "does not exist" can be told from "cannot be used".
    pub other_links: BTreeSet<LinkName>,
    /// It gives away what it holds and takes nothing.
    pub is_draining: bool,
    /// Nodes that it saw come lately, while it was there itself.
    pub newcomers: BTreeSet<NodeId>,
    /// It came a moment ago and finds out who else is there: what is to be spread is not announced in BGP yet.
    pub is_finding: bool,
    /// It has no members' secret yet, and so knows nobody and takes nothing (L2.4).
    pub is_waiting_for_secret: bool,
    /// What it has of sockets that serve VIPs.
    pub listeners: Arc<Listeners>,
    /// What it was told at start.
    pub rules: Rules,
    /// `METALLB_BGP_TYPE`; it decides nothing for other nodes, so that a rollout may change it one by one.
    pub bgp_type: BgpType,
    /// Peers that somebody else's frr-k8s has.
    pub foreign: ForeignPeers,
}

impl Local {
    /// Its links that can answer now, as others are told of them.
    pub fn member_links(&self) -> Vec<MemberLink> {
        let links = self.links.iter().filter(|(_, link)| link.is_usable());
        let links = links.map(|(name, link)| MemberLink {
            name: Arc::clone(&name.0),
            mac: link.mac,
            has_arp: link.has_arp,
            has_ndp: link.has_ndp,
        });
        links.collect()
    }

    /// A node without links, with the rules of MetalLB.
    pub fn new(node: NodeName) -> Self {
        Self {
            node,
            links: BTreeMap::new(),
            other_links: BTreeSet::new(),
            is_draining: false,
            newcomers: BTreeSet::new(),
            is_finding: false,
            is_waiting_for_secret: false,
            listeners: Arc::default(),
            rules: Rules::default(),
            bgp_type: BgpType::default(),
            foreign: ForeignPeers::default(),
        }
    }
}

/// The settings that decisions depend on; every node of a cluster must have the same.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// How candidates are ordered.
    pub election: Election,
    /// Which candidate a group is on, beside that order.
    pub placement: Placement,
    /// `--lb-class`: only services of this class are ours; `None`: only those without one.
    pub class: Option<String>,
    /// `--ignore-exclude-lb`: nodes that carry the exclude label stay candidates.
    pub ignores_exclude_label: bool,
}
