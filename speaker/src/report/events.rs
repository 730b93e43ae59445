//! Kubernetes events about objects: core/v1, which `kubectl describe`, its field selectors and MetalLB's users read.
//!
//! Telling never waits: what is told goes through a bounded queue to a task of its own, and when the API server is slow
//! the oldest is dropped and counted. An event that was told before is counted up by a patch instead of made anew, and
//! no object gets more than a few of them. Knows nothing of what an event means.
//!
//! Governed by the Event type of core/v1 and by what client-go's recorder does with equal and too many events.

mod book;

use super::leave::Leave;
use crate::api::{Api, Call, Failure};
use crate::drive::chance;
use crate::drive::clock::{now, pause, wall};
use book::{Book, Step};
use jiff::Timestamp;
use serde_json::{Value, json};
use speaker_core::events::Reason;
use speaker_proto::Span;
use speaker_proto::lease::REQUEST_MAX;
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// The object that an event is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Subject {
    /// Its kind.
    pub(crate) kind: &'static str,
    /// Its group and version, such as `v1`.
    pub(crate) api_version: &'static str,
    /// Its namespace; empty for cluster-wide kinds, whose events stand in `default`.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Its UID; `kubectl describe` finds events by it.
    pub(crate) uid: String,
}

/// What was told.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Told {
    subject: Subject,
    reason: &'static Reason,
    message: String,
}

/// Takes events from any task. Cheap to clone.
#[derive(Clone)]
pub(crate) struct EventSender {
    shared: Arc<Shared>,
    leave: Leave,
}

#[derive(Default)]
struct Shared {
    /// Each with what lets it be written.
    queue: Mutex<VecDeque<(Told, Leave)>>,
    news: Notify,
    lost: AtomicU64,
    /// Told, and neither written nor lost yet.
    open: AtomicU64,
    /// Whether what matters more is being written.
    gives_way: AtomicBool,
}

impl EventSender {
    /// The same, for what is written with this leave only.
    pub(crate) fn with(&self, leave: Leave) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            leave,
        }
    }

    /// Tells of an object. Never waits; an API server that cannot keep up costs the oldest events.
    pub(crate) fn tell(
        &self,
        subject: Subject,
        reason: &'static Reason,
        message: impl Into<String>,
    ) {
        let message: String = message.into();
        let told = Told {
            subject,
            reason,
            message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
        };
        let shared = &self.shared;
        let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() == QUEUE_MAX {
            queue.pop_front();
            shared.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            shared.open.fetch_add(1, Ordering::Relaxed);
        }
        queue.push_back((told, self.leave.clone()));
        drop(queue);
        shared.news.notify_one();
    }

    /// While what matters more is being written, one event at a time is: they come later, but they come.
    pub(crate) fn give_way(&self, gives_way: bool) {
        let before = self.shared.gives_way.swap(gives_way, Ordering::Relaxed);
        if before && !gives_way {
            self.shared.news.notify_one();
        }
    }

    /// Waits until everything told is written, but no longer than that: for a process that is about to end.
    pub(crate) async fn flush(&self, longest: Duration) {
        let end = now() + Span::from_ns(u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX));
        while self.shared.open.load(Ordering::Relaxed) > 0 && now() < end {
            pause(FLUSH_LOOK).await;
        }
    }

    /// Events that reached no API server: too many at once, too many about one object, or refused.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

/// The task that writes events.
pub(crate) struct Events {
    writer: Arc<Writer>,
    shared: Arc<Shared>,
    book: Book,
    /// Objects about which an event is on its way. The next about the same one waits, so that an equal one is counted up
    /// and none overtakes another.
    busy: BTreeSet<Subject>,
}

/// As whom events are written, and where.
struct Writer {
    api: Api,
    component: &'static str,
    instance: String,
}

impl Events {
    /// Starts writing events as `component`, which is what selectors on `source` go by. `instance` names this process.
    /// The task ends with the runtime.
    pub(crate) fn spawn(
        api: Api,
        component: &'static str,
        instance: impl Into<String>,
    ) -> EventSender {
        let shared = Arc::<Shared>::default();
        let events = Self {
            writer: Arc::new(Writer {
                api,
                component,
                instance: instance.into(),
            }),
            shared: Arc::clone(&shared),
            book: Book::default(),
            busy: BTreeSet::new(),
        };
        drop(tokio::spawn(events.run()));
        EventSender {
            shared,
            leave: Leave::always(),
        }
    }

