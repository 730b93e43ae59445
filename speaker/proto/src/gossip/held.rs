//! Bringing profiles and held sets to everyone, and knowing that they have arrived (L2.2).
//!
//! A change of the own ones is pushed to each member until it acknowledges: as a change of what it has if that fits a datagram, else the first
//! parts of the whole. Who has less than it has heard of pulls the rest, from its node or from whoever spoke of it.

use super::HELD_MAX;
use super::machine::Gossip;
use super::peer::Assembly;
use super::wire::{self, Ack, Delta, Message, PART_BYTES, Part, Pull, Title, What};
use crate::Time;
use crate::member::{HeldSet, NodeId};

impl Gossip {
    /// What this node says of itself changed: all learn it now.
    pub(super) fn push_to_all(&mut self, now: Time) {
        let me = self.own.id;
        for node in self.live.iter().filter(|node| **node != me) {
            self.pushes.begin(*node, now);
        }
    }

    /// Sends a member what it lacks of ours.
    pub(super) fn push(&mut self, now: Time, to: NodeId) {
        let Some(peer) = self.peers.get(&to) else {
            return self.pushes.end(to);
        };
        let (profile, held) = (peer.has.profile, peer.has.held);
        if profile >= self.own.profile_version && held >= self.own.held_version {
            return self.pushes.end(to);
        }
        if profile < self.own.profile_version {
            self.push_parts(now, to, What::Profile);
        }
        if held < self.own.held_version {
            match self.own.delta(held) {
                Some(delta) => self.send(now, to, &Message::Delta(delta)),
                None => self.push_parts(now, to, What::Held),
            }
        }
    }

    fn push_parts(&mut self, now: Time, to: NodeId, what: What) {
        let title = Title {
            node: self.own.id,
            boot: self.own.boot,
            what,
            version: 0,
        };
        self.send_parts(now, to, title, 0, PUSHED);
    }

    /// Sends parts of the version that is here of whatever `title` names.
    fn send_parts(&mut self, now: Time, to: NodeId, title: Title, first: u16, count: u16) {
        let Some(parts) = self.parts(title, first, count) else {
            return;
        };
        for part in parts {
            self.send(now, to, &Message::Part(part));
        }
    }

    fn parts(&self, title: Title, first: u16, count: u16) -> Option<Vec<Part>> {
        let (version, generation, hash, blob) = if title.node == self.own.id {
            let own = &self.own;
            let (version, hash, blob) = match title.what {
                What::Profile => {
                    let hash = wire::hash(&own.profile_blob);
                    (own.profile_version, hash, &own.profile_blob)
                }
                What::Held => (own.held_version, own.held_hash, &own.held_blob),
            };
            (own.boot == title.boot).then_some((version, own.generation, hash, blob))?
        } else {
            let peer = self.peers.get(&title.node)?;
            let (version, hash, blob) = match title.what {
                What::Profile => {
                    let stock = &peer.profile;
                    (stock.version(title.boot), stock.hash, &stock.blob)
                }
                What::Held => {
                    let stock = &peer.held;
                    (stock.version(title.boot), stock.hash, &stock.blob)
                }
            };
            (peer.boot == title.boot && version > 0).then_some((
                version,
                peer.generation,
                hash,
                blob,
            ))?
        };
        let title = Title { version, ..title };
        let total = u16::try_from(blob.len().div_ceil(PART_BYTES)).ok()?;
        let pieces = blob.chunks(PART_BYTES).zip(0..total);
        let pieces = pieces.skip(first.into()).take(count.min(PULLED).into());
        let part = |(bytes, index): (&[u8], u16)| Part {
            title,
            generation,
            hash,
            index,
            count: total,
            bytes: bytes.to_vec(),
        };
        Some(pieces.map(part).collect())
    }

    pub(super) fn answer_pull(&mut self, now: Time, to: NodeId, pull: &Pull) {
        self.send_parts(now, to, pull.title, pull.first, pull.count);
    }

    /// `teller` says that `node` has this version of something.
    pub(super) fn want(
        &mut self,
        now: Time,
        node: NodeId,
        teller: NodeId,
        what: What,
        version: u64,
    ) {
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        let wanted = match what {
            What::Profile => &mut peer.profile.wanted,
            What::Held => &mut peer.held.wanted,
        };
        *wanted = (*wanted).max(version);
        if peer.is_lacking() {
            peer.told_by = Some(teller);
            // Its node is most likely pushing it already.
            self.pulls.ensure(node, now + PULL_AFTER);
        }
    }

