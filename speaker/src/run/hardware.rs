//! Publishes this node's hardware addresses in a ConfigMap of its own, and brings what others publish to the deciding thread (L2.3 of
//! `docs/layer2.md`).
//!
//! Nothing waits for it: without an API server, or without the rights, VIPs are kept and moved as ever, and what was read last stays
//! known, over restarts too. What a record is and how long it counts is `speaker_core::hardware`'s affair.

use super::statuses::Place;
use crate::api::{Api, Call, Failure};
use crate::drive::clock::{pause, wall};
use crate::drive::reflect;
use crate::report::own_pod::OwnPod;
use crate::report::retry::Backoff;
use crate::source::HardwareFile;
use crate::source::kube::{Told, Watched};
use anyhow::{Context, Result};
use serde_json::Value;
use speaker_core::agent::Input;
use speaker_core::hardware::{self, Hardware};
use speaker_proto::member::Directory;
use speaker_proto::{Mac, NodeName};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};

/// What it is told by this node, and whom it tells.
pub(super) struct Ends {
    /// What this node says of itself to those that hear it.
    pub(super) macs: watch::Receiver<BTreeSet<Mac>>,
    /// The deciding thread's.
    pub(super) inbox: SyncSender<Input>,
}

/// The task.
struct Records {
    api: Api,
    pod: Arc<OwnPod>,
    node: NodeName,
    ends: Ends,
    file: HardwareFile,
    told: mpsc::Receiver<Told>,
    trouble: watch::Receiver<Option<String>>,
    known: Hardware,
    /// What the deciding thread was told last.
    sent: Arc<Directory>,
    /// What is on disk; `None`: that is not known.
    kept: Option<Hardware>,
    /// The own object, as far as it was seen.
    own: Value,
    is_synced: bool,
}

/// Starts the task. What was kept on disk is told at once.
pub(super) fn spawn(place: Place, file: HardwareFile, ends: Ends, tasks: &mut JoinSet<Result<()>>) {
    let Place { api, pod, node } = place;
    if hardware::object_name(&node).is_none() {
        not_published("the node's name leaves no room for it in that of a ConfigMap");
    }
    let watched = Watched {
        path: all(&pod),
        labels: format!("{}={}", hardware::LABEL, hardware::VALUE),
        fields: String::new(),
    };
    let (tell, told) = mpsc::channel(TOLD_MAX);
    let (task, followed) = reflect::follow(api.clone(), watched, SPREAD, tell, |told| told);
    tasks.spawn(task);
    let known = file.load(seconds());
    let records = Records {
        api,
        pod,
        node,
        ends,
        told,
        trouble: followed.trouble,
        kept: Some(known.clone()),
        known,
        file,
        sent: Arc::default(),
        own: Value::Null,
        is_synced: false,
    };
    tasks.spawn(records.run());
}

impl Records {
    /// Never ends.
    async fn run(mut self) -> Result<()> {
        let mut backoff = Backoff::default();
        loop {
            while let Ok(told) = self.told.try_recv() {
                self.take(told);
            }
            self.known.expire(seconds());
            self.pass_on();
            self.keep().await?;
            let wait = match self.publish().await {
                Ok(()) => {
                    backoff.reset();
                    LOOK_EVERY
                }
                Err(failure) => {
                    let wait = backoff.after(&failure);
                    if backoff.is_first() {
                        not_published(&failure.to_string());
                    }
                    wait
                }
            };
            tokio::select! {
                told = self.told.recv() => self.take(told.context("the watch ended")?),
                changed = self.ends.macs.changed() => changed.context("the links are not followed")?,
                changed = self.trouble.changed() => {
                    changed.context("the watch ended")?;
                    self.tell_trouble();
                }
                () = pause(wait) => {}
            }
            pause(SETTLE).await;
        }
    }

    fn take(&mut self, told: Told) {
        let own = hardware::object_name(&self.node);
        match told {
            Told::Put(object) => {
                self.known.put(&object);
                if object["metadata"]["name"].as_str() == own.as_deref() {
                    self.own = object;
                }
            }
            Told::Gone(_, name) => {
                self.known.gone(&name, seconds());
                if own == Some(name) {
                    self.own = Value::Null;
                }
            }
            Told::Synced => self.is_synced = true,
        }
    }

    /// Tells the deciding thread what is new; if it is busy, another time.
    fn pass_on(&mut self) {
        let others = self.known.others(&self.node);
        if others == *self.sent {
            return;
        }
        let others = Arc::new(others);
        let input = Input::Published(Arc::clone(&others));
        if self.ends.inbox.try_send(input).is_ok() {
            self.sent = others;
        }
    }

    /// Keeps what is new on disk. What cannot be kept is told once, until it can be.
    async fn keep(&mut self) -> Result<()> {
        if self.kept.as_ref() == Some(&self.known) {
            return Ok(());
        }
        let (file, known) = (self.file.clone(), self.known.clone());
        let saved = spawn_blocking(move || file.save(&known)).await;
        match saved.context("keeping hardware failed")? {
            Ok(()) => self.kept = Some(self.known.clone()),
            Err(error) => {
                if self.kept.take().is_some() {
                    tracing::warn!(
                        event = "stateNotKept",
                        error = format!("{error:#}"),
                        "other nodes' hardware is not kept for a start without an API server"
                    );
                }
            }
        }
        Ok(())
    }

    /// Writes the own object, if it does not say what this node says of itself.
    async fn publish(&mut self) -> Result<(), Failure> {
        let macs = self.ends.macs.borrow_and_update().clone();
        let name = hardware::object_name(&self.node);
        let Some(name) = name.filter(|_| self.is_synced && !macs.is_empty()) else {
            return Ok(());
        };
        let owner = self.pod.reference(&self.api).await?;
        let wanted = hardware::object(&name, &macs, owner);
        if hardware::says(&self.own, &wanted) {
            return Ok(());
        }
        let path = format!(
            "{}/{name}?fieldManager={MANAGER}&force=true",
            all(&self.pod)
        );
        self.own = self.api.call(Call::apply(path, wanted)).await?;
        Ok(())
    }

    fn tell_trouble(&mut self) {
        if let Some(why) = self.trouble.borrow_and_update().as_ref() {
            tracing::warn!(
                event = "hardwareNotRead",
                error = why,
                "what other nodes publish of their hardware cannot be followed; what was read last counts"
            );
        }
    }
}

fn not_published(why: &str) {
    tracing::warn!(
        event = "hardwareNotPublished",
        error = why,
        "this node's hardware addresses cannot be published: who starts while it cannot be heard takes its claims for a stranger's"
    );
}

/// The collection.
fn all(pod: &OwnPod) -> String {
    format!("/api/v1/namespaces/{}/configmaps", pod.namespace())
}

fn seconds() -> u64 {
    let since = wall().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// As which fields are owned.
const MANAGER: &str = "heliograph-speaker";
const TOLD_MAX: usize = 64; // objects of a few hundred bytes on their way
const SPREAD: Duration = Duration::from_secs(2); // as for everything that is followed
/// Links that come up one after the other are one write.
const SETTLE: Duration = Duration::from_millis(500);
/// What is gone expires, and what the deciding thread did not take is told again.
const LOOK_EVERY: Duration = Duration::from_secs(30);
