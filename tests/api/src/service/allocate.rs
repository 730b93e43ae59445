//! Addresses and node ports of Services: chosen ones are checked, others given.

use super::{has_node_ports, needs_health_check, port_claim};
use crate::schema::Cause;
use crate::value::{each, each_mut, text};
use serde_json::{Value, json};

/// Gives a Service the addresses that it lacks.
pub(super) fn addresses(new: &mut Value, is_free: &dyn Fn(&str) -> bool, salt: u64) -> Vec<Cause> {
    let spec = &mut new["spec"];
    if spec["clusterIP"] == "None" {
        spec["clusterIPs"] = json!(["None"]);
        return Vec::new();
    }
    let mut addresses: Vec<String> = each(&spec["clusterIPs"])
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

/// Gives a Service the node ports that it lacks.
pub(super) fn ports(
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
    for (at, port) in each_mut(spec, "ports").enumerate() {
        match port["nodePort"].as_u64() {
            Some(chosen) => causes.extend(port_fault(at, chosen, is_free)),
            None if wants => {
                let twin = shared.iter().find(|(number, _)| *number == port["port"]);
                let found = twin.map(|(_, found)| *found);
                let Some(found) = found.or_else(|| free_port(is_free, &taken, salt)) else {
                    causes.push(full(&format!("spec.ports[{at}].nodePort")));
                    continue;
                };
                taken.push(found);
                shared.push((port["port"].clone(), found));
                port["nodePort"] = json!(found);
            }
            None => {}
        }
    }
    let had = old.is_some_and(|old| old["spec"].get("healthCheckNodePort").is_some());
    if needs_health_check(spec) && spec["healthCheckNodePort"].is_null() && !had {
        match free_port(is_free, &taken, salt) {
            Some(found) => spec["healthCheckNodePort"] = json!(found),
            None => causes.push(full("spec.healthCheckNodePort")),
        }
    }
    causes
}

fn claimed_ports(spec: &Value) -> Vec<u64> {
    let ports = each(&spec["ports"]);
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

fn free_port(is_free: &dyn Fn(&str) -> bool, taken: &[u64], salt: u64) -> Option<u64> {
    // The lowest ports are left to those who choose one.
    let dynamic = PORTS - PORTS_CHOSEN;
    let mut candidates =
        (salt..salt + dynamic).map(|number| PORT_FIRST + PORTS_CHOSEN + number % dynamic);
    let free = |port: &u64| !taken.contains(port) && is_free(&port_claim(*port));
    candidates.find(free)
}

/// No port is left: a cluster has fewer than three thousand.
fn full(field: &str) -> Cause {
    let why = "Internal error: failed to allocate a nodePort: range is full".to_owned();
    Cause::new(field, "InternalError", why)
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
