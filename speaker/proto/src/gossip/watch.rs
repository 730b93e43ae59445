//! Observing: who observes whom, whose silence is waited for, and what is said of it (L2.1).
//!
//! Before an observer votes it asks for a heartbeat, since its subject may not know of it. What a vote leads to is in [`super::votes`].
//!
//! An observer may be as dead as its subject, or cut off with it. Who misses a subject doubts the other observers from whom it hears nothing, asks
//! them, and after the same wait does not count on them any more; nor on theirs, whom it then asks. So an island finds the rest of a thousand
//! nodes dead after a few such waits.

use super::LATE;
use super::machine::{Gossip, LISTEN, LISTENERS_MAX};
use super::observers::{observers, observes};
use super::peer::Peer;
use super::schedule::Rounds;
use super::votes::REACHABLE;
use super::wire::{Message, Vote};
use crate::member::{NodeId, Standing};
use crate::pulse::PROMISE;
use crate::{Span, Time};
use std::collections::BTreeSet;

/// A node whose silence matters here.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) why: Why,
    /// Since when, at the earliest, its silence counts.
    since: Time,
    /// When it is next asked for a heartbeat, since it was not heard.
    pub(super) probe_at: Option<Time>,
    /// Not heard in time.
    pub(super) is_late: bool,
    /// Its kernel does not answer here, though it promised to.
    pub(super) is_void: bool,
    /// What is being told about it.
    pub(super) report: Option<Rounds>,
}

/// Why a node is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// This node is one of its observers: its silence makes a vote.
    Observed,
    /// It should have voted: its silence means that it is not counted on.
    Doubted,
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
                is_void: false,
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
        let is_alive = self.live.contains(&node);
        if let Some(watch) = self.watches.get_mut(&node) {
            watch.is_late = true;
            watch.probe_at = None;
            // Of who was dead before this node came to observe it, all know.
            if watch.why == Why::Observed && is_alive {
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
        if self.live.contains(&node) {
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
                    is_void: false,
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
        let is_over = if watch.is_late || watch.is_void {
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
            is_void: watch.is_void,
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
}

/// Votes are repeated for so long; who comes later asks.
const REPEAT_FOR: Span = Span::s(10);
/// A first heartbeat may take so much longer than the next: until the roster has reached its sender, with lost datagrams.
const UNHEARD: Span = Span::s(3);
/// A silent node is asked for a heartbeat so often, before it is late.
const PROBE_AGAIN: Span = Span::ms(75);
/// The observers of one node are asked no more often.
const INQUIRE: Span = Span::ms(500);
