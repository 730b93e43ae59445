//! What a Service may not say.
//!
//! The rules that clients of a load balancer meet, in the recorded words; knows nothing of what is allocated.

use super::{has_node_ports, is_balanced, is_external};
use crate::meta::NAME_RULE;
use crate::schema::Cause;
use crate::value::{each, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Everything that is wrong with a completed Service.
pub(super) fn faults(old: Option<&Value>, new: &Value) -> Vec<Cause> {
    let spec = &new["spec"];
    let mut causes = ports(spec);
    causes.extend(headless(spec));
    causes.extend(balancing(spec));
    causes.extend(policies(spec));
    causes.extend(families(spec));
    if let Some(old) = old {
        causes.extend(changes(&old["spec"], spec));
    }
    causes
}

fn ports(spec: &Value) -> Vec<Cause> {
    let list = spec["ports"].as_array().cloned().unwrap_or_default();
    let mut causes = Vec::new();
    if list.is_empty() && spec["type"] != "ExternalName" && spec["clusterIP"] != "None" {
        causes.push(Cause::wanted("spec.ports", ""));
    }
    let mut names = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (at, port) in list.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{at}].{name}");
        let name = text(&port["name"]);
        if name.is_empty() && list.len() > 1 {
            causes.push(Cause::wanted(field("name"), ""));
        } else if !name.is_empty() && !names.insert(name) {
            causes.push(Cause::duplicate(field("name"), &port["name"]));
        }
        let is_port = |port: &Value| {
            port.as_i64()
                .is_some_and(|port| (1..65_536).contains(&port))
        };
        let bounds = "must be between 1 and 65535, inclusive";
        if !is_port(&port["port"]) {
            causes.push(Cause::shown(field("port"), &port["port"], bounds));
        }
        if port["targetPort"].is_number() && !is_port(&port["targetPort"]) {
            let target = &port["targetPort"];
            causes.push(Cause::shown(field("targetPort"), target, bounds));
        }
        let protocol = text(&port["protocol"]);
        if !PROTOCOLS.contains(&protocol.as_str()) {
            let value = &port["protocol"];
            causes.push(Cause::unlisted(field("protocol"), value, PROTOCOLS));
        }
        if !seen.insert((protocol.clone(), port["port"].as_i64())) {
            let number = &port["port"];
            let twin = format!(
                "Duplicate value: {{\"Name\":\"\",\"Protocol\":\"{protocol}\",\"AppProtocol\":null,\"Port\":{number},\"TargetPort\":0,\"NodePort\":0}}"
            );
            let field = format!("spec.ports[{at}]");
            causes.push(Cause::new(field, "FieldValueDuplicate", twin));
        }
        if port.get("nodePort").is_some() && !has_node_ports(spec) {
            let why = "may not be used when `type` is 'ClusterIP'";
            causes.push(Cause::forbidden(field("nodePort"), why));
        }
    }
    causes
}

fn headless(spec: &Value) -> Option<Cause> {
    let kind = text(&spec["type"]);
    (spec["clusterIP"] == "None" && has_node_ports(spec)).then(|| {
        let why = format!("may not be set to 'None' for {kind} services");
        Cause::shown("spec.clusterIPs[0]", &json!("None"), &why)
    })
}

fn balancing(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let ranges = spec["loadBalancerSourceRanges"].as_array();
    let only = "may only be used when `type` is 'LoadBalancer'";
    if ranges.is_some_and(|ranges| !ranges.is_empty()) && !is_balanced(spec) {
        causes.push(Cause::forbidden("spec.LoadBalancerSourceRanges", only));
    } else {
        for (at, range) in ranges.into_iter().flatten().enumerate() {
            if !is_network(text(range).trim()) {
                let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                let field = format!("spec.LoadBalancerSourceRanges[{at}]");
                causes.push(Cause::shown(field, range, why));
            }
        }
    }
    if spec.get("allocateLoadBalancerNodePorts").is_some() && !is_balanced(spec) {
        causes.push(Cause::forbidden("spec.allocateLoadBalancerNodePorts", only));
    }
    if let Some(class) = spec.get("loadBalancerClass") {
        if !is_balanced(spec) {
            causes.push(Cause::forbidden("spec.loadBalancerClass", only));
        } else if text(class).contains(' ') {
            causes.push(Cause::shown("spec.loadBalancerClass", class, NAME_RULE));
        }
    }
    causes
}

fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let bits = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= bits)
}

fn policies(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(policy) = spec.get("externalTrafficPolicy") {
        let field = "spec.externalTrafficPolicy";
        if !is_external(spec) {
            let why = "may only be set for externally-accessible services";
            causes.push(Cause::shown(field, policy, why));
        } else if policy != "Cluster" && policy != "Local" {
            causes.push(Cause::unlisted(field, policy, &["Cluster", "Local"]));
        }
    }
    if spec.get("healthCheckNodePort").is_some() && !super::needs_health_check(spec) {
        let why =
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        let (field, port) = ("spec.healthCheckNodePort", &spec["healthCheckNodePort"]);
        causes.push(Cause::shown(field, port, why));
    }
    causes
}

fn families(spec: &Value) -> Vec<Cause> {
    let list = spec["ipFamilies"].as_array().cloned().unwrap_or_default();
    let mut causes = Vec::new();
    if let [one, other] = list.as_slice()
        && one == other
    {
        causes.push(Cause::duplicate("spec.ipFamilies[1]", other));
    }
    let policy = &spec["ipFamilyPolicy"];
    if list.len() > 1 && policy == "SingleStack" {
        let why = "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified";
        causes.push(Cause::shown("spec.ipFamilyPolicy", policy, why));
    }
    let addresses = each(&spec["clusterIPs"]);
    for (at, (address, family)) in addresses.zip(&list).enumerate() {
        let is_v6 = text(address).contains(':');
        if address != "None" && !text(address).is_empty() && is_v6 != (family == "IPv6") {
            let why = format!(
                "expected an {} value as indicated by `ipFamilies[{at}]`",
                text(family)
            );
            causes.push(Cause::shown(
                format!("spec.clusterIPs[{at}]"),
                address,
                &why,
            ));
        }
    }
    causes
}

fn changes(was: &Value, spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let fixed = "may not change once set";
    if is_balanced(was)
        && is_balanced(spec)
        && was.get("loadBalancerClass") != spec.get("loadBalancerClass")
    {
        let class = spec.get("loadBalancerClass").unwrap_or(&Value::Null);
        causes.push(Cause::shown("spec.loadBalancerClass", class, fixed));
    }
    let keeps = was["type"] != "ExternalName" && spec["type"] != "ExternalName";
    if keeps && was["clusterIPs"][0] != spec["clusterIPs"][0] {
        causes.push(Cause::shown(
            "spec.clusterIPs[0]",
            &spec["clusterIPs"],
            fixed,
        ));
    }
    let (had, has) = (&was["healthCheckNodePort"], &spec["healthCheckNodePort"]);
    if had.is_u64() && has.is_u64() && had != has {
        causes.push(Cause::forbidden(
            "spec.healthCheckNodePort",
            "field is immutable",
        ));
    }
    causes
}

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
