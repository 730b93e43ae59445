//! The slow exchange: once a second with a member by chance, whole rosters compared by hash, and what differs told in short.
//!
//! What others say of a member's being alive or dead is taken for one that is new here. Of a known one, only news of life counts: that it was heard later
//! than it was found dead. Of its death this node asks the observers.

use super::machine::Gossip;
use super::observers::mix;
use super::peer::{Life, Peer};
use super::wire::{self, BUCKETS, ITEMS_MAX, Item, Message, Told, Trace, What};
use crate::member::{NodeId, Standing};
use crate::pulse::PROMISE;
use crate::{Span, Time};

impl Peer {
    /// It in short, for others.
    pub(super) fn item(&self, node: NodeId, now: Time) -> Item {
        let mut trace = self.life.trace(now);
        if self.standing == Standing::Left {
            trace.age_ms = super::peer::ms(now.since(self.gone));
        }
        Item {
            node,
            boot: self.boot,
            generation: self.generation,
            profile_version: self.profile.version(self.boot),
            held_version: self.held.version(self.boot),
            standing: self.told(),
            trace,
        }
    }
}

impl Gossip {
    /// This node in short.
    pub(super) fn own_item(&self) -> Item {
        Item {
            node: self.own.id,
            boot: self.own.boot,
            generation: self.own.generation,
            profile_version: self.own.profile_version,
            held_version: self.own.held_version,
            standing: Told::Alive,
            trace: Trace {
                number: 0,
                age_ms: 0,
                promise_ms: super::peer::ms(PROMISE),
            },
        }
    }

    /// This node said nothing for a while: whoever took it for dead told it nothing, and may be gone before it would.
    pub(super) fn begin_catch_up(&mut self, now: Time) {
        self.exchange_at = now;
        self.catch_up = CATCH_UPS;
    }

