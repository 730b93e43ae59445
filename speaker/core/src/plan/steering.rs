//! Which VIPs are spread over which nodes, on which links of this node.
//!
//! A service asks for it by the annotation `heliograph.io/steering` on its advertisements, or on itself where its pool lets it. Every
//! node that may announce it takes part, one share each; with the traffic policy Local as many as it has endpoints. It knows nothing
//! of tables, and of time only that [`crate::steering::history`] follows what this says.

use super::demand::Demand;
use super::group::Group;
use super::routes::{self, Routed};
use super::setting::{Candidates, Kept, Setting};
use super::{Memo, Survey};
use crate::annotations::{self, PREFIX};
use crate::key::{Kind, ObjectKey};
use crate::link::LinkName;
use crate::local::Local;
use crate::problem::Problem;
use crate::service::Service;
use crate::steering::{
    Neighbourhood, Overlay, Place, Prospect, Prospects, Share, Spread, Unspread, Weights,
};
use crate::world::World;
use speaker_proto::member::{Profile, Roster};
use speaker_proto::{NodeName, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// How packets are spread from this node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Steering {
    /// Every VIP that is to be, whether this node holds it or not.
    pub rows: BTreeMap<Place, Spread>,
    /// Those that should be and cannot: the service proxy of this node takes them.
    pub unspread: BTreeMap<Place, Unspread>,
    /// Where the others are reached on links.
    pub neighbourhood: Arc<Neighbourhood>,
    /// How those on other segments are.
    pub overlay: Arc<Overlay>,
}

/// Shares of every VIP that is to be spread, and why others that should be are not. As of the last plan.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shares {
    /// By place.
    pub shares: BTreeMap<Place, Share>,
    /// By place.
    pub unspread: BTreeMap<Place, Unspread>,
}

const KEY: &str = "steering";
/// Spread over nodes on other segments as well.
pub(super) const BEYOND: &str = "spread-encap";
/// Spread over nodes.
pub(super) const SPREAD: &str = "spread";
/// Served by sockets of this node.
pub(super) const SOCKET: &str = "socket";

/// The word by which a service asks for something, and what is wrong with how it does.
pub(super) fn asked<'a>(
    setting: &'a Setting,
    service: &'a Service,
    pool: &str,
    kept: &Kept,
) -> (Option<&'a str>, Option<Problem>) {
    let words = setting.words(kept, KEY);
    let own = annotations::word(&service.annotations, KEY);
    let allows = |pool: &str| {
        let pool = setting.pool(pool);
        pool.is_some_and(|pool| annotations::allows_service(&pool.annotations, KEY))
    };
    match own {
        Some(word) if allows(pool) => return (Some(word), None),
        Some(_) => {
            let why =
                format!("has no effect: {PREFIX}allow-service of the pool {pool} does not list it");
            return (only(&words), Some(doubt(service, why)));
        }
        None => {}
    }
    if words.len() > 1 {
        let words: Vec<&str> = words.into_iter().collect();
        let why = format!(
            "its advertisements do not agree, and so its packets are not spread: {}",
            words.join(", ")
        );
        return (None, Some(doubt(service, why)));
    }
    (only(&words), None)
}

/// The word, if there is one.
fn only<'a>(words: &BTreeSet<&'a str>) -> Option<&'a str> {
    words.first().copied().filter(|_| words.len() == 1)
}

fn doubt(service: &Service, why: String) -> Problem {
    Problem {
        object: ObjectKey::new(Kind::Service, &service.id.namespace, &service.id.name),
        origin: "plan".into(),
        field: format!("metadata.annotations.{PREFIX}{KEY}"),
        why,
    }
}

/// What should be spread from this node over which of its neighbours.
pub fn shares(memo: &Memo, local: &Local, hood: &Neighbourhood, overlay: &Overlay) -> Shares {
    let around = Around {
        local,
        hood,
        overlay,
    };
    let mut shares = Shares::default();
    let Some(survey) = memo.survey_as_is() else {
        return shares;
    };
    let mut pool = Interned::default();
    for group in groups(&survey) {
        for vip in routes::vips(&survey, group).iter().copied() {
            let demands: Vec<&Demand> = demands(&survey, group)
                .filter(|demand| demand.vips.contains(&vip))
                .filter(|demand| demand.has_candidate() || demand.has_route())
                .collect();
            for name in routes::links(&survey, group, vip, local) {
                match share(&demands, vip, name, &around, &mut pool) {
                    Some(Ok(share)) => {
                        shares.shares.insert((vip, name.clone()), share);
                    }
                    Some(Err(why)) => {
                        shares.unspread.insert((vip, name.clone()), why);
                    }
                    None => {}
                }
            }
        }
    }
    shares
}

/// The groups of which something is to be spread.
fn groups<'s>(survey: &'s Survey<'_>) -> impl Iterator<Item = &'s Group> {
    survey
        .asking()
        .filter(|group| demands(survey, group).any(|demand| demand.is_spread))
}

fn demands<'s>(survey: &'s Survey<'_>, group: &'s Group) -> impl Iterator<Item = &'s Demand> {
    group.members.iter().map(|i| &*survey.demands.list[*i])
}

