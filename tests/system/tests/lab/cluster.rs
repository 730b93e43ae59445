//! A speaker on an API server: what it writes there, and what the network sees when the server goes and comes back.

use super::one_node::{ACCOUNT, NAMESPACE, OneNode, POD};
use api_tests::{Fault, Rule};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;
use xtask::lab::net::run;

#[test]
fn what_is_announced_is_written_down_once() {
    let mut cluster = OneNode::new();
    // The node that announced before has died.
    cluster.put(&json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "ServiceL2Status",
        "metadata": {"name": "l2-old", "namespace": NAMESPACE, "labels": labels("n2", "web")},
    }));
    cluster.serve("web", ip(100));
    cluster.start();
    cluster.until("the VIP is answered", |cluster| {
        cluster.is_answered(ip(100))
    });
    cluster.until("one status says so", |cluster| {
        statuses(cluster).iter().map(said).eq([json!({
            "node": "n1", "serviceName": "web", "serviceNamespace": "default", "interfaces": []
        })])
    });
    let status = statuses(&cluster).remove(0);
    assert_eq!(status["metadata"]["labels"], labels("n1", "web"));
    assert_eq!(status["metadata"]["ownerReferences"][0]["name"], POD);
    cluster.until("an event says so", |cluster| !events(cluster).is_empty());
    let event = events(&cluster).remove(0);
    assert_eq!(event["reason"], "nodeAssigned");
    assert_eq!(event["source"]["component"], "metallb-speaker");
    let message = "announcing from node \"n1\" with protocol \"layer2\"";
    assert_eq!(event["message"], message);
    cluster.until("the configuration is good", |cluster| {
        state(cluster)["status"]["result"] == "Valid"
    });

    cluster.until("its hardware is published", |cluster| {
        record(cluster, "n1").is_some()
    });

    // Whatever comes and goes besides: nothing of it is written again.
    cluster.double.forget_requests();
    cluster.put(&json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-2", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": ["10.0.0.2"], "nodeName": "n2"}],
    }));
    thread::sleep(Duration::from_secs(2));
    assert_eq!(writes(&cluster), [] as [String; 0]);

    let path = "/api/v1/namespaces/default/services/web";
    assert_eq!(cluster.double.delete(path), 200);
    cluster.until("nothing is left of it", |cluster| {
        statuses(cluster).is_empty() && !cluster.is_answered(ip(100))
    });
    assert_eq!(writes(&cluster).len(), 1, "{:?}", writes(&cluster));
}

#[test]
fn l2_3_hardware_is_published_and_that_of_a_node_that_nobody_hears_may_claim() {
    const MAC: &str = "02:00:00:00:00:99";
    let mut cluster = OneNode::new();
    cluster.put(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "speaker-n2", "namespace": NAMESPACE,
            "labels": {"heliograph.io/record": "hardware"},
        },
        "data": {"macs": MAC},
    }));
    cluster.serve("web", ip(100));
    cluster.start();
    cluster.until("the VIP is answered", |cluster| {
        cluster.is_answered(ip(100))
    });
    cluster.until("its own is published", |cluster| {
        let own = record(cluster, "n1").unwrap_or_default();
        let macs = own["data"]["macs"].as_str().unwrap_or_default();
        macs.len() == MAC.len() && own["metadata"]["ownerReferences"][0]["name"] == POD
    });
    let kept = cluster.path("run/n1/state/hardware.json");
    cluster.until("that of others is kept", |_| {
        fs::read_to_string(&kept).is_ok_and(|text| text.contains(MAC))
    });
    // The other node answers for the VIP, and says so. The link stays up: a claim for a VIP that was given up meanwhile contests nothing.
    let client = cluster.client();
    run(client
        .command("sysctl")
        .args(["-q", "-w", "net.ipv4.conf.eth0.arp_notify=1"]))
    .unwrap();
    client
        .ip(&format!(
            "addr add 192.0.2.100/32 dev eth0\nlink set eth0 address {MAC}\n"
        ))
        .unwrap();
    cluster.until("its claim is a member's", |cluster| {
        let log = cluster.log();
        log.contains("vipContest") && log.contains("n2 claimed it")
    });
}

