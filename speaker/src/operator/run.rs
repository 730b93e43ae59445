//! Where the operator's parts meet.
//!
//! Every replica answers the webhook; one leads, and alone follows objects and writes, from fresh lists on.

use super::board::{self, Board};
use super::desk::{Desk, News};
use super::follow::{self, Item};
use super::hands::Hands;
use super::settings::Settings;
use crate::api::{Api, Call};
use crate::drive::clock::{now, pause};
use crate::leader::{Seat, Term};
use crate::replica::{self, Replica};
use anyhow::{Context, Result, bail};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Runs the operator until SIGTERM or SIGINT; then the Lease is given back. What is installed stays.
///
/// # Errors
/// When it cannot begin, when a part ends that must not, or when the Lease is lost.
pub(crate) fn run(settings: Settings) -> Result<()> {
    replica::block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<()> {
    let (access, namespace) = (&settings.access, &settings.namespace);
    let pod = settings.pod.as_deref();
    let mut replica = Replica::begin(access, SEAT, COMPONENT, namespace, pod).await?;
    let leads = replica.term.leads();
    let webhooks = replica.webhooks(settings.webhook.clone(), leads);
    let board = Board::new(webhooks.clone());
    let health = board::serve(settings.health, board.clone());
    replica.parts.spawn(health);
    let (api, term) = (replica.api.clone(), replica.term.clone());
    let work = |stopped| lead(settings, api, term, board, stopped);
    replica.lead(webhooks, work).await
}

/// Waits to lead, then leads until it is stopped.
async fn lead(
    settings: Settings,
    api: Api,
    term: Term,
    board: Board,
    mut stopped: watch::Receiver<bool>,
) -> Result<()> {
    tokio::select! {
        begun = term.begun() => begun?,
        _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
    }
    let mut usual = settings.usual;
    usual.has_admission_policies = tokio::select! {
        has = has_admission_policies(&api) => has,
        _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
    };
    let mut desk = Desk::new(&settings.namespace, usual);
    let mut parts = JoinSet::new();
    let judgements = desk.judgements();
    let followed = [desk.collections(), std::slice::from_ref(&judgements)].concat();
    let (mut items, mut obstacles) = follow::begin(&api, &followed, &mut parts);
    // Nothing waits for what is only told on.
    obstacles.retain(|(path, _)| *path != judgements.path);
    let hands = Hands::new(api, term.clone(), &settings.namespace);
    loop {
        board.turned.touch();
        desk.hear_of(obstacles.iter().find_map(|(path, trouble)| {
            let why = trouble.borrow().clone()?;
            Some(format!("{path} cannot be followed: {why}"))
        }));
        while !*stopped.borrow() && term.may_write() {
            let Some(request) = desk.next(now()) else {
                break;
            };
            let answer = hands.carry_out(&request).await;
            board.turned.touch();
            if let Some(news) = desk.answer(now(), &request, answer) {
                tell(&news);
            }
            take_all(&mut desk, &mut items);
        }
        let present = now();
        let due = desk.deadline(present);
        let due = due.map(|at| Duration::from(at.since(present)));
        let wait = due.map_or(LOOK_MAX, |due| due.clamp(PAUSE_MIN, LOOK_MAX));
        tokio::select! {
            item = items.recv() => match item {
                Some(item) => desk.take(&item.collection, item.told),
                None => bail!("objects are followed no more"),
            },
            Some(ended) = parts.join_next() => ended.context("objects are followed no more").flatten()?,
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
            () = pause(wait) => {}
        }
        take_all(&mut desk, &mut items);
    }
}

/// Whether the API server has ValidatingAdmissionPolicies, which came with Kubernetes 1.30; asked until it answers.
async fn has_admission_policies(api: &Api) -> bool {
    loop {
        match api.call(Call::get(REGISTRATION)).await {
            Ok(list) => {
                let mut resources = list["resources"].as_array().into_iter().flatten();
                let has = resources.any(|one| one["name"] == "validatingadmissionpolicies");
                if !has {
                    tracing::warn!(
                        event = "noAdmissionPolicies",
                        "this API server has no ValidatingAdmissionPolicies: a speaker may write ConfigMaps of other nodes"
                    );
                }
                return has;
            }
            Err(failure) => {
                tracing::warn!(op = "startup", error = %failure, "the API server does not say what it has");
                pause(ASK_EVERY).await;
            }
        }
    }
}

fn take_all(desk: &mut Desk, items: &mut mpsc::Receiver<Item>) {
    while let Ok(item) = items.try_recv() {
        desk.take(&item.collection, item.told);
    }
}

fn tell(news: &News) {
    match news {
        News::Applied(what) => {
            tracing::info!(event = "objectApplied", object = what, "object applied");
        }
        News::Repaired(what) => tracing::warn!(
            event = "objectRepaired",
            object = what,
            "somebody changed the object; it is as it should be again"
        ),
        News::Removed(what) => {
            tracing::info!(event = "objectRemoved", object = what, "object taken away");
        }
        News::Failed(what) => tracing::error!(
            event = "notDeployed",
            error = what,
            "this cannot be done; trying again"
        ),
        News::Said(name, conditions) => tracing::info!(
            event = "conditionsWritten",
            name,
            conditions,
            "the resource's conditions changed"
        ),
    }
}

/// By which Lease it leads; that of MetalLB's operator, so that the two never write at the same time.
const SEAT: Seat = Seat {
    lease: "metallb.io.metallboperator",
    what: "operator",
};
/// What selectors on an event's source go by.
const COMPONENT: &str = "metallb-operator";
/// The health of a loop that waits is that it turns.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// What resources of the group there are.
const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";
const ASK_EVERY: Duration = Duration::from_secs(1);
const PAUSE_MIN: Duration = Duration::from_millis(50);
