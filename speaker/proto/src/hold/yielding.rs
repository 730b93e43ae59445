//! Giving a group away, and getting it back when nobody takes it (L3.2, L6.1).
//!
//! A holder first falls silent, then says so to all, and only then tells who asked. Until that one took it or refused it, nobody else
//! can take it, and this node takes it back without asking only on a refusal, which is final for that attempt.

use super::asking::Dispute;
use super::group::{Group, State};
use super::machine::Holds;
use super::message::{Ages, Say, Why};
use super::taking::{Came, message};
use super::{Event, Ground, Output};
use crate::member::{Boot, HeldState, NodeId};
use crate::{Epoch, GroupKey, Span, Time};
use std::collections::BTreeSet;

/// A group that is given away.
#[derive(Debug)]
pub(super) struct Draining {
    /// The taking that ends.
    pub(super) epoch: Epoch,
    /// The least that the next one has.
    pub(super) given: Epoch,
    /// Who asked.
    pub(super) to: NodeId,
    boot: Option<Boot>,
    nonce: u64,
    /// The VIPs that were asked for.
    asked: BTreeSet<GroupKey>,
    /// The kernel is known not to answer any more.
    pub(super) is_silent: bool,
    silent_version: u64,
    sends: u32,
    next: Time,
    /// Since when it was silent; after a while it is nobody's.
    since: Time,
    /// Who asked took it, or cannot any more but by the rules that all are under: the end of the window.
    pub(super) ends: Option<Time>,
    /// From then on the new holder's kernel knows of the move, and new connections are sent there.
    pub(super) passes_at: Time,
    pub(super) is_passing: bool,
}

impl Holds {
    /// Somebody wants a VIP.
    pub(super) fn asked(&mut self, now: Time, from: NodeId, vip: GroupKey, nonce: u64) {
        let Some((key, mut group)) = self.group_of(vip) else {
            self.say_clear(from, vip, nonce);
            return;
        };
        let boot = self.others.live(from).map(|member| member.boot);
        match &mut group.state {
            State::Holding(_) => self.answer(now, key, &mut group, from, vip, nonce),
            State::Draining(draining) if draining.ends.is_some() => {
                self.say_clear(from, vip, nonce)
            }
            State::Draining(draining) if draining.to == from => {
                // An older question that comes late must not bring back an attempt that was refused.
                if nonce > draining.nonce || boot != draining.boot {
                    draining.nonce = nonce;
                    draining.boot = boot;
                    draining.asked.clear();
                }
                if nonce == draining.nonce {
                    draining.asked.insert(vip);
                    draining.next = now;
                    self.drain(now, key, &mut group);
                }
            }
            State::Draining(_) => self.tell(from, message(vip, nonce, Say::Keep(Why::NotYet))),
            State::Free
            | State::Waiting
            | State::Taking(_)
            | State::Contested(_)
            | State::Lapsed => self.say_clear(from, vip, nonce),
        }
        self.put_back(key, group);
    }

    fn say_clear(&mut self, to: NodeId, vip: GroupKey, nonce: u64) {
        if !self.facts.is_fading(vip) {
            let until = self.top_epoch();
            self.tell(to, message(vip, nonce, Say::Clear(until)));
        }
    }

    /// A member finds that this node does not answer for what it holds. It is about to ask for it.
    pub(super) fn unheard_by(&mut self, now: Time, key: GroupKey, group: &mut Group, by: NodeId) {
        if let State::Holding(own) = &mut group.state
            && self.others.live(by).is_some()
        {
            own.unheard = Some((by, now));
            self.say(Output::Unheard(key, by));
        }
    }

    /// A holder's answer to who wants what it holds.
    fn answer(
        &mut self,
        now: Time,
        key: GroupKey,
        group: &mut Group,
        from: NodeId,
        vip: GroupKey,
        nonce: u64,
    ) {
        let State::Holding(own) = &mut group.state else {
            return;
        };
        let epoch = own.epoch;
        let Some(asker) = self.others.live(from) else {
            return;
        };
        let boot = asker.boot;
        let is_fresher = self.is_stale && !asker.profile.is_stale;
        let wish = self.wish(key);
        // What it said is weighed by election, a moment later.
        let is_news = own
            .unheard
            .is_some_and(|(by, at)| by == from && now < at + WEIGHED);
        let is_voluntary = wish.is_some_and(|wish| wish.is_candidate);
        let why = match wish {
            None if self.wishes.is_none() && !is_fresher => Some(Why::NotYet),
            // Who may not answer itself has no view to defend: whoever asks is better.
            Some(wish) if wish.is_candidate && wish.owner != Some(from) && !is_fresher => {
                Some(if is_news { Why::NotYet } else { Why::Disagree })
            }
            Some(_) | None if is_voluntary && !group.moves.is_allowed(now) => Some(Why::MovesSpent),
            Some(_) | None => None,
        };
        if let Some(why) = why {
            let refused = own.refused.take().filter(|refused| refused.with == from);
            let mut refused = refused.unwrap_or(Dispute::new(now, from));
            let event = refused.event(now, key, why);
            own.refused = Some(refused);
            self.tell(from, message(vip, nonce, Say::Keep(why)));
            self.said.extend(event.map(Output::Event));
            return;
        }
        if is_voluntary {
            group.moves.count(now);
        }
        let draining = Draining {
            epoch,
            given: self.next_epoch(),
            to: from,
            boot: Some(boot),
            nonce,
            asked: BTreeSet::from([vip]),
            is_silent: false,
            silent_version: self.facts.wait_for_kernel(vip),
            sends: 0,
            next: now,
            since: now,
            ends: None,
            passes_at: now,
            is_passing: false,
        };
        group.state = State::Draining(draining);
        group.due = None;
        self.say(Output::Event(Event::Given {
            group: key,
            to: Some(from),
        }));
    }

