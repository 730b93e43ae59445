//! Which sessions there are: one task for each peer of the plan, started, told and ended as the plan says.
//!
//! A peer that the plan drops, or leaves to another speaker, is told so (CEASE 6/3). One whose settings cannot be had any more keeps what it
//! had, with the routes of now. While the node is drained no session is started, and those that stand are drained.

use super::liveness::Watched;
use super::posts::{Guest, Posts, Unwelcome};
use super::session::{Birth, Ends, Order, Task};
use super::sight::{PeerSight, Sights, Told};
use super::target::{Keys, Places, Target};
use crate::drive::bfd;
use crate::drive::decide::View;
use crate::edge::bgp::{Dial, PeerKeys, Post, Strangers};
use anyhow::{Context, Result};
use speaker_core::plan::{Obstacle, PeerName, PeerPlan, PeerSettings};
use speaker_proto::bgp::Routes;
use speaker_proto::bgp::session::{Status, Stop};
use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What the sessions are made from and whom they tell.
pub(crate) struct Means {
    /// The plan in force.
    pub(crate) views: watch::Receiver<Option<Arc<View>>>,
    /// Passwords of Secrets.
    pub(crate) keys: watch::Receiver<Keys>,
    /// Routers on links.
    pub(crate) places: watch::Receiver<Places>,
    /// What operators want.
    pub(crate) commands: mpsc::Receiver<Command>,
    /// What can be seen.
    pub(crate) sights: watch::Sender<Sights>,
    /// Who is told of changes.
    pub(crate) told: mpsc::Sender<Told>,
    /// The thread that watches peers, and what it says.
    pub(crate) bfd: (bfd::Handle, mpsc::Receiver<bfd::Event>),
    /// The port of TCP on which peers may dial; `None`: we dial only.
    pub(crate) port: Option<NonZeroU16>,
    /// Where those are counted that dialled there in vain.
    pub(crate) unwelcome: Arc<Unwelcome>,
    /// A process before this one announced from this node, and what it left in the kernel was adopted.
    pub(crate) is_successor: bool,
}

/// What is wanted of sessions beside what the plan says.
#[derive(Debug)]
pub(crate) enum Command {
    /// All sessions end for good in this way; told when they have.
    Stop(Stop, oneshot::Sender<()>),
    /// There is no session with this peer, which is told this text, until it is resumed.
    Pause(PeerName, String, Done),
    /// There is a session with this peer again.
    Resume(PeerName, Done),
}

/// Who is told once a command is obeyed, or why it is not.
pub(crate) type Done = oneshot::Sender<Result<(), String>>;

/// The sessions of this node.
pub(crate) struct Sessions {
    means: Means,
    peers: BTreeMap<PeerName, Peer>,
    watched: Watched,
    posts: Posts,
    tasks: JoinSet<PeerName>,
    strangers: Strangers,
    /// The first whole plan was taken: peers that come later were never spoken with before.
    is_begun: bool,
    /// None is started any more.
    is_over: bool,
    /// Who waits until all have ended.
    end: Option<oneshot::Sender<()>>,
}

/// A peer with a session, or with what stands in its way.
#[derive(Default)]
struct Peer {
    settings: Option<Arc<PeerSettings>>,
    obstacle: Option<Obstacle>,
    routes: Arc<Routes>,
    /// An operator wants no session, and has the peer told this.
    paused: Option<String>,
    session: Option<Running>,
    /// How the last session was at its end.
    ended: Option<Arc<Status>>,
}

struct Running {
    target: watch::Sender<Target>,
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<Status>,
    is_taken: Arc<AtomicBool>,
    is_ending: bool,
}

impl Sessions {
    pub(crate) fn new(means: Means) -> Self {
        let posts = Posts::new(means.port, Arc::clone(&means.unwelcome));
        Self {
            means,
            posts,
            peers: BTreeMap::new(),
            watched: Watched::default(),
            tasks: JoinSet::new(),
            strangers: Strangers::default(),
            is_begun: false,
            is_over: false,
            end: None,
        }
    }

