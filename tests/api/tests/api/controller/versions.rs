//! Two versions meet in objects: what the controller of an earlier one left is gone on with, by the controller and by the planner of speakers.
//!
//! `data/versions` has, by the day that a version was built, the objects as its controller left them in the double when it was stopped, without their
//! resourceVersions: services that share an address, of two families, pinned, bound to a pool and without an address, one deleted before the end, the pools, the speakers' Secret,
//! the Lease, the ConfigurationState. A recording is never changed for a later version: what it says is on clusters.

use super::announced;
use super::site::{Site, service};
use api_tests::Key;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

#[test]
fn what_an_earlier_version_wrote_is_gone_on_with_and_not_written_again() {
    let site = Site::new();
    let left = left();
    for object in &left {
        site.double.plant(key(object), object.clone());
    }
    let paths: Vec<String> = left.iter().map(|object| site.double.path(object)).collect();
    let kept = |site: &Site| -> BTreeMap<String, Value> {
        let kept = paths.iter().filter(|path| !path.contains("/leases/"));
        kept.map(|path| (path.clone(), site.get(path))).collect()
    };
    let before = kept(&site);
    let controller = site.controller("c-1", &["--ml-secret-name=memberlist"]);
    controller.until_it_says("allocationBegins");
    site.until("a look at the speakers' secret", || {
        controller.log().contains("the speakers' secret is there")
    });
    site.put(&service("late"));
    site.until("an address", || site.holds("late").len() == 1);
    let late: IpAddr = site.holds("late")[0].parse().unwrap();
    assert!(
        !held(&left).contains_key(&late),
        "{late} was somebody else's"
    );
    site.delete_service("late");
    site.until("the pool's figures to be those before", || {
        let pool = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools/p";
        site.get(pool)["status"] == before[pool]["status"]
    });
    controller.stop();
    let mut after = kept(&site);
    for (path, was) in &before {
        let is = after.get_mut(path).unwrap();
        if path.contains("/ipaddresspools/") {
            // Its figures went up and down with the late one.
            is["metadata"] = was["metadata"].clone();
        }
        assert_eq!(is, was, "{path}");
    }
    assert_eq!(
        site.lease()["holderIdentity"],
        "",
        "it was taken and given back"
    );
}

#[test]
fn speakers_announce_what_the_controller_of_an_earlier_version_gave() {
    let left = left();
    let announced = announced::of(&left);
    assert_eq!(announced, held(&left));
    assert!(
        announced.values().any(|services| services.len() == 2),
        "one address is shared"
    );
    assert!(announced.keys().any(IpAddr::is_ipv6));
}

fn left() -> Vec<Value> {
    serde_json::from_str(include_str!("../../../data/versions/2026-11-25.json")).unwrap()
}

fn key(object: &Value) -> Key {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = format!("{}s", text(&object["kind"]).to_lowercase());
    let version = text(&object["apiVersion"]);
    let resource = match version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}"),
        None => kind,
    };
    let metadata = &object["metadata"];
    Key::new(
        &resource,
        &text(&metadata["namespace"]),
        &text(&metadata["name"]),
    )
}

/// The names of the services whose statuses say an address.
fn held(objects: &[Value]) -> BTreeMap<IpAddr, BTreeSet<String>> {
    let mut held: BTreeMap<IpAddr, BTreeSet<String>> = BTreeMap::new();
    for object in objects {
        let ingress = object["status"]["loadBalancer"]["ingress"].as_array();
        for entry in ingress.into_iter().flatten() {
            let ip = entry["ip"].as_str().unwrap().parse().unwrap();
            let name = object["metadata"]["name"].as_str().unwrap();
            held.entry(ip).or_default().insert(name.to_owned());
        }
    }
    held
}
