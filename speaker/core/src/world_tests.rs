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
