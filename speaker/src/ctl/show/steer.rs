//! Which VIPs are spread, over which nodes, and what each of them got.

use super::super::snapshot::Snapshot;
use super::super::table::table;
use super::{Known, Shown};
use crate::dataplane::{ShareSight, SlotSight};
use anyhow::{Result, ensure};
use serde::Serialize;
use speaker_core::LinkName;
use speaker_core::steering::Share;
use speaker_ebpf::abi::steer::{MAGLEV_SLOTS, OWN_NODE};
use speaker_ebpf::abi::{Bucket, SteerValue};
use speaker_proto::{NodeName, Vip};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The answer for programs.
#[derive(Serialize)]
pub(super) struct Steer {
    vips: Vec<SpreadVip>,
    /// Packets of VIPs that are spread, by what became of them, on all VIPs.
    outcomes: BTreeMap<&'static str, u64>,
}

/// A VIP on a link.
#[derive(Serialize)]
struct SpreadVip {
    vip: String,
    link: String,
    services: Vec<String>,
    /// Whether the kernel spreads its packets now.
    is_spread: bool,
    /// Whether sockets of this node serve it, once it is held.
    is_socketed: bool,
    /// Why they are not; absent if they are, or if this node just does not hold it.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    /// Its row of `hg_spread`.
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<u16>,
    /// Its table among `hg_maglev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<u32>,
    nodes: Vec<Node>,
}

/// A node that may get packets of a VIP.
#[derive(Serialize)]
struct Node {
    node: String,
    /// Its share, as a number of endpoints, or 1.
    weight: u32,
    /// Slots of the table that are its own.
    slots: usize,
    /// Slots that are its own for connections from before.
    slots_before: usize,
    /// Its hardware address on the link; absent for this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    /// Its address, if it is reached on another segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    beyond: Option<IpAddr>,
    packets: u64,
    bytes: u64,
}

pub(super) fn show(known: &Known<'_>, vip: Option<&str>) -> Result<Shown<Steer>> {
    let mut vips = spread(known)?;
    if let Some(asked) = vip {
        vips.retain(|row| row.vip == asked);
        ensure!(
            !vips.is_empty(),
            "no packets of {asked} are spread from this node, or are meant to be: speaker ctl why tells of a service"
        );
    }
    let outcomes = known.sight.steered()?.into_iter();
    let data = Steer {
        vips,
        outcomes: outcomes.map(|count| (count.name, count.count)).collect(),
    };
    Ok(Shown {
        text: text(&data),
        data,
    })
}

fn spread(known: &Known<'_>) -> Result<Vec<SpreadVip>> {
    let snapshot = known.snapshot;
    let Some(steering) = &snapshot.plan.steering else {
        return Ok(socketed(known).collect());
    };
    let services = snapshot.services_by_address();
    let services = |vip: &Vip| services.get(&vip.0).cloned().unwrap_or_default();
    let kernel = Kernel::read(known)?;
    let rows = steering.rows.iter();
    let rows = rows.map(|((vip, link), spread)| {
        let ifindex = snapshot.local.links.get(link).map(|link| link.ifindex);
        let slot = ifindex.and_then(|ifindex| kernel.slots.get(&(vip.0, ifindex)));
        let row = slot.filter(|slot| slot.is_steered).map(|slot| slot.row);
        let value = row.and_then(|row| snapshot.steering.rows.get(&row));
        let table = value.map(SteerValue::table);
        SpreadVip {
            vip: vip.to_string(),
            link: link.to_string(),
            services: services(vip),
            is_spread: slot.is_some_and(|slot| slot.is_steered),
            is_socketed: false,
            because: None,
            row,
            table,
            nodes: nodes(snapshot, &kernel, (vip, link), &spread.share, (slot, table)),
        }
    });
    let not = steering.unspread.iter();
    let not = not.map(|((vip, link), why)| SpreadVip {
        vip: vip.to_string(),
        link: link.to_string(),
        services: services(vip),
        is_spread: false,
        is_socketed: false,
        because: Some(why.to_string()),
        row: None,
        table: None,
        nodes: Vec::new(),
    });
    Ok(rows.chain(not).chain(socketed(known)).collect())
}

/// VIPs that sockets are to serve.
fn socketed<'a>(known: &'a Known<'_>) -> impl Iterator<Item = SpreadVip> + 'a {
    let snapshot = known.snapshot;
    let services = snapshot.services_by_address();
    let served = &snapshot.plan.served;
    let rows = served.rows.iter().map(|place| (place, None));
    let not = served.not.iter();
    let not = not.map(|(place, why)| (place, Some(why.to_string())));
    rows.chain(not)
        .map(move |((vip, link), because)| SpreadVip {
            vip: vip.to_string(),
            link: link.to_string(),
            services: services.get(&vip.0).cloned().unwrap_or_default(),
            is_spread: false,
            is_socketed: because.is_none(),
            because,
            row: None,
            table: None,
            nodes: Vec::new(),
        })
}

