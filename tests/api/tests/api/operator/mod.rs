//! The operator as a process against the double, with no more rights than its own roles give it: from the resource to objects, and what
//! it does when somebody changes them, when the resource makes no sense, and when it goes.

mod inherited;
mod repair;
mod site;
mod takeover;

use serde_json::{Value, json};
use site::{CRD, DAEMON_SET, DEPLOYMENT, METALLBS, Site, WEBHOOKS};
use speaker_core::crd::MetalLb;
use speaker_core::deploy;
use speaker_core::plan::Obstacle;
use std::collections::{BTreeMap, BTreeSet};
use xtask::tools::root;

/// What the operator of a site makes of a spec.
fn wanted(spec: &Value) -> Vec<deploy::Object> {
    wanted_with(spec, &usual())
}

/// The same where it has other flags.
fn wanted_with(spec: &Value, usual: &deploy::Options) -> Vec<deploy::Object> {
    let metallb = MetalLb::read(&json!({"metadata": {"name": "metallb"}, "spec": spec})).unwrap();
    deploy::running(&metallb.options(usual))
}

fn usual() -> deploy::Options {
    let mut usual = deploy::Options::new("metallb-system", "heliograph:c", "heliograph:s");
    let label = ("heliograph.io/operated-by", "metallb-operator");
    usual.labels = BTreeMap::from([(label.0.to_owned(), label.1.to_owned())]);
    usual.has_policies = true;
    usual
}

/// Whether all of `wanted` is in `live`, which has defaults beside it.
fn holds(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| live.get(key).is_some_and(|live| holds(live, value))),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(a, b)| holds(a, b))
        }
        _leaves => live == wanted,
    }
}

#[test]
fn metallb_1_8_a_resource_becomes_every_object_and_is_available_once_pods_are_there() {
    let site = Site::new();
    let operator = site.operator(&[]);
    site.metallb("metallb", &json!({}));
    site.until("it is on its way", || {
        let conditions = site.conditions("metallb");
        let waits = "Progressing Progressing DaemonSet speaker";
        conditions.iter().any(|one| one.starts_with(waits))
            || conditions
                .iter()
                .any(|one| one.contains("Deployment controller"))
    });
    for object in wanted(&json!({})) {
        let live = site.get(&object.path());
        assert!(holds(&live, &object.body), "{}: {live:#}", object.title());
    }
    assert_eq!(site.operated().len(), wanted(&json!({})).len());
    site.until_available();
    let expected = ["Available Available", "Upgradeable Upgradeable"];
    assert_eq!(site.conditions("metallb"), expected);
    assert!(!operator.lines_of("objectApplied").is_empty());
    assert_eq!(operator.lines_of("notDeployed"), [Value::Null; 0]);
}

/// As an API server of Kubernetes 1.29.
#[test]
fn where_there_are_no_admission_policies_everything_else_is_made() {
    let site = Site::new();
    let group = "admissionregistration.k8s.io";
    for plural in [
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
    ] {
        site.double.unlearn(group, plural);
    }
    let operator = site.operator(&[]);
    site.metallb("metallb", &json!({}));
    site.until_available();
    let is_policy = |kind: &str| kind.starts_with("ValidatingAdmissionPolicy");
    for object in wanted(&json!({})) {
        let is_there = site.get(&object.path()).is_object();
        assert_eq!(is_there, !is_policy(&object.kind), "{}", object.title());
    }
    assert_eq!(operator.lines_of("noAdmissionPolicies").len(), 1);
    assert_eq!(operator.lines_of("notDeployed"), [Value::Null; 0]);
}

/// Each must change what is wanted, since one that was passed over would reach its object by reaching none.
#[test]
fn metallb_1_8_every_field_of_the_spec_reaches_its_object() {
    let site = Site::new();
    let _operator = site.operator(&[]);
    let mut spec = json!({"bgpBackend": "frr-k8s-external", "frrk8sConfig": {"namespace": "frr"}});
    let values = values();
    for (field, value) in &values {
        let before = wanted(&spec);
        match field.split_once('.') {
            Some((settings, one)) => spec[settings][one] = value.clone(),
            None => spec[field] = value.clone(),
        }
        let now = wanted(&spec);
        assert_ne!(now, before, "{field} changes nothing");
        site.metallb("metallb", &spec);
        site.until(field, || {
            let mut objects = now.iter();
            objects.all(|object| holds(&site.get(&object.path()), &object.body))
        });
    }
    let reached: BTreeSet<String> = values.into_iter().map(|(field, _)| field).collect();
    let idle = IDLE.map(str::to_owned);
    assert_eq!(fields_of_the_schema(), &reached | &BTreeSet::from(idle));
    // And back: what is asked for no more goes.
    site.metallb("metallb", &json!({}));
    site.until("the usual", || {
        let pod = &site.get(DAEMON_SET)["spec"]["template"];
        pod["spec"]["affinity"].is_null() && pod["metadata"]["annotations"].is_null()
    });
}

