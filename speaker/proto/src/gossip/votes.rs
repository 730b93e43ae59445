//! Votes and the verdict (L2.1).
//!
//! Only what this node itself did not hear makes it vote, and only votes of a subject's observers make a verdict. Whoever heard the subject itself
//! within the same time knows better than any vote. Ages travel, never moments: hosts' clocks are not compared.

use super::machine::Gossip;
use super::observers::observers;
use super::peer::Life;
use super::schedule::Rounds;
use super::watch::Why;
use super::wire::Vote;
use super::{LATE, QUORUM};
use crate::member::{Boot, NodeId, Standing};
use crate::pulse::PROMISE;
use crate::{Span, Time};

/// A vote as it was received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ballot {
    boot: Boot,
    life: Life,
    received: Time,
}

impl Gossip {
    /// A vote came in.
    pub(super) fn vote(&mut self, now: Time, voter: NodeId, vote: &Vote) {
        if vote.subject == self.own.id {
            if vote.boot == self.own.boot && vote.is_late {
                self.counts.accused += 1;
                self.listen(now, voter);
            }
            return;
        }
        let Some(peer) = self.peers.get(&vote.subject) else {
            return;
        };
        if peer.boot != vote.boot || peer.standing == Standing::Left {
            return;
        }
        self.void_vote(now, voter, vote);
        let Some(peer) = self.peers.get_mut(&vote.subject) else {
            return;
        };
        let life = Life::of(&vote.trace, now);
        if !vote.is_late {
            if let Some(ballots) = self.ballots.get_mut(&vote.subject) {
                ballots.remove(&voter);
            }
            self.hear_of(now, vote.subject, life);
            return self.refresh_reach(now, vote.subject);
        }
        // What anybody heard counts, also when it is told after the verdict.
        if let Standing::Dead { silent_at } = peer.standing
            && silent_at < life.silent_at()
        {
            peer.standing = Standing::Dead {
                silent_at: life.silent_at(),
            };
            self.view.touch(vote.subject);
        }
        self.ballots.entry(vote.subject).or_default().insert(
            voter,
            Ballot {
                boot: vote.boot,
                life,
                received: now,
            },
        );
        self.judge(now, vote.subject);
        self.refresh_reach(now, vote.subject);
    }

    /// Takes note of a sign of life that somebody else heard. Only one that is later than the verdict makes a dead node alive: another may have
    /// heard more of its last words.
    pub(super) fn hear_of(&mut self, now: Time, node: NodeId, life: Life) {
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        if life.number <= peer.life.number {
            return;
        }
        // Whoever heard something later may still have missed what this node heard, and noted, of how long.
        let promise = match peer.promised_by {
            0 => life.promise,
            _ => life.promise.max(peer.life.promise),
        };
        peer.life = Life {
            number: life.number,
            at: life.at.max(peer.life.at),
            promise,
        };
        if !peer.is_alive() && life.at > peer.gone {
            self.revive(now, node);
        }
    }

    /// The verdict: [`QUORUM`] votes of live observers, if there are so many whom this node does not itself miss.
    pub(super) fn judge(&mut self, now: Time, subject: NodeId) {
        let Some(peer) = self.peers.get(&subject) else {
            return;
        };
        let watch = self.watches.get(&subject);
        let is_late_here = watch.is_some_and(|watch| watch.is_late);
        let is_heard = peer
            .heard
            .is_some_and(|heard| now < heard + peer.life.promise + LATE);
        if peer.standing == Standing::Left || is_heard {
            return;
        }
        let me = self.own.id;
        let ballots = self.ballots.get(&subject);
        let observers = observers(self.live.iter().copied(), subject);
        let is_missed = |node: &NodeId| self.watches.get(node).is_some_and(|w| w.is_late);
        let counted = observers.iter().filter(|node| !is_missed(node)).count();
        // Where nobody is left who could vote, missing it is enough.
        let is_alone = counted == 0 && is_late_here;
        let alone = is_alone.then_some(peer.life);
        let votes = observers.iter().filter_map(|node| {
            if *node == me {
                return is_late_here.then_some(peer.life);
            }
            let ballot = ballots?.get(node)?;
            let is_valid = ballot.boot == peer.boot && now.since(ballot.received) < VOTE_FOR;
            is_valid.then_some(ballot.life)
        });
        let votes: Vec<Life> = votes.chain(alone).collect();
        if votes.is_empty() || votes.len() < QUORUM.min(counted) {
            return;
        }
        // A verdict does not forget what a voter said before it.
        let all = ballots.into_iter().flat_map(|b| b.values());
        let all = all.filter(|ballot| ballot.boot == peer.boot);
        let silent_at = all
            .map(|ballot| ballot.life.silent_at())
            .chain([peer.life.silent_at()])
            .max();
        if let Some(silent_at) = silent_at {
            self.dead(now, subject, silent_at);
        }
    }

