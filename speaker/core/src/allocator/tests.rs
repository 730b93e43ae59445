//! The allocator's promises: first fit, requests, sharing, and that nobody who has an address is moved.

use super::ask::list;
use super::*;
use crate::manifest;

/// A world of manifests, all kinds synced.
fn world(text: &str) -> World {
    let mut world = World::default();
    world.assignments.replace(std::sync::Arc::default());
    for object in manifest::read("test.yaml", text, manifest::DEFAULT_NAMESPACE).objects {
        assert!(object.is_ok(), "{object:?}");
        world.put(object);
    }
    for kind in Kind::ALL {
        world.synced(kind);
    }
    world
}

fn pool(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

fn service(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{type: LoadBalancer, ports: [{{port: 80}}], {spec}}}\n"
    )
}

/// Who holds what, as text.
fn check(allocation: &Allocation, expected: &[&str]) {
    let held: Vec<_> = allocation
        .assignments
        .iter()
        .map(|(id, a)| format!("{} {} {}", id.name, a.pool, list(&a.ips)))
        .collect();
    assert_eq!(held, expected);
}

#[test]
fn the_first_free_address_is_given() {
    let text = pool("p", "addresses: [192.0.2.0/30]") + &service("a", "") + &service("b", "");
    let allocation = allocate(&world(&text), &Assignments::new(), None);
    check(
        &allocation,
        &[r#"a p ["192.0.2.0"]"#, r#"b p ["192.0.2.1"]"#],
    );
}

/// The events of a pass as text.
fn told(allocation: &Allocation) -> Vec<String> {
    let events = allocation.events.iter();
    events
        .map(|e| format!("{} {}: {}", e.service.name, e.reason.as_str(), e.message))
        .collect()
}

/// Allocates, and again from there: the second pass changes nothing and has no news.
fn settled(world: &World, current: &Assignments) -> Allocation {
    let allocation = allocate(world, current, None);
    let again = allocate(world, &allocation.assignments, None);
    assert_eq!(again.assignments, allocation.assignments);
    let news: Vec<_> = again
        .events
        .iter()
        .filter(|e| !e.reason.is_standing())
        .collect();
    assert!(news.is_empty(), "{news:?}");
    allocation
}

#[test]
fn a_newcomer_moves_nobody() {
    let pools = pool("p", "addresses: [192.0.2.0/30]");
    let before = settled(
        &world(&(pools.clone() + &service("m", ""))),
        &Assignments::new(),
    );
    let text = pools + &service("a", "") + &service("m", "");
    let after = settled(&world(&text), &before.assignments);
    check(&after, &[r#"a p ["192.0.2.1"]"#, r#"m p ["192.0.2.0"]"#]);
}

#[test]
fn the_older_of_two_that_wait_is_served_first() {
    let old = service("z", "").replace(
        "name: z",
        "name: z, creationTimestamp: 2026-01-01T00:00:00Z",
    );
    let text = pool("p", "addresses: [192.0.2.0/32]") + &service("a", "") + &old;
    let allocation = settled(&world(&text), &Assignments::new());
    check(&allocation, &[r#"z p ["192.0.2.0"]"#]);
    let why = r#"a AllocationFailed: Failed to allocate IP for "default/a": no available IPs"#;
    assert!(told(&allocation).contains(&why.to_owned()));
    let problems: Vec<_> = allocation
        .problems
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(problems, ["allocator: Service default/a: no available IPs"]);
}

#[test]
fn a_status_counts_where_the_allocations_know_nothing() {
    let held = service("a", "") + "status: {loadBalancer: {ingress: [{ip: 192.0.2.2}]}}\n";
    let text = pool("p", "addresses: [192.0.2.0/30]") + &held;
    let allocation = settled(&world(&text), &Assignments::new());
    check(&allocation, &[r#"a p ["192.0.2.2"]"#]);
}

#[test]
fn the_allocations_count_before_a_status() {
    let pools = pool("p", "addresses: [192.0.2.0/30]");
    let before = settled(
        &world(&(pools.clone() + &service("a", ""))),
        &Assignments::new(),
    );
    let stale = service("a", "") + "status: {loadBalancer: {ingress: [{ip: 192.0.2.2}]}}\n";
    let after = settled(&world(&(pools + &stale)), &before.assignments);
    check(&after, &[r#"a p ["192.0.2.0"]"#]);
}

#[test]
fn a_waiting_service_gets_what_another_loses_in_the_same_pass() {
    let before = settled(
        &world(&(pool("p", "addresses: [192.0.2.0/32]") + &service("z", ""))),
        &Assignments::new(),
    );
    let text = pool("p", "addresses: [192.0.2.0/32]")
        + &pool("q", "addresses: [198.51.100.0/32], autoAssign: false")
        + &service("a", "")
        + &service("z", "").replace(
            "name: z",
            "name: z, annotations: {metallb.io/address-pool: q}",
        );
    let after = settled(&world(&text), &before.assignments);
    check(&after, &[r#"a p ["192.0.2.0"]"#, r#"z q ["198.51.100.0"]"#]);
}

fn sharer(name: &str, key: &str, port: u16) -> String {
    let metadata = format!("name: {name}, annotations: {{metallb.io/allow-shared-ip: {key}}}");
    service(name, "")
        .replace(&format!("name: {name}"), &metadata)
        .replace("port: 80", &format!("port: {port}"))
}

#[test]
fn of_two_that_can_no_longer_share_the_changed_one_leaves() {
    let pools = pool("p", "addresses: [192.0.2.0/30]");
    let before = settled(
        &world(&(pools.clone() + &sharer("a", "k", 80) + &sharer("b", "k", 81))),
        &Assignments::new(),
    );
    check(&before, &[r#"a p ["192.0.2.0"]"#, r#"b p ["192.0.2.0"]"#]);
    let key = settled(
        &world(&(pools.clone() + &sharer("a", "j", 80) + &sharer("b", "k", 81))),
        &before.assignments,
    );
    check(&key, &[r#"a p ["192.0.2.1"]"#, r#"b p ["192.0.2.0"]"#]);
    let port = settled(
        &world(&(pools + &sharer("a", "k", 81) + &sharer("b", "k", 81))),
        &before.assignments,
    );
    check(&port, &[r#"a p ["192.0.2.1"]"#, r#"b p ["192.0.2.0"]"#]);
}

#[test]
fn two_that_change_their_key_together_stay_together() {
    let pools = pool("p", "addresses: [192.0.2.0/30]");
    let before = settled(
        &world(&(pools.clone() + &sharer("a", "k", 80) + &sharer("b", "k", 81))),
        &Assignments::new(),
    );
    let after = settled(
        &world(&(pools + &sharer("a", "j", 80) + &sharer("b", "j", 81))),
        &before.assignments,
    );
    check(&after, &[r#"a p ["192.0.2.0"]"#, r#"b p ["192.0.2.0"]"#]);
}

#[test]
fn a_pool_that_comes_to_overlap_takes_nothing_away_and_gives_nothing() {
    let pools = pool("p", "addresses: [192.0.2.0/30]") + &pool("q", "addresses: [198.51.100.0/30]");
    let asks = |name: &str, pool: &str| {
        let metadata = format!("name: {name}, annotations: {{metallb.io/address-pool: {pool}}}");
        service(name, "").replace(&format!("name: {name}"), &metadata)
    };
    let before = settled(&world(&(pools + &asks("a", "q"))), &Assignments::new());
    let overlapping = pool("p", "addresses: [192.0.2.0/30]")
        + &pool("q", "addresses: [198.51.100.0/30, 192.0.2.2/32]")
        + &asks("a", "q")
        + &asks("b", "q");
    let after = settled(&world(&overlapping), &before.assignments);
    check(&after, &[r#"a q ["198.51.100.0"]"#]);
}

#[test]
fn an_older_pool_that_grows_over_one_of_two_addresses_takes_neither() {
    let young = "addresses: [198.51.100.0/30, 2001:db8::/126]";
    let dual = service("a", "ipFamilyPolicy: RequireDualStack");
    let pools = |older: &str| {
        let aged = "name: o, creationTimestamp: 2026-01-01T00:00:00Z";
        pool("o", older).replace("name: o", aged) + &pool("y", young)
    };
    let apart = pools("addresses: [192.0.2.0/30]") + &dual;
    let before = settled(&world(&apart), &Assignments::new());
    check(&before, &[r#"a y ["198.51.100.0" "2001:db8::"]"#]);
    let grown = pools("addresses: [192.0.2.0/30, 198.51.100.0/24]") + &dual;
    let after = settled(&world(&grown), &before.assignments);
    check(&after, &[r#"a y ["198.51.100.0" "2001:db8::"]"#]);
}

#[test]
fn an_address_that_is_asked_for_alone_stays_alone() {
    let pool = pool("p", "addresses: [192.0.2.0/30, 2001:db8::/126]");
    let before = settled(
        &world(&(pool.clone() + &service("a", ""))),
        &Assignments::new(),
    );
    let asking = service(
        "a",
        "ipFamilyPolicy: PreferDualStack, loadBalancerIP: 192.0.2.0",
    );
    let after = settled(&world(&(pool + &asking)), &before.assignments);
    check(&after, &[r#"a p ["192.0.2.0"]"#]);
}

#[test]
fn before_everything_is_known_nothing_changes() {
    let before = settled(
        &world(&(pool("p", "addresses: [192.0.2.0/32]") + &service("a", ""))),
        &Assignments::new(),
    );
    let mut world = World::default();
    world.synced(Kind::Service);
    let after = allocate(&world, &before.assignments, None);
    assert_eq!(after.assignments, before.assignments);
    assert!(after.events.is_empty());
}

#[test]
fn other_classes_are_left_alone() {
    let text = pool("p", "addresses: [192.0.2.0/30]")
        + &service("a", "loadBalancerClass: example.test/x")
        + &service("b", "");
    let world = world(&text);
    check(
        &allocate(&world, &Assignments::new(), None),
        &[r#"b p ["192.0.2.0"]"#],
    );
    let ours = allocate(&world, &Assignments::new(), Some("example.test/x"));
    check(&ours, &[r#"a p ["192.0.2.0"]"#]);
}

#[test]
fn a_namespace_without_a_manifest_has_its_name_for_a_label() {
    let spec = "addresses: [192.0.2.0/30], serviceAllocation: {namespaceSelectors: [{matchLabels: \
                {kubernetes.io/metadata.name: default}}]}";
    let allocation = settled(
        &world(&(pool("p", spec) + &service("a", ""))),
        &Assignments::new(),
    );
    check(&allocation, &[r#"a p ["192.0.2.0"]"#]);
}

#[test]
fn ten_thousand_services_are_served_by_one_scan() {
    let mut text = pool("p", "addresses: [10.0.0.0/21, 10.0.16.0/20]")
        + &pool("q", "addresses: [10.1.0.0/16]");
    for i in 0..10_000 {
        text += &sharer(&format!("s{i}"), "k", 80);
    }
    let world = world(&text);
    let allocation = allocate(&world, &Assignments::new(), None);
    let last = allocation.assignments.values().map(|a| a.ips[0]).max();
    assert_eq!(last, Some("10.1.15.15".parse().unwrap()));
}

/// The same world after one more text, faults and all.
fn with(mut world: World, text: &str) -> World {
    for object in manifest::read("more.yaml", text, manifest::DEFAULT_NAMESPACE).objects {
        world.put(object);
    }
    world
}

#[test]
fn a_service_that_cannot_be_read_after_a_restart_loses_nothing() {
    let pools = pool("p", "addresses: [192.0.2.0/31]");
    let before = settled(
        &world(&(pools.clone() + &service("m", ""))),
        &Assignments::new(),
    );
    let broken = service("m", "").replace("port: 80", "port: 0");
    let after = settled(
        &with(world(&(pools.clone() + &service("a", ""))), &broken),
        &before.assignments,
    );
    check(&after, &[r#"a p ["192.0.2.1"]"#, r#"m p ["192.0.2.0"]"#]);
    let told: Vec<_> = after.problems.iter().map(ToString::to_string).collect();
    let why = "is not there, and more.yaml#1 cannot be read; its addresses stay with it";
    assert_eq!(told, [format!("allocator: Service default/m: {why}")]);
    // Nor does one of which not even the name can be read.
    let after = settled(
        &with(world(&(pools.clone() + &service("a", ""))), "a: ["),
        &before.assignments,
    );
    check(&after, &[r#"a p ["192.0.2.1"]"#, r#"m p ["192.0.2.0"]"#]);
    let after = settled(&world(&(pools + &service("a", ""))), &before.assignments);
    check(&after, &[r#"a p ["192.0.2.0"]"#]);
}

#[test]
fn a_pool_that_cannot_be_read_after_a_restart_takes_nothing_back() {
    let good = pool("p", "addresses: [192.0.2.0/31]");
    let before = settled(
        &world(&(good.clone() + &service("a", ""))),
        &Assignments::new(),
    );
    let broken = good.replace("/31", "/33");
    let after = settled(
        &with(world(&(service("a", "") + &service("b", ""))), &broken),
        &before.assignments,
    );
    check(&after, &[r#"a p ["192.0.2.0"]"#]);
    let other = pool("q", "addresses: [198.51.100.0/31]");
    let services = service("a", "") + &service("b", "");
    let after = settled(
        &with(world(&(other.clone() + &services)), &broken),
        &before.assignments,
    );
    check(&after, &[r#"a p ["192.0.2.0"]"#, r#"b q ["198.51.100.0"]"#]);
    let after = settled(&world(&(other + &services)), &before.assignments);
    check(
        &after,
        &[r#"a q ["198.51.100.0"]"#, r#"b q ["198.51.100.1"]"#],
    );
}

#[test]
fn the_first_port_of_the_service_that_is_taken_is_named() {
    let asks = |name: &str, ports: &str| {
        sharer(name, "k, metallb.io/loadBalancerIPs: 192.0.2.1", 80).replace("[{port: 80}]", ports)
    };
    let text = pool("p", "addresses: [192.0.2.0/30]")
        + &asks("a", "[{name: x, port: 80}, {name: y, port: 443}]")
        + &asks("b", "[{name: y, port: 443}, {name: x, port: 80}]");
    let allocation = settled(&world(&text), &Assignments::new());
    let why = r#"b AllocationFailed: Failed to allocate IP for "default/b": port TCP/443 is already in use on "192.0.2.1""#;
    assert!(
        told(&allocation).contains(&why.to_owned()),
        "{:?}",
        told(&allocation)
    );
}
