//! The recorded story of server-side apply: the same owners, values and conflicts.

use api_tests::apply::{self, Lists, Manager};
use api_tests::schema;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Suites shrink by accident: fewer exchanges than this are a mistake.
const EXCHANGES_MIN: usize = 35;

#[test]
fn the_recorded_story_of_apply_is_ours() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/apiserver/ssa.jsonl");
    let text = fs::read_to_string(file).unwrap();
    let mut stored: BTreeMap<String, Value> = BTreeMap::new();
    let mut exchanges = 0;
    for line in text.lines() {
        let exchange: Value = serde_json::from_str(line).unwrap();
        let Some(outcome) = play(&exchange, &stored) else {
            continue;
        };
        let (name, answer) = (&exchange["name"], &exchange["response"]["body"]);
        match outcome {
            Ok(object) => {
                assert_eq!(owners(&object), owners(answer), "{name}");
                check_values(&object, answer, name);
                if exchange["request"]["query"]["dryRun"].is_null() {
                    stored.insert(place(&exchange).0, answer.clone());
                }
            }
            Err(conflict) => {
                assert_eq!(answer["code"], conflict.code, "{name}");
                assert_eq!(answer["message"], *conflict.message, "{name}");
                check_causes(&conflict, &answer["details"]["causes"], name);
            }
        }
        exchanges += 1;
    }
    assert!(exchanges >= EXCHANGES_MIN, "only {exchanges} exchanges");
}

/// As tools do that go over from client-side to server-side apply.
#[test]
fn owners_that_a_write_names_are_the_owners() {
    let lists = Lists::of_kind("ConfigMap");
    let mut before = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1", "b": "2"},
    });
    apply::own_update(None, &mut before, "helm", &lists);
    let mut moved = before.clone();
    let entry = &mut moved["metadata"]["managedFields"][0];
    entry["manager"] = json!("ours");
    entry["operation"] = json!("Apply");
    apply::own_update(Some(&before), &mut moved, "someone", &lists);
    let mut wanted = before.clone();
    wanted["metadata"] = json!({"name": "c"});
    wanted["data"] = json!({"a": "1"});
    let applied = apply::apply(Some(&moved), &wanted, "ours", true, &lists).unwrap();
    assert_eq!(applied["data"], json!({"a": "1"}));
    let kept = apply::apply(Some(&before), &wanted, "ours", true, &lists).unwrap();
    assert_eq!(
        kept["data"],
        json!({"a": "1", "b": "2"}),
        "while it is another's"
    );
}

#[test]
fn who_makes_an_object_owns_all_of_it() {
    let mut pool = json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {"addresses": ["192.0.2.0/24"]},
    });
    let lists = Lists::of_schema(&custom("ipaddresspools"));
    let manager = Manager {
        name: "recorder",
        subresource: "",
        time: Some("2026-01-01T00:00:00Z"),
    };
    apply::own_update(None, &mut pool, manager, &lists);
    assert_eq!(
        pool["metadata"]["managedFields"],
        json!([{
            "manager": "recorder",
            "operation": "Update",
            "apiVersion": "metallb.io/v1beta1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {".": {}, "f:addresses": {}},
            },
        }])
    );
    let before = pool.clone();
    apply::own_update(Some(&before), &mut pool, manager, &lists);
    assert_eq!(pool, before, "a write that changes nothing leaves no trace");
}

#[test]
fn kubernetes_own_kinds_never_lack_their_spec() {
    let mut lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "l"},
        "spec": {"holderIdentity": "a"},
    });
    apply::own_update(None, &mut lease, "recorder", &Lists::of_kind("Lease"));
    assert_eq!(
        lease["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:spec": {"f:holderIdentity": {}}})
    );
}

#[test]
fn an_item_keeps_what_another_manager_put_into_it() {
    let lists = Lists::of_kind("Deployment");
    let containers = |container: Value| {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "spec": {"template": {"spec": {"containers": [container]}}},
        })
    };
    let image = containers(json!({"name": "c", "image": "i"}));
    let env = containers(json!({"name": "c", "env": [{"name": "A", "value": "1"}]}));
    let made = apply::apply(None, &image, "one", false, &lists).unwrap();
    let both = apply::apply(Some(&made), &env, "two", false, &lists).unwrap();
    let container = &both["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "i");
    assert_eq!(container["env"][0]["value"], "1");
    let nothing = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    let left = apply::apply(Some(&both), &nothing, "one", false, &lists).unwrap();
    assert_eq!(left["spec"], env["spec"], "the image went with its owner");
}

type Outcome = Result<Value, apply::Conflict>;

