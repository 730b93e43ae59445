//! What stands between an object that is to be written and the others.
//!
//! Only clashes of the new object count: two older ones that clash with each other keep nobody from being written. A
//! clash that comes of a pool or a node that is written later is not seen here, as with MetalLB. The words that people and tools
//! look for are MetalLB's.

use crate::crd::{AddressRange, BgpAdvertisement, BgpPeer, Community, Cover, Pool, Remote};
use crate::key::{Kind, ObjectKey};
use crate::node::Node;
use crate::problem::Faults;
use crate::selector::{self, Selector};
use crate::world::World;
use std::sync::Arc;

/// Ranges that another pool has too.
pub(super) fn pools(pool: &Pool, world: &World) -> Faults {
    let mut faults = Faults::default();
    let own: Cover = pool.ranges.iter().copied().collect();
    for other in world.pools.values().filter(|other| !is_same(pool, other)) {
        let key = ObjectKey::new(Kind::Pool, &other.namespace, &other.name);
        for theirs in &other.ranges {
            if let Some(range) = own.overlapping(theirs) {
                let why = format!("{range} overlaps with already defined CIDR {theirs} of {key}");
                faults.push("spec.addresses", why);
            }
        }
    }
    faults
}

fn is_same(pool: &Pool, other: &Pool) -> bool {
    (&pool.namespace, &pool.name) == (&other.namespace, &other.name)
}

/// Names that another object gives to a community too.
pub(super) fn communities(community: &Community, world: &World) -> Faults {
    let mut faults = Faults::default();
    let id = |c: &Community| (c.namespace.clone(), c.name.clone());
    let others = world.communities.values();
    for other in others.filter(|other| id(other) != id(community)) {
        let key = ObjectKey::new(Kind::Community, &other.namespace, &other.name);
        let names = community.communities.keys();
        for name in names.filter(|name| other.communities.contains_key(*name)) {
            let why = format!("duplicate definition of community {name:?}, which {key} defines");
            faults.push("spec.communities", why);
        }
    }
    faults
}

/// BGPPeers that use a BFD profile which is to go.
pub(super) fn users_of_profile(name: &str, world: &World) -> Faults {
    let mut faults = Faults::default();
    let peers = world.bgp_peers.values();
    for peer in peers.filter(|peer| peer.bfd_profile.as_deref() == Some(name)) {
        let key = ObjectKey::new(Kind::BgpPeer, &peer.namespace, &peer.name);
        faults.push(
            "",
            format!("failed to delete: it is used by {key} in spec.bfdProfile"),
        );
    }
    faults
}

/// What two sessions from one node cannot both be: to one place in one VRF, with two router ids, with two AS numbers of ours
/// in one VRF.
pub(super) fn peers(peer: &BgpPeer, world: &World) -> Faults {
    let mut faults = Faults::default();
    let id = |p: &BgpPeer| (p.namespace.clone(), p.name.clone());
    let others = world
        .bgp_peers
        .values()
        .filter(|other| id(other) != id(peer));
    for other in others.filter(|other| can_meet(peer, other, world)) {
        let key = ObjectKey::new(Kind::BgpPeer, &other.namespace, &other.name);
        let is_one_vrf = peer.vrf == other.vrf;
        if is_one_vrf && is_same_place(&peer.remote, &other.remote) {
            let field = match peer.remote {
                Remote::Address { .. } => "spec.peerAddress",
                Remote::Interface(_) => "spec.interface",
            };
            let why = format!(
                "peer {} already exists: {key} has it, and duplicate BGPPeers selecting the same node cannot be",
                peer.remote
            );
            faults.push(field, why);
        }
        if peer.router_id != other.router_id {
            let why = format!(
                "peer {} has RouterID different from {}: {key} selects the same node, which has one router id only",
                peer.remote, other.remote
            );
            faults.push("spec.routerID", why);
        }
        if is_one_vrf && peer.my_asn != other.my_asn {
            let why = format!(
                "peer {} has myAsn different from {}: {key} selects the same node, which is in one AS within a VRF",
                peer.remote, other.remote
            );
            faults.push("spec.myASN", why);
        }
    }
    faults
}

