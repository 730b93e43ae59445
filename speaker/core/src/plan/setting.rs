//! What decisions about all services have in common, worked out once: who is fit, which advertisements serve which
//! pool, and the candidates of each set of advertisements.

use super::group::LINE;
use super::routes::Routed;
use super::{Members, Unfit};
use crate::annotations;
use crate::crd::{BgpAdvertisement, L2Advertisement, Pool, PreferredNodes};
use crate::election::{Placement, Score};
use crate::link::LinkName;
use crate::local::{Local, Rules};
use crate::members::Families;
use crate::node::Node;
use crate::selector::{Selector, any_matches};
use crate::service::Service;
use crate::world::World;
use speaker_proto::{GroupKey, NodeName};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Everything but services and their endpoints, and what follows from it.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    me: NodeName,
    pub(super) rules: Rules,
    members: Members,
    nodes: Vec<Arc<Node>>,
    pub(super) pools: Vec<Arc<Pool>>,
    ads: Vec<Arc<L2Advertisement>>,
    bgp_ads: Vec<Arc<BgpAdvertisement>>,
    /// Whose address it is.
    pub(super) node_addresses: BTreeMap<IpAddr, NodeName>,
    /// By pool: its advertisements, as places in `ads`.
    by_pool: BTreeMap<String, Vec<usize>>,
    /// By pool: its BGPAdvertisements, as places in `bgp_ads`.
    bgp_by_pool: BTreeMap<String, Vec<usize>>,
    /// By BGPAdvertisements, as places in `bgp_ads`.
    routed: BTreeMap<Vec<usize>, Arc<Routed>>,
    /// By advertisements, as places in `ads`, and by what must be answered.
    fields: BTreeMap<(Vec<usize>, Families), Arc<Field>>,
    /// By what the advertisements say of nodes, and by what must be answered; thousands of advertisements that say the same of
    /// them share one.
    candidates: BTreeMap<(Vec<Terms>, Families), Arc<Candidates>>,
}

/// What an advertisement says of nodes and of their links.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Terms {
    nodes: Vec<Selector>,
    interfaces: BTreeSet<String>,
    preferred: Vec<PreferredNodes>,
}

impl Terms {
    fn of(ad: &L2Advertisement) -> Self {
        Self {
            nodes: ad.node_selectors.clone(),
            interfaces: ad.interfaces.clone(),
            preferred: ad.preferred_nodes.clone(),
        }
    }

    /// Whether saying it twice adds nothing: it does if it adds weight.
    fn repeats(&self, other: &Self) -> bool {
        self.preferred.is_empty() && self == other
    }
}

/// The advertisements that are for a service, as places in the setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Kept {
    /// L2Advertisements.
    pub(super) on_links: Vec<usize>,
    /// BGPAdvertisements.
    pub(super) in_bgp: Vec<usize>,
}

/// The nodes that some advertisements let announce.
#[derive(Clone, Debug)]
pub(super) struct Candidates {
    /// Fit nodes that at least one of them selects, with their scores.
    pub(super) scores: BTreeMap<NodeName, Score>,
    /// Those of the highest score.
    pub(super) best: BTreeSet<NodeName>,
    /// Those of the next scores, as far as a group's line reaches.
    pub(super) next: Vec<BTreeSet<NodeName>>,
}

/// Where a set of advertisements lets services be announced.
#[derive(Clone, Debug)]
pub(super) struct Field {
    ads: Vec<Arc<L2Advertisement>>,
    families: Families,
    pub(super) candidates: Arc<Candidates>,
    /// The links that they select on this node; `None`: they do not select this node.
    pub(super) here: Option<LinkChoice>,
    /// Why this node is no candidate, whichever nodes have endpoints.
    pub(super) unfit_here: Option<Unfit>,
}

/// Which links of a node may announce.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum LinkChoice {
    /// All.
    All,
    /// Those with these names.
    Named(BTreeSet<LinkName>),
}

