//! Two replicas: one writes, and no write of the other does harm, however late it comes.

use super::announced;
use super::site::{Site, pool, service};
use crate::cluster::pause;
use api_tests::{Fault, Rule};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

#[test]
fn the_second_replica_waits_and_takes_over_when_the_first_is_gone() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    site.put(&service("web"));
    let first = site.controller("c-1", &[]);
    first.until_it_says("leading");
    let second = site.controller("c-2", &[]);
    second.until_it_says("following");
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
    let before = site.service("web");
    first.kill();
    site.put(&service("new"));
    second.until_it_says("leading");
    site.until("an address", || site.holds("new") == ["192.0.2.1"]);
    assert_eq!(site.service("web"), before);
    assert_eq!(site.lease()["leaseTransitions"], 1);
}

#[test]
fn a_replica_that_waits_is_alive_and_ready() {
    let site = Site::new();
    let first = site.controller("c-1", &[]);
    first.until_it_says("leading");
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let flag = format!("--health-probe-port={port}");
    let second = site.controller("c-2", &[&flag]);
    second.until_it_says("following");
    for page in ["/healthz", "/readyz"] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(stream, "GET {page} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"),
            "{answer}"
        );
    }
}

#[test]
fn a_leader_that_stops_hands_over_at_once() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    let first = site.controller("c-1", &[]);
    first.until_it_says("leading");
    let second = site.controller("c-2", &[]);
    second.until_it_says("following");
    site.put(&service("web"));
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
    let begun = std::time::Instant::now();
    first.stop();
    assert_eq!(site.events("web").len(), 1, "what was to be told is told");
    second.until_it_says("leading");
    // Its Lease was good for some 13 s more at least.
    assert!(begun.elapsed().as_secs() < 13, "{:?}", begun.elapsed());
}

#[test]
fn a_leader_that_stood_still_ends_without_another_write() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    let mut first = site.controller("c-1", &[]);
    first.until_it_says("allocationBegins");
    let second = site.controller("c-2", &[]);
    second.until_it_says("following");
    first.signal("STOP");
    site.put(&service("web"));
    second.until_it_says("leading");
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
    let before = site.service("web");
    first.signal("CONT");
    site.until("its end", || first.ended().is_some());
    assert!(first.line("ipAllocated").is_none());
    assert_eq!(site.service("web"), before);
}

/// The leader is stopped with a write in its socket, which lands 20 s later: the next leader has given the address away
/// meanwhile, since the pool is not for that service any more.
#[test]
fn a_write_that_lands_late_leaves_no_duplicate() {
    let site = Site::new();
    let since = site.double.revision();
    site.put(&pool("p", "192.0.2.0/32"));
    let first = site.controller("c-1", &[]);
    first.until_it_says("allocationBegins");
    let late = Rule {
        method: "PUT".into(),
        path: "/services/late/".into(),
        times: 1,
        fault: Fault::Before { millis: 20_000 },
        ..Rule::default()
    };
    site.double.faults(vec![late], 1);
    site.put(&service("late"));
    pause(500);
    // Killed, its connection would be closed, and the write with it.
    first.signal("STOP");
    let mut other = pool("p", "192.0.2.0/32");
    other["spec"]["serviceAllocation"] =
        json!({"serviceSelectors": [{"matchLabels": {"for": "new"}}]});
    site.put(&other);
    let mut new = service("new");
    new["metadata"]["labels"] = json!({"for": "new"});
    site.put(&new);
    let second = site.controller("c-2", &[]);
    second.until_it_says("leading");
    site.until("an address", || site.holds("new") == ["192.0.2.0"]);
    let is_cleared = || {
        let events = site.events("late");
        events.iter().any(|event| event.contains("ClearAssignment"))
    };
    site.until("the late write's end", is_cleared);
    assert_eq!(site.holds("late"), Vec::<String>::new());
    assert_eq!(site.holds("new"), ["192.0.2.0"]);
    assert_ne!(announced::never_for_two(&site.double, since), 0);
}

