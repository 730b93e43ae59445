//! The part of the tables that says how nodes on other segments are reached, and from whom packets for VIPs may come so.
//!
//! Which nodes those are, and which VIPs, is decided in [`crate::plan`]; how packets travel is the kernel's.

use super::steering::Content;
use crate::steering::Overlay;
use speaker_ebpf::abi::encap::ENDS_MAX;
use speaker_ebpf::abi::{Addr, EndValue, FarKey, FarValue};
use speaker_proto::NodeName;
use std::collections::BTreeMap;

/// Where the nodes are that a table may name, if any VIP goes to other segments from here. There is room for all that have a number.
pub(super) fn far(
    overlay: &Overlay,
    numbers: &BTreeMap<NodeName, u16>,
    content: &Content,
) -> BTreeMap<FarKey, FarValue> {
    let is_used = content.rows.values().any(|row| row.is_beyond());
    let nodes = overlay.nodes.iter().filter(|_| is_used);
    let rows = nodes.flat_map(|(name, far)| {
        let node = numbers.get(name).copied().map(u32::from);
        let row = move |(family, is_v4)| {
            let (node, ends) = node.zip(far.ends(is_v4))?;
            let value = FarValue {
                from: ends.from.into(),
                to: ends.to.into(),
            };
            Some((FarKey { node, family }, value))
        };
        [(4, true), (6, false)].into_iter().filter_map(row)
    });
    rows.collect()
}

/// Who may send packets so, where to, and for what; how many addresses had no room. Nodes go before VIPs: those without are spread on
/// their own segment only.
pub(super) fn ends(overlay: &Overlay, ends: &mut BTreeMap<Addr, EndValue>) -> usize {
    let kinds = [
        (&overlay.own, EndValue::OWN),
        (&overlay.members, EndValue::MEMBER),
        (&overlay.vips, EndValue::SERVED),
    ];
    let all = kinds
        .into_iter()
        .flat_map(|(addresses, kind)| addresses.iter().map(move |ip| (Addr::from(*ip), kind)));
    let mut left = 0;
    for (addr, kind) in all {
        let is_full = ends.len() >= ENDS_MAX as usize;
        if is_full && !ends.contains_key(&addr) {
            left += 1;
            continue;
        }
        let value = ends.entry(addr).or_default();
        *value = value.and(kind);
    }
    left
}

#[cfg(test)]
#[path = "encap_tests.rs"]
mod tests;
