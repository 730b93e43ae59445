//! Steering: which node's service proxy gets the packets of a VIP that this node attracts.
//!
//! [`maglev`] gives slots to nodes, [`history`] remembers to whom they belonged before, so that connections stay where they are, and
//! [`newcomers`] who came lately, for those that cannot remember.
//! Which nodes those are is decided in [`crate::plan`], and how a table is written in [`crate::tables`]. Nothing here knows of
//! services or of the kernel.

pub mod history;
pub mod maglev;
pub mod newcomers;
pub mod socket;

use crate::link::{Link, LinkName};
use crate::members::node_id;
use crate::service::ServiceId;
use speaker_proto::vicinity::{Neighbour, Target};
use speaker_proto::{Mac, NodeName, Time, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Nodes that packets are spread over, each with its share.
pub type Weights = BTreeMap<NodeName, u32>;

/// What is known of the segments that this node's links are on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Neighbourhood {
    /// Hardware addresses of other nodes on our links: each answered there for the node's own address, from the address that its
    /// speaker published, a moment ago. Equal names of links do not prove one segment; this does.
    pub nodes: BTreeMap<(LinkName, NodeName), Mac>,
    /// Links on which frames must not be sent on to others, and why.
    pub bars: BTreeMap<LinkName, Bar>,
}

/// Why frames that come in on a link must not be sent on to other nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bar {
    /// It is a bridge, and netfilter sees what crosses it (`net.bridge.bridge-nf-call-iptables`): the service proxy has rewritten
    /// packets before they get here.
    BridgeNetfilter,
    /// It merges segments in hardware (large-receive-offload), which cannot be taken apart again.
    LargeReceive,
}

/// Whom to ask for its own address on a link, to see whether it is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prospect {
    /// The hardware address that its speaker published for that link.
    pub mac: Mac,
    /// The node's own addresses; one that is answered for is enough.
    pub addresses: Vec<IpAddr>,
}

/// By link of this node and name of the other.
pub type Prospects = BTreeMap<(LinkName, NodeName), Prospect>;

/// Who is looked for on the segments of these links: each with the name of the link and of the node. A prospect on a link that is not among
/// them is left out.
pub fn looked_for<'a>(
    prospects: &'a Prospects,
    links: &'a BTreeMap<LinkName, Link>,
) -> impl Iterator<Item = (&'a (LinkName, NodeName), Neighbour, Target)> {
    prospects.iter().filter_map(|(names, prospect)| {
        let (link, node) = names;
        let own = links.get(link)?;
        let neighbour = Neighbour {
            ifindex: own.ifindex,
            node: node_id(node),
        };
        let target = Target {
            from: own.mac,
            mac: prospect.mac,
            addresses: prospect.addresses.clone(),
        };
        Some((names, neighbour, target))
    })
}

/// Why a VIP that should be spread is not, on a link of this node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Unspread {
    /// It is shared with a service that is not to be spread.
    SharedWith(ServiceId),
    /// The link does not bear it.
    Barred(Bar),
    /// No node that may serve it was seen on the link's segment.
    Nobody,
    /// It is to be spread over segments, and this node's object has no address of its family to send from.
    NoAddress {
        /// The family is IPv4.
        is_v4: bool,
    },
}

/// How nodes are reached from this one whatever lies between, and what may come here so. Empty where nothing is spread over segments.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Overlay {
    /// Other nodes that are heard.
    pub nodes: BTreeMap<NodeName, Far>,
    /// Addresses of this node, to which others send.
    pub own: BTreeSet<IpAddr>,
    /// Addresses of members, from which they do.
    pub members: BTreeSet<IpAddr>,
    /// VIPs for which they may.
    pub vips: BTreeSet<IpAddr>,
}

/// How another node is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Far {
    /// For packets of IPv4, if both nodes have an address of it.
    pub v4: Option<Ends>,
    /// For packets of IPv6, likewise.
    pub v6: Option<Ends>,
    /// It may get new connections.
    pub is_fit: bool,
}

/// The ends of a way to another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    /// This node's address.
    pub from: IpAddr,
    /// The other's.
    pub to: IpAddr,
}

impl Far {
    /// Of packets of a family.
    pub const fn ends(&self, is_v4: bool) -> Option<Ends> {
        if is_v4 { self.v4 } else { self.v6 }
    }
}

impl Overlay {
    /// Whether packets of a family reach a node.
    pub fn reaches(&self, node: &NodeName, is_v4: bool) -> bool {
        let far = self.nodes.get(node);
        far.is_some_and(|far| far.ends(is_v4).is_some())
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BridgeNetfilter => {
                "it is a bridge whose frames pass through netfilter: set net.bridge.bridge-nf-call-iptables and -ip6tables to 0"
            }
            Self::LargeReceive => "it merges segments in hardware: ethtool -K it lro off",
        })
    }
}

impl fmt::Display for Unspread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SharedWith(service) => {
                write!(
                    f,
                    "its address is shared with {service}, which is not to be spread"
                )
            }
            Self::Barred(bar) => write!(f, "the link cannot: {bar}"),
            Self::Nobody => f.write_str("no node that may serve it was seen on the segment"),
            Self::NoAddress { is_v4 } => write!(
                f,
                "this node has no address of IPv{} to send to other segments from",
                if *is_v4 { 4 } else { 6 }
            ),
        }
    }
}

/// A VIP on a link of this node.
pub type Place = (Vip, LinkName);

/// How the packets of a VIP on a link should be spread.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Share {
    /// Over these; never empty.
    pub weights: Arc<Weights>,
    /// By the client's address only (`sessionAffinity: ClientIP`).
    pub is_by_client: bool,
    /// Over nodes on other segments as well.
    pub is_beyond: bool,
}

/// The same, with who had the connections from before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spread {
    /// From now on.
    pub share: Share,
    /// Until lately, in the order in which the node of a connection is looked for that is not remembered.
    pub before: Arc<Vec<Before>>,
    /// So many of these, the first ones, had the packets since every connection that says anything is remembered; the earliest first.
    pub followed: usize,
    /// Until then a connection that is not remembered is taken to be from before.
    pub until: Time,
}

/// Who had the packets of a VIP before.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Before {
    /// This node's own stack: it held the VIP and did not spread it.
    Stack,
    /// These.
    Nodes(Arc<Weights>),
    /// By slot, whoever has this number in the tables that the last process left.
    Left(Arc<Vec<u16>>),
}

/// VIPs that the last process spread, by link, and who had their packets before, in the order of [`Spread::before`].
pub type Legacy = BTreeMap<(Vip, u32), Arc<Vec<Before>>>;
