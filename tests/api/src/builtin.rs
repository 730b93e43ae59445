//! What the server fills in and refuses for the other kinds of core, as far as a load balancer sees them.
//!
//! Governed by the Kubernetes 1.36 API reference and by recorded exchanges. Fields that nobody here reads are kept as sent.

mod registration;

use crate::kinds::Kind;
use crate::schema::Cause;
use crate::value::{each, each_mut, fill, take, text};
use serde_json::{Value, json};
use std::net::IpAddr;

/// Completes an object that is made or changed by the main path, and says what is wrong with it.
pub(crate) fn admit(kind: &Kind, old: Option<&Value>, new: &mut Value) -> Vec<Cause> {
    drop_nulls(new);
    match kind.resource().as_str() {
        "configmaps" => config_map(new),
        "secrets" => secret(new),
        "namespaces" => namespace(old, new),
        "nodes" => node(old, new),
        "pods" => pod(old, new),
        "events" => event(new),
        "leases.coordination.k8s.io" => lease(new),
        "endpointslices.discovery.k8s.io" => slice(old, new),
        "rolebindings.rbac.authorization.k8s.io"
        | "clusterrolebindings.rbac.authorization.k8s.io" => binding(old, new),
        "validatingwebhookconfigurations.admissionregistration.k8s.io" => registration::hooks(new),
        "validatingadmissionpolicies.admissionregistration.k8s.io" => registration::policy(new),
        "customresourcedefinitions.apiextensions.k8s.io" => registration::definition(old, new),
        _plain => Vec::new(),
    }
}

/// What the server does of itself right after a write, as a controller of its own would: accepts a definition's names.
pub(crate) fn accept(kind: &Kind, object: &Value, now: &str) -> Option<Value> {
    let is_definition = kind.plural == "customresourcedefinitions";
    if is_definition {
        registration::accept(object, now)
    } else {
        None
    }
}

