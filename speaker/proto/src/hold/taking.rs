//! On the way to holding a group: who must be silent, who must know, and when that is enough (L3.1).
//!
//! Three things keep two nodes from taking one VIP. A node publishes that it prepares before it asks anybody for anything. It takes
//! nothing while another live member is known to prepare: one of the two stands back. And without a yield for every VIP it
//! waits until every live member acknowledged; a member acknowledges with its own held set, and hears of the other's preparing
//! before it hears any later yield. So of two that prepare at the same time, at least one knows of the other in time.

use super::group::{Group, Own, State};
use super::machine::Holds;
use super::message::{Ages, Message, Say, Why};
use super::moves::Moves;
use super::others::View;
use super::{Event, Ground, Output};
use crate::member::{HeldState, HeldVersion, NodeId};
use crate::{Epoch, GroupKey, Mac, Span, Time, Vip};
use std::collections::{BTreeMap, BTreeSet};

/// A taking under way.
#[derive(Debug)]
pub(super) struct Taking {
    /// Which attempt; what answers an earlier one is void.
    pub(super) nonce: u64,
    /// Under which it is published.
    pub(super) epoch: Epoch,
    /// A holder is asked, or a dead one is not silent yet.
    pub(super) is_asking: bool,
    since: Time,
    /// The held set that first said so.
    shown: Option<HeldVersion>,
    /// Who is silent about a VIP, up to which of its takings.
    cleared: BTreeMap<(NodeId, GroupKey), Cleared>,
    asked: BTreeSet<(NodeId, GroupKey)>,
    ask_at: Time,
    ask_wait: Span,
    keeps: u32,
    is_told_moves_spent: bool,
    given_at: Option<Time>,
    moves: Option<Moves>,
    probe: Probe,
    stranger: Option<Mac>,
}

#[derive(Clone, Copy, Debug)]
struct Cleared {
    until: Epoch,
    /// It was given to this node, not merely not held.
    is_given: bool,
}

#[derive(Clone, Copy, Debug)]
enum Probe {
    Idle,
    /// Sent, with this number.
    Out(u64, Time),
    /// Nobody answered.
    Unanswered(Time),
    /// Somebody did: again then.
    Again(Time),
}

enum Step {
    Wait(Time),
    Take(Ground),
}

impl Taking {
    fn is_cleared(&self, by: (NodeId, GroupKey), epoch: Epoch) -> bool {
        let cleared = self.cleared.get(&by);
        cleared.is_some_and(|cleared| cleared.until >= epoch)
    }

    fn is_given(&self, vip: GroupKey) -> bool {
        let mut cleared = self.cleared.iter();
        cleared.any(|((_, of), cleared)| *of == vip && cleared.is_given)
    }

    fn givers(&self) -> impl Iterator<Item = (NodeId, GroupKey)> {
        let given = self.cleared.iter().filter(|(_, cleared)| cleared.is_given);
        given.map(|(by, _)| *by)
    }

    /// It was published under this version.
    pub(super) fn published(&mut self, version: HeldVersion) -> HeldVersion {
        *self.shown.get_or_insert(version)
    }
}

impl Holds {
    /// Whether a group should be taken.
    pub(super) fn wants(&self, key: GroupKey) -> bool {
        let roster = self.others.roster();
        self.is_armed
            && roster.is_settled
            && !roster.is_name_taken
            && self
                .wish(key)
                .is_some_and(|wish| wish.owner == Some(self.me))
    }

    /// A group that is free or stood back: whether to try for it.
    pub(super) fn begin(&mut self, now: Time, key: GroupKey, group: &mut Group) {
        group.due = None;
        group.state = State::Free;
        if !self.wants(key) || group.keys().any(|vip| self.facts.is_fading(vip)) {
            return;
        }
        let view = self.others.view(self.me, &group.vips);
        if !is_held(&view, None) && view.stands_back(self.me, false, &self.rank) {
            group.state = State::Waiting;
            group.due = Some(now + RETRY);
            return;
        }
        group.state = State::Taking(Taking {
            nonce: self.nonce(),
            epoch: self.next_epoch(),
            is_asking: false,
            since: now,
            shown: None,
            cleared: BTreeMap::new(),
            asked: BTreeSet::new(),
            ask_at: now,
            ask_wait: ASK_FIRST,
            keeps: 0,
            is_told_moves_spent: false,
            given_at: None,
            moves: None,
            probe: Probe::Idle,
            stranger: None,
        });
        self.go_on(now, key, group);
    }

