//! The webhooks of the real controller in front of a cluster with the shipped manifests: from the first write that is
//! refused to whatever may happen to certificates and bundles.
//!
//! `speaker controller --webhook-mode=onlywebhook` runs with the rights of the shipped roles, nothing more.

#[path = "webhooks/cluster.rs"]
pub(crate) mod cluster;
#[path = "webhooks/rotation.rs"]
mod rotation;

use crate::cluster::shipped;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cluster::{
    BUSY_MAX, CRD, CRD_BUNDLE, Cluster, POOLS, Replica, SECRET, WEBHOOK_BUNDLE, WEBHOOKS,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[test]
fn shipped_webhooks_are_about_metallbs_kinds_alone_and_trust_nobody_yet() {
    let mut rules = 0;
    for object in ["crds", "manifests", "operator"]
        .into_iter()
        .flat_map(shipped)
    {
        assert!(!object.to_string().contains("caBundle"), "{object}");
        let hooks = object["webhooks"].as_array().into_iter().flatten();
        for rule in hooks.flat_map(|hook| hook["rules"].as_array().unwrap()) {
            assert_eq!(rule["apiGroups"], json!(["metallb.io"]), "never Services");
            rules += 1;
        }
    }
    assert!(rules >= 7, "only {rules}");
}

#[test]
fn a_bad_pool_is_refused_with_what_is_wrong_and_a_good_one_stored() {
    let cluster = Cluster::start();
    let (code, before) = cluster.pool("early", "192.0.2.0/24");
    assert_eq!(code, 500, "nobody judges yet: {before}");
    let replica = Replica::start(&cluster, &[]);
    cluster.route(&replica);
    let applied = cluster.kubectl_apply(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: bad\n  namespace: metallb-system\n\
         spec:\n  addresses: [192.0.2.300/24]\n",
    );
    let said = String::from_utf8_lossy(&applied.stderr);
    let begin =
        "admission webhook \"ipaddresspoolvalidationwebhook.metallb.io\" denied the request: ";
    assert!(!applied.status.success());
    assert!(
        said.contains(begin) && said.contains("192.0.2.300/24"),
        "{said}"
    );
    let (code, stored) = cluster.pool("good", "192.0.2.0/24");
    assert_eq!(code, 201, "{stored}");
    replica.until("it knows the pool that was stored", || {
        let (code, refused) = cluster.pool("second", "192.0.2.128-192.0.2.200");
        let is_refused = code >= 400 && refused["message"].as_str().unwrap().contains("good");
        cluster.double.delete(&format!("{POOLS}/second"));
        is_refused
    });
}

#[test]
fn peers_of_an_older_version_are_converted_both_ways() {
    let cluster = Cluster::start();
    let replica = Replica::start(&cluster, &[]);
    cluster.route(&replica);
    let old = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "BGPPeer",
        "metadata": {"name": "tor", "namespace": "metallb-system"},
        "spec": {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"},
    });
    let peers =
        |version: &str| format!("/apis/metallb.io/{version}/namespaces/metallb-system/bgppeers");
    let (code, stored) = cluster.post(&peers("v1beta1"), &old);
    assert_eq!(code, 201, "{stored}");
    for version in ["v1beta1", "v1beta2"] {
        let path = format!("{}/tor", peers(version));
        let peer = cluster.double.get(&path).unwrap();
        assert_eq!(peer["spec"]["peerAddress"], "192.0.2.1", "{peer}");
    }
}

