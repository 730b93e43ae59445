//! What the webhook server answers: bytes of a review in, bytes of a verdict out.
//!
//! What a review means is [`speaker_core::admission`]'s. Here is what needs a clock or a thread: the size and the time of a body, and
//! waiting a moment for the objects that a verdict depends on.

use super::Counts;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use speaker_core::admission::{self, Answer, Given};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// What answers reviews.
#[derive(Clone)]
pub(super) struct Pages {
    /// The objects that are known.
    pub(super) given: watch::Receiver<Arc<Given>>,
    /// Where configuration counts.
    pub(super) namespace: Arc<str>,
    pub(super) counts: Arc<Counts>,
    memory: Arc<Semaphore>,
}

type Refused = (StatusCode, String);

impl Pages {
    pub(super) fn new(
        given: watch::Receiver<Arc<Given>>,
        namespace: &str,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            given,
            namespace: namespace.into(),
            counts,
            memory: Arc::new(Semaphore::new(MEMORY_BYTES_MAX >> 10)),
        }
    }

    /// Every path is looked up by whoever judges.
    pub(super) fn router(self) -> Router {
        Router::new().fallback(async move |request: Request<Body>| self.answer(request).await)
    }

    async fn answer(&self, request: Request<Body>) -> Response {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        self.judge(request).await.unwrap_or_else(|(status, why)| {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
            (status, format!("{why}\n")).into_response()
        })
    }

    async fn judge(&self, request: Request<Body>) -> Result<Response, Refused> {
        let path = request.uri().path().to_owned();
        let _held = self.room(&request)?;
        let body = read(request.into_body()).await?;
        let given = self.given(&path).await;
        let namespace = Arc::clone(&self.namespace);
        // A list to convert may be long, and a mistake in a verdict must not end the server.
        let judged = tokio::task::spawn_blocking(move || {
            admission::answer(&path, &body, &given, &namespace)
        });
        let Answer { status, body } = judged.await.map_err(|_| {
            let why = "the webhook failed; its log says why".to_owned();
            (StatusCode::INTERNAL_SERVER_ERROR, why)
        })?;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if !status.is_success() {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
            return Ok((status, body).into_response());
        }
        Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
    }

    /// Room for the body; how long it is must be said, and is believed, since no more than that is ever read.
    fn room(&self, request: &Request<Body>) -> Result<OwnedSemaphorePermit, Refused> {
        let bytes = request.body().size_hint().upper().unwrap_or(u64::MAX);
        let bytes = usize::try_from(bytes)
            .ok()
            .filter(|bytes| *bytes <= BODY_BYTES_MAX);
        let bytes = bytes.ok_or_else(|| {
            let why = format!("a review says its length, which is {BODY_BYTES_MAX} bytes at most");
            (StatusCode::PAYLOAD_TOO_LARGE, why)
        })?;
        let kib = u32::try_from((bytes >> 10) + 1).expect("bodies are shorter");
        let held = Arc::clone(&self.memory).try_acquire_many_owned(kib);
        held.map_err(|_| {
            let why = "too many reviews at a time".to_owned();
            (StatusCode::SERVICE_UNAVAILABLE, why)
        })
    }

    /// The known objects; just after a start it is worth waiting for them.
    async fn given(&self, path: &str) -> Arc<Given> {
        let mut given = self.given.clone();
        if admission::needs_given(path) {
            let known = given.wait_for(|given| !matches!(**given, Given::Unknown));
            let _else_the_verdict_says_so = tokio::time::timeout(GIVEN_MAX, known).await;
        }
        Arc::clone(&given.borrow())
    }
}

async fn read(body: Body) -> Result<Bytes, Refused> {
    match tokio::time::timeout(BODY_TIME, axum::body::to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => Err((
            StatusCode::BAD_REQUEST,
            format!("failed to read the review: {error}"),
        )),
        Err(_) => Err((
            StatusCode::REQUEST_TIMEOUT,
            "the review took too long".to_owned(),
        )),
    }
}

/// API servers take 3 MB of an object; its old version and the envelope come on top.
const BODY_BYTES_MAX: usize = 7 << 20;
/// What all bodies may take: anyone who reaches the port may send some.
const MEMORY_BYTES_MAX: usize = 64 << 20;
const BODY_TIME: Duration = Duration::from_secs(8); // API servers give a webhook 10 s
/// Of those 10 s, what waiting for objects may take.
const GIVEN_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
