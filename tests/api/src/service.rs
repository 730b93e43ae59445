//! Services: what the server fills in, allocates, clears and refuses.
//!
//! Governed by the Service API of Kubernetes 1.36 as recorded in `tests/api/data/apiserver/services.jsonl` and
//! `status.jsonl`. Does not know who holds which address: it asks whether one is taken.

mod allocate;
mod status;
mod valid;

pub(crate) use status::admit as admit_status;

use crate::schema::Cause;
use crate::value::{each, each_mut, fill, take, text};
use serde_json::{Value, json};

/// What a Service holds: its addresses and node ports, as text.
pub(crate) fn claims(service: &Value) -> Vec<String> {
    let spec = &service["spec"];
    let list = |key: &str| each(&spec[key]);
    let addresses = list("clusterIPs")
        .filter_map(Value::as_str)
        .filter(|address| *address != "None")
        .map(str::to_owned);
    let ports = list("ports").filter_map(|port| port["nodePort"].as_u64());
    let ports = ports.chain(spec["healthCheckNodePort"].as_u64());
    addresses.chain(ports.map(port_claim)).collect()
}

fn port_claim(port: u64) -> String {
    format!("port {port}")
}

/// Completes a Service that is made or changed by the main path, and says what is wrong with it.
/// `is_taken` tells whether another Service holds an address or a port; `salt` spreads allocations.
pub(crate) fn admit(
    old: Option<&Value>,
    new: &mut Value,
    is_taken: &dyn Fn(&str) -> bool,
    salt: u64,
) -> Vec<Cause> {
    default(old, new);
    if let Some(old) = old {
        inherit(old, new);
        clear(old, new);
    }
    default_families(old, new);
    let causes = valid::faults(old, new);
    if !causes.is_empty() {
        return causes;
    }
    if new["spec"]["type"] == "ExternalName" {
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            take(&mut new["spec"], key);
        }
        return causes;
    }
    let held = old.map(claims).unwrap_or_default();
    let is_free = |claim: &str| held.iter().any(|own| own == claim) || !is_taken(claim);
    let mut causes = allocate::addresses(new, &is_free, salt);
    causes.extend(allocate::ports(old, new, &is_free, salt));
    causes
}

/// What a client is told about a good Service.
pub(crate) fn warnings(service: &Value) -> Vec<String> {
    let spec = &service["spec"];
    let mut warnings = Vec::new();
    if spec["externalIPs"].is_array() {
        let why =
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters";
        warnings.push(why.to_owned());
    }
    if spec["trafficDistribution"] == "PreferClose" {
        let why = "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"";
        warnings.push(why.to_owned());
    }
    warnings
}

/// Whether the type has node ports.
fn has_node_ports(spec: &Value) -> bool {
    spec["type"] == "NodePort" || is_balanced(spec)
}

fn is_balanced(spec: &Value) -> bool {
    spec["type"] == "LoadBalancer"
}

/// Whether clients outside the cluster may come in.
fn is_external(spec: &Value) -> bool {
    has_node_ports(spec)
        || spec["externalIPs"]
            .as_array()
            .is_some_and(|ips| !ips.is_empty())
}

fn default(old: Option<&Value>, new: &mut Value) {
    if !new["spec"].is_object() {
        new["spec"] = json!({});
    }
    let spec = &mut new["spec"];
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    fill(spec, "type", "ClusterIP");
    fill(spec, "sessionAffinity", "None");
    if spec["sessionAffinity"] == "ClientIP" {
        let hours = json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}});
        fill(spec, "sessionAffinityConfig", hours);
    } else {
        take(spec, "sessionAffinityConfig");
    }
    if spec["type"] == "ExternalName" {
        take(spec, "internalTrafficPolicy");
    } else {
        fill(spec, "internalTrafficPolicy", "Cluster");
    }
    if is_external(spec) {
        fill(spec, "externalTrafficPolicy", "Cluster");
    }
    if is_balanced(spec) {
        fill(spec, "allocateLoadBalancerNodePorts", true);
    }
    for port in each_mut(spec, "ports") {
        if text(&port["protocol"]).is_empty() {
            port["protocol"] = json!("TCP");
        }
        if matches!(port["targetPort"].as_i64(), Some(0)) || port["targetPort"].is_null() {
            port["targetPort"] = port["port"].clone();
        }
        if matches!(port["nodePort"].as_i64(), Some(0)) || port["nodePort"].is_null() {
            take(port, "nodePort");
        }
    }
    if old.is_none() {
        new["status"] = json!({"loadBalancer": {}});
    }
}

