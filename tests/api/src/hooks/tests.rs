//! The shipped webhooks, and writes in a version that their rules do not name.

use super::*;
use crate::answer::{Answer, Body};
use crate::call::Reply;
use crate::route::Request;
use crate::serve::{Outcome, serve};
use crate::user::Users;
use crate::value::each_mut;
use jiff::Timestamp;
use serde::Deserialize as _;
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn a_peer_in_the_version_of_the_rule_is_shown_as_it_was_sent() {
    let mut cluster = Cluster::shipped();
    let (reviews, answer) = cluster.serve(&post(&peer("v1beta2")), agree);
    assert_eq!(answer.code, 201);
    assert_eq!(
        versions(&reviews),
        [["v1beta2", "v1beta2", "metallb.io/v1beta2"]]
    );
}

#[test]
fn a_peer_in_another_version_is_converted_first_and_shown_as_what_the_rule_names() {
    let mut cluster = Cluster::shipped();
    let (reviews, answer) = cluster.serve(&post(&peer("v1beta1")), agree);
    assert_eq!(answer.code, 201);
    assert_eq!(
        versions(&reviews),
        [["v1beta2", "v1beta1", "metallb.io/v1beta2"]]
    );
    assert_eq!(
        reviews[0]["request"]["desiredAPIVersion"],
        "metallb.io/v1beta2"
    );
    let judged = &reviews[1]["request"];
    assert_eq!(judged["resource"]["version"], "v1beta2");
    assert_eq!(judged["requestResource"]["version"], "v1beta1");
}

#[test]
fn both_states_of_an_update_are_shown_in_the_version_of_the_rule() {
    let mut cluster = Cluster::shipped();
    let (_, stored) = cluster.serve(&post(&peer("v1beta2")), agree);
    let mut new = peer("v1beta1");
    new["metadata"]["resourceVersion"] = body(&stored)["metadata"]["resourceVersion"].clone();
    new["spec"]["peerASN"] = json!(64514);
    let mut write = post(&new);
    write.method = "PUT".to_owned();
    write.path.push_str("/tor");
    let (reviews, answer) = cluster.serve(&write, agree);
    assert_eq!(answer.code, 200);
    let judged = reviews.iter().find(|one| one["kind"] == "AdmissionReview");
    let judged = &judged.unwrap()["request"];
    for (state, number) in [("oldObject", 64513), ("object", 64514)] {
        assert_eq!(judged[state]["apiVersion"], "metallb.io/v1beta2", "{state}");
        assert_eq!(judged[state]["spec"]["peerASN"], number);
    }
}

#[test]
fn what_cannot_be_converted_for_a_webhook_is_an_internal_error_and_nobody_is_asked() {
    let mut cluster = Cluster::shipped();
    let (reviews, answer) = cluster.serve(&post(&peer("v1beta1")), |_| Err("no way".to_owned()));
    assert_eq!(answer.code, 500);
    assert_eq!(
        body(&answer)["message"],
        "Internal error occurred: conversion webhook for metallb.io/v1beta1, Kind=BGPPeer failed: no way"
    );
    assert_eq!(reviews.len(), 1, "{reviews:?}");
}

#[test]
fn with_the_policy_exact_another_version_is_not_judged() {
    let mut cluster = Cluster::shipped();
    cluster.change_hooks("matchPolicy", &json!("Exact"));
    let (reviews, answer) = cluster.serve(&post(&peer("v1beta1")), agree);
    assert_eq!(answer.code, 201);
    assert_eq!(versions(&reviews), [] as [[&str; 3]; 0]);
}

#[test]
fn what_a_selector_leaves_out_is_not_judged() {
    let named = |operator: &str, values: &Value| {
        let key = "kubernetes.io/metadata.name";
        json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
    };
    let ours = json!(["metallb-system"]);
    for (selector, judged) in [
        (named("In", &ours), 1),
        (named("NotIn", &ours), 0),
        (named("Exists", &Value::Null), 1),
        (named("DoesNotExist", &Value::Null), 0),
        (json!({"matchLabels": {"no": "such"}}), 0),
    ] {
        let mut cluster = Cluster::shipped();
        cluster.change_hooks("namespaceSelector", &selector);
        let (reviews, answer) = cluster.serve(&post(&peer("v1beta2")), agree);
        assert_eq!(answer.code, 201);
        assert_eq!(versions(&reviews).len(), judged, "{selector}");
    }
}