/// One for each field that has an effect, and none is the default.
fn values() -> Vec<(String, Value)> {
    let tolerations = json!([{"key": "k", "operator": "Exists"}]);
    let mut values = vec![
        ("nodeSelector".to_owned(), json!({"disk": "ssd"})),
        ("controllerNodeSelector".to_owned(), json!({"disk": "hdd"})),
        ("speakerTolerations".to_owned(), tolerations.clone()),
        ("controllerTolerations".to_owned(), tolerations),
        ("logLevel".to_owned(), json!("debug")),
        ("loadBalancerClass".to_owned(), json!("example.com/lb")),
        ("frrk8sConfig.namespace".to_owned(), json!("other")),
        ("bgpBackend".to_owned(), json!("frr-k8s")),
    ];
    for settings in ["speakerConfig", "controllerConfig"] {
        let affinity = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "k", "operator": "Exists"}]}},
        ]}});
        let pods = [
            ("priorityClassName", json!("high")),
            ("runtimeClassName", json!("kata")),
            ("annotations", json!({"a": "b"})),
            ("affinity", affinity),
            ("resources", json!({"requests": {"cpu": "100m"}})),
        ];
        values.extend(pods.map(|(one, value)| (format!("{settings}.{one}"), value)));
    }
    values
}

/// Those of a MetalLB's spec as MetalLB's schema has them; of settings that are grouped, each.
fn fields_of_the_schema() -> BTreeSet<String> {
    let path = root().join("deploy/crds/metallbs.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let definition: Value = serde_norway::from_str(&text).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let fields = schema["properties"]["spec"]["properties"].as_object();
    let named = |(field, schema): (&String, &Value)| match schema["properties"].as_object() {
        Some(inner) => inner.keys().map(|one| format!("{field}.{one}")).collect(),
        None => vec![field.clone()],
    };
    fields.unwrap().iter().flat_map(named).collect()
}

/// What is checked and has no effect, as docs/operator.md says.
const IDLE: [&str; 3] = [
    "image",
    "frrk8sConfig.alwaysBlock",
    "frrk8sConfig.secretPassthrough",
];

#[test]
fn metallb_1_8_a_change_by_hand_is_put_right() {
    let site = Site::new();
    let operator = site.operator(&[]);
    site.metallb("metallb", &json!({}));
    site.until_available();
    site.edit(DEPLOYMENT, &json!({"spec": {"replicas": 0}}));
    site.until("the replicas", || {
        site.get(DEPLOYMENT)["spec"]["replicas"] == 1
    });
    let config = "/api/v1/namespaces/metallb-system/configmaps/metallb-excludel2";
    site.edit(config, &json!({"data": {"excludel2.yaml": "x"}}));
    site.until("the links", || {
        let text = &site.get(config)["data"]["excludel2.yaml"];
        text.as_str().unwrap().contains("^docker")
    });
    for path in [DAEMON_SET, WEBHOOKS] {
        assert_eq!(site.double.delete(path), 200);
        site.until("what was deleted", || site.get(path).is_object());
    }
    assert!(operator.lines_of("objectRepaired").len() >= 3);
    // Fields that are not the operator's are their owners'.
    let bundle = json!({"metadata": {"annotations": {"someone.example/note": "x"}}});
    site.edit(WEBHOOKS, &bundle);
    site.edit(DEPLOYMENT, &json!({"spec": {"replicas": 2}}));
    site.until("the replicas again", || {
        site.get(DEPLOYMENT)["spec"]["replicas"] == 1
    });
    let note = &site.get(WEBHOOKS)["metadata"]["annotations"]["someone.example/note"];
    assert_eq!(note, "x");
}

#[test]
fn metallb_1_8_at_rest_and_at_a_restart_nothing_is_written() {
    let site = Site::new();
    let operator = site.operator(&[]);
    site.metallb("metallb", &json!({}));
    site.until_available();
    let before = site.double.revision();
    operator.stop();
    let operator = site.operator(&[]);
    site.until("the next one leads", || {
        !operator.lines_of("leading").is_empty()
    });
    site.until("it looked at everything", || {
        let requests = site.double.requests();
        let looked = requests
            .iter()
            .filter(|one| one.path == WEBHOOKS && one.verb == "patch");
        looked.count() >= 2
    });
    let written = site.double.written(before).unwrap();
    let written: Vec<String> = written
        .iter()
        .filter(|one| one.key.resource != "leases.coordination.k8s.io")
        .map(|one| format!("{} {}", one.key.resource, one.key.name))
        .collect();
    assert_eq!(written, [""; 0]);
    site.double.forget_requests();
    // A whole turn of what it does by the clock.
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert_eq!(site.writes(), [""; 0]);
}

#[test]
fn of_two_operators_one_writes_and_the_other_follows_it() {
    let site = Site::new();
    let first = site.operator(&["--pod-name=operator-a"]);
    site.until("one leads", || !first.lines_of("leading").is_empty());
    let second = site.operator(&["--pod-name=operator-b"]);
    site.until("the other waits", || {
        !second.lines_of("following").is_empty()
    });
    site.metallb("metallb", &json!({}));
    site.until_available();
    assert_eq!(second.lines_of("objectApplied"), [Value::Null; 0]);
    first.stop();
    site.until("the other leads", || !second.lines_of("leading").is_empty());
    site.edit(DEPLOYMENT, &json!({"spec": {"replicas": 0}}));
    site.until("the replicas", || {
        site.get(DEPLOYMENT)["spec"]["replicas"] == 1
    });
}

#[test]
fn metallb_1_8_a_wrong_name_is_told_and_the_right_one_beside_it_is_acted_on() {
    let site = Site::new();
    let _operator = site.operator(&[]);
    site.metallb("other", &json!({}));
    let told = "Degraded IncorrectMetalLBResourceName Incorrect MetalLB resource name: other. Only one named metallb is acted on";
    site.until("its status", || site.conditions("other") == [told]);
    assert_eq!(site.operated(), [""; 0]);
    site.metallb("metallb", &json!({}));
    site.until_available();
    assert_eq!(site.conditions("other"), [told]);
    assert_eq!(site.double.delete(&format!("{METALLBS}/other")), 200);
    site.edit(DEPLOYMENT, &json!({"spec": {"replicas": 0}}));
    site.until("the replicas", || {
        site.get(DEPLOYMENT)["spec"]["replicas"] == 1
    });
}

#[test]
fn metallb_5_6_a_spec_that_makes_no_sense_is_refused_by_the_webhook_and_else_told() {
    let site = Site::new();
    let _operator = site.operator(&[]);
    site.metallb("metallb", &json!({"logLevel": "debug"}));
    site.until_available();
    let (code, answer) = site.ask("metallb", &json!({"bgpBackend": "bird"}));
    assert_eq!(code, 403, "{answer}");
    let why = "admission webhook \"metallbvalidationwebhook.metallb.io\" denied the request: MetalLB metallb-system/metallb: \
               spec.bgpBackend: \"bird\" is none of native, frr, frr-k8s, frr-k8s-external";
    assert_eq!(answer["message"], why);
    // As it was stored before there was a webhook.
    assert_eq!(site.double.delete(OWN_WEBHOOKS), 200);
    site.metallb("metallb", &json!({"bgpBackend": "bird"}));
    let told = "Degraded InvalidSpec MetalLB metallb-system/metallb: spec.bgpBackend: \"bird\" is none of native, frr, frr-k8s, frr-k8s-external";
    site.until("its status", || site.conditions("metallb") == [told]);
    site.edit(DEPLOYMENT, &json!({"spec": {"replicas": 0}}));
    site.until("the last good one is kept up", || {
        site.get(DEPLOYMENT)["spec"]["replicas"] == 1
    });
    let args = &site.get(DEPLOYMENT)["spec"]["template"]["spec"]["containers"][0]["args"];
    assert!(
        args.as_array()
            .unwrap()
            .contains(&json!("--log-level=debug"))
    );
}

#[test]
fn metallb_1_8_a_foreign_bgp_speaker_is_told_beside_what_runs() {
    let site = Site::new();
    let _operator = site.operator(&[]);
    let spec = json!({"bgpBackend": "frr-k8s-external", "frrk8sConfig": {"namespace": "frr"}});
    site.metallb("metallb", &spec);
    site.until_available();
    let conditions = site.conditions("metallb");
    let told = "Degraded ForeignBGPSpeaker spec.bgpBackend: frr-k8s in namespace frr speaks BGP";
    assert!(conditions[2].starts_with(told), "{conditions:?}");
    let metallb = format!("{METALLBS}/metallb");
    let dial = json!({"metadata": {"annotations": {"heliograph.io/own-bgp": "true"}}});
    site.edit(&metallb, &dial);
    site.until("it may dial", || {
        site.roll_out();
        site.conditions("metallb") == ["Available Available", "Upgradeable Upgradeable"]
    });
    let env = &site.get(DAEMON_SET)["spec"]["template"]["spec"]["containers"][0]["env"];
    let told = json!({"name": "METALLB_BGP_TYPE", "value": "frr-k8s"});
    assert!(env.as_array().unwrap().contains(&told), "{env}");
}

#[test]
fn a_peer_that_somebody_elses_frr_has_is_told_beside_what_runs() {
    let site = Site::new();
    let _operator = site.operator(&[]);
    site.metallb("metallb", &json!({}));
    site.until_available();
    let why = Obstacle::ForeignConfiguration("frr/edge".to_owned());
    let told = format!("BGPPeer metallb-system/tor: {why}");
    site.put(&json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "ConfigurationState",
        "metadata": {"name": "speaker-n1", "namespace": "metallb-system", "labels": {"metallb.io/component-type": "speaker"}},
    }));
    let state = "/apis/metallb.io/v1beta1/namespaces/metallb-system/configurationstates/speaker-n1";
    let status =
        json!({"result": "Invalid", "errorSummary": format!("configuration error: {told}")});
    site.edit(&format!("{state}/status"), &json!({"status": status}));
    let said = format!("Degraded ForeignBGPSpeaker {told}");
    site.until("it is told", || site.conditions("metallb").contains(&said));
    assert_eq!(site.double.delete(state), 200);
    site.until("it is taken back", || {
        site.conditions("metallb") == ["Available Available", "Upgradeable Upgradeable"]
    });
}

