//! Looks now and then whether the kernel's tables still say what was written to them.
//!
//! Reading a large table takes longer than a turn of the deciding thread may, so that it is read here and compared with the
//! newest view; only when they differ is the deciding thread told to read for itself and mend.

use super::decide::View;
use crate::dataplane::KernelTables;
use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Raised when the tables are not as written; lowered by the deciding thread.
pub(crate) type Suspicion = Arc<AtomicBool>;

/// Compares until the views end or the tables cannot be read.
pub(crate) async fn run(
    mut tables: KernelTables,
    views: watch::Receiver<Option<Arc<View>>>,
    suspicion: Suspicion,
) -> Result<()> {
    loop {
        sleep(EVERY).await;
        let before = newest(&views);
        let found;
        (tables, found) = spawn_blocking(move || {
            let found = tables.read();
            (tables, found)
        })
        .await
        .context("the audit failed")?;
        let found = found.context("failed to read the tables")?;
        // What was written meanwhile explains any difference; the next look will tell.
        let is_still = |view: &Arc<View>| {
            newest(&views).is_some_and(|after| Arc::ptr_eq(&after.tables, &view.tables))
        };
        if before.is_some_and(|view| is_still(&view) && *view.tables != found) {
            tracing::warn!(
                event = "tablesDiffer",
                "somebody else wrote to the kernel's tables; mending"
            );
            suspicion.store(true, Ordering::Relaxed);
        }
    }
}

fn newest(views: &watch::Receiver<Option<Arc<View>>>) -> Option<Arc<View>> {
    views.borrow().clone()
}

/// Nobody else writes to these tables; a mistake by hand is mended within this time.
const EVERY: Duration = Duration::from_secs(30);
