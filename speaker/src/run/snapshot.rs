//! The newest view of the deciding thread, with what else `speaker ctl` shows.

use super::bgp_keys;
use super::board::Board;
use super::cluster::Link;
use super::members;
use crate::ctl::{ApiState, Snapshot, States};
use crate::drive::clock::{now, wall};
use crate::drive::decide::View;
use crate::settings::Settings;
use speaker_core::meeting::rules_hash;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// A snapshot at each call, made when it is asked for.
pub(super) fn source(settings: &Settings, board: &Board) -> States {
    let settings = settings.summary();
    let started = wall();
    let board = board.clone();
    Arc::new(move || {
        let view = board.views.borrow().clone()?;
        let mut snapshot = snapshot(&view, started, &settings, &board);
        let of_allocator = board.problems.borrow();
        snapshot.problems.extend(of_allocator.iter().cloned());
        let of_secrets = bgp_keys::problems(&view.world, &view.plan, &board.bgp.keys.borrow());
        snapshot.problems.extend(of_secrets);
        Some(snapshot)
    })
}

fn snapshot(
    view: &View,
    started: SystemTime,
    settings: &BTreeMap<&'static str, String>,
    board: &Board,
) -> Snapshot {
    let work = view.work;
    Snapshot {
        started,
        settings: settings.clone(),
        world: Arc::clone(&view.world),
        plan: Arc::clone(&view.plan),
        local: view.local.clone(),
        held: view.held.clone(),
        alive: view.alive.clone(),
        steering: view.tables.steering.clone(),
        numbers: view.numbers.clone(),
        problems: view.problems.clone(),
        is_armed: view.is_armed,
        allocates: *board.allocates.borrow(),
        members: members::sight(board, rules_hash(&view.local.rules), now()),
        bgp: board.bgp.sight(now()),
        bfd: board.bgp.bfd_sight(now()),
        attached: board.attached.borrow().values().cloned().collect(),
        api: board.link.as_ref().map(api),
        work: BTreeMap::from([
            ("plans", work.plans),
            ("writes", work.writes),
            ("last-plan-us", work.last.ns() / 1_000),
            ("repairs", work.repairs),
            ("failures", work.failures),
            ("events-lost", work.events_lost),
            ("messages-lost", work.messages_lost),
        ]),
    }
}

fn api(link: &Link) -> ApiState {
    ApiState {
        stale_s: link.stale_s(),
        ages_s: link.ages_s(),
        troubles: link.troubles(),
    }
}