    /// A taking that is under way: the next step of it.
    pub(super) fn go_on(&mut self, now: Time, key: GroupKey, group: &mut Group) {
        let State::Taking(mut taking) = std::mem::replace(&mut group.state, State::Free) else {
            return;
        };
        group.due = None;
        if !self.wants(key) {
            self.refuse_all(&taking);
            return;
        }
        let view = self.others.view(self.me, &group.vips);
        let is_held = is_held(&view, Some(&taking));
        let is_given = taking.given_at.is_some();
        let is_late = taking.given_at.is_some_and(|at| at + PATIENCE <= now);
        if !is_held && view.stands_back(self.me, is_given, &self.rank) || is_late {
            self.refuse_all(&taking);
            group.state = State::Waiting;
            group.due = Some(now + RETRY);
            return;
        }
        match self.step(now, key, &mut taking, &group.vips, &view) {
            Step::Take(ground) => self.take(now, key, group, taking, &view, ground),
            Step::Wait(until) => {
                let patience = taking.given_at.map_or(until, |at| at + PATIENCE);
                group.due = Some(until.min(patience));
                group.state = State::Taking(taking);
            }
        }
    }

    fn step(
        &mut self,
        now: Time,
        key: GroupKey,
        taking: &mut Taking,
        vips: &BTreeSet<Vip>,
        view: &View,
    ) -> Step {
        let open: Vec<_> = open(view, taking).collect();
        let dead = view.dead.iter();
        let dead = dead.filter(|(by, (epoch, _))| !taking.is_cleared(**by, *epoch));
        let silent_at = dead.map(|(_, (_, at))| *at).max().unwrap_or_default();
        taking.is_asking = !open.is_empty() || now < silent_at;
        if !open.is_empty() {
            taking.probe = Probe::Idle;
            return Step::Wait(self.ask(now, taking, &open));
        }
        if !view.rivals.is_empty() {
            taking.probe = Probe::Idle;
            return Step::Wait(now + RETRY);
        }
        if now < silent_at {
            return Step::Wait(silent_at);
        }
        let mut keys = vips.iter().map(|vip| GroupKey(vip.0));
        if keys.clone().all(|vip| taking.is_given(vip)) {
            return Step::Take(Ground::Yielded);
        }
        // What another dead member took last it may not have said to everybody.
        if now < self.others.silent_at {
            return Step::Wait(self.others.silent_at);
        }
        let acked = self.others.acked;
        let is_acked = acked.is_none_or(|acked| taking.shown.is_some_and(|shown| shown <= acked));
        if !is_acked && now < taking.since + ACK_WAIT {
            return Step::Wait(taking.since + ACK_WAIT);
        }
        let is_orphan = |vip| view.dead.keys().any(|(_, of)| *of == vip);
        let is_known = keys.all(|vip| taking.is_given(vip) || is_orphan(vip));
        if is_acked && is_known {
            return Step::Take(Ground::Dead);
        }
        let ground = match view.dead.is_empty() {
            true => Ground::Unheld,
            false => Ground::Dead,
        };
        self.probe(now, key, taking, ground)
    }

    /// Asks those who hold it; returns when to ask again.
    fn ask(&mut self, now: Time, taking: &mut Taking, open: &[(NodeId, GroupKey)]) -> Time {
        let is_new = open.iter().any(|by| !taking.asked.contains(by));
        if !is_new && now < taking.ask_at {
            return taking.ask_at;
        }
        if !self.asks.take(now) {
            taking.ask_at = now + ASK_PACE;
            return taking.ask_at;
        }
        if is_new {
            taking.ask_wait = ASK_FIRST;
        }
        for (id, vip) in open.iter().take(ASKS_AT_ONCE) {
            self.tell(*id, message(*vip, taking.nonce, Say::Ask));
            taking.asked.insert((*id, *vip));
        }
        taking.ask_at = now + taking.ask_wait;
        taking.ask_wait = Span::from_ns(taking.ask_wait.ns() * 2).min(RETRY);
        taking.ask_at
    }

    fn probe(&mut self, now: Time, key: GroupKey, taking: &mut Taking, ground: Ground) -> Step {
        match taking.probe {
            Probe::Out(_, sent) if now < sent + PROBE_WAIT => Step::Wait(sent + PROBE_WAIT),
            Probe::Unanswered(at) if now < at + RETRY => Step::Take(ground),
            Probe::Again(at) if now < at => Step::Wait(at),
            Probe::Idle | Probe::Out(..) | Probe::Unanswered(_) | Probe::Again(_) => {
                let nonce = self.nonce();
                taking.probe = Probe::Out(nonce, now);
                self.say(Output::Probe {
                    group: key,
                    nonce,
                    only: None,
                });
                Step::Wait(now + PROBE_WAIT)
            }
        }
    }

    fn take(
        &mut self,
        now: Time,
        key: GroupKey,
        group: &mut Group,
        mut taking: Taking,
        view: &View,
        ground: Ground,
    ) {
        let epoch = self.next_epoch();
        for (id, vip) in taking.givers() {
            self.tell(id, message(vip, taking.nonce, Say::Took));
        }
        if ground == Ground::Dead {
            let dead = view.dead.keys().map(|(id, _)| *id).collect();
            self.reclaims.begin(now, key, dead);
        }
        let is_lost = std::mem::take(&mut group.is_lost);
        let ground = match ground {
            Ground::Dead | Ground::Unheld if is_lost => Ground::Contest,
            other => other,
        };
        group.moves = taking.moves.take().unwrap_or_default();
        group.state = State::Holding(Own::new(epoch));
        self.say(Output::Event(Event::Taken {
            group: key,
            epoch,
            ground,
        }));
    }

