//! What a source tells, whichever it is, in the order in which it is to be believed.
//!
//! In a cluster the last good objects of before stand in while the API server does not answer ([`Cached`]).

use super::cached::Cached;
use crate::drive::clock::now;
use crate::source::Event;
use crate::source::kube::Item;
use speaker_core::Object;
use speaker_proto::{Span, Time};
use std::time::SystemTime;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Where events come from.
pub(super) enum Intake {
    /// A directory, whose events count as they come.
    Directory(mpsc::Receiver<Event>),
    /// An API server.
    Cluster(FromCluster),
}

/// Items of an API server, and what was kept of it.
pub(super) struct FromCluster {
    items: mpsc::Receiver<Item>,
    namespace: String,
    cached: Cached,
    as_of: SystemTime,
    until: Time,
    /// Since when nothing better is known than what was kept; `None`: it is not needed.
    stale: watch::Sender<Option<SystemTime>>,
    runtime: Handle,
}

impl Intake {
    /// What comes next; waits for it. `None`: nothing will.
    pub(super) fn next(&mut self) -> Option<Vec<Event>> {
        match self {
            Self::Directory(events) => {
                let Some(event) = events.blocking_recv() else {
                    tracing::error!(
                        "the manifests can no longer be followed; what was read last stays in force"
                    );
                    return None;
                };
                Some(vec![event])
            }
            // Its tasks end with the process only.
            Self::Cluster(cluster) => cluster.next(),
        }
    }
}

impl FromCluster {
    /// `kept` from before, known to be right until its time. Configuration counts in `namespace`; `stale` is told
    /// while something of `kept` is in force. Must be called within the runtime.
    pub(super) fn new(
        items: mpsc::Receiver<Item>,
        namespace: &str,
        kept: Option<(Vec<Object>, SystemTime)>,
        stale: watch::Sender<Option<SystemTime>>,
    ) -> Self {
        let (kept, as_of) = kept.unwrap_or((Vec::new(), SystemTime::UNIX_EPOCH));
        Self {
            items,
            namespace: namespace.to_owned(),
            cached: Cached::new(kept),
            as_of,
            until: now() + ANSWER_MAX,
            stale,
            runtime: Handle::current(),
        }
    }

    fn next(&mut self) -> Option<Vec<Event>> {
        let item = if self.cached.waits() {
            let left = self.until.since(now());
            let items = &mut self.items;
            let next = async { timeout(left.into(), items.recv()).await };
            match self.runtime.block_on(next) {
                Ok(item) => item?,
                Err(_late) => return Some(self.stand_in()),
            }
        } else {
            self.items.blocking_recv()?
        };
        let events = item.events(&self.namespace).into_iter();
        let events = events.flat_map(|event| self.cached.pass(event)).collect();
        if !self.cached.is_in_force() && self.stale.borrow().is_some() {
            tracing::info!(
                event = "stateReplaced",
                "the API server has told everything: what was kept from before is not needed any more"
            );
            self.stale.send_replace(None);
        }
        Some(events)
    }

    fn stand_in(&mut self) -> Vec<Event> {
        let events = self.cached.stand_in();
        let as_of = jiff::Timestamp::try_from(self.as_of);
        tracing::warn!(
            event = "stateUsed",
            as_of = as_of.map_or_else(|_| "?".to_owned(), |at| format!("{at:.0}")),
            "the API server does not tell everything: what was kept from before is in force until it does"
        );
        self.stale.send_replace(Some(self.as_of));
        events
    }
}

/// An API server that is there has told everything by then, and the kernel still answers in the restart's grace.
const ANSWER_MAX: Span = Span::s(5);
