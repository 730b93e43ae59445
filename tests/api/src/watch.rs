//! Watches: what became of the objects of a list, event by event.
//!
//! Governed by the "Efficient detection of changes" section of the API Concepts page. A watch is a cursor into the store's log;
//! it is asked for events and says when it wants to be asked again. Sending them is up to [`super::listen`].

use crate::answer::{About, Refusal};
use crate::call::{Call, Question, Reply, Stop};
use crate::hooks;
use crate::kinds::Kind;
use crate::rbac::User;
use crate::read;
use crate::route::{Form, Request, Target, form};
use crate::schema::Cause;
use crate::select::Selector;
use crate::store::{Change, Store};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// One event before it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub kind: &'static str,
    /// As stored, not yet in the version or the form that is asked for.
    pub object: Arc<Value>,
}

/// An open watch.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    /// The request that opened it.
    pub(crate) request: Request,
    /// What it watches.
    pub(crate) kind: Arc<Kind>,
    /// In which version objects are wanted.
    pub(crate) version: String,
    /// In which form.
    pub(crate) form: Form,
    /// Warnings for the head of the answer.
    pub(crate) warnings: Vec<String>,
    namespace: String,
    selector: Selector,
    initial: Vec<Event>,
    cursor: u64,
    /// The newest revision that the client was told.
    told: u64,
    has_bookmarks: bool,
    ends: Option<Timestamp>,
    bookmark_at: Option<Timestamp>,
    is_over: bool,
}

/// What a watch has to say.
#[derive(Clone, Debug)]
pub(crate) struct Poll {
    /// To be sent now.
    pub events: Vec<Event>,
    /// When to ask again if nothing is written before.
    pub wake: Option<Timestamp>,
    /// Nothing comes after these.
    pub is_over: bool,
}

impl Watch {
    /// Opens a watch.
    pub(crate) fn open(store: &Store, call: &Call<'_>) -> Result<Self, Stop> {
        let request = call.request;
        let selector = read::selector(call)?;
        let sends_initial = Self::check(request)?;
        let seconds = request
            .number("timeoutSeconds")?
            .filter(|seconds| *seconds > 0);
        let wanted = request.query("resourceVersion");
        let start = match wanted {
            "" | "0" => None,
            number => Some(
                number
                    .parse::<u64>()
                    .map_err(|_| Refusal::plain_500(read::revision_fault(number)))?,
            ),
        };
        let ends = seconds.map(|seconds| request.now + SignedDuration::from_secs(seconds));
        let has_bookmarks = request.says("allowWatchBookmarks");
        let is_listed = start.is_none() || sends_initial == Some(true);
        let cursor = start.filter(|_| !is_listed).unwrap_or(store.revision());
        let mut watch = Self {
            request: request.clone(),
            kind: Arc::clone(&call.kind),
            version: call.target.version.clone(),
            form: form(&request.accept)?,
            warnings: call.warnings.borrow().clone(),
            namespace: call.target.namespace.clone(),
            selector,
            initial: Vec::new(),
            cursor,
            told: cursor,
            has_bookmarks,
            ends,
            bookmark_at: ends.map(|ends| ends - BOOKMARK_BEFORE_END),
            is_over: false,
        };
        if is_listed && sends_initial != Some(false) {
            watch.list(store, sends_initial == Some(true));
        }
        Ok(watch)
    }

    fn check(request: &Request) -> Result<Option<bool>, Refusal> {
        let sends = match request.query("sendInitialEvents") {
            "" => None,
            _set => Some(request.says("sendInitialEvents")),
        };
        let matched = request.query("resourceVersionMatch");
        let why = match (sends, matched) {
            (None, "") => return Ok(sends),
            (None, _) => {
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            }
            (Some(_), "NotOlderThan") => return Ok(sends),
            (Some(_), _) => {
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            }
        };
        let causes = [Cause::forbidden("resourceVersionMatch", why)];
        Err(Refusal::invalid(&About::options("ListOptions"), &causes))
    }

