//! What `speaker ctl doctor` says of the rights of the account that it runs with.

use api_tests::{Double, Options};
use serde::Deserialize as _;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Of the shipped rights none is missed; without one of them just that one is; without any the first of many are named.
#[test]
fn a_right_that_a_speaker_lacks_is_named_and_no_other() {
    let double = cluster(|_| {});
    assert_eq!(lacking(&double, SPEAKER), Vec::<String>::new());
    assert_eq!(lacking(&double, "idle").len(), SHOWN_MAX);

    let lesser = cluster(|object| {
        let rules = object["rules"].as_array_mut().into_iter().flatten();
        for rule in rules.filter(|rule| rule["resources"][0] == "endpointslices") {
            rule["verbs"] = serde_json::json!(["list"]);
        }
    });
    let missed = "watch endpointslices.discovery.k8s.io --all-namespaces";
    assert_eq!(lacking(&lesser, SPEAKER), [missed]);
}

/// A cluster with the shipped rights as `change` leaves them.
fn cluster(change: impl Fn(&mut Value)) -> Double {
    let mut options = Options::default();
    options.users.add("speaker-token", SPEAKER, &[]);
    options.users.add("idle-token", "idle", &[]);
    let double = Double::start(options).unwrap();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/manifests");
    for file in ["0-namespace.yaml", "2-speaker-rights.yaml"] {
        let text = std::fs::read_to_string(deploy.join(file)).unwrap();
        for document in serde_norway::Deserializer::from_str(&text) {
            let mut object = Value::deserialize(document).unwrap();
            change(&mut object);
            let (code, answer) = double.put(&object);
            assert!((200..300).contains(&code), "{answer}");
        }
    }
    double
}

/// What the doctor finds of rights, whatever else is wrong with this machine.
fn lacking(double: &Double, user: &str) -> Vec<String> {
    let kubeconfig = double.kubeconfig(user).unwrap();
    let mut doctor = Command::new(xtask::tools::target().join("debug/speaker"));
    doctor.args([
        "ctl",
        "doctor",
        "-o",
        "json",
        "--namespace",
        "metallb-system",
    ]);
    doctor.args(["--insecure-gossip", "--kubeconfig"]);
    let done = doctor.arg(kubeconfig).output().unwrap();
    let report: Value =
        serde_json::from_slice(&done.stdout).unwrap_or_else(|why| panic!("{why}: {done:?}"));
    assert_eq!(report["facts"]["unseen"]["rights"], Value::Null);
    let rows = report["findings"].as_array().unwrap().iter();
    let rights = rows.filter(|row| row["check"] == "rights");
    rights
        .map(|row| row["about"].as_str().unwrap().to_owned())
        .collect()
}

const SPEAKER: &str = "system:serviceaccount:metallb-system:speaker";
/// Of one check.
const SHOWN_MAX: usize = 16;
