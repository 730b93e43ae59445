//! Steering: which node's service proxy gets the packets of a VIP that this node attracts.
//!
//! [`maglev`] gives slots to nodes, [`history`] remembers to whom they belonged before, so that connections stay where they are.
//! Which nodes those are is decided in [`crate::plan`], and how a table is written in [`crate::tables`]. Nothing here knows of
//! services or of the kernel.

pub mod history;
pub mod maglev;

use crate::local::LinkName;
use speaker_proto::{Mac, NodeName, Time, Vip};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Nodes that packets are spread over, each with its share.
pub type Weights = BTreeMap<NodeName, u32>;

/// Hardware addresses of other nodes on our links: each answered there for the node's own address, from the address that its
/// speaker published, a moment ago. Equal names of links do not prove one segment; this does.
pub type Neighbours = BTreeMap<(LinkName, NodeName), Mac>;

/// A VIP on a link of this node.
pub type Place = (Vip, LinkName);

/// How the packets of a VIP on a link should be spread.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Share {
    /// Over these; never empty.
    pub weights: Arc<Weights>,
    /// By the client's address only (`sessionAffinity: ClientIP`).
    pub is_by_client: bool,
}

/// The same, with who had the connections from before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spread {
    /// From now on.
    pub share: Share,
    /// Until lately, the latest first.
    pub before: Arc<Vec<Before>>,
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
}
