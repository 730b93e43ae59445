//! Texts, malformed reviews, and that nothing makes an answer fall; verdicts are compared with MetalLB's in the model suite.

use super::{Answer, CONVERT, Given, METALLB, PATHS, answer, needs_given};
use crate::World;
use crate::manifest::{DEFAULT_NAMESPACE, read};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

fn known(given: &[Value]) -> Given {
    let mut world = World::default();
    for object in given {
        for object in read("api", &object.to_string(), DEFAULT_NAMESPACE).objects {
            object.clone().unwrap();
            world.put(object);
        }
    }
    Given::Known(Arc::new(world))
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    let version = if kind == "BGPPeer" {
        "v1beta2"
    } else {
        "v1beta1"
    };
    json!({
        "apiVersion": format!("metallb.io/{version}"),
        "kind": kind,
        "metadata": {"name": name, "namespace": DEFAULT_NAMESPACE},
        "spec": spec,
    })
}

fn peer(name: &str, spec: Value) -> Value {
    let mut peer = object(
        "BGPPeer",
        name,
        json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"}),
    );
    for (field, value) in spec.as_object().unwrap() {
        peer["spec"][field] = value.clone();
    }
    peer
}

fn node(name: &str, zone: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"zone": zone}}})
}

fn response(operation: &str, object: &Value, given: &Given) -> Value {
    let (new, old) = match operation {
        "CREATE" => (object, &Value::Null),
        "UPDATE" => (object, object),
        _ => (&Value::Null, object),
    };
    answered(operation, new, old, given)
}

fn answered(operation: &str, new: &Value, old: &Value, given: &Given) -> Value {
    let kind = [new, old]
        .into_iter()
        .find_map(|object| object["kind"].as_str());
    let kind = kind.unwrap();
    let path = PATHS.iter().find(|(_, k)| k.as_str() == kind);
    let path = path.map_or(METALLB, |(path, _)| path);
    let review =
        json!({"request": {"uid": "u", "operation": operation, "object": new, "oldObject": old}});
    let answer = answer(
        path,
        review.to_string().as_bytes(),
        given,
        DEFAULT_NAMESPACE,
    );
    assert_eq!(answer.status, 200);
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["response"].clone()
}

fn refused(operation: &str, object: &Value, given: &Given, why: &str) {
    let response = response(operation, object, given);
    assert_eq!(response["allowed"], false, "{response}");
    assert_eq!(response["status"]["message"], why);
}

fn allowed(operation: &str, object: &Value, given: &Given) {
    let response = response(operation, object, given);
    assert_eq!(response["allowed"], true, "{response}");
}

#[test]
fn a_fault_names_object_field_and_reason() {
    let bad = peer("p", json!({"holdTime": "2s", "sourceAddress": "eth0"}));
    refused(
        "CREATE",
        &bad,
        &Given::Unknown,
        "BGPPeer metallb-system/p: spec.sourceAddress: \"eth0\" is no IP address; \
         spec.holdTime: 2s is neither 0 nor at least 3s",
    );
    let bad = object(
        "Community",
        "c",
        json!({"communities": [{"name": "a", "value": "1:2:3"}]}),
    );
    refused(
        "UPDATE",
        &bad,
        &Given::Unknown,
        "Community metallb-system/c: spec.communities[0].value: \"1:2:3\" is no community: a:b with numbers to 65535, or \
         large:a:b:c with numbers to 4294967295",
    );
}

#[test]
fn configuration_elsewhere_is_refused_whatever_its_kind() {
    for kind in [
        "IPAddressPool",
        "L2Advertisement",
        "BGPAdvertisement",
        "BGPPeer",
        "BFDProfile",
        "Community",
    ] {
        let mut elsewhere = match kind {
            "IPAddressPool" => object(kind, "x", json!({"addresses": ["192.0.2.0/30"]})),
            "BGPPeer" => peer("x", json!({})),
            _other => object(kind, "x", json!({})),
        };
        elsewhere["metadata"]["namespace"] = json!("default");
        let answer = response("CREATE", &elsewhere, &known(&[]));
        let why = answer["status"]["message"].as_str().unwrap_or("");
        assert!(
            why.contains("resource must be created in metallb-system namespace"),
            "{kind}: {answer}"
        );
    }
}

