//! Keeps the webhooks' certificate in its Secret and its authority in every `caBundle`, and says when both are in place.
//!
//! What is to be done is decided by [`super::kept`] and [`super::bundle`]; this asks them whenever something changed or is due, and
//! does it. Every replica shows the Secret's certificate and mends bundles, only the leading one renews. A new certificate is shown
//! once the API server has been told of its authority.

use super::Counts;
use super::bundle::{Keeper, MANAGER, Step, Target};
use super::kept::{Due, Kept, is_issued_by_others};
use super::look::{Followed, Look};
use crate::api::{Api, Call, Failure};
use crate::drive::clock::{now, pause, wall};
use crate::report::events::{EventSender, Severity, Subject};
use crate::tls::Served;
use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use speaker_proto::{Span, Time};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What keeping needs of the world.
pub(super) struct Place {
    pub(super) api: Api,
    pub(super) namespace: String,
    /// The Secret's name.
    pub(super) secret: String,
    /// The name that the certificate is for.
    pub(super) server_name: String,
    pub(super) served: Arc<Served>,
    pub(super) events: EventSender,
    pub(super) counts: Arc<Counts>,
}

impl Place {
    fn secrets(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets", self.namespace)
    }

    fn secret_path(&self) -> String {
        format!("{}/{}", self.secrets(), self.secret)
    }

    /// Reads the Secret, or fills it when nothing in it can be used, and shows its certificate. Returns once that is done: until then
    /// there is nothing to serve with.
    pub(super) async fn take(&self) -> Kept {
        let mut told = String::new();
        loop {
            let why = match self.read_or_fill().await {
                Ok(kept) => {
                    self.served.show(kept.identity.clone());
                    return kept;
                }
                Err(error) => format!("{error:#}"),
            };
            if told != why {
                tracing::warn!(
                    event = "certificateMissing",
                    secret = self.secret,
                    error = why,
                    "no certificate to serve webhooks with yet"
                );
                told = why;
            }
            pause(RETRY).await;
        }
    }

    async fn read_or_fill(&self) -> Result<Kept> {
        let path = self.secret_path();
        let found = match self.api.call(Call::get(path)).await {
            Ok(secret) => secret,
            Err(failure) if failure.is_not_found() => Value::Null,
            Err(failure) => return Err(failure.into()),
        };
        let why = match self.usable(&found) {
            Ok(kept) => return Ok(kept),
            Err(why) => why,
        };
        if is_issued_by_others(&found) {
            return Err(why.context("cert-manager is to fill it"));
        }
        tracing::info!(
            event = "certificateIssued",
            secret = self.secret,
            reason = format!("{why:#}"),
            "issuing a certificate for the webhooks"
        );
        let kept = Kept::new(&self.server_name, today())?;
        match self.write(&found, &kept).await {
            Ok(_) => Ok(kept),
            // Another replica was faster; what it wrote is read next time.
            Err(failure) => Err(failure.into()),
        }
    }

    fn usable(&self, secret: &Value) -> Result<Kept> {
        let kept = Kept::read(secret)?;
        kept.serves(&self.server_name, today())?;
        Ok(kept)
    }

    /// Writes the Secret unless somebody changed it since `found` was read.
    async fn write(&self, found: &Value, kept: &Kept) -> Result<Value, Failure> {
        let call = match found["metadata"]["resourceVersion"].as_str() {
            None => Call::post(
                format!("{}?fieldManager={MANAGER}", self.secrets()),
                json!({
                    "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                    "metadata": {"name": self.secret, "namespace": self.namespace},
                    "data": kept.data(),
                }),
            ),
            Some(version) => Call::merge(
                format!("{}?fieldManager={MANAGER}", self.secret_path()),
                json!({"metadata": {"resourceVersion": version}, "data": kept.data()}),
            ),
        };
        self.api.call(call).await
    }
}

/// Keeps everything in place once the server listens.
pub(super) struct Keeping {
    place: Place,
    kept: Kept,
    leads: watch::Receiver<bool>,
    ready: watch::Sender<bool>,
    secret: Followed,
    bundles: [Bundle; 2],
    /// The tasks that follow these objects; they end with this.
    following: JoinSet<Result<()>>,
    /// Failures that were told, so that each is told once.
    told: String,
}