#[test]
fn a_faulty_object_is_told_and_withdraws_nothing() {
    let mut cluster = OneNode::new();
    cluster.serve("web", ip(100));
    cluster.start();
    cluster.until("the VIP is answered", |cluster| {
        cluster.is_answered(ip(100))
    });
    cluster.put(&pool("192.0.2.100-nonsense"));
    cluster.until("the configuration is bad", |cluster| {
        state(cluster)["status"]["result"] == "Invalid"
    });
    let status = &state(&cluster)["status"];
    let summary = status["errorSummary"].as_str().unwrap();
    let begin = "configuration error: IPAddressPool metallb-system/lan: spec.addresses[0]: ";
    assert!(summary.starts_with(begin), "{summary}");
    let condition = &status["conditions"][0];
    assert_eq!(condition["type"], "configReconcilerValid");
    assert_eq!(condition["reason"], "ConfigurationError");
    assert!(cluster.is_answered(ip(100)));

    // Not even a restart withdraws it: its last good version was kept.
    cluster.until("the objects are kept", OneNode::has_kept);
    cluster.end(Signal::TERM);
    cluster.start();
    thread::sleep(Duration::from_secs(4));
    assert!(cluster.is_answered(ip(100)));
    cluster.put(&pool("192.0.2.100-192.0.2.119"));
    cluster.until("the configuration is good again", |cluster| {
        state(cluster)["status"]["result"] == "Valid"
    });
}

#[test]
fn nothing_is_withdrawn_while_the_api_server_is_away() {
    let mut cluster = OneNode::new();
    cluster.serve("web", ip(100));
    cluster.serve("gone", ip(101));
    cluster.start();
    cluster.until("both are answered", |cluster| {
        cluster.is_answered(ip(100)) && cluster.is_answered(ip(101))
    });
    cluster.until("the objects are kept", OneNode::has_kept);
    cluster.until("it is written down", |cluster| statuses(cluster).len() == 2);
    let announced = "metallb_speaker_announced{ip=\"192.0.2.100\",node=\"n1\",protocol=\"layer2\",service=\"default/web\"} 1\n";
    let (code, page) = cluster.scrape("scraper");
    assert!(code == "200" && page.contains(announced), "{code} {page}");
    assert_eq!(cluster.scrape("stranger").0, "403");
    assert_eq!(cluster.scrape("nobody").0, "401");
    cluster.api_goes();
    thread::sleep(Duration::from_secs(3));
    assert!(cluster.is_answered(ip(100)));
    // One is paged exactly now.
    let (code, page) = cluster.scrape("scraper");
    assert!(code == "200" && page.contains(announced), "{code} {page}");
    assert!(
        page.contains("heliograph_watch_age_seconds{kind=\"Service\"}"),
        "{page}"
    );

    // In order: the kernel goes on answering, and what was kept stands in.
    cluster.end(Signal::TERM);
    cluster.start();
    for _ in 0..8 {
        thread::sleep(Duration::from_secs(1));
        assert!(cluster.is_answered(ip(100)), "{}", cluster.log());
    }
    // It does not know who may read its metrics, and says so.
    cluster.until("it cannot say who may read its metrics", |cluster| {
        cluster.scrape("scraper").0 == "503"
    });
    cluster.until("it says what it goes by", |cluster| {
        cluster.ctl(&["status"]).contains("objects kept from")
    });

    // By force: silence at the deadline, and then what was kept.
    cluster.end(Signal::KILL);
    cluster.until("nobody answers", |cluster| !cluster.is_answered(ip(100)));
    cluster.start();
    cluster.until("it is answered again", |cluster| {
        cluster.is_answered(ip(100))
    });

    // The API server returns, and one of the services goes.
    cluster.api_returns();
    assert_eq!(
        cluster
            .double
            .delete("/api/v1/namespaces/default/services/gone"),
        200
    );
    cluster.until("what is gone is not answered", |cluster| {
        !cluster.is_answered(ip(101))
    });
    cluster.until("what was kept is not needed any more", |cluster| {
        !cluster.ctl(&["status"]).contains("objects kept from")
    });
    cluster.until("one status is left", |cluster| statuses(cluster).len() == 1);
    assert!(cluster.is_answered(ip(100)));
}

#[test]
fn what_becomes_of_the_daemon_set_decides_what_a_stop_leaves() {
    let mut cluster = OneNode::new();
    let set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "speaker", "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": {"app": "metallb"}},
            "template": {
                "metadata": {"labels": {"app": "metallb"}},
                "spec": {"containers": [{"name": "speaker", "image": "heliograph"}]},
            },
        },
    });
    cluster.put(&set);
    let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/speaker");
    let uid = cluster.double.get(&path).unwrap()["metadata"]["uid"].clone();
    cluster.put(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": POD, "namespace": NAMESPACE, "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "speaker", "uid": uid, "controller": true,
        }]},
        "spec": {"containers": [{"name": "speaker", "image": "heliograph"}]},
    }));
    cluster.serve("web", ip(100));
    cluster.start();
    cluster.until("the VIP is answered", |cluster| {
        cluster.is_answered(ip(100))
    });

    // It is there: another process follows, and the kernel answers until then.
    cluster.end(Signal::TERM);
    assert!(cluster.log().contains("stopping: restart"));
    assert!(cluster.is_answered(ip(100)), "{}", cluster.log());
    cluster.start();
    cluster.until("the next one announces it", |cluster| {
        cluster.ctl(&["status"]).contains("1 announced from here")
    });

    // It is gone: nobody follows, and nothing is left. No other node could take the VIP.
    assert_eq!(cluster.double.delete(&path), 200);
    cluster.end(Signal::TERM);
    let log = cluster.log();
    let because = "stopping: remove, because the DaemonSet is gone";
    assert!(log.contains(because), "{log}");
    assert!(log.contains("no other node can announce"), "{log}");
    assert!(!cluster.is_answered(ip(100)));
    assert!(!cluster.has_pins(), "{log}");
}

