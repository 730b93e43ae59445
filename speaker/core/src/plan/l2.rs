//! Entries of the VIP table and outcomes, from who holds what and which links can answer.

use super::demand::Demand;
use super::group::Group;
use super::setting::LinkChoice;
use super::{Announced, Held, Hold, Holding, L2Entry, Outcome, Reason, Survey, Unfit};
use crate::link::{Link, LinkName};
use crate::local::Local;
use crate::steering::Place;
use speaker_ebpf::abi::Mode;
use speaker_proto::{Epoch, GroupKey, Vip};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What the program does for a group in this state.
const fn mode(hold: Hold) -> Mode {
    match hold {
        Hold::Holding => Mode::Answer,
        Hold::Draining => Mode::Draining,
        Hold::Free
        | Hold::Asking
        | Hold::Preparing
        | Hold::Occupied(_)
        | Hold::Contested
        | Hold::Lapsed => Mode::Known,
    }
}

/// The entries of all VIPs that layer 2 concerns, on all links of this node that may announce: those that it answers for on
/// the links that are selected and can answer, everything else as known, so that no other part of this kernel answers. A link
/// below one that answers has no entry: its program passes the request on.
pub(super) fn entries(survey: &Survey<'_>, held: &Held, local: &Local) -> BTreeMap<Place, L2Entry> {
    // The two families apart: then each is in order nearly as it comes, and sorting costs little.
    let (mut entries, mut entries_v6) = (Vec::new(), Vec::new());
    for group in &survey.groups.list {
        for entry in of_group(survey, group, held, local) {
            let (place, _) = &entry;
            match place.0.0 {
                IpAddr::V4(_) => entries.push(entry),
                IpAddr::V6(_) => entries_v6.push(entry),
            }
        }
    }
    entries.append(&mut entries_v6);
    known_duplicates(survey, local, &mut entries);
    entries.into_iter().collect()
}

/// The entries of one group.
pub(super) fn of_group(
    survey: &Survey<'_>,
    group: &Group,
    held: &Held,
    local: &Local,
) -> Vec<(Place, L2Entry)> {
    let mut entries = Vec::new();
    let holding = held.get(&group.key).filter(|_| group.owner.is_some());
    let active = holding.filter(|holding| mode(holding.hold) != Mode::Known);
    for vip in vips(survey, group).iter().copied() {
        let is_near = !vip.0.is_ipv4() && group.is_near(&local.node);
        let choice = (active.is_some() || is_near)
            .then(|| choice(survey, group, vip))
            .flatten();
        let answers = |name: &LinkName, link: &Link| {
            choice.as_ref().is_some_and(|c| c.has(name)) && can_answer(link, vip)
        };
        for (name, link) in &local.links {
            let would_answer = answers(name, link);
            let active = active.filter(|_| would_answer);
            // What a link drops, the links on it never see.
            let is_below = |(upper, on): (&LinkName, &Link)| {
                on.below == Some(link.ifindex) && answers(upper, on)
            };
            if active.is_some() || !local.links.iter().any(is_below) {
                let entry = entry(group.key, active, is_near && would_answer);
                entries.push(((vip, name.clone()), entry));
            }
        }
    }
    entries
}

fn entry(group: GroupKey, active: Option<&Holding>, is_near: bool) -> L2Entry {
    L2Entry {
        mode: active.map_or(Mode::Known, |holding| mode(holding.hold)),
        epoch: active.map_or(Epoch::default(), |holding| holding.epoch),
        group,
        is_near,
        is_routed: false,
    }
}

/// VIPs of services that are left out because an older one holds another address of theirs.
fn known_duplicates(survey: &Survey<'_>, local: &Local, entries: &mut Vec<(Place, L2Entry)>) {
    if survey.groups.duplicates.is_empty() {
        return;
    }
    let taken: BTreeSet<Vip> = entries.iter().map(|((vip, _), _)| *vip).collect();
    let demands = survey
        .groups
        .duplicates
        .keys()
        .map(|i| &survey.demands.list[*i]);
    let concerned = demands.filter(|demand| demand.field.is_some());
    for vip in concerned.flat_map(|demand| &demand.vips) {
        if !taken.contains(vip) {
            let known = entry(GroupKey(vip.0), None, false);
            entries.extend(local.links.keys().map(|name| ((*vip, name.clone()), known)));
        }
    }
}

/// The VIPs of a group that layer 2 concerns.
pub(super) fn vips<'m>(survey: &Survey<'m>, group: &Group) -> Cow<'m, [Vip]> {
    // Nearly every group is one service with one address.
    if let [alone] = group.members.as_slice() {
        let demand = &survey.demands.list[*alone];
        if demand.field.is_some() && demand.vips.len() == 1 {
            return Cow::Borrowed(&demand.vips);
        }
    }
    let demands = group.members.iter().map(|i| &survey.demands.list[*i]);
    let concerned = demands.filter(|demand| demand.field.is_some());
    let mut vips: Vec<Vip> = concerned.flat_map(|demand| &demand.vips).copied().collect();
    vips.sort_unstable();
    vips.dedup();
    Cow::Owned(vips)
}

