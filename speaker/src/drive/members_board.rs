//! What membership shows of itself: written by the pulse's thread when nobody looks, read by anybody.

use crate::edge::gossip::Dropped;
use speaker_proto::NodeId;
use speaker_proto::gossip::{Contact, Counts};
use speaker_proto::member::Roster;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What membership has come to.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Figures {
    /// There is no secret yet: nothing is sent and nothing believed.
    pub(crate) is_waiting: bool,
    /// What names this node's newest secret.
    pub(crate) key: Option<u8>,
    /// The others.
    pub(crate) roster: Arc<Roster>,
    /// What passed between this node and each other.
    pub(crate) contacts: BTreeMap<NodeId, Contact>,
    /// Addresses where a speaker was looked for and none answered.
    pub(crate) silent_seeds: BTreeSet<SocketAddr>,
    /// Live observers of this node.
    pub(crate) observers: usize,
    /// What the machine refused, by cause.
    pub(crate) counts: Counts,
    /// What was dropped before it came to the machine, by cause.
    pub(crate) dropped: BTreeMap<Dropped, u64>,
    /// Authentic datagrams.
    pub(crate) received: u64,
    /// Datagrams that the network stack took.
    pub(crate) sent: u64,
    /// Datagrams that it did not take.
    pub(crate) send_failures: u64,
    /// Messages from or to other nodes that nobody took in time.
    pub(crate) messages_lost: u64,
    /// Turns of the thread that came late.
    pub(crate) late_turns: u64,
    /// Turns of the thread that took longer than the 10 ms that one may.
    pub(crate) long_turns: u64,
}

/// The place where they are shown. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct MembersBoard(Arc<Mutex<Figures>>);

impl MembersBoard {
    /// What was shown last.
    pub(crate) fn read(&self) -> Figures {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether there was no secret when it was shown last.
    pub(crate) fn is_waiting(&self) -> bool {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.is_waiting
    }

    /// What names this node's newest secret, as was shown last.
    pub(crate) fn key(&self) -> Option<u8> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.key
    }

    /// The place, unless somebody looks at it now.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, Figures>> {
        self.0.try_lock().ok()
    }
}