/// One object that holds bundles.
struct Bundle {
    target: Target,
    followed: Followed,
    keeper: Keeper,
}

impl Keeping {
    pub(super) fn new(
        place: Place,
        kept: Kept,
        leads: watch::Receiver<bool>,
        ready: watch::Sender<bool>,
    ) -> Self {
        // The order of writing: a webhook that is refused stops a write, a conversion that fails stops every list as well.
        let mut following = JoinSet::new();
        let mut follow = |collection: &str, name: &str| {
            let (followed, task) = Followed::begin(place.api.clone(), collection, name);
            following.spawn(task);
            followed
        };
        let bundles = [Target::Webhooks, Target::Conversion].map(|target| Bundle {
            target,
            followed: follow(&target.collection(), target.name()),
            keeper: Keeper::default(),
        });
        let secret = follow(&place.secrets(), &place.secret);
        Self {
            secret,
            following,
            place,
            kept,
            leads,
            ready,
            bundles,
            told: String::new(),
        }
    }

    pub(super) async fn run(mut self) -> Result<()> {
        loop {
            let wait = self.turn().await;
            let [webhooks, conversion] = &mut self.bundles;
            tokio::select! {
                () = self.secret.changed() => {}
                () = webhooks.followed.changed() => {}
                () = conversion.followed.changed() => {}
                () = changed(&mut self.leads) => {}
                Some(ended) = self.following.join_next() => {
                    ended.context("an object is not followed any more")??;
                }
                () = pause(wait) => {}
            }
        }
    }

    /// Does what is to be done now; says when to look again at the latest.
    async fn turn(&mut self) -> Duration {
        let mut wait = LOOK_MAX;
        let mut failed = String::new();
        if let Err(error) = self.keep_secret().await {
            failed = format!("Secret {}: {error:#}", self.place.secret);
        }
        for at in 0..self.bundles.len() {
            // The order holds also at the start and when a write fails.
            if self.bundles[at].followed.now() == Look::Unknown {
                break;
            }
            match self.mend(at).await {
                Ok(again) => wait = wait.min(again),
                Err(failure) => {
                    let target = self.bundles[at].target;
                    failed = format!("{} {}: {failure}", target.kind(), target.name());
                    break;
                }
            }
        }
        self.show();
        if !failed.is_empty() {
            wait = wait.min(RETRY);
            if failed != self.told {
                tracing::warn!(
                    event = "webhookUnkept",
                    error = failed,
                    "webhooks cannot be kept in order"
                );
            }
        }
        self.told = failed;
        wait
    }

    /// Takes up what the Secret holds; the leading replica renews or restores it.
    async fn keep_secret(&mut self) -> Result<()> {
        let leads = *self.leads.borrow();
        let found = match self.secret.now() {
            Look::Unknown => return Ok(()),
            Look::Missing => Arc::new(Value::Null),
            Look::There(secret) => secret,
        };
        let next = match self.place.usable(&found) {
            Ok(kept) => {
                if kept != self.kept {
                    tracing::info!(event = "certificateLoaded", secret = self.place.secret,
                        until = %kept.identity.leaf.not_after, "certificate taken up");
                    self.kept = kept;
                }
                let due = self.kept.due(today());
                if !leads || is_issued_by_others(&found) || matches!(due, Due::Nothing { .. }) {
                    return Ok(());
                }
                self.kept.renewed(due, &self.place.server_name, today())?
            }
            Err(why) if !leads || is_issued_by_others(&found) => return Err(why),
            // What is served still counts, so that it goes back; who trusts it need learn nothing.
            Err(_) if self.kept.serves(&self.place.server_name, today()).is_ok() => {
                self.kept.clone()
            }
            Err(_) => Kept::new(&self.place.server_name, today())?,
        };
        let written = self.place.write(&found, &next).await?;
        tracing::info!(event = "certificateRenewed", secret = self.place.secret,
            until = %next.identity.leaf.not_after, authorities = next.roots.len(), "certificate renewed");
        self.secret.wrote(written);
        self.kept = next;
        Ok(())
    }

