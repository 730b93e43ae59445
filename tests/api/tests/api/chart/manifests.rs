//! The chart's objects are those of the plain manifests, but for what is listed here.

use super::{Asked, deploy, documents, find, render};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

/// With the plain manifests' way of BGP, and Services for metrics as there.
#[test]
fn the_chart_makes_the_objects_of_the_plain_manifests() {
    let monitors = json!({"serviceMonitor": {"enabled": true}, "rbacPrometheus": false});
    let values = json!({"frrk8s": {"enabled": false}, "prometheus": monitors});
    let rendered: Vec<Value> = render(&Asked::new(values)).iter().map(bare).collect();
    let plain = folder("manifests").into_iter().chain(folder("crds"));
    let plain: Vec<Value> = plain.map(|object| bare(&renamed(&object, ""))).collect();
    for object in plain
        .iter()
        .filter(|object| !ONLY_PLAIN.contains(&title(object)))
    {
        let (kind, name) = title(object);
        assert_eq!(find(&rendered, kind, name), object, "{kind} {name}");
    }
    let titles = |objects: &[Value]| -> BTreeSet<(String, String)> {
        let titles = objects.iter().map(title);
        titles
            .map(|(kind, name)| (kind.to_owned(), name.to_owned()))
            .collect()
    };
    let (rendered, plain) = (titles(&rendered), titles(&plain));
    let listed = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        let list = list.iter();
        list.map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned()))
            .collect()
    };
    let missing: Vec<_> = plain.difference(&rendered).cloned().collect();
    assert_eq!(missing, listed(&ONLY_PLAIN));
    let more: Vec<_> = rendered.difference(&plain).cloned().collect();
    assert_eq!(more, listed(&ONLY_RENDERED));
}

/// Helm makes no namespaces, and its chart has no operator.
const ONLY_PLAIN: [(&str, &str); 2] = [
    ("CustomResourceDefinition", "metallbs.metallb.io"),
    ("Namespace", "metallb-system"),
];
const ONLY_RENDERED: [(&str, &str); 2] = [
    ("ServiceMonitor", "metallb-controller-monitor"),
    ("ServiceMonitor", "metallb-speaker-monitor"),
];

#[test]
fn the_alerts_are_those_that_are_shipped() {
    let values = json!({"prometheus": {"prometheusRule": {"enabled": true}}});
    let objects = render(&Asked::new(values));
    let rendered = find(&objects, "PrometheusRule", "metallb");
    let text = fs::read_to_string(deploy().join("monitoring/alerts.yaml")).unwrap();
    let mut shipped = documents(&text).remove(0);
    for rule in shipped["spec"]["groups"][0]["rules"]
        .as_array_mut()
        .unwrap()
    {
        if rule["alert"].as_str().unwrap().starts_with(USAGE) {
            // One page for whatever thresholds somebody sets.
            rule["annotations"]["runbook_url"] = json!(USAGE_PAGE);
        }
    }
    assert_eq!(rendered["spec"], shipped["spec"]);
}

const USAGE: &str = "MetalLBAddressPoolUsage";
const USAGE_PAGE: &str = "docs/runbooks.md#metallbaddresspoolusage75percent";

#[test]
fn alerts_can_be_left_out_changed_and_added() {
    let rule = json!({
        "enabled": true,
        "staleConfig": {"enabled": false},
        "addressPoolExhausted": {"excludePools": "spare.*"},
        "addressPoolUsage": {"thresholds": [{"percent": 50, "labels": {"severity": "info"}}]},
        "bgpSessionDown": {"labels": {"severity": "warning"}},
        "extraAlerts": [{"alert": "Ours", "expr": "vector(1)"}],
    });
    let objects = render(&Asked::new(json!({"prometheus": {"prometheusRule": rule}})));
    let groups = &find(&objects, "PrometheusRule", "metallb")["spec"]["groups"];
    let rules = groups[0]["rules"].as_array().unwrap();
    let names: Vec<&str> = rules
        .iter()
        .filter_map(|one| one["alert"].as_str())
        .collect();
    let expected = [
        "MetalLBConfigNotLoaded",
        "MetalLBAddressPoolExhausted",
        "MetalLBAddressPoolUsage50Percent",
        "MetalLBBGPSessionDown",
        "Ours",
    ];
    assert_eq!(names, expected);
    let exhausted = rules[1]["expr"].as_str().unwrap();
    let sparing = "metallb_allocator_addresses_total{pool!~\"spare.*\"}";
    assert!(exhausted.contains(sparing), "{exhausted}");
    assert!(rules[2]["expr"].as_str().unwrap().ends_with("> 50"));
    assert_eq!(rules[2]["labels"], json!({"severity": "info"}));
    assert_eq!(rules[3]["labels"], json!({"severity": "warning"}));
}

/// An object of the plain manifests under the names of a release `metallb`; `parent` is the field that holds it.
fn renamed(value: &Value, parent: &str) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields = fields.clone();
            if let Some(component) = fields.get("component").cloned() {
                fields.remove("app");
                fields.remove("component");
                fields.insert("app.kubernetes.io/name".to_owned(), json!("metallb"));
                fields.insert("app.kubernetes.io/instance".to_owned(), json!("metallb"));
                fields.insert("app.kubernetes.io/component".to_owned(), component);
            }
            let is_named = ["metadata", "roleRef", "subjects"].contains(&parent);
            let renamed = fields.iter().map(|(field, value)| {
                let names = NAMING.contains(&field.as_str()) || (is_named && field == "name");
                let value = match value.as_str() {
                    Some(name) if names => json!(name_of(name)),
                    Some(rule) if field == "expression" => json!(rule.replace(ACCOUNT, OURS)),
                    Some(_) | None => renamed(value, field),
                };
                (field.clone(), value)
            });
            renamed.collect()
        }
        Value::Array(items) if parent == "resourceNames" => {
            let items = items.iter().filter_map(Value::as_str);
            items.map(|name| json!(name_of(name))).collect()
        }
        Value::Array(items) => items.iter().map(|item| renamed(item, parent)).collect(),
        other => other.clone(),
    }
}

/// Fields that hold the name of an object.
const NAMING: [&str; 3] = ["serviceAccountName", "secretName", "value"];

/// The speaker's account there, and in a release `metallb`.
const ACCOUNT: &str = "system:serviceaccount:metallb-system:speaker";
const OURS: &str = "system:serviceaccount:metallb-system:metallb-speaker";

fn name_of(name: &str) -> String {
    match name {
        "controller" | "speaker" | "pod-lister" | "memberlist" => format!("metallb-{name}"),
        "controller-monitor-service" | "speaker-monitor-service" => format!("metallb-{name}"),
        other => other.replace("metallb-system:", "metallb:"),
    }
}

/// Without its own labels, which are Helm's, and without fields that are taken away by name.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("labels");
    }
    if let Some(Value::Object(strategy)) = object.pointer_mut("/spec/strategy") {
        strategy.retain(|_, value| !value.is_null());
    }
    object
}

fn title(object: &Value) -> (&str, &str) {
    let name = object["metadata"]["name"].as_str();
    (object["kind"].as_str().unwrap(), name.unwrap())
}

fn folder(name: &str) -> Vec<Value> {
    let files = fs::read_dir(deploy().join(name)).unwrap();
    let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    texts.flat_map(|text| documents(&text)).collect()
}
