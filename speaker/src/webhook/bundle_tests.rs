//! The machine behind `caBundle`, case by case.

use super::*;
use crate::tls::Authority;
use std::sync::OnceLock;

/// Two authorities, the newer first.
fn roots() -> &'static [Certificate; 2] {
    static ROOTS: OnceLock<[Certificate; 2]> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        ["new", "old"].map(|name| Authority::new(name, now).unwrap().certificate)
    })
}

fn encoded(roots: &[&Certificate]) -> String {
    STANDARD.encode(pem(roots.iter().copied()))
}

/// The configuration with two webhooks, whose bundles are these.
fn webhooks(bundles: [Option<&str>; 2]) -> Value {
    let client = |bundle: Option<&str>| match bundle {
        Some(bundle) => json!({"service": {"name": "s"}, "caBundle": bundle}),
        None => json!({"service": {"name": "s"}}),
    };
    json!({
        "metadata": {"name": "metallb-webhook-configuration", "uid": "u1", "resourceVersion": "7"},
        "webhooks": [
            {"name": "a.metallb.io", "clientConfig": client(bundles[0])},
            {"name": "b.metallb.io", "clientConfig": client(bundles[1])},
        ],
    })
}

fn crd(client: &Value) -> Value {
    json!({
        "metadata": {"name": "bgppeers.metallb.io", "uid": "u2", "resourceVersion": "8"},
        "spec": {"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": client}}},
    })
}

fn trust(must: &[Certificate]) -> Trust {
    Trust {
        must: must.to_vec(),
        may: Vec::new(),
    }
}

fn step(object: &Value, target: Target, roots: &[Certificate]) -> Step {
    let seen = target.read(object);
    Keeper::default().step(Time::ms(0), &seen, &trust(roots), Span::default())
}

fn paths(step: &Step) -> Vec<&str> {
    let Step::Write(patch) = step else {
        return Vec::new();
    };
    let steps = patch.as_array().unwrap().iter();
    steps.map(|step| step["path"].as_str().unwrap()).collect()
}

#[test]
fn every_webhook_without_the_authority_gets_it() {
    let [new, old] = roots();
    let due = std::slice::from_ref(new);
    let (good, other) = (encoded(&[new]), encoded(&[old]));
    let (first, second) = (
        "/webhooks/0/clientConfig/caBundle",
        "/webhooks/1/clientConfig/caBundle",
    );
    let cases: [([Option<&str>; 2], &[&str]); 7] = [
        ([None, None], &[first, second]),
        ([Some(&good), None], &[second]),
        ([Some(&other), Some(&good)], &[first]),
        ([Some("Cg=="), Some(&good)], &[first]),
        ([Some("%"), Some(&good)], &[first]),
        ([Some(&encoded(&[new, old])), Some(&good)], &[first]),
        ([Some(&good), Some(&good)], &[]),
    ];
    for (bundles, wrong) in cases {
        let step = step(&webhooks(bundles), Target::Webhooks, due);
        let mut expected = wrong.to_vec();
        if expected.is_empty() {
            assert_eq!(step, Step::Settled);
        } else {
            expected.insert(0, "/metadata/resourceVersion");
        }
        assert_eq!(paths(&step), expected, "{bundles:?}");
    }
}

#[test]
fn the_patch_holds_for_the_version_that_was_seen_and_no_other() {
    let [new, _] = roots();
    let good = encoded(&[new]);
    let seen = webhooks([Some(&good), None]);
    let Step::Write(patch) = step(&seen, Target::Webhooks, std::slice::from_ref(new)) else {
        panic!("nothing to write");
    };
    assert_eq!(
        patch,
        json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
            {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": good},
        ])
    );
}

#[test]
fn while_an_authority_follows_another_both_are_trusted_in_either_order() {
    let [new, old] = roots();
    for bundle in [encoded(&[new, old]), encoded(&[old, new])] {
        let object = webhooks([Some(&bundle), Some(&bundle)]);
        assert_eq!(step(&object, Target::Webhooks, roots()), Step::Settled);
        let seen = Target::Webhooks.read(&object);
        assert!(seen.trusts(new) && seen.trusts(old));
    }
    let only_old = encoded(&[old]);
    let seen = Target::Webhooks.read(&webhooks([Some(&only_old), Some(&only_old)]));
    assert!(!seen.trusts(new) && seen.trusts(old));
}

#[test]
fn an_authority_that_another_replica_still_wants_is_no_reason_to_write() {
    let [new, old] = roots();
    let tolerant = Trust {
        must: vec![new.clone()],
        may: vec![old.clone()],
    };
    for (held, is_settled) in [
        (encoded(&[new, old]), true),
        (encoded(&[new]), true),
        (encoded(&[old]), false),
    ] {
        let seen = Target::Webhooks.read(&webhooks([Some(&held), Some(&held)]));
        let step = Keeper::default().step(Time::ms(0), &seen, &tolerant, Span::default());
        assert_eq!(step == Step::Settled, is_settled, "{step:?}");
    }
}

