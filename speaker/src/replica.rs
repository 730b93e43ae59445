//! One of several replicas from its start to its end: what controller and operator have in common.
//!
//! Each answers webhooks, and one leads. Whatever ends it, nothing that it does by the Lease outlasts the Lease: work stops first, what
//! is under way is waited for, then the Lease goes back, and webhooks are answered for as long as they may still be asked. Knows nothing of
//! what a leader does.

use crate::api::{self, Access, Api};
use crate::drive::clock::{Stamp, now};
use crate::leader::{Leader, Seat, Term};
use crate::report::Check;
use crate::report::events::{EventSender, Events};
use crate::webhook::{self, Webhooks};
use anyhow::{Context, Result};
use speaker_proto::Time;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

/// A process that may come to lead.
pub(crate) struct Replica {
    pub(crate) api: Api,
    pub(crate) term: Term,
    pub(crate) events: EventSender,
    /// What runs beside; none of them may end.
    pub(crate) parts: JoinSet<Result<()>>,
    what: &'static str,
    namespace: String,
    leader: Leader,
    terminate: Signal,
    interrupt: Signal,
}

/// Carries a process out on a runtime of its own.
///
/// # Errors
/// What it ends with, and when there is no runtime.
pub(crate) fn block_on(process: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?
        .block_on(process)
}

impl Replica {
    /// One that wants that seat. `component` is what selectors on an event's source go by.
    ///
    /// # Errors
    /// When signals cannot be watched, or credentials cannot be read.
    pub(crate) async fn begin(
        access: &Access,
        seat: Seat,
        component: &'static str,
        namespace: &str,
        pod: Option<&str>,
    ) -> Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("failed to watch signals")?;
        let interrupt = signal(SignalKind::interrupt()).context("failed to watch signals")?;
        let api = api::connect(access).await?;
        let events = Events::spawn(api.clone(), component, pod.unwrap_or_default());
        let (leader, term) = Leader::new(api.clone(), seat, namespace, pod);
        Ok(Self {
            api,
            term,
            events,
            parts: JoinSet::new(),
            what: seat.what,
            namespace: namespace.to_owned(),
            leader,
            terminate,
            interrupt,
        })
    }

    /// Begins to answer webhooks. `leads` is whether this process keeps their certificates.
    pub(crate) fn webhooks(
        &mut self,
        settings: webhook::Settings,
        leads: watch::Receiver<bool>,
    ) -> Webhooks {
        Webhooks::spawn(
            settings,
            &self.namespace,
            self.api.clone(),
            leads,
            self.events.clone(),
            &mut self.parts,
        )
    }

    /// Does nothing but answer, until it is told to end.
    ///
    /// # Errors
    /// When a part ends.
    pub(crate) async fn answer(mut self, webhooks: Webhooks) -> Result<()> {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            Some(ended) = self.parts.join_next() => return ended.context("a part failed").flatten(),
        }
        webhooks.linger().await;
        Ok(())
    }

    /// Does the work of a leader until it is told to end; `work` waits for its term itself, and ends soon after it is told to stop.
    ///
    /// # Errors
    /// When a part or the work ends that must not, or the Lease is lost.
    pub(crate) async fn lead<W>(
        mut self,
        webhooks: Webhooks,
        work: impl FnOnce(watch::Receiver<bool>) -> W,
    ) -> Result<()>
    where
        W: Future<Output = Result<()>> + Send + 'static,
    {
        let what = self.what;
        let failed = || format!("the {what}'s task failed");
        let (resign, resigning) = oneshot::channel();
        let mut lease = tokio::spawn(self.leader.run(resigning));
        let (stop, stopped) = watch::channel(false);
        let mut work = tokio::spawn(work(stopped));
        let ended = tokio::select! {
            _ = self.terminate.recv() => Ok(()),
            _ = self.interrupt.recv() => Ok(()),
            ended = &mut lease => return ended.context("the Lease's task failed").flatten(),
            ended = &mut work => ended.with_context(failed).flatten(),
            Some(ended) = self.parts.join_next() => {
                ended.with_context(|| format!("a part of the {what} failed")).flatten()
            }
        };
        stop.send_replace(true);
        if !work.is_finished() {
            work.await.with_context(failed).flatten()?;
        }
        self.events.flush(FLUSH_MAX).await;
        // Nothing of this process writes any more.
        let _lease_ends_anyway = resign.send(());
        lease.await.context("the Lease's task failed").flatten()?;
        if ended.is_ok() {
            webhooks.linger().await;
        }
        tracing::info!(op = "shutdown", "{what} stopped");
        ended
    }
}

/// Living is what a restart could mend: a loop that turned within so many seconds, or has not begun. The API server does not come into it.
pub(crate) fn turns(turned: &Stamp, longest_s: u64) -> Check {
    let last = turned.last();
    let age_s = now().since(last).ns() / 1_000_000_000;
    let (ok, why) = match last > Time::default() {
        true => (age_s < longest_s, format!("it turned {age_s} s ago")),
        false => (true, "it begins when this process leads".to_owned()),
    };
    Check {
        name: "turns",
        ok,
        why,
    }
}

const FLUSH_MAX: Duration = Duration::from_secs(2); // within a short grace period
