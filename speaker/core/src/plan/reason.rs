//! Every "no" as a value: why this node does not announce a service.
//!
//! The same value feeds the log, the status, `ctl why` and the tests. The names in [`Reason::metallb_name`] are those that MetalLB's
//! speaker logs as `reason` of a withdrawal; where its layer 2 half says `notOwner` for several facts, the finer name of its
//! BGP half is used.

use super::{Hold, Unrouted};
use crate::key::Kind;
use crate::link::LinkName;
use crate::node::Ending;
use crate::service::ServiceId;
use speaker_proto::{NodeName, Vip};
use std::fmt;

/// Why this node does not announce a service.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// Not every kind of object has been seen whole: nothing is decided yet.
    NotSynced(Kind),
    /// `spec.type` is another one.
    NotLoadBalancer,
    /// `spec.loadBalancerClass` is not the one that this speaker serves.
    OtherClass {
        /// The service's class.
        class: Option<String>,
    },
    /// No address has been allocated.
    NoAddress,
    /// The status names something that is no IP address.
    InvalidAddress(String),
    /// No pool contains all of its addresses.
    AddressNotAllowed,
    /// Its only addresses are addresses of nodes.
    NodeAddress {
        /// The address.
        vip: Vip,
        /// Whose it is.
        node: NodeName,
    },
    /// An older service holds the address, and the two may not share it.
    DuplicateAddress {
        /// The address.
        vip: Vip,
        /// Who holds it.
        holder: ServiceId,
    },
    /// No endpoint anywhere can serve.
    NoEndpoints,
    /// No advertisement is for its pool or for its labels.
    NoMatchingAdvertisement(Unmatched),
    /// It may share its address, and an advertisement selects services by label: MetalLB then announces nothing.
    SharedIpWithServiceSelector {
        /// The advertisement.
        advertisement: String,
    },
    /// This node cannot be a candidate.
    Unfit(Unfit),
    /// The services that share its address have no candidate in common.
    NoCommonCandidate {
        /// The other services.
        with: Vec<ServiceId>,
    },
    /// Another node was elected.
    NotElected {
        /// Which.
        owner: NodeName,
    },
    /// This node was elected and has no members' secret: it takes nothing before it knows the others.
    WaitingForSecret,
    /// This node was elected but does not hold the group now.
    NotHeld(Hold),
    /// This node holds it, but no link that the advertisements select can answer.
    NoUsableLink {
        /// Listed links that do not exist on this node.
        missing: Vec<LinkName>,
        /// Links that exist and are selected, but are down, without carrier or unable to speak the address family.
        unusable: Vec<LinkName>,
    },
    /// No BGP peer is told of it.
    NoRoute(Unrouted),
}

impl From<Unrouted> for Reason {
    fn from(unrouted: Unrouted) -> Self {
        Self::NoRoute(unrouted)
    }
}

/// What an advertisement fails to match.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Unmatched {
    /// None is for the pool.
    Pool(String),
    /// None of those for the pool is for the service's labels.
    Service,
}

/// Why a node is no candidate for a service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Unfit {
    /// There is no such Node object.
    Unknown,
    /// It is not alive.
    Dead,
    /// It gives away what it holds and takes nothing.
    Draining,
    /// It will soon be gone, and so takes nothing either.
    Ending(Ending),
    /// Its condition NetworkUnavailable is True.
    NetworkUnavailable,
    /// It carries the label that excludes it from external load balancers.
    Excluded,
    /// No advertisement for the service selects it.
    NotSelected,
    /// No link that the advertisements select can answer there.
    NoLink,
    /// The traffic policy is Local and no endpoint on it can serve.
    NoLocalEndpoints,
}

