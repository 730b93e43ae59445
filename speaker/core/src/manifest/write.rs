//! Objects back into manifests: what was understood of them, and nothing else.
//!
//! Reading what was written gives the same object, but for ways of writing the same thing that the parser folds into one. Used
//! for what outlives the process; people's manifests are never written.

#[path = "write_bgp.rs"]
mod bgp;

use crate::crd::{AddressRange, Community, L2Advertisement, Pool, ServiceAllocation};
use crate::node::{AUTOSCALER_TAINT, Ending, Namespace, Node, SHUTDOWN_MESSAGE};
use crate::selector::{Operator, Selector};
use crate::service::{
    Endpoint, EndpointSlice, Family, FamilyPolicy, Service, ServicePort, TrafficPolicy,
};
use crate::world::World;
use serde_json::{Value, json};

/// Every object in force, as a manifest.
pub fn write(world: &World) -> impl Iterator<Item = Value> {
    let namespaces = world.namespaces.values().map(|o| namespace(o));
    let nodes = world.nodes.values().map(|o| node(o));
    let services = world.services.values().map(|o| service(o));
    let slices = world.slices.values().flatten().map(|o| endpoint_slice(o));
    let pools = world.pools.values().map(|o| pool(o));
    let ads = world
        .l2_advertisements
        .values()
        .map(|o| l2_advertisement(o));
    let communities = world.communities.values().map(|o| community(o));
    namespaces
        .chain(nodes)
        .chain(services)
        .chain(slices)
        .chain(pools)
        .chain(ads)
        .chain(communities)
        .chain(
            world
                .bgp_advertisements
                .values()
                .map(|o| bgp::advertisement(o)),
        )
        .chain(world.bgp_peers.values().map(|o| bgp::peer(o)))
        .chain(world.bfd_profiles.values().map(|o| bgp::bfd_profile(o)))
}

fn namespace(o: &Namespace) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": o.name, "labels": o.labels},
    })
}

fn node(o: &Node) -> Value {
    let addresses: Vec<Value> = o
        .addresses
        .iter()
        .map(|ip| json!({"type": "InternalIP", "address": ip}))
        .collect();
    let unavailable = if o.network_unavailable {
        "True"
    } else {
        "False"
    };
    let mut conditions = vec![json!({"type": "NetworkUnavailable", "status": unavailable})];
    if o.ending == Some(Ending::ShuttingDown) {
        conditions.push(json!({"type": "Ready", "status": "False", "message": SHUTDOWN_MESSAGE}));
    }
    let mut node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": o.name.as_str(), "labels": o.labels},
        "status": {
            "addresses": addresses,
            "conditions": conditions,
        },
    });
    match o.ending {
        // When it was deleted is not known any more, and nobody asks.
        Some(Ending::Deleted) => {
            node["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
        }
        Some(Ending::Doomed) => {
            node["spec"]["taints"] = json!([{"key": AUTOSCALER_TAINT, "effect": "NoSchedule"}]);
        }
        Some(Ending::ShuttingDown) | None => {}
    }
    node
}

fn service(o: &Service) -> Value {
    let families: Vec<&str> = o.families.iter().copied().map(family).collect();
    let ingress: Vec<Value> = o
        .ingress
        .iter()
        .map(|entry| match entry {
            Ok(ip) if o.proxied.contains(ip) => json!({"ip": ip, "ipMode": "Proxy"}),
            Ok(ip) => json!({"ip": ip}),
            Err(text) => json!({"hostname": text}),
        })
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": o.id.name,
            "namespace": o.id.namespace,
            "uid": o.uid,
            "creationTimestamp": o.created,
            "labels": o.labels,
            "annotations": o.annotations,
        },
        "spec": {
            "type": if o.is_load_balancer { "LoadBalancer" } else { "ClusterIP" },
            "loadBalancerClass": o.class,
            "clusterIPs": o.cluster_ips,
            "ipFamilies": families,
            "ipFamilyPolicy": match o.family_policy {
                FamilyPolicy::SingleStack => "SingleStack",
                FamilyPolicy::PreferDualStack => "PreferDualStack",
                FamilyPolicy::RequireDualStack => "RequireDualStack",
            },
            "externalTrafficPolicy": match o.policy {
                TrafficPolicy::Cluster => "Cluster",
                TrafficPolicy::Local => "Local",
            },
            "sessionAffinity": if o.is_by_client { "ClientIP" } else { "None" },
            "loadBalancerIP": o.load_balancer_ip,
            "loadBalancerSourceRanges": o.source_ranges,
            "ports": o.ports.iter().map(port).collect::<Vec<_>>(),
            "selector": o.selector,
        },
        "status": {"loadBalancer": {"ingress": ingress}},
    })
}

