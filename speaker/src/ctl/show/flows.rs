//! Flows of VIPs that are spread which are remembered: whose each is. A sample, since there may be a hundred thousand.
//!
//! Most TCP connections are not among them: where a slot names one node only, the table says whose they are (`docs/steering.md`).

use super::super::FlowsWanted;
use super::super::snapshot::Snapshot;
use super::super::table::table;
use super::{Known, Shown};
use crate::dataplane::FlowSight;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use speaker_ebpf::abi::steer::OWN_NODE;
use speaker_proto::Time;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The answer for programs.
#[derive(Serialize)]
pub(super) struct Flows {
    flows: Vec<Flow>,
    /// How many were looked at, wanted or not.
    looked_at: usize,
    /// Whether those were all that the kernel remembers.
    is_all: bool,
}

#[derive(Serialize)]
struct Flow {
    protocol: String,
    client: String,
    vip: String,
    link: String,
    /// Whose it is.
    node: String,
    /// Milliseconds since a packet of it was seen, to a second or so.
    seen_ms_ago: u64,
}

pub(super) fn show(known: &Known<'_>, wanted: &FlowsWanted) -> Result<Shown<Flows>> {
    ensure!(wanted.limit > 0, "--limit 0 is none");
    let vip = wanted.vip.as_ref().map(|vip| {
        let address = vip.parse::<IpAddr>();
        address.with_context(|| format!("{vip:?} is no address"))
    });
    let vip = vip.transpose()?;
    let names = names(known.snapshot);
    let sight = known.sight.flows()?;
    let is_wanted = |flow: &&FlowSight| vip.is_none_or(|vip| flow.vip.ip() == vip);
    let flows = sight.flows.iter().filter(is_wanted);
    let flows = flows.map(|flow| row(known, &names, flow));
    let flows = flows.filter(|flow| wanted.to.as_ref().is_none_or(|to| flow.node == *to));
    let data = Flows {
        flows: flows.take(wanted.limit as usize).collect(),
        looked_at: sight.flows.len(),
        is_all: sight.is_all,
    };
    Ok(Shown {
        text: text(&data),
        data,
    })
}

fn names(snapshot: &Snapshot) -> BTreeMap<u32, String> {
    let others = snapshot.numbers.iter();
    let others = others.map(|(name, number)| (u32::from(*number), name.to_string()));
    let own = (u32::from(OWN_NODE), snapshot.local.node.to_string());
    others.chain([own]).collect()
}

fn row(known: &Known<'_>, names: &BTreeMap<u32, String>, flow: &FlowSight) -> Flow {
    let node = names.get(&flow.node).cloned();
    let age = known.now.since(Time::from_ns(flow.seen_ns));
    Flow {
        protocol: match flow.protocol {
            6 => "TCP".to_owned(),
            17 => "UDP".to_owned(),
            132 => "SCTP".to_owned(),
            136 => "UDP-Lite".to_owned(),
            other => other.to_string(),
        },
        client: flow.client.to_string(),
        vip: flow.vip.to_string(),
        link: known.snapshot.link_name(flow.ifindex),
        // Its node is not on the segment any more: the flow is as good as forgotten.
        node: node.unwrap_or_else(|| format!("#{}", flow.node)),
        seen_ms_ago: age.ns() / 1_000_000,
    }
}

fn text(data: &Flows) -> String {
    let rows = data.flows.iter().map(|flow| {
        [
            flow.protocol.clone(),
            flow.client.clone(),
            flow.vip.clone(),
            flow.link.clone(),
            flow.node.clone(),
            format!("{}s", flow.seen_ms_ago / 1000),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let head = ["PROTOCOL", "CLIENT", "VIP", "LINK", "NODE", "LAST-SEEN"];
    let flows = match rows.is_empty() {
        true => "no such flow is remembered\n".to_owned(),
        false => table(head, &rows),
    };
    let extent = if data.is_all { "all" } else { "there are more" };
    format!("{flows}{} looked at: {extent}\n", data.looked_at)
}
