//! Services as users write them.

use super::chance::Chance;
use super::{NAMESPACES, Subject};
use serde_json::{Map, Value, json};

/// One of few services. Each always has the same primary family, which an API server lets nobody change.
pub(super) fn subject(chance: &mut Chance) -> Subject {
    named(chance.below(COUNT))
}

fn named(number: usize) -> Subject {
    let namespace = NAMESPACES[number % NAMESPACES.len()];
    Subject::new("Service", namespace, &format!("s{number}"))
}

/// One of them with all that it asks for.
pub(super) fn service(chance: &mut Chance, class: Option<&str>) -> Value {
    let number = chance.below(COUNT);
    let subject = named(number);
    let is_v6 = number % 4 == 3;
    let color = match chance.below(4) {
        0 => json!({}),
        1 => json!({"color": "red"}),
        _ => json!({"color": "blue"}),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "namespace": subject.namespace,
            "name": subject.name,
            "labels": color,
            "annotations": annotations(chance),
        },
        "spec": spec(chance, class, is_v6),
    })
}

fn annotations(chance: &mut Chance) -> Value {
    let mut annotations = Map::new();
    let prefix = if chance.percent(90) {
        "metallb.io"
    } else {
        "metallb.universe.tf"
    };
    let mut set = |key: &str, value: &str| {
        annotations.insert(format!("{prefix}/{key}"), json!(value));
    };
    match chance.below(10) {
        0..4 => {}
        4..8 => set("allow-shared-ip", "k"),
        8 => set("allow-shared-ip", "j"),
        _ => set("allow-shared-ip", ""),
    }
    match chance.below(20) {
        0..2 => set("address-pool", chance.pick(&["p0", "p1", "p2", "p3"])),
        2 => set("address-pool", "none"),
        3..6 => set("loadBalancerIPs", chance.pick(&ASKED)),
        6 => set("loadBalancerIPs", chance.pick(&MALFORMED)),
        _ => {}
    }
    Value::Object(annotations)
}

fn spec(chance: &mut Chance, class: Option<&str>, is_v6: bool) -> Value {
    let is_balancer = chance.percent(92);
    let (policy, is_dual) = match chance.below(10) {
        0..6 => ("SingleStack", false),
        6..8 => ("PreferDualStack", true),
        _ => ("RequireDualStack", true),
    };
    let mut families = if is_v6 {
        vec!["IPv6", "IPv4"]
    } else {
        vec!["IPv4", "IPv6"]
    };
    families.truncate(if is_dual { 2 } else { 1 });
    let mut spec = json!({
        "type": if is_balancer { "LoadBalancer" } else { "ClusterIP" },
        "selector": {"app": chance.pick(&["x", "y"])},
        "ipFamilyPolicy": policy,
        "ipFamilies": families,
        "ports": ports(chance),
    });
    if is_balancer {
        spec["externalTrafficPolicy"] = json!(chance.pick(&["Cluster", "Cluster", "Local"]));
        let other = chance.percent(8).then_some("example.com/other");
        if let Some(class) = other.or(class) {
            spec["loadBalancerClass"] = json!(class);
        }
        if chance.percent(4) {
            spec["loadBalancerIP"] = json!(chance.pick(&ASKED[..3]));
        }
    }
    spec
}

fn ports(chance: &mut Chance) -> Vec<Value> {
    let all = [("TCP", 80), ("UDP", 80), ("TCP", 443), ("TCP", 8080)];
    let first = chance.below(all.len());
    let count = 1 + chance.below(2);
    let mut ports: Vec<_> = (first..first + count).map(|i| all[i % all.len()]).collect();
    ports.sort_unstable();
    let object = |(protocol, port): (&str, u16)| {
        let name = format!("{}-{port}", protocol.to_lowercase());
        json!({"name": name, "protocol": protocol, "port": port})
    };
    ports.into_iter().map(object).collect()
}

/// More than there are addresses, as long as pools are small.
const COUNT: usize = 12;
/// In the pools, in none, and one of each family.
const ASKED: [&str; 7] = [
    "192.0.2.0",
    "192.0.2.17",
    "198.51.100.9",
    "2001:db8::1",
    "192.0.2.17,2001:db8:1::2",
    "2001:db8::, 192.0.2.1",
    "192.0.2.33,2001:db8::1",
];
const MALFORMED: [&str; 3] = ["192.0.2", "192.0.2.1,192.0.2.2", "192.0.2.1,"];
