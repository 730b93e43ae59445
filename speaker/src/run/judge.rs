//! What is wrong with the configuration as a whole, for whoever shows that.

use super::bgp_keys;
use crate::drive::bgp::Keys;
use crate::drive::decide::View;
use anyhow::{Context, Result};
use speaker_core::Problem;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Faults of configuration objects, each by itself, between them, and of the Secrets that they name; in the order of the objects.
pub(super) fn problems(view: &View, keys: &Keys) -> Vec<Problem> {
    let of_secrets = bgp_keys::problems(&view.world, &view.plan, keys);
    let of_world = view.world.problems.values();
    let of_plan = view.plan.problems.iter();
    let all = of_secrets.iter().chain(of_plan).chain(of_world);
    let config = all.filter(|problem| problem.object.kind.is_config());
    // What is wrong with an object by itself comes before what is wrong with its place among others.
    let by_object: BTreeMap<_, _> = config.map(|problem| (&problem.object, problem)).collect();
    by_object.into_values().cloned().collect()
}

/// Tells the problems when they change; nothing before every kind has been seen.
pub(super) async fn follow(
    mut views: watch::Receiver<Option<Arc<View>>>,
    mut keys: watch::Receiver<Keys>,
    judged: watch::Sender<Option<Vec<Problem>>>,
) -> Result<()> {
    loop {
        let view = views.borrow_and_update().clone();
        if let Some(view) = view.filter(|view| view.world.is_synced()) {
            let problems = Some(problems(&view, &keys.borrow_and_update()));
            judged.send_if_modified(|told| {
                let is_news = *told != problems;
                *told = problems;
                is_news
            });
        }
        tokio::select! {
            changed = views.changed() => changed.context("the views ended")?,
            changed = keys.changed() => changed.context("the passwords ended")?,
        }
    }
}
