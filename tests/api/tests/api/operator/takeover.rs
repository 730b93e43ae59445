//! Objects that MetalLB's operator, Helm or kubectl made become what they should be, and what they have beside that goes.

use super::site::{DAEMON_SET, DEPLOYMENT, Site};
use serde_json::{Value, json};

/// MetalLB's speaker in its FRR mode, as far as it is more than ours, with the fields of all of it.
fn frr_speaker() -> Value {
    let container =
        |name: &str| json!({"name": name, "image": format!("quay.io/metallb/{name}:v0.16.1")});
    let template = json!({
        "metadata": {"labels": {"app": "metallb", "component": "speaker"}},
        "spec": {
            "shareProcessNamespace": true,
            "initContainers": [container("cp-frr-files")],
            "containers": [container("speaker"), container("frr"), container("reloader"), container("frr-metrics")],
            "volumes": [{"name": "frr-sockets", "emptyDir": {}}],
        },
    });
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "speaker", "namespace": "metallb-system", "labels": {"app": "metallb"}},
        "spec": {
            "selector": {"matchLabels": {"app": "metallb", "component": "speaker"}},
            "template": template,
        },
    })
}

fn has_become_ours(site: &Site) {
    site.until("the speaker is ours", || {
        let pod = &site.get(DAEMON_SET)["spec"]["template"]["spec"];
        pod["containers"][0]["image"] == "heliograph:s"
    });
    let pod = site.get(DAEMON_SET)["spec"]["template"]["spec"].clone();
    let names = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        let names = list.map(|one| one["name"].as_str().unwrap().to_owned());
        names.collect()
    };
    assert_eq!(names(&pod["containers"]), ["speaker"], "{pod:#}");
    assert_eq!(names(&pod["initContainers"]), [""; 0]);
    assert!(!names(&pod["volumes"]).contains(&"frr-sockets".to_owned()));
    assert_eq!(pod["shareProcessNamespace"], Value::Null);
}

/// Writes as that manager, by the way that tools of its kind have.
fn installed_by(site: &Site, manager: &str, applies: bool) {
    let (path, object) = (DAEMON_SET, frr_speaker());
    let (collection, _) = path.rsplit_once('/').unwrap();
    let (method, path, content) = match applies {
        true => (
            "PATCH",
            format!("{path}?fieldManager={manager}&force=true"),
            "application/apply-patch+yaml",
        ),
        false => (
            "POST",
            format!("{collection}?fieldManager={manager}"),
            "application/json",
        ),
    };
    let (code, answer) = site.double.request(method, &path, content, &object);
    assert_eq!(code, 201, "{answer}");
}

#[test]
fn what_metallbs_operator_left_goes() {
    let site = Site::new();
    installed_by(&site, "metallb-operator", true);
    let theirs = |name: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "metallb-system"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}}},
        })
    };
    site.put(&theirs("webhook-server"));
    // Somebody else's frr-k8s is none of our business.
    site.put(&theirs("frr-k8s-statuscleaner"));
    let policies = "/apis/networking.k8s.io/v1/namespaces/metallb-system/networkpolicies";
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "metallb-controller", "namespace": "metallb-system"},
        "spec": {"podSelector": {"matchLabels": {"app": "metallb"}}},
    });
    let policy_path = format!("{policies}?fieldManager=metallb-operator");
    let json = "application/json";
    let (code, answer) = site.double.request("POST", &policy_path, json, &policy);
    assert_eq!(code, 201, "{answer}");
    let operator = site.operator(&[]);
    site.metallb("metallb", &json!({}));
    has_become_ours(&site);
    let old = "/apis/apps/v1/namespaces/metallb-system/deployments/webhook-server";
    assert!(site.get(old).is_object(), "it answers until ours does");
    site.until_available();
    site.until("the old webhook server goes", || site.get(old).is_null());
    let policy = format!("{policies}/metallb-controller");
    site.until("its policy goes", || site.get(&policy).is_null());
    let foreign = "/apis/apps/v1/namespaces/metallb-system/deployments/frr-k8s-statuscleaner";
    assert!(site.get(foreign).is_object());
    assert_eq!(
        operator.lines_of("objectAdopted"),
        [Value::Null; 0],
        "it was ours by name"
    );
}

#[test]
fn what_kubectl_applied_becomes_ours() {
    let site = Site::new();
    installed_by(&site, "kubectl", true);
    let operator = site.operator(&[]);
    site.metallb("metallb", &json!({}));
    has_become_ours(&site);
    assert_eq!(operator.lines_of("objectAdopted").len(), 1);
}

#[test]
fn what_helm_made_becomes_ours() {
    let site = Site::new();
    installed_by(&site, "helm", false);
    let operator = site.operator(&[]);
    site.metallb("metallb", &json!({}));
    has_become_ours(&site);
    assert_eq!(operator.lines_of("objectAdopted").len(), 1);
}

