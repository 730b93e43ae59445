//! What the pulse's thread must know to meet other speakers: the secret, where they are, and what this node says of itself.
//!
//! Tasks that may hang without harm: without news the thread goes on with what it was last told.

use super::Speaker;
use super::begin::Itself;
use super::cluster::Link;
use crate::drive::chance;
use crate::drive::clock::{now, pause};
use crate::drive::decide::View;
use crate::drive::members_board::MembersBoard;
use crate::drive::membership::{Heard, Parts};
use crate::drive::pulse::PulseHandle;
use crate::edge::Links;
use crate::edge::gossip::{Keys, SecretPlace, Sockets, follow_secret};
use crate::settings::Settings;
use crate::settings::members::MemberSettings;
use anyhow::{Result, bail};
use speaker_core::agent::Input;
use speaker_core::members::node_id;
use speaker_core::{Kind, Local, World, meeting};
use speaker_proto::gossip::{self, Start};
use speaker_proto::member::{HeldEntry, HeldState, Profile};
use speaker_proto::{Boot, Epoch, GroupKey, Mac, Vip};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the thread begins with. Others hear at once by which hardware this node goes on: to whom a restart is none, its links are none that went.
pub(super) fn parts<'a>(
    settings: &Settings,
    itself: &Itself,
    sockets: Sockets,
    held: impl Iterator<Item = (&'a Vip, &'a Epoch)>,
    (inbox, board): (&SyncSender<Input>, &MembersBoard),
) -> Parts {
    let Itself { local, macs } = itself;
    let addresses = own_addresses(&settings.members, &World::default(), local);
    let holding = |(vip, epoch): (&Vip, &Epoch)| {
        let state = HeldState::Holding;
        (
            GroupKey(vip.0),
            HeldEntry {
                epoch: *epoch,
                state,
            },
        )
    };
    let start = Start {
        me: node_id(&settings.node),
        boot: Boot(chance::bytes()),
        profile: Arc::new(meeting::profile(local, addresses, macs, false)),
        held: Arc::new(held.map(holding).collect()),
        seed: u64::from_ne_bytes(chance::bytes()),
        now: now(),
    };
    let inbox = inbox.clone();
    let hear = move |heard| {
        let input = match heard {
            Heard::Roster(roster) => Input::Roster(roster),
            Heard::Told(from, message) => Input::Told(from, message),
        };
        inbox.try_send(input).is_ok()
    };
    Parts {
        start,
        sockets,
        hear: Box::new(hear),
        board: board.clone(),
    }
}

/// The keys, if they are there already: a deadline that is adopted lasts half a second.
pub(super) fn keys(settings: &Settings) -> Option<Keys> {
    match &settings.members.secret {
        Some(place) => place.read().ok().map(Keys::Shared),
        None => {
            tracing::warn!(
                event = "insecureGossip",
                "--insecure-gossip: whoever reaches UDP port {} can move VIPs",
                settings.members.port
            );
            Some(Keys::None)
        }
    }
}

/// Where what the thread must know comes from.
pub(super) struct Meeting {
    settings: MemberSettings,
    pulse: PulseHandle,
    views: watch::Receiver<Option<Arc<View>>>,
    inbox: SyncSender<Input>,
    board: MembersBoard,
    api: Option<Link>,
    /// This node's hardware addresses, as it says of itself.
    macs: watch::Sender<BTreeSet<Mac>>,
}

impl Meeting {
    /// `api` is the connection to the API server, in a cluster.
    pub(super) fn new(settings: &Settings, speaker: &Speaker, api: Option<Link>) -> Self {
        Self {
            settings: settings.members.clone(),
            pulse: speaker.pulse.clone(),
            views: speaker.views.clone(),
            inbox: speaker.inbox.clone(),
            board: speaker.members.clone(),
            api,
            macs: watch::Sender::default(),
        }
    }

    /// This node's hardware addresses, as others are told of them; none as long as they are not known.
    pub(super) fn macs(&self) -> watch::Receiver<BTreeSet<Mac>> {
        self.macs.subscribe()
    }

    /// Starts the tasks.
    pub(super) fn spawn(self, links: watch::Receiver<Links>, tasks: &mut JoinSet<Result<()>>) {
        if let Some(place) = self.settings.secret.clone() {
            tasks.spawn(follow(place, self.pulse.clone()));
        }
        tasks.spawn(self.run(links));
    }

