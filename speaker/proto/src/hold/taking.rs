//! On the way to holding a group: who must be silent, who must know, and when that is enough (L3.1).
//!
//! Three things keep two nodes from taking one VIP. A node publishes that it prepares before it asks anybody for anything. It takes
//! nothing while another live member is known to prepare: one of the two stands back. And without a yield for every VIP it
//! waits until every live member acknowledged; a member acknowledges with its own held set, and hears of the other's preparing
//! before it hears any later yield. So of two that prepare at the same time, at least one knows of the other in time.

use super::asking::{ASK_FIRST, Dispute};
use super::group::{Group, Own, State};
use super::machine::Holds;
use super::message::{Message, Say};
use super::moves::Moves;
use super::others::{Holder, View};
use super::{Event, Ground, Output};
use crate::member::{Boot, HeldVersion, NodeId};
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
    pub(super) since: Time,
    /// Since when nobody is known to answer for it.
    pub(super) unheld: Time,
    /// The held set that first said so.
    pub(super) shown: Option<HeldVersion>,
    /// Who is silent about a VIP, up to which of its takings.
    pub(super) cleared: BTreeMap<(NodeId, GroupKey), Cleared>,
    pub(super) asked: BTreeSet<(NodeId, GroupKey)>,
    pub(super) ask_at: Time,
    /// Many groups are asked for, and its turn is at `ask_at`.
    pub(super) is_queued: bool,
    pub(super) ask_wait: Span,
    /// Who keeps what it was asked for.
    pub(super) kept: BTreeMap<NodeId, Dispute>,
    pub(super) given_at: Option<Time>,
    pub(super) moves: Option<Moves>,
    pub(super) probe: Probe,
    pub(super) stranger: Option<Mac>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Cleared {
    pub(super) boot: Boot,
    pub(super) until: Epoch,
    /// It was given to this node, not merely not held.
    pub(super) is_given: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Probe {
    Idle,
    /// Sent, with this number.
    Out(u64, Time),
    /// Nobody answered.
    Unanswered(Time),
    /// Somebody did: again then.
    Again(Time),
}

/// How a group came to be held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came {
    pub(super) ground: Ground,
    pub(super) from: Option<NodeId>,
    pub(super) took: Span,
}

enum Step {
    Wait(Time),
    Take(Ground),
}

impl Taking {
    fn is_cleared(&self, by: (NodeId, GroupKey), holder: &Holder) -> bool {
        let cleared = self.cleared.get(&by);
        cleared.is_some_and(|c| c.boot == holder.boot && c.until >= holder.epoch)
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
        let is_held = is_held(&view, None);
        let stands_back = match is_held {
            true => self.is_stale && self.is_held_by_fresher(&view),
            false => view.stands_back(self.me, false, false, &self.rank),
        };
        if stands_back || is_held && now < group.not_before {
            group.state = State::Waiting;
            group.due = Some(group.not_before.max(now + RETRY));
            return;
        }
        group.state = State::Taking(Taking {
            nonce: self.nonce(),
            epoch: self.next_epoch(),
            is_asking: false,
            since: now,
            unheld: now,
            shown: None,
            cleared: BTreeMap::new(),
            asked: BTreeSet::new(),
            ask_at: now,
            is_queued: false,
            ask_wait: ASK_FIRST,
            kept: BTreeMap::new(),
            given_at: None,
            moves: None,
            probe: Probe::Idle,
            stranger: None,
        });
        self.go_on(now, key, group);
    }

