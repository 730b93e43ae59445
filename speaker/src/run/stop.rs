//! What a signal to stop leads to: a restart, a drain, or the end of the speaker on this node.
//!
//! Which one it is says [`speaker_core::stop`]; here is how the facts are come by, and how a drain is waited for. The rules are
//! in `docs/layer2.md`, "Stops". Everything that runs goes on until it is done, so that VIPs are given away in order and
//! packets find their way in the meantime.

use super::bgp::Bgp;
use super::cluster::Link;
use crate::api::{Api, Call, Failure};
use crate::ctl::{DrainOrders, Orders, Progress, Snapshot, SocketOrders, States, announced};
use crate::drive::bgp::DRAIN_TEXT;
use crate::drive::clock::{now, pause};
use crate::drive::pulse::PulseHandle;
use crate::report::own_pod::OwnPod;
use anyhow::{Context, Error, Result, anyhow};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use serde::de::DeserializeOwned;
use speaker_core::agent::Input;
use speaker_core::node::Node;
use speaker_core::stop::{Known, Own, Owner, StopIntent, controller, intent};
use speaker_proto::Span;
use speaker_proto::bgp::session::Stop;
use speaker_proto::gossip;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

/// Whom the VIPs are left to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Left {
    /// To the next process: the kernel goes on answering.
    ToSuccessor,
    /// To other nodes: the kernel falls silent at its deadline.
    ToOthers,
    /// As `ToOthers`, and nothing of this speaker stays on the node.
    Nothing,
}

impl Left {
    /// What follows.
    pub(super) const fn story(self, is_promised: bool) -> &'static str {
        match self {
            Self::ToSuccessor if is_promised => {
                "until the grace has passed the kernel goes on answering"
            }
            Self::ToSuccessor => {
                "not every observer knows of it, or a void promise of another node may last: the kernel falls silent at its deadline"
            }
            Self::ToOthers | Self::Nothing => {
                "nothing is promised: the kernel falls silent at its deadline"
            }
        }
    }
}

/// What `speaker ctl` and a signal can tell the deciding thread.
pub(super) fn orders(inbox: SyncSender<Input>) -> DrainOrders {
    Arc::new(move |drains| inbox.try_send(Input::Drain(drains)).is_ok())
}

/// What it takes to stop in order.
pub(super) struct Stopping {
    pub(super) drain_window: Span,
    pub(super) states: States,
    pub(super) orders: DrainOrders,
    pub(super) pulse: PulseHandle,
    pub(super) bgp: Bgp,
    /// In a cluster.
    pub(super) own: Option<OwnObjects>,
}

/// The objects that this process belongs to.
pub(super) struct OwnObjects {
    pub(super) api: Api,
    pub(super) pod: Arc<OwnPod>,
    pub(super) link: Link,
}

impl Stopping {
    /// What clients can have done: with sockets, and what stopping is made of.
    pub(super) fn of_clients(&self, sockets: SocketOrders) -> Orders {
        Orders {
            drain: Arc::clone(&self.orders),
            peers: self.bgp.pauses(),
            sockets: Some(sockets),
        }
    }

    /// Waits for a signal and does what it means, or for a part that should not have ended.
    ///
    /// # Errors
    /// When one has.
    pub(super) async fn wait(&self, mut tasks: JoinSet<Result<()>>) -> Result<Left> {
        let mut signals = Signals::watch()?;
        let left = tokio::select! {
            () = signals.next() => tokio::select! {
                left = self.obey() => left,
                () = signals.next() => hurry(),
                ended = tasks.join_next() => return Err(why(ended)),
            },
            ended = tasks.join_next() => return Err(why(ended)),
        };
        if left == Left::Nothing {
            // They write where everything is removed next; one that hangs is not waited for.
            drop(timeout(TASKS_END, tasks.shutdown()).await);
        }
        Ok(left)
    }

    /// Finds out what is wanted, and does it.
    async fn obey(&self) -> Left {
        let node = (self.states)().and_then(|snapshot| own_node(&snapshot));
        let own = match &self.own {
            Some(own) => own.ask(node.as_ref()).await,
            None => Own::Unasked,
        };
        let snapshot = (self.states)();
        let node = snapshot.as_ref().and_then(own_node);
        let stop = intent(&Known {
            is_draining: snapshot.as_ref().is_some_and(|s| s.local.is_draining),
            is_alone: snapshot.as_ref().is_none_or(is_alone),
            ignores_exclude_label: snapshot
                .as_ref()
                .is_some_and(|s| s.local.rules.ignores_exclude_label),
            node: node.as_ref(),
            own,
        });
        tracing::info!(
            op = "shutdown",
            event = "stop",
            intent = %stop.intent,
            reason = stop.because,
            "stopping: {}, because {}",
            stop.intent,
            stop.because
        );
        match stop.intent {
            StopIntent::Restart => {
                self.bgp.stop(Stop::Restart).await;
                return Left::ToSuccessor;
            }
            StopIntent::Drain | StopIntent::Remove => {}
        }
        let drain = Stop::Drain(DRAIN_TEXT.to_owned());
        let (is_given, ()) = tokio::join!(self.drain(snapshot), self.bgp.stop(drain));
        if is_given {
            self.leave().await;
        }
        match stop.intent {
            StopIntent::Restart | StopIntent::Drain => Left::ToOthers,
            StopIntent::Remove => Left::Nothing,
        }
    }

