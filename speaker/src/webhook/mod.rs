//! The webhooks of MetalLB's resources: validation and conversion, over TLS, by a certificate that keeps itself. The controller serves those of
//! the configuration, the operator its own; which of them follow objects, and where their authority is written, is in [`Settings`].
//!
//! The order of a start is Secret, listening, `caBundle` of the webhooks, `caBundle` of the conversion, ready, and only then the objects
//! that verdicts depend on: a list of objects in an older version needs the conversion, so that nothing here may wait for one.
//! There is no webhook on Services. What a review means is [`speaker_core::admission`]'s.
//!
//! Governed by the "Dynamic Admission Control" page of the Kubernetes documentation and by what cert-controller, which MetalLB
//! uses, keeps where.

mod bundle;
mod given;
mod keep;
mod kept;
mod look;
mod pages;
mod place;
mod settings;

pub(crate) use bundle::Target;
pub(crate) use settings::{
    Keeping as CertificateKeeping, KeepingArgs, Settings, WebhookArgs, WebhookMode,
};

use crate::api::Api;
use crate::drive::clock::pause;
use crate::report::events::EventSender;
use crate::report::{Check, WebhookFigures};
use crate::tls::{self, Limits, Served};
use anyhow::{Context, Result};
use keep::Keeping;
use pages::Pages;
use place::Place;
use speaker_core::admission::Given;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the webhooks need of the rest of the controller.
pub(crate) struct Hooks {
    /// The API server.
    pub(crate) api: Api,
    /// Where configuration counts and the Secret lies.
    pub(crate) namespace: String,
    /// The flags.
    pub(crate) settings: Settings,
    /// Whether this replica leads.
    pub(crate) leads: watch::Receiver<bool>,
    /// Set once webhooks are served and trusted; never taken back.
    pub(crate) ready: watch::Sender<bool>,
    /// Takes events about the objects that hold a `caBundle`.
    pub(crate) events: EventSender,
    /// Where figures are kept.
    pub(crate) counts: Arc<Counts>,
}

/// What the webhooks did so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Reviews taken.
    pub(crate) requests: AtomicU64,
    /// Of those, the ones that got no verdict.
    pub(crate) failures: AtomicU64,
    /// Writes of a `caBundle`.
    pub(crate) bundle_writes: AtomicU64,
    /// Times that we gave way to somebody else who writes a `caBundle`.
    pub(crate) fights: AtomicU64,
    served: Arc<Served>,
}

impl Counts {
    /// The same as figures.
    pub(crate) fn figures(&self) -> WebhookFigures {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let shown = self.served.shown();
        WebhookFigures {
            requests: read(&self.requests),
            failures: read(&self.failures),
            bundle_writes: read(&self.bundle_writes),
            contests: read(&self.fights),
            certificate_until_s: shown.map(|shown| shown.leaf.not_after.as_second()),
        }
    }
}

/// What others see of the webhooks.
#[derive(Clone)]
pub(crate) struct Webhooks {
    /// Whether they are served and trusted, or not wanted.
    pub(crate) ready: watch::Receiver<bool>,
    /// What they did so far.
    pub(crate) counts: Arc<Counts>,
    is_served: bool,
}

impl Webhooks {
    /// Goes on answering at the end, until the API server has heard to ask another replica.
    pub(crate) async fn linger(&self) {
        if self.is_served {
            pause(LINGER).await;
        }
    }

    /// Whether they are answered as they should be, for health.
    pub(crate) fn check(&self) -> Check {
        let ok = *self.ready.borrow();
        let why = match ok {
            true => "served and trusted, or not wanted",
            false => "no certificate that the API server trusts is served yet",
        };
        Check {
            name: "webhooks",
            ok,
            why: why.to_owned(),
        }
    }

    /// Starts serving them as one of the parts.
    pub(crate) fn spawn(
        settings: Settings,
        namespace: &str,
        api: Api,
        leads: watch::Receiver<bool>,
        events: EventSender,
        parts: &mut JoinSet<Result<()>>,
    ) -> Self {
        let (ready, seen) = watch::channel(false);
        let counts = Arc::<Counts>::default();
        let is_served = settings.mode != WebhookMode::Disabled;
        parts.spawn(run(Hooks {
            api,
            namespace: namespace.to_owned(),
            settings,
            leads,
            ready,
            events,
            counts: Arc::clone(&counts),
        }));
        Self {
            ready: seen,
            counts,
            is_served,
        }
    }
}

