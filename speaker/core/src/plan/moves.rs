//! Where packets of VIPs that move go, from whose they are: nodes become hardware addresses, groups become links.
//!
//! A node is reached on the link that is called as here, or on its only one, if that is called like none here. Where it has neither nothing is sent to it, and a
//! problem says so. It knows nothing of how long a move takes or who decides on it (L6.2).

use super::{Entries, Memo, Survey, l2};
use crate::key::{Kind, ObjectKey};
use crate::link::LinkName;
use crate::local::Local;
use crate::problem::Problem;
use speaker_proto::hold::Passing;
use speaker_proto::member::{Member, MemberLink, Roster};
use speaker_proto::{GroupKey, Mac, NodeId, Time, Vip};
use std::collections::{BTreeMap, BTreeSet};

/// Where the packets of a VIP go on a link; `None` is this node's stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct L2Move {
    /// New connections.
    pub fresh: Option<Mac>,
    /// Old connections that are not remembered.
    pub old: Option<Mac>,
    /// What was remembered before belongs to another move.
    pub since: Time,
    /// When all is over.
    pub until: Time,
}

/// By VIP and link.
pub type L2Moves = BTreeMap<(Vip, LinkName), L2Move>;

/// Where packets go of the VIPs in `passing`, as of the plan whose entries these are, and what stands against it.
pub fn moves(
    memo: &Memo,
    local: &Local,
    roster: &Roster,
    entries: &Entries,
    passing: &BTreeMap<Vip, Passing>,
) -> (L2Moves, BTreeSet<Problem>) {
    let (mut moves, mut problems) = (L2Moves::new(), BTreeSet::new());
    let Some(survey) = memo.survey_as_is() else {
        return (moves, problems);
    };
    for (vip, passing) in passing {
        let first = (*vip, LinkName::from(""));
        let own = entries
            .iter_from(&first)
            .take_while(|((of, _), _)| of == vip);
        for (place @ (_, link), entry) in own {
            if !is_place(&survey, local, entry.group, *vip, link) {
                continue;
            }
            let mut mac = |id: Option<NodeId>| {
                let id = id?;
                let mac = mac_of(local, roster, id, link);
                if mac.is_none() {
                    problems.insert(unreachable(local, roster, id, link));
                }
                mac
            };
            let way = L2Move {
                fresh: mac(passing.to),
                old: mac(passing.from),
                since: passing.since,
                until: passing.until,
            };
            moves.insert(place.clone(), way);
        }
    }
    (moves, problems)
}

/// Whether a VIP of a group may be answered on a link.
fn is_place(
    survey: &Survey<'_>,
    local: &Local,
    group: GroupKey,
    vip: Vip,
    name: &LinkName,
) -> bool {
    let list = &survey.groups.list;
    let group = list.binary_search_by_key(&group, |group| group.key);
    let choice = group.ok().and_then(|at| l2::choice(survey, &list[at], vip));
    let link = local.links.get(name);
    choice.is_some_and(|choice| choice.has(name)) && link.is_some_and(|l| l2::can_answer(l, vip))
}

/// Where a member is reached from one of our links.
fn mac_of(local: &Local, roster: &Roster, id: NodeId, link: &LinkName) -> Option<Mac> {
    let member = roster.members.get(&id)?;
    link_of(local, member, link).map(|link| link.mac)
}

/// The link of a member that is on the segment of one of ours: the one of that name, or its only one, if no other of ours is called so.
///
/// A member says only which of its links can answer now. Of two that are called as ours the one that is left is still on the segment of its
/// namesake.
pub fn link_of<'m>(local: &Local, member: &'m Member, link: &LinkName) -> Option<&'m MemberLink> {
    let links = &member.profile.links;
    let named = links.iter().find(|theirs| theirs.name == link.0);
    let only = (links.len() == 1).then(|| links.first()).flatten();
    named.or(only.filter(|only| !local.links.keys().any(|own| own.0 == only.name)))
}

fn unreachable(local: &Local, roster: &Roster, id: NodeId, link: &LinkName) -> Problem {
    let member = roster.members.get(&id);
    let name = member.map_or_else(|| id.to_string(), |member| member.profile.name.to_string());
    Problem {
        object: ObjectKey::new(Kind::Node, "", local.node.as_str()),
        origin: "moves".into(),
        field: link.to_string(),
        why: format!(
            "connections that belong to {name} are not sent there: it has no link of this name, and not exactly one that is called like none of this node's"
        ),
    }
}
