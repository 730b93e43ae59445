//! What election says of every group, for the machine that takes and yields them; and where a group is answered on this node.

use super::group::Group;
use super::{Members, Memo, Survey, l2};
use crate::link::LinkName;
use crate::local::Local;
use crate::members::node_id;
use crate::world::World;
use speaker_proto::hold::{Wish, Wishes};
use speaker_proto::{GroupKey, NodeName, Vip};
use std::collections::{BTreeMap, BTreeSet};

/// What election says of every group; a group that is not there belongs to nobody. Means nothing before the world is synced.
pub fn wishes(world: &World, members: &Members, local: &Local, memo: &mut Memo) -> Wishes {
    let mut wished = std::mem::take(&mut memo.wished);
    let survey = memo.survey(world, members, local);
    wished.renew(&survey, members, local);
    memo.wished = wished;
    memo.wished.wishes.clone()
}

/// What election said last, and what that was worked out from beside the groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Wished {
    wishes: Wishes,
    /// The version of the groups.
    version: u64,
    shunned: BTreeMap<GroupKey, BTreeSet<NodeName>>,
    local: Option<Local>,
}

impl Wished {
    /// Of thousands of groups nearly all are as before: only those that changed are looked at, unless something differs that concerns all.
    fn renew(&mut self, survey: &Survey<'_>, members: &Members, local: &Local) {
        let wish_of = |group: &Group| {
            let vips = l2::vips(survey, group);
            (!vips.is_empty()).then(|| wish(survey, group, members, local, &vips))
        };
        let is_as_before = self.local.as_ref() == Some(local) && self.shunned == members.shunned;
        let changed = survey.groups.changed(self.version);
        if let Some(changed) = changed.filter(|_| is_as_before) {
            for group in changed {
                let wish = wish_of(group);
                if self.wishes.get(&group.key) != wish.as_ref() {
                    match wish {
                        Some(wish) => self.wishes.insert(group.key, wish),
                        None => self.wishes.remove(&group.key),
                    };
                }
            }
        } else {
            let all = survey.groups.list.iter();
            let all = all.filter_map(|group| Some((&group.key, wish_of(group)?)));
            self.wishes.replace(all);
            self.shunned.clone_from(&members.shunned);
            self.local = Some(local.clone());
        }
        self.version = survey.groups.version;
    }
}

fn wish(
    survey: &Survey<'_>,
    group: &Group,
    members: &Members,
    local: &Local,
    vips: &[Vip],
) -> Wish {
    let demands = || group.members.iter().map(|i| &survey.demands.list[*i]);
    let serves = |demand: &super::demand::Demand| {
        let field = demand.field.as_ref();
        field.is_none_or(|field| {
            let hosts = demand.hosts.as_ref();
            field.unfit_here.is_none() && hosts.is_none_or(|hosts| hosts.contains(&local.node))
        })
    };
    let shunned = members.shunned.get(&group.key);
    let shunned = || shunned.into_iter().flatten();
    let is_fit = demands()
        .filter(|demand| demand.has_candidate())
        .all(|demand| serves(demand));
    Wish {
        owner: group.owner.as_ref().map(node_id),
        vips: vips.iter().copied().collect(),
        is_forced: demands().all(|demand| demand.is_forced),
        is_candidate: is_fit && !shunned().any(|node| *node == local.node),
        can_answer: is_fit || has_place(survey, group, local, vips),
        silent: shunned().map(node_id).collect(),
    }
}

/// Whether some VIP of a group has a link of this node that is selected and can answer for it.
fn has_place(survey: &Survey<'_>, group: &Group, local: &Local, vips: &[Vip]) -> bool {
    vips.iter().any(|vip| {
        let choice = l2::choice(survey, group, *vip);
        choice.is_some_and(|choice| {
            let mut links = local.links.iter();
            links.any(|(name, link)| choice.has(name) && l2::can_answer(link, *vip))
        })
    })
}

/// The VIPs of a group, each with the links of this node that the advertisements select and that can answer for it, as of the
/// last plan.
pub fn places(memo: &Memo, local: &Local, group: GroupKey) -> Vec<(Vip, LinkName)> {
    let survey = memo.survey_as_is();
    let Some((survey, group)) = survey
        .as_ref()
        .and_then(|s| Some((s, s.groups.get(group)?)))
    else {
        return Vec::new();
    };
    let mut places = Vec::new();
    for vip in l2::vips(survey, group).iter().copied() {
        let Some(choice) = l2::choice(survey, group, vip) else {
            continue;
        };
        let links = local.links.iter();
        let links = links.filter(|(name, link)| choice.has(name) && l2::can_answer(link, vip));
        places.extend(links.map(|(name, _)| (vip, name.clone())));
    }
    places
}

/// The two of a group's [`lines`] that would hold it next.
pub fn heirs<'l>(line: &'l [NodeName], holder: &'l NodeName) -> impl Iterator<Item = &'l NodeName> {
    Group::heirs(line, holder)
}

/// The groups in whose line this node is, each with the line: who is elected first, and the next two (L6.6, L6.7). As of the last plan.
pub fn lines<'m>(
    memo: &'m Memo,
    node: &NodeName,
) -> impl Iterator<Item = (GroupKey, &'m [NodeName])> {
    let groups = memo.groups.list.iter();
    let own = groups.filter(move |group| group.line.contains(node));
    own.map(|group| (group.key, group.line.as_slice()))
}
