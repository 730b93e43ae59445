use super::*;
use crate::manifest::{DEFAULT_NAMESPACE, read};

const GOOD: &str = "apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: p}
spec: {addresses: [192.0.2.0/24]}
";

fn put(world: &mut World, text: &str) -> Vec<bool> {
    let objects = read("f.yaml", text, DEFAULT_NAMESPACE).objects;
    objects
        .into_iter()
        .map(|object| world.put(object))
        .collect()
}

fn pool_key() -> ObjectKey {
    ObjectKey::new(Kind::Pool, DEFAULT_NAMESPACE, "p")
}

#[test]
fn a_malformed_edit_keeps_the_last_good_version() {
    let mut world = World::default();
    assert_eq!(put(&mut world, GOOD), [true]);
    let before = Arc::clone(&world.pools["p"]);
    let bad = GOOD.replace("/24", "/33");
    assert_eq!(put(&mut world, &bad), [true]);
    assert_eq!(put(&mut world, &bad), [false]);
    assert!(Arc::ptr_eq(&world.pools["p"], &before));
    assert_eq!(world.problems[&pool_key()].field, "spec.addresses[0]");
}

#[test]
fn a_good_edit_clears_the_problem() {
    let mut world = World::default();
    put(&mut world, &GOOD.replace("/24", "/33"));
    assert!(world.pools.is_empty());
    assert_eq!(put(&mut world, GOOD), [true]);
    assert!(world.problems.is_empty());
    assert_eq!(put(&mut world, GOOD), [false]);
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
    put(&mut world, GOOD);
    put(&mut world, &GOOD.replace("/24", "/33"));
    assert!(world.gone(&pool_key()));
    assert_eq!(world, World::default());
    assert!(!world.gone(&pool_key()));
}

#[test]
fn a_slice_that_changes_its_service_leaves_the_old_one() {
    let slice = |service: &str| {
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nendpoints: [{{addresses: [10.0.0.1]}}]\n\
             metadata: {{name: e, labels: {{kubernetes.io/service-name: {service}}}}}\n"
        )
    };
    let mut world = World::default();
    put(&mut world, &slice("a"));
    assert_eq!(put(&mut world, &slice("b")), [true]);
    assert_eq!(put(&mut world, &slice("b")), [false]);
    let endpoints = |name: &str| {
        let id = ServiceId {
            namespace: "default".into(),
            name: name.into(),
        };
        world.endpoints(&id).count()
    };
    assert_eq!((endpoints("a"), endpoints("b")), (0, 1));
}

#[test]
fn nothing_is_known_to_be_absent_before_every_kind_is_synced() {
    let mut world = World::default();
    for kind in Kind::ALL {
        assert!(!world.is_synced());
        assert!(world.synced(kind));
    }
    assert!(world.is_synced());
    assert!(!world.synced(Kind::Pool));
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