    /// Objects in the version of the watch; `identity` and `replies` as in [`Call`].
    pub(crate) fn converted(
        &self,
        objects: &[Value],
        identity: &str,
        replies: &[(Question, Reply)],
    ) -> Result<Vec<Value>, Stop> {
        let call = Call {
            request: &self.request,
            target: Target::default(),
            kind: Arc::clone(&self.kind),
            user: User::default(),
            identity,
            replies,
            warnings: RefCell::default(),
            asked: Cell::default(),
        };
        hooks::convert(&call, objects.to_vec(), &self.version)
    }

    fn list(&mut self, store: &Store, is_marked: bool) {
        let resource = self.kind.resource();
        let objects = store.range(&resource, &self.namespace);
        let objects = objects.filter(|(_, object)| self.selector.matches(object));
        let added = objects.map(|(_, object)| Event {
            kind: "ADDED",
            object: Arc::clone(object),
        });
        self.initial = added.collect();
        if is_marked && self.has_bookmarks {
            let mut object = self.bookmark(store.revision());
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
            self.initial.push(Event {
                kind: "BOOKMARK",
                object: Arc::new(object),
            });
        }
    }

    fn bookmark(&self, revision: u64) -> Value {
        json!({
            "kind": self.kind.kind, "apiVersion": self.kind.api_version(&self.version),
            "metadata": {"resourceVersion": revision.to_string()},
        })
    }

    /// Ends it with the ERROR that a client gets whose resourceVersion is too old.
    pub(crate) fn expire(&mut self, store: &Store) -> Event {
        self.is_over = true;
        let (cursor, current) = (self.cursor, store.revision());
        let why = format!("too old resource version: {cursor} ({current})");
        Event {
            kind: "ERROR",
            object: Arc::new(Refusal::new(410, "Expired", why).status()),
        }
    }

    /// Events since the last time.
    pub(crate) fn poll(&mut self, store: &Store, now: Timestamp) -> Poll {
        let mut events = std::mem::take(&mut self.initial);
        if !self.is_over {
            let resource = self.kind.resource();
            match store.since(self.cursor) {
                None => events.push(self.expire(store)),
                Some(changes) => {
                    let changes = changes.filter(|change| change.key.resource == resource);
                    events.extend(changes.filter_map(|change| self.event(change)));
                    self.cursor = self.cursor.max(store.revision());
                }
            }
        }
        if !events.is_empty() {
            self.told = self.cursor;
        }
        events.extend(self.due(store, now));
        if self.ends.is_some_and(|ends| ends <= now) {
            self.is_over = true;
        }
        let wake = [self.bookmark_at.filter(|_| self.has_bookmarks), self.ends];
        Poll {
            events,
            wake: wake.into_iter().flatten().min(),
            is_over: self.is_over,
        }
    }

    fn due(&mut self, store: &Store, now: Timestamp) -> Option<Event> {
        let at = self.bookmark_at.filter(|at| *at <= now)?;
        self.bookmark_at = None;
        let _ = at;
        let revision = store.revision();
        let is_news = self.has_bookmarks && revision > self.told && !self.is_over;
        is_news.then(|| {
            self.told = revision;
            Event {
                kind: "BOOKMARK",
                object: Arc::new(self.bookmark(revision)),
            }
        })
    }

    fn event(&self, change: &Change) -> Option<Event> {
        if !self.namespace.is_empty() && change.key.namespace != self.namespace {
            return None;
        }
        let fits = |object: &Option<Arc<Value>>| {
            object
                .as_ref()
                .is_some_and(|object| self.selector.matches(object))
        };
        let (kind, object) = match (fits(&change.before), fits(&change.after)) {
            (false, false) => return None,
            (false, true) => ("ADDED", Arc::clone(&change.shown)),
            (true, true) => ("MODIFIED", Arc::clone(&change.shown)),
            (true, false) => ("DELETED", change.last()),
        };
        Some(Event { kind, object })
    }
}

impl Change {
    /// The object as it was before it left, with the revision of the change.
    fn last(&self) -> Arc<Value> {
        let Some(before) = &self.before else {
            return Arc::clone(&self.shown);
        };
        let mut object = (**before).clone();
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        Arc::new(object)
    }
}

/// The server sends a last bookmark so long before it closes.
const BOOKMARK_BEFORE_END: SignedDuration = SignedDuration::from_secs(2);
