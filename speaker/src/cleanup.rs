//! `speaker cleanup`: takes back everything that a speaker left in the kernel.
//!
//! Pins and links, clsact filters, proxy-neighbour entries, local routes and their rule, `arp_announce`, and the folder of the control socket. It runs where
//! the speaker ran: what belongs to a network namespace is looked for in its own. Repeating it is harmless. It never touches
//! what a running speaker uses.

use crate::dataplane::{self, pin_dir};
use crate::edge;
use crate::settings::CTL_SOCKET;
use crate::settings::args::Places;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use speaker_ebpf::abi::socket::MARK;
use speaker_proto::NodeName;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Flags of `speaker cleanup`.
#[derive(Args, Debug)]
pub(crate) struct CleanupArgs {
    /// The node whose speaker is gone
    #[arg(
        long,
        value_name = "NAME",
        env = "METALLB_NODE_NAME",
        required_unless_present = "all"
    )]
    pub(crate) node_name: Option<NodeName>,

    /// Every node that ever ran a speaker on this machine
    #[arg(long)]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) places: Places,

    /// How to say what was removed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

/// How the report is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Sentences.
    Text,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// What was removed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Removed {
    /// What each node's speaker had left, by node.
    nodes: BTreeMap<String, NodeRemains>,
    /// Interfaces that had a clsact filter of ours.
    filters: Vec<String>,
    /// Proxy-neighbour entries of ours.
    proxies: Vec<Proxy>,
    /// VIPs that had a local route of ours.
    routes: Vec<IpAddr>,
}

/// What the speaker of one node had left.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
struct NodeRemains {
    /// Pinned maps and links, by path.
    pins: Vec<String>,
    /// Interfaces whose `arp_announce` was restored.
    arp_announce: Vec<String>,
}

/// A proxy-neighbour entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Proxy {
    vip: Ipv6Addr,
    ifindex: u32,
}

/// Removes what was asked for and prints what that was.
///
/// # Errors
/// When a speaker of such a node is running, or something cannot be removed. What was removed before stays so.
pub(crate) fn run(args: &CleanupArgs) -> Result<()> {
    let removed = remove(args)?;
    match args.output {
        Format::Text => print!("{removed}"),
        Format::Json => println!("{}", serde_json::to_string(&removed)?),
        Format::Yaml => print!("{}", serde_norway::to_string(&removed)?),
    }
    Ok(())
}

fn remove(args: &CleanupArgs) -> Result<Removed> {
    let nodes = match &args.node_name {
        Some(node) if !args.all => BTreeSet::from([node.clone()]),
        Some(_) | None => known_nodes(&args.places)?,
    };
    for node in &nodes {
        refuse_if_running(node, &args.places.run_dir)?;
    }
    remove_all(&nodes, &args.places)
}

/// Removes what this process itself leaves on its node, as its last deed.
///
/// # Errors
/// When something cannot be removed. What was removed before stays so.
pub(crate) fn of_own(node: &NodeName, places: &Places) -> Result<Removed> {
    remove_all(&BTreeSet::from([node.clone()]), places)
}

fn remove_all(nodes: &BTreeSet<NodeName>, places: &Places) -> Result<Removed> {
    let mut removed = Removed::default();
    for node in nodes {
        let remains = remove_node(node, places)
            .with_context(|| format!("failed to clean up after node {node}"))?;
        removed.nodes.insert(node.to_string(), remains);
    }
    removed.filters = dataplane::clean_filters()?;
    for folder in [dataplane::all_pins(&places.bpffs), places.run_dir.clone()] {
        // Not empty, not there, or a mount of its own: then it stays.
        let _is_kept = fs::remove_dir(folder);
    }
    let proxies = edge::clean_groups()?.into_iter();
    removed.proxies = proxies
        .map(|(vip, ifindex)| Proxy { vip, ifindex })
        .collect();
    removed.routes = edge::clean_routes(MARK)?;
    Ok(removed)
}

fn remove_node(node: &NodeName, places: &Places) -> Result<NodeRemains> {
    let run_dir = places.run_dir.join(node.as_str());
    let pins = dataplane::clean_pins(&pin_dir(&places.bpffs, node))?;
    let arp_announce = edge::restore_arp_setting(&run_dir)?;
    match fs::remove_dir_all(&run_dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", run_dir.display()))
        }
        Ok(()) | Err(_) => Ok(NodeRemains { pins, arp_announce }),
    }
}

/// Nodes that have pins or a folder for the control socket.
fn known_nodes(places: &Places) -> Result<BTreeSet<NodeName>> {
    let mut nodes = dataplane::pinned_nodes(&places.bpffs)
        .with_context(|| format!("failed to list {}", places.bpffs.display()))?;
    let folders = match fs::read_dir(&places.run_dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(nodes),
        folders => {
            folders.with_context(|| format!("failed to list {}", places.run_dir.display()))?
        }
    };
    for folder in folders {
        let name = folder
            .context("failed to list the control sockets")?
            .file_name();
        nodes.extend(name.to_str().and_then(|name| name.parse().ok()));
    }
    Ok(nodes)
}

/// A speaker that lives has somebody listening on its control socket.
fn refuse_if_running(node: &NodeName, run_dir: &Path) -> Result<()> {
    let socket = run_dir.join(node.as_str()).join(CTL_SOCKET);
    if UnixStream::connect(&socket).is_ok() {
        bail!(
            "the speaker of node {node} is running ({} answers); stop it first",
            socket.display()
        );
    }
    Ok(())
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        for (node, NodeRemains { pins, arp_announce }) in &self.nodes {
            if !pins.is_empty() {
                lines.push(format!(
                    "{node}: removed {} pinned maps and links",
                    pins.len()
                ));
            }
            lines.extend(
                arp_announce
                    .iter()
                    .map(|link| format!("{node}: restored arp_announce of {link}")),
            );
        }
        lines.extend(
            self.filters
                .iter()
                .map(|link| format!("removed the clsact filter of {link}")),
        );
        let proxy = |Proxy { vip, ifindex }: &Proxy| {
            format!("removed the proxy-neighbour entry {vip} of link {ifindex}")
        };
        lines.extend(self.proxies.iter().map(proxy));
        let route = |vip: &IpAddr| format!("removed the local route of {vip}");
        lines.extend(self.routes.iter().map(route));
        if lines.is_empty() {
            lines.push("nothing was left to remove".to_owned());
        }
        lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
#[path = "cleanup_tests.rs"]
mod tests;
