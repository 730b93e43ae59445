//! Which packets routes bring to this node that are not simply its stack's: those of VIPs that BGP announces from here and of which something is
//! asked.
//!
//! A VIP that layer 2 concerns as well has one entry for both. Who holds it on a link does not matter to packets that a router sends here,
//! and on how many nodes it does so neither. What peers are told is decided in [`super::bgp`], over whom packets are spread in
//! [`super::steering`].

use super::demand::Demand;
use super::group::Group;
use super::{BgpOutcome, Entries, L2Entry, Memo, Reason, Survey, l2};
use crate::link::{Link, LinkName};
use crate::local::Local;
use crate::service::ServiceId;
use speaker_ebpf::abi::Mode;
use speaker_proto::shared_map::SharedMap;
use speaker_proto::{Epoch, NodeName, Vip};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Where a set of BGPAdvertisements lets services be announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Routed {
    /// The fit nodes that at least one of them selects. Which of them have peers does not matter: any may serve what others attract.
    pub(super) nodes: BTreeSet<NodeName>,
    /// They select this node, fit or not: its routes go in order when it does.
    pub(super) is_here: bool,
}

/// Says of the entries of VIPs that routes bring here that it is so, and makes those that are missing: as far as somebody asks for something that
/// is done with packets, or did until lately (`followed`).
pub fn routes(
    memo: &Memo,
    local: &Local,
    outcomes: &SharedMap<ServiceId, BgpOutcome>,
    followed: &BTreeSet<Vip>,
    entries: &mut Entries,
) {
    let Some(survey) = memo.survey_as_is().filter(|_| !outcomes.is_empty()) else {
        return;
    };
    let groups: Vec<&Group> = match followed.is_empty() {
        true => survey.asking().collect(),
        false => survey.groups.list.iter().collect(),
    };
    for group in groups {
        for vip in brought(&survey, group, outcomes, followed) {
            for link in local.links.keys() {
                let place = (vip, link.clone());
                let passive = L2Entry {
                    mode: Mode::Passive,
                    epoch: Epoch::default(),
                    group: group.key,
                    is_near: false,
                    is_routed: true,
                };
                let entry = entries.get(&place).copied().unwrap_or(passive);
                entries.insert(place, entry.routed());
            }
        }
    }
}

impl Demand {
    /// Whether some node may announce it in BGP, as far as the service itself is concerned.
    pub(super) fn has_route(&self) -> bool {
        let Some(routed) = &self.routed else {
            return false;
        };
        let is_of_layer_2 = matches!(
            self.fault,
            Some(Reason::NoMatchingAdvertisement(_) | Reason::SharedIpWithServiceSelector { .. })
        );
        (self.fault.is_none() || is_of_layer_2)
            && match &self.hosts {
                None => !routed.nodes.is_empty(),
                Some(hosts) => hosts.iter().any(|host| routed.nodes.contains(host)),
            }
    }

    /// The nodes that may serve it, whichever protocol brings its packets, wherever its endpoints are.
    pub(super) fn servers(&self) -> BTreeSet<&NodeName> {
        let field = self.field.iter().filter(|_| self.has_candidate());
        let on_links = field.flat_map(|field| field.candidates.scores.keys());
        let routed = self.routed.iter().filter(|_| self.has_route());
        let by_routes = routed.flat_map(|routed| &routed.nodes);
        on_links.chain(by_routes).collect()
    }

    /// Whether it asks for anything else than that its packets are the stack's.
    pub(super) fn asks_for_something(&self) -> bool {
        self.is_spread || self.is_socketed || self.options.is_any()
    }
}

/// Every VIP that some peer is to be told of.
pub fn routed_vips(outcomes: &SharedMap<ServiceId, BgpOutcome>) -> BTreeSet<Vip> {
    outcomes.values().flat_map(vips_told).copied().collect()
}

fn vips_told(outcome: &BgpOutcome) -> &[Vip] {
    match outcome {
        BgpOutcome::Announced(announced) => &announced.vips,
        BgpOutcome::Silent(_) => &[],
    }
}

/// The VIPs of a group that routes bring here and that are not simply the stack's.
fn brought(
    survey: &Survey<'_>,
    group: &Group,
    outcomes: &SharedMap<ServiceId, BgpOutcome>,
    followed: &BTreeSet<Vip>,
) -> BTreeSet<Vip> {
    let asked: BTreeSet<Vip> = members(survey, group)
        .filter(|demand| demand.asks_for_something())
        .flat_map(|demand| &demand.vips)
        .copied()
        .collect();
    if asked.is_empty() && followed.is_empty() {
        return asked;
    }
    let told = members(survey, group).filter_map(|demand| outcomes.get(demand.id()));
    let told = told.flat_map(vips_told);
    told.filter(|vip| asked.contains(vip) || followed.contains(vip))
        .copied()
        .collect()
}

fn members<'s>(survey: &'s Survey<'_>, group: &'s Group) -> impl Iterator<Item = &'s Demand> {
    group.members.iter().map(|i| &*survey.demands.list[*i])
}

/// The VIPs of a group of which packets may come to nodes, by either protocol.
pub(super) fn vips<'m>(survey: &Survey<'m>, group: &Group) -> Cow<'m, [Vip]> {
    let of_links = l2::vips(survey, group);
    let routed = members(survey, group).filter(|demand| demand.routed.is_some());
    let routed: Vec<Vip> = routed.flat_map(|demand| &demand.vips).copied().collect();
    if routed.is_empty() {
        return of_links;
    }
    let mut all = of_links.into_owned();
    all.extend(routed);
    all.sort_unstable();
    all.dedup();
    Cow::Owned(all)
}

/// The links of this node by which packets of a VIP may come in, now or when it is this node's turn: those that could answer for it, and where
/// routes may bring them, all.
pub(super) fn links<'l>(
    survey: &Survey<'_>,
    group: &Group,
    vip: Vip,
    local: &'l Local,
) -> Vec<&'l LinkName> {
    let choice = l2::choice(survey, group, vip);
    let is_routed = members(survey, group).any(|demand| {
        let is_here = demand.routed.as_ref().is_some_and(|routed| routed.is_here);
        is_here && demand.has_route() && demand.vips.contains(&vip)
    });
    let comes_by = |(name, link): &(&LinkName, &Link)| {
        let answers = choice.as_ref().is_some_and(|choice| choice.has(name));
        (answers && l2::can_answer(link, vip)) || (is_routed && link.is_usable())
    };
    let links = local.links.iter().filter(comes_by);
    links.map(|(name, _)| name).collect()
}