impl Setting {
    pub(super) fn new(world: &World, members: &Members, local: &Local) -> Self {
        let ads: Vec<_> = world.l2_advertisements.values().cloned().collect();
        let serving = |pool: &Pool| {
            let serves = |ad: &L2Advertisement| serves(&ad.pools, &ad.pool_selectors, pool);
            (0..ads.len()).filter(|i| serves(&ads[*i])).collect()
        };
        let by_pool = world
            .pools
            .iter()
            .map(|(name, pool)| (name.clone(), serving(pool)))
            .collect();
        let bgp_ads: Vec<_> = world.bgp_advertisements.values().cloned().collect();
        let routing = |pool: &Pool| {
            let serves = |ad: &BgpAdvertisement| serves(&ad.pools, &ad.pool_selectors, pool);
            (0..bgp_ads.len())
                .filter(|i| serves(&bgp_ads[*i]))
                .collect()
        };
        let pools = world.pools.iter();
        let bgp_by_pool = pools.map(|(name, pool)| (name.clone(), routing(pool)));
        let node_addresses = world
            .nodes
            .values()
            .flat_map(|node| node.addresses.iter().map(|ip| (*ip, node.name.clone())))
            .collect();
        Self {
            me: local.node.clone(),
            rules: local.rules.clone(),
            members: members.clone(),
            nodes: world.nodes.values().cloned().collect(),
            pools: world.pools.values().cloned().collect(),
            node_addresses,
            by_pool,
            ads,
            bgp_by_pool: bgp_by_pool.collect(),
            routed: BTreeMap::new(),
            bgp_ads,
            fields: BTreeMap::new(),
            candidates: BTreeMap::new(),
        }
    }

    /// Whether it is still the one of these.
    pub(super) fn is_of(&self, world: &World, members: &Members, local: &Local) -> bool {
        self.me == local.node
            && self.rules == local.rules
            && same(&self.nodes, world.nodes.values())
            && same(&self.pools, world.pools.values())
            && same(&self.ads, world.l2_advertisements.values())
            && same(&self.bgp_ads, world.bgp_advertisements.values())
            && self.members.by_name == members.by_name
    }

