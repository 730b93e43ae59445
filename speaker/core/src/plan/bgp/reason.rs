//! Why no BGP peer is told of a service, as far as that is BGP's own affair.

use super::terms::Attribute;
use crate::crd::AddressRange;
use crate::service::ServiceId;
use speaker_proto::bgp::{Family, Prefix};
use std::fmt;

/// Why this node has no route for a service.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Unrouted {
    /// No BGPAdvertisement is for its pool.
    NoAdvertisement {
        /// The pool.
        pool: String,
    },
    /// None of those for its pool selects this node.
    NodeNotSelected {
        /// The pool.
        pool: String,
    },
    /// None of those selects it by its labels.
    ServiceNotSelected,
    /// Those that do cannot be used yet.
    AdvertisementNotReady {
        /// The first of them.
        advertisement: String,
        /// Why, as its problem says.
        why: String,
    },
    /// The prefix would reach past the range of the pool that its address is from.
    PrefixTooShort {
        /// The prefix.
        prefix: Prefix,
        /// The range.
        range: AddressRange,
    },
    /// Its packets are to be spread, and this node, which came a moment ago, does not know yet over whom.
    Finding,
    /// No BGPPeer selects this node.
    NoPeer,
    /// The advertisements list peers, none of which this node has.
    OtherPeers,
    /// None of the peers that it would go to carries a family of its addresses.
    NoFamily(Family),
    /// Two advertisements of one prefix to one peer say different things of it.
    Conflict(Box<Conflict>),
    /// The advertisements of one prefix have too many communities together.
    TooManyCommunities {
        /// The prefix.
        prefix: Prefix,
        /// How many.
        count: usize,
    },
}

/// What two advertisements disagree about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Conflict {
    /// The prefix that both announce to some peer.
    pub prefix: Prefix,
    /// What of it.
    pub attribute: Attribute,
    /// The advertisements, by name.
    pub advertisements: [String; 2],
    /// The older service that is announced in this prefix; `None`: both are for this one.
    pub with: Option<ServiceId>,
}

impl Unrouted {
    /// What MetalLB's speaker calls it.
    pub const fn metallb_name(&self) -> &'static str {
        match self {
            Self::NoAdvertisement { .. }
            | Self::NodeNotSelected { .. }
            | Self::Finding
            | Self::NoPeer
            | Self::OtherPeers
            | Self::NoFamily(_) => "notOwner",
            Self::ServiceNotSelected => "noMatchingAdvertisement",
            Self::Conflict(_) => "conflictingAdvertisements",
            Self::AdvertisementNotReady { .. }
            | Self::PrefixTooShort { .. }
            | Self::TooManyCommunities { .. } => "internalError",
        }
    }

    /// What would change it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoAdvertisement { pool } => format!("create a BGPAdvertisement for pool {pool}"),
            Self::NodeNotSelected { pool } => {
                format!("let nodeSelectors of a BGPAdvertisement for pool {pool} match the node")
            }
            Self::ServiceNotSelected => {
                "let a BGPAdvertisement's serviceSelectors match its labels".into()
            }
            Self::AdvertisementNotReady { advertisement, .. } => {
                format!("repair BGPAdvertisement {advertisement}, or create what it names")
            }
            Self::PrefixTooShort { .. } => {
                "let the aggregation length be at least that of the range, or let a pool have all of the prefix".into()
            }
            Self::Finding => "nothing: it takes half a minute at most".into(),
            Self::NoPeer => "let a BGPPeer's nodeSelectors match the node".into(),
            Self::OtherPeers => {
                "let a BGPAdvertisement list a peer that this node has, or no peers at all".into()
            }
            Self::NoFamily(_) => {
                "set dualStackAddressFamily of a BGPPeer, or add a BGPPeer with an address of the family".into()
            }
            Self::Conflict(conflict) => {
                format!("let both say the same {}", conflict.attribute)
            }
            Self::TooManyCommunities { .. } => "let the advertisements have fewer communities".into(),
        }
    }
}

impl fmt::Display for Unrouted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAdvertisement { pool } => write!(f, "no BGPAdvertisement is for pool {pool}"),
            Self::Finding => f.write_str(
                "its packets are to be spread, and this node came a moment ago: it finds out over whom first",
            ),
            Self::NodeNotSelected { pool } => {
                write!(f, "no BGPAdvertisement for pool {pool} selects this node")
            }
            Self::ServiceNotSelected => f.write_str("no BGPAdvertisement selects it by its labels"),
            Self::AdvertisementNotReady { advertisement, why } => {
                write!(f, "BGPAdvertisement {advertisement}: {why}")
            }
            Self::PrefixTooShort { prefix, range } => {
                write!(f, "{prefix} would reach past {range} of its pool")
            }
            Self::NoPeer => f.write_str("no BGPPeer selects this node"),
            Self::OtherPeers => {
                f.write_str("its BGPAdvertisements are for peers that this node does not have")
            }
            Self::NoFamily(family) => {
                write!(
                    f,
                    "none of its peers on this node carries {}",
                    family.as_str()
                )
            }
            Self::Conflict(conflict) => conflict.fmt(f),
            Self::TooManyCommunities { prefix, count } => {
                write!(
                    f,
                    "{prefix} would have {count} communities, which are too many"
                )
            }
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            prefix,
            attribute,
            advertisements: [a, b],
            with,
        } = self;
        write!(
            f,
            "BGPAdvertisements {a} and {b} give {prefix} different {attribute}"
        )?;
        match with {
            Some(older) => write!(f, ", and {older} has it first"),
            None => Ok(()),
        }
    }
}
