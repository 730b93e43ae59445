//! What the decisions about all services have in common as far as BGP is concerned, worked out once: sessions, which peers are told
//! the same, and what each set of advertisements says.

use super::peer::{Obstacle, PeerName, PeerSettings};
use super::session;
use super::terms::{Ad, Clash, Terms};
use crate::config::{self, Unready, community_names};
use crate::crd::{
    AddressRange, BfdProfile, BgpAdvertisement, BgpPeer, Community, CommunityValue, Pool,
};
use crate::key::{Kind, ObjectKey};
use crate::local::Local;
use crate::node::Node;
use crate::peering::BgpType;
use crate::plan::Unfit;
use crate::plan::setting::{same, serves};
use crate::problem::Problem;
use crate::selector::any_matches;
use crate::service::Service;
use crate::world::World;
use speaker_proto::bgp::{Attributes, Family};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Everything but services and their endpoints, and what follows from it.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) local: Local,
    node: Option<Arc<Node>>,
    peers: Vec<Arc<BgpPeer>>,
    /// As the objects stand.
    written: Vec<Arc<BgpAdvertisement>>,
    /// As they are in force: where a name of a community has no value, as they were when all had some.
    ads: Vec<Arc<BgpAdvertisement>>,
    /// By advertisement: why it is not in force as it stands.
    unready: Vec<Option<Unready>>,
    communities: Vec<Arc<Community>>,
    profiles: Vec<Arc<BfdProfile>>,
    pools: Vec<Arc<Pool>>,
    /// The peers of this node.
    pub(super) sessions: BTreeMap<PeerName, Result<Arc<PeerSettings>, Obstacle>>,
    /// The same peers, those together that are told the same.
    pub(super) audiences: Vec<Audience>,
    pub(super) problems: Vec<Problem>,
    /// By pool: its advertisements.
    by_pool: BTreeMap<String, Vec<Ad>>,
    /// By advertisement: what it says, or why nothing yet; `None`: it does not select this node.
    terms: Vec<Option<Result<Terms, Unready>>>,
    /// By advertisements that make one route.
    lots: BTreeMap<Vec<Ad>, Result<Arc<Lot>, Clash>>,
    /// By audiences: their peers.
    told: BTreeMap<BTreeSet<usize>, Arc<BTreeSet<PeerName>>>,
    store: Store,
}

/// Peers that are told the same.
#[derive(Clone, Debug)]
pub(super) struct Audience {
    pub(super) peers: Vec<PeerName>,
    pub(super) families: BTreeSet<Family>,
    /// The advertisements that are for them.
    pub(super) ads: BTreeSet<Ad>,
}

/// What a set of advertisements says of a route that all of them make.
#[derive(Clone, Debug)]
pub(super) struct Lot {
    pub(super) terms: Terms,
    /// What peers are told; `None`: it depends on the endpoints.
    pub(super) attributes: Option<Arc<Attributes>>,
}

/// Attributes in use, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Store(BTreeSet<Arc<Attributes>>);

impl Store {
    /// The one that says the same.
    pub(super) fn share(&mut self, attributes: Attributes) -> Arc<Attributes> {
        if let Some(shared) = self.0.get(&attributes) {
            return Arc::clone(shared);
        }
        let shared = Arc::new(attributes);
        self.0.insert(Arc::clone(&shared));
        shared
    }

    /// Forgets what nobody uses any more.
    pub(super) fn clear(&mut self) {
        self.0
            .retain(|attributes| Arc::strong_count(attributes) > 1);
    }
}

impl Setting {
    /// `store` is that of the setting before.
    pub(super) fn new(world: &World, local: &Local, store: Store) -> Self {
        let node = world.nodes.get(&local.node).cloned();
        let written: Vec<_> = world.bgp_advertisements.values().cloned().collect();
        let names = community_names(world);
        let in_force = |ad: &Arc<BgpAdvertisement>| match config::communities(ad, &names) {
            Ok(_) => (Arc::clone(ad), None),
            Err(unready) => {
                let before = world.settled.get(&ad.name).unwrap_or(ad);
                (Arc::clone(before), Some(unready))
            }
        };
        let (ads, unready): (Vec<_>, Vec<_>) = written.iter().map(in_force).unzip();
        let by_pool = world.pools.iter().map(|(name, pool)| {
            let serves = |ad: &BgpAdvertisement| serves(&ad.pools, &ad.pool_selectors, pool);
            let serving = (0..ads.len()).filter(|ad| serves(&ads[*ad]));
            (name.clone(), serving.collect())
        });
        let mut setting = Self {
            local: local.clone(),
            peers: world.bgp_peers.values().cloned().collect(),
            communities: world.communities.values().cloned().collect(),
            profiles: world.bfd_profiles.values().cloned().collect(),
            pools: world.pools.values().cloned().collect(),
            sessions: session::sessions(world, local),
            audiences: Vec::new(),
            problems: Vec::new(),
            by_pool: by_pool.collect(),
            terms: Vec::new(),
            lots: BTreeMap::new(),
            told: BTreeMap::new(),
            node,
            written,
            ads,
            unready,
            store,
        };
        setting.terms = setting.all_terms(&names);
        setting.audiences = setting.all_audiences();
        setting.problems = setting.all_problems(world);
        setting
    }

