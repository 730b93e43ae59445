//! Asking those who hold what this node was elected for, and what they answer.
//!
//! Datagrams are lost, so a question is repeated with the same number, ever more seldom. What the answers are worth is
//! [`super::taking`]'s.

use super::machine::Holds;
use super::message::{Ages, Say, Why};
use super::moves::Moves;
use super::taking::{Cleared, RETRY, Taking, message};
use super::{Event, Output};
use crate::member::NodeId;
use crate::{Epoch, GroupKey, Span, Time};
use std::collections::BTreeSet;

impl Holds {
    /// Asks those who hold it; returns when to ask again.
    pub(super) fn ask(
        &mut self,
        now: Time,
        key: GroupKey,
        taking: &mut Taking,
        keepers: &BTreeSet<NodeId>,
        open: &[(NodeId, GroupKey)],
    ) -> Time {
        // Who kept its part last time goes first, lest others fall silent in vain.
        let first = |(id, _): &&(NodeId, GroupKey)| keepers.contains(id);
        let keep: Vec<_> = open.iter().filter(first).copied().collect();
        let open = if keep.is_empty() { open } else { &keep };
        let new: Vec<_> = open
            .iter()
            .filter(|by| !taking.asked.contains(by))
            .collect();
        let is_new = !new.is_empty();
        if now < taking.ask_at && (taking.is_queued || !is_new) {
            return taking.ask_at;
        }
        if !std::mem::take(&mut taking.is_queued) {
            taking.ask_at = self.asks.turn(now);
            if now < taking.ask_at {
                taking.is_queued = true;
                return taking.ask_at;
            }
        }
        if is_new {
            taking.ask_wait = ASK_FIRST;
        }
        let all: Vec<_> = open.iter().collect();
        let turn = if is_new { new } else { all };
        for (id, vip) in turn.into_iter().take(ASKS_AT_ONCE) {
            if self.wish(key).is_some_and(|wish| wish.silent.contains(id)) {
                self.tell(*id, message(*vip, taking.nonce, Say::Unheard));
            }
            self.tell(*id, message(*vip, taking.nonce, Say::Ask));
            taking.asked.insert((*id, *vip));
        }
        taking.ask_at = now + taking.ask_wait;
        taking.ask_wait = Span::from_ns(taking.ask_wait.ns() * 2).min(RETRY);
        taking.ask_at
    }

    /// A member is silent about a VIP, for this attempt.
    pub(super) fn cleared(
        &self,
        taking: &mut Taking,
        now: Time,
        by: (NodeId, GroupKey),
        until: Epoch,
        ages: Option<Ages>,
    ) {
        let Some(member) = self.others.roster().members.get(&by.0) else {
            return;
        };
        let cleared = Cleared {
            boot: member.boot,
            until,
            is_given: ages.is_some(),
        };
        taking.cleared.insert(by, cleared);
        if let Some(ages) = ages {
            taking.given_at.get_or_insert(now);
            taking.moves = Some(Moves::inherited(now, ages));
            // Who gives does not keep any more: what it said of the rest is as old, and it is asked for that at once.
            if taking.kept.remove(&by.0).is_some() {
                taking.ask_at = now;
            }
        }
    }

    /// A holder keeps it.
    pub(super) fn kept(
        &mut self,
        now: Time,
        key: GroupKey,
        taking: &mut Taking,
        with: NodeId,
        why: Why,
    ) {
        let dispute = taking.kept.entry(with).or_insert(Dispute::new(now, with));
        let event = dispute.event(now, key, why);
        self.said.extend(event.map(Output::Event));
        let wait = match why {
            Why::NotYet => ASK_FIRST,
            // Mostly it has only not heard yet of what changed.
            Why::Disagree => taking.ask_wait,
            Why::MovesSpent => RETRY,
        };
        taking.ask_at = now + wait;
    }
}

/// Two nodes that do not agree on who should hold a group.
#[derive(Debug)]
pub(super) struct Dispute {
    pub(super) with: NodeId,
    since: Time,
    /// It is more than a moment's.
    pub(super) is_refused: bool,
    is_told: bool,
}

impl Dispute {
    pub(super) const fn new(now: Time, with: NodeId) -> Self {
        Self {
            with,
            since: now,
            is_refused: false,
            is_told: false,
        }
    }

    /// It goes on, for this reason; what the operator is told, once.
    pub(super) fn event(&mut self, now: Time, group: GroupKey, why: Why) -> Option<Event> {
        let (event, after) = match why {
            Why::NotYet => return None,
            Why::Disagree => {
                let with = self.with;
                (Event::Disagree { group, with }, DISAGREE_AFTER)
            }
            Why::MovesSpent => (Event::MovesSpent { group }, Span::ms(0)),
        };
        self.is_refused = true;
        if self.is_told || now < self.since + after {
            return None;
        }
        self.is_told = true;
        Some(event)
    }
}

/// Whose turn it is to ask: so many groups at once, the rest [`ASK_PACE`] later, and so on.
#[derive(Debug, Default)]
pub(super) struct Asks {
    at: Time,
    count: usize,
}

impl Asks {
    /// When the next group may ask.
    fn turn(&mut self, now: Time) -> Time {
        if self.at < now {
            self.at = now;
            self.count = 0;
        }
        if self.count == ASKS_PER_PACE {
            self.at += ASK_PACE;
            self.count = 0;
        }
        self.count += 1;
        self.at
    }
}

/// A holder that does not answer is asked again after this long, and then ever more seldom.
pub(super) const ASK_FIRST: Span = Span::ms(100);
/// A group of more VIPs than this is asked for in parts.
const ASKS_AT_ONCE: usize = 16;
/// Ten thousand groups are asked for within half a second, some ten datagrams each time.
const ASKS_PER_PACE: usize = 256;
const ASK_PACE: Span = Span::ms(10);
/// Views that differ for less are merely not equally fast.
const DISAGREE_AFTER: Span = Span::ms(500);
