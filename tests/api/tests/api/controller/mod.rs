//! The controller as a process against the double, with no more rights than our own roles give it: addresses, restarts, leaders,
//! and what it does when something goes wrong.

mod announced;
mod credentials;
mod faults;
mod leaders;
mod proxied;
mod recorded;
mod site;
mod tenant;
mod verdict;
mod versions;
mod writes;

use crate::cluster::pause;
use crate::metrics::Metrics;
use serde_json::{Value, json};
use site::{Site, pool, service};

#[test]
fn a_service_gets_address_pool_and_event_for_two_writes() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    let controller = site.controller("c-0", &["--ml-secret-name=memberlist"]);
    site.until("the pool's status", || site.pool("p")["status"].is_object());
    site.double.forget_requests();
    site.put(&service("web"));
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
    site.until("the event", || !site.events("web").is_empty());
    site.until("the pool's count", || {
        site.pool("p")["status"]["assignedIPv4"] == 1
    });
    let web = site.service("web");
    assert_eq!(
        web["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"],
        "p"
    );
    assert_eq!(
        site.events("web"),
        ["Normal IPAllocated Assigned IP [\"192.0.2.0\"]"]
    );
    let of_web: Vec<String> = site
        .double
        .requests()
        .into_iter()
        .filter(|r| {
            r.user.ends_with(":controller")
                && (r.path.contains("/services/") || r.path.ends_with("/events"))
        })
        .map(|r| format!("{} {}", r.verb, r.code))
        .collect();
    assert_eq!(of_web, ["update 200", "create 201"], "and nothing is read");
    let line = controller.line("ipAllocated").unwrap();
    assert_eq!(line["ip"], json!(["192.0.2.0"]));
    assert_eq!(line["msg"], "IP address assigned by controller");
    site.until("the Secret of the gossip", || {
        let secret = site.get("/api/v1/namespaces/metallb-system/secrets/memberlist");
        secret["data"]["secretkey"].is_string()
    });
    site.until("a verdict", || site.state()["result"] == "Valid");
}

#[test]
fn what_others_wrote_into_a_service_stays() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    let mut web = service("web");
    web["metadata"]["labels"] = json!({"l": "1"});
    web["metadata"]["annotations"] = json!({"other": "x"});
    web["metadata"]["finalizers"] = json!(["example.test/kept"]);
    site.put(&web);
    let _controller = site.controller("c-0", &[]);
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
    let metadata = &site.service("web")["metadata"];
    assert_eq!(metadata["labels"]["l"], "1");
    assert_eq!(metadata["annotations"]["other"], "x");
    assert_eq!(metadata["finalizers"], json!(["example.test/kept"]));
}

#[test]
fn restarts_move_nothing_and_write_nothing() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/29"));
    for name in ["a", "b", "c"] {
        site.put(&service(name));
    }
    let first = site.controller("c-0", &[]);
    site.until("addresses", || {
        ["a", "b", "c"].iter().all(|s| site.holds(s).len() == 1)
    });
    site.delete_service("a");
    site.until("a free address", || {
        site.pool("p")["status"]["assignedIPv4"] == 2
    });
    first.stop();
    let before = [site.service("b"), site.service("c")];
    for _ in 0..3 {
        let again = site.controller("c-0", &[]);
        again.until_it_says("allocationBegins");
        site.put(&service("late"));
        site.until("an address", || site.holds("late").len() == 1);
        site.delete_service("late");
        again.stop();
    }
    assert_eq!(
        [site.service("b"), site.service("c")],
        before,
        "down to the resourceVersion"
    );
}

#[test]
fn an_address_that_is_free_again_goes_to_who_waits() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/32"));
    site.put(&service("first"));
    let _controller = site.controller("c-0", &[]);
    site.until("an address", || site.holds("first") == ["192.0.2.0"]);
    site.put(&service("waits"));
    let failed = "Warning AllocationFailed Failed to allocate IP for \"a/waits\": no available IPs";
    site.until("the event", || site.events("waits") == [failed]);
    let mut other = site.service("first");
    other["spec"]["type"] = json!("ClusterIP");
    site.put(&other);
    site.until("the address", || site.holds("waits") == ["192.0.2.0"]);
    let first = site.service("first");
    let pool = &first["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"];
    assert!(pool.is_null(), "{first}");
    assert_eq!(first["status"]["loadBalancer"], json!({}));
}

#[test]
fn services_of_another_class_are_left_alone() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    site.put(&service("none"));
    let mut ours = service("ours");
    ours["spec"]["loadBalancerClass"] = json!("example.test/ours");
    site.put(&ours);
    let _controller = site.controller("c-0", &["-lb-class", "example.test/ours"]);
    site.until("an address", || site.holds("ours") == ["192.0.2.0"]);
    assert_eq!(site.holds("none"), Vec::<String>::new());
}

#[test]
fn a_frozen_pool_changes_nothing_until_it_is_mended() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    site.put(&service("web"));
    let first = site.controller("c-0", &[]);
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
    first.stop();
    site.put(&pool("p", "192.0.2.0-nonsense"));
    site.put(&service("new"));
    let before = site.service("web");
    let _second = site.controller("c-0", &[]);
    site.until("a verdict", || site.state()["result"] == "Invalid");
    let summary = site.summary();
    assert!(
        summary
            .starts_with("configuration error: IPAddressPool metallb-system/p: spec.addresses[0]"),
        "{summary}"
    );
    assert_eq!(site.service("web"), before);
    assert_eq!(site.holds("new"), Vec::<String>::new());
    site.put(&pool("p", "192.0.2.0/30"));
    site.until("another address", || site.holds("new") == ["192.0.2.1"]);
    site.until("a verdict", || site.state()["result"] == "Valid");
    assert_eq!(site.service("web"), before);
}

