//! A tenant writes Services, as large and as strange as an API server takes them, and is a burden to nobody else: others get their addresses
//! meanwhile, and what is said of it stays short enough to be read and stored.

use super::site::{Site, pool, service};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[test]
fn services_as_large_as_they_can_be_are_a_burden_to_nobody_else() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/24"));
    let mut chosen = pool("q", "198.51.100.0/24");
    // Labels are the tenant's, and selectors are not: the larger of the two is looked for in the other.
    chosen["spec"]["serviceAllocation"] = json!({
        "priority": 1,
        "serviceSelectors": (0..SELECTORS).map(selector).collect::<Vec<Value>>(),
    });
    site.put(&chosen);
    let controller = site.controller("c-0", &[]);
    controller.until_it_says("allocationBegins");
    for bomb in bombs().into_values() {
        site.put(&bomb);
    }
    site.put(&service("web"));
    site.until("the address of somebody else", || {
        site.holds("web") == ["192.0.2.0"] || site.holds("web").len() == 1
    });
    let names: Vec<String> = bombs().into_keys().collect();
    site.until("a word on each that gets none", || {
        names
            .iter()
            .all(|name| !site.holds(name).is_empty() || !site.events(name).is_empty())
    });
    // One that a selector takes among a hundred, by the last of its values.
    site.until("the pool that its label chooses", || {
        site.holds("labels")
            .iter()
            .all(|ip| ip.starts_with("198.51.100."))
    });
    for name in &names {
        for event in site.events(name) {
            assert!(
                event.len() <= EVENT_BYTES_MAX,
                "{name}: {} bytes",
                event.len()
            );
        }
    }
    let log = controller.log();
    let longest = log
        .lines()
        .max_by_key(|line| line.len())
        .unwrap_or_default();
    assert!(
        longest.len() <= LINE_BYTES_MAX,
        "{} bytes: {}",
        longest.len(),
        longest.chars().take(300).collect::<String>()
    );
    site.until("a verdict", || !site.state()["result"].is_null());
    assert!(
        site.summary().len() <= SUMMARY_BYTES_MAX,
        "{}",
        site.summary().len()
    );
}

/// One service for each thing that may be large, by name.
fn bombs() -> BTreeMap<String, Value> {
    let many = "192.0.2.1,".repeat(LARGE / 10);
    let long = "k".repeat(LARGE);
    let mut bombs = BTreeMap::new();
    for (name, annotation, value) in [
        ("addresses", "metallb.io/loadBalancerIPs", &many),
        ("key", "metallb.io/allow-shared-ip", &long),
        ("pool", "metallb.io/address-pool", &long),
        ("strange", "heliograph.io/nobody-knows-this", &long),
        ("option", "heliograph.io/closed-port", &long),
    ] {
        let mut bomb = service(name);
        bomb["metadata"]["annotations"] = json!({annotation: value});
        bombs.insert(name.to_owned(), bomb);
    }
    let mut asked = service("asked");
    asked["spec"]["loadBalancerIP"] = json!(long);
    bombs.insert("asked".to_owned(), asked);
    let mut labels = service("labels");
    let mut all: BTreeMap<String, String> = (0..LABELS)
        .map(|n| (format!("l{n}"), format!("v{n}")))
        .collect();
    all.insert(
        "chosen".to_owned(),
        format!("v{}-{}", SELECTORS - 1, VALUES - 1),
    );
    labels["metadata"]["labels"] = json!(all);
    bombs.insert("labels".to_owned(), labels);
    let mut ports = service("ports");
    // On nodes there are not so many.
    ports["spec"]["allocateLoadBalancerNodePorts"] = json!(false);
    ports["spec"]["ports"] = (1..=PORTS)
        .map(|n| json!({"name": format!("p{n}"), "port": n}))
        .collect();
    bombs.insert("ports".to_owned(), ports);
    let mut ranges = service("ranges");
    ranges["spec"]["loadBalancerSourceRanges"] = (0..RANGES)
        .map(|n| json!(format!("10.{}.{}.0/24", n / 256, n % 256)))
        .collect();
    bombs.insert("ranges".to_owned(), ranges);
    // All want one address, and each has to be held against all others.
    for n in 0..SHARERS {
        let name = format!("share-{n}");
        let mut sharer = service(&name);
        sharer["metadata"]["annotations"] = json!({"metallb.io/allow-shared-ip": "all", "metallb.io/loadBalancerIPs": "192.0.2.250"});
        sharer["spec"]["allocateLoadBalancerNodePorts"] = json!(false);
        sharer["spec"]["ports"] = (0..SHARED)
            .map(|port| json!({"name": format!("p{port}"), "port": 1 + n * SHARED + port}))
            .collect();
        bombs.insert(name, sharer);
    }
    bombs
}

/// Asks for one of many values.
fn selector(n: usize) -> Value {
    let values: Vec<String> = (0..VALUES).map(|value| format!("v{n}-{value}")).collect();
    json!({"matchExpressions": [{"key": "chosen", "operator": "In", "values": values}]})
}

const LARGE: usize = 200 << 10; // all annotations of an object have 256 KiB
const LABELS: usize = 2000;
const PORTS: usize = 3000;
const RANGES: usize = 10_000;
const SELECTORS: usize = 100;
const VALUES: usize = 200;
const SHARERS: usize = 20;
const SHARED: usize = 50;
/// Type and reason come before a message of 1024 characters.
const EVENT_BYTES_MAX: usize = 1100;
/// A text of 4 KiB in the message and one in a field, with quotes and backslashes.
const LINE_BYTES_MAX: usize = 16 << 10;
const SUMMARY_BYTES_MAX: usize = 32 << 10;