    /// Gives everything away and lets the connections have their time. Whether nothing is held any more.
    async fn drain(&self, snapshot: Option<Snapshot>) -> bool {
        let Some(snapshot) = snapshot else {
            return true;
        };
        let before = announced(&snapshot);
        let until = now() + self.drain_window + DRAIN_SLACK;
        let mut is_ordered = snapshot.local.is_draining;
        let mut told = Vec::new();
        loop {
            is_ordered = is_ordered || (self.orders)(true);
            let progress = (self.states)().map(|snapshot| Progress::of(&snapshot, &before));
            if let Some(progress) = progress.filter(|progress| progress.is_draining) {
                if told != progress.orphans {
                    told.clone_from(&progress.orphans);
                    tracing::warn!(
                        op = "shutdown",
                        services = told.join(","),
                        event = "nobodyTakes",
                        "no other node can announce these services: nobody answers for them, and they are not waited for"
                    );
                }
                if progress.is_done() {
                    tracing::info!(
                        op = "shutdown",
                        event = "drained",
                        "everything was given away"
                    );
                    return true;
                }
                if now() >= until {
                    tracing::warn!(
                        op = "shutdown",
                        held = progress.held.len(),
                        given = progress.given.len(),
                        event = "notDrained",
                        "not everything was given away in time: what is left falls silent with the deadline"
                    );
                    return progress.held.is_empty();
                }
            } else if now() >= until {
                return false;
            }
            pause(LOOK_AGAIN).await;
        }
    }

    /// Tells the members, so that nobody waits for this node's silence. Nothing may be held any more.
    async fn leave(&self) {
        if self.pulse.tell(gossip::Input::Leave).is_ok() {
            pause(LEAVE_TOLD).await;
        }
    }
}

fn why(ended: Option<Result<Result<()>, JoinError>>) -> Error {
    match ended {
        Some(Ok(Err(error))) => error,
        Some(Ok(Ok(()))) | None => anyhow!("a part of the speaker ended"),
        Some(Err(panic)) => Error::new(panic).context("a part of the speaker failed"),
    }
}

/// The signals that mean stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn watch() -> Result<Self> {
        let watch = |kind| signal(kind).context("failed to watch signals");
        Ok(Self {
            terminate: watch(SignalKind::terminate())?,
            interrupt: watch(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A second signal: what was begun is not waited for.
fn hurry() -> Left {
    tracing::warn!(
        op = "shutdown",
        event = "stopHurried",
        "told to stop a second time: what is not given away yet falls silent with the deadline"
    );
    Left::ToOthers
}

fn own_node(snapshot: &Snapshot) -> Option<Node> {
    let node = snapshot.world.nodes.get(&snapshot.local.node)?;
    Some(Node::clone(node))
}

fn is_alone(snapshot: &Snapshot) -> bool {
    snapshot
        .alive
        .names()
        .all(|name| *name == snapshot.local.node)
}

impl OwnObjects {
    /// What the API server says now, within [`ASK_MAX`].
    async fn ask(&self, node: Option<&Node>) -> Own {
        if self.link.is_stale() {
            return Own::Untold;
        }
        let Some(path) = self.pod.path() else {
            return Own::Unasked;
        };
        let until = now() + ASK_MAX;
        loop {
            match self.read(&path, node).await {
                Ok(own) => return own,
                Err(failure) => {
                    let error = failure.to_string();
                    tracing::warn!(op = "shutdown", error, "the own pod cannot be read");
                    // What is refused stays so for longer than there is time.
                    if failure.code().is_some() || now() + ASK_AGAIN >= until {
                        return Own::Untold;
                    }
                }
            }
            pause(ASK_AGAIN.into()).await;
        }
    }

    async fn read(&self, path: &str, node: Option<&Node>) -> Result<Own, Failure> {
        let gone = Own::Pod {
            is_deleted: true,
            owner: Owner::Nobody,
        };
        let Some(pod) = self.get::<Pod>(path).await? else {
            return Ok(gone);
        };
        let owner = match controller(&pod) {
            None => Owner::Nobody,
            Some((name, uid)) => {
                let namespace = self.pod.namespace();
                let path = format!("/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}");
                let set = self.get::<DaemonSet>(&path).await?;
                set.map_or(Owner::Gone, |set| Owner::of(&set, uid, node))
            }
        };
        Ok(Own::Pod {
            is_deleted: pod.metadata.deletion_timestamp.is_some(),
            owner,
        })
    }

    /// An object; `None`: there is none.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failure> {
        match self.api.call(Call::get(path).within(CALL_MAX)).await {
            Ok(object) => serde_json::from_value(object)
                .map(Some)
                .map_err(|error| Failure::Garbled(error.to_string())),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// An API server that restarts is back by then; everything goes on in the meantime.
const ASK_MAX: Span = Span::s(10);
const ASK_AGAIN: Span = Span::s(1);
const CALL_MAX: Duration = Duration::from_secs(3);
/// Beyond the drain window: until others have asked for what they take, and the last of it had its window.
const DRAIN_SLACK: Span = Span::s(10);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const TASKS_END: Duration = Duration::from_secs(1);
/// Three words to each member, 50 ms apart, and some.
const LEAVE_TOLD: Duration = Duration::from_millis(300);

#[cfg(test)]
#[path = "stop_tests.rs"]
mod tests;
