//! The speaker, from a directory of manifests: one service for each route, each with one endpoint that is ready.

use super::super::peer::{ASN, SENDER_ASN};
use super::super::place::{POOLS, route};
use super::{Job, Sender, write};
use crate::process::Process;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use xtask::lab::net;

pub(super) fn prepare(sender: &Sender<'_>) -> Result<()> {
    let folder = sender.file("manifests");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    write(
        &folder.join("base.json"),
        &list(base(&sender.job, &node(sender))),
    )?;
    let routes: Vec<usize> = (0..sender.job.routes).collect();
    for (number, chunk) in routes.chunks(SERVICES_EACH).enumerate() {
        let objects = chunk
            .iter()
            .flat_map(|number| announced(&name(*number), route(*number, sender.job.family)));
        let file = folder.join(format!("services-{number}.json"));
        write(&file, &list(objects.collect()))?;
    }
    Ok(())
}

pub(super) fn run(sender: &mut Sender<'_>) -> Result<()> {
    let mut command = sender.job.place.netns.command(&sender.site.setting.speaker);
    command.args(["run", "--node-name", &node(sender), "--insecure-gossip"]);
    command.args(["--port", "0", "--health-probe-port", "0"]);
    command.arg("--manifests").arg(sender.file("manifests"));
    command.arg("--run-dir").arg(sender.file("run"));
    command.arg("--bpffs").arg(sender.site.home.folder("bpf"));
    let process = Process::start(&mut command, &sender.file("speaker.log"))?;
    sender.processes.push(process);
    Ok(())
}

pub(super) fn routes(sender: &Sender<'_>) -> Result<usize> {
    if sender.job.peers.is_empty() {
        let seen: Value = serde_json::from_str(&ctl(sender, &["status", "-o", "json"])?)?;
        return Ok(seen["services"].as_u64().context("no services")? as usize);
    }
    let seen: Value = serde_json::from_str(&ctl(sender, &["bgp", "-o", "json"])?)?;
    let peers = seen["peers"].as_array().context("no peers")?;
    ensure!(peers.len() == sender.job.peers.len(), "not all peers yet");
    let wanted = peers.iter().filter_map(|peer| peer["wanted"].as_u64());
    Ok(wanted.min().unwrap_or(0) as usize)
}

pub(super) fn ctl(sender: &Sender<'_>, words: &[&str]) -> Result<String> {
    let mut command = Command::new(&sender.site.setting.speaker);
    command.args(["ctl", "--node", &node(sender), "--run-dir"]);
    command.arg(sender.file("run"));
    net::output(command.args(words))
}

pub(super) fn change(sender: &Sender<'_>, route: IpAddr, is_there: bool) -> Result<()> {
    let file = sender.file("manifests").join("change.json");
    let objects = if is_there {
        announced("change", route).to_vec()
    } else {
        Vec::new()
    };
    write(&file, &list(objects))
}

/// Pins of two speakers must not meet.
fn node(sender: &Sender<'_>) -> String {
    let folder = sender.folder.file_name().unwrap_or_default();
    folder.to_string_lossy().into_owned()
}

fn list(items: Vec<Value>) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// Everything but services; nothing of BGP where there are no peers.
fn base(job: &Job, node: &str) -> Vec<Value> {
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        node_object(node, job.place.v4),
        pool(),
        json!({"apiVersion": "metallb.io/v1beta1", "kind": "BFDProfile", "metadata": own("fast"),
            "spec": {"receiveInterval": 50, "transmitInterval": 50, "detectMultiplier": 3}}),
    ];
    if !job.peers.is_empty() {
        objects.push(advertisement());
    }
    let peers = job.peers.iter().enumerate();
    objects.extend(peers.map(|(number, address)| {
        let mut peer = peer(number, *address);
        let spec = &mut peer["spec"];
        spec["enableGracefulRestart"] = job.has_graceful_restart.into();
        if job.has_bfd {
            spec["bfdProfile"] = "fast".into();
        }
        peer
    }));
    objects
}

/// This node.
pub(in super::super) fn node_object(name: &str, address: Ipv4Addr) -> Value {
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]}})
}

pub(in super::super) fn pool() -> Value {
    json!({"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": own("bench"), "spec": {"addresses": POOLS}})
}

pub(in super::super) fn advertisement() -> Value {
    json!({"apiVersion": "metallb.io/v1beta1", "kind": "BGPAdvertisement", "metadata": own("bench"), "spec": {}})
}

pub(in super::super) fn peer(number: usize, address: IpAddr) -> Value {
    json!({"apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": own(&format!("peer-{number:03}")),
        "spec": {"myASN": SENDER_ASN, "peerASN": ASN, "peerAddress": address, "connectTime": "1s"}})
}

pub(in super::super) fn name(number: usize) -> String {
    format!("service-{number:06}")
}

/// A service and its one endpoint.
pub(in super::super) fn announced(name: &str, address: IpAddr) -> [Value; 2] {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"type": "LoadBalancer", "loadBalancerIP": address, "ipFamilies": [family], "allocateLoadBalancerNodePorts": false,
            "ports": [{"port": 80, "protocol": "TCP"}]},
        "status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
    [service, slice(name, true)]
}

pub(in super::super) fn slice(name: &str, is_ready: bool) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{name}-1"), "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "ports": [{"port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.128.0.1"], "nodeName": "elsewhere", "conditions": {"ready": is_ready, "serving": is_ready}}]})
}

fn own(name: &str) -> Value {
    json!({"name": name, "namespace": "metallb-system"})
}

/// The namespace of the services.
pub(in super::super) const NAMESPACE: &str = "default";
/// What one document may hold.
const SERVICES_EACH: usize = 4_000;
