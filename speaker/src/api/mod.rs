//! The Kubernetes API as the rest of the shell sees it: one request in, JSON or one [`Failure`] out.
//!
//! Everything here has a bound: each request a timeout, each connection keepalives, and nothing is retried behind the
//! caller's back. Bodies are plain JSON, since a typed write of an object of somebody else would drop the fields that
//! the type does not have. Knows no kind of object and keeps nothing.
//!
//! Governed by the "Kubernetes API Concepts" page of the Kubernetes documentation.

mod client;
mod failure;
#[cfg(test)]
mod kubeconfig_tests;
mod lines;
mod proxy;
#[cfg(test)]
pub(crate) mod server_tests;

pub(crate) use client::{Access, connect};
pub(crate) use failure::Failure;
pub(crate) use lines::Lines;

use http::{Method, Request, header};
use kube::client::Body;
use serde_json::Value;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// A connection to one API server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    access: Arc<Access>,
    link: Arc<Link>,
    counts: Arc<Counts>,
}

/// The connections in use. They are made anew from the files that say how: when credentials are refused, since files get
/// new ones before the old ones end, and when the server stays out of reach, since its certificate authority or its
/// address may have changed.
struct Link {
    way: RwLock<Way>,
    /// Looks begun. Of all requests that fail on one way, one looks for another.
    looks: AtomicU64,
    /// Requests in a row that did not reach the server.
    broken: AtomicU32,
}

/// One reading of the files.
#[derive(Clone)]
struct Way {
    client: kube::Client,
    /// The look that found it.
    look: u64,
}

/// What was asked of the API server so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Requests sent.
    pub(crate) requests: AtomicU64,
    /// Requests that ended in a [`Failure`].
    pub(crate) failures: AtomicU64,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    content_type: &'static str,
    body: Option<Value>,
    timeout: Duration,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            content_type: JSON,
            body: None,
            timeout: CALL_MAX,
        }
    }

    /// Reads an object or a list. `path` begins with `/api` or `/apis` and holds the query.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Makes an object.
    pub(crate) fn post(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::POST, path).with(JSON, body)
    }

    /// Writes an object as a whole; for an update it must carry the resourceVersion that was read.
    pub(crate) fn put(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::PUT, path).with(JSON, body)
    }

    /// Changes the named fields (RFC 7386): null removes one, a list is replaced as a whole.
    pub(crate) fn merge(path: impl Into<String>, patch: Value) -> Self {
        Self::new(Method::PATCH, path).with("application/merge-patch+json", patch)
    }

    /// Changes by steps (RFC 6902), of which `test` makes the rest conditional.
    pub(crate) fn json_patch(path: impl Into<String>, patch: Value) -> Self {
        Self::new(Method::PATCH, path).with("application/json-patch+json", patch)
    }

    /// Server-side apply: `path` holds `fieldManager` and, if so, `force=true`.
    pub(crate) fn apply(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::PATCH, path).with("application/apply-patch+yaml", body)
    }

    /// Removes an object.
    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Gives up after that long in place of [`CALL_MAX`].
    pub(crate) fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn with(mut self, content_type: &'static str, body: Value) -> Self {
        self.content_type = content_type;
        self.body = Some(body);
        self
    }

    fn request(&self) -> Request<Body> {
        let bytes = match &self.body {
            Some(body) => serde_json::to_vec(body).expect("JSON values are JSON"),
            None => Vec::new(),
        };
        Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(header::CONTENT_TYPE, self.content_type)
            .header(header::ACCEPT, JSON)
            .body(Body::from(bytes))
            .expect("paths are made of names that the API server gave or took")
    }
}

impl Api {
    fn new(access: Access, client: kube::Client) -> Self {
        Self {
            access: Arc::new(access),
            link: Arc::new(Link {
                way: RwLock::new(Way { client, look: 0 }),
                looks: AtomicU64::new(0),
                broken: AtomicU32::new(0),
            }),
            counts: Arc::default(),
        }
    }

    /// How much was asked.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Sends one request and gives the body of a good answer.
    ///
    /// # Errors
    /// When the answer is none within the call's time, or is no success; what to do then is the caller's.
    pub(crate) async fn call(&self, call: Call) -> Result<Value, Failure> {
        let body = self.text(call).await?;
        self.parsed(&body)
    }

