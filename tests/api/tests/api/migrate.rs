//! `speaker ctl doctor --migrate`, which is asked before MetalLB's place is taken.

use api_tests::{Double, Options};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

#[test]
fn what_stands_in_the_way_is_said_before_anything_is_changed() {
    let double = cluster("baseline", "v0.14.9");
    double.forget_requests();
    let (code, found) = migrate(&double, "admin");
    assert_eq!(code, 2, "{found:?}");
    assert_eq!(
        found,
        [
            "migrate-security",
            "migrate-version",
            "migrate-way",
            "migrate-pending"
        ]
    );
    let requests = double.requests();
    assert!(requests.len() > 5);
    assert!(
        requests
            .iter()
            .all(|request| ["get", "list"].contains(&request.verb.as_str()))
    );

    let (code, found) = migrate(&cluster("privileged", "v0.16.1"), "admin");
    assert_eq!(
        (code, found),
        (
            0,
            vec!["migrate-way".to_owned(), "migrate-pending".to_owned()]
        )
    );
}

#[test]
fn who_may_not_look_is_told_what_was_not_seen() {
    let (code, found) = migrate(&cluster("privileged", "v0.16.1"), "idle");
    assert_eq!(code, 1, "{found:?}");
    assert!(found.iter().any(|check| check == "unseen"), "{found:?}");
}

/// A cluster with MetalLB's speaker of this version, and a load balancer that has no address.
fn cluster(level: &str, version: &str) -> Double {
    let mut options = Options {
        crds: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds")),
        ..Options::default()
    };
    options.users.add("idle-token", "idle", &[]);
    let double = Double::start(options).unwrap();
    let labels = json!({"app": "metallb", "component": "speaker"});
    let image = format!("quay.io/metallb/speaker:{version}");
    for object in [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": "metallb-system",
            "labels": {"pod-security.kubernetes.io/enforce": level},
        }}),
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "speaker", "namespace": "metallb-system", "labels": labels},
            "spec": {"selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "speaker", "image": image}]},
            }},
        }),
        json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        }),
    ] {
        let (code, answer) = double.put(&object);
        assert!(code < 300, "{answer}");
    }
    double
}

/// How it ended, and which checks found something.
fn migrate(double: &Double, user: &str) -> (i32, Vec<String>) {
    let kubeconfig = double.kubeconfig(user).unwrap();
    let mut doctor = Command::new(xtask::tools::target().join("debug/speaker"));
    doctor.args(["ctl", "doctor", "--migrate", "-o", "json", "--kubeconfig"]);
    let done = doctor.arg(kubeconfig).output().unwrap();
    let report: Value =
        serde_json::from_slice(&done.stdout).unwrap_or_else(|why| panic!("{why}: {done:?}"));
    let rows = report["findings"].as_array().unwrap().iter();
    let checks = rows.map(|row| row["check"].as_str().unwrap().to_owned());
    (done.status.code().unwrap(), checks.collect())
}