const fn family(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

fn port(port: &ServicePort) -> Value {
    json!({"name": port.name, "protocol": port.protocol.to_string(), "port": port.port})
}

fn endpoint_slice(o: &EndpointSlice) -> Value {
    let addresses = o
        .endpoints
        .iter()
        .flat_map(|endpoint| &endpoint.addresses)
        .next();
    let first = addresses.map_or(Family::V4, |ip| Family::of(*ip));
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": o.name,
            "namespace": o.namespace,
            "labels": {super::native::SERVICE_NAME_LABEL: o.service.name},
        },
        "addressType": family(first),
        "endpoints": o.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": o.ports.iter().map(port).collect::<Vec<_>>(),
    })
}

fn endpoint(endpoint: &Endpoint) -> Value {
    json!({
        "addresses": endpoint.addresses,
        "nodeName": endpoint.node.as_ref().map(|node| node.as_str()),
        "conditions": {"ready": endpoint.is_ready, "serving": endpoint.can_serve},
    })
}

fn pool(o: &Pool) -> Value {
    let mut addresses: Vec<String> = o.ranges.iter().map(AddressRange::to_string).collect();
    if addresses.is_empty() {
        addresses.push(NOTHING.to_owned());
    }
    json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {
            "name": o.name,
            "namespace": o.namespace,
            "creationTimestamp": o.created,
            "labels": o.labels,
            "annotations": o.annotations,
        },
        "spec": {
            "addresses": addresses,
            "autoAssign": o.auto_assign,
            "avoidBuggyIPs": o.avoid_buggy_ips,
            "serviceAllocation": o.allocation.as_ref().map(allocation),
        },
    })
}

fn allocation(o: &ServiceAllocation) -> Value {
    json!({
        "priority": o.priority,
        "namespaces": o.namespaces,
        "namespaceSelectors": selectors(&o.namespace_selectors),
        "serviceSelectors": selectors(&o.service_selectors),
    })
}

fn l2_advertisement(o: &L2Advertisement) -> Value {
    let preferred: Vec<Value> = o
        .preferred_nodes
        .iter()
        .map(|p| json!({"weight": p.weight, "preference": selector(&p.selector)}))
        .collect();
    json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "L2Advertisement",
        "metadata": {
            "name": o.name,
            "namespace": o.namespace,
            "annotations": o.annotations,
        },
        "spec": {
            "ipAddressPools": o.pools,
            "ipAddressPoolSelectors": selectors(&o.pool_selectors),
            "nodeSelectors": selectors(&o.node_selectors),
            "interfaces": o.interfaces,
            "serviceSelectors": selectors(&o.service_selectors),
            "preferredNodeSelectors": preferred,
        },
    })
}

fn community(o: &Community) -> Value {
    let named: Vec<Value> = o
        .communities
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "Community",
        "metadata": {
            "name": o.name,
            "namespace": o.namespace,
            "creationTimestamp": o.created,
        },
        "spec": {"communities": named},
    })
}

/// A list in which none stands twice: the same selector written in two ways is one here, and the parser takes one only once.
fn selectors(selectors: &[Selector]) -> Vec<Value> {
    let is_first = |(i, selector): &(usize, &Selector)| !selectors[..*i].contains(selector);
    selectors
        .iter()
        .enumerate()
        .filter(is_first)
        .map(|(_, s)| self::selector(s))
        .collect()
}

fn selector(selector: &Selector) -> Value {
    let requirements = selector.requirements.iter();
    let expressions: Vec<Value> = requirements
        .map(|requirement| {
            let key = &requirement.key;
            match &requirement.operator {
                Operator::In(values) => json!({"key": key, "operator": "In", "values": values}),
                Operator::NotIn(values) => {
                    json!({"key": key, "operator": "NotIn", "values": values})
                }
                Operator::Exists => json!({"key": key, "operator": "Exists"}),
                Operator::DoesNotExist => json!({"key": key, "operator": "DoesNotExist"}),
            }
        })
        .collect();
    json!({"matchExpressions": expressions})
}

/// A range that holds no address, as MetalLB takes it; a pool without any range would be refused.
const NOTHING: &str = "0.0.0.0-ffff::";

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