    /// Puts the bundle of one object right; says when to look again.
    async fn mend(&mut self, at: usize) -> Result<Duration, Failure> {
        let patience = if *self.leads.borrow() || !*self.ready.borrow() {
            Span::default()
        } else {
            PATIENCE
        };
        let bundle = &mut self.bundles[at];
        let Look::There(object) = bundle.followed.now() else {
            return Ok(LOOK_MAX);
        };
        let target = bundle.target;
        let seen = target.read(&object);
        let present = now();
        match bundle
            .keeper
            .step(present, &seen, &self.kept.roots, patience)
        {
            Step::Settled => Ok(LOOK_MAX),
            Step::Wait { until } => Ok(between(present, until)),
            Step::Write(patch) => {
                let path = format!("{}?fieldManager={MANAGER}", target.path());
                let written = self.place.api.call(Call::json_patch(path, patch)).await?;
                bundle.followed.wrote(written);
                bundle.keeper.wrote(present);
                self.place
                    .counts
                    .bundle_writes
                    .fetch_add(1, Ordering::Relaxed);
                tracing::info!(
                    event = "caBundleWritten",
                    kind = target.kind(),
                    name = target.name(),
                    "caBundle written"
                );
                Ok(LOOK_MAX)
            }
            Step::Yield { until, tell } => {
                if let Some(other) = tell {
                    self.tell_of_fight(target, &seen.uid, &other);
                }
                Ok(between(present, until))
            }
        }
    }

    fn tell_of_fight(&self, target: Target, uid: &str, other: &str) {
        self.place.counts.fights.fetch_add(1, Ordering::Relaxed);
        let (kind, name) = (target.kind(), target.name());
        let message = format!(
            "caBundle of {kind} {name} keeps being overwritten by field manager {other:?}; it is written again in an hour at the \
             latest. Let that tool ignore the field, or give the certificates to cert-manager (docs/webhooks.md)"
        );
        tracing::warn!(
            event = "caBundleContested",
            kind,
            name,
            manager = other,
            "{message}"
        );
        let subject = Subject {
            kind,
            api_version: target.api_version(),
            namespace: String::new(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        };
        self.place
            .events
            .tell(subject, Severity::Warning, "caBundleContested", message);
    }

    /// Shows the certificate once every caller believes its authority, and is ready once every bundle is in place.
    fn show(&mut self) {
        let (mut is_trusted, mut is_settled) = (true, true);
        for bundle in &mut self.bundles {
            match bundle.followed.now() {
                Look::Unknown => (is_trusted, is_settled) = (false, false),
                // Without it nobody calls.
                Look::Missing => {}
                Look::There(object) => {
                    let seen = bundle.target.read(&object);
                    is_settled &= seen.is_settled(&self.kept.roots);
                    is_trusted &= self.kept.roots.first().is_none_or(|root| seen.trusts(root));
                }
            }
        }
        // A certificate that is over convinces nobody, and the next one somebody at least.
        let is_over = |until: Timestamp| until <= today();
        let shown = self.place.served.shown();
        if is_trusted || shown.is_none_or(|shown| is_over(shown.leaf.not_after)) {
            self.place.served.show(self.kept.identity.clone());
        }
        if is_settled && !*self.ready.borrow() {
            tracing::info!(event = "webhooksReady", "webhooks are served and trusted");
            self.ready.send_replace(true);
        }
    }
}

/// Waits for a change; for ever when nobody can make one any more.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn between(now: Time, until: Time) -> Duration {
    Duration::from(until.since(now)).clamp(PAUSE_MIN, LOOK_MAX)
}

fn today() -> Timestamp {
    wall().try_into().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// How often to look whether something is due by the calendar, which may be set.
const LOOK_MAX: Duration = Duration::from_secs(60);
const PAUSE_MIN: Duration = Duration::from_millis(10);
const RETRY: Duration = Duration::from_secs(1); // until it works, writes of configuration are refused
/// How long a replica that does not lead leaves a wrong bundle to the one that does.
const PATIENCE: Span = Span::ms(1500);
