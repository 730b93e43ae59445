//! Membership within the pulse's thread: the gossip machine, its seal and its sockets.
//!
//! Until the secret is there nothing is sent, whatever comes is dropped, and what other threads say is kept for the start. Nothing
//! here waits: what the network stack does not take at once is lost and counted, what the deciding thread does not take is told
//! again if it is the roster, and lost and counted if it is a message, since those who send messages send them again.

use super::clock::now;
use super::members_board::{Figures, MembersBoard};
use crate::edge::gossip::{Dropped, Keys, Sealer, Sockets};
use speaker_proto::gossip::{self, Gossip, Start};
use speaker_proto::member::{HeldSet, HeldVersion, Roster};
use speaker_proto::{Machine, NodeId, Span, Time};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// What the deciding thread hears of members.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// What is known of them now.
    Roster(Arc<Roster>),
    /// A message from another node's deciding.
    Told(NodeId, Vec<u8>),
}

/// Takes what is heard without blocking; whether it did.
pub(crate) type Hear = Box<dyn Fn(Heard) -> bool + Send>;

/// What membership is made of.
pub(crate) struct Parts {
    /// Where it begins.
    pub(crate) start: Start,
    /// Where datagrams come and go.
    pub(crate) sockets: Sockets,
    /// The deciding thread.
    pub(crate) hear: Hear,
    /// For whoever wants to look at it.
    pub(crate) board: MembersBoard,
}

/// Membership, driven by the pulse.
pub(super) struct Membership {
    parts: Parts,
    running: Option<Running>,
    early: Early,
    /// The newest that the deciding thread has not taken.
    roster: Option<Arc<Roster>>,
    promised: Option<bool>,
    heartbeats: Heartbeats,
    figures: Figures,
    shown: Time,
    buffer: Box<[u8; RECEIVE_BYTES]>,
}

struct Running {
    gossip: Gossip,
    sealer: Sealer,
}

/// What was said before there was a secret: the newest of each.
#[derive(Default)]
struct Early {
    held: Option<(HeldVersion, Arc<HeldSet>)>,
    seeds: Option<BTreeSet<SocketAddr>>,
}

/// Heartbeats of one turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Heartbeats {
    accepted: usize,
    refused: usize,
    /// Live observers.
    pub(super) observers: usize,
}

impl Heartbeats {
    /// How many observers' heartbeats the network stack took, at least: others get some too, and those may be the ones taken.
    pub(super) fn accepted(self) -> usize {
        self.accepted
            .min(self.observers.saturating_sub(self.refused))
    }
}

