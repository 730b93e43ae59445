//! The small picture: which node the client found for each VIP, and who has which share of those that are spread.

use super::{Frontend, out, shares};
use crate::lab::Lab;
use crate::lab::topology::{CLIENT_V4, CLIENT_V6};
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Draws it.
///
/// # Errors
/// When the client's neighbours cannot be listed, or a speaker does not tell of its VIPs.
pub(super) fn show(lab: &Lab, frontends: &[Frontend]) -> Result<()> {
    let answerers = answerers(lab)?;
    out(&format!(
        "\n  client {CLIENT_V4} {CLIENT_V6}\n    │\n  switch"
    ));
    let nodes = &lab.topology().nodes;
    for (number, node) in nodes.iter().enumerate() {
        let is_last = number + 1 == nodes.len();
        let (branch, trunk) = if is_last {
            ("└", " ")
        } else {
            ("├", "│")
        };
        out(&format!(
            "    {branch}── {} {} {}",
            node.name,
            node.v4(),
            node.v6()
        ));
        let vips = frontends
            .iter()
            .filter(|f| answerers.get(&f.vip) == Some(&node.name));
        let mut services: BTreeMap<IpAddr, BTreeSet<&str>> = BTreeMap::new();
        for frontend in vips {
            services
                .entry(frontend.vip)
                .or_default()
                .insert(&frontend.service);
        }
        for (vip, names) in services {
            let names: Vec<&str> = names.into_iter().collect();
            out(&format!(
                "    {trunk}     answers for {vip} ({})",
                names.join(", ")
            ));
            for share in shares::of(lab, &node.name, vip)? {
                out(&format!("    {trunk}       {share}"));
            }
        }
    }
    Ok(())
}

/// The node of each address that the client has as a neighbour, told by hardware address.
pub(super) fn answerers(lab: &Lab) -> Result<BTreeMap<IpAddr, String>> {
    let mut nodes = BTreeMap::new();
    for node in &lab.topology().nodes {
        for mac in node.netns.macs()?.into_values() {
            nodes.insert(mac, node.name.clone());
        }
    }
    let neighbours = lab.topology().client.neighbours()?;
    let found = neighbours
        .into_iter()
        .filter_map(|(ip, mac)| Some((ip, nodes.get(&mac)?.clone())));
    Ok(found.collect())
}
