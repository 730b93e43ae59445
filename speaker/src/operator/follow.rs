//! Follows the resources, and of everything that the operator makes what carries its label.

use super::desk::Collection;
use crate::api::Api;
use crate::drive::reflect;
use crate::source::kube::{Told, Watched};
use anyhow::Result;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// What was told of a collection.
pub(super) struct Item {
    /// Its path.
    pub(super) collection: Arc<str>,
    pub(super) told: Told,
}

/// What stands in the way of following, by path of the collection.
pub(super) type Obstacles = Vec<(String, watch::Receiver<Option<String>>)>;

/// Begins to follow; the tasks run until `tasks` is dropped.
pub(super) fn begin(
    api: &Api,
    collections: &[Collection],
    tasks: &mut JoinSet<Result<()>>,
) -> (mpsc::Receiver<Item>, Obstacles) {
    let (tell, told) = mpsc::channel(ITEMS_MAX);
    let mut obstacles = Obstacles::new();
    for Collection {
        path,
        labels,
        fields,
    } in collections
    {
        let watched = Watched {
            path: path.clone(),
            labels: labels.clone(),
            fields: fields.clone(),
        };
        let collection: Arc<str> = path.as_str().into();
        let shape = move |told| Item {
            collection: Arc::clone(&collection),
            told,
        };
        let (api, tell) = (api.clone(), tell.clone());
        let (task, followed) = reflect::follow(api, watched, Duration::ZERO, tell, shape);
        obstacles.push((path.clone(), followed.trouble));
        tasks.spawn(task);
    }
    (told, obstacles)
}

const ITEMS_MAX: usize = 64; // an installation has less than that