    fn dead(&mut self, now: Time, subject: NodeId, silent_at: Time) {
        let Some(peer) = self.peers.get_mut(&subject) else {
            return;
        };
        let standing = match peer.standing {
            Standing::Dead { silent_at: before } => Standing::Dead {
                silent_at: silent_at.max(before),
            },
            Standing::Alive | Standing::Left => {
                peer.gone = now;
                self.counts.verdicts += 1;
                Standing::Dead { silent_at }
            }
        };
        if peer.standing != standing {
            peer.standing = standing;
            self.no_longer_live(subject);
        }
    }

    /// `node` gave a sign of life: votes against it are void, and an own one is withdrawn before all.
    pub(super) fn alive(&mut self, now: Time, node: NodeId) {
        if let Some(watch) = self.watches.get_mut(&node) {
            watch.probe_at = None;
            let was_late = std::mem::take(&mut watch.is_late);
            let was_void = std::mem::take(&mut watch.is_void);
            match watch.why {
                Why::Observed if was_late || was_void => watch.report = Some(Rounds::new(now)),
                Why::Observed => {}
                Why::Doubted => drop(self.watches.remove(&node)),
            }
        }
        match self.peers.get(&node) {
            Some(peer) if !peer.is_alive() => self.revive(now, node),
            Some(peer) if !peer.is_reachable => self.refresh_reach(now, node),
            Some(_) | None => {}
        }
    }

    /// A node that was dead is not, as this node heard itself or was told; an own vote stands until it hears it.
    fn revive(&mut self, now: Time, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        peer.standing = Standing::Alive;
        self.ballots.remove(&node);
        self.live.insert(node);
        self.view.live_changed();
        self.view.touch(node);
        self.pushes.begin(node, now);
        self.refresh_reach(now, node);
        // It may have been cut off and hold this node dead in turn.
        let beat = self.heartbeat(now);
        self.send(now, node, &beat);
    }

    /// `node` is dead, gone or forgotten.
    pub(super) fn no_longer_live(&mut self, node: NodeId) {
        self.pushes.end(node);
        if self.live.remove(&node) {
            self.view.live_changed();
        }
        self.listeners.remove(&node);
        self.view.touch(node);
    }

    /// What was said of an earlier boot says nothing of this one.
    pub(super) fn forget_votes(&mut self, node: NodeId) {
        self.ballots.remove(&node);
        self.watches.remove(&node);
        self.view.live_changed();
    }

    /// Drops votes that nobody repeats.
    pub(super) fn expire_votes(&mut self, now: Time) {
        self.ballots.retain(|_, ballots| {
            ballots.retain(|_, ballot| now.since(ballot.received) < VOTE_FOR);
            !ballots.is_empty()
        });
    }

    /// Whether `node` can be reached, as far as is known.
    pub(super) fn refresh_reach(&mut self, now: Time, node: NodeId) {
        let watch = self.watches.get(&node);
        let is_observed = watch.is_some();
        let is_own_to_watch = watch.is_some_and(|watch| watch.why == Why::Observed);
        let is_accused = self.ballots.contains_key(&node);
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        let is_heard = peer.heard.is_some_and(|heard| now < heard + REACHABLE);
        let is_reachable = is_heard || (!is_observed && !is_accused);
        let is_in_grace = is_own_to_watch && !is_heard && peer.life.promise > PROMISE;
        if peer.is_reachable != is_reachable || peer.is_in_grace != is_in_grace {
            (peer.is_reachable, peer.is_in_grace) = (is_reachable, is_in_grace);
            self.view.touch(node);
        }
    }
}

/// An observed member that was heard within this can be reached: three heartbeats of four may be lost.
pub(super) const REACHABLE: Span = Span::ms(200);
/// Votes count for so long, unless repeated.
pub(super) const VOTE_FOR: Span = Span::s(2);
