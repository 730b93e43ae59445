//! From a datagram to the part that it concerns: who may speak, and since when.
//!
//! A boot that has not proven that it runs is only challenged, whatever it says: a recording of a dead node must not revive it. Among proven
//! boots of one node the highest generation is the present one; a lower one is told so, and rises if it lives.

use super::machine::Gossip;
use super::peer::Peer;
use super::replay::{Silence, Window};
use super::wire::{ANYONE, Heartbeat, Message, What};
use super::{MEMBERS_MAX, Output, Received};
use crate::member::{Boot, NodeId, Standing};
use crate::{Span, Time};

impl Gossip {
    pub(super) fn received(&mut self, now: Time, received: &Received) {
        let (to, message) = match Message::decode(&received.body) {
            Ok(decoded) => decoded,
            Err(why) => return self.counts.malformed(why),
        };
        if to != self.own.id && !(to == ANYONE && message == Message::Join) {
            self.counts.misdirected += 1;
            return;
        }
        if received.sender == self.own.id {
            return self.received_in_own_name(now, received, &message);
        }
        if let Some(peer) = self.peers.get_mut(&received.sender)
            && peer.boot == received.boot
            && let Some(window) = &mut peer.proof
        {
            if !window.admit(received.number) {
                self.counts.replayed += 1;
            } else if peer.standing == Standing::Left {
                self.counts.left += 1;
            } else {
                self.heard(now, received, &message);
                self.obey(now, received, message);
            }
            return;
        }
        self.received_unproven(now, received, &message);
    }

    /// A sign of life of a proven boot.
    fn heard(&mut self, now: Time, received: &Received, message: &Message) {
        let sender = received.sender;
        let Some(peer) = self.peers.get_mut(&sender) else {
            return;
        };
        let promise_ms = match message {
            Message::Heartbeat(beat) => Some(beat.promise_ms),
            Message::PromiseAsk { ms, .. } => Some(*ms),
            _ => None,
        };
        // Of those that say how long only the newest counts: an older one may come late, and so may this one after something else.
        if let Some(ms) = promise_ms
            && received.number > peer.promised_by
        {
            peer.promised_by = received.number;
            peer.life.promise = Span::ms(ms.into());
        }
        peer.hear(now, received.from, received.number);
        self.alive(now, sender);
    }

    fn obey(&mut self, now: Time, received: &Received, message: Message) {
        let sender = received.sender;
        match message {
            Message::Heartbeat(beat) => self.compare(now, sender, &beat),
            Message::Probe => self.listen(now, sender),
            Message::Vote(vote) => self.vote(now, sender, &vote),
            Message::Ask(subject) => self.answer_ask(now, sender, subject),
            Message::Digest { is_reply, buckets } => {
                self.digest(now, sender, is_reply, &buckets);
            }
            Message::Items { is_last, items } => {
                items.iter().for_each(|item| self.item(now, sender, item));
                if is_last {
                    self.seeds.synced();
                }
            }
            Message::Part(part) => self.part(now, sender, part),
            Message::Pull(pull) => self.answer_pull(now, sender, &pull),
            Message::Delta(delta) => self.delta(now, sender, &delta),
            Message::Ack(ack) => self.ack(sender, &ack),
            Message::Join => {
                let own = self.own_item();
                let items = vec![own];
                self.send(
                    now,
                    sender,
                    &Message::Items {
                        is_last: false,
                        items,
                    },
                );
            }
            Message::Challenge(nonce) => self.respond(received, nonce),
            Message::Response { .. } => {}
            Message::Tell(message) => self.push_output(Output::Told(sender, message)),
            Message::PromiseAsk { until, .. } => {
                self.send(now, sender, &Message::PromiseAck(until));
            }
            Message::PromiseAck(until) => self.promise_acked(sender, until),
            Message::Leave => self.left(now, sender),
        }
    }

    /// What an observer compares with each heartbeat.
    fn compare(&mut self, now: Time, sender: NodeId, beat: &Heartbeat) {
        let Some(peer) = self.peers.get_mut(&sender) else {
            return;
        };
        let boot = peer.boot;
        let is_spoilt = peer.held.version(boot) == beat.held_version
            && beat.held_version > 0
            && peer.held.hash as u32 != beat.held_hash;
        if is_spoilt {
            self.counts.spoilt += 1;
            peer.held.spoil();
        }
        let profile_version = beat.profile_version.into();
        self.want(now, sender, sender, What::Profile, profile_version);
        self.want(now, sender, sender, What::Held, beat.held_version);
    }

