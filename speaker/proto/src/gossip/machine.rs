//! The machine: what it keeps, when it wakes, and to which part each thing that happens belongs.

use super::counts::Counts;
use super::own::Own;
use super::peer::{Contact, Peer, ms};
use super::promise::{Parting, Promise};
use super::replay::Challenges;
use super::roster::View;
use super::schedule::{FANOUT, PACE, Schedule};
use super::seeds::Seeds;
use super::votes::Ballot;
use super::watch::Watch;
use super::wire::{Heartbeat, Message};
use super::{Datagram, Input, MESSAGE_BYTES_MAX, Output, Start};
use crate::member::{NodeId, Roster};
use crate::pulse::PROMISE;
use crate::{Machine, Span, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// Membership as one node sees it.
#[derive(Debug)]
pub struct Gossip {
    pub(super) own: Own,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    /// Who is alive, this node included: what observers are a function of.
    pub(super) live: BTreeSet<NodeId>,
    /// Those who observe this node.
    pub(super) observers: Vec<NodeId>,
    /// Who else gets heartbeats, and until when: former observers, and who asked.
    pub(super) listeners: BTreeMap<NodeId, Time>,
    /// Those whom this node observes.
    pub(super) watches: BTreeMap<NodeId, Watch>,
    /// By subject and voter.
    pub(super) ballots: BTreeMap<NodeId, BTreeMap<NodeId, Ballot>>,
    pub(super) challenges: Challenges,
    pub(super) pushes: Schedule,
    pub(super) pulls: Schedule,
    /// Before this, nothing more is pushed or pulled.
    pub(super) pace: Time,
    /// Whose blobs come in several parts now.
    pub(super) assembling: BTreeSet<NodeId>,
    pub(super) seeds: Seeds,
    pub(super) promise: Option<Promise>,
    pub(super) parting: Option<Parting>,
    pub(super) view: View,
    /// The next slow exchange.
    pub(super) exchange_at: Time,
    /// How many more follow it at once.
    pub(super) catch_up: u32,
    /// Silence of others proves nothing before this: the own turns came late.
    pub(super) starved: Time,
    pub(super) counts: Counts,
    /// Deciding answers: else this node says nothing, and is found dead like one that hangs as a whole.
    is_steered: bool,
    last_turn: Time,
    number: u64,
    chance: u64,
    outputs: VecDeque<Output>,
}

impl Gossip {
    /// A node that knows nobody.
    pub fn new(start: Start) -> Self {
        let own = Own::new(&start);
        Self {
            live: BTreeSet::from([own.id]),
            peers: BTreeMap::new(),
            observers: Vec::new(),
            listeners: BTreeMap::new(),
            watches: BTreeMap::new(),
            ballots: BTreeMap::new(),
            challenges: Challenges::new(start.boot, start.seed),
            pushes: Schedule::default(),
            pulls: Schedule::default(),
            pace: start.now,
            assembling: BTreeSet::new(),
            seeds: Seeds::default(),
            promise: None,
            parting: None,
            view: View::new(start.now),
            exchange_at: start.now,
            catch_up: 0,
            starved: start.now,
            counts: Counts::default(),
            is_steered: true,
            last_turn: start.now,
            number: 0,
            chance: start.seed ^ own.id.0,
            outputs: VecDeque::new(),
            own,
        }
    }

    /// Live observers of this node: so many heartbeats a turn matter.
    pub fn observers(&self) -> usize {
        self.observers.len()
    }

    /// What passed between this node and each other.
    pub fn contacts(&self) -> impl Iterator<Item = (NodeId, Contact)> {
        self.peers.iter().map(|(node, peer)| (*node, peer.contact))
    }

    /// Addresses that were given as seeds and have not answered.
    pub fn silent_seeds(&self) -> impl Iterator<Item = SocketAddr> {
        self.seeds.silent()
    }

    /// What was refused, by cause.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What was last told with [`Output::Roster`].
    pub fn roster(&self) -> &Arc<Roster> {
        self.view.roster()
    }

    pub(super) fn push_output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Sends to a member, if any address of it is known.
    pub(super) fn send(&mut self, now: Time, to: NodeId, message: &Message) {
        self.send_encoded(now, to, message, false);
    }

    fn send_encoded(&mut self, now: Time, to: NodeId, message: &Message, is_heartbeat: bool) {
        let Some(peer) = self.peers.get_mut(&to) else {
            return;
        };
        let Some(address) = peer.address() else {
            return;
        };
        peer.unanswered = peer.unanswered.wrapping_add(message.wants_answer().into());
        peer.contact.sent += 1;
        peer.contact.last_sent = Some(now);
        self.send_to(address, message.encode(to), is_heartbeat);
    }

    pub(super) fn send_to(&mut self, to: std::net::SocketAddr, body: Vec<u8>, is_heartbeat: bool) {
        if !self.is_steered {
            self.counts.unsteered += 1;
            return;
        }
        self.number += 1;
        self.outputs.push_back(Output::Send(Datagram {
            to,
            number: self.number,
            body,
            is_heartbeat,
        }));
    }

    /// The message of a turn: for how long this node's kernel may still answer.
    pub(super) fn heartbeat(&self, now: Time) -> Message {
        let promised = self.promise.as_ref().map(|p| p.until.since(now));
        Message::Heartbeat(Heartbeat {
            promise_ms: ms(promised.unwrap_or_default().max(PROMISE)),
            profile_version: self.own.profile_version as u32,
            held_version: self.own.held_version,
            held_hash: self.own.held_hash as u32,
        })
    }

    /// The heartbeats of one turn.
    fn beat(&mut self, now: Time) {
        if self.parting.is_some() {
            return;
        }
        self.listeners.retain(|_, until| *until > now);
        let listeners = self.listeners.keys().copied();
        let to: BTreeSet<NodeId> = self.observers.iter().copied().chain(listeners).collect();
        let beat = self.heartbeat(now);
        for node in to {
            self.send_encoded(now, node, &beat, true);
        }
    }

    /// Somebody who is no observer wants heartbeats for a while, and one now.
    pub(super) fn listen(&mut self, now: Time, node: NodeId) {
        if self.parting.is_some() {
            return;
        }
        if self.listeners.len() < LISTENERS_MAX || self.listeners.contains_key(&node) {
            self.listeners.insert(node, now + LISTEN);
        } else {
            self.counts.listeners_full += 1;
        }
        let beat = self.heartbeat(now);
        self.send(now, node, &beat);
    }

    /// A number that nobody guesses and everybody can repeat.
    pub(super) fn chance(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        super::observers::mix(self.chance)
    }

    /// Whoever was not heard since the last turn may have spoken while this node did not listen: every wait begins anew, once.
    fn notice_starving(&mut self, now: Time) {
        if now.since(self.last_turn) > STARVED {
            self.starved = now;
            self.begin_catch_up(now);
        }
        self.last_turn = self.last_turn.max(now);
    }

    fn tell(&mut self, now: Time, to: NodeId, message: Vec<u8>) {
        if message.len() > MESSAGE_BYTES_MAX {
            self.counts.told_too_long += 1;
            return;
        }
        self.send(now, to, &Message::Tell(message));
    }

    /// Everything that has its time. Each part looks at its own.
    fn turn(&mut self, now: Time) {
        self.watch_turn(now);
        self.seeds_turn(now);
        self.promise_turn(now);
        self.parting_turn(now);
        self.transfer_turn(now);
        if now >= self.exchange_at {
            self.exchange_turn(now);
        }
        self.view_turn(now);
    }

    fn transfer_turn(&mut self, now: Time) {
        if now < self.pace || self.parting.is_some() {
            return;
        }
        let mut left = FANOUT;
        while left > 0 {
            if let Some(node) = self.pushes.take(now) {
                self.push(now, node);
            } else if let Some(node) = self.pulls.take(now) {
                self.pull(now, node);
            } else {
                return;
            }
            left -= 1;
        }
        self.pace = now + PACE;
    }
}

impl Machine for Gossip {
    type Input = Input;
    type Output = Output;

    fn input(&mut self, now: Time, input: Input) {
        self.notice_starving(now);
        match input {
            Input::Received(received) => self.received(now, &received),
            Input::Seeds(seeds) => self.seeds.set(now, seeds),
            Input::Profile(profile) => {
                if self.own.set_profile(profile) {
                    self.push_to_all(now);
                }
            }
            Input::Held(version, held) => {
                if held.len() > super::HELD_MAX {
                    self.counts.held_too_many += 1;
                }
                if self.own.set_held(version, &held) {
                    self.push_to_all(now);
                }
            }
            Input::Tell(to, message) => self.tell(now, to, message),
            Input::Beat => self.beat(now),
            Input::Promise(grace) => self.begin_promise(now, grace),
            Input::Kernel(node, is_silent) => self.kernel(now, node, is_silent),
            Input::Leave => self.begin_parting(now),
            Input::Steered(is_steered) => {
                if is_steered && !self.is_steered {
                    self.begin_catch_up(now);
                }
                self.is_steered = is_steered;
                // Who hears nothing from a node that says nothing may be well.
                if !is_steered {
                    self.starved = now;
                }
            }
            Input::Starved(_) => self.starved = now,
        }
        self.turn(now);
    }

    fn expire(&mut self, now: Time) {
        self.notice_starving(now);
        self.turn(now);
    }

    fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        let transfer = [self.pushes.next(), self.pulls.next()];
        let transfer = transfer.into_iter().flatten().min();
        let transfer = transfer.filter(|_| self.parting.is_none());
        [
            Some((self.exchange_at, "exchange")),
            transfer.map(|at| (at.max(self.pace), "transfer")),
            self.watch_deadline().map(|at| (at, "watch")),
            self.seeds.deadline().map(|at| (at, "seeds")),
            self.promise_deadline().map(|at| (at, "promise")),
            self.parting
                .as_ref()
                .and_then(Parting::deadline)
                .map(|at| (at, "parting")),
            self.view.deadline().map(|at| (at, "roster")),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// Who asked for heartbeats or observed this node before: some sets of observers.
pub(super) const LISTENERS_MAX: usize = 64;
/// They get heartbeats for so long: rosters agree again by then.
pub(super) const LISTEN: Span = Span::s(2);
/// A turn that comes so much after the last: beats are 50 ms apart.
const STARVED: Span = Span::ms(150);