impl Membership {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            running: None,
            early: Early::default(),
            roster: None,
            promised: None,
            heartbeats: Heartbeats::default(),
            figures: Figures {
                is_waiting: true,
                ..Figures::default()
            },
            shown: Time::default(),
            buffer: Box::new([0; RECEIVE_BYTES]),
        }
    }

    /// Whether there is no secret yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.running.is_none()
    }

    /// The keys as they are from now on; the first begin everything.
    pub(super) fn install(&mut self, now: Time, keys: Keys) {
        if let Some(running) = &mut self.running {
            return running.sealer.install(now, keys);
        }
        let start = Start {
            now,
            ..self.parts.start.clone()
        };
        self.running = Some(Running {
            sealer: Sealer::new(start.me, start.boot, keys),
            gossip: Gossip::new(start),
        });
        self.figures.is_waiting = false;
        let Early { held, seeds } = std::mem::take(&mut self.early);
        if let Some((version, held)) = held {
            self.input(now, gossip::Input::Held(version, held));
        }
        if let Some(seeds) = seeds {
            self.input(now, gossip::Input::Seeds(seeds));
        }
    }

    /// Tells the machine of something and does what it wants.
    pub(super) fn input(&mut self, now: Time, input: gossip::Input) {
        match &mut self.running {
            Some(running) => {
                running.gossip.input(now, input);
                self.flush();
            }
            None => self.keep(input),
        }
    }

    fn keep(&mut self, input: gossip::Input) {
        use gossip::Input;
        match input {
            Input::Profile(profile) => self.parts.start.profile = profile,
            Input::Held(version, held) => self.early.held = Some((version, held)),
            Input::Seeds(seeds) => self.early.seeds = Some(seeds),
            Input::Tell(..) => self.figures.messages_lost += 1,
            // Nobody acknowledges it.
            Input::Promise(_) => self.promised = Some(false),
            Input::Received(_)
            | Input::Beat
            | Input::Leave
            | Input::Steered(_)
            | Input::Kernel(..)
            | Input::Starved(_) => {}
        }
    }

    /// Takes what the sockets have: at most [`READS_MAX`] datagrams, and no longer than [`READING_MAX`].
    pub(super) fn receive(&mut self, turn: Time) {
        for _ in 0..READS_MAX {
            let Some((length, from)) = self.parts.sockets.receive(&mut *self.buffer) else {
                return;
            };
            let Some(running) = &mut self.running else {
                continue;
            };
            match running.sealer.open(from, &self.buffer[..length]) {
                Ok(received) => {
                    self.figures.received += 1;
                    self.input(turn, gossip::Input::Received(received));
                }
                Err(why) => self.figures.drop(why),
            }
            if now().since(turn) > READING_MAX {
                return;
            }
        }
    }

    /// This thread's turn came late by so much.
    pub(super) fn starved(&mut self, turn: Time, late: Span) {
        self.figures.late_turns += 1;
        self.input(turn, gossip::Input::Starved(late));
    }

    /// This thread's turn is over and took so long.
    pub(super) fn took(&mut self, span: Span) {
        self.figures.long_turns += u64::from(span > TURN_MAX);
    }

    /// Sends the heartbeats of a turn.
    pub(super) fn beat(&mut self, turn: Time) -> Heartbeats {
        self.heartbeats = Heartbeats::default();
        self.input(turn, gossip::Input::Beat);
        if let Some(running) = &mut self.running {
            let members = &running.gossip.roster().members;
            // Who names no secret is of an earlier version, and has had its time.
            running.sealer.expire(turn, |name| {
                let mut alive = members.values().filter(|member| member.is_alive());
                alive.all(|member| member.profile.key.is_none_or(|key| key == name))
            });
            self.heartbeats.observers = running.gossip.observers();
        }
        self.heartbeats
    }

    /// Lets what is due happen, and tells what is new.
    pub(super) fn expire(&mut self, turn: Time) {
        if let Some(running) = &mut self.running {
            running.gossip.expire(turn);
            self.flush();
        }
        if let Some(roster) = &self.roster
            && (self.parts.hear)(Heard::Roster(Arc::clone(roster)))
        {
            self.roster = None;
        }
        if turn.since(self.shown) >= SHOW && self.show() {
            self.shown = turn;
        }
    }

    /// When [`Membership::expire`] is next wanted.
    pub(super) fn deadline(&self) -> Option<Time> {
        let running = self.running.as_ref()?;
        running.gossip.deadline().map(|(at, _)| at)
    }

    /// Whether all observers acknowledged the promise, once that is known.
    pub(super) fn promised(&mut self) -> Option<bool> {
        self.promised.take()
    }

    /// What to wait for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.parts.sockets.descriptors()
    }

    fn flush(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        while let Some(output) = running.gossip.output() {
            match output {
                // Others would take it for said that deciding knows what it does not.
                gossip::Output::Send(datagram)
                    if self.roster.is_some() && !datagram.is_heartbeat =>
                {
                    self.figures.messages_lost += 1;
                }
                gossip::Output::Send(datagram) => {
                    let is_heartbeat = datagram.is_heartbeat;
                    let to = datagram.to;
                    let sealed = running.sealer.seal(to, datagram.number, datagram.body);
                    let is_taken = self.parts.sockets.send(to, &sealed).is_ok();
                    self.figures.sent += u64::from(is_taken);
                    self.figures.send_failures += u64::from(!is_taken);
                    self.heartbeats.accepted += usize::from(is_heartbeat && is_taken);
                    self.heartbeats.refused += usize::from(is_heartbeat && !is_taken);
                }
                gossip::Output::Roster(roster) => {
                    let is_heard = (self.parts.hear)(Heard::Roster(Arc::clone(&roster)));
                    self.roster = (!is_heard).then_some(roster);
                }
                gossip::Output::Told(from, message) => {
                    let is_lost =
                        self.roster.is_some() || !(self.parts.hear)(Heard::Told(from, message));
                    self.figures.messages_lost += u64::from(is_lost);
                }
                gossip::Output::Promised(all) => self.promised = Some(all),
            }
        }
    }

    fn show(&mut self) -> bool {
        let Some(mut shown) = self.parts.board.try_lock() else {
            return false;
        };
        if let Some(Running { gossip, sealer }) = &self.running {
            self.figures.key = sealer.newest();
            self.figures.roster = Arc::clone(gossip.roster());
            self.figures.contacts = gossip.contacts().collect();
            self.figures.silent_seeds = gossip.silent_seeds().collect();
            self.figures.observers = gossip.observers();
            self.figures.counts = *gossip.counts();
        }
        shown.clone_from(&self.figures);
        true
    }
}

impl Figures {
    fn drop(&mut self, why: Dropped) {
        *self.dropped.entry(why).or_default() += 1;
    }
}

/// More than the socket's buffer holds, so that a turn leaves nothing of before behind.
const READS_MAX: usize = 2_000;
/// Heartbeats are due each 50 ms, and a flood of others' datagrams must not delay them.
const READING_MAX: Span = Span::ms(5);
/// A fifth of what lies between two heartbeats: a longer turn makes the next one late before anything else does.
const TURN_MAX: Span = Span::ms(10);
/// The board is written at most so often.
const SHOW: Span = Span::ms(200);
/// One more byte than our longest datagram would do; what is longer is cut, and dropped for its length.
const RECEIVE_BYTES: usize = 1_500;

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
