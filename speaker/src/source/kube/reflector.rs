//! One kind of object followed through list and watch, as a machine: it says what to ask next, and is told the answers.
//!
//! Nothing that fails takes an object away: objects are gone when a watch says so or when a whole list lacks them. A watch
//! that ends is resumed where it was; only where the server has forgotten that place (410, as an event or as an HTTP
//! status) everything is listed again. Knows no clock, no connection and no kind's meaning.
//!
//! Governed by "Efficient detection of changes" in the Kubernetes API concepts.

use crate::api::Failure;
use serde::Deserialize;
use serde_json::{Map, Value};
use speaker_proto::Span;
use std::collections::BTreeSet;

/// What is followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Watched {
    /// The path of the collection, such as `/api/v1/services`.
    pub(crate) path: String,
    /// `labelSelector`, or nothing.
    pub(crate) labels: String,
    /// `fieldSelector`, or nothing. A server that refuses it (400) is asked without.
    pub(crate) fields: String,
}

/// What to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Wait about this long.
    Wait(Span),
    /// Ask for a page of the list: [`Reflector::listed`].
    List(String),
    /// Open a watch: [`Reflector::line`] for each line, [`Reflector::ended`] at its end, also when nothing came for
    /// this long.
    Watch(String, Span),
    /// Ask how far the server is: [`Reflector::checked`].
    Check(String),
}

/// What is so.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Told {
    /// An object as it is now.
    Put(Value),
    /// An object is gone, or is not selected any more: namespace (empty if it has none) and name.
    Gone(String, String),
    /// Every object has been told.
    Synced,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Reflector {
    watched: Watched,
    state: State,
    known: BTreeSet<Name>,
    /// How long to wait first, and how often in a row something failed.
    wait: Option<Span>,
    failures: u32,
    trouble: Option<String>,
    /// Whether lists come in pages; not once a list took so long that its pages were forgotten.
    is_paged: bool,
    /// Whether this watch brought anything.
    is_silent: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    Listing { next: String, seen: BTreeSet<Name> },
    Watching { version: String },
    Checking { version: String },
}

type Name = (String, String);

impl Reflector {
    /// Starts with a list, after `wait`.
    pub(crate) const fn new(watched: Watched, wait: Span) -> Self {
        Self {
            watched,
            state: State::Listing {
                next: String::new(),
                seen: BTreeSet::new(),
            },
            known: BTreeSet::new(),
            wait: Some(wait),
            failures: 0,
            trouble: None,
            is_paged: true,
            is_silent: true,
        }
    }

    /// What to do next.
    pub(crate) fn step(&mut self) -> Step {
        if let Some(wait) = self.wait.take() {
            return Step::Wait(wait);
        }
        match &self.state {
            State::Listing { next, .. } => Step::List(self.page(next)),
            State::Watching { version } => {
                let mut query = self.query();
                query.extend([
                    ("watch", "true".to_owned()),
                    ("allowWatchBookmarks", "true".to_owned()),
                    ("timeoutSeconds", WATCH_S.to_string()),
                    ("resourceVersion", version.clone()),
                ]);
                Step::Watch(self.path(&query), Span::s(WATCH_S + 5))
            }
            State::Checking { .. } => {
                let mut query = self.query();
                query.push(("limit", "1".to_owned()));
                Step::Check(self.path(&query))
            }
        }
    }

