//! From the source to the deciding thread.
//!
//! A thread of its own, since the way to the deciding thread blocks when that one is slow: then the source waits,
//! and nobody else.

use super::board::Updates;
use super::intake::Intake;
use crate::ctl;
use crate::source::Event;
use anyhow::{Context, Result, bail};
use speaker_core::agent::Input;
use speaker_core::{Kind, ObjectKey};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::thread;
use tokio::sync::{broadcast, oneshot, watch};

/// Where what the source tells goes to.
pub(super) struct Feed {
    /// The deciding thread.
    pub(super) inbox: SyncSender<Input>,
    /// Whether this process gives addresses.
    pub(super) allocates: watch::Sender<bool>,
    /// How much was told.
    pub(super) updates: Arc<Updates>,
    /// Changes of the configuration, for whoever watches.
    pub(super) changes: broadcast::Sender<ctl::Event>,
}

impl Feed {
    /// Starts the thread. It ends when the source does; the future, when it failed: without it nothing new would ever be
    /// heard of, and only a new process has it again.
    pub(super) fn spawn(self, intake: Intake) -> Result<impl Future<Output = Result<()>>> {
        let (end, ended) = oneshot::channel();
        thread::Builder::new()
            .name("feed".into())
            .spawn(move || {
                self.run(intake);
                let _ends_with_the_process = end.send(());
            })
            .context("failed to start the source's thread")?;
        Ok(async move {
            match ended.await {
                Ok(()) => std::future::pending().await,
                Err(_panicked) => bail!("the source's thread failed"),
            }
        })
    }

    fn run(&self, mut intake: Intake) {
        while let Some(events) = intake.next() {
            for input in events.into_iter().filter_map(|event| self.take(event)) {
                if self.inbox.send(input).is_err() {
                    return;
                }
            }
        }
    }

    /// What of an event the deciding thread must hear.
    fn take(&self, event: Event) -> Option<Input> {
        match event {
            Event::Put(object) => {
                let is_faulty = u64::from(object.is_err());
                self.updates.all.fetch_add(1, Ordering::Relaxed);
                self.updates.faulty.fetch_add(is_faulty, Ordering::Relaxed);
                if let Ok(object) = &object {
                    self.tell_config(&object.key(), "read anew");
                }
                Some(Input::Object(object))
            }
            Event::Gone(key) => {
                self.tell_config(&key, "gone");
                Some(Input::Gone(key))
            }
            Event::Synced(kind) => Some(Input::Synced(kind)),
            Event::Assignments(assignments) => Some(Input::Assignments(assignments)),
            Event::Allocates(allocates) => {
                let what = if allocates { "taken" } else { "lost" };
                tracing::info!(
                    allocates,
                    event = "allocatorLock",
                    "lock on the addresses {what}"
                );
                self.allocates.send_replace(allocates);
                None
            }
            Event::Note(note) => {
                tracing::info!(origin = note.origin, subject = note.subject, "{}", note.why);
                None
            }
        }
    }

    fn tell_config(&self, key: &ObjectKey, what: &str) {
        match key.kind {
            Kind::Pool
            | Kind::L2Advertisement
            | Kind::Community
            | Kind::BgpAdvertisement
            | Kind::BgpPeer
            | Kind::BfdProfile => {
                let event = ctl::Event::new(ctl::Kind::Config, key.to_string(), what);
                let _nobody_may_watch = self.changes.send(event);
            }
            Kind::Namespace | Kind::Node | Kind::Service | Kind::EndpointSlice | Kind::Document => {
            }
        }
    }
}
