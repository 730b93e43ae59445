//! Two members that claim one VIP: which of them goes on (L5.2, L5.3).
//!
//! While the other can be reached it is asked, and the later taking goes on, by the same rule as between two that publish it. If it
//! cannot, the network is cut and no epoch can be trusted: precedence alone decides, so that both sides come to the same
//! result. Who loses stays silent as long as the winner answers on the segment.

use super::group::{Group, State};
use super::machine::Holds;
use super::message::Say;
use super::taking::message;
use super::{Event, Output};
use crate::member::NodeId;
use crate::{Epoch, GroupKey, Mac, Span, Time};
use std::collections::BTreeMap;

/// A fence that is up, and who is asked about it.
#[derive(Debug)]
pub(super) struct Doubt {
    /// Whose claim it is; `None`: not known.
    by: Option<(NodeId, Mac)>,
    nonce: u64,
    /// When it is asked again.
    next: Time,
    until: Time,
}

impl Doubt {
    /// A fence may be up, and it is not known by whose claim.
    pub(super) fn of_nobody(now: Time) -> Self {
        Self {
            by: None,
            nonce: 0,
            next: now,
            until: now + DOUBT,
        }
    }

    /// How long an answer is waited for.
    pub(super) const fn until(&self) -> Time {
        self.until
    }
}

/// What a member says of a claim that came in its name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Claim {
    /// It answers, since this taking.
    Made(Epoch),
    /// It does not any more.
    Over,
    /// It was not its own.
    Denied,
}

/// A group that another member goes on with.
#[derive(Debug)]
pub(super) struct Contested {
    pub(super) epoch: Epoch,
    with: NodeId,
    mac: Mac,
    /// Of the probe that is out.
    nonce: Option<u64>,
    misses: u32,
    misses_max: u32,
    next: Time,
}

impl Holds {
    /// A member's hardware address claimed a group's VIP, or nobody knows whose did.
    pub(super) fn claimed(
        &mut self,
        now: Time,
        key: GroupKey,
        group: &mut Group,
        by: Option<(NodeId, Mac)>,
    ) {
        let vip = group.keys().next().unwrap_or(key);
        let State::Holding(own) = &mut group.state else {
            self.say(Output::Unfence(key));
            return;
        };
        let is_asking = own.doubt.as_ref().is_some_and(|doubt| doubt.by.is_some());
        if is_asking {
            return;
        }
        let nonce = self.nonce();
        if let Some((id, mac)) = by {
            let member = self.others.live(id);
            if !member.is_some_and(|member| member.is_reachable) {
                self.contest(now, key, group, id, mac);
                return;
            }
            self.tell(id, message(vip, nonce, Say::DidYouClaim));
        }
        // While it is not known who there is a doubt of nobody outlasts its time.
        let before = own.doubt.as_ref().map(|doubt| doubt.until);
        let before = before.filter(|until| *until > now);
        let until = before.unwrap_or(now + DOUBT);
        let next = now + ASK_EACH;
        own.doubt = Some(Doubt {
            by,
            nonce,
            next,
            until,
        });
        group.due = Some(if by.is_some() { until.min(next) } else { until });
    }

    fn contest(&mut self, now: Time, key: GroupKey, group: &mut Group, with: NodeId, mac: Mac) {
        let State::Holding(own) = &mut group.state else {
            return;
        };
        own.doubt = None;
        group.due = None;
        let epoch = own.epoch;
        let is_kept = self.rank.precedes(key, self.me, with);
        let event = Event::Contest {
            group: key,
            with,
            is_kept,
        };
        self.say(Output::Event(event));
        if is_kept {
            self.say(Output::Unfence(key));
            self.say(Output::Claim(key));
            return;
        }
        group.contests.retain(|at| now.since(*at) < CONTESTS_WITHIN);
        group.contests.truncate(CONTESTS - 1);
        group.contests.push(now);
        let is_often = group.contests.len() == CONTESTS;
        self.fade(group, epoch);
        group.is_lost = true;
        group.state = State::Contested(Contested {
            epoch,
            with,
            mac,
            nonce: None,
            misses: 0,
            misses_max: if is_often { MISSES_OFTEN } else { MISSES },
            next: now + PROBE_EACH,
        });
        group.due = Some(now + PROBE_EACH);
    }

    /// A group that was lost: probes whether the winner still answers.
    pub(super) fn stay_silent(&mut self, now: Time, key: GroupKey, group: &mut Group) {
        let wants = self.wants(key);
        let State::Contested(contested) = &mut group.state else {
            return;
        };
        // Gossip is back: ask it like any holder.
        let with = contested.with;
        let is_heard = group.vips.iter().any(|vip| {
            let mut holders = self.others.holders(GroupKey(vip.0));
            holders.any(|(id, _)| id == with)
        });
        if !wants || is_heard {
            group.is_lost = false;
            self.begin(now, key, group);
            return;
        }
        if contested.misses >= contested.misses_max {
            self.begin(now, key, group);
            return;
        }
        if contested.next <= now {
            // No word of the last one says nothing: it was not sent, or its answer is late. Only an unanswered one is a miss.
            let nonce = self.nonce();
            contested.nonce = Some(nonce);
            contested.next = now + PROBE_EACH;
            let only = Some(contested.mac);
            self.say(Output::Probe {
                group: key,
                nonce,
                only,
            });
        }
        group.due = Some(contested.next);
    }

