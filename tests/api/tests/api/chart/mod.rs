//! The Helm chart, rendered by a real helm: names and selectors of MetalLB's chart, and the objects of the plain manifests.
//!
//! Governed by the values and names of MetalLB's chart (version 0.16): a release of that one is upgraded to this. What an API server
//! makes of the objects is not asked here; that of the plain manifests is, elsewhere.

mod manifests;
mod values;

use serde::Deserialize as _;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

#[test]
fn helm_finds_nothing_to_say() {
    let output = helm(&["lint", "--strict"]);
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}");
    assert!(!words.contains("[WARNING]"), "{words}");
}

/// A selector cannot be changed, and a workload of another name would be a second one.
#[test]
fn a_release_keeps_metallbs_names_and_selectors() {
    for (release, value, full, name) in [
        ("metallb", json!({}), "metallb", "metallb"),
        ("my-metallb", json!({}), "my-metallb", "metallb"),
        ("lb", json!({}), "lb-metallb", "metallb"),
        ("lb", json!({"nameOverride": "other"}), "lb-other", "other"),
        ("lb", json!({"fullnameOverride": "f"}), "f", "metallb"),
    ] {
        let objects = render(&Asked::new(value).release(release));
        for (kind, component) in [("Deployment", "controller"), ("DaemonSet", "speaker")] {
            let own = format!("{full}-{component}");
            let spec = &find(&objects, kind, &own)["spec"];
            let labels = json!({
                "app.kubernetes.io/name": name, "app.kubernetes.io/instance": release,
                "app.kubernetes.io/component": component,
            });
            assert_eq!(spec["selector"]["matchLabels"], labels, "{own}");
            let account = &spec["template"]["spec"]["serviceAccountName"];
            assert_eq!(*account, own);
            find(&objects, "ServiceAccount", &own);
            find(&objects, "ClusterRole", &format!("{full}:{component}"));
        }
        find(&objects, "ConfigMap", &format!("{full}-excludel2"));
        let controller = find(&objects, "Deployment", &format!("{full}-controller"));
        let made = variable(controller, "METALLB_ML_SECRET_NAME");
        assert_eq!(made, format!("{full}-memberlist"));
    }
}

#[test]
fn another_namespace_is_meant_everywhere() {
    let rendered = helm(&["template", "metallb", "-n", "elsewhere"]);
    let text = String::from_utf8_lossy(&rendered.stdout);
    assert!(text.contains("namespace: elsewhere"), "{text}");
    assert!(!text.contains("metallb-system"));
}

#[test]
fn what_cannot_hold_fails_the_render_and_says_what_can() {
    let image = "set heliograph.image";
    let objects = "write IPAddressPool, L2Advertisement and BGPAdvertisement objects";
    let both = "frrk8s.enabled and speaker.frr.enabled exclude each other";
    let own = json!({"image": {"repository": "registry.example/own"}});
    let tag = json!({"image": {"tag": "v0.16.1"}});
    for (value, words) in [
        (json!({"controller": own}), image),
        (json!({"speaker": own}), image),
        (json!({"controller": tag}), image),
        (json!({"speaker": tag}), image),
        (json!({"controller": {"command": "/controller"}}), image),
        (json!({"speaker": {"command": "/speaker"}}), image),
        (json!({"configInline": {"peers": []}}), objects),
        (json!({"existingConfigMap": "config"}), objects),
        (json!({"speaker": {"frr": {"enabled": true}}}), both),
        (
            json!({"frrk8s": {"external": true}}),
            "needs frrk8s.namespace",
        ),
        (
            json!({"speaker": {"livenessProbe": {"port": 1}}}),
            "one port answers both",
        ),
        (
            json!({"prometheus": {"podMonitor": {"enabled": true}}}),
            "prometheus.serviceAccount must say",
        ),
        (json!({"heliograph": {"imgae": {}}}), "'imgae' not allowed"),
        (
            json!({"controller": {"logLevel": "loud"}}),
            "/controller/logLevel",
        ),
    ] {
        let refused = refused(&Asked::new(value.clone()));
        assert!(refused.contains(words), "{value}: {refused}");
    }
}

/// MetalLB's defaults arrive as values where an upgrade reuses them.
#[test]
fn images_of_metallb_that_nobody_chose_are_passed_over() {
    let theirs = |name: &str| {
        let repository = format!("quay.io/metallb/{name}");
        json!({"image": {"repository": repository, "tag": null, "pullPolicy": null}})
    };
    let value = json!({"controller": theirs("controller"), "speaker": theirs("speaker")});
    for object in render(&Asked::new(value)) {
        let spec = &object["spec"]["template"]["spec"];
        if let Some(containers) = spec["containers"].as_array() {
            assert_eq!(containers[0]["image"], "heliograph:0.1.0");
        }
    }
}

#[test]
fn the_kind_of_bgp_is_that_of_metallbs_values() {
    for (value, kind) in [
        (json!({}), json!("frr-k8s")),
        (json!({"frrk8s": {"enabled": false}}), Value::Null),
        (
            json!({"frrk8s": {"enabled": false}, "speaker": {"frr": {"enabled": true}}}),
            json!("frr"),
        ),
        (
            json!({"frrk8s": {"external": true, "namespace": "frr"}}),
            json!("frr-k8s-external"),
        ),
    ] {
        let objects = render(&Asked::new(value));
        for (workload, name) in WORKLOADS {
            let found = variable(find(&objects, workload, name), "METALLB_BGP_TYPE");
            assert_eq!(found, kind, "{name}");
        }
        let brought = objects
            .iter()
            .any(|object| object["metadata"]["name"] == "bgpsessionstates.frrk8s.metallb.io");
        assert_eq!(brought, kind != "frr-k8s-external", "that one brings it");
    }
}

