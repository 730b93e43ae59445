//! Any bytes as a review: what the fuzz target and the replay of its corpus have in common.

use serde_json::Value;
use speaker_core::World;
use speaker_core::admission::{self, Given};
use speaker_core::manifest::{self, DEFAULT_NAMESPACE};
use std::sync::{Arc, LazyLock};

/// Sends a body to every path, beside other objects and without. What is answered must be JSON that says yes or no, and what
/// was converted must come back as the same when it is converted again.
pub fn exercise(body: &[u8]) {
    for (path, _) in admission::PATHS {
        for given in [&Given::Unknown, &*KNOWN] {
            let answer = admission::answer(path, body, given, DEFAULT_NAMESPACE);
            let review = json(&answer.body);
            assert_eq!(answer.status, 200);
            assert!(review["response"]["allowed"].is_boolean(), "{review}");
        }
    }
    let answer = admission::answer(admission::CONVERT, body, &Given::Unknown, DEFAULT_NAMESPACE);
    if answer.status == 200 {
        there_and_back(&json(&answer.body));
    }
}

fn there_and_back(review: &Value) {
    let converted = &review["response"]["convertedObjects"];
    let Some(objects) = converted.as_array() else {
        return;
    };
    let version = |objects: &Value| objects[0]["apiVersion"].as_str().unwrap_or("").to_owned();
    let to = version(converted);
    let other = match to.as_str() {
        "metallb.io/v1beta1" => "metallb.io/v1beta2",
        _ => "metallb.io/v1beta1",
    };
    let back = convert(objects, other);
    let again = convert(back.as_array().map_or(&[], Vec::as_slice), &to);
    assert_eq!(
        convert(again.as_array().map_or(&[], Vec::as_slice), other),
        back
    );
}

fn convert(objects: &[Value], to: &str) -> Value {
    let review = serde_json::json!({"request": {"desiredAPIVersion": to, "objects": objects}});
    let body = review.to_string();
    let answer = admission::answer(
        admission::CONVERT,
        body.as_bytes(),
        &Given::Unknown,
        DEFAULT_NAMESPACE,
    );
    json(&answer.body)["response"]["convertedObjects"].clone()
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|e| panic!("{e}"))
}

/// One object of each kind that a new one may clash with.
fn world() -> World {
    let mut world = World::default();
    for object in manifest::read("fuzz", OTHERS, DEFAULT_NAMESPACE).objects {
        world.put(object);
    }
    world
}

static KNOWN: LazyLock<Given> = LazyLock::new(|| Given::Known(Arc::new(world())));

const OTHERS: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: a}
spec: {addresses: [192.0.2.0/24, '2001:db8::/64']}
---
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: c}
spec: {communities: [{name: x, value: '1:1'}]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: b}
spec: {localPref: 100}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: p}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, bfdProfile: f}
---
apiVersion: v1
kind: Node
metadata: {name: n, labels: {zone: a}}
";