    /// The answer to [`Output::Probe`] of a contest.
    pub(super) fn winner_probed(contested: &mut Contested, nonce: u64, answered: Option<Mac>) {
        if contested.nonce != Some(nonce) {
            return;
        }
        contested.nonce = None;
        match answered {
            Some(_) => contested.misses = 0,
            None => contested.misses += 1,
        }
    }

    /// Asks again about a claim: a switch that saw a spoofed frame sends what is for that hardware address to the spoofer, until it hears the
    /// member again. A fence whose question is not answered goes down; one of which nobody could be asked not before it is known who there is:
    /// after a restart that may be whoever took the VIP meanwhile.
    pub(super) fn settle_doubt(&mut self, now: Time, key: GroupKey, group: &mut Group) {
        let vip = group.keys().next().unwrap_or(key);
        let State::Holding(own) = &mut group.state else {
            return;
        };
        let Some(doubt) = &mut own.doubt else {
            group.due = None;
            return;
        };
        group.due = Some(doubt.until);
        if doubt.until <= now {
            group.due = None;
            // Everything is looked at again when it is settled.
            if doubt.by.is_none() && !self.others.roster().is_settled {
                return;
            }
            own.doubt = None;
            self.say(Output::Unfence(key));
        } else if let Some((id, _)) = doubt.by {
            if doubt.next <= now {
                doubt.next = now + ASK_EACH;
                self.tell(id, message(vip, doubt.nonce, Say::DidYouClaim));
            }
            group.due = Some(doubt.until.min(doubt.next));
        }
    }

    /// Somebody saw a claim in this node's name.
    pub(super) fn did_you_claim(&mut self, from: NodeId, vip: GroupKey, nonce: u64) {
        if self.facts.is_fading(vip) {
            return;
        }
        let key = self.owners.get(&vip);
        let group = key.and_then(|key| self.groups.get(key));
        let say = match group.map(|group| &group.state) {
            Some(State::Holding(own)) => Say::Claim(own.epoch),
            // A frame from before, that was long on its way.
            Some(State::Draining(_) | State::Contested(_) | State::Lapsed) => {
                Say::Clear(self.top_epoch())
            }
            Some(State::Free | State::Waiting | State::Taking(_)) | None => Say::Denied,
        };
        self.tell(from, message(vip, nonce, say));
    }

    /// What a member says of its claim.
    pub(super) fn claim_answered(
        &mut self,
        now: Time,
        key: GroupKey,
        group: &mut Group,
        (from, nonce): (NodeId, u64),
        claim: Claim,
    ) {
        let State::Holding(own) = &mut group.state else {
            return;
        };
        let Some(Doubt {
            by: Some((by, mac)),
            nonce: asked,
            ..
        }) = own.doubt
        else {
            return;
        };
        if by != from || asked != nonce {
            return;
        }
        own.doubt = None;
        group.due = None;
        let mine = own.epoch;
        let theirs = match claim {
            Claim::Made(epoch) => epoch,
            Claim::Over => {
                self.say(Output::Unfence(key));
                return;
            }
            Claim::Denied => {
                self.say(Output::Unfence(key));
                self.say(Output::Event(Event::Spoofed { group: key, mac }));
                let length = self.spoofs.length(now, mac);
                self.say(Output::Disarm(mac, length));
                return;
            }
        };
        let is_kept = self.rank.outlasts(key, (self.me, mine), (from, theirs));
        let with = from;
        self.say(Output::Event(Event::Contest {
            group: key,
            with,
            is_kept,
        }));
        if is_kept {
            self.say(Output::Unfence(key));
            self.say(Output::Claim(key));
        } else {
            self.release(now, key, group, Some(from));
        }
    }
}

/// Hardware addresses in whose name claims were spoofed, with the last time and length of not believing them.
#[derive(Debug, Default)]
pub(super) struct Spoofs(BTreeMap<Mac, (Time, Span)>);

impl Spoofs {
    /// How long not to believe claims of this one: twice as long as last time, if that is not long ago.
    fn length(&mut self, now: Time, mac: Mac) -> Span {
        self.0.retain(|_, (at, _)| now.since(*at) < FORGET);
        let last = self.0.get(&mac);
        let length = last.map_or(DISARM_MIN, |(_, length)| {
            Span::from_ns(length.ns() * 2).min(DISARM_MAX)
        });
        if self.0.len() < SPOOFS_MAX || self.0.contains_key(&mac) {
            self.0.insert(mac, (now, length));
        }
        length
    }
}

/// A fence without a reason goes down after this long: so long can one spoofed frame silence a VIP.
const DOUBT: Span = Span::ms(300);
/// A member whose claim it may be is asked again so often: as often as it is heard by its observers, and so by every switch between.
const ASK_EACH: Span = Span::ms(50);
/// The loser probes the winner so often,
const PROBE_EACH: Span = Span::ms(200);
/// and takes the VIP again after so many misses in a row,
const MISSES: u32 = 3;
/// or, after three contests within a minute, so many: a burst of losses is no reason to contest a fourth time.
const MISSES_OFTEN: u32 = 15;
const CONTESTS: usize = 3;
const CONTESTS_WITHIN: Span = Span::s(60);
/// Claims in a name that denied one are not believed for this long at first, doubled each time.
const DISARM_MIN: Span = Span::s(10);
const DISARM_MAX: Span = Span::s(300);
/// Twice that without another: it starts anew.
const FORGET: Span = Span::s(600);
/// More spoofed addresses than this start at the shortest length each time.
const SPOOFS_MAX: usize = 1_024;