    async fn run(mut self) {
        let mut requests = JoinSet::new();
        loop {
            while self.busy.len() < self.shared.requests_max()
                && let Some((told, leave)) = self.shared.take(&self.busy)
            {
                let Some(step) = self.book.admit(now(), &told) else {
                    self.lose(&told, "there are too many about this object");
                    self.shared.open.fetch_sub(1, Ordering::Relaxed);
                    continue;
                };
                self.busy.insert(told.subject.clone());
                let writer = Arc::clone(&self.writer);
                requests.spawn(async move {
                    let written = writer.write(&told, step, &leave).await;
                    (told, written)
                });
            }
            tokio::select! {
                Some(ended) = requests.join_next() => {
                    let (told, written) = ended.expect("writing an event does not panic");
                    self.busy.remove(&told.subject);
                    match written {
                        Ok(name) => self.book.written(now(), &told, &name),
                        Err(why) => self.lose(&told, &why),
                    }
                    self.shared.open.fetch_sub(1, Ordering::Relaxed);
                }
                () = self.shared.news.notified() => {}
            }
        }
    }

    fn lose(&self, told: &Told, why: &str) {
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
        let Subject {
            kind,
            namespace,
            name,
            ..
        } = &told.subject;
        tracing::debug!(
            subject = format!("{kind} {namespace}/{name}"),
            reason = told.reason.name,
            error = why,
            event = "eventLost",
            "an event was not written"
        );
    }
}

impl Shared {
    fn requests_max(&self) -> usize {
        match self.gives_way.load(Ordering::Relaxed) {
            true => 1,
            false => REQUESTS_MAX,
        }
    }

    /// The oldest event about none of these objects. It is looked for among the oldest only: a queue full of events about
    /// one object has to wait for that one anyway.
    fn take(&self, busy: &BTreeSet<Subject>) -> Option<(Told, Leave)> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut oldest = queue.iter().take(LOOK_AHEAD);
        let at = oldest.position(|(told, _)| !busy.contains(&told.subject))?;
        queue.remove(at)
    }
}

impl Writer {
    /// Writes an event, and again as long as that may help. The name that it has, or why it has none.
    async fn write(&self, told: &Told, mut step: Step, leave: &Leave) -> Result<String, String> {
        let at = stamp();
        for attempt in 0..TRIES_MAX {
            leave.given().await;
            let written = match &step {
                Step::Make => name(told, at),
                Step::Repeat { name, .. } => name.clone(),
            };
            let Err(failure) = self.api.text(self.call(told, &step, at)).await else {
                return Ok(written);
            };
            match failure.code() {
                // The answer to an earlier try was lost.
                Some(409) if failure.already_exists() => return Ok(written),
                // The server forgets events after an hour, or sooner.
                Some(404) if matches!(step, Step::Repeat { .. }) => step = Step::Make,
                // By the next try the credentials have been read anew.
                Some(401) => pause(wait(attempt, &failure)).await,
                Some(code) if code < 500 && code != 429 => return Err(failure.to_string()),
                Some(_) | None => pause(wait(attempt, &failure)).await,
            }
        }
        Err("the API server does not take it".to_owned())
    }

    fn call(&self, told: &Told, step: &Step, at: Timestamp) -> Call {
        let namespace = told.subject.event_namespace();
        let path = format!("/api/v1/namespaces/{namespace}/events");
        let call = match step {
            Step::Make => Call::post(path, self.event(told, at)),
            Step::Repeat { name, count } => Call::merge(
                format!("{path}/{name}"),
                json!({"count": count, "lastTimestamp": seconds(at)}),
            ),
        };
        call.within(REQUEST_MAX.into())
    }

    fn event(&self, told: &Told, at: Timestamp) -> Value {
        let subject = &told.subject;
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": name(told, at),
                "namespace": subject.event_namespace(),
            },
            "involvedObject": subject.reference(),
            "type": told.reason.severity.as_str(),
            "reason": told.reason.name,
            "message": told.message,
            "count": 1,
            "firstTimestamp": seconds(at),
            "lastTimestamp": seconds(at),
            "source": {"component": self.component},
            "reportingComponent": self.component,
            "reportingInstance": self.instance,
        })
    }
}