#[test]
fn peers_of_an_older_version_are_judged_as_the_newer_one_that_the_rules_name() {
    let cluster = Cluster::start();
    let replica = Replica::start(&cluster, &[]);
    cluster.route(&replica);
    let peers = "/apis/metallb.io/v1beta1/namespaces/metallb-system/bgppeers";
    let peer = |name: &str, hold: &str| {
        json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "BGPPeer",
            "metadata": {"name": name, "namespace": "metallb-system"},
            "spec": {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1", "holdTime": hold},
        })
    };
    let refusal = |(code, answer): (u16, Value)| {
        let message = answer["message"].as_str().unwrap_or_default().to_owned();
        let by = "admission webhook \"bgppeersvalidationwebhook.metallb.io\" denied the request: ";
        assert!(code >= 400 && message.starts_with(by), "{code} {answer}");
        message
    };
    let bad = refusal(cluster.post(peers, &peer("tor", "2s")));
    assert!(bad.contains("spec.holdTime"), "{bad}");
    assert_eq!(cluster.post(peers, &peer("tor", "9s")).0, 201);
    let worse = json!({"spec": {"holdTime": "2s"}});
    let path = format!("{peers}/tor");
    let merge = "application/merge-patch+json";
    let bad = refusal(cluster.double.request("PATCH", &path, merge, &worse));
    assert!(bad.contains("spec.holdTime"), "{bad}");
    replica.until("it knows the peer that was stored", || {
        let (code, answer) = cluster.post(peers, &peer("second", "9s"));
        cluster.double.delete(&format!("{peers}/second"));
        code >= 400 && refusal((code, answer)).contains("tor")
    });
}

#[test]
fn after_a_replace_a_foreign_apply_and_an_upgrade_bundles_are_back_within_5_s() {
    let cluster = Cluster::start();
    let replica = Replica::start(&cluster, &[]);
    let bundle = cluster.bundle(WEBHOOKS, WEBHOOK_BUNDLE).unwrap();
    let overwrites: [(&str, &dyn Fn()); 3] = [
        ("kubectl replace", &|| cluster.apply_manifests()),
        ("apply by another manager", &|| {
            let foreign =
                STANDARD.encode("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n");
            cluster.apply_bundle("argocd-controller", &foreign);
        }),
        ("an upgrade that makes the objects anew", &|| {
            assert_eq!(cluster.double.delete(WEBHOOKS), 200);
            cluster.apply_manifests();
        }),
    ];
    for (what, overwrite) in overwrites {
        cluster.double.forget_requests();
        overwrite();
        replica.until(what, || {
            let mut all = [(WEBHOOKS, WEBHOOK_BUNDLE), (CRD, CRD_BUNDLE)].into_iter();
            let is_whole = all.all(|(path, at)| cluster.bundle(path, at).as_ref() == Some(&bundle));
            is_whole && cluster.patches(WEBHOOKS) > 0
        });
    }
}

#[test]
fn a_fight_ends_after_six_writes_with_an_event_that_names_the_other() {
    let cluster = Cluster::start();
    let replica = Replica::start(&cluster, &[]);
    let ours = cluster.bundle(WEBHOOKS, WEBHOOK_BUNDLE).unwrap();
    let foreign = STANDARD.encode("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n");
    cluster.double.forget_requests();
    let mut overwritten = 0;
    let events = || {
        cluster
            .double
            .get("/api/v1/namespaces/default/events")
            .unwrap()
    };
    replica.until("it gives way", || {
        if cluster.bundle(WEBHOOKS, WEBHOOK_BUNDLE).as_ref() == Some(&ours) {
            overwritten += 1;
            cluster.apply_bundle("argocd-controller", &foreign);
        }
        let told = events().to_string();
        told.contains("caBundleContested") && told.contains("argocd-controller")
    });
    // The first of six writes was at the start.
    assert_eq!(overwritten, 6);
    assert_eq!(cluster.patches(WEBHOOKS), 5);
}

#[test]
fn what_cert_manager_injects_into_is_not_written() {
    let cluster = Cluster::start();
    for path in [WEBHOOKS, CRD] {
        let annotation = json!({"metadata": {"annotations": {"cert-manager.io/inject-ca-from": "metallb-system/c"}}});
        cluster.merge(path, &annotation);
    }
    let _replica = Replica::start(&cluster, &[]);
    assert_eq!(cluster.bundle(WEBHOOKS, WEBHOOK_BUNDLE), None);
    assert_eq!(cluster.bundle(CRD, CRD_BUNDLE), None);
}