/// What comes of an exchange; nothing if it is about something else than owners.
fn play(exchange: &Value, stored: &BTreeMap<String, Value>) -> Option<Outcome> {
    let request = &exchange["request"];
    let (key, subresource) = place(exchange);
    let (live, kind) = (stored.get(&key), kind_of(&key));
    let lists = match custom_name(kind) {
        Some(plural) => Lists::of_schema(&custom(plural)),
        None => Lists::of_kind(kind),
    };
    let answer = &exchange["response"];
    let (status, message) = (&answer["status"], answer["body"]["message"].as_str());
    let manager = Manager {
        name: request["query"]["fieldManager"]
            .as_str()
            .unwrap_or("my-agent"),
        subresource: &subresource,
        time: None,
    };
    if request["contentType"] == "application/merge-patch+json" && *status == 200 {
        let mut new = live?.clone();
        json_patch::merge(&mut new, &request["body"]);
        apply::own_update(live, &mut new, manager, &lists);
        return Some(Ok(new));
    }
    let is_concerned = message.is_none_or(|text| {
        text.starts_with("Apply failed") || text.contains("omits all key fields")
    });
    if request["contentType"] != "application/apply-patch+yaml" || !is_concerned {
        return None;
    }
    let mut wanted = body(request);
    if subresource.is_empty() {
        wanted.as_object_mut().unwrap().remove("status");
    }
    let force = request["query"]["force"] == "true";
    Some(apply::apply(live, &wanted, manager, force, &lists))
}

/// Values, as far as they are not the defaults of Kubernetes' own kinds.
fn check_values(ours: &Value, theirs: &Value, name: &Value) {
    if let Some(plural) = custom_name(theirs["kind"].as_str().unwrap()) {
        let mut ours = ours.clone();
        schema::complete(&custom(plural), &mut ours);
        for part in ["spec", "status"] {
            assert_eq!(ours.get(part), theirs.get(part), "{name}: {part}");
        }
        return;
    }
    assert_eq!(ours["data"], theirs["data"], "{name}");
    assert_eq!(
        ours["metadata"]["annotations"], theirs["metadata"]["annotations"],
        "{name}"
    );
    let ports = |object: &Value| list(&object["spec"]["ports"], "port");
    assert_eq!(ports(ours), ports(theirs), "{name}");
    let ips = |object: &Value| list(&object["status"]["loadBalancer"]["ingress"], "ip");
    assert_eq!(ips(ours), ips(theirs), "{name}");
}

fn check_causes(conflict: &apply::Conflict, theirs: &Value, name: &Value) {
    let theirs = theirs.as_array().into_iter().flatten();
    let theirs: Vec<_> = theirs
        .map(|cause| {
            assert_eq!(cause["reason"], "FieldManagerConflict", "{name}");
            let text = |field: &str| cause[field].as_str().unwrap().to_owned();
            (text("field"), text("message"))
        })
        .collect();
    assert_eq!(conflict.causes, theirs, "{name}");
}

/// Entries without their times, which are chance in the recording, and so without order.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array();
    let mut entries: Vec<String> = entries
        .into_iter()
        .flatten()
        .map(|entry| {
            let mut entry = entry.clone();
            entry.as_object_mut().unwrap().remove("time");
            entry.to_string()
        })
        .collect();
    entries.sort();
    entries
}

/// Path of the object, and the subresource.
fn place(exchange: &Value) -> (String, String) {
    let path = exchange["request"]["path"].as_str().unwrap();
    match path.strip_suffix("/status") {
        Some(main) => (main.to_owned(), "status".to_owned()),
        None => (path.to_owned(), String::new()),
    }
}

fn kind_of(path: &str) -> &'static str {
    let kinds = [
        ("/configmaps/", "ConfigMap"),
        ("/services/", "Service"),
        ("/leases/", "Lease"),
        ("/ipaddresspools/", "IPAddressPool"),
        ("/configurationstates/", "ConfigurationState"),
    ];
    let found = kinds.into_iter().find(|(plural, _)| path.contains(plural));
    found.unwrap_or_else(|| panic!("{path}")).1
}

fn custom_name(kind: &str) -> Option<&'static str> {
    match kind {
        "IPAddressPool" => Some("ipaddresspools"),
        "ConfigurationState" => Some("configurationstates"),
        _ => None,
    }
}

fn custom(plural: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds");
    let text = fs::read_to_string(folder.join(format!("{plural}.yaml"))).unwrap();
    let crd: Value = serde_norway::from_str(&text).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

fn body(request: &Value) -> Value {
    match &request["body"] {
        Value::String(yaml) => serde_norway::from_str(yaml).unwrap(),
        object => object.clone(),
    }
}

fn list(items: &Value, field: &str) -> Vec<Value> {
    let items = items.as_array().into_iter().flatten();
    items.map(|item| item[field].clone()).collect()
}
