//! Observing, voting and the verdict (L2.1).
//!
//! Only what this node itself did not hear makes it vote, and only votes of a subject's observers make a verdict. Whoever heard the subject itself
//! within the same time knows better than any vote. Ages travel, never moments: hosts' clocks are not compared.
//!
//! An observer may be as dead as its subject, or cut off with it. Who misses a subject doubts the other observers from whom it hears nothing, asks
//! them, and after the same wait does not count on them any more; nor on theirs, whom it then asks. So an island finds the rest of a thousand
//! nodes dead after a few such waits.

use super::machine::{Gossip, LISTEN, LISTENERS_MAX};
use super::observers::{observers, observes};
use super::peer::{Life, Peer};
use super::schedule::Rounds;
use super::wire::{Message, Vote};
use super::{LATE, QUORUM};
use crate::member::{Boot, NodeId, Standing};
use crate::pulse::PROMISE;
use crate::{Span, Time};
use std::collections::BTreeSet;

/// A node whose silence matters here.
#[derive(Debug)]
pub(super) struct Watch {
    why: Why,
    /// Since when, at the earliest, its silence counts.
    since: Time,
    /// When it is next asked for a heartbeat, since it was not heard.
    probe_at: Option<Time>,
    /// Not heard in time.
    is_late: bool,
    /// What is being told about it.
    report: Option<Rounds>,
}

/// Why a node is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    /// This node is one of its observers: its silence makes a vote.
    Observed,
    /// It should have voted: its silence means that it is not counted on.
    Doubted,
}

/// A vote as it was received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ballot {
    boot: Boot,
    life: Life,
    received: Time,
}

