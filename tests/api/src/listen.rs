//! The listener: HTTP/1.1 over TCP, in the clear or over TLS, around the store.
//!
//! Holds the store for one step at a time, asks webhooks in between, streams watches, and does to connections what a fault rule
//! says. Knows no kind and no rule of the API.

mod control;
mod stream;

use crate::access;
use crate::answer::{Answer, Body, Refusal};
use crate::call::{Question, Reply};
use crate::faults::{Fault, Faults, Rule};
use crate::post::{self, Places};
use crate::route::{Request, Route, decode, query, route};
use crate::serve::{Outcome, serve};
use crate::store::Store;
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::Value;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub(crate) type Sent = UnsyncBoxBody<Bytes, io::Error>;

/// One request as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Whose it was.
    pub user: String,
    /// As roles name it; of a path that is no resource the method in small letters.
    pub verb: String,
    /// Without the query.
    pub path: String,
    /// The answer's status; 0 if there was none.
    pub code: u16,
    /// Bytes of the request's body.
    pub bytes: usize,
    /// When the answer was ready, in microseconds since the double began; 0 if there was none.
    pub micros: u64,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    store: Mutex<Store>,
    changed: watch::Sender<u64>,
    faults: Mutex<Faults>,
    log: Mutex<Vec<Logged>>,
    begun: Instant,
    places: Mutex<Places>,
}

impl Shared {
    pub(crate) fn new(store: Store, places: Places) -> Self {
        let (changed, _) = watch::channel(store.revision());
        Self {
            store: Mutex::new(store),
            changed,
            faults: Mutex::default(),
            log: Mutex::default(),
            begun: Instant::now(),
            places: Mutex::new(places),
        }
    }

    /// The store, for one step.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Vec<Logged>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_faults(&self, rules: Vec<Rule>, seed: u64) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.set(rules, seed);
    }

    pub(crate) fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes watches.
    pub(crate) fn announce(&self, revision: u64) {
        self.changed.send_if_modified(|known| {
            let is_new = *known != revision;
            *known = revision;
            is_new
        });
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Carries a request out to its end, webhooks asked.
    pub(crate) async fn serve(&self, request: &Request) -> Outcome {
        let identity = self.store().identity();
        let mut replies: Vec<(Question, Reply)> = Vec::new();
        for _ in 0..QUESTIONS_MAX {
            let outcome = {
                let mut store = self.store();
                let outcome = serve(&mut store, request, &identity, &replies);
                let revision = store.revision();
                drop(store);
                self.announce(revision);
                outcome
            };
            let Outcome::Ask(question) = outcome else {
                return outcome;
            };
            let places = self.places().clone();
            let reply = post::ask(&question, &places).await;
            replies.push((*question, reply));
        }
        let why = "the object changed again and again while webhooks were asked";
        Outcome::Answer(Refusal::internal(why).answer())
    }
}

/// Takes connections until it is dropped.
pub(crate) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let shared = Arc::clone(&shared);
        let tls = tls.clone();
        tokio::spawn(async move {
            let handler = service_fn(move |request| handle(Arc::clone(&shared), request));
            let server = hyper::server::conn::http1::Builder::new();
            match tls {
                None => drop(server.serve_connection(TokioIo::new(stream), handler).await),
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        drop(server.serve_connection(TokioIo::new(stream), handler).await);
                    }
                }
            }
        });
    }
}