#[test]
fn another_selector_of_a_daemon_set_is_made_anew_and_its_pods_go_node_by_node() {
    let site = Site::new();
    let labels = json!({"app.kubernetes.io/component": "speaker"});
    site.put(&json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "speaker", "namespace": "metallb-system"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}},
    }));
    let uid = site.get(DAEMON_SET)["metadata"]["uid"].clone();
    for node in ["n1", "n2"] {
        let name = format!("old-{node}");
        site.put(&pod(&name, &labels, Some(&uid)));
    }
    site.put(&pod("stranger", &labels, None));
    let operator = site.operator(&[]);
    site.metallb("metallb", &json!({}));
    site.until("the old one is to go without its pods", || {
        let metadata = &site.get(DAEMON_SET)["metadata"];
        metadata["finalizers"] == json!(["orphan"]) && metadata["deletionTimestamp"].is_string()
    });
    let mark = |name: &str| site.get(&format!("{PODS}/{name}"))["metadata"]["labels"][LEFT].clone();
    for name in ["old-n1", "old-n2"] {
        assert_eq!(mark(name), "speaker", "{name}");
    }
    assert_eq!(mark("stranger"), Value::Null);
    // As the garbage collector does.
    for name in ["old-n1", "old-n2"] {
        let orphan = json!({"metadata": {"ownerReferences": null}});
        site.edit(&format!("{PODS}/{name}"), &orphan);
    }
    site.let_go(DAEMON_SET);
    has_become_ours(&site);
    // Each node has a pod of before, and the next one waits for its ports.
    say_available(&site, 0);
    site.until("the first node's goes", || {
        site.get(&format!("{PODS}/old-n1")).is_null()
    });
    assert!(operator.lines_of("objectReplaced").len() == 1);
    let waits =
        "Progressing Progressing DaemonSet speaker: of 2 pods 2 are up to date and 0 available";
    site.until("it waits for ours", || {
        // Of the controller's pods nothing is at stake here.
        site.roll_out();
        site.conditions("metallb") == [waits]
    });
    assert!(site.get(&format!("{PODS}/old-n2")).is_object());
    say_available(&site, 1);
    site.until("the second node's goes", || {
        site.get(&format!("{PODS}/old-n2")).is_null()
    });
    say_available(&site, 2);
    site.until_available();
    assert!(site.get(&format!("{PODS}/stranger")).is_object());
    assert_eq!(operator.lines_of("notDeployed"), [Value::Null; 0]);
}

#[test]
fn another_selector_of_a_deployment_is_made_anew_with_its_pods() {
    let site = Site::new();
    let labels = json!({"app.kubernetes.io/component": "controller"});
    site.put(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "controller", "namespace": "metallb-system"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}},
    }));
    let _operator = site.operator(&[]);
    site.metallb("metallb", &json!({}));
    site.until("it is to go with its pods", || {
        let metadata = &site.get(DEPLOYMENT)["metadata"];
        metadata["finalizers"] == json!(["foregroundDeletion"])
    });
    site.until("the rest is there meanwhile", || {
        site.get(DAEMON_SET).is_object()
    });
    let told =
        "Progressing Progressing Deployment controller: it selected other pods, and is made anew";
    site.until("it is told", || {
        site.roll_out();
        site.conditions("metallb") == [told]
    });
    site.let_go(DEPLOYMENT);
    site.until_available();
    let selector = &site.get(DEPLOYMENT)["spec"]["selector"]["matchLabels"];
    assert_eq!(
        *selector,
        json!({"app": "metallb", "component": "controller"})
    );
}

fn pod(name: &str, labels: &Value, owner: Option<&Value>) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "metallb-system", "labels": labels},
        "spec": {"containers": [{"name": "speaker", "image": "quay.io/metallb/speaker:v0.16.1"}]},
    });
    if let Some(uid) = owner {
        pod["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "speaker", "uid": uid, "controller": true,
        }]);
    }
    pod
}

/// As the cluster says of two nodes on which so many speakers are ready.
fn say_available(site: &Site, count: u64) {
    let generation = &site.get(DAEMON_SET)["metadata"]["generation"];
    let status = json!({
        "observedGeneration": generation, "desiredNumberScheduled": 2,
        "updatedNumberScheduled": 2, "numberAvailable": count,
    });
    let patch = json!({"status": status});
    let path = format!("{DAEMON_SET}/status");
    let merge = "application/merge-patch+json";
    let (code, answer) = site.double.request("PATCH", &path, merge, &patch);
    assert_eq!(code, 200, "{answer}");
}

const PODS: &str = "/api/v1/namespaces/metallb-system/pods";
const LEFT: &str = "heliograph.io/left-by";