/// Serves the webhooks until it is dropped.
///
/// # Errors
/// When the port cannot be had.
pub(crate) async fn run(hooks: Hooks) -> Result<()> {
    match hooks.settings.mode {
        WebhookMode::Disabled => {
            hooks.ready.send_replace(true);
            std::future::pending().await
        }
        WebhookMode::Enabled | WebhookMode::OnlyWebhook => serve(hooks).await,
    }
}

async fn serve(hooks: Hooks) -> Result<()> {
    let (given_in, given) = watch::channel(Arc::new(Given::Unknown));
    let following = {
        let (api, namespace) = (hooks.api.clone(), hooks.namespace.clone());
        let is_alone = !hooks.settings.judges_configuration;
        let mut ready = hooks.ready.subscribe();
        async move {
            if is_alone {
                return std::future::pending().await;
            }
            if ready.wait_for(|ready| *ready).await.is_err() {
                return Ok(());
            }
            given::follow(api, namespace, given_in).await
        }
    };
    tokio::select! {
        ended = keep_and_answer(hooks, given) => ended,
        ended = following => ended,
    }
}

async fn keep_and_answer(hooks: Hooks, given: watch::Receiver<Arc<Given>>) -> Result<()> {
    let pages = Pages::new(given, &hooks.namespace, Arc::clone(&hooks.counts));
    let served = Arc::clone(&hooks.counts.served);
    match hooks.settings.keeping.clone() {
        CertificateKeeping::Secret(secret) => by_secret(hooks, secret, pages, &served).await,
        CertificateKeeping::Folder(folder) => by_folder(hooks, folder, pages, &served).await,
    }
}

async fn by_secret(hooks: Hooks, secret: String, pages: Pages, served: &Arc<Served>) -> Result<()> {
    let place = Place {
        api: hooks.api.clone(),
        namespace: hooks.namespace.clone(),
        secret,
        server_name: hooks.settings.server_name.clone(),
        served: Arc::clone(served),
        events: hooks.events.clone(),
        counts: Arc::clone(&hooks.counts),
    };
    let kept = place.take().await;
    let listener = listen(hooks.settings.port).await?;
    let targets = hooks.settings.targets;
    let keeping = Keeping::new(
        place,
        kept,
        targets,
        hooks.leads.clone(),
        hooks.ready.clone(),
    );
    tokio::select! {
        ended = answer(&hooks.settings, listener, pages, served) => ended,
        ended = keeping.run() => ended,
    }
}

async fn by_folder(
    hooks: Hooks,
    folder: tls::CertDir,
    pages: Pages,
    served: &Arc<Served>,
) -> Result<()> {
    let following = tls::follow(folder, Arc::clone(served), pause);
    let serving = async {
        while served.shown().is_none() {
            pause(LOOK).await;
        }
        let listener = listen(hooks.settings.port).await?;
        hooks.ready.send_replace(true);
        answer(&hooks.settings, listener, pages, served).await
    };
    tokio::select! {
        ended = serving => ended,
        () = following => Ok(()),
    }
}

async fn answer(
    settings: &Settings,
    listener: TcpListener,
    pages: Pages,
    served: &Arc<Served>,
) -> Result<()> {
    let config = settings.tls.server(Arc::clone(served));
    tls::serve(listener, config, pages.router(), LIMITS).await
}

/// Listens on every address, of both families where the node has both.
async fn listen(port: u16) -> Result<TcpListener> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let listener = match TcpListener::bind(both).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
    };
    listener.with_context(|| format!("failed to listen on port {port} (--webhook-port)"))
}

/// One API server keeps a connection or two; the rest is for as many servers as there may be, and for strangers.
const LIMITS: Limits = Limits {
    connections: 128,
    handshake_time: tls::HANDSHAKE_TIME,
};
/// Endpoints of a Service follow a pod that ends within about a second; the Lease is given back before.
const LINGER: Duration = Duration::from_secs(2);
/// How often to look whether somebody brought a first certificate.
const LOOK: Duration = Duration::from_millis(200);

#[cfg(test)]
mod run_tests;
