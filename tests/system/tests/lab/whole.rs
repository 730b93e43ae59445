//! A whole cluster: kubectl, the API server's double, the controller and three speakers, with a client that asks.

use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Duration;
use system_tests::lab::{TestLab, other_speaker, within};
use xtask::lab::Options;

#[test]
fn what_kubectl_does_reaches_the_network() {
    let mut lab = TestLab::cluster();
    for service in ["default/web", "default/echo-udp"] {
        for frontend in lab.frontends_of(service) {
            lab.answer(&frontend);
        }
    }
    let web = lab.frontends_of("default/web").remove(0);
    let holder = until_status_says(&lab, "web", web.vip);

    // A node that is gone leaves its VIPs to another, which writes that down; the objects of the old one go.
    lab.kubectl(&["delete", "node", &holder]);
    lab.until_held(web.vip, |now| now.is_some_and(|now| now != holder));
    let next = until_status_says(&lab, "web", web.vip);
    assert_ne!(next, holder);
    lab.answer(&web);

    // Without a controller everything goes on, and the next one finds nothing to write.
    let before = version(&lab, "web");
    lab.kill_controller().unwrap();
    lab.answer(&web);
    lab.start_controller().unwrap();
    // It allocates: what is new has an address, and what was there has the one that it had.
    make(&lab, &service("late"));
    until_led("the new service has an address", || {
        addresses(&lab, "late")
            .pop()
            .ok_or_else(|| "none".to_owned())
    });
    assert_eq!(version(&lab, "web"), before);
}

#[test]
fn an_address_that_two_services_say_they_hold_is_announced_for_the_older_alone() {
    let mut lab = TestLab::cluster();
    let web = lab.frontends_of("default/web").remove(0);
    lab.answer(&web);
    lab.kill_controller().unwrap();
    // With a port of its own: of two services with one address and port the service proxies serve either.
    let mut young = service("young");
    young["spec"]["ports"][0]["port"] = json!(81);
    make(&lab, &young);
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": web.vip.to_string()}]}}});
    lab.kubectl(&[
        "patch",
        "service",
        "young",
        "--subresource=status",
        "--type=merge",
        "-p",
        &status.to_string(),
    ]);
    // A speaker that has not heard of it yet says so.
    let why = |lab: &TestLab, node: &str, service: &str| -> String {
        let story = lab.speakers()[node].ctl_json(&["why", service]);
        story.map_or_else(|unknown| unknown.to_string(), |story| story.to_string())
    };
    let nodes = ["n1", "n2", "n3"];
    lab.eventually("every speaker is silent about the younger", || {
        let all = nodes.map(|node| why(&lab, node, "default/young"));
        match all.iter().all(|one| one.contains("belongs to default/web")) {
            true => Ok(()),
            false => Err(all),
        }
    });
    lab.answer(&web);

    // The controller takes the address from the younger, says so, and gives it one of its own.
    lab.start_controller().unwrap();
    until_led(
        "the younger has an address of its own",
        || match addresses(&lab, "young").as_slice() {
            [own] if *own != web.vip => Ok(()),
            others => Err(format!("{others:?}")),
        },
    );
    let events = lab.kubectl(&["get", "events", "-o", "json"]);
    assert!(events.contains("ClearAssignment"), "{events}");
    assert_eq!(addresses(&lab, "web").first(), Some(&web.vip));
}

/// Controller and speakers of two versions, in either order. `HELIOGRAPH_OTHER` names the other version's binary; without it
/// both are of this version, and it is said.
#[test]
fn versions_that_differ_meet_in_objects_alone() {
    let own = Options::sample().speaker;
    let pairs = match other_speaker() {
        Some(other) => vec![(own.clone(), other.clone()), (other, own)],
        None => vec![(own.clone(), own)],
    };
    for (controller, speaker) in pairs {
        let lab = TestLab::cluster_of(controller, speaker);
        for service in ["default/web", "default/web-local", "default/echo-udp"] {
            for frontend in lab.frontends_of(service) {
                lab.answer(&frontend);
            }
        }
        let web = lab.frontends_of("default/web").remove(0);
        until_status_says(&lab, "web", web.vip);
        lab.kubectl(&["delete", "service", "web"]);
        lab.until_held(web.vip, |holder| holder.is_none());
        make(&lab, &service("late"));
        lab.eventually("the new service has an address", || {
            addresses(&lab, "late").pop().ok_or("none")
        });
    }
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app": name}},
    })
}

fn make(lab: &TestLab, object: &Value) {
    let name = object["metadata"]["name"].as_str().unwrap();
    let path = lab.folder().join(format!("{name}.json"));
    std::fs::write(&path, object.to_string()).unwrap();
    lab.kubectl(&[
        "create",
        "--validate=false",
        "-f",
        &path.display().to_string(),
    ]);
}

/// Waits for what only the next leader does, which takes a Lease over when it has run out.
#[track_caller]
fn until_led<T>(what: &str, check: impl FnMut() -> Result<T, String>) -> T {
    within(LEASE_AND_MORE, check).unwrap_or_else(|why| panic!("{what}: {why}"))
}

fn get(lab: &TestLab, name: &str) -> Value {
    let text = lab.kubectl(&["get", "service", name, "-o", "json"]);
    serde_json::from_str(&text).unwrap()
}

fn version(lab: &TestLab, name: &str) -> Value {
    get(lab, name)["metadata"]["resourceVersion"].clone()
}

fn addresses(lab: &TestLab, name: &str) -> Vec<IpAddr> {
    let object = get(lab, name);
    let ingress = object["status"]["loadBalancer"]["ingress"].as_array();
    let ips = ingress.into_iter().flatten();
    ips.map(|one| one["ip"].as_str().unwrap().parse().unwrap())
        .collect()
}

/// Waits until the one status of a service names the node that answers for its address; that node.
#[track_caller]
fn until_status_says(lab: &TestLab, service: &str, vip: IpAddr) -> String {
    let selector = format!("metallb.io/service-name={service}");
    let words = [
        "-n",
        NAMESPACE,
        "get",
        "servicel2statuses",
        "-l",
        &selector,
        "-o",
        "json",
    ];
    lab.eventually(&format!("the status of {service} names its holder"), || {
        let holder = lab.holder(vip).ok_or_else(Vec::new)?;
        let list: Value = serde_json::from_str(&lab.kubectl(&words)).unwrap();
        let items = list["items"].as_array().unwrap().iter();
        let nodes: Vec<String> = items
            .map(|item| item["status"]["node"].to_string())
            .collect();
        match nodes == [format!("{holder:?}")] {
            true => Ok(holder),
            false => Err(nodes),
        }
    })
}

const NAMESPACE: &str = "metallb-system";
const LEASE_AND_MORE: Duration = Duration::from_secs(40); // a Lease runs out after 15 s