    fn is_held_by_fresher(&self, view: &View) -> bool {
        let mut holders = view.holders.keys();
        holders.any(|(id, _)| self.others.live(*id).is_some_and(|m| !m.profile.is_stale))
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
        // Part of it was given and another part is kept: nobody would answer for the first part.
        let refusers = taking.kept.iter().filter(|(_, kept)| kept.is_refused);
        let refusers: BTreeSet<NodeId> = refusers.map(|(id, _)| *id).collect();
        let is_torn = is_given && open(&view, &taking).any(|(id, _)| refusers.contains(&id));
        if is_torn {
            group.keepers = refusers;
        } else if is_late {
            group.not_before = now + OFF;
        }
        if is_held {
            taking.unheld = now;
        }
        let is_stuck = taking.unheld + STUCK_AFTER <= now;
        let stands_back = view.stands_back(self.me, is_given, is_stuck, &self.rank);
        if !is_held && stands_back || is_late || is_torn {
            self.refuse_all(&taking);
            group.state = State::Waiting;
            group.due = Some(group.not_before.max(now + RETRY));
            return;
        }
        match self.step(now, key, &mut taking, group, &view) {
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
        group: &Group,
        view: &View,
    ) -> Step {
        let open: Vec<_> = open(view, taking).collect();
        let dead = view.dead.iter();
        let dead = dead.filter(|(by, (holder, _))| !taking.is_cleared(**by, holder));
        let silent_at = dead.map(|(_, (_, at))| *at).max().unwrap_or_default();
        taking.is_asking = !open.is_empty() || now < silent_at;
        if !open.is_empty() {
            taking.probe = Probe::Idle;
            return Step::Wait(self.ask(now, key, taking, &group.keepers, &open));
        }
        if !view.rivals.is_empty() {
            taking.probe = Probe::Idle;
            return Step::Wait(now + RETRY);
        }
        if now < silent_at {
            return Step::Wait(silent_at);
        }
        if group.keys().all(|vip| taking.is_given(vip)) {
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
        // A holder that fell silent long ago may have come back and taken it anew, unheard so far.
        let is_news = now < silent_at.max(self.others.silent_at) + NEWS;
        if is_acked && is_news && self.is_certain(now, taking, group, view) {
            return Step::Take(Ground::Dead);
        }
        let ground = match view.dead.is_empty() {
            true => Ground::Unheld,
            false => Ground::Dead,
        };
        self.probe(now, key, taking, ground)
    }

    /// Whether it is known of every VIP of a group that nobody answers for it, without a question on the segment.
    fn is_certain(&self, now: Time, taking: &Taking, group: &Group, view: &View) -> bool {
        // Who only prepared may have waited for a stranger to stop.
        let held = view
            .dead
            .iter()
            .filter(|(_, (holder, _))| holder.is_holding);
        let is_orphan = |vip| held.clone().any(|((_, of), _)| *of == vip);
        let mut vips = group.keys();
        let is_known = vips.all(|vip| taking.is_given(vip) || is_orphan(vip));
        // Whom it never heard of its kernel takes for a stranger, and goes on answering beside if it still does.
        let is_met = view.dead.keys().all(|(id, _)| self.others.was_met(*id));
        // Who lost a contest cannot hear everybody: a third may have taken it, or the winner after it was asked last.
        is_known && is_met && !group.is_lost && now >= self.doubts_until
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
        let from = match ground {
            Ground::Dead => view.dead.keys().next(),
            Ground::Yielded
            | Ground::Unheld
            | Ground::Adopted
            | Ground::Contest
            | Ground::Refused => None,
        };
        let from = from.copied().or_else(|| taking.givers().next());
        let came = Came {
            ground,
            from: from.map(|(id, _)| id),
            took: now.since(taking.since),
        };
        let givers: Vec<_> = taking.givers().map(|(id, vip)| (vip, id)).collect();
        self.open_window(now, group, givers);
        group.moves = taking.moves.take().unwrap_or_default();
        group.keepers.clear();
        group.not_before = Time::default();
        self.hold(key, group, epoch, came);
    }

    /// A group is answered for from now on.
    pub(super) fn hold(&mut self, key: GroupKey, group: &mut Group, epoch: Epoch, came: Came) {
        group.state = State::Holding(Own::new(epoch));
        group.due = None;
        // A fence from the time before would stay up for ever.
        self.say(Output::Unfence(key));
        self.say(Output::Event(Event::Taken {
            group: key,
            epoch,
            ground: came.ground,
            from: came.from,
            took: came.took,
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
}

/// Whether a live member answers for it that has not yielded: then that one decides who is next.
fn is_held(view: &View, taking: Option<&Taking>) -> bool {
    let mut holders = view.holders.iter();
    holders.any(|(by, holder)| {
        holder.is_holding && !taking.is_some_and(|taking| taking.is_cleared(*by, holder))
    })
}

fn open(view: &View, taking: &Taking) -> impl Iterator<Item = (NodeId, GroupKey)> {
    let holders = view.holders.iter();
    let open = holders.filter(|(by, holder)| !taking.is_cleared(**by, holder));
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

/// A live member that does not acknowledge, since its datagrams are lost one way, is waited for this long; then probes decide.
const ACK_WAIT: Span = Span::ms(300);
/// Longer than a taking takes that was only waiting for the holder's silence, acknowledgements included; shorter than a node needs that comes back,
/// asks and takes.
const NEWS: Span = Span::ms(200);
/// Two probes 50 ms apart take a fraction of this; an answer that never comes is asked for again.
const PROBE_WAIT: Span = Span::s(1);
/// L3.3.
const STRANGER_RETRY: Span = Span::s(5);
/// What was yielded is silent meanwhile: if the rest of the group does not follow by then, it goes back.
const PATIENCE: Span = Span::s(1);
/// And then it is left where it is for this long.
const OFF: Span = Span::s(10);
/// Two that wait for each other do not see the same.
const STUCK_AFTER: Span = Span::s(2);
/// Whatever failed is tried again after this long, at the latest.
pub(super) const RETRY: Span = Span::s(1);