#[test]
fn the_conversion_has_one_place_and_none_without_a_webhook() {
    let [new, _] = roots();
    let due = std::slice::from_ref(new);
    let bare = step(&crd(&json!({"service": {}})), Target::Conversion, due);
    let path = "/spec/conversion/webhook/clientConfig/caBundle";
    assert_eq!(paths(&bare), ["/metadata/resourceVersion", path]);
    let good = crd(&json!({"caBundle": encoded(&[new])}));
    assert_eq!(step(&good, Target::Conversion, due), Step::Settled);
    let none = json!({"metadata": {}, "spec": {"conversion": {"strategy": "None"}}});
    assert_eq!(step(&none, Target::Conversion, due), Step::Settled);
}

#[test]
fn what_cert_manager_injects_into_is_left_alone() {
    let [new, _] = roots();
    let mut object = webhooks([None, Some("Cg==")]);
    object["metadata"]["annotations"] = json!({"cert-manager.io/inject-ca-from": "ns/cert"});
    assert_eq!(
        step(&object, Target::Webhooks, std::slice::from_ref(new)),
        Step::Settled
    );
    let seen = Target::Webhooks.read(&object);
    assert!(seen.trusts(new));
}

#[test]
fn who_does_not_lead_writes_only_what_stays_wrong() {
    let [new, _] = roots();
    let due = &trust(std::slice::from_ref(new));
    let wrong = Target::Webhooks.read(&webhooks([None, None]));
    let good = encoded(&[new]);
    let right = Target::Webhooks.read(&webhooks([Some(&good), Some(&good)]));
    let patience = Span::ms(1500);
    let mut keeper = Keeper::default();
    let wait = Step::Wait {
        until: Time::ms(1600),
    };
    assert_eq!(keeper.step(Time::ms(100), &wrong, due, patience), wait);
    assert_eq!(keeper.step(Time::ms(1500), &wrong, due, patience), wait);
    assert_eq!(
        keeper.step(Time::ms(1550), &right, due, patience),
        Step::Settled
    );
    let wait = Step::Wait {
        until: Time::ms(3500),
    };
    assert_eq!(keeper.step(Time::ms(2000), &wrong, due, patience), wait);
    assert!(matches!(
        keeper.step(Time::ms(3500), &wrong, due, patience),
        Step::Write(_)
    ));
}

#[test]
fn a_fight_is_six_writes_an_hour_and_told_once() {
    let [new, _] = roots();
    let due = &trust(std::slice::from_ref(new));
    let mut object = webhooks([None, None]);
    object["metadata"]["managedFields"] = json!([
        {"manager": "argocd-controller", "time": "2026-03-01T12:00:00Z", "fieldsV1": {}},
    ]);
    let wrong = Target::Webhooks.read(&object);
    let mut keeper = Keeper::default();
    let mut written = Vec::new();
    let mut told = Vec::new();
    // Every second of three hours somebody overwrites what we wrote.
    for second in 0..3 * 3600 {
        let now = Time::ms(second * 1000);
        match keeper.step(now, &wrong, due, Span::default()) {
            Step::Write(_) => {
                keeper.wrote(now);
                written.push(second);
            }
            Step::Yield { until, tell } => {
                assert!(until > now);
                told.extend(tell.map(|who| (second, who)));
            }
            Step::Settled | Step::Wait { .. } => panic!("at {second} s it was taken for right"),
        }
    }
    for from in 0..2 * 3600 {
        let within = written
            .iter()
            .filter(|at| (from..from + 3600).contains(*at));
        assert!(within.count() <= 6, "from {from}: {written:?}");
    }
    assert_eq!(written.len(), 18, "{written:?}");
    assert_eq!(told.first(), Some(&(6, "argocd-controller".to_owned())));
    assert!(told.len() <= 18, "{told:?}");
}

#[test]
fn a_write_that_was_not_taken_does_not_count() {
    let [new, _] = roots();
    let wrong = Target::Webhooks.read(&webhooks([None, None]));
    let mut keeper = Keeper::default();
    for second in 0..100 {
        let now = Time::ms(second * 1000);
        let step = keeper.step(
            now,
            &wrong,
            &trust(std::slice::from_ref(new)),
            Span::default(),
        );
        assert!(matches!(step, Step::Write(_)), "{second}");
    }
}

#[test]
fn the_other_is_who_wrote_a_bundle_or_else_who_wrote_last() {
    let bundle =
        json!({"f:webhooks": {"k:{\"name\":\"a\"}": {"f:clientConfig": {"f:caBundle": {}}}}});
    let entry = |manager: &str, time: &str, fields: &Value| json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields});
    let mut status = entry("kube-apiserver", "2026-03-01T15:00:00Z", &json!({}));
    status["subresource"] = json!("status");
    let ours = entry(MANAGER, "2026-03-01T16:00:00Z", &bundle);
    let helm = entry("helm", "2026-03-01T12:00:00Z", &json!({"f:metadata": {}}));
    let kubectl = entry("kubectl-replace", "2026-03-01T13:00:00Z", &json!({}));
    let injector = entry("injector", "2026-03-01T11:00:00Z", &bundle);
    let cases = [
        (vec![], None),
        (vec![&ours, &status], None),
        (
            vec![&helm, &kubectl, &ours, &status],
            Some("kubectl-replace"),
        ),
        (vec![&helm, &injector, &kubectl, &ours], Some("injector")),
    ];
    for (entries, other) in cases {
        let found = other_writer(&json!({"managedFields": entries}));
        assert_eq!(found.as_deref(), other, "{entries:?}");
    }
}