/// An update that says nothing of what was allocated keeps it.
fn inherit(old: &Value, new: &mut Value) {
    let (was, spec) = (&old["spec"], &mut new["spec"]);
    if was["type"] != "ExternalName" && spec["type"] != "ExternalName" {
        let says = |spec: &Value, key: &str| spec.get(key).is_some_and(|value| value != "");
        if !says(spec, "clusterIP") && !says(spec, "clusterIPs") {
            for key in ["clusterIP", "clusterIPs"] {
                spec[key] = was[key].clone();
            }
        }
        for key in ["ipFamilies", "ipFamilyPolicy"] {
            fill(spec, key, was[key].clone());
        }
    }
    let needs_ports = has_node_ports(spec);
    let same = |one: &Value, other: &Value| {
        one["protocol"] == other["protocol"] && one["port"] == other["port"]
    };
    for port in each_mut(spec, "ports") {
        let mut known = each(&was["ports"]);
        let known = known.find(|known| same(known, port) && known["nodePort"].is_u64());
        if let Some(known) = known
            && needs_ports
            && port.get("nodePort").is_none()
        {
            port["nodePort"] = known["nodePort"].clone();
        }
    }
    if needs_health_check(spec) && spec.get("healthCheckNodePort").is_none() {
        let known = was["healthCheckNodePort"].clone();
        if !known.is_null() {
            spec["healthCheckNodePort"] = known;
        }
    }
}

/// What the new type has no use for goes, if the client did not set it just now.
fn clear(old: &Value, new: &mut Value) {
    let was = &old["spec"];
    let is_left = is_balanced(was) && !is_balanced(&new["spec"]);
    if is_left {
        new["status"]["loadBalancer"] = json!({});
    }
    let spec = &mut new["spec"];
    let unchanged = |spec: &Value, key: &str| spec.get(key) == was.get(key);
    if is_left {
        for key in ["loadBalancerClass", "allocateLoadBalancerNodePorts"] {
            if unchanged(spec, key) {
                take(spec, key);
            }
        }
    }
    if has_node_ports(was) && !has_node_ports(spec) {
        let known: Vec<_> = claims(old);
        for port in each_mut(spec, "ports") {
            let claim = port["nodePort"].as_u64().map(port_claim);
            if claim.is_some_and(|claim| known.contains(&claim)) {
                take(port, "nodePort");
            }
        }
    }
    if is_external(was) && !is_external(spec) && unchanged(spec, "externalTrafficPolicy") {
        take(spec, "externalTrafficPolicy");
    }
    if needs_health_check(was)
        && !needs_health_check(spec)
        && unchanged(spec, "healthCheckNodePort")
    {
        take(spec, "healthCheckNodePort");
    }
    if was["type"] != "ExternalName" && spec["type"] == "ExternalName" {
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            take(spec, key);
        }
    }
}

fn needs_health_check(spec: &Value) -> bool {
    is_balanced(spec) && spec["externalTrafficPolicy"] == "Local"
}

fn default_families(old: Option<&Value>, new: &mut Value) {
    let spec = &mut new["spec"];
    if spec["type"] == "ExternalName" {
        return;
    }
    let address = text(&spec["clusterIP"]);
    if !address.is_empty() && spec["clusterIPs"].is_null() {
        spec["clusterIPs"] = json!([address]);
    }
    if address.is_empty() && spec["clusterIPs"][0].is_string() {
        spec["clusterIP"] = spec["clusterIPs"][0].clone();
    }
    let is_headless = spec["clusterIP"] == "None";
    let is_bare = is_headless && spec["selector"].is_null();
    if spec["ipFamilyPolicy"].is_null() {
        let policy = if is_bare {
            "RequireDualStack"
        } else {
            "SingleStack"
        };
        spec["ipFamilyPolicy"] = json!(policy);
    }
    let mut families: Vec<Value> = spec["ipFamilies"].as_array().cloned().unwrap_or_default();
    if families.is_empty() {
        let first = text(&spec["clusterIPs"][0]);
        let family = if first.contains(':') { "IPv6" } else { "IPv4" };
        families.push(json!(family));
    }
    let is_single = spec["ipFamilyPolicy"] == "SingleStack";
    if !is_single && families.len() == 1 {
        let other = if families[0] == "IPv4" {
            "IPv6"
        } else {
            "IPv4"
        };
        families.push(json!(other));
    }
    // A Service that was dual drops its second half when it becomes single, if the client left the lists alone.
    let was_dual = old.is_some_and(|old| old["spec"]["ipFamilyPolicy"] != "SingleStack");
    if is_single && was_dual {
        families.truncate(1);
        if let Some(addresses) = spec["clusterIPs"].as_array_mut() {
            addresses.truncate(1);
        }
    }
    spec["ipFamilies"] = json!(families);
}

/// Three hours.
const AFFINITY_SECONDS: u32 = 10_800;
