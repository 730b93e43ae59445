//! The BGP sessions of the running speaker: what they are made from, and what is logged of them, by MetalLB's names where it has some.

use super::bgp_keys::Vault;
use super::{bfd_keep, bgp_keys};
use crate::api::Api;
use crate::ctl::{self, PeerOrder, PeerOrders};
use crate::drive::bfd;
use crate::drive::bgp::{Command, Finder, Keys, Means, Places, Sessions, Sights, Told, Unwelcome};
use crate::drive::clock::pause;
use crate::drive::decide::View;
use crate::edge::Links;
use crate::settings::{Origin, Settings};
use anyhow::{Context, Result, bail};
use speaker_core::plan::PeerName;
use speaker_proto::Span;
use speaker_proto::bgp::session::{
    CLOSE_FLUSH, DRAIN_ANNOUNCE, DRAIN_WITHDRAW, State, Status, Stop,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What others may see and want of the sessions. Cheap to clone.
#[derive(Clone)]
pub(super) struct Bgp {
    /// All peers.
    pub(super) sights: watch::Receiver<Sights>,
    /// Passwords of the Secrets that peers name.
    pub(super) keys: watch::Receiver<Keys>,
    /// What BFD's thread shows, at most [`LOOK_AGAIN`] old.
    pub(super) bfd: watch::Receiver<bfd::Figures>,
    /// Where BFD sessions are kept for the next process, and for how long it may take.
    keeping: (PathBuf, Span),
    watcher: bfd::Handle,
    /// Who dialled in vain; `None`: nobody may dial.
    pub(super) unwelcome: Option<Arc<Unwelcome>>,
    /// Where orders go.
    pub(super) commands: mpsc::Sender<Command>,
}

impl Bgp {
    /// Starts the sessions, with BFD where the last process left it. `api`: where Secrets are read, in a cluster; `changes`: who watches.
    ///
    /// # Errors
    /// When the process can have no more threads or descriptors.
    pub(super) fn spawn(
        settings: &Settings,
        views: &watch::Receiver<Option<Arc<View>>>,
        links: watch::Receiver<Links>,
        (api, is_successor): (Option<Api>, bool),
        changes: broadcast::Sender<ctl::Event>,
        tasks: &mut JoinSet<Result<()>>,
    ) -> Result<Self> {
        let (sights_in, sights) = watch::channel(Sights::new());
        let (commands_in, commands) = mpsc::channel(COMMANDS);
        let (told_in, told) = mpsc::channel(TOLD);
        let (keys_in, keys) = watch::channel(bgp_keys::none());
        let (places_in, places) = watch::channel(Places::new());
        tasks.spawn(Finder::new(views.clone(), links, places_in).run());
        tasks.spawn(bgp_keys::follow(
            views.clone(),
            vault(settings, api),
            keys_in,
        ));
        let kept = bfd_keep::take(&settings.run_dir);
        // What is kept counts times from the boot, as the pins do that a successor found.
        let kept = if is_successor { kept } else { BTreeMap::new() };
        let started = bfd::start(kept).context("failed to start the BFD thread")?;
        let (watcher, lost) = started;
        let (bfd_in, bfd) = watch::channel(bfd::Figures::default());
        let unwelcome = Arc::new(Unwelcome::default());
        let means = Means {
            views: views.clone(),
            keys: keys.clone(),
            places,
            commands,
            sights: sights_in,
            told: told_in,
            bfd: (watcher.clone(), lost),
            port: settings.bgp_listen_port,
            unwelcome: Arc::clone(&unwelcome),
            is_successor,
        };
        tasks.spawn(Sessions::new(means).run());
        tasks.spawn(tell(told, changes));
        tasks.spawn(look(watcher.clone(), bfd_in));
        Ok(Self {
            sights,
            keys,
            bfd,
            keeping: (settings.run_dir.clone(), settings.restart_grace),
            watcher,
            unwelcome: settings.bgp_listen_port.map(|_| unwelcome),
            commands: commands_in,
        })
    }
}

/// Where Secrets are.
fn vault(settings: &Settings, api: Option<Api>) -> Vault {
    match &settings.origin {
        Origin::Directory(folder) => Vault::Folder(folder.clone(), settings.namespace.clone()),
        Origin::Cluster(_) => Vault::Api(api.expect("a cluster has an API server")),
    }
}

impl Bgp {
    /// Ends all sessions in this way, and waits until they have, for as long as that may take.
    pub(super) async fn stop(&self, stop: Stop) {
        let is_restart = stop == Stop::Restart;
        if is_restart {
            self.keep_bfd().await;
        }
        let (done_in, done) = oneshot::channel();
        let commanded = async {
            // Whoever does not take it has ended, and the sessions with it.
            if self
                .commands
                .send(Command::Stop(stop, done_in))
                .await
                .is_ok()
            {
                drop(done.await);
            }
        };
        let ended = timeout(STOP_MAX, commanded).await;
        if ended.is_ok() && !is_restart {
            // Only now: BIRD drops a BGP session whose BFD is AdminDown.
            self.watcher.leave().await;
        }
        if ended.is_err() {
            tracing::warn!(
                op = "shutdown",
                event = "sessionsLeft",
                "not every BGP session ended in time"
            );
        }
    }
}

impl Bgp {
    /// How operators pause sessions.
    pub(super) fn pauses(&self) -> PeerOrders {
        let commands = self.commands.clone();
        Arc::new(move |order| {
            let (done_in, done) = oneshot::channel();
            let command = match order {
                PeerOrder::Pause { peer, say } => {
                    Command::Pause(PeerName(peer.into()), say, done_in)
                }
                PeerOrder::Resume { peer } => Command::Resume(PeerName(peer.into()), done_in),
            };
            let commands = commands.clone();
            Box::pin(async move {
                let obeyed = async {
                    // Whoever does not take it has ended, and the answer with it.
                    drop(commands.send(command).await);
                    done.await
                };
                match timeout(OBEYED_MAX, obeyed).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_ended)) => Err("the session has just ended".to_owned()),
                    Err(_late) => Err("the speaker has too much to do: look again".to_owned()),
                }
            })
        })
    }
}

