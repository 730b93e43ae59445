//! Metrics over HTTPS, for callers whom the API server knows and allows to read them.
//!
//! Who calls is asked of the API server by TokenReview, and whether that one may `get` the path `/metrics` by SubjectAccessReview, as
//! MetalLB's components do; a refusal looks like the API server's own. Answers are kept a while, and a good one longer while the API
//! server cannot be asked: somebody is paged exactly then. Knows nothing of what is on the page.
//!
//! Governed by authentication.k8s.io/v1 and authorization.k8s.io/v1.

mod caller;
mod verdicts;

pub(crate) use caller::Gate;

use super::http::{PageNow, bind, scrape};
use crate::drive::clock::{now, pause, wall};
use crate::tls::{self, CertDir, HANDSHAKE_TIME, Limits, Options, Served};
use anyhow::Result;
use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use caller::Refused;
use jiff::Timestamp;
use serde_json::json;
use std::net::SocketAddr;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::Duration;

/// How metrics are served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Secure {
    /// What of TLS is allowed.
    pub(crate) options: Options,
    /// Where somebody keeps a certificate (`--metrics-cert-dir`); else one is made, which nobody vouches for.
    pub(crate) folder: Option<CertDir>,
    /// The name for that one.
    pub(crate) name: String,
}

impl Secure {
    /// With the certificate in `folder`, or if that is empty with a certificate for `name`.
    pub(crate) fn new(options: Options, folder: &str, name: &str) -> Self {
        Self {
            options,
            folder: (!folder.is_empty()).then(|| CertDir(folder.into())),
            name: name.to_owned(),
        }
    }
}

/// Listens at `address` for `/metrics`; the future serves until it is dropped.
///
/// # Errors
/// When the address cannot be had, or no certificate can be made.
pub(crate) async fn metrics(
    address: SocketAddr,
    secure: Secure,
    gate: Gate,
    page: PageNow,
) -> Result<impl Future<Output = Result<()>>> {
    let listener = bind(address, "--port").await?;
    let served = Arc::new(Served::default());
    if secure.folder.is_none() {
        served.show(tls::self_signed(from_ref(&secure.name), today())?);
    }
    let config = secure.options.server(Arc::clone(&served));
    let router = guarded(gate, page);
    Ok(async move {
        tokio::select! {
            ended = tls::serve(listener, config, router, LIMITS) => ended,
            ended = keep(secure, served) => ended,
        }
    })
}

/// Keeps a certificate that counts, for ever.
async fn keep(secure: Secure, served: Arc<Served>) -> Result<()> {
    if let Some(folder) = secure.folder {
        tls::follow(folder, served, pause).await;
        return Ok(());
    }
    loop {
        pause(LOOK).await;
        let renewal = served.shown().map(|shown| shown.leaf.renewal());
        if renewal.is_none_or(|renewal| renewal <= today()) {
            served.show(tls::self_signed(from_ref(&secure.name), today())?);
        }
    }
}

fn guarded(gate: Gate, page: PageNow) -> Router {
    let gate = Arc::new(gate);
    let guard = move |request: Request, next: Next| {
        let gate = Arc::clone(&gate);
        async move {
            let authorization = request.headers().get(header::AUTHORIZATION).cloned();
            let authorization = authorization.as_ref().and_then(|value| value.to_str().ok());
            match gate.admit(now(), authorization).await {
                Ok(()) => next.run(request).await,
                Err(refused) => refusal(&refused),
            }
        }
    };
    Router::new()
        .route("/metrics", get(move || scrape(Arc::clone(&page))))
        .layer(from_fn(guard))
}

/// In the API server's own form and words.
fn refusal(refused: &Refused) -> Response {
    let (status, reason, message) = match refused {
        Refused::Unknown => {
            let message = "Unauthorized".to_owned();
            (StatusCode::UNAUTHORIZED, "Unauthorized", message)
        }
        Refused::Forbidden { user } => {
            let message = format!("forbidden: User {user:?} cannot get path \"/metrics\"");
            (StatusCode::FORBIDDEN, "Forbidden", message)
        }
        Refused::TooMany => {
            let message = "too many unknown callers, try again later".to_owned();
            (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
        }
        Refused::Unasked { why } => {
            let message = format!("the API server cannot be asked who calls: {why}");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                message,
            )
        }
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": status.as_u16(),
    });
    let json = [(header::CONTENT_TYPE, "application/json")];
    (status, json, format!("{body}\n")).into_response()
}

fn today() -> Timestamp {
    wall().try_into().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A few scrapers; the port is open to the cluster, so that strangers may hold some.
const LIMITS: Limits = Limits {
    connections: 32,
    handshake_time: HANDSHAKE_TIME,
};
const LOOK: Duration = Duration::from_secs(3600); // the certificate counts for a year

#[cfg(test)]
#[path = "secure_tests.rs"]
mod tests;
