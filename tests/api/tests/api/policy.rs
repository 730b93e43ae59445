//! The policy that is shipped, judged by the double with the roles that are shipped: whose ConfigMap a speaker may write.

use api_tests::{Double, Options, Users};
use serde::Deserialize as _;
use serde_json::{Value, json};
use speaker_core::hardware;
use std::fs;
use std::path::Path;

/// With a speaker on n1, one whose token names no node, and the operator.
fn double(with_policy: bool) -> Double {
    let mut users = Users::new();
    for token in ["n1", "unbound"] {
        users.add(token, "system:serviceaccount:metallb-system:speaker", &[]);
    }
    users.bind("n1", "n1");
    let operator = "system:serviceaccount:metallb-system:metallb-operator";
    users.add("operator", operator, &[]);
    let double = Double::start(Options {
        users,
        ..Options::default()
    })
    .unwrap();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    for file in [
        "manifests/0-namespace.yaml",
        "manifests/2-speaker-rights.yaml",
        "manifests/5-speaker-policy.yaml",
        "operator/1-operator-rights.yaml",
    ] {
        if file.contains("policy") && !with_policy {
            continue;
        }
        let text = fs::read_to_string(deploy.join(file)).unwrap();
        for document in serde_norway::Deserializer::from_str(&text) {
            let (code, answer) = double.put(&Value::deserialize(document).unwrap());
            assert!((200..300).contains(&code), "{answer}");
        }
    }
    double
}

/// Applies a node's record, as a speaker does.
fn publish(double: &Double, token: &str, name: &str) -> (u16, Value) {
    let mut object = hardware::object(name, &[].into(), None);
    object["metadata"]["namespace"] = json!("metallb-system");
    let path = format!("{CONFIG_MAPS}/{name}?fieldManager={token}&force=true");
    double.request_by(token, "PATCH", &path, (APPLY, &object))
}

#[test]
fn l2_3_a_speaker_writes_the_config_map_of_its_node_and_no_other() {
    let double = double(true);
    assert_eq!(publish(&double, "n1", "speaker-n1").0, 201);
    assert_eq!(publish(&double, "n1", "speaker-n1").0, 200, "and again");
    let denied = "is forbidden: ValidatingAdmissionPolicy 'heliograph-speaker-configmaps' with binding \
                  'heliograph-speaker-configmaps' denied request: a speaker writes the ConfigMap of its own node only";
    for name in ["speaker-n2", "speaker-n11", "speaker", "anything"] {
        let (code, answer) = publish(&double, "n1", name);
        assert_eq!(code, 403, "{name}: {answer}");
        let expected = format!("configmaps {name:?} {denied}");
        assert_eq!(answer["message"], expected);
    }
    // What is there already is as closed as what is not.
    for name in ["speaker-n2", "metallb-excludel2"] {
        assert_eq!(publish(&double, "admin", name).0, 201, "others are let in");
        let patch = json!({"data": {"macs": "02:00:00:00:00:01"}});
        let path = format!("{CONFIG_MAPS}/{name}");
        let (code, answer) = double.request_by("n1", "PATCH", &path, (MERGE, &patch));
        assert_eq!(code, 403, "{name}: {answer}");
    }
}

#[test]
fn l2_3_a_token_without_a_node_writes_nothing() {
    let double = double(true);
    for name in ["speaker-n1", "speaker"] {
        let (code, answer) = publish(&double, "unbound", name);
        assert_eq!(code, 403, "{name}: {answer}");
    }
    // It is the policy that closes this, and nothing else.
    let open = self::double(false);
    assert_eq!(publish(&open, "unbound", "speaker-n2").0, 201);
}

#[test]
fn the_policy_is_about_speakers_at_home_alone() {
    let double = double(true);
    let elsewhere = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}});
    assert_eq!(double.put(&elsewhere).0, 201);
    let mut object = hardware::object("anything", &[].into(), None);
    object["metadata"]["namespace"] = json!("other");
    let path = "/api/v1/namespaces/other/configmaps";
    let (code, answer) = double.request_by("n1", "POST", path, ("application/json", &object));
    assert_eq!(code, 403, "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(!message.contains("Policy"), "a role refuses it: {message}");
    // The operator's links of MetalLB's list.
    let (code, answer) = publish(&double, "operator", "metallb-excludel2");
    assert_eq!(code, 201, "{answer}");
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/metallb-system/configmaps";
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