async fn handle(
    shared: Arc<Shared>,
    incoming: hyper::Request<Incoming>,
) -> Result<Response<Sent>, io::Error> {
    let request = match read(incoming).await? {
        Ok(request) => request,
        Err(refusal) => return Ok(send(refusal.answer(), Fault::None)),
    };
    if let Some(command) = request.path.strip_prefix("/double/") {
        return Ok(control::control(&shared, command, &request));
    }
    let user = user(&shared, &request);
    let full = full_path(&request);
    let fault = {
        let mut faults = shared.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.befall(&request.method, &full, &user)
    };
    let entry = enter(&shared, &request, user);
    let outcome = match &fault {
        Fault::Drop => return Err(io::ErrorKind::ConnectionReset.into()),
        Fault::Refuse { code, retry_after } => Outcome::Answer(refuse(*code, *retry_after)),
        Fault::Before { millis } => {
            tokio::time::sleep(Duration::from_millis(*millis)).await;
            shared.serve(&request).await
        }
        Fault::Stale { revisions } => shared.serve(&aged(&shared, request, *revisions)).await,
        _other => shared.serve(&request).await,
    };
    match &fault {
        Fault::Swallow => return Err(io::ErrorKind::ConnectionReset.into()),
        Fault::After { millis } => tokio::time::sleep(Duration::from_millis(*millis)).await,
        _other => {}
    }
    let code = match &outcome {
        Outcome::Answer(answer) => answer.code,
        Outcome::Watch(_) | Outcome::Ask(_) => 200,
    };
    if let Some(entry) = shared.log().get_mut(entry) {
        entry.code = code;
        entry.micros = u64::try_from(shared.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    }
    Ok(match outcome {
        Outcome::Answer(answer) => send(answer, fault),
        Outcome::Watch(watch) => {
            let head = head(200, JSON, &watch.warnings, None);
            let frames = stream::frames(shared, *watch, fault);
            finish(head, StreamBody::new(frames).boxed_unsync())
        }
        Outcome::Ask(_) => send(Refusal::internal("a question was left").answer(), fault),
    })
}

async fn read(incoming: hyper::Request<Incoming>) -> Result<Result<Request, Refusal>, io::Error> {
    let (parts, body) = incoming.into_parts();
    let header = |name| {
        let value = parts.headers.get(name);
        let value = value.and_then(|value: &hyper::header::HeaderValue| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let token = header(AUTHORIZATION);
    let token = token.strip_prefix("Bearer ").map(str::to_owned);
    let agent = header(USER_AGENT);
    let agent = agent.split(['/', ' ']).next().unwrap_or_default();
    let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes().to_vec(),
        Err(why) if why.is::<http_body_util::LengthLimitError>() => {
            let why = format!("Request entity too large: limit is {BODY_BYTES_MAX}");
            return Ok(Err(Refusal::new(413, "RequestEntityTooLarge", why)));
        }
        Err(why) => return Err(io::Error::other(why.to_string())),
    };
    Ok(Ok(Request {
        method: parts.method.to_string(),
        path: decode(parts.uri.path()),
        query: query(parts.uri.query().unwrap_or_default()),
        content_type: header(CONTENT_TYPE),
        accept: header(ACCEPT),
        agent: agent.to_owned(),
        token,
        body,
        now: Timestamp::now(),
    }))
}

fn full_path(request: &Request) -> String {
    let pairs: Vec<_> = request
        .query
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    match pairs.as_slice() {
        [] => request.path.clone(),
        pairs => format!("{}?{}", request.path, pairs.join("&")),
    }
}

fn user(shared: &Shared, request: &Request) -> String {
    let store = shared.store();
    let user = request.token.as_ref().map(|token| store.users.user(token));
    match user {
        Some(Some(user)) => user.name.clone(),
        Some(None) => String::new(),
        None => "system:anonymous".to_owned(),
    }
}

/// Writes a request into the log. Returns its place there.
fn enter(shared: &Shared, request: &Request, user: String) -> usize {
    let verb = match route(&request.path) {
        Route::Target(target) => access::verb(request, &target).to_owned(),
        _path => request.method.to_lowercase(),
    };
    let mut log = shared.log();
    if log.len() >= LOGGED_MAX {
        log.clear();
    }
    log.push(Logged {
        user,
        verb,
        path: request.path.clone(),
        code: 0,
        bytes: request.body.len(),
        micros: 0,
    });
    log.len() - 1
}

/// The same list as it was before.
fn aged(shared: &Shared, mut request: Request, revisions: u64) -> Request {
    let then = shared.store().revision().saturating_sub(revisions);
    let is_list = request.method == "GET" && !request.says("watch");
    if is_list && request.query("continue").is_empty() {
        let pairs = [
            ("resourceVersion", then.to_string()),
            ("resourceVersionMatch", "Exact".to_owned()),
        ];
        request
            .query
            .extend(pairs.map(|(key, value)| (key.to_owned(), value)));
    }
    request
}

fn refuse(code: u16, retry_after: u32) -> Answer {
    let (reason, why) = match code {
        429 => (
            "TooManyRequests",
            "too many requests, please try again later",
        ),
        409 => (
            "Conflict",
            "the object has been modified; please apply your changes to the latest version and try again",
        ),
        410 => ("Expired", "too old resource version"),
        503 => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
        _other => (
            "InternalError",
            "Internal error occurred: a fault on purpose",
        ),
    };
    let refusal = Refusal::new(code, reason, why);
    if retry_after == 0 {
        refusal.answer()
    } else {
        refusal.wait(retry_after).answer()
    }
}

fn send(answer: Answer, fault: Fault) -> Response<Sent> {
    let (media, bytes) = match &answer.body {
        Body::Json(value) => (JSON, value.to_string()),
        Body::Text(text) => (TEXT, text.clone()),
    };
    let head = head(answer.code, media, &answer.warnings, answer.retry_after);
    let mut bytes = Bytes::from(bytes);
    if matches!(fault, Fault::Cut { .. } | Fault::Within { .. }) {
        let rest = bytes.split_off(bytes.len() / 2);
        let first = futures_util::stream::iter([Ok(Frame::data(bytes))]);
        let parts = first.chain(futures_util::stream::once(second_half(rest, fault)));
        return finish(head, StreamBody::new(parts).boxed_unsync());
    }
    let whole = Full::new(bytes).map_err(|never| match never {});
    finish(head, whole.boxed_unsync())
}

/// What follows half of an answer: its rest in time, or the end of the connection.
async fn second_half(rest: Bytes, fault: Fault) -> Result<Frame<Bytes>, io::Error> {
    let Fault::Within { millis } = fault else {
        return stream::broken().await;
    };
    tokio::time::sleep(Duration::from_millis(millis)).await;
    Ok(Frame::data(rest))
}

fn head(
    code: u16,
    media: &str,
    warnings: &[String],
    retry_after: Option<u32>,
) -> hyper::http::response::Builder {
    let mut head = Response::builder()
        .status(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .header(CONTENT_TYPE, media);
    for warning in warnings {
        let shown = Value::String(warning.clone()).to_string();
        head = head.header("Warning", format!("299 - {shown}").into_bytes());
    }
    if let Some(seconds) = retry_after {
        head = head.header("Retry-After", seconds);
    }
    head
}

fn finish(head: hyper::http::response::Builder, body: Sent) -> Response<Sent> {
    head.body(body)
        .expect("status, media type and warnings are valid header values")
}

const JSON: &str = "application/json";

const TEXT: &str = "text/plain; charset=utf-8";

/// As the server has it.
const BODY_BYTES_MAX: usize = 3 << 20;

/// Far more webhooks than a request can meet; each change of the object meanwhile asks them again.
const QUESTIONS_MAX: usize = 50;

/// Bounds the log's memory; a test that counts takes it long before.
const LOGGED_MAX: usize = 1_000_000;