/// What the kernel has of VIPs on links, and of what nodes got by slot and number.
struct Kernel {
    slots: BTreeMap<(IpAddr, u32), SlotSight>,
    shares: BTreeMap<(u32, u32), ShareSight>,
}

impl Kernel {
    fn read(known: &Known<'_>) -> Result<Self> {
        let slots = known.sight.slots()?.into_iter();
        let shares = known.sight.shares()?.into_iter();
        Ok(Self {
            slots: slots.map(|slot| ((slot.vip, slot.ifindex), slot)).collect(),
            shares: shares
                .map(|share| ((share.slot, share.node), share))
                .collect(),
        })
    }
}

/// The nodes that have a share of a VIP, and those that had one and may still have connections.
fn nodes(
    snapshot: &Snapshot,
    kernel: &Kernel,
    (vip, link): (&Vip, &LinkName),
    share: &Share,
    (slot, table): (Option<&SlotSight>, Option<u32>),
) -> Vec<Node> {
    let own = &snapshot.local.node;
    let weights = &share.weights;
    let table = table.and_then(|table| snapshot.steering.maglev.get(&table));
    let steering = snapshot.plan.steering.as_ref();
    let hood = steering.map(|steering| &steering.neighbourhood.nodes);
    let node = |name: &NodeName| {
        let number = match name == own {
            true => Some(OWN_NODE),
            false => snapshot.numbers.get(name).copied(),
        };
        let count = |of: fn(&Bucket) -> u16| {
            let buckets = table.iter().flat_map(|table| table.iter());
            buckets.filter(|bucket| Some(of(bucket)) == number).count()
        };
        let slot = slot.filter(|slot| slot.is_steered);
        let key = slot
            .zip(number)
            .map(|(slot, number)| (slot.slot, u32::from(number)));
        let got = key.and_then(|key| kernel.shares.get(&key));
        let mac = hood.and_then(|hood| hood.get(&(link.clone(), name.clone())));
        let far = steering.filter(|_| share.is_beyond && mac.is_none());
        let far = far.and_then(|steering| steering.overlay.nodes.get(name));
        let ends = far.and_then(|far| far.ends(vip.0.is_ipv4()));
        Node {
            node: name.to_string(),
            weight: weights.get(name).copied().unwrap_or_default(),
            slots: count(|bucket| bucket.current),
            slots_before: count(|bucket| bucket.earlier()),
            mac: mac.map(ToString::to_string),
            beyond: ends.map(|ends| ends.to),
            packets: got.map_or(0, |got| got.packets),
            bytes: got.map_or(0, |got| got.bytes),
        }
    };
    let others = snapshot.numbers.keys().chain([own]);
    let others = others.filter(|name| !weights.contains_key(*name));
    let mut nodes: Vec<Node> = weights.keys().chain(others).map(node).collect();
    nodes.retain(|node| node.weight > 0 || node.slots_before > 0 || node.packets > 0);
    nodes
}

fn text(data: &Steer) -> String {
    if data.vips.is_empty() {
        return "no service asks for its packets to be spread (annotation heliograph.io/steering)\n"
            .to_owned();
    }
    let mut rows: Vec<[String; 8]> = Vec::new();
    for vip in &data.vips {
        let head = [vip.vip.clone(), vip.link.clone(), state(vip)];
        let services = vip.services.join(" ");
        for (i, node) in vip.nodes.iter().enumerate() {
            let [address, link, state] = if i == 0 {
                head.clone()
            } else {
                <[String; 3]>::default()
            };
            rows.push([
                address,
                link,
                state,
                match node.beyond {
                    Some(address) => format!("{} at {address}", node.node),
                    None => node.node.clone(),
                },
                share(node.slots),
                node.packets.to_string(),
                node.bytes.to_string(),
                if i == 0 {
                    services.clone()
                } else {
                    String::new()
                },
            ]);
        }
        if vip.nodes.is_empty() {
            let [address, link, state] = head;
            let none = String::new;
            rows.push([
                address,
                link,
                state,
                none(),
                none(),
                none(),
                none(),
                services,
            ]);
        }
    }
    let mut text = table(
        [
            "VIP", "LINK", "STATE", "NODE", "SHARE", "PACKETS", "BYTES", "SERVICES",
        ],
        &rows,
    );
    for vip in &data.vips {
        if let Some(because) = &vip.because {
            text += &format!(
                "{} on {} is left to the stack: {because}\n",
                vip.vip, vip.link
            );
        }
    }
    text
}

fn state(vip: &SpreadVip) -> String {
    match (vip.is_spread, &vip.because) {
        _ if vip.is_socketed => "socket",
        (true, _) => "spread",
        (false, Some(_)) => "stack",
        (false, None) => "not held",
    }
    .to_owned()
}

/// Of all slots of a table.
fn share(slots: usize) -> String {
    let all = f64::from(MAGLEV_SLOTS);
    format!("{:.1}%", slots as f64 * 100.0 / all)
}