    /// Asks for what is lacking of `node`: the node itself, and in turn with it whoever spoke of it.
    pub(super) fn pull(&mut self, now: Time, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.is_lacking()) else {
            return self.pulls.end(node);
        };
        peer.pulls = peer.pulls.wrapping_add(1);
        let is_proven = peer.proof.is_some() && peer.is_alive();
        let teller = peer.told_by.filter(|teller| *teller != node);
        let is_direct = is_proven && (teller.is_none() || peer.pulls.is_multiple_of(2));
        let Some(from) = (if is_direct { Some(node) } else { teller }) else {
            return;
        };
        let boot = peer.boot;
        let profile = (peer.profile.version(boot), peer.profile.wanted);
        let held = (peer.held.version(boot), peer.held.wanted);
        let first = |assembly: &Option<Assembly>| assembly.as_ref().map_or(0, Assembly::missing);
        let wants = [
            (What::Profile, profile, first(&peer.profile.assembly)),
            (What::Held, held, first(&peer.held.assembly)),
        ];
        for (what, (version, wanted), first) in wants {
            if version < wanted {
                self.pull_from(now, from, node, what, first);
            }
        }
    }

    fn pull_from(&mut self, now: Time, from: NodeId, node: NodeId, what: What, first: u16) {
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        let (wanted, assembly) = match what {
            What::Profile => (peer.profile.wanted, &mut peer.profile.assembly),
            What::Held => (peer.held.wanted, &mut peer.held.assembly),
        };
        if let Some(assembly) = assembly {
            assembly.asked = first.saturating_add(PULLED);
        }
        let title = Title {
            node,
            boot: peer.boot,
            what,
            version: wanted,
        };
        let count = PULLED;
        self.send(
            now,
            from,
            &Message::Pull(Pull {
                title,
                first,
                count,
            }),
        );
    }

    /// A part came, of the sender or of somebody of whom it has it.
    pub(super) fn part(&mut self, now: Time, sender: NodeId, part: Part) {
        let Title {
            node,
            boot,
            what,
            version,
        } = part.title;
        let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.boot == boot) else {
            return;
        };
        let here = match what {
            What::Profile => peer.profile.version(boot),
            What::Held => peer.held.version(boot),
        };
        if version <= here {
            return self.acknowledge(node, sender);
        }
        let slot = match what {
            What::Profile => &mut peer.profile.assembly,
            What::Held => &mut peer.held.assembly,
        };
        let (index, hash, count) = (part.index, part.hash, part.count);
        if count > 1 && !self.assembling.contains(&node) {
            if self.assembling.len() >= ASSEMBLIES_MAX {
                self.counts.assemblies_full += 1;
                return;
            }
            self.assembling.insert(node);
        }
        let is_same = |a: &Assembly| (a.version, a.hash, a.count) == (version, hash, count);
        if slot.as_ref().is_some_and(|a| a.version > version) {
            return;
        }
        if !slot.as_ref().is_some_and(is_same) {
            *slot = Some(Assembly {
                version,
                hash,
                count,
                parts: Default::default(),
                asked: PUSHED,
                touched: now,
            });
        }
        let Some(assembly) = slot else {
            return;
        };
        assembly.touched = now;
        assembly.parts.insert(index, part.bytes);
        let missing = assembly.missing();
        if missing < count {
            let is_asked = missing < assembly.asked.min(count);
            self.want(now, node, sender, what, version);
            if !is_asked {
                self.pull_from(now, sender, node, what, missing);
            }
            return;
        }
        let blob: Vec<u8> = std::mem::take(&mut assembly.parts)
            .into_values()
            .flatten()
            .collect();
        *slot = None;
        if !peer.assembles(Time::default()) {
            self.assembling.remove(&node);
        }
        self.install(node, sender, what, (version, hash), blob);
    }

    /// A whole blob came.
    fn install(
        &mut self,
        node: NodeId,
        sender: NodeId,
        what: What,
        (version, hash): (u64, u64),
        blob: Vec<u8>,
    ) {
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        let boot = peer.boot;
        let is_right = wire::hash(&blob) == hash
            && match what {
                What::Profile => wire::profile_of(&blob)
                    .map(|profile| peer.profile.put(boot, version, hash, blob, profile))
                    .is_ok(),
                What::Held => wire::held_of(&blob)
                    .ok()
                    .filter(|held| held.len() <= HELD_MAX)
                    .map(|held| peer.held.put(boot, version, hash, blob, held))
                    .is_some(),
            };
        if !is_right {
            self.counts.spoilt += 1;
            return;
        }
        self.arrived(node, sender);
    }

    /// The sender's held set, as a change.
    pub(super) fn delta(&mut self, now: Time, sender: NodeId, delta: &Delta) {
        let Some(peer) = self.peers.get_mut(&sender) else {
            return;
        };
        let boot = peer.boot;
        let here = peer.held.version(boot);
        if here >= delta.version {
            return self.acknowledge(sender, sender);
        }
        // Its changes hold for every version from its base on.
        if here >= delta.base && here > 0 {
            let mut held: HeldSet = peer.held.value.as_deref().cloned().unwrap_or_default();
            for (group, entry) in &delta.changes {
                match entry {
                    Some(entry) => held.insert(*group, *entry),
                    None => held.remove(group),
                };
            }
            let blob = wire::held_blob(&held);
            if wire::hash(&blob) == delta.hash && held.len() <= HELD_MAX {
                peer.held.put(boot, delta.version, delta.hash, blob, held);
                return self.arrived(sender, sender);
            }
            self.counts.spoilt += 1;
            peer.held.spoil();
        }
        self.want(now, sender, sender, What::Held, delta.version);
    }

    /// Blobs whose parts have stopped coming make room for others.
    pub(super) fn expire_assemblies(&mut self, now: Time) {
        let peers = &mut self.peers;
        self.assembling.retain(|node| {
            let peer = peers.get_mut(node);
            peer.is_some_and(|peer| peer.assembles(now - STALLED))
        });
    }

    fn arrived(&mut self, node: NodeId, sender: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            let here = peer.held.version(peer.boot);
            peer.has.settle(here);
            if !peer.is_lacking() {
                self.pulls.end(node);
            }
        }
        self.view.touch(node);
        self.acknowledge(node, sender);
    }

    /// `node` is to be told what is here of it, if it was `node` itself that sent it. Deciding hears of it first: `node` may
    /// go by our knowing.
    fn acknowledge(&mut self, node: NodeId, sender: NodeId) {
        if node == sender {
            self.view.owe(node);
        }
    }

    /// Tells `node` what is here of it.
    pub(super) fn send_ack(&mut self, now: Time, node: NodeId) {
        let Some(peer) = self.peers.get(&node) else {
            return;
        };
        let ack = Message::Ack(Ack {
            boot: peer.boot,
            profile_version: peer.profile.version(peer.boot),
            held_version: peer.held.version(peer.boot),
            own_version: self.own.held_version,
        });
        self.send(now, node, &ack);
    }

    /// A member has this of ours.
    pub(super) fn ack(&mut self, sender: NodeId, ack: &Ack) {
        let Some(peer) = self.peers.get_mut(&sender) else {
            return;
        };
        // It was on its way to the last boot: that is no fault of anybody's.
        if ack.boot != self.own.boot {
            return;
        }
        // What it cannot have counts for nothing.
        if ack.held_version > self.own.held_version
            || ack.profile_version > self.own.profile_version
        {
            self.counts.malformed += 1;
            return;
        }
        peer.has
            .note(ack.profile_version, ack.held_version, ack.own_version);
        let here = peer.held.version(peer.boot);
        if peer.has.settle(here) {
            self.view.touch(sender);
        }
        if peer.has.profile >= self.own.profile_version && peer.has.held >= self.own.held_version {
            self.pushes.end(sender);
        }
    }
}

/// Parts that are sent without being asked for: all of a held set of some hundred groups.
const PUSHED: u16 = 4;
/// Parts that are asked for at once: no burst that a socket's queue could not hold.
const PULLED: u16 = 16;
/// Members whose blobs come in several parts at once.
const ASSEMBLIES_MAX: usize = 16;
/// Pulls are a second apart at most: several were lost.
const STALLED: crate::Span = crate::Span::s(5);
/// What is pushed arrives within this.
const PULL_AFTER: crate::Span = crate::Span::ms(30);