    /// The turn of the slow exchange, and what else need not be done sooner.
    pub(super) fn exchange_turn(&mut self, now: Time) {
        let jitter = Span::from_ns(self.chance() % JITTER.ns());
        let (again, count) = match self.catch_up.checked_sub(1) {
            Some(left) => {
                self.catch_up = left;
                (now + CATCH_UP_AGAIN, CATCH_UP)
            }
            None => (now + INTERVAL + jitter, 1),
        };
        self.exchange_at = again;
        self.expire_votes(now);
        self.expire_assemblies(now);
        self.forget_gone(now);
        if self.own.forget_rival(now) {
            self.view.taken_changed();
        }
        if self.parting.is_some() {
            return;
        }
        let me = self.own.id;
        let alive: Vec<NodeId> = self
            .live
            .iter()
            .copied()
            .filter(|node| *node != me)
            .collect();
        let dead = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.told() == Told::Dead);
        let dead: Vec<NodeId> = dead.map(|(node, _)| *node).collect();
        // A dead one as well: it may only have been cut off, and everybody may hold everybody dead.
        for group in [alive, dead] {
            let chance = self.chance();
            // Below the group's length, which is a usize.
            let at = chance.checked_rem(group.len() as u64).unwrap_or_default() as usize;
            for node in group.iter().cycle().skip(at).take(count.min(group.len())) {
                self.send_digest(now, *node, false);
            }
        }
    }

    pub(super) fn send_digest(&mut self, now: Time, to: NodeId, is_reply: bool) {
        let buckets = self.buckets(now);
        self.send(now, to, &Message::Digest { is_reply, buckets });
    }

    fn items(&self, now: Time) -> impl Iterator<Item = Item> {
        let own = self.own_item();
        let others = self.peers.iter();
        // What is nearly forgotten is not passed on, or it would never be forgotten by all.
        let others =
            others.filter(move |(_, peer)| peer.is_alive() || now.since(peer.gone) < TELL_FOR);
        let others = others.map(move |(node, peer)| peer.item(*node, now));
        std::iter::once(own).chain(others)
    }

    fn buckets(&self, now: Time) -> Box<[u64; BUCKETS]> {
        let mut buckets = Box::new([0; BUCKETS]);
        for item in self.items(now) {
            buckets[bucket(item.node)] ^= stable(&item);
        }
        buckets
    }

    /// Another's roster, by hash: it is told what differs here, and asked for the same.
    pub(super) fn digest(
        &mut self,
        now: Time,
        sender: NodeId,
        is_reply: bool,
        theirs: &[u64; BUCKETS],
    ) {
        let ours = self.buckets(now);
        let differs = |item: &Item| {
            let at = bucket(item.node);
            ours[at] != theirs[at]
        };
        let items: Vec<Item> = self.items(now).filter(differs).collect();
        if !items.is_empty() && !is_reply {
            self.send_digest(now, sender, true);
        }
        let mut chunks = items.chunks(ITEMS_MAX).peekable();
        while let Some(chunk) = chunks.next() {
            let (is_last, items) = (chunks.peek().is_none(), chunk.to_vec());
            self.send(now, sender, &Message::Items { is_last, items });
        }
        if items.is_empty() {
            let items = Vec::new();
            self.send(
                now,
                sender,
                &Message::Items {
                    is_last: true,
                    items,
                },
            );
        }
    }

    /// What `teller` knows of somebody.
    pub(super) fn item(&mut self, now: Time, teller: NodeId, item: &Item) {
        if item.node == self.own.id {
            if item.boot != self.own.boot && item.generation >= self.own.generation {
                self.overtaken(now, item.generation);
            }
            return;
        }
        let age = Span::ms(item.trace.age_ms.into());
        let known = self.peers.get(&item.node).map(|p| (p.generation, p.boot));
        match known {
            Some((_, boot)) if boot == item.boot => self.item_of_known(now, item),
            Some(known) if known > (item.generation, item.boot) => return,
            None if item.standing != Told::Alive && age >= KEEP_FOR => return,
            Some(_) | None => {
                if !self.enter(now, item.node, item.boot, item.generation) {
                    return;
                }
                self.item_of_new(now, item);
            }
        }
        self.want(now, item.node, teller, What::Profile, item.profile_version);
        self.want(now, item.node, teller, What::Held, item.held_version);
    }

    fn item_of_new(&mut self, now: Time, item: &Item) {
        let life = Life::of(&item.trace, now);
        let Some(peer) = self.peers.get_mut(&item.node) else {
            return;
        };
        peer.life = life;
        peer.gone = life.at;
        peer.standing = match item.standing {
            Told::Alive => Standing::Alive,
            Told::Dead => Standing::Dead {
                silent_at: life.silent_at(),
            },
            Told::Left => Standing::Left,
        };
        if peer.is_alive() {
            // Both sides are to know each other, and not only of each other.
            self.pushes.begin(item.node, now + MEET);
        } else {
            self.no_longer_live(item.node);
        }
    }

    fn item_of_known(&mut self, now: Time, item: &Item) {
        let node = item.node;
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        peer.generation = peer.generation.max(item.generation);
        let life = Life::of(&item.trace, now);
        match (item.standing, peer.standing) {
            (Told::Left, Standing::Alive | Standing::Dead { .. }) => self.left(now, node),
            (Told::Alive, Standing::Dead { .. }) => {
                self.hear_of(now, node, life);
                if !self.live.contains(&node) {
                    self.inquire(now, node);
                }
            }
            (Told::Dead, Standing::Alive) => self.inquire(now, node),
            (Told::Alive, Standing::Alive | Standing::Left)
            | (Told::Dead, Standing::Dead { .. } | Standing::Left)
            | (Told::Left, Standing::Left) => {}
        }
    }

    /// Members that are long gone make room.
    fn forget_gone(&mut self, now: Time) {
        let old = self.peers.iter().filter(|(_, peer)| !peer.is_alive());
        let old = old.filter(|(_, peer)| now.since(peer.gone) >= KEEP_FOR);
        let old: Vec<NodeId> = old.map(|(node, _)| *node).collect();
        old.into_iter().for_each(|node| self.forget(node));
    }

    /// Makes room for one more; false if everybody is alive.
    pub(super) fn evict(&mut self) -> bool {
        let gone = self.peers.iter().filter(|(_, peer)| !peer.is_alive());
        let oldest = gone
            .min_by_key(|(_, peer)| peer.gone)
            .map(|(node, _)| *node);
        oldest.is_some_and(|node| {
            self.forget(node);
            true
        })
    }

    fn forget(&mut self, node: NodeId) {
        self.no_longer_live(node);
        self.pulls.end(node);
        self.assembling.remove(&node);
        self.forget_votes(node);
        self.peers.remove(&node);
    }
}

fn bucket(node: NodeId) -> usize {
    // Below BUCKETS.
    (mix(node.0) % BUCKETS as u64) as usize
}

/// What two members must agree on.
fn stable(item: &Item) -> u64 {
    let words = [
        item.node.0,
        item.generation,
        item.profile_version,
        item.held_version,
        item.standing as u64,
    ];
    let mut bytes = [0; 8 * 5 + 16];
    let (said, boot) = bytes.split_at_mut(8 * words.len());
    for (place, word) in said.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    boot.copy_from_slice(&item.boot.0);
    wire::hash(&bytes)
}

/// One exchange a second and node brings news to a thousand in some ten seconds; what matters sooner is sent to all at once.
const INTERVAL: Span = Span::ms(900);
/// Who was silent for a while asks so many, of whom one may be gone, too,
const CATCH_UP: usize = 3;
/// and others again so soon, for datagrams are lost: a taking waits a little longer for acknowledgements.
const CATCH_UPS: u32 = 2;
const CATCH_UP_AGAIN: Span = Span::ms(50);
/// Its addresses are known by then.
const MEET: Span = Span::ms(50);
/// Nodes that start together do not stay together.
const JITTER: Span = Span::ms(200);
/// The dead and the gone are kept so long: their kernels may still claim, and their hardware addresses must be known.
const KEEP_FOR: Span = Span::s(24 * 3_600);
/// They are told to others for an hour less.
const TELL_FOR: Span = Span::s(23 * 3_600);
