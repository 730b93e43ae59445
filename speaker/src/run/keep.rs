//! Keeps the last good objects on disk, for a start while no API server can be reached.

use super::cluster::Link;
use crate::drive::clock::{pause, wall};
use crate::drive::decide::View;
use crate::source::StateFile;
use anyhow::{Context, Result};
use speaker_core::World;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// What keeps them.
pub(super) struct Keeper {
    file: StateFile,
    views: watch::Receiver<Option<Arc<View>>>,
    link: Link,
    kept: Mutex<Option<Arc<World>>>,
}

impl Keeper {
    /// Keeps the world of the newest view in `file`, as long as it comes from the API server.
    pub(super) fn new(
        file: StateFile,
        views: watch::Receiver<Option<Arc<View>>>,
        link: Link,
    ) -> Arc<Self> {
        Arc::new(Self {
            file,
            views,
            link,
            kept: Mutex::new(None),
        })
    }

    /// Keeps what is new now and then; never ends.
    pub(super) async fn run(self: Arc<Self>) -> Result<()> {
        let mut told = None;
        loop {
            pause(EVERY).await;
            let keeper = Arc::clone(&self);
            let saved = spawn_blocking(move || keeper.save());
            let trouble = saved
                .await
                .context("keeping objects failed")?
                .err()
                .map(|error| format!("{error:#}"));
            if let Some(why) = &trouble
                && told.as_ref() != Some(why)
            {
                tracing::warn!(
                    event = "stateNotKept",
                    error = why,
                    "objects are not kept for a start without an API server"
                );
            }
            told = trouble;
        }
    }

    /// Keeps what is new. What is right already is noted to be so as of now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn save(&self) -> Result<()> {
        let Some(world) = self.world() else {
            return Ok(());
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, &world)) {
            if self.link.is_sound() {
                self.file.touch(wall());
            }
            return Ok(());
        }
        self.file.save(&world)?;
        *kept = Some(world);
        Ok(())
    }

    /// The objects in force, if the API server told them all.
    fn world(&self) -> Option<Arc<World>> {
        let view = self.views.borrow().clone()?;
        let is_real = view.world.is_synced() && self.link.stale_since().is_none();
        is_real.then(|| Arc::clone(&view.world))
    }
}

/// What is lost of the last changes when the process is killed.
const EVERY: Duration = Duration::from_secs(10);