#[test]
fn hand_edits_of_a_pools_status_are_put_right() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    let _controller = site.controller("c-0", &[]);
    let right =
        json!({"assignedIPv4": 0, "assignedIPv6": 0, "availableIPv4": 4, "availableIPv6": 0});
    site.until("the status", || site.pool("p")["status"] == right);
    let patch = json!({"status": {"assignedIPv4": 3, "availableIPv4": 1}});
    let path = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools/p/status";
    let (code, _) = site
        .double
        .request("PATCH", path, "application/merge-patch+json", &patch);
    assert_eq!(code, 200);
    site.until("the right status", || site.pool("p")["status"] == right);
}

#[test]
fn while_a_controller_of_metallb_is_there_nothing_is_allocated() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    site.put(&service("web"));
    site.put(&foreign_controller());
    let controller = site.controller("c-0", &[]);
    controller.until_it_says("allocationPaused");
    site.until("a verdict", || site.state()["result"] == "Invalid");
    let summary = site.summary();
    assert!(summary.contains(IS_THERE), "{summary}");
    pause(3000);
    assert_eq!(site.holds("web"), Vec::<String>::new());
    site.delete_foreign_controller();
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
    site.until("a verdict", || site.state()["result"] == "Valid");
}

/// What is configured has no effect then, and mistakes in it are told before it gets one.
#[test]
fn while_a_controller_of_metallb_is_there_the_configuration_is_judged_and_stale() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    site.put(&foreign_controller());
    let metrics = Metrics::of(&site.double);
    let flags = metrics.flags();
    let controller = site.controller("c-0", &[&flags[0], &flags[1]]);
    controller.until_it_says("allocationPaused");
    site.until("a verdict", || site.state()["result"] == "Invalid");
    let shown = || GAUGES.map(|name| metrics.gauge(name));
    site.until("what is known", || {
        shown() == [Some(1.0), Some(1.0), Some(1.0)]
    });
    site.put(&pool("q", "192.0.2.8-nonsense"));
    let is_mistaken = || site.summary().contains("IPAddressPool metallb-system/q");
    site.until("the mistake", || {
        is_mistaken() && site.summary().contains(IS_THERE)
    });
    site.put(&pool("q", "192.0.2.8/30"));
    site.until("no mistake", || !is_mistaken());
    assert_eq!(site.state()["result"], "Invalid");
    site.put(&pool("r", "192.0.2.16-nonsense"));
    site.delete_foreign_controller();
    site.until("the other mistake alone", || {
        let summary = site.summary();
        summary.contains("IPAddressPool metallb-system/r") && !summary.contains(IS_THERE)
    });
    site.until("the pause is over", || {
        shown() == [Some(1.0), Some(1.0), Some(0.0)]
    });
    site.put(&pool("r", "192.0.2.16/30"));
    site.until("a verdict", || site.state()["result"] == "Valid");
    site.until("nothing is stale", || {
        shown() == [Some(1.0), Some(0.0), Some(0.0)]
    });
}

#[test]
fn while_another_manager_writes_statuses_nothing_is_allocated() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    site.put(&service("web"));
    let controller = site.controller("c-0", &[]);
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
    let write = |manager: &str, ip: &str| {
        let path = format!("/api/v1/namespaces/a/services/web/status?fieldManager={manager}");
        let patch = json!({"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}});
        let patched = site
            .double
            .request("PATCH", &path, "application/merge-patch+json", &patch);
        assert_eq!(patched.0, 200);
    };
    controller.until_it_says("ipAllocated");
    write("kubectl-edit", "192.0.2.2");
    site.put(&service("second"));
    // The first address is free once the change was looked at, which may be in the same turn.
    site.until("an address", || {
        let held = site.holds("second");
        held == ["192.0.2.0"] || held == ["192.0.2.1"]
    });
    assert_eq!(
        site.holds("web"),
        ["192.0.2.2"],
        "what people write is taken over"
    );
    write("controller", "192.0.2.3");
    controller.until_it_says("allocationPaused");
    site.put(&service("third"));
    site.until("a verdict", || site.state()["result"] == "Invalid");
    let summary = site.summary();
    assert!(
        summary.contains("field manager \"controller\" writes statuses too"),
        "{summary}"
    );
    pause(2000);
    assert_eq!(site.holds("third"), Vec::<String>::new());
    assert_eq!(site.holds("web"), ["192.0.2.3"]);
}

#[test]
fn the_log_for_debugging_says_when_a_service_was_looked_at() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    let controller = site.controller("c-0", &["--log-level=debug"]);
    controller.until_it_says("allocationBegins");
    site.put(&service("web"));
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
    controller.until_it_says("endUpdate");
    assert_eq!(controller.line("startUpdate").unwrap()["service"], "a/web");
    assert!(controller.line("noChange").is_none(), "there was one");
    // Of many lines in one second some are left out.
    pause(1100);
    let mut labelled = site.service("web");
    labelled["metadata"]["labels"] = json!({"l": "1"});
    site.put(&labelled);
    controller.until_it_says("noChange");
    assert_eq!(controller.line("noChange").unwrap()["level"], "debug");
}

/// A pod of MetalLB's controller.
fn foreign_controller() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "controller-old", "namespace": "metallb-system", "labels": {"app": "metallb", "component": "controller"}},
        "spec": {"containers": [{"name": "controller", "image": "quay.io/metallb/controller:v0.16.1"}]},
    })
}

const IS_THERE: &str = "pod controller-old of MetalLB's controller is still there";
const GAUGES: [&str; 3] = [
    "metallb_k8s_client_config_loaded_bool",
    "metallb_k8s_client_config_stale_bool",
    "heliograph_controller_blocked",
];