    /// Runs until the views end.
    ///
    /// # Errors
    /// When they do, or a session's task breaks an invariant.
    pub(crate) async fn run(mut self) -> Result<()> {
        loop {
            tokio::select! {
                changed = self.means.views.changed() => changed.context("the views ended")?,
                Ok(()) = self.means.keys.changed() => {}
                Ok(()) = self.means.places.changed() => {}
                Some(event) = self.means.bfd.1.recv() => self.heard(&event).await,
                Some(command) = self.means.commands.recv() => self.obey(command).await,
                guest = self.posts.next() => self.receive(guest).await,
                () = sleep(LISTEN_AGAIN), if self.posts.is_lacking() => {}
                Some(ended) = self.tasks.join_next() => {
                    let name = ended.context("the task of a BGP session failed")?;
                    self.ended(&name);
                }
            }
            let view = self.means.views.borrow_and_update().clone();
            if let Some(view) = view.filter(|view| view.plan.is_complete) {
                self.take(&view).await;
            }
            self.end_if_done();
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Stop(stop, done) => {
                for peer in self.peers.values_mut() {
                    peer.stop(stop.clone()).await;
                }
                self.is_over = true;
                self.listen();
                self.end = Some(done);
            }
            Command::Pause(name, text, done) => self.pause(&name, Some(text), done).await,
            Command::Resume(name, done) => self.pause(&name, None, done).await,
        }
    }

    /// Pauses the session with a peer, which is told this, or resumes it. One that is still to come will be paused from its beginning.
    async fn pause(&mut self, name: &PeerName, text: Option<String>, done: Done) {
        let answer = match self.peers.get_mut(name) {
            None => Err(format!("this node has no BGPPeer {name}")),
            Some(peer) if self.is_over || peer.is_ending() => {
                Err(format!("the session with {name} is being ended for good"))
            }
            Some(peer) => {
                peer.pause(text.as_deref());
                Ok(())
            }
        };
        self.show();
        match self.peers.get(name) {
            Some(peer) if answer.is_ok() && peer.session.is_some() => {
                peer.order(match text {
                    Some(text) => Order::Pause(text, done),
                    None => Order::Resume(done),
                })
                .await;
            }
            Some(_) | None => {
                let _nobody_may_wait_any_more = done.send(answer);
            }
        }
    }

    async fn heard(&mut self, event: &bfd::Event) {
        let found = self.watched.found(event);
        if let Some(peer) = found.and_then(|name| self.peers.get(name)) {
            peer.order(Order::BfdUp).await;
        }
        let Some(loss) = self.watched.loss(event) else {
            return;
        };
        tracing::warn!(event = "bfdDown", peer = %loss.peer, "BFD lost a BGP peer");
        let order = Order::BfdDown {
            is_peer_anew: loss.is_peer_anew,
            detection: loss.detection,
        };
        if let Some(peer) = self.peers.get(&loss.peer) {
            peer.order(order).await;
        }
    }

    /// Has BFD watch those that have a session. A drain takes a session's end before BFD's, so that the peer sees no loss; after a
    /// restart nothing is said at all, and the next process is there in time or the peer's own timers decide.
    fn watch(&mut self) {
        if self.is_over {
            return;
        }
        let mut watched = Watched::default();
        for (name, peer) in &self.peers {
            if let (Some(running), Some(settings)) = (&peer.session, &peer.settings)
                && let Ok(dial) = &running.target.borrow().dial
            {
                watched.add(name, settings, dial);
            }
        }
        self.means.bfd.0.want(watched.wants());
        self.watched = watched;
    }