    /// Whatever was yielded to this attempt goes back.
    pub(super) fn refuse_all(&mut self, taking: &Taking) {
        for (id, vip) in taking.givers() {
            self.tell(id, message(vip, taking.nonce, Say::Refuse));
        }
    }

    /// The answer to [`Output::Probe`] of a taking.
    pub(super) fn taking_probed(
        &mut self,
        now: Time,
        key: GroupKey,
        taking: &mut Taking,
        nonce: u64,
        answered: Option<Mac>,
    ) {
        let Probe::Out(out, _) = taking.probe else {
            return;
        };
        if out != nonce {
            return;
        }
        taking.probe = match answered {
            None => Probe::Unanswered(now),
            // Its held set tells more than its answer, and is about to arrive.
            Some(mac) if self.others.owner_of(mac).is_some() => Probe::Again(now + RETRY),
            Some(mac) => {
                if taking.stranger.replace(mac) != Some(mac) {
                    self.say(Output::Event(Event::Stranger { group: key, mac }));
                }
                match self.wish(key) {
                    Some(wish) if wish.is_forced => Probe::Unanswered(now),
                    Some(_) | None => Probe::Again(now + STRANGER_RETRY),
                }
            }
        };
    }

    /// A member is silent about a VIP, for this attempt. Whether that was news.
    pub(super) fn cleared(
        taking: &mut Taking,
        now: Time,
        by: (NodeId, GroupKey),
        until: Epoch,
        ages: Option<Ages>,
    ) {
        let is_given = ages.is_some();
        taking.cleared.insert(by, Cleared { until, is_given });
        if let Some(ages) = ages {
            taking.given_at.get_or_insert(now);
            taking.moves = Some(Moves::inherited(now, ages));
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
        let wait = match why {
            Why::NotYet => ASK_FIRST,
            Why::Disagree => {
                taking.keeps += 1;
                // The first time views are merely not equally fast.
                if taking.keeps == 2 {
                    let group = key;
                    self.say(Output::Event(Event::Disagree { group, with }));
                }
                RETRY
            }
            Why::MovesSpent => {
                if !std::mem::replace(&mut taking.is_told_moves_spent, true) {
                    self.say(Output::Event(Event::MovesSpent { group: key }));
                }
                RETRY
            }
        };
        taking.ask_at = now + wait;
    }
}

/// Whether a live member answers for it that has not yielded: then that one decides who is next.
fn is_held(view: &View, taking: Option<&Taking>) -> bool {
    let mut holders = view.holders.iter();
    holders.any(|(by, entry)| {
        entry.state == HeldState::Holding
            && !taking.is_some_and(|taking| taking.is_cleared(*by, entry.epoch))
    })
}

fn open(view: &View, taking: &Taking) -> impl Iterator<Item = (NodeId, GroupKey)> {
    let holders = view.holders.iter();
    let open = holders.filter(|(by, entry)| !taking.is_cleared(**by, entry.epoch));
    open.map(|(by, _)| *by)
}

/// A message about a VIP as it is published.
pub(super) const fn message(vip: GroupKey, nonce: u64, say: Say) -> Message {
    Message {
        vip: Vip(vip.0),
        nonce,
        say,
    }
}

/// How many groups may be asked for at once; the rest follow [`ASK_PACE`] later.
#[derive(Debug, Default)]
pub(super) struct Asks {
    since: Time,
    count: usize,
}

impl Asks {
    fn take(&mut self, now: Time) -> bool {
        if now.since(self.since) >= ASK_PACE {
            *self = Self {
                since: now,
                count: 0,
            };
        }
        self.count += 1;
        self.count <= ASKS_PER_PACE
    }
}

/// A holder that does not answer is asked again after this long, and then ever more seldom.
const ASK_FIRST: Span = Span::ms(100);
/// Whatever failed is tried again after this long, at the latest.
const RETRY: Span = Span::s(1);
/// A group of more VIPs than this is asked for in parts.
const ASKS_AT_ONCE: usize = 16;
/// Ten thousand groups are asked for within half a second, some ten datagrams each time.
const ASKS_PER_PACE: usize = 256;
const ASK_PACE: Span = Span::ms(10);
/// A live member that does not acknowledge, since its datagrams are lost one way, is waited for this long; then probes decide.
const ACK_WAIT: Span = Span::ms(300);
/// Two probes 50 ms apart take a fraction of this; an answer that never comes is asked for again.
const PROBE_WAIT: Span = Span::s(1);
/// L3.3.
const STRANGER_RETRY: Span = Span::s(5);
/// What was yielded is silent meanwhile: if the rest of the group does not follow by then, it goes back.
const PATIENCE: Span = Span::s(1);
