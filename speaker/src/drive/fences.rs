//! Looks now and then for fences that nobody told of.
//!
//! The record of a claim can be lost in a flood; the fence that it raised cannot, and would silence its VIP for good. Which
//! fences to look at is [`Looks`]' affair; what is done about one is the deciding thread's.

use super::decide::View;
use crate::dataplane::KernelTables;
use anyhow::{Context, Result};
use speaker_core::fence::{Looks, Raised};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Looks until the tables cannot be read. `tell` must not block; what it has no room for is told again at the next look.
pub(crate) async fn run(
    mut tables: KernelTables,
    views: watch::Receiver<Option<Arc<View>>>,
    tell: impl Fn(Raised) -> bool,
) -> Result<()> {
    let mut looks = Looks::default();
    loop {
        sleep(EVERY).await;
        let Some(view) = views.borrow().clone() else {
            continue;
        };
        let looked = looks.next(&view.tables);
        if looked.is_empty() {
            continue;
        }
        let slots: Vec<u32> = looked.values().copied().collect();
        let fenced;
        (tables, fenced) = spawn_blocking(move || {
            let fenced = tables.fenced(slots);
            (tables, fenced)
        })
        .await
        .context("looking at fences failed")?;
        for raised in looks.seen(&looked, &fenced?) {
            tracing::warn!(
                event = "fenceFound",
                vip = %raised.vip,
                ifindex = raised.ifindex,
                "a fence is up whose claim was not heard"
            );
            let _told_again_at_the_next_look = tell(raised);
        }
    }
}

/// A claim that was heard is settled within 300 ms.
const EVERY: Duration = Duration::from_secs(1);