    async fn run(mut self, mut links: watch::Receiver<Links>) -> Result<()> {
        let mut told_profile: Option<Arc<Profile>> = None;
        let mut told_seeds: Option<BTreeSet<SocketAddr>> = None;
        let mut place = Place::default();
        let mut is_seen = false;
        let mut told_stale = false;
        let mut told_waiting = false;
        loop {
            let is_stale = self.is_stale();
            if told_stale != is_stale && self.inbox.try_send(Input::Stale(is_stale)).is_ok() {
                told_stale = is_stale;
            }
            let is_waiting = self.board.is_waiting();
            let waiting = Input::WaitingForSecret(is_waiting);
            if told_waiting != is_waiting && self.inbox.try_send(waiting).is_ok() {
                told_waiting = is_waiting;
            }
            let view = self.views.borrow_and_update().clone();
            let macs = links.borrow_and_update().macs.clone();
            if let Some(view) = view {
                is_seen &= !place.look(&self.settings, &view);
                let profile = self.profile(&view, place.own.clone(), &macs);
                let own: BTreeSet<Mac> = profile.macs.iter().copied().collect();
                self.macs.send_if_modified(|known| {
                    let is_news = *known != own;
                    *known = own;
                    is_news
                });
                if told_profile.as_deref() != Some(&profile) {
                    let profile = Arc::new(profile);
                    let input = gossip::Input::Profile(Arc::clone(&profile));
                    told_profile = self.pulse.tell(input).is_ok().then_some(profile);
                }
                if view.world.synced.contains(&Kind::Node) && !is_seen {
                    let seeds = self.seeds(&view, &place.own);
                    if told_seeds.as_ref() != Some(&seeds) {
                        let input = gossip::Input::Seeds(seeds.clone());
                        told_seeds = self.pulse.tell(input).is_ok().then_some(seeds);
                    }
                    is_seen = told_seeds.is_some();
                }
            }
            // Views come with every plan; that is often enough to look.
            pause(SETTLE).await;
            tokio::select! {
                changed = self.views.changed() => if changed.is_err() {
                    bail!("the deciding thread ended");
                },
                changed = links.changed() => if changed.is_err() {
                    bail!("the links are not followed any more");
                },
                () = pause(AGAIN) => {}
            }
        }
    }

    fn profile(&self, view: &View, own: Vec<SocketAddr>, macs: &BTreeSet<Mac>) -> Profile {
        Profile {
            key: self.board.key(),
            ..meeting::profile(&view.local, own, macs, self.is_stale())
        }
    }

    /// Whether other speakers know better what there is.
    fn is_stale(&self) -> bool {
        self.api.as_ref().is_some_and(Link::is_stale)
    }

    fn seeds(&self, view: &View, own: &[SocketAddr]) -> BTreeSet<SocketAddr> {
        let nodes = meeting::seeds(&view.world, &view.local.node, self.settings.port);
        let mut seeds: BTreeSet<SocketAddr> = self.settings.seeds.clone();
        seeds.extend(nodes);
        seeds.retain(|seed| !own.contains(seed));
        seeds
    }
}

/// Where this node's speaker is met, and what that was worked out from.
#[derive(Default)]
struct Place {
    ground: Option<meeting::Ground>,
    own: Vec<SocketAddr>,
}

impl Place {
    /// Looks at a view; whether addresses may have changed since the last one.
    fn look(&mut self, settings: &MemberSettings, view: &View) -> bool {
        let ground = self.ground.as_ref();
        if ground.is_some_and(|ground| ground.is_of(&view.world)) {
            return false;
        }
        self.ground = Some(meeting::Ground::of(&view.world));
        self.own = own_addresses(settings, &view.world, &view.local);
        true
    }
}

fn own_addresses(settings: &MemberSettings, world: &World, local: &Local) -> Vec<SocketAddr> {
    meeting::own_addresses(world, &local.node, settings.address, settings.port)
}

/// Follows the secret for ever.
async fn follow(place: SecretPlace, pulse: PulseHandle) -> Result<()> {
    let shown = place.to_string();
    let mut is_first = true;
    let install = |secret| {
        let is_sent = pulse.install(Keys::Shared(secret));
        if is_sent {
            let what = if is_first { "found" } else { "replaced" };
            tracing::info!(
                event = "secretLoaded",
                "the members' secret was {what} in {shown}"
            );
            is_first = false;
        }
        is_sent
    };
    let missing = |why: &str| {
        tracing::warn!(
            event = "secretMissing",
            reason = "WaitingForSecret",
            "no secret for members (--ml-secret-key-path), {why}; without one that was found before nothing is announced"
        );
    };
    follow_secret(place, install, missing, pause).await;
    Ok(())
}

/// Between two looks, so that a burst of plans is one.
const SETTLE: Duration = Duration::from_millis(20);
/// What the thread did not take is told again, and a source that went silent is noticed.
const AGAIN: Duration = Duration::from_secs(1);
