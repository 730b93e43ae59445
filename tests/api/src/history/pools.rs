//! Pools as users write them: small, and now and then over another's addresses.

use super::Subject;
use super::chance::Chance;
use serde_json::{Map, Value, json};

/// One of few pools.
pub(super) fn subject(chance: &mut Chance) -> Subject {
    let number = chance.below(POOLS.len());
    Subject::new("IPAddressPool", "metallb-system", &format!("p{number}"))
}

/// One of them with all that it says.
pub(super) fn pool(chance: &mut Chance) -> Value {
    let number = chance.below(POOLS.len());
    let mut spec = json!({"addresses": addresses(chance, number)});
    if chance.percent(20) {
        spec["autoAssign"] = json!(false);
    }
    if chance.percent(30) {
        spec["avoidBuggyIPs"] = json!(true);
    }
    if chance.percent(50) {
        spec["serviceAllocation"] = allocation(chance);
    }
    json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"namespace": "metallb-system", "name": format!("p{number}")},
        "spec": spec,
    })
}

fn addresses(chance: &mut Chance, number: usize) -> Vec<&'static str> {
    let [v4, v6] = POOLS[number];
    let mut addresses = match chance.below(4) {
        0 => vec![v4],
        1 => vec![v6],
        2 => vec![v6, v4],
        _ => vec![v4, v6],
    };
    match chance.below(40) {
        // Of another pool: it moves, or both have it.
        0..4 => addresses.push(chance.pick(&POOLS[(number + 1) % POOLS.len()])),
        4 => addresses.push("2001:db8:9::/64"),
        5 => addresses.push("192.0.2.300/32"),
        _ => {}
    }
    addresses
}

fn allocation(chance: &mut Chance) -> Value {
    let mut allocation = Map::new();
    if chance.percent(60) {
        let priority = chance.pick(&[-1, 0, 1, 1, 5]);
        allocation.insert("priority".into(), json!(priority));
    }
    match chance.below(4) {
        0 => drop(allocation.insert("namespaces".into(), json!(["a", "b"]))),
        1 => drop(allocation.insert(
            "namespaceSelectors".into(),
            json!([{"matchLabels": {"tier": chance.pick(&["gold", "silver"])}}]),
        )),
        _ => {}
    }
    if chance.percent(35) {
        let selector = match chance.below(2) {
            0 => json!({"matchLabels": {"color": "red"}}),
            _ => json!({"matchExpressions": [{"key": "color", "operator": "Exists"}]}),
        };
        allocation.insert("serviceSelectors".into(), json!([selector]));
    }
    Value::Object(allocation)
}

/// Two to four addresses of each family, among them such that end in 0 and 255.
const POOLS: [[&str; 2]; 4] = [
    ["192.0.2.0/31", "2001:db8::/127"],
    ["192.0.2.16-192.0.2.18", "2001:db8:1::1-2001:db8:1::3"],
    ["192.0.2.32/30", "2001:db8:2::/126"],
    ["192.0.2.254 - 192.0.3.1", "2001:db8:3::ff/128"],
];
