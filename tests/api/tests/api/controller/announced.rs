//! Whom a speaker would announce at each moment of a double's history, by the real planner.
//!
//! The node is the only one, healthy and quick: it holds whatever it is elected for as soon as it is. Whatever a slower one
//! sees is one of these moments.

use api_tests::Double;
use serde_json::{Value, json};
use speaker_core::manifest::{DEFAULT_NAMESPACE, of_value};
use speaker_core::plan::{Hold, Holding, Memo, Outcome, elected, plan};
use speaker_core::service::ServiceId;
use speaker_core::{Kind, Link, LinkName, Local, Members, ObjectKey, World};
use speaker_proto::{Epoch, Mac, NodeName};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// After revision `since`, at which there were no services and pools, no address was ever announced for two services, none of
/// which share. At how many moments any was.
pub(super) fn never_for_two(double: &Double, since: u64) -> usize {
    let mut world = whole();
    let mut announcements = 0;
    for written in double
        .written(since)
        .expect("the store forgets nothing so soon")
    {
        let resource = written.key.resource.as_str();
        let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == resource) else {
            continue;
        };
        match written.object {
            Some(object) => take(&mut world, *kind, &object),
            None => {
                let (namespace, name) = (&written.key.namespace, &written.key.name);
                world.gone(&ObjectKey::new(*kind, namespace, name));
            }
        }
        let announced = announced(&world);
        for (ip, services) in &announced {
            assert!(
                services.len() == 1,
                "at revision {} {ip} is announced for {services:?}",
                written.revision
            );
        }
        announcements += usize::from(!announced.is_empty());
    }
    announcements
}

/// Which services are announced by name, by address, where there are these objects.
pub(super) fn of(objects: &[Value]) -> BTreeMap<IpAddr, BTreeSet<String>> {
    let mut world = whole();
    for object in objects {
        let kind = KINDS
            .iter()
            .find(|(_, kind)| object["kind"] == kind.as_str());
        if let Some((_, kind)) = kind {
            take(&mut world, *kind, object);
        }
    }
    let named = |services: BTreeSet<ServiceId>| services.into_iter().map(|id| id.name).collect();
    let announced = announced(&world).into_iter();
    announced.map(|(ip, ids)| (ip, named(ids))).collect()
}

/// A node and an advertisement of everything, and nothing that could still come.
fn whole() -> World {
    let mut world = World::default();
    put(
        &mut world,
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}),
    );
    put(
        &mut world,
        json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
            "metadata": {"name": "all", "namespace": DEFAULT_NAMESPACE}, "spec": {},
        }),
    );
    for kind in Kind::ALL {
        world.synced(kind);
    }
    world
}

fn take(world: &mut World, kind: Kind, object: &Value) {
    let mut object = object.clone();
    object["kind"] = kind.as_str().into();
    if kind == Kind::Service {
        let name = object["metadata"]["name"]
            .as_str()
            .expect("a stored object has a name");
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": name, "namespace": object["metadata"]["namespace"],
                "labels": {"kubernetes.io/service-name": name},
            },
            "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": NODE}],
        });
        put(world, slice);
    }
    put(world, object);
}

fn put(world: &mut World, object: Value) {
    for read in of_value("double", object, DEFAULT_NAMESPACE).objects {
        world.put(read);
    }
}

fn announced(world: &World) -> BTreeMap<IpAddr, BTreeSet<ServiceId>> {
    let node: NodeName = NODE.parse().expect("it is a name");
    let link = Link {
        ifindex: 2,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        is_up: true,
        has_carrier: true,
        has_arp: true,
        has_ndp: true,
        below: None,
    };
    let mut local = Local::new(node.clone());
    local.links.insert(LinkName::from("eth0"), link);
    let (members, mut memo) = (Members::from_iter([node]), Memo::default());
    let holding = Holding {
        hold: Hold::Holding,
        epoch: Epoch(1),
    };
    let groups = elected(world, &members, &local, &mut memo).into_iter();
    let held = groups.map(|group| (group, holding)).collect();
    let plan = plan(world, &members, &held, &local, &mut memo);
    let mut announced: BTreeMap<IpAddr, BTreeSet<ServiceId>> = BTreeMap::new();
    for (service, outcome) in &plan.outcomes {
        if let Outcome::Announced(found) = outcome {
            for (vip, _) in &found.vips {
                announced.entry(vip.0).or_default().insert(service.clone());
            }
        }
    }
    announced
}

const NODE: &str = "n1";
const KINDS: [(&str, Kind); 2] = [
    ("services", Kind::Service),
    ("ipaddresspools.metallb.io", Kind::Pool),
];