    /// A group that is given away: tells who asked until it answers, and ends the window.
    pub(super) fn drain(&mut self, now: Time, key: GroupKey, group: &mut Group) {
        let State::Draining(draining) = &mut group.state else {
            return;
        };
        group.due = None;
        if !draining.is_silent {
            if self.facts.applied < draining.silent_version {
                return;
            }
            draining.is_silent = true;
            draining.next = now;
            draining.since = now;
        }
        if draining.ends.is_none() {
            let to = draining.to;
            let given = draining.given;
            let is_gone = self.others.live(to).is_none();
            let has_it = group.vips.iter().any(|vip| {
                let entry = self.others.entry(GroupKey(vip.0), to);
                entry.is_some_and(|e| e.epoch >= given && e.state != HeldState::Preparing)
            });
            if is_gone || has_it || draining.since + UNCLEAR_MAX <= now {
                self.end_draining(now, group);
            }
        }
        let State::Draining(draining) = &mut group.state else {
            return;
        };
        match draining.ends {
            Some(ends) => {
                let is_over = ends <= now || self.wants(key) && !self.is_stale;
                draining.is_passing = draining.passes_at <= now;
                let next = if draining.is_passing {
                    ends
                } else {
                    draining.passes_at
                };
                group.due = Some(next.min(ends));
                if is_over {
                    self.begin(now, key, group);
                }
            }
            None => self.send_yield(now, group),
        }
    }

    fn send_yield(&mut self, now: Time, group: &mut Group) {
        let State::Draining(draining) = &mut group.state else {
            return;
        };
        if draining.next <= now {
            let ages = group.moves.ages(now);
            for vip in &draining.asked {
                let say = Say::Yield(draining.given, ages);
                self.tell(draining.to, message(*vip, draining.nonce, say));
            }
            draining.sends += 1;
            let wait = match draining.sends {
                0..YIELDS_FAST => YIELD_FAST,
                YIELDS_FAST.. => YIELD_SLOW,
            };
            draining.next = now + wait;
        }
        group.due = Some(draining.next.min(draining.since + UNCLEAR_MAX));
    }

    /// A holder gives a VIP to this node.
    pub(super) fn yielded(
        &mut self,
        now: Time,
        from: NodeId,
        of: (GroupKey, u64),
        epoch: Epoch,
        ages: Ages,
    ) {
        let (vip, nonce) = of;
        let Some((key, mut group)) = self.group_of(vip) else {
            self.refuse(from, vip, nonce);
            return;
        };
        match &mut group.state {
            State::Taking(taking) if taking.nonce == nonce => {
                self.cleared(taking, now, (from, vip), epoch, Some(ages));
                self.go_on(now, key, &mut group);
            }
            // It was taken by another attempt; the giver must not take it back.
            State::Holding(_) | State::Draining(_) => {
                self.tell(from, message(vip, nonce, Say::Took));
            }
            State::Free
            | State::Waiting
            | State::Taking(_)
            | State::Contested(_)
            | State::Lapsed => self.refuse(from, vip, nonce),
        }
        self.put_back(key, group);
    }

    fn refuse(&mut self, to: NodeId, vip: GroupKey, nonce: u64) {
        // The giver would take it back at once, while this kernel may still answer.
        if !self.facts.is_fading(vip) {
            self.tell(to, message(vip, nonce, Say::Refuse));
        }
    }

    /// Who asked took it.
    pub(super) fn taken_by(&mut self, now: Time, key: GroupKey, group: &mut Group, by: NodeId) {
        if let State::Draining(draining) = &mut group.state
            && draining.to == by
            && draining.ends.is_none()
        {
            self.end_draining(now, group);
            self.drain(now, key, group);
        }
    }

    /// Who asked does not want it any more.
    pub(super) fn refused_by(
        &mut self,
        now: Time,
        key: GroupKey,
        group: &mut Group,
        by: NodeId,
        nonce: u64,
    ) {
        let State::Draining(draining) = &group.state else {
            return;
        };
        if draining.to != by || draining.nonce != nonce || draining.ends.is_some() {
            return;
        }
        let view = self.others.view(self.me, &group.vips);
        let mut holders = view.holders.values();
        let is_held = holders.any(|holder| holder.is_holding)
            || view.dead.values().any(|(_, silent_at)| now < *silent_at);
        let roster = self.others.roster();
        let may_answer = self.is_armed && !roster.is_name_taken && !is_held;
        // Whose kernel has no place to answer at would only keep it from others.
        let wish = self.wish(key);
        let is_wanted = wish.is_some_and(|wish| wish.owner.is_some() && wish.can_answer);
        if may_answer && is_wanted {
            let epoch = self.next_epoch();
            let came = Came {
                ground: Ground::Refused,
                from: Some(draining.to),
                took: now.since(draining.since),
            };
            self.hold(key, group, epoch, came);
        } else {
            if !draining.is_silent {
                let epoch = draining.epoch;
                self.fade(group, epoch);
            }
            self.begin(now, key, group);
        }
    }
}

/// Lost yields are repeated so often and so soon (L6.1), for nobody answers meanwhile.
const YIELDS_FAST: u32 = 3;
const YIELD_FAST: Span = Span::ms(20);
const YIELD_SLOW: Span = Span::ms(200);
/// Who asked and can be heard answers within a few of those. Then it is nobody's, and taken like what nobody holds.
const UNCLEAR_MAX: Span = Span::s(2);
/// Election has spoken by then.
const WEIGHED: Span = Span::s(1);
