//! The newest view of the deciding thread, with what else `speaker ctl` shows.

use crate::ctl::{Snapshot, States};
use crate::drive::clock::wall;
use crate::drive::decide::View;
use crate::drive::links::Attached;
use crate::settings::Settings;
use speaker_core::Problem;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::watch;

/// A snapshot at each call, made when it is asked for.
pub(super) fn source(
    settings: &Settings,
    views: watch::Receiver<Option<Arc<View>>>,
    attached: watch::Receiver<Attached>,
    allocates: watch::Receiver<bool>,
    problems: watch::Receiver<Vec<Problem>>,
) -> States {
    let settings = settings.summary();
    let started = wall();
    Arc::new(move || {
        let view = views.borrow().clone()?;
        let mut snapshot = snapshot(&view, started, &settings, &attached, &allocates);
        snapshot.problems.extend(problems.borrow().iter().cloned());
        Some(snapshot)
    })
}

fn snapshot(
    view: &View,
    started: SystemTime,
    settings: &BTreeMap<&'static str, String>,
    attached: &watch::Receiver<Attached>,
    allocates: &watch::Receiver<bool>,
) -> Snapshot {
    let work = view.work;
    Snapshot {
        started,
        settings: settings.clone(),
        world: Arc::clone(&view.world),
        plan: Arc::clone(&view.plan),
        local: view.local.clone(),
        held: view.held.clone(),
        problems: view.problems.clone(),
        is_armed: view.is_armed,
        allocates: *allocates.borrow(),
        attached: attached.borrow().values().cloned().collect(),
        work: BTreeMap::from([
            ("plans", work.plans),
            ("writes", work.writes),
            ("last-plan-us", work.last.ns() / 1_000),
            ("repairs", work.repairs),
            ("failures", work.failures),
            ("events-lost", work.events_lost),
        ]),
    }
}
