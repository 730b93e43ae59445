//! What the options change, and what every object has.

use super::*;
use crate::peering::BgpType;
use k8s_openapi::api::core::v1::Toleration;
use serde_json::json;

fn options() -> Options {
    Options::new("metallb-system", "c:1", "s:1")
}

fn find(objects: &[Object], title: &str) -> Value {
    let found = objects.iter().find(|object| object.title() == title);
    found.unwrap_or_else(|| panic!("no {title}")).body.clone()
}

fn pod(options: &Options, title: &str) -> Value {
    find(&objects(options), title)["spec"]["template"].clone()
}

const BOTH: [&str; 2] = ["Deployment controller", "DaemonSet speaker"];

#[test]
fn objects_have_paths_of_their_own() {
    let objects = objects(&options());
    let paths: std::collections::BTreeSet<String> = objects.iter().map(Object::path).collect();
    assert_eq!(paths.len(), objects.len());
    let config = "/api/v1/namespaces/metallb-system/configmaps/metallb-excludel2";
    assert!(paths.contains(config), "{paths:?}");
    let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/metallb-system:speaker";
    assert!(paths.contains(role), "{paths:?}");
}

#[test]
fn what_runs_comes_after_what_it_needs_and_webhooks_last() {
    let running = running(&options());
    assert_eq!(running[0].title(), "ConfigMap metallb-excludel2");
    assert_eq!(
        running.last().unwrap().kind,
        "ValidatingWebhookConfiguration"
    );
    let kinds = ["Namespace", "ServiceAccount", "ClusterRole", "Role"];
    assert!(
        running
            .iter()
            .all(|object| !kinds.contains(&object.kind.as_str()))
    );
}

#[test]
fn a_component_can_be_told_where_and_how_to_run() {
    for title in BOTH {
        let mut options = options();
        let component = match title {
            "Deployment controller" => &mut options.controller,
            _speaker => &mut options.speaker,
        };
        component.node_selector = texts([("disk", "ssd")]);
        component.tolerations = vec![Toleration {
            key: Some("k".to_owned()),
            ..Toleration::default()
        }];
        component.priority_class = "high".to_owned();
        component.runtime_class = Some("kata".to_owned());
        component.annotations = texts([("a", "b")]);
        component.affinity = serde_json::from_value(json!({"podAffinity": {}})).unwrap();
        component.resources = serde_json::from_value(json!({"limits": {"cpu": "1"}})).unwrap();
        let pod = pod(&options, title);
        let spec = &pod["spec"];
        let nodes = json!({"disk": "ssd", "kubernetes.io/os": "linux"});
        assert_eq!(spec["nodeSelector"], nodes, "{title}");
        let tolerations = spec["tolerations"].as_array().unwrap();
        assert_eq!(tolerations.last(), Some(&json!({"key": "k"})), "{title}");
        assert_eq!(spec["priorityClassName"], "high");
        assert_eq!(spec["runtimeClassName"], "kata");
        assert_eq!(spec["affinity"], json!({"podAffinity": {}}));
        assert_eq!(pod["metadata"]["annotations"], json!({"a": "b"}));
        let resources = json!({"limits": {"cpu": "1"}});
        assert_eq!(spec["containers"][0]["resources"], resources);
        let other = BOTH.into_iter().find(|other| *other != title).unwrap();
        assert_eq!(
            self::pod(&options, other),
            self::pod(&self::options(), other)
        );
    }
}

#[test]
fn a_speaker_can_be_told_which_calls_it_may_make() {
    let mut options = Options::new("metallb-system", "c", "s");
    options.speaker_seccomp = Some("heliograph/speaker.json".to_owned());
    let objects = running(&options);
    let profile = |kind: &str| {
        let object = objects.iter().find(|one| one.kind == kind).unwrap();
        object.body["spec"]["template"]["spec"]["securityContext"]["seccompProfile"].clone()
    };
    let own = json!({"type": "Localhost", "localhostProfile": "heliograph/speaker.json"});
    assert_eq!(profile("DaemonSet"), own);
    assert_eq!(profile("Deployment"), json!({"type": "RuntimeDefault"}));
}

#[test]
fn both_are_told_the_same_of_what_concerns_both() {
    let mut options = options();
    options.log_level = Level::Debug;
    options.class = Some("example.com/lb".to_owned());
    options.bgp_type = Some(BgpType::FrrK8s);
    options.tls = vec!["--tls-min-version=VersionTLS12".to_owned()];
    options.frrk8s_namespace = Some("frr".to_owned());
    options.ports = Ports {
        metrics: 1,
        health: 2,
        members: 3,
    };
    for title in BOTH {
        let pod = pod(&options, title);
        let container = &pod["spec"]["containers"][0];
        let args = container["args"].as_array().unwrap();
        for flag in [
            "--log-level=debug",
            "--lb-class=example.com/lb",
            "--port=1",
            "--health-probe-port=2",
            "--tls-min-version=VersionTLS12",
        ] {
            assert!(args.contains(&json!(flag)), "{title}: {args:?}");
        }
        let env = container["env"].as_array().unwrap();
        let told = json!({"name": "METALLB_BGP_TYPE", "value": "frr-k8s"});
        assert!(env.contains(&told), "{title}: {env:?}");
    }
    let speaker = pod(&options, "DaemonSet speaker");
    let container = &speaker["spec"]["containers"][0];
    assert!(
        container["args"]
            .as_array()
            .unwrap()
            .contains(&json!("--ml-bindport=3"))
    );
    assert_eq!(container["ports"][2]["containerPort"], 3);
    let looks = json!("--frrk8s-namespace=frr");
    assert!(container["args"].as_array().unwrap().contains(&looks));
}

