//! A server of HTTP/1.1 over TLS in which everything that a stranger can hold is bounded: connections, and the time for a handshake
//! and for the head of a request. When there are too many, the one that has done nothing for longest gives way, so that holding them
//! open keeps nobody out.
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
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

/// What strangers may hold of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// Connections at a time, also those in a handshake.
    pub(crate) connections: usize,
    /// How long a handshake may take.
    pub(crate) handshake_time: Duration,
}

/// Serves until it is dropped, and every connection with it.
pub(crate) async fn serve(
    mut listener: TcpListener,
    config: Arc<ServerConfig>,
    router: Router,
    limits: Limits,
) -> Result<()> {
    let mut room = Room::default();
    loop {
        let (stream, _) = Listener::accept(&mut listener).await;
        room.make(limits.connections).await;
        let acceptor = TlsAcceptor::from(Arc::clone(&config));
        let router = router.clone();
        room.take(async move |seat| {
            if let Some(stream) = shake(stream, acceptor, limits.handshake_time).await {
                converse(stream, router, seat).await;
            }
        });
    }
}

/// The connections that there are.
#[derive(Default)]
struct Room {
    tasks: JoinSet<()>,
    seats: Vec<(Arc<Seat>, AbortHandle)>,
    moves: Arc<AtomicU64>,
}

/// What a connection does.
struct Seat {
    /// Counts what happens in the whole room.
    moves: Arc<AtomicU64>,
    /// The count when it last did something, or [`BUSY`].
    last: AtomicU64,
}

impl Room {
    /// Makes room for one more: the longest idle goes, or if all are busy the first that ends.
    async fn make(&mut self, connections: usize) {
        loop {
            while self.tasks.try_join_next().is_some() {}
            self.seats.retain(|(_, task)| !task.is_finished());
            if self.seats.len() < connections {
                return;
            }
            let seats = self.seats.iter().enumerate();
            let last = |(_, (seat, _)): &(usize, &(Arc<Seat>, AbortHandle))| {
                seat.last.load(Ordering::Relaxed)
            };
            let oldest = seats.min_by_key(last).filter(|seat| last(seat) != BUSY);
            match oldest.map(|(at, _)| at) {
                Some(at) => self.seats.swap_remove(at).1.abort(),
                None => drop(self.tasks.join_next().await),
            }
        }
    }

    fn take<F: Future<Output = ()> + Send + 'static>(&mut self, work: impl FnOnce(Arc<Seat>) -> F) {
        let seat = Arc::new(Seat {
            moves: Arc::clone(&self.moves),
            last: AtomicU64::default(),
        });
        seat.rest();
        let task = self.tasks.spawn(work(Arc::clone(&seat)));
        self.seats.push((seat, task));
    }
}

impl Seat {
    /// An answer is being made: it does not give way.
    fn work(&self) {
        self.last.store(BUSY, Ordering::Relaxed);
    }

    fn rest(&self) {
        let count = self.moves.fetch_add(1, Ordering::Relaxed);
        self.last.store(count, Ordering::Relaxed);
    }
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

async fn converse(stream: TlsStream<TcpStream>, router: Router, seat: Arc<Seat>) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (router, seat) = (router.clone(), Arc::clone(&seat));
        async move {
            seat.work();
            let answer = router.oneshot(request.map(Body::new)).await;
            seat.rest();
            answer
        }
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

/// Later than anything that was counted.
const BUSY: u64 = u64::MAX;
/// Time enough for a handshake: a client that is far away takes a second.
pub(crate) const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// From the end of one request to the head of the next: API servers let go of idle connections after 90 s, and whoever lets go first
/// never sends into a connection that is being closed.
const HEAD_MAX: Duration = Duration::from_secs(100);

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
