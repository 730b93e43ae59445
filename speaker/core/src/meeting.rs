//! Where other speakers may be found, and what this node says of itself to them.
//!
//! Nodes' addresses come from their objects (`docs/layer2.md`, "Membership"): all of them, since a speaker may be heard on one
//! family and not on the other. Speakers never meet over a VIP, which is somewhere else tomorrow, nor over a link-local
//! address, which means nothing on another link. Knows nothing of sockets or of when anything is sent.

use crate::allocator::Assignments;
use crate::local::{Local, Rules};
use crate::node::Node;
use crate::service::{Service, ServiceId};
use crate::world::World;
use speaker_proto::gossip::MEMBERS_MAX;
use speaker_proto::member::{ADDRESSES_MAX, LINKS_MAX, MACS_MAX, Profile};
use speaker_proto::shared_map::SharedMap;
use speaker_proto::{Mac, NodeName};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Where the speakers of the other nodes may be heard: at most [`ADDRESSES_MAX`] addresses of each node, of [`MEMBERS_MAX`] nodes.
pub fn seeds(world: &World, me: &NodeName, port: u16) -> BTreeSet<SocketAddr> {
    let vips = vips(world);
    let own: BTreeSet<IpAddr> = addresses(world, &vips, me).collect();
    let others = world.nodes.keys().filter(|name| *name != me);
    others
        .take(MEMBERS_MAX)
        .flat_map(|name| addresses(world, &vips, name).take(ADDRESSES_MAX))
        .filter(|ip| !own.contains(ip))
        .map(|ip| SocketAddr::new(ip, port))
        .collect()
}

/// Where this node's own speaker is heard: `only` there, or on every address that its object has; at most [`ADDRESSES_MAX`].
pub fn own_addresses(
    world: &World,
    me: &NodeName,
    only: Option<IpAddr>,
    port: u16,
) -> Vec<SocketAddr> {
    let vips = vips(world);
    let ips: Vec<IpAddr> = match only {
        Some(ip) => vec![ip],
        None => addresses(world, &vips, me).take(ADDRESSES_MAX).collect(),
    };
    ips.into_iter()
        .map(|ip| SocketAddr::new(ip, port))
        .collect()
}

/// What addresses to meet at depend on in the world, as it was at some time: objects of other kinds change much more often.
#[derive(Clone, Debug)]
pub struct Ground {
    nodes: SharedMap<NodeName, Arc<Node>>,
    services: SharedMap<ServiceId, Arc<Service>>,
    assignments: Option<Arc<Assignments>>,
}

impl Ground {
    /// That of a world.
    pub fn of(world: &World) -> Self {
        Self {
            nodes: world.nodes.clone(),
            services: world.services.clone(),
            assignments: world.assignments.clone(),
        }
    }

    /// Whether [`seeds`] and [`own_addresses`] of a world are as they were.
    pub fn is_of(&self, world: &World) -> bool {
        let given = |assignments: &Option<Arc<Assignments>>| assignments.as_ref().map(Arc::as_ptr);
        self.nodes.is_same_version(&world.nodes)
            && self.services.is_same_version(&world.services)
            && given(&self.assignments) == given(&world.assignments)
    }
}

/// What this node says of itself, but for its secret, which is not known here. Its links' own hardware addresses come first, so that they are there when `macs` are too many.
pub fn profile(
    local: &Local,
    addresses: Vec<SocketAddr>,
    macs: &BTreeSet<Mac>,
    is_stale: bool,
) -> Profile {
    let mut links = local.member_links();
    links.truncate(LINKS_MAX);
    let mut all: Vec<Mac> = Vec::new();
    let of_links = links.iter().map(|link| link.mac);
    for mac in of_links.chain(macs.iter().copied()) {
        if !all.contains(&mac) && all.len() < MACS_MAX {
            all.push(mac);
        }
    }
    Profile {
        name: local.node.clone(),
        addresses,
        links,
        macs: all,
        is_draining: local.is_draining,
        is_stale,
        rules: rules_hash(&local.rules),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        key: None,
        newcomers: local.newcomers.clone(),
    }
}

/// A hash of the settings that must be the same on every node: nodes that differ in it elect differently.
pub fn rules_hash(rules: &Rules) -> u64 {
    let Rules {
        election,
        placement,
        class,
        ignores_exclude_label,
    } = rules;
    let class = class.as_deref().unwrap_or_default();
    xxh3_64(format!("{election} {placement} {class} {ignores_exclude_label}").as_bytes())
}

/// Addresses of a node over which speakers may meet.
fn addresses<'a>(
    world: &'a World,
    vips: &'a BTreeSet<IpAddr>,
    name: &NodeName,
) -> impl Iterator<Item = IpAddr> + 'a {
    let node = world.nodes.get(name).into_iter();
    let addresses = node.flat_map(|node| node.addresses.iter().copied());
    addresses.filter(|ip| can_be_met(*ip) && !vips.contains(ip))
}

fn can_be_met(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !is_link_local && !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast()
}