/// A definition as it is once it is served.
pub(crate) fn complete_definition(definition: &mut Value, now: &str) {
    registration::definition(None, definition);
    if let Some(accepted) = registration::accept(definition, now) {
        *definition = accepted;
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn config_map(new: &mut Value) -> Vec<Cause> {
    for key in ["data", "binaryData"] {
        if is_empty(&new[key]) {
            take(new, key);
        }
    }
    let data = new["data"].as_object().into_iter().flatten();
    let bytes: usize = data
        .map(|(_, value)| value.as_str().map_or(0, str::len))
        .sum();
    let is_long = bytes > DATA_BYTES_MAX;
    let long = is_long.then(|| Cause::too_long("[]", DATA_BYTES_MAX as u64));
    long.into_iter().collect()
}

fn secret(new: &mut Value) -> Vec<Cause> {
    use base64::Engine;
    let plain = new.get("stringData").and_then(Value::as_object).cloned();
    for (key, value) in plain.into_iter().flatten() {
        let coded = base64::engine::general_purpose::STANDARD.encode(text(&value));
        fill(new, "data", json!({}));
        new["data"][key] = json!(coded);
    }
    take(new, "stringData");
    fill(new, "type", "Opaque");
    Vec::new()
}

fn namespace(old: Option<&Value>, new: &mut Value) -> Vec<Cause> {
    let name = new["metadata"]["name"].clone();
    new["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
    if old.is_none() {
        new["spec"] = json!({"finalizers": ["kubernetes"]});
        new["status"] = json!({"phase": "Active"});
    }
    Vec::new()
}

fn node(old: Option<&Value>, new: &mut Value) -> Vec<Cause> {
    fill(new, "spec", json!({}));
    if let Some(network) = new["spec"].get("podCIDR").cloned()
        && new["spec"].get("podCIDRs").is_none()
    {
        new["spec"]["podCIDRs"] = json!([network]);
    }
    if old.is_none() {
        if new["spec"].get("taints").is_none() {
            let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
            new["spec"]["taints"] = json!([taint]);
        }
        let system: serde_json::Map<_, _> = SYSTEM_FIELDS
            .iter()
            .map(|&field| (field.to_owned(), json!("")))
            .collect();
        fill(new, "status", json!({}));
        let status = &mut new["status"];
        fill(
            status,
            "daemonEndpoints",
            json!({"kubeletEndpoint": {"Port": 0}}),
        );
        fill(status, "nodeInfo", Value::Object(system));
    }
    Vec::new()
}

fn pod(old: Option<&Value>, new: &mut Value) -> Vec<Cause> {
    if old.is_none() {
        new["status"] = json!({"phase": "Pending", "qosClass": "BestEffort"});
    }
    Vec::new()
}

fn event(new: &mut Value) -> Vec<Cause> {
    for key in ["eventTime", "firstTimestamp", "lastTimestamp"] {
        fill(new, key, Value::Null);
    }
    for key in ["reason", "message", "type", "action"] {
        if new.get(key).is_some_and(|value| value == "") {
            take(new, key);
        }
    }
    for key in ["reportingComponent", "reportingInstance"] {
        fill(new, key, "");
    }
    fill(new, "source", json!({}));
    let own = text(&new["metadata"]["namespace"]);
    let concerned = text(&new["involvedObject"]["namespace"]);
    // Events about objects of the cluster live in the default namespace.
    let is_right = concerned == own || (concerned.is_empty() && own == "default");
    if is_right {
        return Vec::new();
    }
    let field = "involvedObject.namespace";
    let why = "does not match event.namespace";
    vec![Cause::shown(field, &json!(concerned), why)]
}

fn lease(new: &mut Value) -> Vec<Cause> {
    fill(new, "spec", json!({}));
    // Behind a gate that is off.
    take(&mut new["spec"], "strategy");
    let spec = &new["spec"];
    let mut causes = Vec::new();
    if let Some(seconds) = spec["leaseDurationSeconds"].as_i64()
        && seconds <= 0
    {
        let (field, why) = ("spec.leaseDurationSeconds", "must be greater than 0");
        causes.push(Cause::shown(field, &json!(seconds), why));
    }
    if let Some(count) = spec["leaseTransitions"].as_i64()
        && count < 0
    {
        let (field, why) = (
            "spec.leaseTransitions",
            "must be greater than or equal to 0",
        );
        causes.push(Cause::shown(field, &json!(count), why));
    }
    causes
}

/// What makes a Lease unreadable: its times need exactly six decimals. Other zones are turned into UTC.
pub(crate) fn lease_times(new: &mut Value) -> Result<(), String> {
    for key in ["acquireTime", "renewTime"] {
        let Some(time) = new["spec"].get(key).and_then(Value::as_str) else {
            continue;
        };
        let decimals = time.split_once('.').map_or(0, |(_, rest)| {
            rest.bytes().take_while(u8::is_ascii_digit).count()
        });
        let parsed = time.parse::<jiff::Timestamp>();
        let (Ok(parsed), DECIMALS) = (parsed, decimals) else {
            return Err(time.to_owned());
        };
        new["spec"][key] = json!(format!("{parsed:.6}"));
    }
    Ok(())
}

/// What is said about such a time.
pub(crate) fn time_fault(time: &str) -> String {
    format!(
        "parsing time {time:?} as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse {time:?} as \".000000\""
    )
}

fn slice(old: Option<&Value>, new: &mut Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let family = text(&new["addressType"]);
    if let Some(old) = old
        && old["addressType"] != new["addressType"]
    {
        let value = &new["addressType"];
        return vec![Cause::shown("addressType", value, "field is immutable")];
    }
    fill(new, "ports", Value::Null);
    fill(new, "endpoints", Value::Null);
    for port in each_mut(new, "ports") {
        fill(port, "protocol", "TCP");
        fill(port, "name", "");
    }
    for (at, endpoint) in each_mut(new, "endpoints").enumerate() {
        fill(endpoint, "conditions", json!({}));
        let addresses = each(&endpoint["addresses"]);
        for (place, address) in addresses.enumerate() {
            causes.extend(endpoint_fault(&family, at, place, address));
        }
    }
    causes
}

fn endpoint_fault(family: &str, at: usize, place: usize, address: &Value) -> Option<Cause> {
    let parsed = text(address).parse::<IpAddr>();
    let fits = match &parsed {
        Ok(IpAddr::V4(_)) => family == "IPv4",
        Ok(IpAddr::V6(_)) => family == "IPv6",
        Err(_) => family == "FQDN",
    };
    if !fits {
        let article = format!("must be an {family} address");
        return Some(Cause::shown(
            format!("endpoints[{at}].addresses"),
            address,
            &article,
        ));
    }
    let is_loopback = parsed.is_ok_and(|address| address.is_loopback());
    is_loopback.then(|| {
        let why = "may not be in the loopback range (127.0.0.0/8, ::1/128)";
        let field = format!("endpoints[{at}].addresses[{place}]");
        Cause::shown(field, address, why)
    })
}

fn binding(old: Option<&Value>, new: &mut Value) -> Vec<Cause> {
    for subject in each_mut(new, "subjects") {
        let is_person = subject["kind"] == "User" || subject["kind"] == "Group";
        if is_person && subject.get("apiGroup").is_none() {
            subject["apiGroup"] = json!("rbac.authorization.k8s.io");
        }
    }
    let Some(old) = old else {
        return Vec::new();
    };
    if old["roleRef"] == new["roleRef"] {
        return Vec::new();
    }
    let role = &new["roleRef"];
    let told = json!({"APIGroup": role["apiGroup"], "Kind": role["kind"], "Name": role["name"]});
    vec![Cause::shown("roleRef", &told, "cannot change roleRef")]
}

/// Of the times of a Lease.
const DECIMALS: usize = 6;

/// Of a ConfigMap's values together.
const DATA_BYTES_MAX: usize = 1 << 20;

const SYSTEM_FIELDS: &[&str] = &[
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
];