/// Addresses are the same as they are written, as with MetalLB.
fn is_same_place(a: &Remote, b: &Remote) -> bool {
    match (a, b) {
        (Remote::Address { written: a, .. }, Remote::Address { written: b, .. })
        | (Remote::Interface(a), Remote::Interface(b)) => a == b,
        (Remote::Address { .. }, Remote::Interface(_))
        | (Remote::Interface(_), Remote::Address { .. }) => false,
    }
}

/// Whether a node has both for peers; without any node, one might come.
fn can_meet(a: &BgpPeer, b: &BgpPeer, world: &World) -> bool {
    world.nodes.is_empty() || has_both(&a.node_selectors, &b.node_selectors, world)
}

fn has_both(a: &[Selector], b: &[Selector], world: &World) -> bool {
    let selects =
        |selectors: &[Selector], node: &Node| selector::any_matches(selectors, &node.labels);
    let mut nodes = world.nodes.values();
    nodes.any(|node| selects(a, node) && selects(b, node))
}

/// Prefixes too short for a pool, and another LOCAL_PREF for the same route to the same peer from the same node.
pub(super) fn advertisements(new: &BgpAdvertisement, world: &World) -> Faults {
    let mut faults = Faults::default();
    for pool in world.pools.values().filter(|pool| announces(new, pool)) {
        too_short(new, pool, &mut faults);
    }
    let id = |a: &BgpAdvertisement| (a.namespace.clone(), a.name.clone());
    let others = world.bgp_advertisements.values();
    for other in others.filter(|other| id(other) != id(new)) {
        if let Some(pool) = clash(new, other, world) {
            let key = ObjectKey::new(Kind::BgpAdvertisement, &other.namespace, &other.name);
            let why = format!(
                "invalid local preference {}: {} was already set by {key} for pool {:?}, with a common aggregation length, peer and node",
                new.local_pref, other.local_pref, pool.name
            );
            faults.push("spec.localPref", why);
        }
    }
    faults
}

fn announces(advertisement: &BgpAdvertisement, pool: &Pool) -> bool {
    let (names, selectors) = (&advertisement.pools, &advertisement.pool_selectors);
    if names.is_empty() && selectors.is_empty() {
        return true;
    }
    let is_selected = |selector: &Selector| selector.matches(&pool.labels);
    names.contains(&pool.name) || selectors.iter().any(is_selected)
}

/// An aggregated prefix may not reach past a range: it must be at least as long as that of the range's widest block.
fn too_short(advertisement: &BgpAdvertisement, pool: &Pool, faults: &mut Faults) {
    let key = ObjectKey::new(Kind::Pool, &pool.namespace, &pool.name);
    for range in &pool.ranges {
        let (field, bits, length) = match range.first.is_ipv4() {
            true => ("aggregationLength", 32, advertisement.aggregation_length),
            false => (
                "aggregationLengthV6",
                128,
                advertisement.aggregation_length_v6,
            ),
        };
        let widest = bits - widest_block(range);
        if widest > u32::from(length) {
            let why = format!(
                "invalid aggregation length {length}: prefix {widest} is more specific, which {range} of {key} needs"
            );
            faults.push(format!("spec.{field}"), why);
        }
    }
}

/// The host bits of the widest block of a range.
fn widest_block(range: &AddressRange) -> u32 {
    let blocks = range.blocks().map(|block| block.host_bits);
    blocks.max().unwrap_or(0)
}

/// A pool of which both say the same route with another LOCAL_PREF. Those for chosen services only may well differ.
fn clash<'w>(
    a: &BgpAdvertisement,
    b: &BgpAdvertisement,
    world: &'w World,
) -> Option<&'w Arc<Pool>> {
    let is_for_all = a.service_selectors.is_empty() && b.service_selectors.is_empty();
    let is_peer_shared = a.peers.is_empty() || b.peers.is_empty() || !a.peers.is_disjoint(&b.peers);
    if a.local_pref == b.local_pref || !is_for_all || !is_peer_shared {
        return None;
    }
    if !has_both(&a.node_selectors, &b.node_selectors, world) {
        return None;
    }
    let is_length_shared = |range: &AddressRange| match range.first.is_ipv4() {
        true => a.aggregation_length == b.aggregation_length,
        false => a.aggregation_length_v6 == b.aggregation_length_v6,
    };
    let mut pools = world.pools.values();
    pools.find(|pool| {
        announces(a, pool) && announces(b, pool) && pool.ranges.iter().any(is_length_shared)
    })
}
