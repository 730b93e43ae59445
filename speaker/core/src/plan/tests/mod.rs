//! Fixtures of the tests of the planner, and the tests by area.

mod announce;
mod bgp;
mod groups;
mod heirs;
mod memo;
mod moves;
mod options;
mod placement;
mod reasons;
mod routes;
mod socket;
mod steering;

use super::*;
use crate::crd::{AddressRange, L2Advertisement, Pool};
use crate::link::Link;
use crate::members::Fitness;
use crate::node::Node;
use crate::object::Object;
use crate::service::{
    Endpoint, EndpointSlice, Family, FamilyPolicy, Protocol, Service, ServicePort, TrafficPolicy,
};
use speaker_proto::member::MemberLink;
use speaker_proto::{Mac, NodeName};

fn id(name: &str) -> ServiceId {
    ServiceId {
        namespace: "default".into(),
        name: name.into(),
    }
}

fn service(name: &str, ips: &[&str]) -> Service {
    Service {
        id: id(name),
        uid: String::new(),
        created: None,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        is_load_balancer: true,
        class: None,
        cluster_ips: Vec::new(),
        families: vec![Family::V4],
        family_policy: FamilyPolicy::SingleStack,
        policy: TrafficPolicy::Cluster,
        is_by_client: false,
        load_balancer_ip: None,
        source_ranges: Vec::new(),
        ports: Vec::new(),
        selector: BTreeMap::new(),
        ingress: ips
            .iter()
            .map(|ip| ip.parse().map_err(|_| (*ip).to_owned()))
            .collect(),
        proxied: BTreeSet::new(),
    }
}

fn slice(service: &str, nodes: &[&str]) -> EndpointSlice {
    let endpoint = |node: &&str| Endpoint {
        addresses: vec!["10.0.0.1".parse().unwrap()],
        node: Some(node.parse().unwrap()),
        can_serve: true,
        is_ready: true,
    };
    EndpointSlice {
        namespace: "default".into(),
        name: format!("{service}-1"),
        service: id(service),
        endpoints: nodes.iter().map(endpoint).collect(),
        ports: Vec::new(),
    }
}

fn node(name: &str) -> Node {
    Node {
        name: name.parse().unwrap(),
        labels: BTreeMap::new(),
        addresses: Vec::new(),
        network_unavailable: false,
        ending: None,
    }
}

fn pool() -> Pool {
    let range = |first: &str, last: &str| AddressRange {
        first: first.parse().unwrap(),
        last: last.parse().unwrap(),
    };
    Pool {
        name: "main".into(),
        namespace: "metallb-system".into(),
        created: None,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        ranges: vec![
            range("192.0.2.0", "192.0.2.255"),
            range("2001:db8::", "2001:db8::ffff"),
        ],
        auto_assign: true,
        avoid_buggy_ips: false,
        allocation: None,
    }
}

fn advertisement() -> L2Advertisement {
    L2Advertisement {
        name: "all".into(),
        namespace: "metallb-system".into(),
        annotations: BTreeMap::new(),
        pools: BTreeSet::new(),
        pool_selectors: Vec::new(),
        node_selectors: Vec::new(),
        interfaces: BTreeSet::new(),
        service_selectors: Vec::new(),
        preferred_nodes: Vec::new(),
    }
}

/// Endpoints on these nodes only, and nobody else may announce.
fn local_policy(mut service: Service) -> Service {
    service.policy = TrafficPolicy::Local;
    service
}

/// With a sharing key and a port.
fn sharing(mut service: Service, key: &str, port: u16) -> Service {
    let annotation = "metallb.io/allow-shared-ip".to_owned();
    service.annotations.insert(annotation, key.to_owned());
    service.ports = vec![ServicePort {
        name: String::new(),
        protocol: Protocol::Tcp,
        port,
    }];
    service
}

/// Three nodes, one pool, one advertisement for all of it, everything synced.
fn world() -> World {
    let mut world = World::default();
    for name in ["n1", "n2", "n3"] {
        world.put(Ok(Object::Node(node(name))));
    }
    world.put(Ok(Object::Pool(pool())));
    world.put(Ok(Object::L2Advertisement(advertisement())));
    for kind in Kind::ALL {
        world.synced(kind);
    }
    world
}

fn with(mut world: World, service: Service, nodes: &[&str]) -> World {
    world.put(Ok(Object::EndpointSlice(slice(&service.id.name, nodes))));
    world.put(Ok(Object::Service(service)));
    world
}

fn link(ifindex: u32) -> Link {
    Link {
        ifindex,
        mac: Mac([2, 0, 0, 0, 0, u8::try_from(ifindex).unwrap()]),
        is_up: true,
        has_carrier: true,
        has_arp: true,
        has_ndp: true,
        below: None,
    }
}

fn local(name: &str) -> Local {
    let mut local = Local::new(name.parse().unwrap());
    local.links = BTreeMap::from([("eth0".into(), link(1)), ("eth1".into(), link(2))]);
    local
}

/// What the nodes of `world` hold if elected means held, each with its own epoch.
fn held(world: &World, local: &Local) -> Held {
    let members = members(world);
    let mut memo = Memo::default();
    let elected = elected(world, &members, local, &mut memo);
    let holding = Holding {
        hold: Hold::Holding,
        epoch: Epoch(7),
    };
    elected.into_iter().map(|key| (key, holding)).collect()
}

fn members(world: &World) -> Members {
    world.nodes.keys().cloned().collect()
}

fn plan_of(world: &World, local: &Local) -> Plan {
    let held = held(world, local);
    plan(world, &members(world), &held, local, &mut Memo::default())
}

/// Whom this node says is elected, or why it is silent.
fn reason(plan: &Plan, name: &str) -> Reason {
    match &plan.outcomes[&id(name)] {
        Outcome::Silent(reason) => reason.clone(),
        Outcome::Announced(announced) => panic!("announced: {announced}"),
    }
}

fn announced<'p>(plan: &'p Plan, name: &str) -> &'p Announced {
    match &plan.outcomes[&id(name)] {
        Outcome::Announced(announced) => announced,
        Outcome::Silent(reason) => panic!("silent: {reason}"),
    }
}

/// Modes by address and link, as text.
fn modes(plan: &Plan) -> Vec<String> {
    let mode = |((vip, link), entry): (&(Vip, LinkName), &L2Entry)| {
        format!("{vip} {link} {:?}", entry.mode)
    };
    plan.l2.iter().map(mode).collect()
}