#[test]
fn labels_of_the_installation_are_on_objects_and_not_on_pods() {
    let mut options = options();
    options.labels = texts([("owner", "us")]);
    options.monitors = Monitors::Services;
    options.has_policies = true;
    for object in running(&options) {
        assert_eq!(
            object.body["metadata"]["labels"]["owner"],
            "us",
            "{}",
            object.title()
        );
        assert_eq!(
            object.body["spec"]["template"]["metadata"]["labels"]["owner"],
            Value::Null
        );
    }
}

#[test]
fn monitors_select_what_has_the_metrics() {
    let mut options = options();
    options.monitors = Monitors::Services;
    let objects = running(&options);
    let service = find(&objects, "Service speaker-monitor-service");
    assert_eq!(service["metadata"]["annotations"], Value::Null);
    let monitor = find(&objects, "ServiceMonitor speaker-monitor");
    let selected = &monitor["spec"]["selector"]["matchLabels"];
    assert_eq!(*selected, service["metadata"]["labels"]);
    let port = &monitor["spec"]["endpoints"][0]["port"];
    assert_eq!(*port, service["spec"]["ports"][0]["name"]);
    options.monitors = Monitors::Pods;
    let monitor = find(&running(&options), "PodMonitor controller-monitor");
    let labels = &pod(&options, "Deployment controller")["metadata"]["labels"];
    for (key, value) in monitor["spec"]["selector"]["matchLabels"]
        .as_object()
        .unwrap()
    {
        assert_eq!(labels[key], *value);
    }
    let path = "/apis/monitoring.coreos.com/v1/namespaces/metallb-system/podmonitors";
    let made = running(&options);
    assert_eq!(
        made.iter().filter(|one| one.collection() == path).count(),
        2
    );
}

#[test]
fn policies_leave_open_what_is_served() {
    let mut options = options();
    assert!(
        running(&options)
            .iter()
            .all(|one| one.kind != "NetworkPolicy")
    );
    options.has_policies = true;
    let objects = running(&options);
    let policy = find(&objects, "NetworkPolicy controller");
    let ports = |rules: &Value| -> Vec<i64> {
        let ports = rules[0]["ports"].as_array().unwrap().iter();
        ports.map(|port| port["port"].as_i64().unwrap()).collect()
    };
    assert_eq!(ports(&policy["spec"]["ingress"]), [9120, 9443]);
    assert_eq!(ports(&policy["spec"]["egress"]), [443, 6443]);
    let nothing = find(&objects, "NetworkPolicy default-deny");
    assert_eq!(nothing["spec"]["ingress"], Value::Null);
    let selected = &nothing["spec"]["podSelector"]["matchLabels"];
    assert_eq!(
        *selected,
        json!({"app": "metallb"}),
        "pods of others are left alone"
    );
}

#[test]
fn one_controller_is_replaced_and_several_are_rolled_spread_and_kept() {
    let one = find(&objects(&options()), "Deployment controller");
    assert_eq!(one["spec"]["replicas"], 1);
    assert_eq!(one["spec"]["strategy"], json!({"type": "Recreate"}));
    let spread = |object: &Value| {
        object
            .pointer("/spec/template/spec/topologySpreadConstraints")
            .cloned()
    };
    assert_eq!(spread(&one), None);
    let budget = "PodDisruptionBudget controller";
    assert!(
        objects(&options())
            .iter()
            .all(|object| object.title() != budget)
    );

    let mut several = options();
    several.controllers = 2;
    let objects = objects(&several);
    let two = find(&objects, "Deployment controller");
    assert_eq!(two["spec"]["replicas"], 2);
    assert_eq!(two["spec"]["strategy"], json!({"type": "RollingUpdate"}));
    let pods = &two["spec"]["selector"];
    assert_eq!(spread(&two).unwrap()[0]["labelSelector"], *pods);
    let budget = find(&objects, budget);
    assert_eq!(
        budget["spec"],
        json!({"maxUnavailable": 1, "selector": pods})
    );
}

#[test]
fn metallb_1_8_openshift_lets_the_speaker_be_and_nothing_more() {
    let [constraints, _] = constraints(&options());
    let constraints = constraints.body;
    let speaker = pod(&options(), "DaemonSet speaker")["spec"].clone();
    assert_eq!(openshift::refusals(&constraints, &speaker), [""; 0]);
    let mut greedy = speaker;
    greedy["volumes"][0] = json!({"name": "x", "nfs": {}});
    let context = &mut greedy["containers"][0]["securityContext"];
    context["capabilities"]["add"] = json!(["SYS_ADMIN"]);
    context["privileged"] = json!(true);
    let refused = ["volume nfs", "capability \"SYS_ADMIN\"", "privileged"];
    assert_eq!(openshift::refusals(&constraints, &greedy), refused);
    assert_eq!(
        constraints["users"],
        json!(["system:serviceaccount:metallb-system:speaker"])
    );
}