fn vips(world: &World) -> BTreeSet<IpAddr> {
    let shown = world.services.values();
    let shown = shown.flat_map(|service| service.ingress.iter().flatten().copied());
    let given = world.assignments.iter().flat_map(|given| given.values());
    let given = given.flat_map(|assignment| assignment.ips.iter().copied());
    shown.chain(given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election::{Election, Placement};
    use crate::key::{Kind, ObjectKey};
    use crate::link::Link;
    use crate::node::Namespace;
    use crate::object::Object;

    fn world(nodes: &[(&str, &[&str])]) -> World {
        let mut world = World::default();
        for (name, addresses) in nodes {
            let addresses = addresses.iter().map(|ip| ip.parse().unwrap());
            world.put(Ok(Object::Node(Node {
                name: name.parse().unwrap(),
                labels: [].into(),
                addresses: addresses.collect(),
                network_unavailable: false,
                ending: None,
            })));
        }
        world
    }

    fn me() -> NodeName {
        "n1".parse().unwrap()
    }

    fn texts<'a>(addresses: impl IntoIterator<Item = &'a SocketAddr>) -> Vec<String> {
        addresses.into_iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_to_meet_at_stay_while_nodes_and_services_do() {
        let mut world = world(&[("n1", &["192.0.2.1"])]);
        let ground = Ground::of(&world);
        world.synced(Kind::EndpointSlice);
        world.put(Ok(Object::Namespace(Namespace {
            name: "web".into(),
            labels: [].into(),
        })));
        assert!(ground.is_of(&world));
        let mut given = world.clone();
        given.assignments = Some(Arc::default());
        assert!(!ground.is_of(&given), "an address that was given is a VIP");
        assert!(Ground::of(&given).is_of(&given));
        world.gone(&ObjectKey::new(Kind::Node, "", "n1"));
        assert!(!ground.is_of(&world));
    }

    #[test]
    fn speakers_meet_on_every_address_of_other_nodes() {
        let world = world(&[
            ("n1", &["192.0.2.1", "2001:db8::1"]),
            ("n2", &["192.0.2.2", "2001:db8::2"]),
            ("n3", &["192.0.2.3", "192.0.2.1"]),
        ]);
        let seeds = seeds(&world, &me(), 7946);
        let expected = ["192.0.2.2:7946", "192.0.2.3:7946", "[2001:db8::2]:7946"];
        assert_eq!(texts(&seeds), expected);
        let own = own_addresses(&world, &me(), None, 7946);
        assert_eq!(texts(&own), ["192.0.2.1:7946", "[2001:db8::1]:7946"]);
        let only = own_addresses(&world, &me(), Some([192, 0, 2, 9].into()), 7);
        assert_eq!(texts(&only), ["192.0.2.9:7"]);
    }

    #[test]
    fn speakers_never_meet_over_a_vip_or_a_link_local_address() {
        let mut world = world(&[
            ("n1", &["192.0.2.1", "192.0.2.100", "fe80::1"]),
            (
                "n2",
                &["192.0.2.100", "169.254.0.2", "fe80::2", "::1", "192.0.2.2"],
            ),
        ]);
        let text = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "default"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.100"}]}}}"#;
        let read = crate::manifest::read("a.json", text, crate::manifest::DEFAULT_NAMESPACE);
        for object in read.objects {
            world.put(object);
        }
        assert_eq!(world.services.len(), 1, "{:?}", world.problems);
        assert_eq!(texts(&seeds(&world, &me(), 1)), ["192.0.2.2:1"]);
        let own = own_addresses(&world, &me(), None, 1);
        assert_eq!(texts(&own), ["192.0.2.1:1"]);
    }

    fn link(last: u8, is_up: bool) -> Link {
        Link {
            ifindex: last.into(),
            mac: Mac([2, 0, 0, 0, 1, last]),
            is_up,
            has_carrier: true,
            has_arp: true,
            has_ndp: false,
            below: None,
        }
    }

    #[test]
    fn a_profile_has_the_links_that_can_answer_and_every_hardware_address() {
        let mut local = Local::new(me());
        local.links.insert("eth0".into(), link(9, true));
        local.links.insert("eth1".into(), link(2, false));
        let macs = [2, 9].map(|last| Mac([2, 0, 0, 0, 1, last])).into();
        let profile = profile(&local, Vec::new(), &macs, true);
        let names: Vec<&str> = profile.links.iter().map(|link| &*link.name).collect();
        assert_eq!(names, ["eth0"]);
        let expected = [9, 2].map(|last| Mac([2, 0, 0, 0, 1, last]));
        assert_eq!(profile.macs, expected);
        assert!(profile.is_stale && !profile.is_draining);
    }

    #[test]
    fn too_many_hardware_addresses_leave_those_of_the_links() {
        let mut local = Local::new(me());
        local.links.insert("eth0".into(), link(0xff, true));
        let macs: BTreeSet<Mac> = (0..200).map(|last| Mac([0, 0, 0, 0, 1, last])).collect();
        let profile = profile(&local, Vec::new(), &macs, false);
        assert_eq!(profile.macs.len(), MACS_MAX);
        assert_eq!(profile.macs[0], Mac([2, 0, 0, 0, 1, 0xff]));
    }

    #[test]
    fn every_rule_counts_in_the_hash() {
        let usual = rules_hash(&Rules::default());
        let others = [
            Rules {
                election: Election::Xxh3,
                ..Rules::default()
            },
            Rules {
                placement: Placement::Sticky,
                ..Rules::default()
            },
            Rules {
                class: Some("example.com/lb".to_owned()),
                ..Rules::default()
            },
            Rules {
                ignores_exclude_label: true,
                ..Rules::default()
            },
        ];
        let mut hashes: BTreeSet<u64> = others.iter().map(rules_hash).collect();
        hashes.insert(usual);
        assert_eq!(hashes.len(), 5);
        assert_eq!(usual, rules_hash(&Rules::default()));
    }
}
