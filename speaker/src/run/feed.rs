//! From the source to the deciding thread.
//!
//! A thread of its own, since the way to the deciding thread blocks when that one is slow: then the source waits,
//! and nobody else.

use super::board::Updates;
use crate::source::Event;
use anyhow::{Context, Result};
use speaker_core::agent::Input;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::thread;
use tokio::sync::{mpsc, watch};

/// Starts the thread. It ends when the source does.
pub(super) fn spawn(
    source: mpsc::Receiver<Event>,
    inbox: SyncSender<Input>,
    allocates: watch::Sender<bool>,
    updates: Arc<Updates>,
) -> Result<()> {
    thread::Builder::new()
        .name("feed".into())
        .spawn(move || feed(source, &inbox, &allocates, &updates))
        .context("failed to start the source's thread")?;
    Ok(())
}

fn feed(
    mut source: mpsc::Receiver<Event>,
    inbox: &SyncSender<Input>,
    allocates: &watch::Sender<bool>,
    updates: &Updates,
) {
    while let Some(event) = source.blocking_recv() {
        let input = match event {
            Event::Put(object) => {
                updates.all.fetch_add(1, Ordering::Relaxed);
                updates
                    .faulty
                    .fetch_add(object.is_err().into(), Ordering::Relaxed);
                Input::Object(object)
            }
            Event::Gone(key) => Input::Gone(key),
            Event::Synced(kind) => Input::Synced(kind),
            Event::Assignments(assignments) => Input::Assignments(assignments),
            Event::Allocates(may) => {
                tracing::info!(
                    allocates = may,
                    event = "allocatorLock",
                    "lock on the allocations"
                );
                allocates.send_replace(may);
                continue;
            }
            Event::Note(note) => {
                tracing::info!(origin = note.origin, subject = note.subject, "{}", note.why);
                continue;
            }
        };
        if inbox.send(input).is_err() {
            return;
        }
    }
    tracing::error!("the manifests can no longer be followed; what was read last stays in force");
}