impl Reason {
    /// What MetalLB's speaker calls it.
    pub const fn metallb_name(&self) -> &'static str {
        match self {
            Self::NotSynced(_) => "internalError",
            Self::NotLoadBalancer | Self::OtherClass { .. } => "notLoadBalancer",
            Self::NoAddress => "noIPAllocated",
            Self::InvalidAddress(_) => "invalidIP",
            Self::AddressNotAllowed | Self::NodeAddress { .. } | Self::DuplicateAddress { .. } => {
                "ipNotAllowed"
            }
            Self::NoEndpoints => "noEndpoints",
            Self::NoMatchingAdvertisement(_) | Self::NoUsableLink { .. } => {
                "noMatchingAdvertisement"
            }
            Self::SharedIpWithServiceSelector { .. } => "sharedIPWithServiceSelector",
            Self::Unfit(unfit) => unfit.metallb_name(),
            Self::NoCommonCandidate { .. }
            | Self::NotElected { .. }
            | Self::WaitingForSecret
            | Self::NotHeld(_) => "notOwner",
            Self::NoRoute(unrouted) => unrouted.metallb_name(),
        }
    }

    /// What would change it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NotSynced(_) => "wait until the source has delivered every kind".into(),
            Self::NotLoadBalancer => "set spec.type to LoadBalancer".into(),
            Self::OtherClass { .. } => {
                "set spec.loadBalancerClass of a new service to the --lb-class of the speakers".into()
            }
            Self::NoAddress => "give it an address: a pool that has a free one and may serve it".into(),
            Self::InvalidAddress(_) => "let every entry of its status be an IP address".into(),
            Self::AddressNotAllowed => "add its addresses to one pool, or let it get others".into(),
            Self::NodeAddress { .. } => "take the address out of the pool".into(),
            Self::DuplicateAddress { .. } => {
                "give both services the same allow-shared-ip key and different ports, or another address".into()
            }
            Self::NoEndpoints => "let a pod behind it become ready".into(),
            Self::NoMatchingAdvertisement(Unmatched::Pool(pool)) => {
                format!("create an L2Advertisement for pool {pool}")
            }
            Self::NoMatchingAdvertisement(Unmatched::Service) => {
                "let an advertisement's serviceSelectors match its labels".into()
            }
            Self::SharedIpWithServiceSelector { .. } => {
                "remove the allow-shared-ip annotation or the advertisement's serviceSelectors".into()
            }
            Self::Unfit(unfit) => unfit.remedy().into(),
            Self::NoCommonCandidate { .. } => {
                "let the services run on a common node, or stop sharing the address".into()
            }
            Self::NotElected { owner } => format!(
                "prefer this node to {owner} (preferredNodeSelectors), or take {owner} out of the candidates"
            ),
            Self::WaitingForSecret => {
                "make the Secret of --ml-secret-key-path, or start all speakers with --insecure-gossip".into()
            }
            Self::NotHeld(Hold::Occupied(_)) => {
                "let the other one stop, or annotate the pool with heliograph.io/announce-anyway: it is asked again every 5 s".into()
            }
            Self::NotHeld(_) => "wait until the taking is over".into(),
            Self::NoUsableLink { .. } => {
                "bring one of the links up, or let an advertisement select a link that is".into()
            }
            Self::NoRoute(unrouted) => unrouted.remedy(),
        }
    }
}