#[test]
fn without_the_resource_nothing_stays_and_webhooks_go_first() {
    let site = Site::new();
    let _operator = site.operator(&[]);
    site.metallb("metallb", &json!({}));
    site.until_available();
    // What a controller makes, and writes into what is the operator's.
    let bundle = &site.get(OWN_WEBHOOKS)["webhooks"][0]["clientConfig"]["caBundle"];
    assert!(bundle.is_string(), "any will do");
    let trust =
        json!({"spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": bundle}}}}});
    site.merge(&format!("{CRD}?fieldManager=controller"), &trust);
    site.put(&json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "metallb-webhook-cert", "namespace": "metallb-system"},
    }));
    site.put(&json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "heliograph-controller", "namespace": "metallb-system"},
    }));
    site.double.forget_requests();
    assert_eq!(site.double.delete(&format!("{METALLBS}/metallb")), 200);
    for path in [DAEMON_SET, DEPLOYMENT] {
        site.until("pods are told to go", || {
            site.get(path)["metadata"]["deletionTimestamp"].is_string()
        });
        assert!(site.get(WEBHOOKS).is_null(), "they go before");
        assert_eq!(
            site.get(CRD)["spec"]["conversion"],
            json!({"strategy": "None"}),
            "and no caBundle"
        );
        let secret = "/api/v1/namespaces/metallb-system/secrets/metallb-webhook-cert";
        assert!(site.get(secret).is_object(), "while pods may use it");
    }
    for path in [DAEMON_SET, DEPLOYMENT] {
        site.let_go(path);
    }
    site.until("nothing is left", || site.operated().is_empty());
    for path in [
        "/api/v1/namespaces/metallb-system/secrets/metallb-webhook-cert",
        "/apis/coordination.k8s.io/v1/namespaces/metallb-system/leases/heliograph-controller",
    ] {
        assert!(site.get(path).is_null(), "{path}");
    }
    site.metallb("metallb", &json!({}));
    site.until_available();
    assert_eq!(site.get(CRD)["spec"]["conversion"]["strategy"], "Webhook");
}