    fn received_unproven(&mut self, now: Time, received: &Received, message: &Message) {
        let (sender, boot) = (received.sender, received.boot);
        match message {
            Message::Response { nonce, generation } => {
                if self.challenges.answer(sender, boot, *nonce) {
                    return self.proven(now, received, *generation);
                }
                self.counts.unproven += 1;
                return;
            }
            // Whoever asks may be a recording; the answer helps nobody but the one who asked.
            Message::Challenge(nonce) => self.respond(received, *nonce),
            _ => self.counts.unproven += 1,
        }
        self.challenge(now, received);
    }

    fn respond(&mut self, received: &Received, nonce: [u8; 16]) {
        let generation = self.own.generation;
        let response = Message::Response { nonce, generation };
        self.send_to(received.from, response.encode(received.sender), false);
    }

    fn challenge(&mut self, now: Time, received: &Received) {
        let (sender, boot) = (received.sender, received.boot);
        let peer = self.peers.get(&sender);
        let is_refused = peer
            .and_then(|peer| peer.refused)
            .is_some_and(|(other, at)| other == boot && now.since(at) < REFUSED_FOR);
        if is_refused {
            self.counts.overtaken += 1;
            return;
        }
        if peer.is_some_and(|peer| peer.boot == boot && peer.standing == Standing::Left) {
            self.counts.left += 1;
            return;
        }
        match self.challenges.challenge(now, sender, boot) {
            Ok(nonce) => {
                let challenge = Message::Challenge(nonce).encode(sender);
                self.send_to(received.from, challenge, false);
            }
            Err(Silence::Soon) => {}
            Err(Silence::Full) => self.counts.challenges_full += 1,
        }
    }

    /// A boot returned its challenge: it runs now.
    fn proven(&mut self, now: Time, received: &Received, generation: u64) {
        let (sender, boot) = (received.sender, received.boot);
        if let Some(peer) = self.peers.get_mut(&sender)
            && peer.boot != boot
            && (generation, boot) <= (peer.generation, peer.boot)
        {
            // It learns what is above it, and rises if it lives.
            peer.refused = Some((boot, now));
            let items = vec![peer.item(sender, now)];
            self.counts.overtaken += 1;
            let items = Message::Items {
                is_last: false,
                items,
            };
            return self.send_to(received.from, items.encode(sender), false);
        }
        if !self.enter(now, sender, boot, generation) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&sender) else {
            return;
        };
        peer.generation = peer.generation.max(generation);
        peer.proof = Some(Window::after(received.number));
        peer.hear(now, received.from, received.number);
        self.alive(now, sender);
        self.pushes.begin(sender, now);
        self.greet(now, sender);
        self.view.touch(sender);
    }

    /// Takes in a node or its new boot; false if there is no room.
    pub(super) fn enter(&mut self, now: Time, node: NodeId, boot: Boot, generation: u64) -> bool {
        match self.peers.get_mut(&node) {
            Some(peer) if peer.boot == boot => return true,
            Some(peer) => {
                peer.restart(boot, generation, now);
                self.assembling.remove(&node);
                self.forget_votes(node);
            }
            None => {
                if self.peers.len() + 1 >= MEMBERS_MAX && !self.evict() {
                    self.counts.roster_full += 1;
                    return false;
                }
                self.peers.insert(node, Peer::new(boot, generation, now));
            }
        }
        self.live.insert(node);
        self.view.live_changed();
        self.view.touch(node);
        true
    }

    /// Another process of this node's name, if it proves that it runs; or this node's own words, come back.
    fn received_in_own_name(&mut self, now: Time, received: &Received, message: &Message) {
        if received.boot == self.own.boot {
            self.counts.in_own_name += 1;
            return;
        }
        match message {
            Message::Response { nonce, generation } => {
                if self
                    .challenges
                    .answer(received.sender, received.boot, *nonce)
                {
                    self.overtaken(now, (*generation).max(self.own.generation));
                }
            }
            Message::Challenge(nonce) => self.respond(received, *nonce),
            _ => self.counts.in_own_name += 1,
        }
        if !matches!(message, Message::Response { .. }) {
            self.challenge(now, received);
        }
    }

    /// Another boot of this node exists that is not below it: rise above it, and let all know.
    pub(super) fn overtaken(&mut self, now: Time, generation: u64) {
        if self.own.overtake(now, generation) {
            self.view.taken_changed();
            let own = self.own_item();
            let everybody: Vec<NodeId> = self.peers.keys().copied().collect();
            for node in everybody {
                let items = vec![own];
                self.send(
                    now,
                    node,
                    &Message::Items {
                        is_last: false,
                        items,
                    },
                );
            }
        }
    }

    /// A member says that it goes.
    pub(super) fn left(&mut self, now: Time, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.standing = Standing::Left;
            peer.gone = now;
        }
        self.no_longer_live(node);
    }
}

/// A boot that was told that another is above it is not challenged again so soon.
const REFUSED_FOR: Span = Span::ms(500);