impl Bgp {
    /// Asks the peers to bear the time until the next process without BFD, and notes the sessions of those that agree. From then on they are
    /// told nothing else.
    async fn keep_bfd(&self) {
        let (run_dir, grace) = &self.keeping;
        let grace = Span::from_ns(grace.ns() + self.closing().ns());
        let kept = self.watcher.stretch(grace).await;
        if let Err(error) = bfd_keep::save(run_dir, &kept) {
            let error = format!("{error:#}");
            tracing::warn!(
                op = "shutdown",
                error,
                event = "bfdNotKept",
                "BFD sessions are not kept over the restart"
            );
        }
    }
}

impl Bgp {
    /// How long this process will go on for the peers that keep no routes: BFD with the others must bear that too.
    fn closing(&self) -> Span {
        let sights = self.sights.borrow();
        let mut statuses = sights.values().filter_map(|sight| sight.status.as_ref());
        let is_drained = |status: &Status| {
            let negotiated = status.negotiated.as_ref();
            negotiated.is_some_and(|negotiated| !negotiated.has_graceful_restart)
        };
        match statuses.any(|status| is_drained(&status.borrow())) {
            true => DRAINED,
            false => Span::from_ns(0),
        }
    }
}

/// Has BFD's thread show itself, again and again.
async fn look(watcher: bfd::Handle, shown: watch::Sender<bfd::Figures>) -> Result<()> {
    loop {
        if let Some(figures) = watcher.figures().await {
            shown.send_replace(figures);
        }
        pause(LOOK_AGAIN).await;
    }
}

/// Tells the log, and whoever watches, what happens to peers.
async fn tell(
    mut told: mpsc::Receiver<Told>,
    changes: broadcast::Sender<ctl::Event>,
) -> Result<()> {
    let mut up = BTreeSet::new();
    while let Some(told) = told.recv().await {
        match told {
            Told::Added(peer) => {
                tracing::info!(event = "peerAdded", %peer, "peer configured, starting BGP session");
            }
            Told::Removed(peer) => {
                up.remove(&peer);
                tracing::info!(
                    event = "peerRemoved", %peer, reason = "removedFromConfig",
                    "peer deconfigured, closing BGP session"
                );
            }
            Told::Routes(peer, count) => tracing::info!(
                event = "updatedAdvertisements", %peer, numAds = count,
                "making advertisements using BGP"
            ),
            Told::Changed(peer, status) => {
                if let Some(because) = changed(&mut up, &peer, &status) {
                    let event = ctl::Event::new(ctl::Kind::Session, peer.to_string(), because);
                    let _nobody_may_watch = changes.send(event);
                }
            }
        }
    }
    bail!("the BGP sessions ended")
}

/// Logs a change of a session; in words where someone who watches should hear of it.
fn changed(up: &mut BTreeSet<PeerName>, peer: &PeerName, status: &Status) -> Option<String> {
    let is_up = status.state == State::Established;
    let state = status.state.as_str();
    let because = status.cause.to_string();
    match (up.contains(peer), is_up) {
        (false, true) => {
            tracing::info!(event = "sessionUp", %peer, "BGP session established");
            up.insert(peer.clone());
            Some("up".to_owned())
        }
        (true, false) => {
            tracing::warn!(event = "sessionDown", %peer, state, reason = because, "BGP session down: {because}");
            up.remove(peer);
            Some(format!("down: {because}"))
        }
        // A cause is told when it is another one, and then only once.
        (false, false) if status.cause_count == 1 => {
            tracing::info!(event = "sessionNotUp", %peer, state, reason = because, "no BGP session: {because}");
            Some(format!("not up: {because}"))
        }
        (_, _) => {
            tracing::debug!(event = "session", %peer, state, "BGP session {state}");
            None
        }
    }
}

/// So long a peer is drained that keeps no routes over a restart.
const DRAINED: Span = Span::from_ns(DRAIN_ANNOUNCE.ns() + DRAIN_WITHDRAW.ns());
/// A drain, its last words, and some.
pub(super) const STOP_MAX: Duration =
    Duration::from_nanos(DRAINED.ns() + CLOSE_FLUSH.ns() + Span::s(2).ns());
/// Fresh enough for people and scrapes.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A session obeys at once; this is for a machine with no time at all.
const OBEYED_MAX: Duration = Duration::from_secs(10);
/// Orders of operators that were not taken yet.
const COMMANDS: usize = 16;
/// Changes that the log is behind; more are lost, and seen in the status.
const TOLD: usize = 1024;