    /// The pool of a name.
    pub(super) fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        let at = self
            .pools
            .binary_search_by(|p| p.name.as_str().cmp(name))
            .ok()?;
        Some(&self.pools[at])
    }

    /// The advertisements of a pool.
    pub(super) fn advertisements(&self, pool: &str) -> &[usize] {
        self.by_pool.get(pool).map_or(&[], Vec::as_slice)
    }

    /// The advertisement at a place that [`Self::advertisements`] gave.
    pub(super) fn advertisement(&self, place: usize) -> &L2Advertisement {
        &self.ads[place]
    }

    /// The advertisements that are for a service with addresses of a pool.
    pub(super) fn kept(&self, service: &Service, pool: &str) -> Kept {
        let fits = |selectors: &[Selector]| any_matches(selectors, &service.labels);
        let on_links = self.advertisements(pool).iter().copied();
        let in_bgp = self.bgp_by_pool.get(pool).into_iter().flatten().copied();
        Kept {
            on_links: on_links
                .filter(|i| fits(&self.ads[*i].service_selectors))
                .collect(),
            in_bgp: in_bgp
                .filter(|i| fits(&self.bgp_ads[*i].service_selectors))
                .collect(),
        }
    }

    /// What those advertisements say for this key, each word once.
    pub(super) fn words(&self, kept: &Kept, key: &str) -> BTreeSet<&str> {
        let on_links = kept.on_links.iter().map(|i| &self.ads[*i].annotations);
        let in_bgp = kept.in_bgp.iter().map(|i| &self.bgp_ads[*i].annotations);
        let all = on_links.chain(in_bgp);
        all.filter_map(|annotations| annotations::word(annotations, key))
            .collect()
    }

    /// Where BGPAdvertisements, given by their places, let services be announced.
    pub(super) fn routed(&mut self, places: &[usize]) -> Arc<Routed> {
        if let Some(routed) = self.routed.get(places) {
            return Arc::clone(routed);
        }
        let selects = |node: &Node| {
            let mut ads = places.iter().map(|i| &self.bgp_ads[*i]);
            ads.any(|ad| any_matches(&ad.node_selectors, &node.labels))
        };
        let nodes = self.nodes.iter();
        let nodes = nodes.filter(|node| selects(node) && self.unfit(node).is_none());
        let routed = Arc::new(Routed {
            nodes: nodes.map(|node| node.name.clone()).collect(),
            is_here: self.node(&self.me).is_some_and(|node| selects(node)),
        });
        self.routed.insert(places.to_vec(), Arc::clone(&routed));
        routed
    }

    /// Whether a group may be elsewhere than with the first in the order.
    pub(super) fn places_otherwise(&self) -> bool {
        places_otherwise(&self.rules, self.ads.iter())
    }

    /// The candidates of a set of advertisements, given by their places, for VIPs of these families.
    pub(super) fn field(&mut self, places: Vec<usize>, families: Families) -> Arc<Field> {
        let key = (places, families);
        if let Some(field) = self.fields.get(&key) {
            return Arc::clone(field);
        }
        let field = Arc::new(self.new_field(&key.0, families));
        self.fields.insert(key, Arc::clone(&field));
        field
    }

    fn new_field(&mut self, places: &[usize], families: Families) -> Field {
        let ads: Vec<_> = places.iter().map(|i| Arc::clone(&self.ads[*i])).collect();
        let me = self.node(&self.me);
        let mut field = Field {
            here: me.and_then(|me| links(&ads, me)),
            candidates: self.candidates(&ads, families),
            unfit_here: None,
            ads,
            families,
        };
        field.unfit_here = self.why_not(&self.me, &field, None);
        field
    }

    fn candidates(&mut self, ads: &[Arc<L2Advertisement>], families: Families) -> Arc<Candidates> {
        let mut terms: Vec<Terms> = ads.iter().map(|ad| Terms::of(ad)).collect();
        terms.sort();
        terms.dedup_by(|terms, other| terms.repeats(other));
        let key = (terms, families);
        if let Some(candidates) = self.candidates.get(&key) {
            return Arc::clone(candidates);
        }
        let candidates = Arc::new(self.new_candidates(ads, families));
        self.candidates.insert(key, Arc::clone(&candidates));
        candidates
    }

    fn new_candidates(&self, ads: &[Arc<L2Advertisement>], families: Families) -> Candidates {
        let fit =
            |node: &&Arc<Node>| self.unfit(node).is_none() && self.can_answer(node, ads, families);
        let score = |node: &Arc<Node>| {
            let member = self.members.get(&node.name)?;
            let score = Score {
                is_held_down: member.is_held_down,
                weight: score(ads, node)?,
            };
            Some((node.name.clone(), score))
        };
        let scores: BTreeMap<_, _> = self.nodes.iter().filter(fit).filter_map(score).collect();
        let mut tiers: BTreeMap<_, BTreeSet<NodeName>> = BTreeMap::new();
        for (node, score) in &scores {
            tiers
                .entry(Reverse(*score))
                .or_default()
                .insert(node.clone());
        }
        let mut tiers = tiers.into_values();
        Candidates {
            best: tiers.next().unwrap_or_default(),
            next: tiers.take(LINE - 1).collect(),
            scores,
        }
    }

    /// Whether the node's speaker says that it can answer for these families on links that the advertisements select.
    fn can_answer(&self, node: &Node, ads: &[Arc<L2Advertisement>], families: Families) -> bool {
        let (Some(member), Some(choice)) = (self.members.get(&node.name), links(ads, node)) else {
            return false;
        };
        member.can_answer(families, |link| choice.has(link))
    }

    /// Who does not answer for a group.
    pub(super) fn silent(&self, group: GroupKey) -> Option<&BTreeSet<NodeName>> {
        self.members.shunned.get(&group)
    }

    fn node(&self, name: &NodeName) -> Option<&Arc<Node>> {
        let at = self.nodes.binary_search_by(|n| n.name.cmp(name)).ok()?;
        Some(&self.nodes[at])
    }

    /// Why a node can announce nothing at all.
    fn unfit(&self, node: &Node) -> Option<Unfit> {
        let Some(member) = self.members.get(&node.name) else {
            return Some(Unfit::Dead);
        };
        if member.is_draining {
            Some(Unfit::Draining)
        } else if let Some(ending) = node.ending {
            Some(Unfit::Ending(ending))
        } else if node.network_unavailable {
            Some(Unfit::NetworkUnavailable)
        } else if node.is_excluded() && !self.rules.ignores_exclude_label {
            Some(Unfit::Excluded)
        } else {
            None
        }
    }

    /// Why `name` is no candidate of `field`, for a service with endpoints on `hosts` (`None`: any node will do).
    pub(super) fn why_not(
        &self,
        name: &NodeName,
        field: &Field,
        hosts: Option<&BTreeSet<NodeName>>,
    ) -> Option<Unfit> {
        let Some(node) = self.node(name) else {
            return Some(Unfit::Unknown);
        };
        if score(&field.ads, node).is_none() {
            Some(Unfit::NotSelected)
        } else if let Some(unfit) = self.unfit(node) {
            Some(unfit)
        } else if !self.can_answer(node, &field.ads, field.families) {
            Some(Unfit::NoLink)
        } else if hosts.is_some_and(|hosts| !hosts.contains(name)) {
            Some(Unfit::NoLocalEndpoints)
        } else {
            None
        }
    }

    /// Names of all nodes and members.
    pub(super) fn everyone(&self) -> BTreeSet<NodeName> {
        let nodes = self.nodes.iter().map(|node| node.name.clone());
        nodes.chain(self.members.names().cloned()).collect()
    }
}