#[test]
fn there_are_two_policies() {
    let mut cluster = Cluster::shipped();
    let mut hooks = shipped("deploy/manifests/4-webhooks.yaml");
    hooks["metadata"]["name"] = json!("other");
    hooks["webhooks"][0]["matchPolicy"] = json!("Similar");
    let (_, answer) = cluster.serve(&request("POST", CONFIGURATIONS_PATH, &hooks), agree);
    assert_eq!(answer.code, 422);
    let message = text(&body(&answer)["message"]);
    assert!(
        message.contains("webhooks[0].matchPolicy: Unsupported value: \"Similar\""),
        "{message}"
    );
}

/// The store with what is shipped for peers.
struct Cluster(Store);

impl Cluster {
    fn shipped() -> Self {
        let mut cluster = Self(Store::new(1, Users::new()));
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        for (path, file) in [
            (definitions, "deploy/crds/bgppeers.yaml"),
            ("/api/v1/namespaces", "deploy/manifests/0-namespace.yaml"),
            (CONFIGURATIONS_PATH, "deploy/manifests/4-webhooks.yaml"),
        ] {
            let (_, answer) = cluster.serve(&request("POST", path, &shipped(file)), agree);
            assert_eq!(answer.code, 201, "{}", body(&answer));
        }
        cluster
    }

    /// Gives a field of every webhook another value.
    fn change_hooks(&mut self, field: &str, value: &Value) {
        let mut hooks = shipped("deploy/manifests/4-webhooks.yaml");
        for hook in each_mut(&mut hooks, "webhooks") {
            hook[field] = value.clone();
        }
        let place = format!("{CONFIGURATIONS_PATH}/metallb-webhook-configuration");
        let (_, answer) = self.serve(&request("PUT", &place, &hooks), agree);
        assert_eq!(answer.code, 200, "{}", body(&answer));
    }

    /// Carries a request out with webhooks that reply so; what they were asked, and the answer.
    fn serve(
        &mut self,
        request: &Request,
        mut webhooks: impl FnMut(&Value) -> Reply,
    ) -> (Vec<Value>, Answer) {
        let identity = self.0.identity();
        let mut replies = Vec::new();
        loop {
            match serve(&mut self.0, request, &identity, &replies) {
                Outcome::Ask(question) => {
                    let reply = webhooks(&question.review);
                    replies.push((*question, reply));
                }
                Outcome::Answer(answer) => {
                    let asked = replies.into_iter().map(|(question, _)| question.review);
                    return (asked.collect(), answer);
                }
                Outcome::Watch(watch) => panic!("{watch:?}"),
            }
        }
    }
}

/// Allows everything, and converts by the name of the version alone.
fn agree(review: &Value) -> Reply {
    let request = &review["request"];
    if review["kind"] == "ConversionReview" {
        let mut object = request["objects"][0].clone();
        object["apiVersion"] = request["desiredAPIVersion"].clone();
        return Ok(
            json!({"response": {"result": {"status": "Success"}, "convertedObjects": [object]}}),
        );
    }
    let response = json!({"uid": request["uid"], "allowed": true});
    Ok(json!({"apiVersion": ADMISSION, "kind": "AdmissionReview", "response": response}))
}

/// Of each write that was judged: the kind's version, the one that was requested, and the object's.
fn versions(reviews: &[Value]) -> Vec<[String; 3]> {
    let judged = reviews
        .iter()
        .filter(|one| one["kind"] == "AdmissionReview");
    let versions = judged.map(|review| {
        let request = &review["request"];
        [
            &request["kind"]["version"],
            &request["requestKind"]["version"],
            &request["object"]["apiVersion"],
        ]
        .map(text)
    });
    versions.collect()
}

/// The first object of a file.
fn shipped(file: &str) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let manifest = std::fs::read_to_string(root.join(file)).unwrap();
    let first = serde_norway::Deserializer::from_str(&manifest).next();
    Value::deserialize(first.unwrap()).unwrap()
}

fn peer(version: &str) -> Value {
    json!({
        "apiVersion": format!("metallb.io/{version}"), "kind": "BGPPeer",
        "metadata": {"name": "tor", "namespace": "metallb-system"},
        "spec": {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"},
    })
}

fn post(peer: &Value) -> Request {
    let version = text(&peer["apiVersion"]);
    let path = format!("/apis/{version}/namespaces/metallb-system/bgppeers");
    request("POST", &path, peer)
}

fn request(method: &str, path: &str, object: &Value) -> Request {
    Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: BTreeMap::new(),
        content_type: "application/json".to_owned(),
        accept: String::new(),
        agent: "test".to_owned(),
        token: Some("admin".to_owned()),
        body: object.to_string().into_bytes(),
        now: Timestamp::UNIX_EPOCH,
    }
}

fn body(answer: &Answer) -> Value {
    match &answer.body {
        Body::Json(value) => value.clone(),
        Body::Text(text) => json!(text),
    }
}

const CONFIGURATIONS_PATH: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