/// Somebody else allocates, which is told by an event and the ConfigurationState, while the Lease cannot be renewed.
#[test]
fn a_leader_tells_nothing_while_its_term_is_in_doubt() {
    let site = Site::new();
    site.put(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "c-1", "namespace": "metallb-system"},
        "spec": {"containers": [{"name": "controller", "image": "heliograph"}]},
    }));
    site.put(&pool("p", "192.0.2.0/30"));
    site.put(&service("web"));
    let mut leader = site.controller("c-1", &[]);
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
    site.until("a verdict", || site.state()["result"] == "Valid");
    site.until("the event", || site.events("web").len() == 1);
    let renewed = site.lease()["renewTime"].clone();
    site.until("a renewal", || site.lease()["renewTime"] != renewed);
    // Renewals are two seconds apart, and a write may be begun for five seconds after one: the fourth is in time for the Lease.
    let refused = Rule {
        method: "PUT".into(),
        path: "/leases/".into(),
        times: 3,
        fault: Fault::Refuse {
            code: 500,
            retry_after: 0,
        },
        ..Rule::default()
    };
    site.double.faults(vec![refused], 1);
    site.double.forget_requests();
    pause(5500);
    let status = "/api/v1/namespaces/a/services/web/status?fieldManager=controller";
    let patch = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}]}}});
    let merge = "application/merge-patch+json";
    assert_eq!(site.double.request("PATCH", status, merge, &patch).0, 200);
    leader.until_it_says("allocationPaused");
    site.until("a verdict", || site.state()["result"] == "Invalid");
    site.until("the event", || paused(&site) == 1);
    assert!(leader.ended().is_none());
    let requests = site.double.requests().into_iter();
    let written = requests.filter(|r| ["create", "update", "patch"].contains(&r.verb.as_str()));
    let mut written: Vec<(u16, bool)> = written
        .map(|r| (r.code, r.path.contains("/leases/")))
        .collect();
    written.truncate(4);
    assert_eq!(
        written,
        [(500, true), (500, true), (500, true), (200, true)],
        "nothing is written before the Lease is renewed"
    );
}

/// Events `AllocationPaused` of a pod.
fn paused(site: &Site) -> usize {
    let list = site.get("/api/v1/namespaces/metallb-system/events");
    let events = list["items"].as_array().into_iter().flatten();
    events
        .filter(|event| event["reason"] == "AllocationPaused")
        .count()
}

/// Where a leader can be stopped: a request lies in its socket, or it has half of the answer, or all of the answer lies there.
const PLACES: [(&str, &str); 6] = [
    ("PUT", "/leases/heliograph-controller"),
    ("PUT", "/services/late/status"),
    ("POST", "/events"),
    ("PUT", "/ipaddresspools/p/status"),
    ("PATCH", "/configurationstates/controller"),
    ("GET", "/pods?"),
];

#[test]
fn a_leader_may_stop_before_inside_and_after_any_request() {
    let faults = [
        Fault::Before { millis: 20_000 },
        Fault::Within { millis: 20_000 },
        Fault::After { millis: 20_000 },
    ];
    std::thread::scope(|scope| {
        for (method, path) in PLACES {
            for fault in &faults {
                scope.spawn(move || stops_at(method, path, fault));
            }
        }
    });
}

fn stops_at(method: &str, path: &str, fault: &Fault) {
    let site = Site::new();
    let since = site.double.revision();
    site.put(&pool("p", "192.0.2.0/30"));
    site.put(&service("old"));
    let mut first = site.controller("c-1", &[]);
    site.until("an address", || site.holds("old") == ["192.0.2.0"]);
    let rule = Rule {
        method: method.to_owned(),
        path: path.to_owned(),
        times: 1,
        fault: fault.clone(),
        ..Rule::default()
    };
    site.double.faults(vec![rule], 1);
    site.put(&service("late"));
    // So that the state of the configuration is written too.
    site.put(&pool("q", "nonsense"));
    pause(700);
    first.signal("STOP");
    site.double
        .delete("/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools/q");
    site.put(&service("new"));
    let second = site.controller("c-2", &[]);
    second.until_it_says("leading");
    pause(8000); // what was delayed has landed
    site.until("addresses", || {
        ["late", "new"].iter().all(|s| site.holds(s).len() == 1)
    });
    first.signal("CONT");
    site.until("its end", || first.ended().is_some());
    pause(500);
    let held: Vec<String> = ["old", "late", "new"]
        .iter()
        .flat_map(|s| site.holds(s))
        .collect();
    assert_ne!(announced::never_for_two(&site.double, since), 0);
    let mut distinct = held.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 3, "{method} {path} {fault:?}: {held:?}");
    let holder = site.lease()["holderIdentity"].as_str().unwrap().to_owned();
    assert!(
        holder.starts_with("c-2_"),
        "{method} {path} {fault:?}: {holder} leads"
    );
}
