//! What is odd about the configuration without being wrong, in the log: such as an advertisement of a pool that is not there.

use crate::drive::decide::View;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

/// Logs each note once for as long as it stands.
pub(super) async fn follow(mut views: watch::Receiver<Option<Arc<View>>>) -> Result<()> {
    let mut told = BTreeSet::new();
    loop {
        views.changed().await.context("the views ended")?;
        let view = views.borrow_and_update().clone();
        let Some(view) = view else { continue };
        let notes = view.world.config_notes().into_iter();
        let standing: BTreeSet<String> = notes.map(|note| note.to_string()).collect();
        for note in standing.difference(&told) {
            tracing::warn!(event = "configNote", "{note}");
        }
        told = standing;
    }
}
