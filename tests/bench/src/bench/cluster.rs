//! Clusters of any size, as manifests: one pool, one advertisement, and services of which every tenth has policy Local.
//!
//! The one endpoint of each of those is on this node, so that it decides whether anybody answers.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use speaker_core::link::{Link, LinkName};
use speaker_core::local::Local;
use speaker_core::manifest;
use speaker_core::object::Object;
use speaker_proto::{Mac, NodeName};
use std::collections::BTreeSet;

/// How large a cluster is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size {
    /// Services of type LoadBalancer.
    pub(crate) services: usize,
    /// Nodes, all of them alive.
    pub(crate) nodes: usize,
}

/// Everything in the cluster.
pub(crate) fn objects(size: Size) -> Result<Vec<Object>> {
    let mut values = vec![namespace(), pool(), advertisement()];
    values.extend((0..size.nodes).map(node));
    values.extend((0..size.services).map(service));
    values.extend((0..size.services).map(|number| slice_value(size, number, true)));
    values.iter().map(parse).collect()
}

/// The endpoints of one service; `is_ready` says it of the one on this node.
pub(crate) fn slice(size: Size, number: usize, is_ready: bool) -> Result<Object> {
    parse(&slice_value(size, number, is_ready))
}

/// A service of policy Local, another one for each `round`.
pub(crate) fn local_service(size: Size, round: usize) -> usize {
    round * LOCAL_EACH % size.services
}

/// This node, which is the first, with one link.
pub(crate) fn local(size: Size) -> Local {
    debug_assert!(size.nodes > 0, "a cluster has a node");
    let name: NodeName = node_name(0).parse().expect("made of letters and digits");
    let mut local = Local::new(name);
    let link = Link {
        ifindex: 2,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        is_up: true,
        has_carrier: true,
        has_arp: true,
        has_ndp: true,
        below: None,
    };
    local.links.insert(LinkName::from("eth0"), link);
    local
}

/// One hardware address for each node.
pub(crate) fn macs(size: Size) -> BTreeSet<Mac> {
    (0..size.nodes)
        .map(|n| Mac([2, 0, 0, 1, (n >> 8) as u8, n as u8]))
        .collect()
}

const LOCAL_EACH: usize = 10;

fn parse(value: &Value) -> Result<Object> {
    let read = manifest::read("bench", &value.to_string(), manifest::DEFAULT_NAMESPACE);
    ensure!(
        read.objects.len() == 1,
        "{value}: {} objects, notes {:?}",
        read.objects.len(),
        read.notes
    );
    let object = read.objects.into_iter().next().context("there is one")?;
    object.map_err(|problem| anyhow::anyhow!("{value}: {problem:?}"))
}

fn namespace() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}})
}

fn pool() -> Value {
    json!({"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": "pool", "namespace": manifest::DEFAULT_NAMESPACE},
        "spec": {"addresses": ["10.64.0.0/16"]}})
}

fn advertisement() -> Value {
    json!({"apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
        "metadata": {"name": "all", "namespace": manifest::DEFAULT_NAMESPACE}, "spec": {}})
}

fn node_name(number: usize) -> String {
    format!("node-{number:04}")
}

pub(crate) fn node(number: usize) -> Value {
    let address = format!("10.32.{}.{}", number >> 8, number & 255);
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": node_name(number), "labels": {"kubernetes.io/hostname": node_name(number)}},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]}})
}

pub(crate) fn service_name(number: usize) -> String {
    format!("service-{number:05}")
}

pub(crate) fn service(number: usize) -> Value {
    let policy = if number.is_multiple_of(LOCAL_EACH) {
        "Local"
    } else {
        "Cluster"
    };
    let host = number + 1;
    let address = format!("10.64.{}.{}", host >> 8, host & 255);
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": service_name(number), "namespace": "bench"},
        // There are fewer node ports than services.
        "spec": {"type": "LoadBalancer", "externalTrafficPolicy": policy, "allocateLoadBalancerNodePorts": false,
            "ports": [{"port": 80, "protocol": "TCP"}]},
        "status": {"loadBalancer": {"ingress": [{"ip": address}]}}})
}

pub(crate) fn slice_value(size: Size, number: usize, is_ready: bool) -> Value {
    let endpoint = |node: usize, is_ready: bool| {
        json!({"addresses": [format!("10.128.{}.{}", number >> 8, number & 255)],
            "nodeName": node_name(node % size.nodes), "conditions": {"ready": is_ready, "serving": is_ready}})
    };
    let endpoints = match number % LOCAL_EACH {
        0 => vec![endpoint(0, is_ready)],
        _ => vec![endpoint(number, true), endpoint(number + 1, true)],
    };
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{}-1", service_name(number)), "namespace": "bench",
            "labels": {"kubernetes.io/service-name": service_name(number)}},
        "addressType": "IPv4", "ports": [{"port": 8080, "protocol": "TCP"}], "endpoints": endpoints})
}