#[test]
fn a_clash_names_the_other_object() {
    let given = known(&[
        object("IPAddressPool", "a", json!({"addresses": ["192.0.2.0/24"]})),
        object(
            "Community",
            "c",
            json!({"communities": [{"name": "x", "value": "1:1"}]}),
        ),
        object("BGPAdvertisement", "one", json!({"localPref": 100})),
        peer("p", json!({"bfdProfile": "fast"})),
        node("n1", "a"),
    ]);
    refused(
        "CREATE",
        &object(
            "IPAddressPool",
            "b",
            json!({"addresses": ["192.0.2.9-192.0.2.12"]}),
        ),
        &given,
        "IPAddressPool metallb-system/b: spec.addresses: 192.0.2.9-192.0.2.12 overlaps with already defined CIDR \
         192.0.2.0-192.0.2.255 of IPAddressPool metallb-system/a",
    );
    refused(
        "CREATE",
        &object(
            "Community",
            "d",
            json!({"communities": [{"name": "x", "value": "1:1"}]}),
        ),
        &given,
        "Community metallb-system/d: spec.communities: duplicate definition of community \"x\", which Community \
         metallb-system/c defines",
    );
    refused(
        "CREATE",
        &object("BGPAdvertisement", "two", json!({"localPref": 200})),
        &given,
        "BGPAdvertisement metallb-system/two: spec.localPref: invalid local preference 200: 100 was already set by \
         BGPAdvertisement metallb-system/one for pool \"a\", with a common aggregation length, peer and node",
    );
    refused(
        "CREATE",
        &object(
            "BGPAdvertisement",
            "two",
            json!({"aggregationLength": 20, "localPref": 100}),
        ),
        &given,
        "BGPAdvertisement metallb-system/two: spec.aggregationLength: invalid aggregation length 20: prefix 24 is more \
         specific, which 192.0.2.0-192.0.2.255 of IPAddressPool metallb-system/a needs",
    );
    refused(
        "DELETE",
        &object("BFDProfile", "fast", json!({})),
        &given,
        "BFDProfile metallb-system/fast: failed to delete: it is used by BGPPeer metallb-system/p in spec.bfdProfile",
    );
}

#[test]
fn a_clash_of_peers_names_the_other_peer() {
    let given = known(&[peer("p", json!({}))]);
    refused(
        "CREATE",
        &peer(
            "q",
            json!({"peerPort": 180, "routerID": "10.0.0.1", "myASN": 64999}),
        ),
        &given,
        "BGPPeer metallb-system/q: spec.peerAddress: peer 192.0.2.1 already exists: BGPPeer metallb-system/p has it, and \
         duplicate BGPPeers selecting the same node cannot be; spec.routerID: peer 192.0.2.1 has RouterID different from \
         192.0.2.1: BGPPeer metallb-system/p selects the same node, which has one router id only; spec.myASN: peer \
         192.0.2.1 has myAsn different from 192.0.2.1: BGPPeer metallb-system/p selects the same node, which is in one AS \
         within a VRF",
    );
}

#[test]
fn an_object_does_not_clash_with_its_own_last_version() {
    let pool = object("IPAddressPool", "a", json!({"addresses": ["192.0.2.0/24"]}));
    let community = object(
        "Community",
        "c",
        json!({"communities": [{"name": "x", "value": "1:1"}]}),
    );
    let advertisement = object("BGPAdvertisement", "one", json!({"localPref": 100}));
    let given = known(&[
        pool.clone(),
        community.clone(),
        advertisement,
        peer("p", json!({})),
        node("n1", "a"),
    ]);
    allowed("UPDATE", &pool, &given);
    allowed("UPDATE", &community, &given);
    let changed = object("BGPAdvertisement", "one", json!({"localPref": 200}));
    allowed("UPDATE", &changed, &given);
    allowed(
        "UPDATE",
        &peer("p", json!({"peerPort": 180, "myASN": 64999})),
        &given,
    );
}

#[test]
fn two_older_objects_that_clash_keep_nobody_out() {
    let spec = json!({"addresses": ["192.0.2.0/24"]});
    let given = known(&[
        object("IPAddressPool", "a", spec.clone()),
        object("IPAddressPool", "b", spec),
        peer("p", json!({})),
        peer("q", json!({})),
    ]);
    let other = object(
        "IPAddressPool",
        "c",
        json!({"addresses": ["198.51.100.0/24"]}),
    );
    allowed("CREATE", &other, &given);
    let elsewhere = peer("r", json!({"peerAddress": "192.0.2.9"}));
    allowed("CREATE", &elsewhere, &given);
}

