//! Members that restart within their promise: whether their kernels still answer, and may (`docs/layer2.md`, L6.3).
//!
//! One VIP of each is asked for by unicast, so that nothing but that kernel answers. What follows from its silence is for the observers
//! together to decide (`speaker_proto::gossip`); here is only what this node finds. It knows nothing of probes.

use super::{Agent, Output, Seen};
use crate::plan;
use speaker_proto::member::{HeldState, Member};
use speaker_proto::watch::{PROMISE_INTERVAL, Watched, Watchlist};
use speaker_proto::{GroupKey, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of the kernels of members in their grace.
#[derive(Debug, Default)]
pub(super) struct Graces {
    /// By which group each is asked.
    asked: BTreeMap<GroupKey, NodeId>,
    /// Those that do not answer.
    silent: BTreeSet<NodeId>,
    /// Those whose promise this node calls void.
    told: BTreeSet<NodeId>,
}

impl Graces {
    /// Whether a group is asked for because its holder is in its grace.
    pub(super) fn asks_for(&self, group: GroupKey) -> bool {
        self.asked.contains_key(&group)
    }

    /// Whether any kernel is asked.
    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }
}

impl Agent {
    /// Puts onto the list by what the kernels of members in their grace are asked.
    pub(super) fn ask_kernels(
        &mut self,
        list: &mut Watchlist,
        holders: &mut BTreeMap<GroupKey, NodeId>,
    ) {
        let members = self.roster.members.iter();
        let in_grace = members.filter(|(_, member)| member.is_in_grace);
        let asked = in_grace.take(KERNELS_MAX).filter_map(|(id, member)| {
            let (group, watched) = self.place_of(member)?;
            Some((*id, group, watched))
        });
        let asked: Vec<(NodeId, GroupKey, Watched)> = asked.collect();
        self.watching.graces.asked.clear();
        for (id, group, watched) in asked {
            list.insert(group, watched);
            holders.insert(group, id);
            self.watching.graces.asked.insert(group, id);
        }
    }

    /// One VIP that a member answers for, on a link that both are on.
    fn place_of(&self, member: &Member) -> Option<(GroupKey, Watched)> {
        let held = member.held.iter();
        let held = held.filter(|(_, entry)| entry.state == HeldState::Holding);
        held.take(TRIES_MAX).find_map(|(group, _)| {
            let mut shared = self.shared(member, self.places(*group)).into_iter();
            let (place, own) = shared.find(|((vip, _), _)| vip.0 == group.0)?;
            let mut links = self.local.links.iter();
            let (name, _) = links.find(|(_, link)| link.ifindex == place.1)?;
            let asked = Watched {
                only: Some(plan::link_of(&self.local, member, name)?.mac),
                ..Watched::of(member, [(place, own)].into(), PROMISE_INTERVAL)
            };
            Some((*group, asked))
        })
    }

    /// A kernel that was asked does not answer, though it did before and others are heard there; or it does again.
    pub(super) fn kernel_asked(&mut self, group: GroupKey, is_silent: bool) {
        let Some(id) = self.watching.graces.asked.get(&group).copied() else {
            return;
        };
        let silent = &mut self.watching.graces.silent;
        let is_news = match is_silent {
            true => silent.insert(id),
            false => silent.remove(&id),
        };
        if is_news {
            let seen = match is_silent {
                true => Seen::KernelSilent,
                false => Seen::Answering,
            };
            self.seen(group, Some(id), seen);
            self.judge_kernels();
        }
    }

    /// Says whose promise is void, as far as this node can tell. Who may not answer any more is not waited for either. Of who died nothing is
    /// taken back: not all may have heard of it yet.
    pub(super) fn judge_kernels(&mut self) {
        let members = self.roster.members.iter();
        let in_grace = members.filter(|(_, member)| member.is_in_grace);
        let (mut all, mut void) = (BTreeSet::new(), BTreeSet::new());
        for (id, member) in in_grace {
            all.insert(*id);
            if self.watching.graces.silent.contains(id) || !self.may_answer(member) {
                void.insert(*id);
            }
        }
        let graces = &mut self.watching.graces;
        graces.silent.retain(|id| all.contains(id));
        let told = std::mem::replace(&mut graces.told, void.clone());
        let news = void.difference(&told).map(|id| (*id, true));
        let over = told.difference(&void).filter(|id| all.contains(id));
        let outputs = news.chain(over.map(|id| (*id, false)));
        let outputs: Vec<Output> = outputs.map(|(id, is)| Output::Kernel(id, is)).collect();
        self.outputs.extend(outputs);
    }

    /// Whether a member may answer for anything, as its Node object says.
    fn may_answer(&self, member: &Member) -> bool {
        if !self.world.is_synced() {
            return true;
        }
        let Some(node) = self.world.nodes.get(&member.profile.name) else {
            return false;
        };
        let is_excluded = node.is_excluded() && !self.local.rules.ignores_exclude_label;
        node.ending.is_none() && !node.network_unavailable && !is_excluded
    }
}

/// Members that restart at once and are asked; with witnesses they leave half of a link's probes to the heirs.
const KERNELS_MAX: usize = 4;
/// Groups of one member among which one is looked for that this node can ask for.
const TRIES_MAX: usize = 64;

#[cfg(test)]
#[path = "grace_tests.rs"]
mod tests;
