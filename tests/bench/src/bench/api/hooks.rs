//! The webhooks: how long a verdict takes, and how long an answer without one.

use super::super::Setting;
use super::super::speaker::Home;
use super::controller::{Controller, pool};
use super::double::{ApiDouble, wait_for};
use super::objects::{NAMESPACES, PEERS, POOLS};
use crate::http::{Call, Client, Trust};
use crate::net::Namespace;
use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Milliseconds of each request.
pub(super) struct Latencies {
    pub(super) pool: Vec<f64>,
    pub(super) peer: Vec<f64>,
    /// Of a path that is none, on the same connection.
    pub(super) empty: Vec<f64>,
}

/// Measures once.
pub(super) fn measure(setting: &Setting, home: &Home, namespace: &Namespace) -> Result<Latencies> {
    let mut double = ApiDouble::start(setting, home, namespace)?;
    let own =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "metallb-system"}});
    double.make(NAMESPACES, std::iter::once(own))?;
    double.make(
        POOLS,
        (0..OBJECTS).map(|number| pool(&format!("pool-{number}"), &range(number))),
    )?;
    double.make(PEERS, (0..OBJECTS).map(peer))?;
    double.make(CONFIGURATIONS, std::iter::once(configuration()))?;
    let (controller, _) = Controller {
        setting,
        home,
        namespace,
        number: 200,
    }
    .start(&mut double)?;
    let mut client = reach(&mut double, namespace)?;
    let pool_review = review(
        "/validate-metallb-io-v1beta1-ipaddresspool",
        &pool("next", &range(OBJECTS)),
    );
    let peer_review = review("/validate-metallb-io-v1beta2-bgppeer", &peer(OBJECTS));
    let overlapping = review(
        "/validate-metallb-io-v1beta1-ipaddresspool",
        &pool("next", &range(7)),
    );
    let nothing = Call::send("POST", "/nothing", &json!({}));
    wait_for(READY_MAX, "the webhooks to know all pools", || {
        let refused = verdict(&client.ask(&overlapping)?)?;
        Ok((!refused).then_some(()))
    })?;
    let mut latencies = Latencies {
        pool: Vec::new(),
        peer: Vec::new(),
        empty: Vec::new(),
    };
    for _ in 0..REQUESTS {
        for (call, times) in [
            (&nothing, &mut latencies.empty),
            (&pool_review, &mut latencies.pool),
            (&peer_review, &mut latencies.peer),
        ] {
            let start = Instant::now();
            let answer = client.call(call)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            ensure!(
                (answer.code == 404) == (call.path == "/nothing"),
                "{}: {}",
                call.path,
                answer.code
            );
            ensure!(
                answer.code == 404 || verdict(&answer.body)?,
                "{} is refused",
                call.path
            );
        }
    }
    controller.stop()?;
    Ok(latencies)
}

/// A connection to the webhooks, once they are served.
fn reach(double: &mut ApiDouble, namespace: &Namespace) -> Result<Client> {
    wait_for(READY_MAX, "the webhooks to be served", || {
        let Ok(secret) = double.ask(&Call::get(SECRET)) else {
            return Ok(None);
        };
        let authority = secret["data"]["ca.crt"]
            .as_str()
            .context("the secret has no ca.crt")?;
        let trust = Trust::new(&STANDARD.decode(authority)?, SERVER)?;
        Ok(namespace.run(|| Client::connect(ADDRESS, &trust)).ok())
    })
}

fn verdict(body: &[u8]) -> Result<bool> {
    let review: Value = serde_json::from_slice(body)?;
    review["response"]["allowed"]
        .as_bool()
        .with_context(|| format!("no verdict: {review}"))
}

fn range(number: usize) -> String {
    format!("10.80.{number}.0/24")
}

fn peer(number: usize) -> Value {
    json!({"apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer",
        "metadata": {"name": format!("peer-{number}"), "namespace": "metallb-system"},
        "spec": {"myASN": 64512, "peerASN": 64513, "peerAddress": format!("10.90.0.{number}"), "holdTime": "90s",
            "nodeSelectors": [{"matchLabels": {"rack": format!("rack-{number}")}}]}})
}

/// As the API server asks about a new object.
fn review(path: &str, object: &Value) -> Call {
    let name = &object["metadata"]["name"];
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "00000000-0000-4000-8000-000000000001", "operation": "CREATE", "name": name,
            "namespace": "metallb-system", "userInfo": {"username": "admin"}, "object": object, "oldObject": null},
    });
    Call::send("POST", path, &review)
}

/// What the controller puts its bundle into; with no rules, since the double is not to ask.
fn configuration() -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": "metallb-webhook-configuration"},
    "webhooks": [{
        "name": "ipaddresspoolvalidationwebhook.metallb.io", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "failurePolicy": "Fail", "rules": [],
        "clientConfig": {"service": {"name": "metallb-webhook-service", "namespace": "metallb-system",
            "path": "/validate-metallb-io-v1beta1-ipaddresspool"}},
    }]})
}

/// Pools, and peers.
pub(super) const OBJECTS: usize = 100;
/// Of each sort.
pub(super) const REQUESTS: usize = 3_000;
const CONFIGURATIONS: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const SECRET: &str = "/api/v1/namespaces/metallb-system/secrets/metallb-webhook-cert";
const SERVER: &str = "metallb-webhook-service.metallb-system.svc";
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9443);
const READY_MAX: Duration = Duration::from_secs(60);