#[test]
fn what_is_deleted_may_lose_its_finalizers_whatever_it_says() {
    let bad = |deleted: bool, finalizers: Value, address: &str| {
        let mut pool = object("IPAddressPool", "a", json!({"addresses": [address]}));
        pool["metadata"]["finalizers"] = finalizers;
        if deleted {
            pool["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        pool
    };
    let given = known(&[]);
    let allowed = |new, old| answered("UPDATE", &new, &old, &given)["allowed"] == true;
    let old = || bad(true, json!(["a.b/c"]), "nonsense");
    assert!(allowed(bad(true, json!([]), "nonsense"), old()));
    assert!(!allowed(bad(true, json!([]), "other"), old()));
    let alive = || bad(false, json!(["a.b/c"]), "nonsense");
    assert!(!allowed(bad(false, json!([]), "nonsense"), alive()));
}

#[test]
fn a_refusal_stays_short() {
    let many: Vec<_> = (0..5000).map(|i| format!("bad{i}")).collect();
    let pool = object("IPAddressPool", "a", json!({"addresses": many}));
    let response = response("CREATE", &pool, &Given::Unknown);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.ends_with("; and 4996 more"), "{message}");
}

/// As API servers send it: with an answer that is empty yet, and no resourceVersion.
#[test]
fn a_list_is_converted_in_its_order() {
    let stored = |name: &str, port: u16| {
        let mut peer = peer(name, json!({"peerPort": port, "disableMP": false}));
        peer["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        peer
    };
    let review = json!({
        "kind": "ConversionReview",
        "apiVersion": "apiextensions.k8s.io/v1",
        "request": {
            "uid": "u",
            "desiredAPIVersion": "metallb.io/v1beta1",
            "objects": [stored("two", 179), stored("one", 180)],
        },
        "response": {"uid": "", "convertedObjects": null, "result": {"metadata": {}}},
    });
    let answer = answer(
        CONVERT,
        review.to_string().as_bytes(),
        &Given::Unknown,
        DEFAULT_NAMESPACE,
    );
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let converted = |name: &str, port: u16| {
        json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": "BGPPeer",
            "metadata": stored(name, port)["metadata"],
            "spec": {
                "myASN": 64512,
                "peerASN": 64513,
                "peerAddress": "192.0.2.1",
                "peerPort": port,
                "holdTime": "0s",
                "keepaliveTime": "0s",
            },
            "status": {},
        })
    };
    let expected = json!({
        "uid": "u",
        "convertedObjects": [converted("two", 179), converted("one", 180)],
        "result": {"metadata": {}, "status": "Success"},
    });
    assert_eq!(body["response"], expected);
}

#[test]
fn our_annotations_are_judged_too() {
    let mut advertisement = object("BGPAdvertisement", "b", json!({}));
    advertisement["metadata"]["annotations"] = json!({"heliograph.io/prepnd": "1"});
    refused(
        "CREATE",
        &advertisement,
        &Given::Unknown,
        "BGPAdvertisement metallb-system/b: metadata.annotations.heliograph.io/prepnd: is not known; heliograph.io/prepend \
         perhaps",
    );
    for flag in [false, true] {
        let mut peer = peer("p", json!({"disableMP": flag}));
        peer["metadata"]["annotations"] = json!({"heliograph.io/gtsm": "maybe", "a.b/c": "d"});
        refused(
            "CREATE",
            &peer,
            &Given::Unknown,
            "BGPPeer metallb-system/p: metadata.annotations.heliograph.io/gtsm: \"maybe\" is not \"require\"",
        );
    }
}

#[test]
fn metallb_5_6_the_operators_resource_is_judged_alone() {
    let metallb = |spec| object("MetalLB", "any", spec);
    let good = metallb(json!({"logLevel": "debug"}));
    allowed("CREATE", &good, &Given::Unknown);
    allowed("UPDATE", &good, &Given::Unknown);
    let bad = metallb(json!({"bgpBackend": "bird"}));
    let why = "MetalLB metallb-system/any: spec.bgpBackend: \"bird\" is none of native, frr, frr-k8s, frr-k8s-external";
    refused("CREATE", &bad, &Given::Unknown, why);
    refused("UPDATE", &bad, &Given::Unknown, why);
    allowed("DELETE", &bad, &Given::Unknown);
}