    /// Lets those dial that have a session; the next process of this node listens where this one did.
    fn listen(&mut self) {
        let mut wanted: BTreeMap<Post, PeerKeys> = BTreeMap::new();
        let dials = self.peers.values().filter_map(Peer::dial);
        for dial in dials.filter(|_| !self.is_over) {
            let keys = wanted.entry(Post::of(&dial)).or_default();
            if let Some(key) = dial.key {
                keys.insert(dial.to.ip(), key);
            }
        }
        self.posts.want(&wanted);
    }

    /// Hands a connection to the session with whom dialled it. One of nobody's is closed.
    async fn receive(&mut self, guest: Guest) {
        let Ok(own) = guest.stream.local_addr() else {
            return;
        };
        let is_theirs = |peer: &&Peer| {
            let dial = peer.dial();
            dial.is_some_and(|dial| {
                Post::of(&dial) == guest.post && dial.fits(guest.from, own.ip())
            })
        };
        match self.peers.values().find(is_theirs) {
            Some(peer) => peer.order(Order::Accepted(guest.stream)).await,
            None => {
                self.means.unwelcome.is_stranger();
                tracing::debug!(from = %guest.from, "a connection of no BGP peer is closed");
            }
        }
    }

    fn ended(&mut self, name: &PeerName) {
        if let Some(peer) = self.peers.get_mut(name)
            && let Some(running) = peer.session.take()
        {
            peer.ended = Some(Arc::new(running.status.borrow().clone()));
        }
    }

    fn end_if_done(&mut self) {
        let is_done = self.peers.values().all(|peer| peer.session.is_none());
        if let Some(done) = self.end.take_if(|_| is_done) {
            let _nobody_may_wait_any_more = done.send(());
        }
    }

    async fn take(&mut self, view: &View) {
        let is_draining = view.local.is_draining;
        for (name, plan) in &view.plan.bgp {
            let peer = self.peers.entry(name.clone()).or_insert_with(|| {
                let told = Told::Added(name.clone());
                let _log_only = self.means.told.try_send(told);
                Peer::default()
            });
            if peer.plan(plan) {
                let told = Told::Routes(name.clone(), plan.routes.len());
                let _log_only = self.means.told.try_send(told);
            }
        }
        let names: Vec<PeerName> = self.peers.keys().cloned().collect();
        for name in names {
            let is_wanted = view.plan.bgp.contains_key(&name);
            self.adjust(&name, is_wanted, is_draining).await;
        }
        self.is_begun = true;
        self.watch();
        self.listen();
        self.show();
    }

    /// Brings one peer to what is wanted of it.
    async fn adjust(&mut self, name: &PeerName, is_wanted: bool, is_draining: bool) {
        let Some(peer) = self.peers.get_mut(name) else {
            return;
        };
        let target = {
            let (keys, places) = (self.means.keys.borrow(), self.means.places.borrow());
            peer.target(&keys, &places)
        };
        match (&peer.session, target) {
            (None, _) if !is_wanted => {
                self.peers.remove(name);
                let _log_only = self.means.told.try_send(Told::Removed(name.clone()));
            }
            (Some(_), _) if !is_wanted => peer.stop(Stop::Deconfigured).await,
            (Some(_), _) if is_draining => peer.stop(Stop::Drain(DRAIN_TEXT.to_owned())).await,
            (Some(running), Some(target)) => running.tell(target),
            (Some(_), None) => peer.stop(Stop::Deconfigured).await,
            (None, Some(target)) if !self.is_over && !is_draining => {
                self.spawn(name, target);
            }
            (None, _) => {}
        }
    }

    fn spawn(&mut self, name: &PeerName, target: Target) {
        let (target_in, target) = watch::channel(target);
        let (orders_in, orders) = mpsc::channel(ORDERS);
        let told = self.means.told.clone();
        let is_taken = Arc::new(AtomicBool::new(false));
        let paused = (self.peers.get(name)).and_then(|peer| peer.paused.clone());
        let birth = Birth {
            is_restarting: self.means.is_successor && !self.is_begun,
            kept_forwarding: self.means.is_successor && !self.is_begun,
        };
        let (task, status) = Task::new(
            Ends {
                name: name.clone(),
                target,
                orders,
                paused,
                told,
                is_taken: Arc::clone(&is_taken),
                strangers: self.strangers.clone(),
            },
            birth,
        );
        let ended = name.clone();
        self.tasks.spawn(async move {
            task.run().await;
            ended
        });
        if let Some(peer) = self.peers.get_mut(name) {
            peer.session = Some(Running {
                target: target_in,
                orders: orders_in,
                status,
                is_taken,
                is_ending: false,
            });
        }
    }