impl Unfit {
    /// What MetalLB's speaker calls it.
    pub const fn metallb_name(self) -> &'static str {
        match self {
            Self::Unknown | Self::Dead | Self::Draining | Self::Ending(_) => "notOwner",
            Self::NetworkUnavailable => "nodeNetworkUnavailable",
            Self::Excluded => "nodeLabeledExcludeBalancers",
            Self::NotSelected | Self::NoLink => "noMatchingAdvertisement",
            Self::NoLocalEndpoints => "noLocalEndpoints",
        }
    }

    /// What would change it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Unknown => "create its Node object",
            Self::Dead => "bring the node's speaker back",
            Self::Draining => "end the drain (speaker ctl drain --undo), or let the node come back",
            Self::Ending(Ending::Deleted) => "nothing: its Node object is about to go",
            Self::Ending(Ending::Doomed) => {
                "remove the taint ToBeDeletedByClusterAutoscaler, if the node stays after all"
            }
            Self::Ending(Ending::ShuttingDown) => "let the node start again",
            Self::NetworkUnavailable => {
                "let the network plugin clear the node's NetworkUnavailable condition"
            }
            Self::Excluded => {
                "remove the label node.kubernetes.io/exclude-from-external-load-balancers, or start the speakers with \
                 --ignore-exclude-lb"
            }
            Self::NotSelected => "let an advertisement's nodeSelectors match the node",
            Self::NoLink => {
                "bring one of its links up, or let an advertisement select a link that is"
            }
            Self::NoLocalEndpoints => {
                "let a pod behind it become ready on the node, or set externalTrafficPolicy to Cluster"
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSynced(kind) => write!(f, "not every {} has been read yet", kind.as_str()),
            Self::NotLoadBalancer => f.write_str("its type is not LoadBalancer"),
            Self::OtherClass { class: Some(class) } => {
                write!(f, "its loadBalancerClass is {class}, which is not ours")
            }
            Self::OtherClass { class: None } => {
                f.write_str("it has no loadBalancerClass, and ours is set")
            }
            Self::NoAddress => f.write_str("no address is allocated to it"),
            Self::InvalidAddress(text) => {
                write!(f, "its status names {text:?}, which is not an IP address")
            }
            Self::AddressNotAllowed => f.write_str("its addresses are not all in one pool"),
            Self::NodeAddress { vip, node } => write!(f, "{vip} is an address of node {node}"),
            Self::DuplicateAddress { vip, holder } => {
                write!(f, "{vip} belongs to {holder}, which does not share it")
            }
            Self::NoEndpoints => f.write_str("no endpoint can serve"),
            Self::NoMatchingAdvertisement(unmatched) => unmatched.fmt(f),
            Self::SharedIpWithServiceSelector { advertisement } => write!(
                f,
                "it may share its address, and advertisement {advertisement} has serviceSelectors"
            ),
            Self::Unfit(unfit) => write!(f, "this node {unfit}"),
            Self::NoCommonCandidate { with } => {
                write!(f, "no node can announce it together with {}", List(with))
            }
            Self::NotElected { owner } => write!(f, "{owner} is elected"),
            Self::WaitingForSecret => {
                f.write_str("elected, but waiting for the members' secret (WaitingForSecret)")
            }
            Self::NotHeld(hold) => write!(f, "elected, but {hold}"),
            Self::NoUsableLink { missing, unusable } => no_usable_link(f, missing, unusable),
            Self::NoRoute(unrouted) => unrouted.fmt(f),
        }
    }
}

fn no_usable_link(
    f: &mut fmt::Formatter<'_>,
    missing: &[LinkName],
    unusable: &[LinkName],
) -> fmt::Result {
    match (missing, unusable) {
        ([], []) => f.write_str("this node has no link that may announce"),
        ([], _) => write!(f, "no usable link: {} cannot answer now", List(unusable)),
        (_, []) => write!(f, "no usable link: {} not on this node", List(missing)),
        (_, _) => write!(
            f,
            "no usable link: {} not on this node, {} cannot answer now",
            List(missing),
            List(unusable)
        ),
    }
}

impl fmt::Display for Unmatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(pool) => write!(f, "no L2Advertisement is for pool {pool}"),
            Self::Service => f.write_str("no L2Advertisement selects it by its labels"),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "has no Node object",
            Self::Dead => "is not alive",
            Self::Draining => "is being drained",
            Self::Ending(Ending::Deleted) => "is being deleted",
            Self::Ending(Ending::Doomed) => "is tainted: the autoscaler will delete it",
            Self::Ending(Ending::ShuttingDown) => "is shutting down",
            Self::NetworkUnavailable => "has condition NetworkUnavailable",
            Self::Excluded => "is labelled as excluded from external load balancers",
            Self::NotSelected => "is selected by no advertisement for it",
            Self::NoLink => "has no selected link that can answer for all its address families",
            Self::NoLocalEndpoints => "has no endpoint that can serve, and the policy is Local",
        })
    }
}

/// Items with commas between.
struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{item}")?;
        }
        Ok(())
    }
}