/// Whether both are the same objects in the same versions.
pub(super) fn same<'a, T: 'a>(
    ours: &[Arc<T>],
    theirs: impl ExactSizeIterator<Item = &'a Arc<T>>,
) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| Arc::ptr_eq(a, b))
}

/// Whether by the rules or by some advertisement a group may be elsewhere than with the first in the order, so that it matters who holds it.
pub(crate) fn places_otherwise<'a>(
    rules: &Rules,
    mut ads: impl Iterator<Item = &'a Arc<L2Advertisement>>,
) -> bool {
    let is_otherwise = |placement| placement != Placement::First;
    is_otherwise(rules.placement) || ads.any(|ad| ad.placement().is_some_and(is_otherwise))
}

/// By name or by label, united; an advertisement with neither is for every pool.
pub(crate) fn serves(names: &BTreeSet<String>, selectors: &[Selector], pool: &Pool) -> bool {
    if names.is_empty() && selectors.is_empty() {
        return true;
    }
    names.contains(&pool.name) || selectors.iter().any(|s| s.matches(&pool.labels))
}

/// The weights of all preferences that match, over the advertisements that select the node; `None`: none does.
fn score(ads: &[Arc<L2Advertisement>], node: &Node) -> Option<u32> {
    ads.iter()
        .filter(|ad| any_matches(&ad.node_selectors, &node.labels))
        .map(|ad| {
            ad.preferred_nodes
                .iter()
                .filter(|p| p.selector.matches(&node.labels))
                .map(|p| p.weight)
                .fold(0_u32, u32::saturating_add)
        })
        .reduce(u32::saturating_add)
}

/// The union over the advertisements that select the node; one without `interfaces` means all.
fn links(ads: &[Arc<L2Advertisement>], node: &Node) -> Option<LinkChoice> {
    ads.iter()
        .filter(|ad| any_matches(&ad.node_selectors, &node.labels))
        .map(|ad| {
            if ad.interfaces.is_empty() {
                LinkChoice::All
            } else {
                let names = ad.interfaces.iter();
                LinkChoice::Named(names.map(|name| LinkName::from(name.as_str())).collect())
            }
        })
        .reduce(LinkChoice::union)
}

impl LinkChoice {
    /// Whatever either chooses.
    pub(super) fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Named(mut a), Self::Named(b)) => {
                a.extend(b);
                Self::Named(a)
            }
            (Self::All, _) | (_, Self::All) => Self::All,
        }
    }

    /// The names of which it is made; none: all.
    pub(super) fn listed(&self) -> Vec<LinkName> {
        match self {
            Self::All => Vec::new(),
            Self::Named(names) => names.iter().cloned().collect(),
        }
    }

    /// Whether it chooses the link.
    pub(super) fn has(&self, link: &LinkName) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(link),
        }
    }
}
