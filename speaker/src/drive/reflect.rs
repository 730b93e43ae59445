//! The tasks that follow objects of an API server: one for each kind, each with a connection of its own.
//!
//! A task asks what its [`Reflector`] wants asked, waits as long as that says, give or take by chance, and never ends
//! but for credentials that are refused for good. What it tells waits for whoever is slower.

use super::chance;
use super::clock::{Stamp, now, pause};
use crate::api::{Api, Call, Failure};
use crate::source::kube::{Item, Reflector, Scope, Step, Told, Watched};
use anyhow::{Result, bail};
use speaker_core::Kind;
use speaker_proto::{Span, Time};
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How well one collection is followed.
#[derive(Clone)]
pub(crate) struct Followed {
    /// When the API server last said anything about it.
    pub(crate) heard: Stamp,
    /// What stands in the way.
    pub(crate) trouble: watch::Receiver<Option<String>>,
}

/// What stands in the way of following, for the first kind that something does.
pub(crate) fn obstacle(followed: &BTreeMap<Kind, Followed>) -> Option<String> {
    let mut troubles = followed.iter().filter_map(|(kind, followed)| {
        let why = followed.trouble.borrow().clone()?;
        Some(format!(
            "{} objects cannot be followed: {why}",
            kind.as_str()
        ))
    });
    troubles.next()
}

/// Follows every kind of `scope`; of the others nothing is wanted, so that they are complete as they are. The first lists are spread over `spread`, so that a thousand nodes which start at once
/// do not ask at once.
pub(crate) fn spawn(
    api: &Api,
    scope: &Scope,
    spread: Duration,
    tasks: &mut JoinSet<Result<()>>,
) -> (mpsc::Receiver<Item>, BTreeMap<Kind, Followed>) {
    let (items, received) = mpsc::channel(ITEMS_MAX);
    let mut followed = BTreeMap::new();
    let unwanted = Kind::ALL
        .into_iter()
        .filter(|kind| !scope.kinds.contains(kind));
    for kind in unwanted {
        let told = Told::Synced;
        items
            .try_send(Item { kind, told })
            .expect("the channel is empty yet, and longer than there are kinds");
    }
    for kind in scope.kinds.iter().copied() {
        let Some(watched) = scope.watched(kind) else {
            continue;
        };
        let item = move |told| Item { kind, told };
        let (task, sight) = follow(api.clone(), watched, spread, items.clone(), item);
        tasks.spawn(task);
        followed.insert(kind, sight);
    }
    (received, followed)
}

/// Follows one collection, or one object of it if the field selector names one. Each thing told goes to `tell` in the
/// form that `shape` gives it.
pub(crate) fn follow<M, S>(
    api: Api,
    watched: Watched,
    spread: Duration,
    tell: mpsc::Sender<M>,
    shape: S,
) -> (impl Future<Output = Result<()>> + Send + 'static, Followed)
where
    M: Send + 'static,
    S: Fn(Told) -> M + Send + Sync + 'static,
{
    let heard = Stamp::default();
    let (trouble, seen) = watch::channel(None);
    let followed = Followed {
        heard: heard.clone(),
        trouble: seen,
    };
    let path = watched.path.clone();
    let first = u64::try_from(chance::within(spread).as_nanos()).unwrap_or(0);
    let reflector = Reflector::new(watched, Span::from_ns(first));
    let follower = Follower {
        api,
        path,
        reflector,
        heard,
        trouble,
        refused_since: None,
        tell,
        shape,
    };
    (follower.run(), followed)
}

struct Follower<M, S> {
    api: Api,
    path: String,
    reflector: Reflector,
    heard: Stamp,
    trouble: watch::Sender<Option<String>>,
    /// Since when the credentials are refused.
    refused_since: Option<Time>,
    tell: mpsc::Sender<M>,
    shape: S,
}

impl<M, S: Fn(Told) -> M> Follower<M, S> {
    async fn run(mut self) -> Result<()> {
        loop {
            match self.reflector.step() {
                Step::Wait(span) => {
                    let half = Duration::from(span) / 2;
                    pause(half + chance::within(half)).await;
                }
                Step::List(path) => {
                    let answer = self.api.call(Call::get(path).within(LIST_MAX)).await;
                    self.note(answer.as_ref().err())?;
                    for told in self.reflector.listed(answer) {
                        self.say(told).await;
                    }
                }
                Step::Check(path) => {
                    let answer = self.api.call(Call::get(path)).await;
                    self.note(answer.as_ref().err())?;
                    self.reflector.checked(&answer);
                }
                Step::Watch(path, idle_max) => {
                    let failure = self.watch(path, idle_max.into()).await.err();
                    self.note(failure.as_ref())?;
                    self.reflector.ended(failure.as_ref());
                }
            }
            self.show();
        }
    }

    async fn watch(&mut self, path: String, idle_max: Duration) -> Result<(), Failure> {
        let mut lines = self.api.stream(Call::get(path)).await?;
        self.note_heard();
        loop {
            let line = timeout(idle_max, lines.next()).await;
            let Some(line) = line.unwrap_or(Err(Failure::Slow(idle_max)))? else {
                return Ok(());
            };
            let told = self.reflector.line(&line)?;
            self.note_heard();
            if self.trouble.borrow().is_some() {
                self.show();
            }
            if let Some(told) = told {
                self.say(told).await;
            }
        }
    }

    async fn say(&self, told: Told) {
        // Nobody listens any more only when the process ends.
        drop(self.tell.send((self.shape)(told)).await);
    }

    fn note_heard(&mut self) {
        self.heard.touch();
        self.refused_since = None;
    }

    /// Credentials were read anew at the first refusal. What is refused after that only another process may have.
    fn note(&mut self, failure: Option<&Failure>) -> Result<()> {
        match failure.and_then(Failure::code) {
            Some(401) => {
                let since = *self.refused_since.get_or_insert_with(now);
                if now().since(since) > REFUSED_MAX {
                    bail!(
                        "the API server has refused our credentials for minutes; starting again may find new ones"
                    );
                }
            }
            Some(_) => self.refused_since = None,
            None if failure.is_none() => self.note_heard(),
            None => {}
        }
        Ok(())
    }

    /// Tells what stands in the way when that changes.
    fn show(&self) {
        let trouble = self.reflector.trouble();
        let changed = self.trouble.send_if_modified(|shown| {
            let differs = shown.as_deref() != trouble;
            if differs {
                *shown = trouble.map(str::to_owned);
            }
            differs
        });
        match trouble {
            _ if !changed => {}
            Some(why) => tracing::warn!(
                op = "watch",
                path = self.path,
                error = why,
                "objects cannot be followed; what was seen last stays in force"
            ),
            None => tracing::info!(op = "watch", path = self.path, "objects are followed again"),
        }
    }
}

const ITEMS_MAX: usize = 512; // a page of raw objects, so that the next page comes while they are parsed
const LIST_MAX: Duration = Duration::from_secs(60); // a large list from a busy server takes a while
const REFUSED_MAX: Span = Span::s(300);
