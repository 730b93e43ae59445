//! Each key of MetalLB's chart (`data/helm-values.json`: keys and defaults) changes the render, or is named as one that does not.

use super::{Asked, deploy, documents};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[test]
fn every_key_of_metallbs_is_there_or_told_to_be_without_effect() {
    let (values, idle) = (own_values(), idle());
    for (key, _) in theirs() {
        let is_idle = idle.contains_key(&key);
        assert_ne!(is_idle, at(&values, &key).is_some(), "{key}");
        if let Some(entry) = idle.get(&key) {
            assert!(entry["why"].as_str().unwrap().len() > 20, "{key}");
        }
    }
    for key in idle.keys() {
        let known = theirs().iter().any(|(theirs, _)| theirs == key);
        assert!(known, "MetalLB has no {key}");
    }
}

#[test]
fn defaults_are_metallbs_but_for_these() {
    let (values, idle) = (own_values(), idle());
    let differ: Vec<String> = theirs()
        .into_iter()
        .filter(|(key, usual)| match idle.get(key) {
            Some(entry) => entry["usual"] != *usual,
            None => {
                let own = at(&values, key).cloned().unwrap_or_default();
                let is_unset = usual.is_null() && own == "";
                own != *usual && !is_unset
            }
        })
        .map(|(key, _)| key)
        .collect();
    let expected = [
        "controller.strategy.type",
        "controller.readinessProbe.initialDelaySeconds",
        "controller.readinessProbe.periodSeconds",
        "speaker.livenessProbe.initialDelaySeconds",
        "speaker.readinessProbe.initialDelaySeconds",
    ];
    assert_eq!(differ, expected);
}

/// From two starting points, since some keys matter only beside others.
#[test]
fn every_key_that_is_there_changes_something() {
    let monitors = json!({
        "serviceAccount": "p", "namespace": "m", "podMonitor": {"enabled": true},
        "serviceMonitor": {"enabled": true}, "prometheusRule": {"enabled": true},
    });
    let policies = json!({"enabled": true});
    let external = json!({"external": true, "namespace": "frr"});
    let bases = [
        json!({
            "prometheus": monitors, "networkpolicies": policies, "frrk8s": external,
            "crds": {"enabled": false},
        }),
        json!({"networkpolicies": policies}),
    ];
    let usual = bases.each_ref().map(|base| text(base).unwrap());
    for (key, default) in theirs() {
        if idle().contains_key(&key) {
            continue;
        }
        let mut starts = bases.iter().zip(&usual);
        let is_felt = starts.any(|(base, usual)| {
            let now = at(base, &key).unwrap_or(&default);
            let mut values = base.clone();
            put(&mut values, &key, other(&key, now));
            match text(&values) {
                Ok(text) => text != *usual,
                Err(words) => {
                    assert!(words.contains("execution error"), "{key}: {words}");
                    true
                }
            }
        });
        assert!(is_felt, "{key} changes nothing");
    }
}

#[test]
fn a_render_names_what_is_set_without_effect() {
    for (key, entry) in idle() {
        let mut values = json!({});
        put(&mut values, &key, other(&key, &entry["usual"]));
        let line = format!("  {key}: {}\n", entry["why"].as_str().unwrap());
        let notes = notes(values);
        assert!(notes.contains(&line), "{key}: {notes}");
    }
}

#[test]
fn metallbs_own_defaults_are_nothing_to_speak_of() {
    let mut values = json!({});
    for (key, usual) in theirs() {
        put(&mut values, &key, usual);
    }
    let notes = notes(values);
    assert!(notes.contains("NOTES:"), "{notes}");
    assert!(!notes.contains("change nothing"), "{notes}");
}

/// Another value of the same kind that the schema admits.
fn other(key: &str, value: &Value) -> Value {
    let end = key.rsplit('.').next().unwrap_or(key);
    match (end, value) {
        ("logLevel", _) => json!("debug"),
        ("webhookMode", _) => json!("onlywebhook"),
        ("minVersion", _) => json!("VersionTLS12"),
        ("pullPolicy", _) => json!("Always"),
        ("validationFailurePolicy", _) => json!("Ignore"),
        ("mlSecretKeyPath", _) => json!("/elsewhere"),
        ("type", _) if key.starts_with("speaker") => json!("OnDelete"),
        // One replica is replaced by Recreate, unless somebody says so.
        ("type", _) => json!("RollingUpdate"),
        ("thresholds", _) => json!([]),
        (_, Value::Bool(is_set)) => json!(!is_set),
        (_, Value::Number(number)) => json!(number.as_u64().unwrap() + 7),
        (_, Value::Array(_)) => json!([{"name": "other"}]),
        (_, Value::Object(_)) => json!({"other": "other"}),
        (_, Value::String(_) | Value::Null) => json!("other"),
    }
}

fn text(values: &Value) -> Result<String, String> {
    let output = Asked::new(values.clone()).run(&["template"]);
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

fn notes(values: Value) -> String {
    let output = Asked::new(values).run(&["install", "--dry-run=client"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// MetalLB's keys and their defaults, in its order.
fn theirs() -> Vec<(String, Value)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/helm-values.json");
    let list: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let list = list.as_array().unwrap().iter();
    list.map(|one| {
        (
            one["key"].as_str().unwrap().to_owned(),
            one["default"].clone(),
        )
    })
    .collect()
}

fn own_values() -> Value {
    documents(&read("values.yaml")).remove(0)
}

/// The keys without effect, each with its usual value and the reason.
fn idle() -> BTreeMap<String, Value> {
    let list = documents(&read("files/without-effect.yaml")).remove(0);
    let list = list.as_array().unwrap().iter();
    list.map(|one| (one["key"].as_str().unwrap().to_owned(), one.clone()))
        .collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(deploy().join("chart").join(name)).unwrap()
}

fn at<'a>(values: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.')
        .try_fold(values, |value, part| value.get(part))
}

fn put(values: &mut Value, key: &str, value: Value) {
    let mut place = values;
    for part in key.split('.') {
        place = &mut place[part];
    }
    *place = value;
}
