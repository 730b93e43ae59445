//! Before the process stops: asking the observers to wait for the next one, or taking leave. And what voids a promise of another's (L6.3).
//!
//! While a member is in its grace its observers ask its kernel, which is deciding's affair. One that gets no answer says so before all, and once two do
//! the promise counts no longer than an ordinary heartbeat's: the usual votes follow at once. Who takes then promises nothing itself while that kernel
//! may still answer.

use super::machine::Gossip;
use super::observers::observes;
use super::peer::ms;
use super::schedule::Rounds;
use super::votes::{REACHABLE, VOTE_FOR};
use super::watch::Why;
use super::wire::{Message, Vote};
use super::{Output, PROMISE_WAIT, QUORUM};
use crate::member::NodeId;
use crate::pulse::PROMISE;
use crate::{Span, Time};
use std::collections::BTreeSet;

/// A promise that was given, or is being given.
#[derive(Debug)]
pub(super) struct Promise {
    /// This node's kernel answers no longer than that: what was asked for, and the time that asking takes.
    pub(super) until: Time,
    begun: Time,
    due: Time,
    /// Observers that have not noted it.
    waiting: BTreeSet<NodeId>,
    is_settled: bool,
}

/// Taking leave.
#[derive(Debug)]
pub(super) struct Parting(Rounds);

impl Parting {
    pub(super) fn deadline(&self) -> Option<Time> {
        (!self.0.is_told()).then_some(self.0.due)
    }
}

impl Gossip {
    pub(super) fn begin_promise(&mut self, now: Time, grace: Span) {
        if self.stands_in(now) {
            return self.push_output(Output::Promised(false));
        }
        self.promise = Some(Promise {
            until: now + grace + PROMISE_WAIT,
            begun: now,
            due: now,
            waiting: self.observers.iter().copied().collect(),
            is_settled: false,
        });
    }

    /// What comes late for an earlier promise, perhaps one of the process before, says nothing of this one.
    pub(super) fn promise_acked(&mut self, node: NodeId, until: u64) {
        if let Some(promise) = &mut self.promise
            && promise.until.ns() == until
        {
            promise.waiting.remove(&node);
        }
    }

    /// Whether this node answers for what another kernel may answer for still, whose promise was void: only claims end that, and nobody sends
    /// them while this node's speaker is away.
    fn stands_in(&self, now: Time) -> bool {
        let mut lasting = self.peers.values().filter(|peer| now < peer.void_until);
        lasting.any(|peer| {
            let held = peer.held.value.iter();
            held.flat_map(|held| held.keys())
                .any(|group| self.own.holds(*group))
        })
    }

    pub(super) fn promise_turn(&mut self, now: Time) {
        let stands_in = self.promise.is_some() && self.stands_in(now);
        let Some(promise) = self.promise.as_mut().filter(|p| !p.is_settled) else {
            // Once it is over, heartbeats promise the ordinary again.
            self.promise.take_if(|promise| promise.until <= now);
            return;
        };
        // What is taken meanwhile counts as well: then it is taken back.
        if promise.waiting.is_empty() && !stands_in {
            promise.is_settled = true;
            return self.push_output(Output::Promised(true));
        }
        if now.since(promise.begun) >= PROMISE_WAIT {
            self.take_back(now);
            return self.push_output(Output::Promised(false));
        }
        if promise.due > now {
            return;
        }
        promise.due = now + ASK_AGAIN;
        let message = Message::PromiseAsk {
            ms: ms(promise.until.since(now)).saturating_add(1),
            until: promise.until.ns(),
        };
        // All are told, since anyone may become an observer in the meantime; the observers must answer.
        let is_first = promise.begun == now;
        let waiting = promise.waiting.clone();
        let me = self.own.id;
        let others = self.live.iter().copied().filter(|node| *node != me);
        let to: Vec<NodeId> = others
            .filter(|node| is_first || waiting.contains(node))
            .collect();
        to.into_iter()
            .for_each(|node| self.send(now, node, &message));
    }

    /// Whoever noted it must not wait for a kernel that falls silent sooner, and there may be no further heartbeat.
    fn take_back(&mut self, now: Time) {
        self.promise = None;
        let beat = self.heartbeat(now);
        let me = self.own.id;
        let others: Vec<NodeId> = self.live.iter().copied().filter(|n| *n != me).collect();
        others
            .into_iter()
            .for_each(|node| self.send(now, node, &beat));
    }

    pub(super) fn promise_deadline(&self) -> Option<Time> {
        let promise = self.promise.as_ref()?;
        Some(if promise.is_settled {
            promise.until
        } else {
            promise.due.min(promise.begun + PROMISE_WAIT)
        })
    }

    pub(super) fn begin_parting(&mut self, now: Time) {
        self.parting.get_or_insert(Parting(Rounds::new(now)));
        self.promise = None;
    }

    pub(super) fn parting_turn(&mut self, now: Time) {
        let me = self.own.id;
        let Some(Parting(rounds)) = &mut self.parting else {
            return;
        };
        if rounds.is_told() || rounds.due > now {
            return;
        }
        let to = rounds.step(now, self.live.iter().copied().filter(|node| *node != me));
        to.into_iter()
            .for_each(|node| self.send(now, node, &Message::Leave));
    }
}

impl Gossip {
    /// Deciding found that the kernel of a member in its grace does not answer, or that it does after all.
    pub(super) fn kernel(&mut self, now: Time, node: NodeId, is_silent: bool) {
        let is_in_grace = self.peers.get(&node).is_some_and(|peer| peer.is_in_grace);
        let watch = self.watches.get_mut(&node);
        let Some(watch) = watch.filter(|watch| watch.why == Why::Observed) else {
            return;
        };
        if watch.is_void == is_silent || is_silent && !is_in_grace {
            return;
        }
        watch.is_void = is_silent;
        watch.report = Some(Rounds::new(now));
        self.void(now, node);
    }

    /// What another observer says of a kernel.
    pub(super) fn void_vote(&mut self, now: Time, voter: NodeId, vote: &Vote) {
        if !observes(self.live.iter().copied(), voter, vote.subject) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&vote.subject) else {
            return;
        };
        if vote.is_void {
            peer.voids.insert(voter, now);
            self.void(now, vote.subject);
        } else {
            peer.voids.remove(&voter);
        }
    }

    /// Whether two say so: a lone one may itself be what is cut off.
    fn void(&mut self, now: Time, node: NodeId) {
        let own = self.watches.get(&node).is_some_and(|watch| watch.is_void);
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        peer.voids.retain(|_, at| now.since(*at) < VOTE_FOR);
        let is_void = peer.voids.len() + usize::from(own) >= QUORUM;
        let is_heard = peer.heard.is_some_and(|heard| now < heard + REACHABLE);
        if is_void && !is_heard && peer.life.promise > PROMISE {
            peer.void_until = peer.life.silent_at();
            peer.life.promise = PROMISE;
            self.counts.voided += 1;
            self.judge(now, node);
        }
    }
}

/// Observers that have not answered are asked again.
const ASK_AGAIN: Span = Span::ms(50);
