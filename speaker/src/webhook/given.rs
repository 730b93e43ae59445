//! The objects that verdicts depend on, followed by every replica: those that do not lead answer reviews too.
//!
//! Configuration and nodes, and nothing before every kind of them has been seen whole. What is wrong with an object stands beside
//! its last good version, as everywhere.

use crate::api::Api;
use crate::drive::reflect;
use crate::source::Event;
use crate::source::kube::{Item, Scope};
use anyhow::{Context, Result, bail};
use speaker_core::admission::Given;
use speaker_core::{Kind, World};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Follows them until it is dropped.
///
/// # Errors
/// When they can be followed no more.
pub(super) async fn follow(
    api: Api,
    namespace: String,
    given: watch::Sender<Arc<Given>>,
) -> Result<()> {
    let scope = Scope {
        kinds: KINDS.to_vec(),
        namespace,
        all_services: false,
    };
    let mut tasks = JoinSet::new();
    let (mut items, _) = reflect::spawn(&api, &scope, Duration::ZERO, &mut tasks);
    let mut world = World::default();
    loop {
        tokio::select! {
            item = items.recv() => {
                let Some(item) = item else { bail!("objects are followed no more") };
                let mut is_changed = take(&mut world, item, &scope.namespace);
                for _ in 1..ITEMS_PER_TURN {
                    let Ok(item) = items.try_recv() else { break };
                    is_changed |= take(&mut world, item, &scope.namespace);
                }
                if is_changed && world.is_synced() {
                    given.send_replace(Arc::new(Given::Known(Arc::new(world.clone()))));
                }
            }
            Some(ended) = tasks.join_next() => {
                ended.context("a kind of object is followed no more")??;
            }
        }
    }
}

fn take(world: &mut World, item: Item, namespace: &str) -> bool {
    let mut is_changed = false;
    for event in item.events(namespace) {
        is_changed |= match event {
            Event::Put(object) => world.put(object),
            Event::Gone(key) => world.gone(&key),
            Event::Synced(kind) => world.synced(kind),
            // A directory tells these, an API server never.
            Event::Assignments(_) | Event::Allocates(_) | Event::Note(_) => false,
        };
    }
    is_changed
}

/// What [`speaker_core::admission`] compares with.
const KINDS: [Kind; 7] = [
    Kind::Node,
    Kind::Pool,
    Kind::L2Advertisement,
    Kind::BgpAdvertisement,
    Kind::BgpPeer,
    Kind::BfdProfile,
    Kind::Community,
];
const ITEMS_PER_TURN: usize = 256; // a list is taken in few turns, each of which clones no more than pointers
