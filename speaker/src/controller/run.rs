//! Where the controller's parts meet.
//!
//! A process that does not lead answers webhooks and follows nothing else: objects are listed once it leads, so that its
//! first decision comes from a list that is younger than its term.

use super::board::{self, Board};
use super::clerk::{Clerk, Outlets};
use super::desk::KINDS;
use super::gossip;
use super::settings::Settings;
use super::takeover::Lookout;
use crate::api::Api;
use crate::drive::clock::pause;
use crate::drive::reflect;
use crate::leader::{Seat, Term};
use crate::replica::{self, Replica};
use crate::report::config_state::{Component, ConfigState};
use crate::report::events::EventSender;
use crate::report::own_pod::OwnPod;
use crate::report::secure::Gate;
use crate::source::kube::Scope;
use crate::webhook::WebhookMode;
use anyhow::{Context, Result};
use speaker_proto::lease::REQUEST_MAX;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Runs the controller until SIGTERM or SIGINT; then the Lease is given back.
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
    let is_alone = settings.webhook.mode == WebhookMode::OnlyWebhook;
    let leads = match is_alone {
        // Nothing is written but what each replica may write.
        true => watch::channel(true).1,
        false => replica.term.leads(),
    };
    let webhooks = replica.webhooks(settings.webhook.clone(), leads);
    let (api, term, events) = (
        replica.api.clone(),
        replica.term.clone(),
        replica.events.clone(),
    );
    let board = Board::new(api.clone(), term.clone(), webhooks.clone());
    replica.parts.spawn({
        let (settings, gate, board) = (settings.clone(), Gate::new(api.clone()), board.clone());
        async move { board::serve(&settings, gate, board).await }
    });
    if is_alone {
        return replica.answer(webhooks).await;
    }
    let work = |stopped| lead(settings, api, term, board, events, stopped);
    replica.lead(webhooks, work).await
}

/// Waits to lead, then leads until it is stopped.
async fn lead(
    settings: Settings,
    api: Api,
    term: Term,
    board: Board,
    events: EventSender,
    mut stopped: watch::Receiver<bool>,
) -> Result<()> {
    tokio::select! {
        begun = term.begun() => begun?,
        _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
    }
    let mut parts = JoinSet::new();
    let scope = Scope {
        kinds: KINDS.to_vec(),
        namespace: settings.namespace.clone(),
        all_services: true,
    };
    let (items, followed) = reflect::spawn(&api, &scope, Duration::ZERO, &mut parts);
    board.follow(followed.clone());
    let (lookout, rival) = Lookout::new(api.clone(), &settings.namespace, settings.pod.as_deref());
    let own = Arc::new(OwnPod::new(&settings.namespace, settings.pod.clone()));
    let (problems, judged) = watch::channel(None);
    let state = ConfigState::spawn(
        api.clone(),
        Component::Controller,
        Arc::clone(&own),
        term.leave(),
        Box::new(move || reflect::obstacle(&followed)),
        judged,
    );
    if let Some(secret) = settings.gossip_secret.clone() {
        let (api, term) = (api.clone(), term.clone());
        let (namespace, deployment) = (settings.namespace.clone(), settings.deployment.clone());
        parts.spawn(async move { keep_secret(api, term, namespace, secret, deployment).await });
    }
    parts.spawn(async move {
        lookout.run().await;
        Ok(())
    });
    // Those of the webhooks need none.
    let events = events.with(term.leave());
    let mut clerk = Clerk::new(
        &settings,
        api,
        term,
        board,
        Outlets {
            events,
            own,
            problems,
        },
    );
    tokio::select! {
        ended = clerk.run(items, rival) => ended?,
        Some(ended) = parts.join_next() => ended.context("a part of the controller failed").flatten()?,
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    clerk.finish().await;
    // Nobody tells it anything any more: it ends with the request that is under way.
    let _ended_or_waits = timeout(REQUEST_MAX.into(), state).await;
    Ok(())
}

/// Makes the Secret for the speakers' gossip, as soon as the API server lets us; then waits for ever.
async fn keep_secret(
    api: Api,
    term: Term,
    namespace: String,
    secret: String,
    deployment: Option<String>,
) -> Result<()> {
    loop {
        if term.may_write() {
            match gossip::ensure(&api, &namespace, &secret, deployment.as_deref()).await {
                Ok(is_made) => {
                    tracing::info!(
                        op = "startup",
                        secret,
                        is_made,
                        "the speakers' secret is there"
                    );
                    return std::future::pending().await;
                }
                Err(failure) => {
                    tracing::warn!(op = "startup", secret, error = %failure, "the speakers' secret cannot be made");
                }
            }
        }
        pause(SECRET_RETRY).await;
    }
}

/// By which Lease it leads.
const SEAT: Seat = Seat {
    lease: "heliograph-controller",
    what: "controller",
};
/// What selectors on an event's source go by; MetalLB's.
const COMPONENT: &str = "metallb-controller";
const SECRET_RETRY: Duration = Duration::from_secs(10);