impl Subject {
    /// A service.
    pub(crate) fn service(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            kind: "Service",
            api_version: "v1",
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        }
    }

    fn event_namespace(&self) -> &str {
        match self.namespace.as_str() {
            "" => "default",
            namespace => namespace,
        }
    }

    fn reference(&self) -> Value {
        let mut reference = json!({
            "kind": self.kind,
            "apiVersion": self.api_version,
            "name": self.name,
            "uid": self.uid,
        });
        if !self.namespace.is_empty() {
            reference["namespace"] = json!(self.namespace);
        }
        reference
    }
}

/// As client-go names events; the time keeps two of one object apart.
fn name(told: &Told, at: Timestamp) -> String {
    format!("{}.{:x}", told.subject.name, at.as_nanosecond())
}

fn stamp() -> Timestamp {
    Timestamp::try_from(wall()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// As metav1.Time writes it: whole seconds.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn wait(attempt: u32, failure: &Failure) -> Duration {
    let doubled = WAIT_MIN.saturating_mul(1 << attempt.min(8));
    let asked = failure.retry_after().unwrap_or_default();
    asked.max(doubled.min(WAIT_MAX)) + chance::within(WAIT_MIN)
}

const QUEUE_MAX: usize = 16_384; // every service of a large cluster gets an address at once, some 8 MB
const MESSAGE_CHARS_MAX: usize = 1024; // what events.k8s.io takes as a note
/// Events on their way at a time: enough to hide the way to the server, and fewer than the writes that they tell of.
const REQUESTS_MAX: usize = 4;
const LOOK_AHEAD: usize = 64; // far more than one burst about one object
const FLUSH_LOOK: Duration = Duration::from_millis(10);
const TRIES_MAX: u32 = 8; // some two minutes; later it is no news any more
const WAIT_MIN: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use speaker_core::events::IP_ALLOCATED;

    fn sender() -> EventSender {
        EventSender {
            shared: Arc::default(),
            leave: Leave::always(),
        }
    }

    #[test]
    fn times_have_whole_seconds_as_metav1_time() {
        let at: Timestamp = "2026-01-01T00:00:30.987654321Z".parse().unwrap();
        assert_eq!(seconds(at), "2026-01-01T00:00:30Z");
    }

    #[test]
    fn events_of_cluster_wide_objects_stand_in_default() {
        let node = Subject {
            kind: "Node",
            api_version: "v1",
            namespace: String::new(),
            name: "n1".into(),
            uid: "u".into(),
        };
        assert_eq!(node.event_namespace(), "default");
        assert_eq!(node.reference()["namespace"], Value::Null);
        let service = Subject::service("a", "web", "u");
        assert_eq!(service.event_namespace(), "a");
        assert_eq!(service.reference()["namespace"], json!("a"));
    }

    #[test]
    fn events_about_one_object_go_one_after_the_other() {
        let sender = sender();
        for (name, message) in [("web", "1"), ("web", "2"), ("other", "3")] {
            let subject = Subject::service("a", name, "u");
            sender.tell(subject, &IP_ALLOCATED, message);
        }
        let mut busy = BTreeSet::new();
        let taken = |busy: &mut BTreeSet<Subject>| {
            let (told, _) = sender.shared.take(busy)?;
            busy.insert(told.subject);
            Some(told.message)
        };
        assert_eq!(taken(&mut busy).as_deref(), Some("1"));
        assert_eq!(taken(&mut busy).as_deref(), Some("3"));
        assert_eq!(taken(&mut busy), None);
        busy.clear();
        assert_eq!(taken(&mut busy).as_deref(), Some("2"));
    }

    #[tokio::test]
    async fn events_that_give_way_are_written_one_at_a_time_and_then_several() {
        let sender = sender();
        sender.give_way(true);
        assert_eq!(sender.shared.requests_max(), 1);
        sender.give_way(false);
        assert_eq!(sender.shared.requests_max(), REQUESTS_MAX);
        // Whoever waits for one of few to end hears that there may be more.
        sender.shared.news.notified().await;
    }

    #[test]
    fn a_full_queue_loses_the_oldest_and_counts_it() {
        let sender = sender();
        for n in 0..=QUEUE_MAX {
            let subject = Subject::service("a", "web", "u");
            sender.tell(subject, &IP_ALLOCATED, n.to_string());
        }
        let queue = sender.shared.queue.lock().unwrap();
        assert_eq!((queue.len(), sender.lost()), (QUEUE_MAX, 1));
        assert_eq!(queue.front().unwrap().0.message, "1");
    }
}
