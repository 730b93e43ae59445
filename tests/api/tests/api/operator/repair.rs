//! Whatever is done by hand to what the operator made is undone: for every object of every kind that it makes, a change and a deletion.

use super::site::{CRD, Site};
use super::{holds, usual, wanted_with};
use serde_json::{Value, json};
use speaker_core::deploy::{Monitors, Object};

#[test]
fn metallb_1_8_every_object_that_is_changed_or_deleted_is_put_right() {
    let site = Site::new();
    site.has_prometheus_operator();
    let flags = ["--controller-replicas=2", "--deploy-servicemonitors=true"];
    let operator = site.operator(&flags);
    site.metallb("metallb", &json!({}));
    site.until_available();
    let objects = everything();
    let is_right = |object: &Object| holds(&site.get(&object.path()), &object.body);
    for object in &objects {
        let (path, spoiled) = (object.path(), spoiled(object));
        site.edit(&path, &spoiled);
    }
    site.edit(
        CRD,
        &json!({"spec": {"conversion": {"strategy": "None", "webhook": null}}}),
    );
    for object in &objects {
        site.until(&format!("{} as it was", object.title()), || {
            is_right(object)
        });
    }
    let strategy = || site.get(CRD)["spec"]["conversion"]["strategy"].clone();
    site.until("the conversion", || strategy() == "Webhook");
    // A change is seen before the one who made it has its answer, and says so.
    let titles = objects.iter().map(Object::title);
    for what in titles.chain([CRD.to_owned()]) {
        site.until(&format!("a word of {what}"), || {
            let mut lines = operator.lines_of("objectRepaired").into_iter();
            lines.any(|line| line["object"] == what.as_str())
        });
    }
    let ids: Vec<Value> = objects.iter().map(|one| id(&site, one)).collect();
    for object in &objects {
        assert_eq!(
            site.double.delete(&object.path()),
            200,
            "{}",
            object.title()
        );
    }
    for (object, old) in objects.iter().zip(&ids) {
        site.until(&format!("{} again", object.title()), || {
            is_right(object) && id(&site, object) != *old
        });
    }
}

/// All that there can be at once.
fn everything() -> Vec<Object> {
    let mut options = usual();
    options.controllers = 2;
    options.monitors = Monitors::Services;
    wanted_with(&json!({}), &options)
}

fn id(site: &Site, object: &Object) -> Value {
    site.get(&object.path())["metadata"]["uid"].clone()
}

/// A change of what the operator wants of an object. A kind that is new here has to be told how.
fn spoiled(object: &Object) -> Value {
    let spoiled = match object.kind.as_str() {
        "ConfigMap" => json!({"data": {"excludel2.yaml": "x"}}),
        "DaemonSet" => json!({"spec": {"template": {"spec": {"hostNetwork": false}}}}),
        "Deployment" => json!({"spec": {"replicas": 0}}),
        "NetworkPolicy" => json!({"spec": {"podSelector": {"matchLabels": {"app": "other"}}}}),
        "PodDisruptionBudget" => json!({"spec": {"maxUnavailable": 0}}),
        "Service" => json!({"spec": {"selector": {"component": "other"}}}),
        "ServiceMonitor" => json!({"spec": {"endpoints": []}}),
        "ValidatingAdmissionPolicy" => json!({"spec": {"failurePolicy": "Ignore"}}),
        "ValidatingAdmissionPolicyBinding" => json!({"spec": {"validationActions": ["Warn"]}}),
        "ValidatingWebhookConfiguration" => json!({"webhooks": []}),
        kind => panic!("how is a {kind} spoiled?"),
    };
    let mut after = object.body.clone();
    merge(&mut after, &spoiled);
    assert_ne!(
        after,
        object.body,
        "{} is not changed by it",
        object.title()
    );
    spoiled
}

/// RFC 7396, without the nulls, of which there are none.
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}