    /// Whether it is still the one of these.
    pub(super) fn is_of(&self, world: &World, local: &Local) -> bool {
        let is_same_node = match (&self.node, world.nodes.get(&local.node)) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        is_same_node
            && self.local.node == local.node
            && self.local.rules == local.rules
            && self.local.is_finding == local.is_finding
            && self.local.bgp_type == local.bgp_type
            && self.local.foreign == local.foreign
            && same(&self.peers, world.bgp_peers.values())
            && same(&self.written, world.bgp_advertisements.values())
            && same(&self.communities, world.communities.values())
            && same(&self.profiles, world.bfd_profiles.values())
            && same(&self.pools, world.pools.values())
    }

    fn all_terms(
        &self,
        names: &BTreeMap<&str, CommunityValue>,
    ) -> Vec<Option<Result<Terms, Unready>>> {
        let of = |(ad, raw): (Ad, &Arc<BgpAdvertisement>)| {
            let node = self.node.as_ref()?;
            let is_here = any_matches(&raw.node_selectors, &node.labels);
            is_here.then(|| Terms::of(raw, ad, names))
        };
        self.ads.iter().enumerate().map(of).collect()
    }

    fn all_audiences(&self) -> Vec<Audience> {
        let mut groups: BTreeMap<_, Vec<PeerName>> = BTreeMap::new();
        for raw in &self.peers {
            let name = PeerName::from(raw.name.as_str());
            if self.sessions.contains_key(&name) {
                let is_for = |ad: &Ad| {
                    let peers = &self.ads[*ad].peers;
                    self.terms[*ad].is_some() && (peers.is_empty() || peers.contains(&raw.name))
                };
                let ads: BTreeSet<Ad> = (0..self.ads.len()).filter(is_for).collect();
                let key = (session::families(raw), ads);
                groups.entry(key).or_default().push(name);
            }
        }
        let audience = |((families, ads), peers)| Audience {
            peers,
            families,
            ads,
        };
        groups.into_iter().map(audience).collect()
    }