    fn show(&self) {
        let sight = |(name, peer): (&PeerName, &Peer)| {
            let post = peer.dial().as_ref().map(Post::of);
            let deaf = post.and_then(|post| self.posts.why_shut(&post).map(str::to_owned));
            (name.clone(), peer.sight(deaf))
        };
        let sights = self.peers.iter().map(sight).collect();
        self.means.sights.send_replace(sights);
    }
}

impl Peer {
    /// Whether it is to be told other routes than before.
    fn plan(&mut self, plan: &PeerPlan) -> bool {
        match &plan.settings {
            Ok(settings) => {
                self.settings = Some(Arc::clone(settings));
                self.obstacle = None;
            }
            Err(obstacle) => {
                if obstacle.ends_session() {
                    self.settings = None;
                }
                self.obstacle = Some(obstacle.clone());
            }
        }
        let is_new = !Arc::ptr_eq(&self.routes, &plan.routes);
        self.routes = Arc::clone(&plan.routes);
        is_new
    }

    /// `None`: it never had settings, or is another speaker's.
    fn target(&self, keys: &Keys, places: &Places) -> Option<Target> {
        let settings = self.settings.as_ref()?;
        Some(Target::new(settings, &self.routes, keys, places))
    }

    async fn stop(&mut self, stop: Stop) {
        if let Some(running) = &mut self.session
            && !std::mem::replace(&mut running.is_ending, true)
        {
            self.order(Order::Stop(stop)).await;
        }
    }

    /// A session's task never waits for its peer, so that this does not either.
    async fn order(&self, order: Order) {
        if let Some(running) = &self.session {
            let _one_that_ended_needs_none = running.orders.send(order).await;
        }
    }

    /// Keeps what an operator wants. A session that is paused already has told its peer another text.
    fn pause(&mut self, text: Option<&str>) {
        match text {
            Some(text) => {
                self.paused.get_or_insert_with(|| text.to_owned());
            }
            None => self.paused = None,
        }
    }

    fn is_ending(&self) -> bool {
        (self.session.as_ref()).is_some_and(|running| running.is_ending)
    }

    /// How it is dialled, where it has a session and that is known.
    fn dial(&self) -> Option<Dial> {
        let running = self.session.as_ref()?;
        running.target.borrow().dial.clone().ok()
    }

    /// `deaf`: why it cannot dial, where it may.
    fn sight(&self, deaf: Option<String>) -> PeerSight {
        let key = self.dial().and_then(|dial| dial.key);
        let key = key.map(|key| key.length());
        PeerSight {
            deaf,
            settings: self.settings.clone(),
            obstacle: self.obstacle.clone(),
            paused: self.paused.clone(),
            wanted: self.routes.len(),
            key_bytes: key,
            status: self.session.as_ref().map(|running| running.status.clone()),
            is_taken: (self.session.as_ref()).map(|running| Arc::clone(&running.is_taken)),
            ended: self.ended.clone(),
        }
    }
}

impl Running {
    fn tell(&self, target: Target) {
        self.target.send_if_modified(|known| {
            let is_new = !known.is_same(&target);
            if is_new {
                *known = target;
            }
            is_new
        });
    }
}

/// Orders that a task has not taken yet.
const ORDERS: usize = 16;
/// When it is tried again to listen where that failed.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);
/// What peers are told with a drain (RFC 9003).
pub(crate) const DRAIN_TEXT: &str = "node drain";