#[test]
fn two_controllers_are_spread_and_not_evicted_at_once() {
    let objects = render(&Asked::new(
        json!({"heliograph": {"controllerReplicas": 2}}),
    ));
    let spec = &find(&objects, "Deployment", "metallb-controller")["spec"];
    assert_eq!(spec["replicas"], 2);
    assert_eq!(spec["strategy"], json!({"type": "RollingUpdate"}));
    let budget = &find(&objects, "PodDisruptionBudget", "metallb-controller")["spec"];
    assert_eq!(budget["maxUnavailable"], 1);
    assert_eq!(budget["selector"], spec["selector"]);
    let spread = &spec["template"]["spec"]["topologySpreadConstraints"][0];
    assert_eq!(spread["labelSelector"], spec["selector"]);
    assert_eq!(spread["topologyKey"], "kubernetes.io/hostname");
}

#[test]
fn one_controller_is_replaced_before_the_next_begins() {
    let objects = render(&Asked::new(json!({})));
    let spec = &find(&objects, "Deployment", "metallb-controller")["spec"];
    // What an API server has filled in for RollingUpdate is taken away by name.
    let strategy = json!({"type": "Recreate", "rollingUpdate": null});
    assert_eq!(spec["strategy"], strategy);
    assert!(
        objects
            .iter()
            .all(|one| one["kind"] != "PodDisruptionBudget")
    );
}

#[test]
fn without_webhooks_nothing_waits_for_them() {
    for value in [
        json!({"controller": {"webhookMode": "disabled"}}),
        json!({"controller": {"enabled": false}}),
    ] {
        let objects = render(&Asked::new(value));
        let is_hook = |one: &Value| one["kind"] == "ValidatingWebhookConfiguration";
        assert!(!objects.iter().any(is_hook));
    }
}

#[test]
fn kubernetes_1_29_gets_everything_but_the_policy_that_it_has_not() {
    let asked = Asked::new(json!({}));
    let of = |version: &str| {
        let output = asked.run(&["template", "--kube-version", version]);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{version}: {words}");
        documents(&String::from_utf8(output.stdout).unwrap())
    };
    let (older, newer) = (of("1.29.0"), of("1.30.0"));
    let is_policy = |object: &&Value| {
        let kind = object["kind"].as_str().unwrap();
        kind.starts_with("ValidatingAdmissionPolicy")
    };
    assert_eq!(newer.iter().filter(is_policy).count(), 2);
    let rest: Vec<&Value> = newer.iter().filter(|one| !is_policy(one)).collect();
    assert_eq!(older.iter().collect::<Vec<_>>(), rest);
    let output = asked.run(&["template", "--kube-version", "1.28.0"]);
    assert!(!output.status.success(), "1.28 is too old");
}

/// What to render: values over the chart's, and the release's name.
struct Asked {
    release: &'static str,
    values: Value,
}

impl Asked {
    fn new(values: Value) -> Self {
        let release = "metallb";
        Self { release, values }
    }

    fn release(self, release: &'static str) -> Self {
        Self { release, ..self }
    }

    fn run(&self, command: &[&str]) -> Output {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("values.yaml");
        fs::write(&file, self.values.to_string()).unwrap();
        let rest = [self.release, "-n", "metallb-system", "-f"];
        let rest = rest.into_iter().chain(file.to_str());
        let command: Vec<&str> = command.iter().copied().chain(rest).collect();
        helm(&command)
    }
}

/// The text of a render of release `metallb` in namespace `metallb-system`.
pub(crate) fn rendered(values: Value) -> String {
    text(&Asked::new(values))
}

fn text(asked: &Asked) -> String {
    let output = asked.run(&["template"]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {words}", asked.values);
    String::from_utf8(output.stdout).unwrap()
}

/// The objects of a render that succeeds.
fn render(asked: &Asked) -> Vec<Value> {
    documents(&text(asked))
}

/// What is said about a render that fails.
fn refused(asked: &Asked) -> String {
    let output = asked.run(&["template"]);
    assert!(!output.status.success(), "{} is rendered", asked.values);
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A helm without anybody's settings, at the chart.
fn helm(command: &[&str]) -> Output {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| xtask::kubectl::helm().unwrap());
    let home = tempfile::tempdir().unwrap();
    let mut run = Command::new(program);
    run.args(command).arg(deploy().join("chart"));
    run.env_clear().env("HOME", home.path());
    run.output().unwrap()
}

fn documents(text: &str) -> Vec<Value> {
    let documents = serde_norway::Deserializer::from_str(text);
    let documents = documents.map(|one| Value::deserialize(one).unwrap());
    documents.filter(|one| !one.is_null()).collect()
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut all = objects.iter();
    let found = all.find(|one| one["kind"] == kind && one["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// The value of a variable of a workload's program; null if it has none.
fn variable(workload: &Value, name: &str) -> Value {
    let env = &workload["spec"]["template"]["spec"]["containers"][0]["env"];
    let mut found = env.as_array().unwrap().iter();
    let found = found.find(|variable| variable["name"] == name);
    found.map_or(Value::Null, |variable| variable["value"].clone())
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

const WORKLOADS: [(&str, &str); 2] = [
    ("Deployment", "metallb-controller"),
    ("DaemonSet", "metallb-speaker"),
];
