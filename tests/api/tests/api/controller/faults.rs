//! What a controller does when requests fail, meet others, or are forbidden.

use super::site::{Site, pool, service};
use crate::cluster::pause;
use crate::random;
use api_tests::{Fault, Rule};
use serde_json::json;
use std::time::Duration;

fn on_statuses(times: u32, fault: Fault) -> Rule {
    Rule {
        method: "PUT".into(),
        path: "/services/".into(),
        times,
        fault,
        ..Rule::default()
    }
}

#[test]
fn a_conflict_is_read_and_decided_anew() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    let controller = site.controller("c-0", &[]);
    controller.until_it_says("allocationBegins");
    site.double
        .faults(vec![on_statuses(1, Fault::Before { millis: 1000 })], 1);
    site.put(&service("web"));
    pause(300);
    let mut changed = site.service("web");
    changed["metadata"]["annotations"] = json!({"metallb.io/loadBalancerIPs": "192.0.2.3"});
    site.put(&changed);
    site.until("the address that is asked for", || {
        site.holds("web") == ["192.0.2.3"]
    });
    let codes: Vec<u16> = site
        .double
        .requests()
        .iter()
        .filter(|r| r.verb == "update" && r.path.contains("/services/"))
        .map(|r| r.code)
        .collect();
    assert_eq!(codes, [409, 200]);
    site.until("one event", || {
        site.events("web") == ["Normal IPAllocated Assigned IP [\"192.0.2.3\"]"]
    });
}

#[test]
fn a_write_whose_answer_is_lost_is_not_repeated_in_vain() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    let controller = site.controller("c-0", &[]);
    controller.until_it_says("allocationBegins");
    site.double.faults(vec![on_statuses(1, Fault::Swallow)], 1);
    site.put(&service("web"));
    site.until("one event", || site.events("web").len() == 1);
    assert_eq!(site.holds("web"), ["192.0.2.0"]);
    pause(1000);
    assert_eq!(site.events("web").len(), 1);
}

#[test]
fn a_server_that_is_busy_is_asked_again_when_it_wants() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    let controller = site.controller("c-0", &[]);
    controller.until_it_says("allocationBegins");
    let busy = Fault::Refuse {
        code: 429,
        retry_after: 2,
    };
    site.double.faults(vec![on_statuses(1, busy)], 1);
    site.put(&service("web"));
    controller.until_it_says("updateServiceStatus");
    pause(1000);
    assert_eq!(site.holds("web"), Vec::<String>::new());
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
}

#[test]
fn a_right_that_is_missing_shows_and_is_no_end() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    let controller = site.controller("c-0", &[]);
    controller.until_it_says("allocationBegins");
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/metallb-system:controller";
    let whole = site.get(path);
    let mut less = whole.clone();
    let rules = less["rules"].as_array_mut().unwrap();
    rules.retain(|rule| rule["resources"] != json!(["services/status"]));
    site.put(&less);
    site.put(&service("web"));
    controller.until_it_says("updateServiceStatus");
    let told = controller.line("updateServiceStatus").unwrap();
    assert!(
        told["error"]
            .as_str()
            .unwrap()
            .contains("cannot update resource \"services/status\""),
        "{told}"
    );
    site.put(&whole);
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
}

#[test]
fn while_the_api_is_away_nothing_changes_and_afterwards_all_is_caught_up() {
    let mut site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    site.put(&service("web"));
    let controller = site.controller("c-0", &[]);
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
    let before = site.service("web");
    site.double.stop();
    pause(3000);
    site.double.resume().unwrap();
    site.put(&service("new"));
    site.until("an address", || site.holds("new") == ["192.0.2.1"]);
    assert_eq!(site.service("web"), before);
    controller.stop();
}

#[test]
fn an_outage_longer_than_the_lease_ends_the_process_and_the_next_one_goes_on() {
    let mut site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    site.put(&service("web"));
    let mut controller = site.controller("c-0", &[]);
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
    let before = site.service("web");
    site.double.stop();
    site.until("its end", || controller.ended().is_some());
    let _next = site.controller("c-0", &[]);
    site.double.resume().unwrap();
    site.put(&service("new"));
    site.until("an address", || site.holds("new") == ["192.0.2.1"]);
    assert_eq!(site.service("web"), before);
}

#[test]
fn a_write_that_hangs_is_given_up_and_told_once() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    let controller = site.controller("c-0", &[]);
    controller.until_it_says("allocationBegins");
    let hang = Fault::Before { millis: 3_600_000 };
    site.double.faults(vec![on_statuses(1, hang)], 1);
    site.put(&service("web"));
    controller.until_it_says("updateServiceStatus");
    site.until("the event", || site.events("web").len() == 1);
    assert_eq!(site.holds("web"), ["192.0.2.0"]);
}

#[test]
fn what_a_hanging_watch_missed_is_caught_up_once_it_breaks() {
    let mut site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    site.put(&service("stays"));
    site.put(&service("goes"));
    let controller = site.controller("c-0", &[]);
    site.until("addresses", || {
        ["stays", "goes"].iter().all(|s| site.holds(s).len() == 1)
    });
    let before = site.service("stays");
    let freed = site.holds("goes");
    hang_watches(&mut site);
    site.delete_service("goes");
    site.put(&service("comes"));
    pause(2000);
    assert_eq!(site.holds("comes"), Vec::<String>::new());
    site.double.stop();
    site.double.resume().unwrap();
    site.until("the address that is free", || site.holds("comes") == freed);
    assert_eq!(site.service("stays"), before);
    assert_eq!(site.lease()["leaseTransitions"], 0);
    controller.stop();
}

/// It takes the five minutes that a watch may be silent.
#[test]
fn a_watch_that_hangs_for_five_minutes_is_opened_anew() {
    if !random::is_night() {
        println!("left out: it takes five minutes (HELIOGRAPH_NIGHT=1)");
        return;
    }
    let mut site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    site.put(&service("stays"));
    let controller = site.controller("c-0", &[]);
    site.until("an address", || site.holds("stays") == ["192.0.2.0"]);
    let before = site.service("stays");
    hang_watches(&mut site);
    site.put(&service("comes"));
    site.until_within(SILENT_MAX, "an address", || {
        site.holds("comes") == ["192.0.2.1"]
    });
    assert_eq!(site.service("stays"), before);
    controller.stop();
}

/// Lets every watch that is open begin anew and say nothing; those after it are well.
fn hang_watches(site: &mut Site) {
    let hang = Rule {
        path: "watch=true".into(),
        fault: Fault::Stall { after: 0 },
        ..Rule::default()
    };
    site.double.stop();
    site.double.faults(vec![hang], 1);
    site.double.forget_requests();
    site.double.resume().unwrap();
    site.until("a watch on each kind", || {
        let requests = site.double.requests().into_iter();
        let watches = requests.filter(|r| r.verb == "watch" && r.code == 200);
        watches.count() == KINDS
    });
    site.double.faults(Vec::new(), 1);
}

/// Services, pools, namespaces and communities.
const KINDS: usize = 4;
/// A watch that said nothing for 295 s is left; the rest is for a busy machine.
const SILENT_MAX: Duration = Duration::from_secs(360);