#[test]
fn what_needs_other_objects_waits_for_them() {
    let waits = |operation: &str, object: &Value| {
        let response = response(operation, object, &Given::Unknown);
        let code = &response["status"]["code"];
        assert!(response["allowed"] == true || code == 503, "{response}");
        code == 503
    };
    let profile = object("BFDProfile", "b", json!({}));
    let pool = object("IPAddressPool", "a", json!({"addresses": ["192.0.2.0/24"]}));
    assert!(waits("CREATE", &pool));
    assert!(!waits("DELETE", &pool));
    assert!(waits("DELETE", &profile));
    assert!(!waits("CREATE", &profile));
    assert!(!waits("UPDATE", &object("L2Advertisement", "l", json!({}))));
    let may_wait = PATHS.iter().filter(|(path, _)| needs_given(path));
    assert_eq!(may_wait.count(), PATHS.len() - 1);
    assert!(!needs_given(CONVERT));
}

#[test]
fn what_is_no_review_is_told_so() {
    let path = PATHS[0].0;
    let told = |body: &str| -> Value {
        let answer = answer(path, body.as_bytes(), &Given::Unknown, DEFAULT_NAMESPACE);
        assert_eq!(answer.status, 200);
        serde_json::from_slice(&answer.body).unwrap()
    };
    let operation =
        |object: &str| format!(r#"{{"request": {{"operation": "CREATE", "object": {object}}}}}"#);
    let bodies = [
        ("[]".to_owned(), "request body is no JSON object"),
        ("{}".to_owned(), "request is missing"),
        (
            r#"{"apiVersion": "admission.k8s.io/v2", "kind": "AdmissionReview"}"#.to_owned(),
            "\"AdmissionReview\" of \"admission.k8s.io/v2\" is no AdmissionReview of admission.k8s.io/v1 or \
             admission.k8s.io/v1beta1",
        ),
        (operation("7"), "object is no object"),
        (operation("null"), "there is no content to decode in object"),
        (
            operation(r#"{"kind": "BGPPeer"}"#),
            "the object is a \"BGPPeer\" and no IPAddressPool",
        ),
        (
            operation(
                r#"{"kind": "IPAddressPool", "metadata": {"name": "x"}, "spec": {"addresses": 7}}"#,
            ),
            "IPAddressPool x: spec.addresses: invalid type: integer `7`, expected a sequence",
        ),
    ];
    for (body, why) in bodies {
        let status = &told(&body)["response"]["status"];
        assert_eq!(status["message"], why, "{body}");
        assert_eq!(status["code"], 400, "{body}");
    }
    let Answer { status, body } = answer("/metrics", b"", &Given::Unknown, DEFAULT_NAMESPACE);
    assert_eq!(
        (status, body.as_slice()),
        (404, &b"404 page not found\n"[..])
    );
}

fn any_path() -> impl Strategy<Value = &'static str> {
    let paths = PATHS
        .iter()
        .map(|(path, _)| *path)
        .chain([CONVERT, METALLB, "/"]);
    prop::sample::select(paths.collect::<Vec<_>>())
}

/// JSON of the words that reviews are made of, in any order.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "request",
        "operation",
        "CREATE",
        "UPDATE",
        "DELETE",
        "object",
        "oldObject",
        "objects",
        "desiredAPIVersion",
        "metallb.io/v1beta1",
        "metallb.io/v1beta2",
        "kind",
        "BGPPeer",
        "IPAddressPool",
        "apiVersion",
        "metadata",
        "name",
        "namespace",
        "metallb-system",
        "annotations",
        "spec",
        "addresses",
        "::/0",
        "myASN",
        "peerASN",
        "holdTime",
        "-1h",
        "peerAddress",
        "192.0.2.1",
        "nodeSelectors",
        "matchExpressions",
        "values",
        "communities",
        "1:1",
        "disableMP",
    ]);
    let leaf = prop_oneof![
        word.clone().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(word.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_fall(path in any_path(), body in prop::collection::vec(any::<u8>(), 0..200)) {
        answer(path, &body, &Given::Unknown, DEFAULT_NAMESPACE);
    }

    #[test]
    fn no_json_makes_it_fall(path in any_path(), body in any_json()) {
        let answer = answer(path, body.to_string().as_bytes(), &known(&[]), DEFAULT_NAMESPACE);
        prop_assert!([200, 400, 404].contains(&answer.status));
    }

    /// A request with something of everything in it, damaged in one place.
    #[test]
    fn no_field_makes_it_fall(spec in any_json(), field in prop::sample::select(vec!["spec", "metadata", "kind"])) {
        let kinds = PATHS.iter().map(|(_, kind)| kind.as_str());
        for kind in kinds.chain(["MetalLB"]) {
            let mut object = object(kind, "x", json!({}));
            object[field] = spec.clone();
            object["kind"] = kind.into();
            response("CREATE", &object, &known(&[]));
        }
    }
}
