//! Which nodes are reached from this one whatever lies between, and what may come here so.
//!
//! A packet goes to a node on another segment inside one of ours, from a node address to a node address of the same family. Only members
//! that are heard count: one that is not is dead within half a second (L3.1 of `docs/layer2.md`). Which services ask for it stands on
//! their advertisements, and in [`super::steering`] what follows.

use super::Memo;
use super::demand::Demand;
use super::steering::addresses;
use crate::local::Local;
use crate::node::EXCLUDE_LABEL;
use crate::steering::{Ends, Far, Overlay};
use crate::world::World;
use speaker_proto::NodeName;
use speaker_proto::member::{Member, Roster};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The addresses of services that ask to be spread over segments, as of the last plan.
pub fn beyond(memo: &Memo) -> BTreeSet<IpAddr> {
    let demands = memo.demands.asking.iter();
    let demands = demands.map(|i| &memo.demands.list[*i]);
    let asking = demands.filter(|demand| demand.is_beyond);
    asking
        .flat_map(|demand| demand.vips.iter().map(|vip| vip.0))
        .collect()
}

/// How nodes are reached, where packets for these addresses may go to other segments; nothing where there are none.
pub fn overlay(world: &World, local: &Local, roster: &Roster, vips: BTreeSet<IpAddr>) -> Overlay {
    if vips.is_empty() {
        return Overlay::default();
    }
    let own = own_addresses(world, &local.node);
    let mut overlay = Overlay {
        own: own.iter().copied().collect(),
        vips,
        ..Overlay::default()
    };
    for member in roster.members.values() {
        let name = &member.profile.name;
        if *name == local.node {
            continue;
        }
        let theirs = addresses(world, &member.profile);
        overlay.members.extend(theirs.iter().copied());
        if !member.is_alive() {
            continue;
        }
        // Addresses of its object come first: others route by them.
        let listed = own_addresses(world, name);
        let theirs: Vec<IpAddr> = listed.into_iter().chain(theirs).collect();
        let ends = |is_v4| {
            let from = first(&own, is_v4)?;
            Some(Ends {
                from,
                to: first(&theirs, is_v4)?,
            })
        };
        let far = Far {
            v4: ends(true),
            v6: ends(false),
            is_fit: is_fit(world, local, member),
        };
        overlay.nodes.insert(name.clone(), far);
    }
    overlay
}

/// The addresses of a node's object, in its order.
fn own_addresses(world: &World, name: &NodeName) -> Vec<IpAddr> {
    let node = world.nodes.get(name);
    node.map(|node| node.addresses.clone()).unwrap_or_default()
}

fn first(addresses: &[IpAddr], is_v4: bool) -> Option<IpAddr> {
    let mut addresses = addresses.iter();
    addresses
        .find(|address| address.is_ipv4() == is_v4)
        .copied()
}

/// Whether new connections may go to a node that is no candidate of an advertisement.
fn is_fit(world: &World, local: &Local, member: &Member) -> bool {
    let Some(node) = world.nodes.get(&member.profile.name) else {
        return false;
    };
    let is_excluded = node.labels.contains_key(EXCLUDE_LABEL) && !local.rules.ignores_exclude_label;
    !member.profile.is_draining
        && node.ending.is_none()
        && !node.network_unavailable
        && !is_excluded
}

/// Whether a node may serve a service from another segment: it may announce it, or has endpoints of it and is fit.
pub(super) fn may_serve(demand: &Demand, node: &NodeName, overlay: &Overlay) -> bool {
    let far = overlay.nodes.get(node);
    demand.is_beyond && demand.hosts.is_some() && far.is_some_and(|far| far.is_fit)
}
