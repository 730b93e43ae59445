//! Metrics and health over plain HTTP.
//!
//! Connections are few and bounded in number: whoever holds them open cannot take the speaker's descriptors.

use super::health::{self, Check, Health};
use super::process::Process;
use super::{ControllerFigures, Facts, Figures, log, metrics};
use anyhow::{Context, Result};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Makes the figures of now; called off the runtime's workers.
pub(crate) type FiguresNow = Arc<dyn Fn() -> Result<Figures> + Send + Sync>;
/// Makes the facts of now; must not block.
pub(crate) type FactsNow = Arc<dyn Fn() -> Facts + Send + Sync>;

/// Makes the page of metrics of now; called off the runtime's workers.
pub(crate) type PageNow = Arc<dyn Fn() -> Result<String> + Send + Sync>;

/// The page of a speaker's metrics.
pub(crate) fn page(figures: FiguresNow) -> PageNow {
    Arc::new(move || metrics::render(&figures()?, &Process::read()?, log::lines_lost()))
}

/// Listens at `address` for `/metrics`; the future serves until it is dropped.
///
/// # Errors
/// When the address cannot be had.
pub(crate) async fn metrics(
    address: SocketAddr,
    page: PageNow,
) -> Result<impl Future<Output = Result<()>>> {
    let page = move || scrape(Arc::clone(&page));
    serve(
        address,
        Router::new().route("/metrics", get(page)),
        "--port",
    )
    .await
}

/// Listens at `address` for `/healthz` and `/readyz`; the future serves until it is dropped.
///
/// # Errors
/// When the address cannot be had.
pub(crate) async fn health(
    address: SocketAddr,
    facts: FactsNow,
) -> Result<impl Future<Output = Result<()>>> {
    let also = Arc::clone(&facts);
    let router = Router::new()
        .route(
            "/healthz",
            get(async move || answer(&health::live(&facts()))),
        )
        .route(
            "/readyz",
            get(async move || answer(&health::ready(&also()))),
        );
    serve(address, router, "--health-probe-port").await
}

/// Makes the controller's figures of now; must not block.
pub(crate) type ControllerFiguresNow = Arc<dyn Fn() -> ControllerFigures + Send + Sync>;

/// The page of the controller's metrics.
pub(crate) fn controller_page(figures: ControllerFiguresNow) -> PageNow {
    Arc::new(move || {
        let lost = log::lines_lost();
        metrics::render_controller(&figures(), &Process::read()?, lost)
    })
}

/// Makes the checks of now; must not block.
pub(crate) type ChecksNow = Arc<dyn Fn() -> Vec<Check> + Send + Sync>;

/// Listens at `address` for `/healthz` and `/readyz` of a process whose checks these are.
///
/// # Errors
/// When the address cannot be had.
pub(crate) async fn checks(
    address: SocketAddr,
    live: ChecksNow,
    ready: ChecksNow,
) -> Result<impl Future<Output = Result<()>>> {
    let page = |checks: ChecksNow| get(async move || answer(&Health::of(checks())));
    let router = Router::new()
        .route("/healthz", page(live))
        .route("/readyz", page(ready));
    serve(address, router, "--health-probe-port").await
}

async fn serve(
    address: SocketAddr,
    router: Router,
    flag: &'static str,
) -> Result<impl Future<Output = Result<()>>> {
    let listener = bind(address, flag).await?;
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let serving = axum::serve(Bounded { listener, seats }, router);
    Ok(async move { serving.await.context("failed to serve HTTP") })
}

/// Listens at `address`, which that flag can change. A kernel without IPv6 has every address of IPv4 in place of all.
pub(super) async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener> {
    let mut bound = TcpListener::bind(address).await;
    if bound.is_err() && address.ip() == Ipv6Addr::UNSPECIFIED {
        bound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await;
    }
    bound.with_context(|| {
        format!("failed to listen on {address}: give {flag} another port, or 0 for none")
    })
}

/// The answer to a scrape.
pub(super) async fn scrape(page: PageNow) -> Response {
    let made = tokio::task::spawn_blocking(move || page());
    text(made.await.context("the scrape was not finished").flatten())
}

fn text(made: Result<String>) -> Response {
    match made {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("failed to make the metrics: {error:#}\n"),
        )
            .into_response(),
    }
}

fn answer(health: &Health) -> Response {
    let status = if health.ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = serde_json::to_string(health).expect("texts and booleans are JSON");
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body + "\n",
    )
        .into_response()
}

/// A listener that takes so many connections at a time.
struct Bounded {
    listener: TcpListener,
    seats: Arc<Semaphore>,
}

/// A connection and its seat.
struct Seated {
    stream: TcpStream,
    _seat: OwnedSemaphorePermit,
}

impl Listener for Bounded {
    type Io = Seated;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Seated, SocketAddr) {
        let seat = Arc::clone(&self.seats)
            .acquire_owned()
            .await
            .expect("the seats are never closed");
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        (
            Seated {
                stream,
                _seat: seat,
            },
            peer,
        )
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Seated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Seated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

const CONNECTIONS_MAX: usize = 16; // a few scrapers and probes

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