#[test]
fn monitors_are_made_where_they_are_asked_for() {
    let site = Site::new();
    let flags = [
        "--deploy-servicemonitors=true",
        "--disable-network-policies=true",
    ];
    let _operator = site.operator(&flags);
    site.metallb("metallb", &json!({}));
    site.until("the missing kind is told", || {
        let conditions = site.conditions("metallb");
        let told = "Degraded FailedToDeploy /apis/monitoring.coreos.com/v1/";
        conditions.iter().any(|one| one.starts_with(told))
    });
    site.has_prometheus_operator();
    site.until_available();
    let monitors = "/apis/monitoring.coreos.com/v1/namespaces/metallb-system/servicemonitors";
    let list = site.get(monitors);
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let operated = site.operated();
    assert!(
        operated.iter().all(|one| !one.starts_with("NetworkPolicy")),
        "{operated:?}"
    );
}

#[test]
fn several_controllers_have_a_budget_which_goes_when_there_is_one_again() {
    let site = Site::new();
    let operator = site.operator(&["--controller-replicas=2"]);
    site.metallb("metallb", &json!({}));
    site.until_available();
    assert_eq!(site.get(DEPLOYMENT)["spec"]["replicas"], 2);
    let budget = "/apis/policy/v1/namespaces/metallb-system/poddisruptionbudgets/controller";
    assert_eq!(site.get(budget)["spec"]["maxUnavailable"], 1);
    operator.stop();
    let _operator = site.operator(&[]);
    site.until("one controller and no budget", || {
        site.get(DEPLOYMENT)["spec"]["replicas"] == 1 && !site.get(budget)["spec"].is_object()
    });
}

/// The operator's own.
const OWN_WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/metallb-operator-webhook-configuration";