/// The links that the advertisements of the group's services select for a VIP on this node.
pub(super) fn choice(survey: &Survey<'_>, group: &Group, vip: Vip) -> Option<LinkChoice> {
    let demands = group.members.iter().map(|i| &survey.demands.list[*i]);
    demands
        .filter(|demand| demand.has_candidate() && demand.vips.contains(&vip))
        .filter_map(|demand| here(demand).cloned())
        .reduce(LinkChoice::union)
}

fn here(demand: &Demand) -> Option<&LinkChoice> {
    demand.field.as_ref().and_then(|field| field.here.as_ref())
}

/// Whether the link can carry neighbour discovery of the VIP's family now.
pub(super) const fn can_answer(link: &Link, vip: Vip) -> bool {
    let speaks = match vip.0 {
        IpAddr::V4(_) => link.has_arp,
        IpAddr::V6(_) => link.has_ndp,
    };
    link.is_usable() && speaks
}

/// What became of the service at place `i`.
pub(super) fn outcome(survey: &Survey<'_>, held: &Held, local: &Local, i: usize) -> Outcome {
    let demand = &survey.demands.list[i];
    if let Some(reason) = survey.groups.duplicates.get(&i).or(demand.fault.as_ref()) {
        return Outcome::Silent(reason.clone());
    }
    let group = survey.groups.of[i].map(|at| &survey.groups.list[at]);
    let (Some(group), Some(field)) = (group, &demand.field) else {
        return Outcome::Silent(Reason::NoAddress);
    };
    let holding = held.get(&group.key).filter(|_| group.owner.is_some());
    let answering = holding.filter(|h| h.hold == Hold::Holding && demand.has_candidate());
    if let (Some(holding), Some(here)) = (answering, &field.here) {
        return announced(demand, group.key, holding.epoch, local, here);
    }
    let is_host = demand
        .hosts
        .as_ref()
        .is_none_or(|hosts| hosts.contains(&local.node));
    let unfit = field
        .unfit_here
        .or((!is_host).then_some(Unfit::NoLocalEndpoints));
    Outcome::Silent(match (unfit, &group.owner) {
        (Some(Unfit::NoLink), _) if let Some(here) = &field.here => no_usable_link(local, here),
        (Some(unfit), _) => Reason::Unfit(unfit),
        (None, None) => Reason::NoCommonCandidate {
            with: group.others(&survey.demands.list, i),
        },
        (None, Some(owner)) if *owner == local.node && local.is_waiting_for_secret => {
            Reason::WaitingForSecret
        }
        (None, Some(owner)) if *owner == local.node => {
            Reason::NotHeld(holding.map_or(Hold::Free, |holding| holding.hold))
        }
        (None, Some(owner)) => Reason::NotElected {
            owner: owner.clone(),
        },
    })
}

fn announced(
    demand: &Demand,
    group: GroupKey,
    epoch: Epoch,
    local: &Local,
    choice: &LinkChoice,
) -> Outcome {
    let links = |vip| {
        let chosen = local.links.iter().filter(|(name, _)| choice.has(name));
        let answering = chosen.filter(|(_, link)| can_answer(link, vip));
        answering.map(|(name, _)| name.clone()).collect()
    };
    let vips: Vec<(Vip, Vec<LinkName>)> = demand.vips.iter().map(|v| (*v, links(*v))).collect();
    if vips.iter().all(|(_, links)| links.is_empty()) {
        return Outcome::Silent(no_usable_link(local, choice));
    }
    let (missing, _) = unavailable(local, choice);
    Outcome::Announced(Announced {
        group,
        epoch,
        vips,
        missing,
        listed: choice.listed(),
    })
}

fn no_usable_link(local: &Local, choice: &LinkChoice) -> Reason {
    let (missing, unusable) = unavailable(local, choice);
    Reason::NoUsableLink { missing, unusable }
}

/// Chosen links that do not exist, and chosen ones that exist; of the latter a caller asks only when none can answer.
fn unavailable(local: &Local, choice: &LinkChoice) -> (Vec<LinkName>, Vec<LinkName>) {
    let exists =
        |name: &LinkName| local.links.contains_key(name) || local.other_links.contains(name);
    match choice {
        LinkChoice::All => (Vec::new(), local.links.keys().cloned().collect()),
        LinkChoice::Named(names) => {
            let (existing, missing) = names.iter().cloned().partition(exists);
            (missing, existing)
        }
    }
}
