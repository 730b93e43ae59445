//! What this node watches as an heir, and what follows when a holder does not answer (`docs/layer2.md`, L6.7).
//!
//! It says which VIPs of others to ask for on which links, and makes of the findings who is passed over for which group, here and, told by
//! the heir that asks for it, at the holder. It knows nothing of probes.

use super::grace::Graces;
use super::{Agent, Event, Output, Power, Seen};
use crate::failures::Failures;
use crate::link::LinkName;
use crate::members::node_id;
use crate::plan;
use speaker_proto::announce::Place;
use speaker_proto::member::Member;
use speaker_proto::watch::{HEIR_INTERVAL, PROMISE_INTERVAL, Watched, Watchlist};
use speaker_proto::{GroupKey, Mac, NodeId, NodeName, Span, Time, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What is watched, and what was seen of it.
#[derive(Debug, Default)]
pub(super) struct Watching {
    list: Arc<Watchlist>,
    /// Whose the groups on the list are.
    holders: BTreeMap<GroupKey, NodeId>,
    /// Those of them that are not answered for.
    missing: BTreeSet<GroupKey>,
    /// Who was found not to answer for what.
    silent: Failures<(GroupKey, NodeId)>,
    /// Who said last that this node does not answer for a group.
    unheard_by: BTreeMap<GroupKey, NodeId>,
    /// Groups that there was no room for.
    left_out: usize,
    /// Members that restart.
    pub(super) graces: Graces,
    pub(super) due: Option<Time>,
    made: Option<Time>,
}

impl Watching {
    /// When somebody is not passed over any more.
    pub(super) fn deadline(&self, now: Time) -> Option<Time> {
        self.silent.deadline(now)
    }

    pub(super) fn keep(&mut self, is_known: impl Fn(NodeId) -> bool) {
        self.silent.keep(|(_, node)| is_known(node));
    }

    /// What was said of this node counts only while who said it is there: nobody else knows of it, and all others may wait for this node.
    pub(super) fn believe(&mut self, me: NodeId, is_there: impl Fn(NodeId) -> bool) {
        let silent = &mut self.silent;
        self.unheard_by.retain(|group, by| {
            let is_believed = is_there(*by);
            if !is_believed {
                silent.forget((*group, me));
            }
            is_believed
        });
    }
}

impl Agent {
    /// Groups whose holder does not answer for them where this node asks, by that holder.
    pub fn unanswered(&self) -> impl Iterator<Item = (GroupKey, &NodeName)> {
        let missing = self.watching.missing.iter();
        missing.filter_map(|group| {
            let holder = self.watching.holders.get(group)?;
            Some((*group, self.called(*holder)?))
        })
    }

    /// Groups that this node should watch and has no room for.
    pub fn unwatched(&self) -> usize {
        self.watching.left_out
    }

    /// The list is made anew soon.
    pub(super) fn watch_later(&mut self, now: Time) {
        let soon = self.watching.made.map_or(now, |made| made + LIST_INTERVAL);
        self.watching.due.get_or_insert(soon.max(now));
    }

    /// Says what is to be watched now.
    pub(super) fn watch(&mut self, now: Time) {
        self.watching.due = None;
        self.watching.made = Some(now);
        let (mut list, mut holders) = (Watchlist::new(), BTreeMap::new());
        let mut left_out = 0;
        let may_inherit = self.power == Power::Armed && !self.local.is_draining;
        let lines = plan::lines(&self.memo, &self.local.node);
        for (group, line) in lines.filter(|_| may_inherit) {
            let Some((id, holder)) = self.inherited(group, line) else {
                continue;
            };
            if list.len() == GROUPS_MAX {
                left_out += 1;
                continue;
            }
            let places = self.shared(holder, self.places(group));
            if !places.is_empty() {
                list.insert(group, Watched::of(holder, places, HEIR_INTERVAL));
                holders.insert(group, id);
            }
        }
        self.ask_kernels(&mut list, &mut holders);
        self.judge_kernels();
        self.witnesses(&mut list);
        self.watching.left_out = left_out;
        let before = std::mem::replace(&mut self.watching.holders, holders);
        for (group, id) in before {
            if self.watching.holders.get(&group) != Some(&id) {
                self.heard_again(now, group, id);
            }
        }
        if *self.watching.list != list {
            self.watching.list = Arc::new(list);
            let list = Arc::clone(&self.watching.list);
            self.outputs.push_back(Output::Watch(list));
        }
    }

    /// Who holds a group of whose two heirs this node is one.
    fn inherited(&self, group: GroupKey, line: &[NodeName]) -> Option<(NodeId, &Member)> {
        let vips = &self.wishes.get(&group)?.vips;
        let id = vips.iter().find_map(|vip| self.holds.holder(*vip))?;
        let holder = self.roster.members.get(&id)?;
        let mut heirs = plan::heirs(line, &holder.profile.name);
        let is_heir = heirs.any(|name| *name == self.local.node);
        is_heir.then_some((id, &**holder))
    }

    /// Those of `places` where a member can be asked, too, with the hardware address of this node's link.
    pub(super) fn shared(
        &self,
        member: &Member,
        places: Vec<(Vip, LinkName)>,
    ) -> BTreeMap<Place, Mac> {
        let places = places.into_iter().filter_map(|(vip, name)| {
            let theirs = plan::link_of(&self.local, member, &name)?;
            let has = match vip.0 {
                IpAddr::V4(_) => theirs.has_arp,
                IpAddr::V6(_) => theirs.has_ndp,
            };
            let link = self.local.links.get(&name).filter(|_| has)?;
            Some(((vip, link.ifindex), link.mac))
        });
        places.collect()
    }

    /// Members whose own addresses are asked for beside the VIPs: who hears none of them may itself have lost its way to the segment.
    fn witnesses(&self, list: &mut Watchlist) {
        // Who waits for the answer of one kernel needs to hear of others as soon.
        let interval = match self.watching.graces.is_empty() {
            true => HEIR_INTERVAL,
            false => PROMISE_INTERVAL,
        };
        let watched_on: BTreeSet<u32> = list
            .values()
            .flat_map(|watched| watched.places.keys().map(|(_, link)| *link))
            .collect();
        let links = self.local.links.iter();
        let links = links.filter(|(_, link)| watched_on.contains(&link.ifindex));
        // Whoever is not on a segment is no witness there.
        let mut wanting: BTreeMap<LinkName, usize> =
            links.map(|(name, _)| (name.clone(), WITNESSES)).collect();
        let me = node_id(&self.local.node);
        let members = &self.roster.members;
        let ring = members.range(me..).chain(members.range(..me));
        let alive = ring.filter(|(_, member)| member.is_alive());
        for (_, member) in alive {
            if wanting.is_empty() {
                return;
            }
            let mut found = BTreeSet::new();
            let addresses = member.profile.addresses.iter().map(SocketAddr::ip);
            let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.partition(IpAddr::is_ipv4);
            for address in [v4.first(), v6.first()].into_iter().flatten() {
                let places = wanting.keys().map(|link| (Vip(*address), link.clone()));
                let places = self.shared(member, places.collect());
                found.extend(places.keys().map(|(_, link)| *link));
                if !places.is_empty() {
                    list.entry(GroupKey(*address))
                        .or_insert_with(|| Watched::of(member, places, interval));
                }
            }
            wanting.retain(|name, left| {
                let link = self.local.links.get(name);
                *left -= usize::from(link.is_some_and(|link| found.contains(&link.ifindex)));
                *left > 0
            });
        }
    }

    /// The holder of a watched group does not answer for it. It is passed over if it was seen on the segment before, and this node hears
    /// others there: else it may be this node that is cut off, or on another one.
    pub(super) fn missing(&mut self, now: Time, group: GroupKey, is_certain: bool) {
        let Some(id) = self.watching.holders.get(&group).copied() else {
            return;
        };
        if self.watching.graces.asks_for(group) {
            if is_certain {
                self.kernel_asked(group, true);
            }
            return;
        }
        self.watching.missing.insert(group);
        self.seen(group, Some(id), Seen::Unanswered { is_certain });
        if is_certain {
            self.watching.silent.fail(now, (group, id));
            self.meet(now);
        }
    }

    /// It does again.
    pub(super) fn answering(&mut self, now: Time, group: GroupKey) {
        if self.watching.graces.asks_for(group) {
            self.kernel_asked(group, false);
            return;
        }
        if let Some(id) = self.watching.holders.get(&group).copied() {
            self.seen(group, Some(id), Seen::Answering);
            self.heard_again(now, group, id);
        }
    }

    fn heard_again(&mut self, now: Time, group: GroupKey, holder: NodeId) {
        self.watching.missing.remove(&group);
        if self.watching.silent.recovers(now, (group, holder)) {
            self.meet(now);
        }
    }

    /// Hardware that is not the holder's answers for a watched group. Members' are left to their claims (L5.2).
    pub(super) fn unexpected(&mut self, group: GroupKey, mac: Mac) {
        let is_members = self.owner_of(mac).is_some();
        if let Some(id) = self.watching.holders.get(&group).copied()
            && !is_members
        {
            self.seen(group, Some(id), Seen::Stranger(mac));
        }
    }

    /// A member asks for a group of this node's, since this node does not answer for it there.
    pub(super) fn unheard(&mut self, now: Time, group: GroupKey, by: NodeId) {
        let me = node_id(&self.local.node);
        if self.watching.silent.is_out(now, (group, me)) {
            return;
        }
        self.seen(group, Some(by), Seen::Unheard);
        self.watching.unheard_by.insert(group, by);
        self.watching.silent.fail(now, (group, me));
        self.watching.silent.recovers(now, (group, me));
        self.meet(now);
    }

    /// Who is passed over for which group.
    pub(super) fn shunned(&self, now: Time) -> BTreeMap<GroupKey, BTreeSet<NodeName>> {
        let mut shunned: BTreeMap<GroupKey, BTreeSet<NodeName>> = BTreeMap::new();
        for (group, id) in self.watching.silent.out(now) {
            let name = self.called(id).cloned();
            shunned.entry(group).or_default().extend(name);
        }
        shunned
    }

    pub(super) fn seen(&mut self, group: GroupKey, node: Option<NodeId>, seen: Seen) {
        let with = node.and_then(|id| self.called(id)).cloned();
        self.event(Event::Seen { group, with, seen });
    }

    fn called(&self, id: NodeId) -> Option<&NodeName> {
        if id == node_id(&self.local.node) {
            return Some(&self.local.node);
        }
        let member = self.roster.members.get(&id)?;
        Some(&member.profile.name)
    }
}

/// Members that are asked for beside the VIPs, by an address of each family, on each link once a second.
const WITNESSES: usize = 3;
/// Groups that one node watches. On one link they are asked for every 20 s.
const GROUPS_MAX: usize = 4_096;
/// The list is made no more often, which takes some milliseconds for so many groups.
const LIST_INTERVAL: Span = Span::s(1);

#[cfg(test)]
#[path = "watching_tests.rs"]
pub(super) mod tests;
