//! A server of HTTP/1.1 over TLS in which everything that a stranger can hold is bounded: connections, handshakes in progress, and
//! the time for a handshake and for the head of a request.
//!
//! Whoever needs more than the head bounds that itself. Knows no page.

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

/// What strangers may hold of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// Connections at a time.
    pub(crate) connections: usize,
    /// Of those, in a handshake.
    pub(crate) handshakes: usize,
    /// How long a handshake may take.
    pub(crate) handshake_time: Duration,
}

/// Serves until it is dropped, and every connection with it. Connections beyond the limits wait for a seat.
pub(crate) async fn serve(
    mut listener: TcpListener,
    config: Arc<ServerConfig>,
    router: Router,
    limits: Limits,
) -> Result<()> {
    let seats = Arc::new(Semaphore::new(limits.connections));
    let handshakes = Arc::new(Semaphore::new(limits.handshakes));
    let mut connections = JoinSet::new();
    loop {
        let held = seat(&seats).await;
        let handshake = seat(&handshakes).await;
        let (stream, _) = Listener::accept(&mut listener).await;
        while connections.try_join_next().is_some() {}
        let acceptor = TlsAcceptor::from(Arc::clone(&config));
        let router = router.clone();
        connections.spawn(async move {
            if let Some(stream) = shake(stream, acceptor, limits.handshake_time).await {
                drop(handshake);
                converse(stream, router).await;
            }
            drop(held);
        });
    }
}

async fn seat(seats: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let seats = Arc::clone(seats);
    seats
        .acquire_owned()
        .await
        .expect("the seats are never closed")
}

async fn shake(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    time: Duration,
) -> Option<TlsStream<TcpStream>> {
    let _less_delay_is_no_condition = stream.set_nodelay(true);
    let peer = stream.peer_addr().ok();
    match tokio::time::timeout(time, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(?peer, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(?peer, "TLS handshake took too long");
            None
        }
    }
}

async fn converse(stream: TlsStream<TcpStream>, router: Router) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        router.clone().oneshot(request.map(Body::new))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Time enough for a handshake: a client that is far away takes a second.
pub(crate) const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// From the end of one request to the head of the next: API servers let go of idle connections after 90 s, and whoever lets go first
/// never sends into a connection that is being closed.
const HEAD_MAX: Duration = Duration::from_secs(100);

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
