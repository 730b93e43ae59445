//! What can be seen of sessions, for logs, metrics and `speaker ctl`.

use speaker_core::plan::{Obstacle, PeerName, PeerSettings};
use speaker_proto::bgp::session::{State, Status};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// All peers of this node by name.
pub(crate) type Sights = BTreeMap<PeerName, PeerSight>;

/// One peer of this node.
#[derive(Clone, Debug)]
pub(crate) struct PeerSight {
    /// What its session was last told; `None`: it never could be.
    pub(crate) settings: Option<Arc<PeerSettings>>,
    /// Why what is configured now is not in force.
    pub(crate) obstacle: Option<Obstacle>,
    /// Why it cannot dial us, where it may.
    pub(crate) deaf: Option<String>,
    /// What an operator who paused its session has it told.
    pub(crate) paused: Option<String>,
    /// How many prefixes it is to be told.
    pub(crate) wanted: usize,
    /// The bytes of its password.
    pub(crate) key_bytes: Option<usize>,
    /// Its session as it is at each moment; `None`: there is none.
    pub(crate) status: Option<watch::Receiver<Status>>,
    /// Whether another process of the node had the peer when that session was last to dial.
    pub(crate) is_taken: Option<Arc<AtomicBool>>,
    /// How the session before was at its end, of a peer that stayed: a node that is drained has none, and is asked how it parted.
    pub(crate) ended: Option<Arc<Status>>,
}

impl PeerSight {
    /// Whether the session is left to another speaker of this node, which a second one would disturb.
    pub(crate) fn is_left_to_another(&self) -> bool {
        let is_said = matches!(self.obstacle, Some(Obstacle::ForeignConfiguration(_)));
        let has_other = |taken: &Arc<AtomicBool>| taken.load(Ordering::Relaxed);
        let is_up = |status: &watch::Receiver<Status>| status.borrow().state == State::Established;
        let may_dial = self.paused.is_none() && !self.status.as_ref().is_some_and(is_up);
        is_said || may_dial && self.is_taken.as_ref().is_some_and(has_other)
    }
}

/// What happened to a peer.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// It is spoken with from now on.
    Added(PeerName),
    /// It is no more.
    Removed(PeerName),
    /// It is to be told so many routes from now on.
    Routes(PeerName, usize),
    /// Something about its session changed.
    Changed(PeerName, Box<Status>),
}
