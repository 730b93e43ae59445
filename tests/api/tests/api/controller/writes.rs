//! What many services cost the API server: writes a service, by the double's log.

use super::site::{Site, pool, service};
use crate::cluster::{CONTROLLER, pause};
use std::collections::BTreeMap;

/// Requests about namespace `a`, as verb, code and the last word of the path.
type Counts = BTreeMap<(String, u16, String), usize>;

/// Many more than are each told of that they were cleared.
const SERVICES: usize = 200;

#[test]
fn many_services_cost_two_writes_each_at_the_start_none_at_a_restart_and_two_in_a_new_range() {
    let site = Site::new();
    site.put(&pool("p", "198.18.0.0/24"));
    for number in 0..SERVICES {
        site.put(&service(&format!("s{number:04}")));
    }
    let two_each = counts(&[
        ("create", 201, "events", SERVICES),
        ("update", 200, "status", SERVICES),
    ]);
    site.double.forget_requests();
    let first = site.controller("c-0", &[]);
    until_all_are_written(&site, "198.18.");
    assert_eq!(written(&site), two_each);
    first.stop();

    site.double.forget_requests();
    let second = site.controller("c-0", &[]);
    site.put(&service("late"));
    site.until("the event", || !site.events("late").is_empty());
    let of_late = counts(&[("create", 201, "events", 1), ("update", 200, "status", 1)]);
    assert_eq!(written(&site), of_late, "nothing but the new one");
    site.delete_service("late");
    second.until_it_says("serviceDeleted");

    site.double.forget_requests();
    site.put(&pool("p", "198.19.0.0/24"));
    until_all_are_written(&site, "198.19.");
    assert_eq!(written(&site), two_each);
    let told = second.lines_of("clearAssignment");
    assert_eq!(told.len(), SERVICES + 1, "each is in the log");
    assert_eq!(told[0]["services"], SERVICES);
}

/// Waits until each service has an address in a range, and as many events came.
fn until_all_are_written(site: &Site, range: &str) {
    site.until("all addresses", || {
        let list = site.get("/api/v1/namespaces/a/services");
        let mut services = list["items"].as_array().unwrap().iter();
        services.all(|service| {
            let ip = service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str();
            ip.is_some_and(|ip| ip.starts_with(range))
        })
    });
    site.until("all events", || {
        let events = ("create".to_owned(), 201, "events".to_owned());
        written(site).get(&events) >= Some(&SERVICES)
    });
    // What should not come has had its chance.
    pause(500);
}

/// What controllers wrote and read of namespace `a`, but for watches and lists.
fn written(site: &Site) -> Counts {
    let mut counts = Counts::new();
    for request in site.double.requests() {
        let is_whole = request.verb == "list" || request.verb == "watch";
        let is_near = request.path.starts_with("/api/v1/namespaces/a/");
        if request.user == CONTROLLER && is_near && !is_whole {
            let word = request.path.rsplit('/').next().unwrap().to_owned();
            *counts
                .entry((request.verb, request.code, word))
                .or_default() += 1;
        }
    }
    counts
}

fn counts(expected: &[(&str, u16, &str, usize)]) -> Counts {
    let expected = expected.iter();
    expected
        .map(|(verb, code, word, count)| (((*verb).to_owned(), *code, (*word).to_owned()), *count))
        .collect()
}