/// `None`: nobody asks for it.
fn share(
    demands: &[&Demand],
    vip: Vip,
    link: &LinkName,
    around: &Around<'_>,
    pool: &mut Interned,
) -> Option<Result<Share, Unspread>> {
    let asking = demands.iter().find(|demand| demand.is_spread)?;
    if let Some(other) = demands.iter().find(|demand| !demand.is_spread) {
        return Some(Err(Unspread::SharedWith(other.id().clone())));
    }
    if let Some(bar) = around.hood.bars.get(link) {
        return Some(Err(Unspread::Barred(*bar)));
    }
    // Services that share an address go to other segments only if all of them ask for it.
    let is_beyond = demands.iter().all(|demand| demand.is_beyond);
    let is_v4 = vip.0.is_ipv4();
    if is_beyond && !around.overlay.own.iter().any(|own| own.is_ipv4() == is_v4) {
        return Some(Err(Unspread::NoAddress { is_v4 }));
    }
    let weights = pool.weights(demands, vip, (link, is_beyond), around);
    if weights.is_empty() {
        return Some(Err(Unspread::Nobody));
    }
    Some(Ok(Share {
        weights,
        is_by_client: asking.service.is_by_client,
        is_beyond,
    }))
}

/// What is around this node.
struct Around<'a> {
    local: &'a Local,
    hood: &'a Neighbourhood,
    overlay: &'a Overlay,
}

impl Around<'_> {
    /// Whether a node gets packets of a family that come in on a link.
    fn reaches(&self, node: &NodeName, is_v4: bool, (link, is_beyond): (&LinkName, bool)) -> bool {
        *node == self.local.node
            || self.hood.nodes.contains_key(&(link.clone(), node.clone()))
            || (is_beyond && self.overlay.reaches(node, is_v4))
    }
}

/// Candidates as seen from a link: of one family if they may be on other segments.
type Whoever = (
    Option<*const Candidates>,
    Option<*const Routed>,
    LinkName,
    Option<bool>,
);

/// Equal sets are one set, and that of thousands of services which any node may serve is made once.
#[derive(Default)]
struct Interned {
    sets: BTreeSet<Arc<Weights>>,
    of_anyone: BTreeMap<Whoever, Arc<Weights>>,
}

impl Interned {
    fn weights(
        &mut self,
        demands: &[&Demand],
        vip: Vip,
        (link, is_beyond): (&LinkName, bool),
        around: &Around<'_>,
    ) -> Arc<Weights> {
        let is_v4 = vip.0.is_ipv4();
        let anyone = match demands {
            [alone] if alone.hosts.is_none() => Some(*alone),
            _ => None,
        };
        let family = is_beyond.then_some(is_v4);
        let key = anyone.map(|demand| {
            let field = demand.field.as_ref().filter(|_| demand.has_candidate());
            let field = field.map(|field| Arc::as_ptr(&field.candidates));
            let routed = demand.routed.as_ref().filter(|_| demand.has_route());
            (field, routed.map(Arc::as_ptr), link.clone(), family)
        });
        if let Some(known) = key.as_ref().and_then(|key| self.of_anyone.get(key)) {
            return Arc::clone(known);
        }
        let mut weights = eligible(demands, is_v4, around.overlay);
        weights.retain(|node, _| around.reaches(node, is_v4, (link, is_beyond)));
        let set = Arc::new(weights);
        let set = self.sets.get(&set).cloned().unwrap_or(set);
        self.sets.insert(Arc::clone(&set));
        if let Some(key) = key {
            self.of_anyone.insert(key, Arc::clone(&set));
        }
        set
    }
}

/// The nodes that may serve all of `demands`, with the shares of the first.
fn eligible(demands: &[&Demand], is_v4: bool, overlay: &Overlay) -> Weights {
    let mut sets = demands.iter().map(|demand| {
        let servers = demand.servers();
        match demand.hosts {
            None => servers.into_iter().map(|node| (node.clone(), 1)).collect(),
            Some(_) => {
                let mut weights = demand.endpoints(is_v4);
                let may = |node: &NodeName| {
                    servers.contains(node) || super::overlay::may_serve(demand, node, overlay)
                };
                weights.retain(|node, _| may(node));
                weights
            }
        }
    });
    let mut first: Weights = sets.next().unwrap_or_default();
    for other in sets {
        first.retain(|node, _| other.contains_key(node));
    }
    first
}

/// Whom to look for on which link, so that something can be spread there. Members whose speaker died or left as well: their nodes may
/// still have connections from before. Nobody where nothing is to be spread, unless `is_followed`: something was until lately. As of the last plan.
pub fn prospects(
    memo: &Memo,
    world: &World,
    local: &Local,
    roster: &Roster,
    is_followed: bool,
) -> Prospects {
    let mut prospects = Prospects::new();
    let Some(survey) = memo.survey_as_is() else {
        return prospects;
    };
    if !is_followed && groups(&survey).next().is_none() {
        return prospects;
    }
    for member in roster.members.values() {
        let name = &member.profile.name;
        let addresses = addresses(world, &member.profile);
        if *name == local.node || addresses.is_empty() {
            continue;
        }
        for link in local.links.keys() {
            if let Some(theirs) = super::link_of(local, member, link) {
                let prospect = Prospect {
                    mac: theirs.mac,
                    addresses: addresses.clone(),
                };
                prospects.insert((link.clone(), name.clone()), prospect);
            }
        }
    }
    prospects
}

/// A node's own addresses: those of its object, and where its speaker listens.
pub(super) fn addresses(world: &World, profile: &Profile) -> Vec<IpAddr> {
    let node = world.nodes.get(&profile.name);
    let of_object = node
        .into_iter()
        .flat_map(|node| node.addresses.iter().copied());
    let of_speaker = profile.addresses.iter().map(|address| address.ip());
    let distinct: BTreeSet<IpAddr> = of_object.chain(of_speaker).collect();
    distinct.into_iter().take(ADDRESSES_MAX).collect()
}

/// Addresses of a node that are asked for.
const ADDRESSES_MAX: usize = 4;
