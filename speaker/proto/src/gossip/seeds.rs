//! Finding others: addresses that the object source names, and when it is known who is there.

use super::machine::Gossip;
use super::peer::Peer;
use super::schedule::FANOUT;
use super::wire::{ANYONE, Message};
use crate::member::NodeId;
use crate::{Span, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// The seeds, and how far joining has come.
#[derive(Debug, Default)]
pub(super) struct Seeds {
    all: BTreeMap<SocketAddr, Seed>,
    /// When the first were named.
    begun: Option<Time>,
    /// A whole roster came from somebody.
    is_synced: bool,
    /// When somebody was last asked for one.
    sync_asked: Option<Time>,
    due: Option<Time>,
}

#[derive(Clone, Copy, Debug)]
struct Seed {
    /// When it was first asked.
    asked: Option<Time>,
    due: Time,
    is_answered: bool,
}

impl Seeds {
    /// Takes other seeds; at most [`super::MEMBERS_MAX`] of them.
    pub(super) fn set(&mut self, now: Time, seeds: BTreeSet<SocketAddr>) {
        self.begun.get_or_insert(now);
        self.all.retain(|address, _| seeds.contains(address));
        for address in seeds.into_iter().take(super::MEMBERS_MAX) {
            self.all.entry(address).or_insert(Seed {
                asked: None,
                due: now,
                is_answered: false,
            });
        }
        self.due = Some(now);
    }

    pub(super) fn synced(&mut self) {
        self.is_synced = true;
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.due
    }

    pub(super) fn silent(&self) -> impl Iterator<Item = SocketAddr> {
        let silent = self.all.iter().filter(|(_, seed)| !seed.is_answered);
        silent.map(|(address, _)| *address)
    }

    /// When it was enough to wait for the silent ones; `None`: not known yet.
    fn silent_until(&self) -> Option<Time> {
        let begun = self.begun?;
        let unanswered = self.all.values().filter(|seed| !seed.is_answered);
        unanswered
            .map(|seed| seed.asked.map(|asked| asked + SILENT))
            .chain([Some(begun)])
            .try_fold(Time::default(), |latest, at| Some(latest.max(at?)))
    }
}

impl Gossip {
    /// Asks seeds that have not answered, and, until somebody's whole roster is here, members for it.
    pub(super) fn seeds_turn(&mut self, now: Time) {
        if self.seeds.due.is_none_or(|due| due > now) || self.parting.is_some() {
            return;
        }
        let mut asked = 0;
        let mut next = None;
        let members = self.proven_addresses();
        let mut joins = Vec::new();
        let slow = slow(self.seeds.silent().count());
        for (address, seed) in &mut self.seeds.all {
            let is_member = members.contains(address);
            seed.is_answered = is_member;
            if seed.due <= now && asked < FANOUT {
                let first = *seed.asked.get_or_insert(now);
                let is_new = now.since(first) < SILENT;
                seed.due = now + if is_new { AGAIN } else { slow };
                if !is_member {
                    asked += 1;
                    joins.push(*address);
                }
            }
            next = next.into_iter().chain([seed.due]).min();
        }
        for address in joins {
            self.send_to(address, Message::Join.encode(ANYONE), false);
        }
        let is_unsettled = !self.seeds.is_synced || !self.view.roster().is_settled;
        if is_unsettled {
            next = next.into_iter().chain([now + UNSETTLED]).min();
            self.ask_for_roster(now);
        }
        self.seeds.due = next.map(|at| at.max(now + super::schedule::PACE));
    }

    fn ask_for_roster(&mut self, now: Time) {
        if self.seeds.is_synced {
            return;
        }
        let proven = self
            .peers
            .iter()
            .filter(|(_, p)| p.is_alive() && p.proof.is_some());
        let proven: Vec<NodeId> = proven.map(|(node, _)| *node).collect();
        let chance = self.chance();
        // Below the length, which is a usize.
        let at = chance
            .checked_rem(proven.len() as u64)
            .map(|at| at as usize);
        if let Some(node) = at.and_then(|at| proven.get(at)) {
            self.greet(now, *node);
        }
    }

    /// Somebody proved that it runs: it is asked for its roster, unless somebody was a moment ago.
    pub(super) fn greet(&mut self, now: Time, node: NodeId) {
        let is_asked = self
            .seeds
            .sync_asked
            .is_some_and(|at| now.since(at) < SYNC_AGAIN);
        if !self.seeds.is_synced && !is_asked {
            self.seeds.sync_asked = Some(now);
            self.send_digest(now, node, false);
        }
    }

    fn proven_addresses(&self) -> BTreeSet<SocketAddr> {
        let proven = self
            .peers
            .values()
            .filter(|p| p.is_alive() && p.proof.is_some());
        proven.flat_map(|peer| peer.addresses()).collect()
    }

    /// Whether it is known who is there, and what everyone holds (L3.1 c).
    pub(super) fn is_settled(&self, now: Time) -> bool {
        let Some(begun) = self.seeds.begun else {
            return false;
        };
        if now >= begun + SETTLE_MAX {
            return true;
        }
        // Asked with every datagram of a start: what costs least comes first.
        let is_alone = self.live.len() == 1;
        // Without its profile the roster does not name it, and what it holds neither.
        let is_held_known = |peer: &Peer| {
            !peer.is_alive() || (peer.held.version(peer.boot) > 0 && peer.profile.value.is_some())
        };
        let is_quiet = || self.seeds.silent_until().is_some_and(|until| now >= until);
        (self.seeds.is_synced || is_alone) && self.peers.values().all(is_held_known) && is_quiet()
    }
}

/// How long until a seed is asked again that stayed silent: two sides of a cut that have never met hear nothing of each other until then, and both
/// answer.
fn slow(silent: usize) -> Span {
    let silent = u64::try_from(silent).unwrap_or(u64::MAX);
    let share = SLOW_SHARE.ns().saturating_mul(silent);
    Span::from_ns(share.clamp(SLOW_MIN.ns(), SLOW_MAX.ns()))
}

/// A seed that stayed silent for so long is not there.
const SILENT: Span = Span::ms(1_500);
/// A seed is asked again: four times until it counts as silent.
const AGAIN: Span = Span::ms(400);
/// After that: nodes come and go, and their speakers find each other from both sides.
const SLOW_MIN: Span = Span::s(1);
/// Where so many are silent that a datagram a second to each would be many.
const SLOW_MAX: Span = Span::s(5);
/// Twenty a second until then.
const SLOW_SHARE: Span = Span::ms(50);
/// Another member is asked for its roster, if the first does not answer: longer than a thousand members take.
const SYNC_AGAIN: Span = Span::ms(150);
/// While not settled, so often it is looked whether it is.
const UNSETTLED: Span = Span::ms(50);
/// A live member whose held set cannot be had from anybody does not keep a node from serving for ever.
const SETTLE_MAX: Span = Span::s(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_seed_is_asked_again_in_a_second_and_more_seldom_where_many_are() {
        let after = [0, 1, 20, 40, 100, super::super::MEMBERS_MAX].map(slow);
        let expected = [1, 1, 1, 2, 5, 5].map(Span::s);
        assert_eq!(after, expected);
    }
}
