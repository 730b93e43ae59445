//! Addresses for services, in directory mode.
//!
//! Whoever holds the directory's lock allocates: on each new view, away from the deciding thread, since a large cluster
//! takes a while. What was written is waited for before the next pass, so that no pass starts from older addresses
//! than the last one ended with.

use super::clock::now;
use super::decide::View;
use crate::source::Allocations;
use anyhow::{Context, Result};
use speaker_core::allocator::{Allocation, Assignments, Event, EventReason, allocate};
use speaker_core::{Problem, World};
use speaker_proto::{Span, Time};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Allocates as long as it may.
pub(crate) struct Allocator {
    writer: Allocations,
    class: Option<String>,
    written: Option<(Assignments, Time)>,
    seen: Option<Arc<World>>,
    standing: BTreeSet<Event>,
    problems: watch::Sender<Vec<Problem>>,
}

impl Allocator {
    /// `writer` writes what was allocated; only services of `class` are served; `problems` is told what stands in the
    /// way of others.
    pub(crate) fn new(
        writer: Allocations,
        class: Option<String>,
        problems: watch::Sender<Vec<Problem>>,
    ) -> Self {
        Self {
            writer,
            class,
            written: None,
            seen: None,
            standing: BTreeSet::new(),
            problems,
        }
    }

    /// Follows the views for as long as `allocates` says that this process may.
    pub(crate) async fn run(
        mut self,
        mut views: watch::Receiver<Option<Arc<View>>>,
        mut allocates: watch::Receiver<bool>,
    ) -> Result<()> {
        loop {
            let may = *allocates.borrow_and_update();
            let view = views.borrow_and_update().clone();
            if may && let Some(view) = view {
                self.pass(&view.world).await?;
            } else if !may {
                self.seen = None;
                self.written = None;
            }
            let late = self.written.is_some();
            tokio::select! {
                changed = views.changed() => changed.context("the views ended")?,
                changed = allocates.changed() => changed.context("the source ended")?,
                () = sleep(ECHO_MAX.into()), if late => {}
            }
        }
    }

    async fn pass(&mut self, world: &Arc<World>) -> Result<()> {
        let Some(current) = world.assignments.as_deref() else {
            return Ok(());
        };
        if let Some((written, at)) = &self.written
            && written != current
            && now().since(*at) < ECHO_MAX
        {
            return Ok(());
        }
        self.written = None;
        if self
            .seen
            .as_ref()
            .is_some_and(|seen| Arc::ptr_eq(seen, world))
        {
            return Ok(());
        }
        self.seen = Some(Arc::clone(world));
        let (of, class) = (Arc::clone(world), self.class.clone());
        let allocation = spawn_blocking(move || {
            let current = of.assignments.as_ref().expect("looked at just before");
            allocate(&of, current, class.as_deref())
        })
        .await
        .context("the allocator failed")?;
        self.tell(&allocation);
        self.problems.send_replace(allocation.problems.clone());
        if allocation.assignments != *current {
            self.writer.write(allocation.assignments.clone());
            self.written = Some((allocation.assignments, now()));
        }
        Ok(())
    }

    /// Logs what is new.
    fn tell(&mut self, allocation: &Allocation) {
        for event in &allocation.events {
            if event.reason.is_standing() && self.standing.contains(event) {
                continue;
            }
            match event.reason {
                EventReason::Allocated => {
                    let held = allocation.assignments.get(&event.service);
                    let ips: Vec<String> = held
                        .map(|held| held.ips.iter().map(ToString::to_string).collect())
                        .unwrap_or_default();
                    tracing::info!(
                        event = "ipAllocated",
                        ip = ?ips,
                        service = %event.service,
                        "IP address assigned by controller"
                    );
                }
                reason if reason.is_warning() => {
                    tracing::warn!(event = reason.as_str(), service = %event.service, "{}", event.message);
                }
                reason => {
                    tracing::info!(event = reason.as_str(), service = %event.service, "{}", event.message);
                }
            }
        }
        self.standing = allocation
            .events
            .iter()
            .filter(|event| event.reason.is_standing())
            .cloned()
            .collect();
    }
}

/// What was written comes back through the file within milliseconds. After this long it is taken as lost, and what the
/// file says counts.
const ECHO_MAX: Span = Span::s(2);
