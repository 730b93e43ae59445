//! What the world keeps, replaces and holds on to.

use super::*;
use crate::service::Endpoint;

fn id(name: &str) -> ServiceId {
    ServiceId {
        namespace: "default".into(),
        name: name.into(),
    }
}

fn slice(name: &str, service: &str, nodes: &[&str]) -> EndpointSlice {
    let endpoint = |node: &&str| Endpoint {
        addresses: Vec::new(),
        node: Some(node.parse().unwrap()),
        can_serve: true,
        is_ready: true,
    };
    EndpointSlice {
        namespace: "default".into(),
        name: name.into(),
        service: id(service),
        endpoints: nodes.iter().map(endpoint).collect(),
        ports: Vec::new(),
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::EndpointSlice, "default", name)
}

fn problem(name: &str) -> Problem {
    Problem {
        object: key(name),
        origin: "a.yaml#1".into(),
        field: "endpoints".into(),
        why: "not a list".into(),
    }
}

fn nodes(world: &World, service: &str) -> Vec<String> {
    let id = id(service);
    let nodes = world.endpoints(&id).filter_map(|e| e.node.clone());
    nodes.map(|node| node.to_string()).collect()
}

#[test]
fn the_slices_of_a_service_are_found_together_and_by_name() {
    let mut world = World::default();
    assert!(world.put(Ok(Object::EndpointSlice(slice("b", "web", &["n2"])))));
    assert!(world.put(Ok(Object::EndpointSlice(slice("a", "web", &["n1"])))));
    assert!(world.put(Ok(Object::EndpointSlice(slice("c", "db", &["n3"])))));
    assert_eq!(nodes(&world, "web"), ["n1", "n2"]);
    assert_eq!(nodes(&world, "db"), ["n3"]);
    assert_eq!(nodes(&world, "none"), [""; 0]);
}

#[test]
fn a_slice_that_changes_its_service_leaves_the_old_one() {
    let mut world = World::default();
    world.put(Ok(Object::EndpointSlice(slice("a", "web", &["n1"]))));
    assert!(world.put(Ok(Object::EndpointSlice(slice("a", "db", &["n1"])))));
    assert_eq!(nodes(&world, "web"), [""; 0]);
    assert_eq!(nodes(&world, "db"), ["n1"]);
    assert!(world.gone(&key("a")));
    assert!(!world.gone(&key("a")));
    assert_eq!(world, World::default());
}

#[test]
fn the_same_version_again_is_no_news_and_keeps_its_pointer() {
    let mut world = World::default();
    let put = |world: &mut World| world.put(Ok(Object::EndpointSlice(slice("a", "web", &["n1"]))));
    assert!(put(&mut world));
    let before = Arc::clone(&world.slices_of(&id("web"))[0]);
    assert!(!put(&mut world));
    assert!(Arc::ptr_eq(&before, &world.slices_of(&id("web"))[0]));
}

#[test]
fn a_malformed_edit_keeps_the_last_good_version_beside_the_problem() {
    let mut world = World::default();
    world.put(Ok(Object::EndpointSlice(slice("a", "web", &["n1"]))));
    assert!(world.put(Err(problem("a"))));
    assert!(
        !world.put(Err(problem("a"))),
        "the same problem again is no news"
    );
    assert_eq!(nodes(&world, "web"), ["n1"]);
    assert_eq!(world.problems.len(), 1);
    assert!(world.put(Ok(Object::EndpointSlice(slice("a", "web", &["n1"])))));
    assert_eq!(world.problems.len(), 0);
}

#[test]
fn the_world_is_synced_when_every_kind_is() {
    let mut world = World::default();
    for kind in Kind::ALL {
        assert!(!world.is_synced());
        assert!(world.synced(kind));
        assert!(!world.synced(kind));
    }
    assert!(world.is_synced());
}

const POOL: &str = "apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: p}
spec: {addresses: [192.0.2.0/24]}
";

/// Puts what a text says; whether each was news.
fn put(world: &mut World, text: &str) -> Vec<bool> {
    let namespace = crate::manifest::DEFAULT_NAMESPACE;
    let objects = crate::manifest::read("f.yaml", text, namespace).objects;
    objects
        .into_iter()
        .map(|object| world.put(object))
        .collect()
}

#[test]
fn a_typo_in_a_manifest_withdraws_nothing() {
    let mut world = World::default();
    assert_eq!(put(&mut world, POOL), [true]);
    let before = Arc::clone(&world.pools["p"]);
    let bad = POOL.replace("/24", "/33");
    assert_eq!(put(&mut world, &bad), [true]);
    assert!(Arc::ptr_eq(&world.pools["p"], &before));
    let problem = world.problems.values().next().unwrap();
    assert_eq!(problem.field, "spec.addresses[0]");
    assert_eq!(put(&mut world, POOL), [true]);
    assert!(world.problems.is_empty());
}

#[test]
fn a_problem_beside_its_object_takes_nothing_from_it() {
    let mut world = World::default();
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: s, annotations: {heliograph.io/ecko: x}}\n";
    assert_eq!(put(&mut world, text), [true, true]);
    assert_eq!((world.services.len(), world.problems.len()), (1, 1));
}

#[test]
fn what_is_gone_leaves_neither_object_nor_problem() {
    let mut world = World::default();
    put(&mut world, POOL);
    put(&mut world, &POOL.replace("/24", "/33"));
    let namespace = crate::manifest::DEFAULT_NAMESPACE;
    assert!(world.gone(&ObjectKey::new(Kind::Pool, namespace, "p")));
    assert_eq!(world, World::default());
}