    fn all_problems(&self, world: &World) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, session) in &self.sessions {
            if let (Err(obstacle), Some(peer)) = (session, world.bgp_peers.get(&*name.0)) {
                problems.extend(session::problem(peer, obstacle));
            }
        }
        for (ad, terms) in self.terms.iter().enumerate() {
            let Some(terms) = terms else { continue };
            let raw = &self.ads[ad];
            let mut tell = |field: &str, why: String| problems.push(problem(raw, field, why));
            if let Some(unready) = &self.unready[ad] {
                let meanwhile = match terms {
                    Ok(_) => BEFORE,
                    Err(_) => NOTHING,
                };
                tell("spec.communities", unready.words(meanwhile));
            }
            let unknown = raw
                .peers
                .iter()
                .filter(|p| !world.bgp_peers.contains_key(*p));
            for peer in unknown {
                tell("spec.peers", format!("there is no BGPPeer {peer}"));
            }
            for (pool, range) in self.overreached(ad) {
                let (field, length) = match range.first.is_ipv4() {
                    true => ("spec.aggregationLength", raw.aggregation_length),
                    false => ("spec.aggregationLengthV6", raw.aggregation_length_v6),
                };
                let why = format!("{length} reaches past {range} of IPAddressPool {pool}");
                tell(field, why);
            }
        }
        problems
    }

    /// Ranges of pools past which an advertisement's prefixes reach.
    fn overreached(&self, ad: Ad) -> impl Iterator<Item = (&str, AddressRange)> {
        let serving = move |pool: &&Arc<Pool>| self.by_pool[&pool.name].contains(&ad);
        let pools = self.pools.iter().filter(serving);
        let ranges = pools.flat_map(|pool| pool.ranges.iter().map(|r| (pool.name.as_str(), *r)));
        ranges.filter(move |(_, range)| self.length(ad, range.first) < least_length(range))
    }

    /// The length of the prefix in which an advertisement announces an address.
    pub(super) fn length(&self, ad: Ad, ip: IpAddr) -> u8 {
        match Family::of(ip) {
            Family::V4 => self.ads[ad].aggregation_length,
            Family::V6 => self.ads[ad].aggregation_length_v6,
        }
    }

    /// The range of a pool that an address is from, if a prefix of this length would reach past it.
    pub(super) fn overreach(&self, pool: &str, ip: IpAddr, length: u8) -> Option<AddressRange> {
        if length >= Family::of(ip).bits() {
            return None;
        }
        let at = self
            .pools
            .binary_search_by(|p| p.name.as_str().cmp(pool))
            .ok()?;
        let range = self.pools[at]
            .ranges
            .iter()
            .find(|range| range.contains(ip))?;
        (length < least_length(range)).then_some(*range)
    }

    /// The advertisements of a pool, on whichever nodes.
    pub(super) fn advertisements(&self, pool: &str) -> &[Ad] {
        self.by_pool.get(pool).map_or(&[], Vec::as_slice)
    }

    /// What an advertisement says; `None`: it does not select this node.
    pub(super) fn terms(&self, ad: Ad) -> Option<&Result<Terms, Unready>> {
        self.terms[ad].as_ref()
    }

    /// Whether an advertisement is for a service with these labels.
    pub(super) fn selects(&self, ad: Ad, service: &Service) -> bool {
        any_matches(&self.ads[ad].service_selectors, &service.labels)
    }

    /// The name of an advertisement.
    pub(super) fn name(&self, ad: Ad) -> &str {
        &self.ads[ad].name
    }

    /// Why this node can announce nothing by BGP. Who drains or ends keeps its routes here: how they go is its sessions' affair.
    pub(super) fn unfit(&self) -> Option<Unfit> {
        let Some(node) = &self.node else {
            return Some(Unfit::Unknown);
        };
        if node.network_unavailable {
            Some(Unfit::NetworkUnavailable)
        } else if node.is_excluded() && !self.local.rules.ignores_exclude_label {
            Some(Unfit::Excluded)
        } else {
            None
        }
    }

    /// What advertisements that make one route say of it together. None of them may be unready.
    pub(super) fn lot(&mut self, ads: Vec<Ad>) -> Result<Arc<Lot>, Clash> {
        if let Some(lot) = self.lots.get(&ads) {
            return lot.clone();
        }
        let ready = ads
            .iter()
            .filter_map(|ad| self.terms[*ad].as_ref()?.as_ref().ok());
        let united = ready.map(|terms| Ok(terms.clone()));
        let united = united.reduce(|all: Result<Terms, Clash>, next| all?.merged(&next?));
        let terms = united.expect("a route is made by an advertisement that is ready");
        let lot = terms.map(|terms| Arc::new(self.new_lot(terms)));
        self.lots.insert(ads, lot.clone());
        lot
    }

    fn new_lot(&mut self, terms: Terms) -> Lot {
        let attributes = (!terms.is_weighted()).then(|| self.attributes(&terms, 0));
        Lot { terms, attributes }
    }

    /// What peers are told, shared.
    pub(super) fn attributes(&mut self, terms: &Terms, endpoints: u32) -> Arc<Attributes> {
        let bgp_type: BgpType = self.local.bgp_type;
        self.store.share(terms.attributes(endpoints, bgp_type))
    }

    /// The peers of some audiences, shared.
    pub(super) fn told(&mut self, audiences: BTreeSet<usize>) -> Arc<BTreeSet<PeerName>> {
        if let Some(peers) = self.told.get(&audiences) {
            return Arc::clone(peers);
        }
        let peers = audiences
            .iter()
            .flat_map(|at| self.audiences[*at].peers.iter().cloned());
        let peers: Arc<BTreeSet<PeerName>> = Arc::new(peers.collect());
        self.told.insert(audiences, Arc::clone(&peers));
        peers
    }

    /// The store, for the setting after.
    pub(super) fn into_store(self) -> Store {
        self.store
    }

    /// Forgets attributes that nobody uses any more.
    pub(super) fn tidy(&mut self) {
        self.store.clear();
    }
}

/// What becomes of an advertisement that is not whole: one that never was.
pub(super) const NOTHING: &str = "it announces nothing";
/// And one that was.
const BEFORE: &str = "its version before stays in force";

/// The length of the prefix that the widest block of a range needs: a shorter one reaches past it.
fn least_length(range: &AddressRange) -> u8 {
    let host_bits = range
        .blocks()
        .map(|block| block.host_bits)
        .max()
        .unwrap_or(0);
    let bits = Family::of(range.first).bits();
    bits.saturating_sub(u8::try_from(host_bits).unwrap_or(u8::MAX))
}

fn problem(ad: &BgpAdvertisement, field: &str, why: String) -> Problem {
    Problem {
        object: ObjectKey::new(Kind::BgpAdvertisement, &ad.namespace, &ad.name),
        origin: "plan".into(),
        field: field.into(),
        why,
    }
}