#[test]
fn two_replicas_that_start_at_once_answer_by_one_authority() {
    let cluster = Cluster::start();
    let starting = [0; 2].map(|_| Replica::spawn(&cluster, &[]));
    for (at, replica) in starting.iter().enumerate() {
        replica.until_ready();
        cluster.route(replica);
        let (code, stored) = cluster.pool(&format!("p{at}"), &format!("192.0.2.{at}/32"));
        assert_eq!(code, 201, "{stored}");
    }
}

#[test]
fn of_two_whole_controllers_the_one_that_does_not_lead_answers_too() {
    let cluster = Cluster::start();
    let replicas = ["c-0", "c-1"].map(|pod| {
        let pod = format!("--pod-name={pod}");
        Replica::start(&cluster, &["--webhook-mode=enabled", &pod])
    });
    for replica in &replicas {
        cluster.route(replica);
        assert_eq!(cluster.pool("good", "192.0.2.0/24").0, 201);
        replica.until("it knows the pool that was stored", || {
            let (code, refused) = cluster.pool("second", "192.0.2.128/25");
            cluster.double.delete(&format!("{POOLS}/second"));
            code >= 400 && refused["message"].as_str().unwrap().contains("good")
        });
        cluster.double.delete(&format!("{POOLS}/good"));
        cluster.apply_manifests();
        replica.until("the bundle is back", || {
            cluster.bundle(WEBHOOKS, WEBHOOK_BUNDLE).is_some()
        });
    }
}

#[test]
fn another_certificate_is_taken_up_without_one_failed_question() {
    let cluster = Cluster::start();
    let replica = Replica::start(&cluster, &[]);
    cluster.route(&replica);
    let old = cluster.bundle(WEBHOOKS, WEBHOOK_BUNDLE).unwrap();
    // Another cluster's Secret is as good as one that an operator brings.
    let other = Cluster::start();
    let _issuer = Replica::start(&other, &[]);
    let secret = other.double.get(SECRET).unwrap();
    cluster.merge(SECRET, &json!({"data": secret["data"]}));
    // The other cluster believes nothing but the new certificate.
    other.route(&replica);
    let deadline = Instant::now() + BUSY_MAX;
    let (mut asked, mut is_shown) = (0, false);
    // A busy machine may have shown it before much was asked: then it is asked on.
    while !is_shown || asked <= 20 {
        is_shown = is_shown || other.pool("p", "192.0.2.0/24").0 == 201;
        asked += 1;
        let (code, stored) = cluster.pool("p", "192.0.2.0/24");
        assert_eq!(code, 201, "{stored}");
        cluster.double.delete(&format!("{POOLS}/p"));
        assert!(Instant::now() < deadline, "never shown\n{}", replica.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(cluster.pool("p", "192.0.2.0/24").0, 201);
    assert_ne!(cluster.bundle(CRD, CRD_BUNDLE), Some(old));
}

#[test]
fn a_replica_that_is_told_to_end_answers_until_nobody_asks_it_any_more() {
    let cluster = Cluster::start();
    let mut replica = Replica::start(&cluster, &[]);
    cluster.route(&replica);
    replica.terminate();
    let told = Instant::now();
    while told.elapsed() < Duration::from_secs(1) {
        let (code, stored) = cluster.pool("p", "192.0.2.0/24");
        assert_eq!(code, 201, "{stored}");
        cluster.double.delete(&format!("{POOLS}/p"));
    }
    replica.until_ended();
}

#[test]
fn the_secret_and_the_keys_in_it_are_not_logged() {
    let cluster = Cluster::start();
    let replica = Replica::start(&cluster, &["--log-level=all"]);
    let secret = cluster.double.get(SECRET).unwrap();
    let log = replica.log();
    assert!(log.contains("webhooksReady"), "{log}");
    for key in ["ca.key", "tls.key"] {
        let encoded = secret["data"][key].as_str().unwrap();
        let pem = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
        let line = pem.lines().nth(1).unwrap();
        assert!(
            !log.contains(line) && !log.contains(&encoded[..64]),
            "{key} is in the log"
        );
    }
}
