//! Keeps the webhooks' certificate in its Secret and its authority in every `caBundle`, and says when both are in place.
//!
//! What is to be done is decided by [`super::kept`] and [`super::bundle`]; this asks them whenever something changed or is due, and
//! does it. Every replica shows the Secret's certificate and mends bundles, only the leading one renews. A new certificate is shown
//! once the API server has been told of its authority.

use super::bundle::{Keeper, MANAGER, Step, Target, Trust};
use super::kept::{Due, Kept, OVERLAP, is_issued_by_others};
use super::look::{Followed, Look};
use super::place::{Place, RETRY, today};
use crate::api::{Call, Failure};
use crate::drive::clock::{now, pause};
use crate::report::events::Subject;
use crate::tls::Certificate;
use anyhow::{Context, Result};
use serde_json::Value;
use speaker_core::events::CA_BUNDLE_CONTESTED;
use speaker_proto::{Span, Time};
use std::future::poll_fn;
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Keeps everything in place once the server listens.
pub(super) struct Keeping {
    place: Place,
    kept: Kept,
    /// Authorities of before, which the Secret names no more, and when that came about: what is shown may still be by them.
    before: (Vec<Certificate>, Time),
    /// Since when callers believe the certificate that is kept.
    believed_since: Option<Time>,
    leads: watch::Receiver<bool>,
    ready: watch::Sender<bool>,
    secret: Followed,
    bundles: Vec<Bundle>,
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
        targets: &[Target],
        leads: watch::Receiver<bool>,
        ready: watch::Sender<bool>,
    ) -> Self {
        // The order is that of writing: a webhook that is refused stops a write, a conversion that fails stops every list as well.
        let mut following = JoinSet::new();
        let mut follow = |collection: &str, name: &str| {
            let (followed, task) = Followed::begin(place.api.clone(), collection, name);
            following.spawn(task);
            followed
        };
        let bundle = |target: &Target| Bundle {
            target: *target,
            followed: follow(&target.collection(), target.name()),
            keeper: Keeper::default(),
        };
        let bundles = targets.iter().map(bundle).collect();
        let secret = follow(&place.secrets(), &place.secret);
        Self {
            secret,
            following,
            place,
            kept,
            before: (Vec::new(), Time::default()),
            believed_since: None,
            leads,
            ready,
            bundles,
            told: String::new(),
        }
    }

    pub(super) async fn run(mut self) -> Result<()> {
        loop {
            let wait = self.turn().await;
            tokio::select! {
                () = self.secret.changed() => {}
                () = one_changed(&mut self.bundles) => {}
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
        wait = wait.min(self.show());
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
                    self.take_up(kept);
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
        self.take_up(next);
        Ok(())
    }

    fn take_up(&mut self, next: Kept) {
        if let Some(shown) = self.place.served.shown() {
            let vouches = |root: &&Certificate| {
                let name = &self.place.server_name;
                let is_gone = !next.roots.contains(root);
                is_gone && shown.convinces(from_ref(root), name, today()).is_ok()
            };
            let gone: Vec<_> = self.kept.roots.iter().filter(vouches).cloned().collect();
            if !gone.is_empty() {
                self.before = (gone, now());
            }
        }
        if self.kept.identity != next.identity {
            self.believed_since = None;
        }
        self.kept = next;
    }

    fn trust(&self) -> Trust {
        let mut must = self.kept.roots.clone();
        let (before, since) = &self.before;
        if Duration::from(now().since(*since)) < OVERLAP {
            must.extend(before.iter().cloned());
        }
        let may = before.clone();
        Trust { must, may }
    }

    /// Puts the bundle of one object right; says when to look again.
    async fn mend(&mut self, at: usize) -> Result<Duration, Failure> {
        let patience = if *self.leads.borrow() || !*self.ready.borrow() {
            Span::default()
        } else {
            PATIENCE
        };
        let trust = self.trust();
        let bundle = &mut self.bundles[at];
        let Look::There(object) = bundle.followed.now() else {
            return Ok(LOOK_MAX);
        };
        let target = bundle.target;
        let seen = target.read(&object);
        let present = now();
        match bundle.keeper.step(present, &seen, &trust, patience) {
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
            .tell(subject, &CA_BUNDLE_CONTESTED, message);
    }

    /// Is ready once every caller believes the certificate's authority, and shows the certificate when every API server has heard of
    /// that. Says when to look again.
    fn show(&mut self) -> Duration {
        let mut is_trusted = true;
        for bundle in &self.bundles {
            match bundle.followed.now() {
                Look::Unknown => is_trusted = false,
                // Without it nobody calls.
                Look::Missing => {}
                Look::There(object) => {
                    let seen = bundle.target.read(&object);
                    is_trusted &= self.kept.roots.iter().all(|root| seen.trusts(root));
                }
            }
        }
        if is_trusted && !*self.ready.borrow() {
            tracing::info!(event = "webhooksReady", "webhooks are served and trusted");
            self.ready.send_replace(true);
        }
        let present = now();
        if !is_trusted {
            self.believed_since = None;
        }
        let since = is_trusted.then(|| *self.believed_since.get_or_insert(present));
        let due = since.map(|since| since + HEARD);
        let shown = self.place.served.shown();
        // A certificate that is over convinces nobody, and the next one somebody at least.
        let is_over = shown.is_none_or(|shown| shown.leaf.not_after <= today());
        match due {
            Some(due) if due > present && !is_over => between(present, due),
            None if !is_over => LOOK_MAX,
            Some(_) | None => {
                self.place.served.show(self.kept.identity.clone());
                LOOK_MAX
            }
        }
    }
}

/// Waits until one of them changed.
async fn one_changed(bundles: &mut [Bundle]) {
    let mut changes: Vec<_> = bundles
        .iter_mut()
        .map(|bundle| Box::pin(bundle.followed.changed()))
        .collect();
    poll_fn(|context| {
        let is_one = changes
            .iter_mut()
            .any(|change| change.as_mut().poll(context).is_ready());
        match is_one {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
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

/// How often to look whether something is due by the calendar, which may be set.
const LOOK_MAX: Duration = Duration::from_secs(60);
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Until each API server has heard of an authority that was written to one of them.
const HEARD: Span = Span::s(5);
/// How long a replica that does not lead leaves a wrong bundle to the one that does.
const PATIENCE: Span = Span::ms(1500);
