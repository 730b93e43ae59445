//! What the agent makes of the other members, and of what [`hold::Holds`] wants done.

use super::{Agent, Event, Output};
use crate::link::LinkName;
use crate::members::{Members, member_macs, node_id};
use crate::plan::{self, Passed, Wishes};
use speaker_proto::hold::{self, Ground, Hold};
use speaker_proto::member::{Directory, HeldState, Roster, Standing};
use speaker_proto::{Epoch, GroupKey, Mac, Machine, NodeId, NodeName, Time, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Agent {
    /// Lets the machine of holds take an input, and passes on what it wants.
    pub(super) fn hold(&mut self, now: Time, input: hold::Input) {
        self.holds.input(now, input);
        self.pump(now);
    }

    /// Passes on what the machine of holds wants.
    pub(super) fn pump(&mut self, now: Time) {
        while let Some(output) = self.holds.output() {
            let output = match output {
                hold::Output::Tell(to, message) => Output::Tell(to, message),
                hold::Output::Publish(version, held) => Output::Publish(version, held),
                hold::Output::Changed => {
                    self.due = Some(now);
                    continue;
                }
                hold::Output::Probe { group, nonce, only } => Output::Probe {
                    group,
                    nonce,
                    only,
                    places: self.places(group),
                },
                hold::Output::Unfence(group) => Output::Unfence(self.vips(group)),
                hold::Output::Claim(group) => Output::Claim(self.places(group)),
                hold::Output::ClaimTo(group, macs) => Output::ClaimTo(self.places(group), macs),
                hold::Output::Disarm(mac, span) => Output::Disarm(mac, now + span),
                hold::Output::Unheard(group, by) => {
                    self.unheard(now, group, by);
                    continue;
                }
                hold::Output::Event(event) => {
                    let with = self.name(&event);
                    let why = self.why(&event, with.as_ref());
                    Output::Event(Event::Hold { event, with, why })
                }
            };
            self.outputs.push_back(output);
        }
    }

    /// What election wishes now.
    pub(super) fn wish(&mut self, now: Time) {
        let wishes = plan::wishes(&self.world, &self.members, &self.local, &mut self.memo);
        if self.wishes.is_same_version(&wishes) {
            return;
        }
        self.wishes = wishes;
        self.put_wishes(now);
    }

    /// A node whose name another process uses has no wishes: both refuse.
    fn put_wishes(&mut self, now: Time) {
        let wishes = if self.roster.is_name_taken {
            Wishes::default()
        } else {
            self.wishes.clone()
        };
        self.hold(now, hold::Input::Wishes(wishes));
    }

    pub(super) fn roster_changed(&mut self, now: Time, roster: Arc<Roster>) {
        let before = std::mem::replace(&mut self.roster, roster);
        // What is spread, and routes of that, may wait for it.
        if before.is_settled != self.roster.is_settled {
            self.due = Some(now);
        }
        if before.is_name_taken != self.roster.is_name_taken {
            self.event(Event::NameTaken(self.roster.is_name_taken));
            self.put_wishes(now);
        }
        self.hold(now, hold::Input::Roster(Arc::clone(&self.roster)));
        self.hear_of_newcomers(now);
        self.meet(now);
        self.watch_later(now);
    }

    pub(super) fn published(&mut self, now: Time, published: Arc<Directory>) {
        self.published = Arc::clone(&published);
        self.hold(now, hold::Input::Published(published));
        self.meet(now);
    }

    /// Whose hardware address this is, whether that member was ever heard or not.
    pub(super) fn owner_of(&self, mac: Mac) -> Option<NodeId> {
        let mut members = self.roster.members.iter();
        let heard = members.find(|(_, member)| member.profile.macs.contains(&mac));
        let read = || {
            let mut published = self.published.iter();
            let found = published.find(|(_, other)| other.macs.contains(&mac));
            found.map(|(id, _)| *id)
        };
        heard.map(|(id, _)| *id).or_else(read)
    }

    /// Works out who is alive and fit. A change is decided upon at once: it does not come in bursts, and a VIP may wait for it.
    pub(super) fn meet(&mut self, now: Time) {
        for (id, member) in &self.roster.members {
            let is_dead = matches!(member.standing, Standing::Dead { .. });
            let links = member
                .profile
                .links
                .iter()
                .map(|link| Arc::clone(&link.name));
            self.failures.see(now, *id, is_dead, links.collect());
        }
        let me = node_id(&self.local.node);
        let own = self.local.member_links().into_iter().map(|link| link.name);
        self.failures.see(now, me, false, own.collect());
        let roster = &self.roster;
        self.failures
            .keep(|id| id == me || roster.members.contains_key(&id));
        self.watching
            .keep(|id| id == me || self.roster.members.contains_key(&id));
        let is_there = |id: NodeId| self.roster.members.get(&id).is_some_and(|m| m.is_alive());
        self.watching.believe(me, is_there);
        let ends = [self.failures.deadline(now), self.watching.deadline(now)];
        self.failures_due = ends.into_iter().flatten().min();
        let is_held_down = |id: NodeId| self.failures.is_held_down(now, id);
        let members = Members::of(&self.roster, &self.local, is_held_down);
        let members = members.holding(self.holders()).shunning(self.shunned(now));
        let macs = member_macs(&self.roster, &self.published, &self.local);
        if members != self.members || macs != self.macs {
            self.members = members;
            self.macs = macs;
            self.due = Some(now);
        }
    }

    /// Who holds a group matters from now on, or does not any more.
    pub(super) fn mind_holders(&mut self, now: Time) {
        let ads = self.world.l2_advertisements.values();
        let goes_by_holders = plan::places_otherwise(&self.local.rules, ads);
        if goes_by_holders != self.goes_by_holders {
            self.goes_by_holders = goes_by_holders;
            self.meet(now);
        }
    }

    /// Who holds which group, where placement goes by it.
    fn holders(&self) -> BTreeMap<GroupKey, NodeName> {
        if !self.goes_by_holders {
            return BTreeMap::new();
        }
        let mut holders: BTreeMap<GroupKey, (Epoch, NodeName)> = BTreeMap::new();
        let own = self.held().iter();
        let own = own.filter(|(_, holding)| holding.hold == Hold::Holding);
        for (group, holding) in own {
            holders.insert(*group, (holding.epoch, self.local.node.clone()));
        }
        for member in self.roster.members.values().filter(|m| m.is_alive()) {
            let held = member.held.iter();
            for (group, entry) in held.filter(|(_, entry)| entry.state == HeldState::Holding) {
                let newest = (entry.epoch, member.profile.name.clone());
                let known = holders.entry(*group).or_insert_with(|| newest.clone());
                if *known < newest {
                    *known = newest;
                }
            }
        }
        let holders = holders.into_iter();
        holders.map(|(group, (_, node))| (group, node)).collect()
    }

    pub(super) fn claimed(&mut self, now: Time, vip: Vip, mac: Mac) {
        match (self.group_of(vip), self.owner_of(mac)) {
            (Some(group), Some(by)) => self.hold(now, hold::Input::Claimed { group, by, mac }),
            (Some(group), None) => self.hold(now, hold::Input::Fenced { group }),
            (None, _) => {}
        }
    }

    pub(super) fn fenced(&mut self, now: Time, vip: Vip) {
        if let Some(group) = self.group_of(vip) {
            self.hold(now, hold::Input::Fenced { group });
        }
    }

    /// Before there is a plan each VIP that was adopted is a group of its own.
    fn group_of(&self, vip: Vip) -> Option<GroupKey> {
        if !self.plan.is_complete {
            return Some(GroupKey(vip.0));
        }
        let first = (vip, LinkName::from(""));
        let ((of, _), entry) = self.plan.l2.iter_from(&first).next()?;
        (*of == vip).then_some(entry.group)
    }

    fn vips(&self, group: GroupKey) -> BTreeSet<Vip> {
        let wish = self.wishes.get(&group);
        wish.map_or_else(BTreeSet::new, |wish| wish.vips.clone())
    }

    pub(super) fn places(&self, group: GroupKey) -> Vec<(Vip, LinkName)> {
        plan::places(&self.memo, &self.local, group)
    }

    fn name(&self, event: &hold::Event) -> Option<NodeName> {
        let id = match event {
            hold::Event::Given { to, .. } => (*to)?,
            hold::Event::Taken { from, .. } => (*from)?,
            hold::Event::Disagree { with, .. } | hold::Event::Contest { with, .. } => *with,
            hold::Event::Stranger { .. }
            | hold::Event::Spoofed { .. }
            | hold::Event::MovesSpent { .. } => return None,
        };
        let member = self.roster.members.get(&id);
        let heard = member.map(|member| &member.profile.name);
        let name = heard.or_else(|| self.published.get(&id).map(|other| &other.name));
        name.cloned()
    }

    /// Why who gave a group is not elected for it any more.
    fn why(&self, event: &hold::Event, with: Option<&NodeName>) -> Option<Passed> {
        let (group, giver) = match event {
            hold::Event::Taken {
                group,
                ground: Ground::Yielded,
                ..
            } => (group, with?),
            hold::Event::Given { group, .. } => (group, &self.local.node),
            hold::Event::Taken { .. }
            | hold::Event::Disagree { .. }
            | hold::Event::Stranger { .. }
            | hold::Event::Contest { .. }
            | hold::Event::Spoofed { .. }
            | hold::Event::MovesSpent { .. } => return None,
        };
        plan::passed_over(&self.memo, *group, giver)
    }
}

#[cfg(test)]
#[path = "membership_tests.rs"]
pub(super) mod tests;