    /// The same, for whoever looks at nothing in the body, or only later: it is given as it came.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub(crate) async fn text(&self, call: Call) -> Result<Vec<u8>, Failure> {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let way = self.way();
        let answered = tokio::time::timeout(call.timeout, answer(&way.client, &call)).await;
        self.judge(
            way.look,
            answered.unwrap_or(Err(Failure::Slow(call.timeout))),
        )
        .await
    }

    /// A body that [`Api::text`] gave.
    ///
    /// # Errors
    /// When it is not JSON.
    pub(crate) fn parsed(&self, body: &[u8]) -> Result<Value, Failure> {
        serde_json::from_slice(body).map_err(|error| {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
            Failure::Garbled(error.to_string())
        })
    }

    /// Counts how it went on the way of this look, and looks for another one where that may help.
    async fn judge<T>(&self, look: u64, result: Result<T, Failure>) -> Result<T, Failure> {
        let Err(failure) = &result else {
            self.link.broken.store(0, Ordering::Relaxed);
            return result;
        };
        self.counts.failures.fetch_add(1, Ordering::Relaxed);
        let is_lost = match failure {
            Failure::Broken(_) => {
                let broken = self.link.broken.fetch_add(1, Ordering::Relaxed) + 1;
                broken.is_multiple_of(BROKEN_MAX)
            }
            Failure::Refused(_) | Failure::Slow(_) | Failure::Garbled(_) => {
                self.link.broken.store(0, Ordering::Relaxed);
                failure.code() == Some(401)
            }
        };
        if is_lost {
            self.look_anew(look).await;
        }
        result
    }

    /// Reads the files anew, unless somebody did since that look.
    async fn look_anew(&self, since: u64) {
        let looks = &self.link.looks;
        let next = since + 1;
        let begun = looks.compare_exchange(since, next, Ordering::Relaxed, Ordering::Relaxed);
        if begun.is_err() {
            return;
        }
        // A look that was begun ends, also if nobody waits for it any more; only the end of the process ends it.
        let api = self.clone();
        let _runtime_is_gone = tokio::spawn(async move { api.look(next).await }).await;
    }

    async fn look(&self, number: u64) {
        let found = client::client(&self.access).await;
        let mut way = self
            .link
            .way
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        way.look = number;
        match found {
            Ok(client) => way.client = client,
            Err(error) => tracing::warn!(
                op = "api",
                error = format!("{error:#}"),
                "the way to the API server cannot be read anew; the old one stays in use"
            ),
        }
    }

    fn way(&self) -> Way {
        let way = self.link.way.read();
        way.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens a stream of lines, such as a watch. Only the answer's head is bounded in time, the stream is the caller's to
    /// watch over.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub(crate) async fn stream(&self, call: Call) -> Result<Lines, Failure> {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let way = self.way();
        let opened = tokio::time::timeout(call.timeout, open(&way.client, &call)).await;
        self.judge(way.look, opened.unwrap_or(Err(Failure::Slow(call.timeout))))
            .await
    }
}

async fn answer(client: &kube::Client, call: &Call) -> Result<Vec<u8>, Failure> {
    let response = client.send(call.request()).await?;
    let (parts, body) = response.into_parts();
    let bytes = body.collect_bytes().await?;
    if parts.status.is_success() {
        return Ok(bytes.into());
    }
    Err(Failure::refused(parts.status, &parts.headers, &bytes))
}

async fn open(client: &kube::Client, call: &Call) -> Result<Lines, Failure> {
    let response = client.send(call.request()).await?;
    let (parts, body) = response.into_parts();
    if parts.status.is_success() {
        return Ok(Lines::new(body));
    }
    let bytes = body.collect_bytes().await?;
    Err(Failure::refused(parts.status, &parts.headers, &bytes))
}

const JSON: &str = "application/json";
const CALL_MAX: Duration = Duration::from_secs(10); // a webhook behind the server may take as long
const BROKEN_MAX: u32 = 8; // so often out of reach, the way there may be another; less is a server that restarts
