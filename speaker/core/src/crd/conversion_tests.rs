//! Conversion there and back.

use super::*;
use proptest::prelude::*;

fn converted(peer: Value, to: Version) -> Value {
    let Value::Object(peer) = peer else {
        unreachable!("tests convert objects")
    };
    Value::Object(convert(peer, to))
}

#[test]
fn metadata_and_what_is_unknown_above_spec_stay() {
    let peer = json!({
        "apiVersion": "metallb.io/v1beta2",
        "kind": "BGPPeer",
        "metadata": {"name": "p", "managedFields": [{"manager": "m"}], "finalizers": ["a.b/c"]},
        "spec": {"myASN": 1, "vrf": "red", "holdTime": "soon"},
    });
    let expected = json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "BGPPeer",
        "metadata": {"name": "p", "managedFields": [{"manager": "m"}], "finalizers": ["a.b/c"]},
        "spec": {"myASN": 1, "peerASN": 0, "peerAddress": "", "holdTime": "soon", "keepaliveTime": "0s"},
        "status": {},
    });
    assert_eq!(converted(peer, Version::V1Beta1), expected);
}

#[test]
fn an_expression_without_values_comes_back_without() {
    let selectors = json!([{"matchExpressions": [{"key": "k", "operator": "Exists"}]}, {}]);
    let peer = json!({"spec": {"myASN": 1, "nodeSelectors": selectors}});
    let down = converted(peer, Version::V1Beta1);
    let values = &down["spec"]["nodeSelectors"][0]["matchExpressions"][0]["values"];
    assert_eq!(*values, json!([]));
    let up = converted(down, Version::V1Beta2);
    assert_eq!(up["spec"]["nodeSelectors"], selectors);
}

#[test]
fn what_is_no_spec_is_an_empty_one() {
    for spec in [json!(null), json!(7), json!([])] {
        let peer = converted(json!({"spec": spec}), Version::V1Beta2);
        assert_eq!(peer["spec"]["myASN"], 0);
    }
}

/// A spec of v1beta1 as the API server has it.
fn spec() -> impl Strategy<Value = Value> {
    let text = || prop::option::of("[a-z0-9.:]{1,12}");
    let timer = || prop::option::of(any::<i64>().prop_map(Span::from_nanos));
    let selector = ("[a-z]{1,3}", "[a-z]{1,3}").prop_map(|(key, value)| {
        json!({"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]})
    });
    let texts = (text(), text(), text(), text());
    let rest = (
        timer(),
        timer(),
        prop::collection::vec(selector, 0..3),
        any::<bool>(),
    );
    (1_u32.., 1_u32.., 1_u16..16_384, texts, rest).prop_map(|(my, peer, port, texts, rest)| {
        let mut spec = json!({
            "myASN": my, "peerASN": peer, "peerPort": port, "peerAddress": texts.0.unwrap_or("::1".into()),
            "holdTime": rest.0.unwrap_or_default().to_string(), "keepaliveTime": rest.1.unwrap_or_default().to_string(),
        });
        for (name, text) in [("sourceAddress", texts.1), ("routerID", texts.2), ("password", texts.3)] {
            if let Some(text) = text {
                spec[name] = text.into();
            }
        }
        if !rest.2.is_empty() {
            spec["nodeSelectors"] = rest.2.into();
        }
        if rest.3 {
            spec["ebgpMultiHop"] = true.into();
        }
        spec
    })
}

proptest! {
    #[test]
    fn there_and_back_is_the_same(spec in spec()) {
        let object = json!({"apiVersion": "metallb.io/v1beta1", "kind": "BGPPeer", "metadata": {}, "spec": spec, "status": {}});
        let there = converted(object.clone(), Version::V1Beta2);
        prop_assert_eq!(&there["apiVersion"], "metallb.io/v1beta2");
        let back = converted(there.clone(), Version::V1Beta1);
        prop_assert_eq!(&back, &object);
        prop_assert_eq!(converted(back, Version::V1Beta2), there);
    }
}
