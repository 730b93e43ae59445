//! What MetalLB's controller was seen to do (`tests/model/data/README.md`), done by ours against the double.
//!
//! Compared are addresses, the pool's annotation and the pools' counters, once they stay as they are. Events are compared
//! where the same sequences are played without processes (`tests/model/tests/allocation`).

use super::site::Site;
use crate::cluster::{Running, pause};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Sequences in which ours does otherwise on purpose, or may.
const OTHERWISE: [(&str, &str); 1] = [(
    "late/two-pools-one-bad",
    "one unreadable pool stands aside alone",
)];

#[test]
fn every_recorded_sequence_is_repeated_by_the_process() {
    let sequences = Mutex::new(sequences());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let next = sequences.lock().unwrap().pop();
                    let Some(sequence) = next else { return };
                    let name = sequence["name"].as_str().unwrap();
                    let is_otherwise = OTHERWISE.iter().any(|(other, _)| *other == name);
                    if let (Err(why), false) = (replay(&sequence), is_otherwise) {
                        failures.lock().unwrap().push(format!("{name}: {why}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} failed\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Those in which MetalLB left nothing to chance.
fn sequences() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/data/allocation");
    let mut sequences = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        sequences.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
    }
    sequences.retain(|s: &Value| s["random"].is_null() && s["varies"].is_null());
    assert!(sequences.len() > 100, "only {}", sequences.len());
    sequences
}

fn replay(sequence: &Value) -> Result<(), String> {
    let site = Site::new();
    for name in ["b", "c"] {
        site.put(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    }
    let mut controller = Some(site.controller("c-0", &[]));
    site.until("its turn", || {
        controller
            .as_ref()
            .is_some_and(|c| c.line("allocationBegins").is_some())
    });
    for (n, step) in sequence["steps"].as_array().unwrap().iter().enumerate() {
        for (action, value) in step.as_object().unwrap() {
            match action.as_str() {
                "expect" | "alsoSeen" => {}
                "stop-controller" => stop(&mut controller),
                "restart-controller" => {
                    stop(&mut controller);
                    let args = value["args"].as_array().cloned().unwrap_or_default();
                    let args: Vec<&str> = args.iter().map(|arg| arg.as_str().unwrap()).collect();
                    controller = Some(site.controller("c-0", &args));
                }
                _ => act(&site, action, value, !step["expect"]["refused"].is_null()),
            }
        }
        settle(&site, &step["expect"]).map_err(|why| format!("step {n}: {why}"))?;
    }
    Ok(())
}

fn stop(controller: &mut Option<Running>) {
    if let Some(controller) = controller.take() {
        controller.stop();
    }
}

fn act(site: &Site, action: &str, value: &Value, is_refused: bool) {
    match (action, value) {
        ("apply", Value::Array(objects)) => {
            for object in objects {
                act(site, action, object, is_refused);
                // MetalLB's looked at each before the next came.
                pause(100);
            }
        }
        ("apply", object) => {
            let path = format!("{}?fieldManager=case&force=true", site.double.path(object));
            let applied =
                site.double
                    .request("PATCH", &path, "application/apply-patch+yaml", object);
            assert!(is_refused || applied.0 < 300, "{applied:?} for {object}");
        }
        ("delete", what) => {
            let code = site.double.delete(&path(site, what));
            assert!(code < 300, "{code} for {what}");
        }
        ("patch", what) => {
            let mut path = path(site, what);
            if let Some(subresource) = what["subresource"].as_str() {
                path = format!("{path}/{subresource}");
            }
            let path = format!("{path}?fieldManager=kubectl");
            let kind = "application/merge-patch+json";
            let patched = site.double.request("PATCH", &path, kind, &what["patch"]);
            assert!(is_refused || patched.0 < 300, "{patched:?} for {what}");
        }
        (other, _) => panic!("a step with {other}"),
    }
}

fn path(site: &Site, what: &Value) -> String {
    let kind = what["kind"].as_str().unwrap();
    let version = match kind {
        "Service" | "Namespace" => "v1",
        _ => "metallb.io/v1beta1",
    };
    let metadata = json!({"name": what["name"], "namespace": what["namespace"]});
    site.double
        .path(&json!({"apiVersion": version, "kind": kind, "metadata": metadata}))
}

/// Waits until the cluster is as recorded and stays so.
fn settle(site: &Site, expected: &Value) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let result = compare(site, expected);
        if result.is_ok() {
            pause(250);
            if compare(site, expected).is_ok() {
                return Ok(());
            }
        }
        if begun.elapsed() > SETTLE_MAX {
            return result;
        }
        pause(50);
    }
}

fn compare(site: &Site, expected: &Value) -> Result<(), String> {
    for (name, expected) in expected["services"].as_object().into_iter().flatten() {
        let (namespace, short) = name.split_once('/').unwrap();
        let path = format!("/api/v1/namespaces/{namespace}/services/{short}");
        let service = site.get(&path);
        if expected["gone"] == true {
            same(
                &format!("{name} is gone"),
                &json!(service.is_null()),
                &json!(true),
            )?;
            continue;
        }
        let entries = service["status"]["loadBalancer"]["ingress"].as_array();
        let ips = entries
            .into_iter()
            .flatten()
            .map(|e| json!({"ip": e["ip"]}));
        same(name, &ips.collect(), &expected["ingress"])?;
        let pool = &service["metadata"]["annotations"][POOL];
        same(
            &format!("{name} pool"),
            pool,
            &expected["annotations"][POOL],
        )?;
    }
    for (name, expected) in expected["pools"].as_object().into_iter().flatten() {
        let status = match &site.pool(name)["status"] {
            Value::Null => json!({}),
            status => status.clone(),
        };
        same(&format!("pool {name}"), &status, expected)?;
    }
    Ok(())
}

fn same(what: &str, actual: &Value, expected: &Value) -> Result<(), String> {
    if actual == expected {
        return Ok(());
    }
    Err(format!("{what}: {actual}, recorded {expected}"))
}

const POOL: &str = "metallb.io/ip-allocated-from-pool";
const AT_A_TIME: usize = 6; // each has a double and a controller
const SETTLE_MAX: Duration = Duration::from_secs(60); // a pool's status is written once a second, and a machine may be busy
