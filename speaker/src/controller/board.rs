//! What metrics and health of the controller are made from.

use super::desk::Desk;
use super::settings::Settings;
use crate::api::Api;
use crate::drive::clock::{Stamp, now};
use crate::drive::reflect::Followed;
use crate::leader::{Standing, Term};
use crate::replica;
use crate::report::http;
use crate::report::secure::{self, Gate};
use crate::report::{Check, ControllerFigures, PoolFigures};
use crate::webhook::Webhooks;
use anyhow::Result;
use speaker_core::{Kind, Problem, allocator};
use speaker_proto::Time;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// The newest figures, and when the loops turned last.
#[derive(Clone)]
pub(super) struct Board {
    term: Term,
    webhooks: Webhooks,
    api: Api,
    figures: Arc<Mutex<ControllerFigures>>,
    followed: Arc<Mutex<BTreeMap<Kind, Followed>>>,
    /// When the leader's loop turned last; it begins once this process leads.
    pub(super) turned: Stamp,
}

impl Board {
    pub(super) fn new(api: Api, term: Term, webhooks: Webhooks) -> Self {
        Self {
            term,
            webhooks,
            api,
            figures: Arc::default(),
            followed: Arc::default(),
            turned: Stamp::default(),
        }
    }

    /// From now on these are followed.
    pub(super) fn follow(&self, followed: BTreeMap<Kind, Followed>) {
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner) = followed;
    }

    /// Changes the figures.
    pub(super) fn note(&self, change: impl FnOnce(&mut ControllerFigures)) {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut figures);
    }

    /// Takes what a pass came to.
    pub(super) fn passed(&self, desk: &Desk) {
        let usage = allocator::usage(desk.world(), desk.assignments());
        self.note(|figures| {
            let usage = usage.into_iter();
            figures.pools = usage
                .map(|(name, usage)| (name, PoolFigures::from(usage)))
                .collect();
        });
    }

    /// Takes what is wrong, of the configuration and of services. `is_loaded` is whether all of the configuration has been seen.
    pub(super) fn judged(&self, is_loaded: bool, of_config: &[Problem], of_services: &[Problem]) {
        self.note(|figures| {
            figures.problems.clear();
            for Problem { object, .. } in of_config.iter().chain(of_services) {
                let kind = object.kind.as_str().to_owned();
                *figures.problems.entry(kind).or_default() += 1;
            }
            figures.is_config_loaded = is_loaded;
            figures.is_config_stale = !of_config.is_empty();
        });
    }

    fn figures(&self) -> ControllerFigures {
        let figures = self.figures.lock();
        let mut figures = figures.unwrap_or_else(PoisonError::into_inner).clone();
        figures.webhooks = self.webhooks.counts.figures();
        match &*self.term.standing.borrow() {
            Standing::Leads => figures.leads = true,
            Standing::Follows { holder } => figures.waits = !holder.is_empty(),
            Standing::Unknown => {}
        }
        let (now, counts) = (now(), self.api.counts());
        figures.api.requests = counts.requests.load(Ordering::Relaxed);
        figures.api.failures = counts.failures.load(Ordering::Relaxed);
        let followed = self.followed.lock();
        let followed = followed.unwrap_or_else(PoisonError::into_inner);
        let heard = followed.iter().filter_map(|(kind, followed)| {
            let last = Some(followed.heard.last()).filter(|last| *last > Time::default())?;
            Some((kind.as_str(), now.since(last).ns() as f64 / 1e9))
        });
        figures.api.ages_s = heard.collect();
        figures
    }

    /// Serving is the webhooks: a replica that does not lead serves as well.
    fn ready(&self) -> Vec<Check> {
        vec![
            replica::turns(&self.turned, TURN_MAX_S),
            self.webhooks.check(),
        ]
    }

    fn live(&self) -> Vec<Check> {
        vec![replica::turns(&self.turned, TURN_MAX_S)]
    }
}

/// Serves metrics and health where they are wanted, until it fails.
///
/// # Errors
/// When a port cannot be had, or serving fails.
pub(super) async fn serve(settings: &Settings, gate: Gate, board: Board) -> Result<()> {
    let page = {
        let board = board.clone();
        http::controller_page(Arc::new(move || board.figures()))
    };
    let (secure, health) = (settings.secure.clone(), settings.health);
    let metrics = async {
        match settings.metrics {
            Some(address) => secure::metrics(address, secure, gate, page).await?.await,
            None => std::future::pending().await,
        }
    };
    let (live, ready) = (board.clone(), board);
    let health = async {
        match health {
            Some(address) => {
                let live = Arc::new(move || live.live());
                let ready = Arc::new(move || ready.ready());
                http::checks(address, live, ready).await?.await
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = metrics => ended,
        ended = health => ended,
    }
}

const TURN_MAX_S: u64 = 10;
