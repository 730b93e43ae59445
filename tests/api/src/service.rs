//! Services: what the server fills in, allocates, clears and refuses.
//!
//! Governed by the Service API of Kubernetes 1.36 as recorded in `tests/api/data/apiserver/services.jsonl` and
//! `status.jsonl`. Does not know who holds which address: it asks whether one is taken.

mod status;
mod valid;

pub(crate) use status::admit as admit_status;

use crate::kinds::text;
use crate::meta::take;
use crate::schema::Cause;
use serde_json::{Value, json};

/// What a Service holds: its addresses and node ports, as text.
pub(crate) fn claims(service: &Value) -> Vec<String> {
    let spec = &service["spec"];
    let list = |key: &str| spec[key].as_array().into_iter().flatten();
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
    let mut causes = allocate_addresses(new, &is_free, salt);
    causes.extend(allocate_ports(old, new, &is_free, salt));
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
    let set = |spec: &mut Value, key: &str, value: Value| {
        if spec.get(key).is_none() {
            spec[key] = value;
        }
    };
    set(spec, "type", json!("ClusterIP"));
    set(spec, "sessionAffinity", json!("None"));
    if spec["sessionAffinity"] == "ClientIP" {
        let hours = json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}});
        set(spec, "sessionAffinityConfig", hours);
    } else {
        take(spec, "sessionAffinityConfig");
    }
    if spec["type"] == "ExternalName" {
        take(spec, "internalTrafficPolicy");
    } else {
        set(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    if is_external(spec) {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if is_balanced(spec) {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
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
            if spec.get(key).is_none() {
                spec[key] = was[key].clone();
            }
        }
    }
    let needs_ports = has_node_ports(spec);
    let same = |one: &Value, other: &Value| {
        one["protocol"] == other["protocol"] && one["port"] == other["port"]
    };
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        let mut known = was["ports"].as_array().into_iter().flatten();
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
        for port in spec["ports"].as_array_mut().into_iter().flatten() {
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

fn allocate_addresses(new: &mut Value, is_free: &dyn Fn(&str) -> bool, salt: u64) -> Vec<Cause> {
    let spec = &mut new["spec"];
    if spec["clusterIP"] == "None" {
        spec["clusterIPs"] = json!(["None"]);
        return Vec::new();
    }
    let mut addresses: Vec<String> = spec["clusterIPs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
        .filter(|address| !address.is_empty())
        .collect();
    for address in &addresses {
        let why = if !is_in_range(address) {
            "the provided network does not match the current range"
        } else if !is_free(address) {
            "provided IP is already allocated"
        } else {
            continue;
        };
        let why = format!("failed to allocate IP {address}: {why}");
        return vec![Cause::shown("spec.clusterIPs", &json!(addresses), &why)];
    }
    let families = spec["ipFamilies"].as_array().cloned().unwrap_or_default();
    for family in families.iter().skip(addresses.len()) {
        let address = |host: u64| match family.as_str() {
            Some("IPv6") => format!("fd00:96::{:x}", host % HOSTS + 1),
            _v4 => format!(
                "10.96.{}.{}",
                (host % HOSTS + 1) / 256,
                (host % HOSTS + 1) % 256
            ),
        };
        let free = (salt..salt + HOSTS)
            .map(address)
            .find(|address| is_free(address));
        addresses.extend(free);
    }
    spec["clusterIP"] = json!(addresses.first());
    spec["clusterIPs"] = json!(addresses);
    Vec::new()
}

fn is_in_range(address: &str) -> bool {
    address.starts_with("10.96.") || address.starts_with("fd00:")
}

fn allocate_ports(
    old: Option<&Value>,
    new: &mut Value,
    is_free: &dyn Fn(&str) -> bool,
    salt: u64,
) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = &mut new["spec"];
    let wants = has_node_ports(spec)
        && (spec["type"] == "NodePort" || spec["allocateLoadBalancerNodePorts"] == true);
    let mut taken: Vec<u64> = claimed_ports(spec);
    // Ports with the same number and different protocols share a node port.
    let mut shared: Vec<(Value, u64)> = Vec::new();
    for (at, port) in spec["ports"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .enumerate()
    {
        match port["nodePort"].as_u64() {
            Some(chosen) => causes.extend(port_fault(at, chosen, is_free)),
            None if wants => {
                let twin = shared.iter().find(|(number, _)| *number == port["port"]);
                let found = twin.map(|(_, found)| *found);
                let found = found.unwrap_or_else(|| free_port(is_free, &taken, salt));
                taken.push(found);
                shared.push((port["port"].clone(), found));
                port["nodePort"] = json!(found);
            }
            None => {}
        }
    }
    let had = old.is_some_and(|old| old["spec"].get("healthCheckNodePort").is_some());
    if needs_health_check(spec) && spec["healthCheckNodePort"].is_null() && !had {
        spec["healthCheckNodePort"] = json!(free_port(is_free, &taken, salt));
    }
    causes
}

fn claimed_ports(spec: &Value) -> Vec<u64> {
    let ports = spec["ports"].as_array().into_iter().flatten();
    ports.filter_map(|port| port["nodePort"].as_u64()).collect()
}

fn port_fault(at: usize, port: u64, is_free: &dyn Fn(&str) -> bool) -> Option<Cause> {
    let why = if !(PORT_FIRST..PORT_FIRST + PORTS).contains(&port) {
        "provided port is not in the valid range. The range of valid ports is 30000-32767"
    } else if !is_free(&port_claim(port)) {
        "provided port is already allocated"
    } else {
        return None;
    };
    let field = format!("spec.ports[{at}].nodePort");
    Some(Cause::shown(field, &json!(port), why))
}

fn free_port(is_free: &dyn Fn(&str) -> bool, taken: &[u64], salt: u64) -> u64 {
    // The lowest ports are left to those who choose one.
    let dynamic = PORTS - PORTS_CHOSEN;
    let mut candidates =
        (salt..salt + dynamic).map(|number| PORT_FIRST + PORTS_CHOSEN + number % dynamic);
    let free = |port: &u64| !taken.contains(port) && is_free(&port_claim(*port));
    candidates.find(free).unwrap_or_default()
}

/// Addresses to allocate from 10.96.0.0/16 and fd00:96::/112, without the first and the last; chosen ones may be anywhere
/// in fd00::/16.
const HOSTS: u64 = 65_534;

/// The first of the node ports that the server has by default.
const PORT_FIRST: u64 = 30_000;

/// How many there are.
const PORTS: u64 = 2768;

/// How many of them are given to nobody who has not asked for one.
const PORTS_CHOSEN: u64 = 86;

/// Three hours.
const AFFINITY_SECONDS: u32 = 10_800;
