//! One turn of the machine: an input to the groups that it concerns, and what came of it.
//!
//! A turn says at most once what changed, and to the members first: what a node published must be on its way before any message
//! that relies on it.

use super::contest::Claim;
use super::group::{Group, State};
use super::machine::Holds;
use super::message::{self, Message, Say};
use super::{Input, Output};
use crate::member::{HeldVersion, NodeId, Roster};
use crate::{GroupKey, Mac, Machine, Span, Time};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Machine for Holds {
    type Input = Input;
    type Output = Output;

    fn input(&mut self, now: Time, input: Input) {
        match input {
            Input::Wishes(wishes) => self.wished(now, wishes),
            Input::Roster(roster) => self.learned(roster),
            Input::Published(published) => {
                self.rank.look_up(Arc::clone(&published));
                self.others.look_up(published);
            }
            Input::Told(from, payload) => self.told(now, from, &payload),
            Input::Applied(version) => self.applied(version),
            Input::Armed => self.armed(),
            Input::Lapsed => {
                if self.is_armed {
                    self.doubts_until = now + DOUBT;
                }
                self.lapsed();
            }
            Input::Probed {
                group,
                nonce,
                answered,
            } => self.probed(now, group, nonce, answered),
            Input::Claimed { group, by, mac } => {
                self.change(group, |holds, g| {
                    holds.claimed(now, group, g, Some((by, mac)));
                });
            }
            Input::Fenced { group } => {
                self.change(group, |holds, g| holds.claimed(now, group, g, None));
            }
            Input::Stale(is_stale) => self.is_stale = is_stale,
        }
        self.look(now);
        self.end_turn();
    }

    fn expire(&mut self, now: Time) {
        for key in self.timers.due(now, GROUPS_PER_TURN) {
            self.evaluate(now, key);
        }
        self.look(now);
        for (group, macs) in self.reclaims.turn(now, &self.others) {
            self.say(Output::ClaimTo(group, macs));
        }
        self.end_turn();
    }

    fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        let groups = self.timers.first().map(|at| (at, "a group"));
        let reclaims = self.reclaims.next().map(|at| (at, "a claim"));
        let more = (!self.pending.is_empty()).then_some((Time::default(), "more groups"));
        groups.into_iter().chain(reclaims).chain(more).min()
    }
}

impl Holds {
    /// Looks at groups that something happened to. Whatever it was, they are judged by what is known when their turn comes.
    fn look(&mut self, now: Time) {
        for _ in 0..GROUPS_PER_TURN {
            let Some(key) = self.pending.pop_first() else {
                return;
            };
            self.evaluate(now, key);
        }
    }

    fn learned(&mut self, roster: Arc<Roster>) {
        let before = (
            self.others.roster().is_settled,
            self.others.roster().is_name_taken,
        );
        let after = (roster.is_settled, roster.is_name_taken);
        self.rank.learn(Arc::clone(&roster));
        let touched = self.others.learn(roster);
        let owners = touched.iter().filter_map(|vip| self.owners.get(vip));
        self.pending.extend(owners);
        let end = self.others.acked.map_or(END, |acked| (acked.next(), FIRST));
        let later = self.awaiting.split_off(&end);
        let acked = std::mem::replace(&mut self.awaiting, later);
        self.pending.extend(acked.into_iter().map(|(_, key)| key));
        if before != after {
            let all = self.everything();
            self.pending.extend(all);
        }
    }

    /// Every group that this node has to do with.
    fn everything(&self) -> BTreeSet<GroupKey> {
        let wishes = self.wishes.iter().flat_map(|wishes| wishes.iter());
        let elected = wishes.filter(|(_, wish)| wish.owner == Some(self.me));
        let elected = elected.map(|(key, _)| *key);
        elected.chain(self.groups.keys().copied()).collect()
    }

    fn applied(&mut self, version: u64) {
        let vips = self.facts.applied_now(version);
        for vip in vips {
            match self.owners.get(&vip) {
                Some(key) => {
                    self.pending.insert(*key);
                }
                None => self.facts.show(vip, None),
            }
        }
    }

    fn lapsed(&mut self) {
        self.is_armed = false;
        for vip in self.facts.silent() {
            if !self.owners.contains_key(&vip) {
                self.facts.show(vip, None);
            }
        }
        let keys: Vec<GroupKey> = self.groups.keys().copied().collect();
        for key in keys {
            let Some(mut group) = self.groups.remove(&key) else {
                continue;
            };
            if let State::Taking(taking) = &group.state {
                self.refuse_all(taking);
            }
            if !matches!(group.state, State::Free) {
                group.state = State::Lapsed;
                group.window = None;
            }
            group.due = None;
            self.put_back(key, group);
        }
    }