    /// Where the page after this one is, if there is one: it can be asked for before this one is taken apart. `page` is
    /// the text of the answer to [`Step::List`], and whatever is wrong with it is found by [`Reflector::listed`].
    pub(crate) fn next_page(&self, page: &[u8]) -> Option<String> {
        #[derive(Default, Deserialize)]
        struct Metadata {
            #[serde(default)]
            r#continue: String,
        }
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            metadata: Metadata,
        }
        let head: Head = serde_json::from_slice(page).ok()?;
        let next = head.metadata.r#continue;
        (!next.is_empty()).then(|| self.page(&next))
    }

    fn page(&self, next: &str) -> String {
        let mut query = self.query();
        if self.is_paged {
            query.push(("limit", PAGE.to_string()));
        }
        if !next.is_empty() {
            query.push(("continue", next.to_owned()));
        }
        self.path(&query)
    }

    /// What stands in the way, until something succeeds.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Takes the answer to [`Step::List`].
    pub(crate) fn listed(&mut self, answer: Result<Value, Failure>) -> Vec<Told> {
        let State::Listing { seen, .. } = &mut self.state else {
            return Vec::new();
        };
        let mut list = match answer {
            Ok(list) => list,
            Err(failure) => {
                self.not_listed(&failure);
                return Vec::new();
            }
        };
        let mut told = Vec::new();
        if let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) {
            for item in items {
                seen.insert(name(&item));
                told.push(Told::Put(item));
            }
        }
        let more = text(&list, "continue");
        if let (State::Listing { next, .. }, false) = (&mut self.state, more.is_empty()) {
            *next = more.to_owned();
            return told;
        }
        let version = text(&list, "resourceVersion").to_owned();
        let listed = std::mem::replace(&mut self.state, State::Watching { version });
        if let State::Listing { seen, .. } = listed {
            let gone = self.known.difference(&seen).cloned();
            told.extend(gone.map(|(namespace, name)| Told::Gone(namespace, name)));
            self.known = seen;
        }
        told.push(Told::Synced);
        self.succeeded();
        told
    }

    fn not_listed(&mut self, failure: &Failure) {
        let is_field_refused = failure.code() == Some(400) && !self.watched.fields.is_empty();
        if is_field_refused {
            self.watched.fields.clear();
        }
        if failure.code() == Some(410) {
            // Pages are kept for some minutes only: in one piece it cannot come too late.
            self.is_paged = false;
        }
        self.list_anew();
        self.failed(failure);
    }

    /// Takes one line of a watch. An error ends the watch: nothing that comes after it is to be told.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<Option<Told>, Failure> {
        let garbled = |why: String| Failure::Garbled(why);
        let mut event: Value = serde_json::from_slice(line).map_err(|e| garbled(e.to_string()))?;
        let object = event.get_mut("object").map(Value::take).unwrap_or_default();
        let kind = event
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if kind == "ERROR" {
            return Err(failure(&object));
        }
        let State::Watching { version } = &mut self.state else {
            return Ok(None);
        };
        let newer = text(&object, "resourceVersion");
        if newer.is_empty() {
            return Err(garbled(format!(
                "an event of type {kind:?} has no resourceVersion"
            )));
        }
        newer.clone_into(version);
        self.is_silent = false;
        self.succeeded();
        match kind {
            "ADDED" | "MODIFIED" => {
                self.known.insert(name(&object));
                Ok(Some(Told::Put(object)))
            }
            "DELETED" => {
                let (namespace, name) = name(&object);
                self.known.remove(&(namespace.clone(), name.clone()));
                Ok(Some(Told::Gone(namespace, name)))
            }
            // Bookmarks carry a version and nothing else; what comes with later versions may be of no use to us either.
            _ => Ok(None),
        }
    }

    /// A watch has ended: by the server as it does from time to time, or by a failure.
    pub(crate) fn ended(&mut self, failure: Option<&Failure>) {
        let State::Watching { version } = &self.state else {
            return;
        };
        match failure {
            None if self.is_silent => {
                self.state = State::Checking {
                    version: version.clone(),
                };
            }
            None => {}
            Some(failure) if failure.code() == Some(410) => {
                self.list_anew();
                self.failed(failure);
            }
            Some(failure) => {
                self.failed(failure);
                if self.failures >= RESUMES_MAX && failure.code().is_some() {
                    self.list_anew();
                }
            }
        }
        self.is_silent = true;
    }

    /// Takes the answer to [`Step::Check`]. A server that is behind what was seen was restored from a backup: a watch
    /// from the future would stay silent for ever, so everything is listed again.
    pub(crate) fn checked(&mut self, answer: &Result<Value, Failure>) {
        let State::Checking { version } = &self.state else {
            return;
        };
        match answer {
            Ok(list) => {
                let number = |text: &str| text.parse::<u128>().ok();
                let is_behind = number(text(list, "resourceVersion"))
                    .zip(number(version))
                    .is_some_and(|(theirs, ours)| theirs < ours);
                if is_behind {
                    self.list_anew();
                } else {
                    self.state = State::Watching {
                        version: version.clone(),
                    };
                }
                self.succeeded();
            }
            Err(failure) => self.failed(failure),
        }
    }

    fn list_anew(&mut self) {
        self.state = State::Listing {
            next: String::new(),
            seen: BTreeSet::new(),
        };
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        self.trouble = None;
    }

    /// The first failure is tried again at once: a server that restarts drops every connection once.
    fn failed(&mut self, failure: &Failure) {
        self.trouble = Some(failure.to_string());
        let doubled =
            BACKOFF_FIRST.ns() << self.failures.saturating_sub(1).min(BACKOFF_DOUBLINGS_MAX);
        let is_first_break = self.failures == 0 && failure.code().is_none_or(|code| code == 410);
        self.failures = self.failures.saturating_add(1);
        let asked = failure
            .retry_after()
            .map(|wait| u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        self.wait = match asked {
            Some(asked) => Some(Span::from_ns(asked)),
            None if is_first_break => Some(Span::ms(100)),
            None => Some(Span::from_ns(doubled)),
        };
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        if !self.watched.labels.is_empty() {
            query.push(("labelSelector", self.watched.labels.clone()));
        }
        if !self.watched.fields.is_empty() {
            query.push(("fieldSelector", self.watched.fields.clone()));
        }
        query
    }

    fn path(&self, query: &[(&str, String)]) -> String {
        let mut path = self.watched.path.clone();
        for (i, (key, value)) in query.iter().enumerate() {
            let mark = if i == 0 { '?' } else { '&' };
            path.push(mark);
            path.push_str(key);
            path.push('=');
            path.push_str(&escaped(value));
        }
        path
    }
}

/// A query's value (RFC 3986 §2.1).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// A text of an object's metadata, or nothing.
fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object
        .get("metadata")
        .and_then(|metadata| metadata.get(field))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn name(object: &Value) -> Name {
    (
        text(object, "namespace").to_owned(),
        text(object, "name").to_owned(),
    )
}

/// The Status of an ERROR event.
fn failure(status: &Value) -> Failure {
    let empty = Map::new();
    let status = status.as_object().unwrap_or(&empty);
    let text = |field: &str| {
        status
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let code = status
        .get("code")
        .and_then(Value::as_u64)
        .and_then(|code| u16::try_from(code).ok());
    let seconds = status
        .get("details")
        .and_then(|details| details.get("retryAfterSeconds"))
        .and_then(Value::as_u64)
        .filter(|seconds| *seconds > 0);
    Failure::told(
        code.unwrap_or(500),
        text("reason"),
        text("message"),
        seconds,
    )
}

const PAGE: u32 = 500; // what kubectl takes; a page of slices is some megabytes
/// A watch that long that nothing came on is worth a question. Servers spread theirs over 5 to 10 minutes.
const WATCH_S: u64 = 290;
const RESUMES_MAX: u32 = 5; // refused that often at one place, the place is what is wrong
const BACKOFF_FIRST: Span = Span::ms(800);
const BACKOFF_DOUBLINGS_MAX: u32 = 5; // 25.6 s: an API server is not helped by waiting longer

#[cfg(test)]
#[path = "reflector_tests.rs"]
mod tests;