impl Gossip {
    /// Recomputes who observes this node and whom it observes; old observers are told on for a while.
    pub(super) fn choose_observers(&mut self, now: Time) {
        let me = self.own.id;
        let chosen = observers(self.live.iter().copied(), me);
        for former in self.observers.iter().filter(|node| !chosen.contains(node)) {
            if self.live.contains(former) && self.listeners.len() < LISTENERS_MAX {
                self.listeners.insert(*former, now + LISTEN);
            }
        }
        self.observers = chosen;
        let live = &self.live;
        // The dead are observed as well, so that the votes of who is left can be asked for.
        let observed: BTreeSet<NodeId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.standing != Standing::Left)
            .filter(|(node, _)| observes(live.iter().copied(), me, **node))
            .map(|(node, _)| *node)
            .collect();
        self.watches.retain(|node, watch| match watch.why {
            Why::Observed => observed.contains(node),
            Why::Doubted => live.contains(node) || observed.contains(node),
        });
        for node in observed {
            let watch = self.watches.entry(node).or_insert_with(|| Watch {
                why: Why::Observed,
                since: now,
                probe_at: None,
                is_late: false,
                report: None,
            });
            // Who was doubted long enough is voted on at once: it was waited for.
            if watch.why == Why::Doubted && watch.is_late {
                watch.report = Some(Rounds::new(now));
            }
            watch.why = Why::Observed;
        }
    }

    /// When `peer`'s silence becomes a vote or a doubt that is confirmed.
    fn late_at(&self, watch: &Watch, peer: &Peer) -> Time {
        // Who was never heard in this boot may not know yet that this node observes it. Who is doubted is asked.
        let unheard = match watch.why {
            Why::Observed => watch.since + UNHEARD,
            Why::Doubted => watch.since,
        };
        let heard = peer.heard.unwrap_or(unheard);
        let waited = heard.max(watch.since).max(self.starved) + PROMISE;
        waited.max(peer.life.at + peer.life.promise) + LATE
    }

    pub(super) fn watch_turn(&mut self, now: Time) {
        let due: Vec<NodeId> = self
            .watches
            .iter()
            .filter(|(node, watch)| self.watch_due(node, watch).is_some_and(|at| at <= now))
            .map(|(node, _)| *node)
            .collect();
        for node in due {
            self.watch_one(now, node);
        }
    }

    pub(super) fn watch_deadline(&self) -> Option<Time> {
        self.watches
            .iter()
            .filter_map(|(node, watch)| self.watch_due(node, watch))
            .min()
    }

    fn watch_due(&self, node: &NodeId, watch: &Watch) -> Option<Time> {
        let peer = self.peers.get(node)?;
        let report = watch.report.map(|report| report.due);
        if watch.is_late {
            return report;
        }
        let late_at = self.late_at(watch, peer);
        let probe_at = watch.probe_at.unwrap_or(late_at - LATE);
        let flip = peer.heard.filter(|_| peer.is_reachable);
        let flip = flip.map(|heard| heard + REACHABLE);
        let dues = [Some(late_at.min(probe_at)), flip, report];
        dues.into_iter().flatten().min()
    }

    fn watch_one(&mut self, now: Time, node: NodeId) {
        let (Some(watch), Some(peer)) = (self.watches.get(&node), self.peers.get(&node)) else {
            return;
        };
        if !watch.is_late {
            let late_at = self.late_at(watch, peer);
            if now >= late_at {
                self.missed(now, node);
            } else if now >= watch.probe_at.unwrap_or(late_at - LATE) {
                if let Some(watch) = self.watches.get_mut(&node) {
                    watch.probe_at = Some(now + PROBE_AGAIN);
                }
                self.send(now, node, &Message::Probe);
            }
        }
        self.refresh_reach(now, node);
        self.report(now, node);
    }

    /// The own vote, or doubt.
    fn missed(&mut self, now: Time, node: NodeId) {
        if let Some(watch) = self.watches.get_mut(&node) {
            watch.is_late = true;
            watch.probe_at = None;
            if watch.why == Why::Observed {
                watch.report = Some(Rounds::new(now));
                self.counts.votes += 1;
            }
        }
        // One observer fewer may be enough for a verdict on others.
        let own = self.watches.iter().filter(|(_, watch)| watch.is_late);
        let own = own.map(|(node, _)| *node);
        let subjects: BTreeSet<NodeId> = own.chain(self.ballots.keys().copied()).collect();
        for subject in subjects {
            self.judge(now, subject);
        }
        if self.peers.get(&node).is_some_and(Peer::is_alive) {
            self.doubt_observers(now, node);
        }
    }

    /// `subject` is missed here and its other observers have said nothing yet: those from whom nothing is heard are asked.
    fn doubt_observers(&mut self, now: Time, subject: NodeId) {
        let me = self.own.id;
        for node in observers(self.live.iter().copied(), subject) {
            let is_heard = self
                .peers
                .get(&node)
                .and_then(|peer| peer.heard)
                .is_some_and(|heard| now < heard + REACHABLE);
            if node != me && !is_heard {
                self.watches.entry(node).or_insert(Watch {
                    why: Why::Doubted,
                    since: now,
                    probe_at: Some(now),
                    is_late: false,
                    report: None,
                });
            }
        }
    }

    /// Tells what is due to be told of `node`.
    fn report(&mut self, now: Time, node: NodeId) {
        let Some(watch) = self.watches.get_mut(&node) else {
            return;
        };
        let Some(report) = watch.report.as_mut().filter(|report| report.due <= now) else {
            return;
        };
        let me = self.own.id;
        let live = self.live.iter().copied();
        let mut to = report.step(now, live.filter(|other| *other != me && *other != node));
        to.push(node);
        let is_over = if watch.is_late {
            report.age(now) > REPEAT_FOR
        } else {
            report.is_told()
        };
        if is_over {
            watch.report = None;
        }
        if let Some(vote) = self.own_vote(now, node) {
            let vote = Message::Vote(vote);
            to.into_iter().for_each(|to| self.send(now, to, &vote));
        }
    }

    /// What this node says of one that it observes.
    fn own_vote(&self, now: Time, subject: NodeId) -> Option<Vote> {
        let peer = self.peers.get(&subject)?;
        let watch = self.watches.get(&subject)?;
        (watch.why == Why::Observed).then_some(Vote {
            subject,
            boot: peer.boot,
            trace: peer.life.trace(now),
            is_late: watch.is_late,
        })
    }

    pub(super) fn answer_ask(&mut self, now: Time, asker: NodeId, subject: NodeId) {
        if let Some(vote) = self.own_vote(now, subject) {
            self.send(now, asker, &Message::Vote(vote));
        }
    }

    /// Asks the observers of `subject`, of which another member thinks otherwise.
    pub(super) fn inquire(&mut self, now: Time, subject: NodeId) {
        let Some(peer) = self.peers.get_mut(&subject) else {
            return;
        };
        if peer.inquired.is_some_and(|at| now.since(at) < INQUIRE) {
            return;
        }
        peer.inquired = Some(now);
        for observer in observers(self.live.iter().copied(), subject) {
            self.send(now, observer, &Message::Ask(subject));
        }
    }

    /// A vote came in.
    pub(super) fn vote(&mut self, now: Time, voter: NodeId, vote: &Vote) {
        if vote.subject == self.own.id {
            if vote.boot == self.own.boot && vote.is_late {
                self.counts.accused += 1;
                self.listen(now, voter);
            }
            return;
        }
        let Some(peer) = self.peers.get_mut(&vote.subject) else {
            return;
        };
        if peer.boot != vote.boot || peer.standing == Standing::Left {
            return;
        }
        let life = Life::of(&vote.trace, now);
        if !vote.is_late {
            if let Some(ballots) = self.ballots.get_mut(&vote.subject) {
                ballots.remove(&voter);
            }
            let is_news = life.number > peer.life.number;
            self.learn_life(vote.subject, life);
            if is_news {
                self.alive(now, vote.subject);
            }
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

    /// Takes note of a sign of life that somebody else heard.
    pub(super) fn learn_life(&mut self, node: NodeId, life: Life) {
        if let Some(peer) = self.peers.get_mut(&node)
            && life.number > peer.life.number
        {
            peer.life = Life {
                at: life.at.max(peer.life.at),
                ..life
            };
        }
    }

    /// The verdict: [`QUORUM`] votes of live observers, if there are so many whom this node does not itself miss.
    fn judge(&mut self, now: Time, subject: NodeId) {
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
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        if let Some(watch) = self.watches.get_mut(&node) {
            watch.probe_at = None;
            let was_late = std::mem::take(&mut watch.is_late);
            match watch.why {
                Why::Observed if was_late => watch.report = Some(Rounds::new(now)),
                Why::Observed => {}
                Why::Doubted => drop(self.watches.remove(&node)),
            }
        }
        if peer.is_alive() {
            if !peer.is_reachable {
                self.refresh_reach(now, node);
            }
            return;
        }
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
        let is_observed = self.watches.contains_key(&node);
        let is_accused = self.ballots.contains_key(&node);
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        let is_heard = peer.heard.is_some_and(|heard| now < heard + REACHABLE);
        let is_reachable = is_heard || (!is_observed && !is_accused);
        if peer.is_reachable != is_reachable {
            peer.is_reachable = is_reachable;
            self.view.touch(node);
        }
    }
}

/// An observed member that was heard within this can be reached: three heartbeats of four may be lost.
const REACHABLE: Span = Span::ms(200);
/// Votes count for so long, unless repeated.
const VOTE_FOR: Span = Span::s(2);
/// Votes are repeated for so long; who comes later asks.
const REPEAT_FOR: Span = Span::s(10);
/// A first heartbeat may take so much longer than the next: until the roster has reached its sender, with lost datagrams.
const UNHEARD: Span = Span::s(3);
/// A silent node is asked for a heartbeat so often, before it is late.
const PROBE_AGAIN: Span = Span::ms(75);
/// The observers of one node are asked no more often.
const INQUIRE: Span = Span::ms(500);
