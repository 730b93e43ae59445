use super::*;
use crate::crd::{AddressRange, L2Advertisement, Pool};
use crate::local::Link;
use crate::node::Node;
use crate::object::Object;
use crate::service::{Endpoint, EndpointSlice, Family, FamilyPolicy, Service, TrafficPolicy};
use speaker_proto::Mac;

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
        load_balancer_ip: None,
        ports: Vec::new(),
        selector: BTreeMap::new(),
        ingress: ips
            .iter()
            .map(|ip| ip.parse().map_err(|_| (*ip).to_owned()))
            .collect(),
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

#[test]
fn one_node_answers_and_the_others_know() {
    // The order for 192.0.2.10 is n2, n3, n1.
    let world = with(world(), service("web", &["192.0.2.10"]), &["n1"]);
    for name in ["n1", "n2", "n3"] {
        let plan = plan_of(&world, &local(name));
        let wanted = if name == "n2" {
            Mode::Answer
        } else {
            Mode::Known
        };
        assert_eq!(plan.l2.len(), 2);
        assert!(
            plan.l2.values().all(|entry| entry.mode == wanted),
            "{name}: {plan}"
        );
        let is_announced = matches!(plan.outcomes[&id("web")], Outcome::Announced(_));
        assert_eq!(is_announced, name == "n2");
    }
}

#[test]
fn before_everything_is_synced_a_plan_is_incomplete() {
    let mut world = with(world(), service("web", &["192.0.2.10"]), &["n1"]);
    world.synced.remove(&Kind::EndpointSlice);
    let plan = plan_of(&world, &local("n2"));
    assert!(!plan.is_complete);
    assert_eq!(plan.l2, BTreeMap::new());
    let reason = Reason::NotSynced(Kind::EndpointSlice);
    assert_eq!(plan.outcomes[&id("web")], Outcome::Silent(reason));
}
