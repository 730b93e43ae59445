//! Where peers may dial, and who did.
//!
//! One listener for each family, of the node and of each VRF that has peers; each has a task, and what it accepts waits in one queue for whoever
//! knows the peers. Without a port nothing is listened on.

use crate::edge::bgp::{Listener, PeerKeys, Post};
use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// A connection that somebody dialled.
pub(super) struct Guest {
    /// Where.
    pub(super) post: Post,
    /// It.
    pub(super) stream: TcpStream,
    /// Who.
    pub(super) from: SocketAddr,
}

/// Connections that were closed without a word, since the start.
#[derive(Debug, Default)]
pub(crate) struct Unwelcome {
    stranger: AtomicU64,
    overload: AtomicU64,
}

impl Unwelcome {
    /// One that no peer dialled.
    pub(super) fn is_stranger(&self) {
        self.stranger.fetch_add(1, Ordering::Relaxed);
    }

    /// How many, by cause.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BTreeMap::from([
            ("overload", count(&self.overload)),
            ("stranger", count(&self.stranger)),
        ])
    }
}

/// All listeners.
pub(super) struct Posts {
    port: Option<NonZeroU16>,
    unwelcome: Arc<Unwelcome>,
    /// What each is told; it ends with this.
    open: BTreeMap<Post, watch::Sender<PeerKeys>>,
    /// Why others are not.
    shut: BTreeMap<Post, String>,
    came_in: mpsc::Sender<Guest>,
    came: mpsc::Receiver<Guest>,
}

impl Posts {
    /// On this port, or on none.
    pub(super) fn new(port: Option<NonZeroU16>, unwelcome: Arc<Unwelcome>) -> Self {
        let (came_in, came) = mpsc::channel(GUESTS_MAX);
        Self {
            port,
            unwelcome,
            open: BTreeMap::new(),
            shut: BTreeMap::new(),
            came_in,
            came,
        }
    }

    /// Listens here and nowhere else. What cannot be had is tried again with each call.
    pub(super) fn want(&mut self, wanted: &BTreeMap<Post, PeerKeys>) {
        let Some(port) = self.port else {
            return;
        };
        self.open.retain(|post, _| wanted.contains_key(post));
        self.shut.retain(|post, _| wanted.contains_key(post));
        for (post, keys) in wanted {
            match self.open.get(post) {
                Some(told) if !told.is_closed() => {
                    told.send_if_modified(|known| {
                        let is_new = known != keys;
                        known.clone_from(keys);
                        is_new
                    });
                }
                _ => self.open(post, port, keys),
            }
        }
    }

    fn open(&mut self, post: &Post, port: NonZeroU16, keys: &PeerKeys) {
        match Listener::open(post, port.get()) {
            Ok(listener) => {
                let (told_in, mut told) = watch::channel(keys.clone());
                told.mark_changed();
                let served = Served {
                    post: post.clone(),
                    listener,
                    came: self.came_in.clone(),
                    unwelcome: Arc::clone(&self.unwelcome),
                };
                tokio::spawn(served.run(told));
                self.open.insert(post.clone(), told_in);
                self.shut.remove(post);
            }
            Err(error) => {
                let why = format!("{error:#}");
                if self.shut.get(post) != Some(&why) {
                    tracing::warn!(
                        event = "bgpNotListening",
                        port,
                        error = why,
                        "BGP peers cannot dial this node"
                    );
                }
                self.open.remove(post);
                self.shut.insert(post.clone(), why);
            }
        }
    }

    /// The next connection. Cancel-safe.
    pub(super) async fn next(&mut self) -> Guest {
        match self.came.recv().await {
            Some(guest) => guest,
            None => pending().await,
        }
    }

    /// Whether something is wanted that cannot be had.
    pub(super) fn is_lacking(&self) -> bool {
        !self.shut.is_empty()
    }

    /// Why nobody can dial here.
    pub(super) fn why_shut(&self, post: &Post) -> Option<&str> {
        self.shut.get(post).map(String::as_str)
    }
}

/// A listener at work.
struct Served {
    post: Post,
    listener: Listener,
    came: mpsc::Sender<Guest>,
    unwelcome: Arc<Unwelcome>,
}

impl Served {
    /// Runs until nothing can be told it any more.
    async fn run(mut self, mut told: watch::Receiver<PeerKeys>) {
        loop {
            tokio::select! {
                // A password is in force before anybody is let in.
                biased;
                changed = told.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let keys = told.borrow_and_update().clone();
                    if let Err(error) = self.listener.want(&keys) {
                        tracing::warn!(%error, "failed to set the passwords of BGP peers that dial; they are listened for anew");
                        return;
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, from)) => {
                        let guest = Guest { post: self.post.clone(), stream, from };
                        // One that finds no room is closed, and may dial again.
                        if self.came.try_send(guest).is_err() {
                            self.unwelcome.overload.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "failed to accept a connection");
                        sleep(BREATH).await;
                    }
                },
            }
        }
    }
}

/// Connections that nobody has looked at yet.
const GUESTS_MAX: usize = 64;
/// A pause where there are no descriptors.
const BREATH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testnet::TestNet;
    use std::net::TcpStream as Dialled;
    use tokio::runtime::Builder;

    #[test]
    fn connections_beyond_those_that_may_wait_are_closed_and_counted() {
        let net = TestNet::new();
        net.here.run("ip link set lo up");
        let unwelcome = Arc::new(Unwelcome::default());
        let mut posts = Posts::new(NonZeroU16::new(1179), Arc::clone(&unwelcome));
        let post = Post {
            vrf: None,
            is_v6: false,
        };
        net.here.enter(|| {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                posts.want(&BTreeMap::from([(post, PeerKeys::new())]));
                let dial = || Dialled::connect("127.0.0.1:1179").unwrap();
                let dialled: Vec<Dialled> = (0..GUESTS_MAX + 3).map(|_| dial()).collect();
                while unwelcome.counts()["overload"] < 3 {
                    sleep(Duration::from_millis(5)).await;
                }
                assert_eq!(dialled.len(), GUESTS_MAX + 3);
                for _ in 0..GUESTS_MAX {
                    posts.next().await;
                }
            });
        });
        assert_eq!(unwelcome.counts()["overload"], 3);
    }
}