#[test]
fn an_api_server_that_stumbles_takes_nothing_away() {
    let mut cluster = OneNode::new();
    cluster.serve("web", ip(100));
    cluster.start();
    cluster.until("it is answered and written down", |cluster| {
        cluster.is_answered(ip(100)) && statuses(cluster).len() == 1
    });
    cluster.double.faults(stumbles(), SEED);
    for round in 0..20 {
        match round % 4 {
            0 => cluster.serve("guest", ip(101)),
            1 => cluster.serve("guest", ip(102)),
            2 => assert_eq!(cluster.double.delete(GUEST), 200),
            _ => cluster.double.compact(),
        }
        thread::sleep(Duration::from_millis(500));
        assert!(cluster.is_answered(ip(100)), "in round {round}");
    }
    let requests = cluster.double.requests();
    assert!(
        requests.iter().any(|request| request.code >= 429),
        "it did not stumble"
    );
    cluster.double.faults(Vec::new(), SEED);
    cluster.serve("guest", ip(103));
    cluster.until("everything is as it should be", |cluster| {
        let named = |object| said(object)["serviceName"].to_string();
        let mut services: Vec<String> = statuses(cluster).iter().map(named).collect();
        services.sort();
        // None stands there twice.
        let is_right = services == ["\"guest\"", "\"web\""];
        let (is_there, is_gone) = ([100, 103], [101, 102]);
        is_right
            && is_there.iter().all(|last| cluster.is_answered(ip(*last)))
            && !is_gone.iter().any(|last| cluster.is_answered(ip(*last)))
    });
}

/// What goes wrong with the speaker's requests, of a hundred each.
fn stumbles() -> Vec<Rule> {
    let rule = |path: &str, percent, fault| Rule {
        path: path.to_owned(),
        user: ACCOUNT.to_owned(),
        percent,
        fault,
        ..Rule::default()
    };
    let refuse = |code, retry_after| Fault::Refuse { code, retry_after };
    vec![
        rule("watch=true", 20, Fault::Cut { after: 1 }),
        rule("watch=true", 20, Fault::Expire { after: 1 }),
        rule("watch=true", 20, Fault::Repeat),
        rule("limit=", 20, Fault::Stale { revisions: 3 }),
        rule("", 5, Fault::Swallow),
        rule("", 5, Fault::Drop),
        rule("", 15, refuse(429, 1)),
        rule("", 15, refuse(500, 0)),
        rule("", 20, Fault::After { millis: 200 }),
    ]
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

pub(super) fn labels(node: &str, service: &str) -> Value {
    json!({
        "metallb.io/node": node,
        "metallb.io/service-name": service,
        "metallb.io/service-namespace": "default",
    })
}

fn pool(addresses: &str) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": "lan", "namespace": NAMESPACE},
        "spec": {"addresses": [addresses]},
    })
}

/// What a node published of its hardware.
pub(super) fn record(cluster: &OneNode, node: &str) -> Option<Value> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/speaker-{node}");
    cluster.double.get(&path)
}

pub(super) fn statuses(cluster: &OneNode) -> Vec<Value> {
    cluster.list(&format!(
        "/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/servicel2statuses"
    ))
}

fn said(object: &Value) -> Value {
    object["status"].clone()
}

pub(super) fn events(cluster: &OneNode) -> Vec<Value> {
    cluster.list("/api/v1/namespaces/default/events")
}

pub(super) fn state(cluster: &OneNode) -> Value {
    let path =
        format!("/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/configurationstates/speaker-n1");
    cluster.double.get(&path).unwrap_or_default()
}

/// What was written besides events.
pub(super) fn writes(cluster: &OneNode) -> Vec<String> {
    let requests = cluster.double.requests().into_iter();
    let written = requests.filter(|request| {
        let is_write = ["create", "update", "patch", "delete"].contains(&request.verb.as_str());
        is_write && request.user.ends_with(":speaker")
    });
    written
        .map(|request| format!("{} {}", request.verb, request.path))
        .filter(|request| !request.contains("/events"))
        .collect()
}

const GUEST: &str = "/api/v1/namespaces/default/services/guest";
const SEED: u64 = 20_261_125;