    fn armed(&mut self) {
        self.is_armed = true;
        for group in self.groups.values_mut() {
            if matches!(group.state, State::Lapsed) {
                group.state = State::Free;
            }
        }
        let all = self.everything();
        self.pending.extend(all);
    }

    fn told(&mut self, now: Time, from: NodeId, payload: &[u8]) {
        match message::decode(payload) {
            Ok(messages) => {
                for message in messages {
                    self.heard(now, from, message);
                }
            }
            Err(_) => self.malformed += 1,
        }
    }

    fn heard(&mut self, now: Time, from: NodeId, message: Message) {
        let vip = GroupKey(message.vip.0);
        let nonce = message.nonce;
        match message.say {
            Say::Ask => self.asked(now, from, vip, nonce),
            Say::Yield(epoch, ages) => {
                self.see_epoch(epoch);
                self.yielded(now, from, (vip, nonce), epoch, ages);
            }
            Say::DidYouClaim => self.did_you_claim(from, vip, nonce),
            Say::Keep(why) => self.of_group(vip, |holds, key, group| {
                if let State::Taking(taking) = &mut group.state
                    && taking.nonce == nonce
                {
                    holds.kept(now, key, taking, from, why);
                    holds.go_on(now, key, group);
                }
            }),
            Say::Clear(until) => self.of_group(vip, |holds, key, group| {
                if let State::Taking(taking) = &mut group.state
                    && taking.nonce == nonce
                {
                    holds.cleared(taking, now, (from, vip), until, None);
                    holds.go_on(now, key, group);
                }
                holds.claim_answered(now, key, group, (from, nonce), Claim::Over);
            }),
            Say::Took => self.of_group(vip, |holds, key, group| {
                holds.taken_by(now, key, group, from);
            }),
            Say::Refuse => self.of_group(vip, |holds, key, group| {
                holds.refused_by(now, key, group, from, nonce);
            }),
            Say::Claim(epoch) => self.of_group(vip, |holds, key, group| {
                holds.claim_answered(now, key, group, (from, nonce), Claim::Made(epoch));
            }),
            Say::Denied => self.of_group(vip, |holds, key, group| {
                holds.claim_answered(now, key, group, (from, nonce), Claim::Denied);
            }),
            Say::Unheard => self.of_group(vip, |holds, key, group| {
                holds.unheard_by(now, key, group, from);
            }),
        }
    }

    /// Lets the group of a VIP change, if this node has to do with it.
    fn of_group(&mut self, vip: GroupKey, change: impl FnOnce(&mut Self, GroupKey, &mut Group)) {
        if let Some((key, mut group)) = self.group_of(vip) {
            change(self, key, &mut group);
            self.put_back(key, group);
        }
    }

    /// Takes the group of a VIP out of the map.
    pub(super) fn group_of(&mut self, vip: GroupKey) -> Option<(GroupKey, Group)> {
        let key = *self.owners.get(&vip)?;
        Some((key, self.groups.remove(&key)?))
    }

    fn change(&mut self, key: GroupKey, change: impl FnOnce(&mut Self, &mut Group)) {
        if let Some(mut group) = self.groups.remove(&key) {
            change(self, &mut group);
            self.put_back(key, group);
        }
    }

    fn probed(&mut self, now: Time, key: GroupKey, nonce: u64, answered: Option<Mac>) {
        self.change(key, |holds, group| match &mut group.state {
            State::Taking(taking) => {
                holds.taking_probed(now, key, taking, nonce, answered);
                holds.go_on(now, key, group);
            }
            State::Contested(contested) => {
                Self::winner_probed(contested, nonce, answered);
                holds.stay_silent(now, key, group);
            }
            State::Free
            | State::Waiting
            | State::Holding(_)
            | State::Draining(_)
            | State::Lapsed => {}
        });
    }

    /// Ends a turn: what was said in it, in an order that others can rely on.
    fn end_turn(&mut self) {
        if self.facts.take_shown_changed() {
            let version = self.facts.shown_version;
            let shown = self.facts.shown.clone();
            self.outputs.push_back(Output::Publish(version, shown));
        }
        if self.facts.take_changed() {
            self.outputs.push_back(Output::Changed);
        }
        for (to, messages) in std::mem::take(&mut self.tells) {
            let payloads = message::encode(&messages).into_iter();
            self.outputs
                .extend(payloads.map(|payload| Output::Tell(to, payload)));
        }
        self.outputs.extend(self.said.drain(..));
    }
}

const FIRST: GroupKey = GroupKey(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
const END: (HeldVersion, GroupKey) = (HeldVersion(u64::MAX), FIRST);
/// More wait for the next turn: the pulse trusts only a loop that finishes its turns, and messages come in between.
const GROUPS_PER_TURN: usize = 1_000;

/// Whoever was away may not have heard of a promise (L6.3), and none is longer than this.
const DOUBT: Span = Span::s(61);
