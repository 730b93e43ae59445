//! Nodes and namespaces.

use crate::selector::Labels;
use speaker_proto::NodeName;
use std::net::IpAddr;

/// The label that takes a node out of the election, whatever its value.
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The taint by which the cluster autoscaler says that it will delete a node.
pub const AUTOSCALER_TAINT: &str = "ToBeDeletedByClusterAutoscaler";

/// The kubelet's words in the Ready condition of a node that shuts down.
pub const SHUTDOWN_MESSAGE: &str = "node is shutting down";

/// What says that a node will soon be gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ending {
    /// Its object carries a deletionTimestamp.
    Deleted,
    /// It carries [`AUTOSCALER_TAINT`].
    Doomed,
    /// Its condition Ready is False with [`SHUTDOWN_MESSAGE`].
    ShuttingDown,
}

/// A `v1` Node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its labels.
    pub labels: Labels,
    /// `status.addresses` that are IP addresses; a VIP may be none of them.
    pub addresses: Vec<IpAddr>,
    /// Whether the condition NetworkUnavailable is True.
    pub network_unavailable: bool,
    /// Whether it will soon be gone: then it takes nothing any more, for as long as that stands there.
    pub ending: Option<Ending>,
}

impl Node {
    /// Whether it carries the label that excludes it from external load balancing.
    pub fn is_excluded(&self) -> bool {
        self.labels.contains_key(EXCLUDE_LABEL)
    }
}

/// A `v1` Namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
}
