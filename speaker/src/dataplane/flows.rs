//! What the kernel remembers of flows of VIPs that are spread, for people: some of it, since looking costs two calls to the kernel a row.
//!
//! Which rows those are the kernel's order of a hash decides. Nothing here is written, and looking keeps no row from being forgotten.

use super::maps::HashTable;
use super::pins::Pins;
use anyhow::Result;
use speaker_ebpf::abi::{self, StreamKey, StreamValue};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The maps of flows that have ports.
pub(super) struct FlowMaps([HashTable<StreamKey, StreamValue, 44, 16>; 2]);

/// Some of the flows that are remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FlowsSight {
    /// In the order of VIP, client and ports.
    pub(crate) flows: Vec<FlowSight>,
    /// Whether there are no others.
    pub(crate) is_all: bool,
}

/// A flow that is remembered.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct FlowSight {
    /// The VIP and its port.
    pub(crate) vip: SocketAddr,
    /// The link's index.
    pub(crate) ifindex: u32,
    /// The client and its port.
    pub(crate) client: SocketAddr,
    /// The protocol's number.
    pub(crate) protocol: u32,
    /// The number of the node that has it; 0 is this one.
    pub(crate) node: u32,
    /// When a packet of it was seen, in BOOTTIME nanoseconds, to a second or so.
    pub(crate) seen_ns: u64,
}

impl FlowMaps {
    pub(super) fn open(pins: &Pins) -> Result<Self> {
        Ok(Self([
            HashTable::open(pins, &abi::STREAMS)?,
            HashTable::open(pins, &abi::DATAGRAMS)?,
        ]))
    }

    /// At most [`ROWS_MAX`] rows of each map.
    pub(super) fn read(&self) -> Result<FlowsSight> {
        // A row that is forgotten meanwhile makes the kernel begin anew: a row may come twice, and the number of steps is bounded.
        let mut rows: BTreeMap<StreamKey, StreamValue> = BTreeMap::new();
        let mut is_all = true;
        for map in &self.0 {
            let mut steps = map.rows();
            for row in steps.by_ref().take(ROWS_MAX) {
                let (key, value) = row?;
                rows.insert(key, value);
            }
            is_all &= steps.next().is_none();
        }
        let mut flows: Vec<FlowSight> = rows.into_iter().map(flow).collect();
        flows.sort();
        Ok(FlowsSight { flows, is_all })
    }
}

fn flow((key, value): (StreamKey, StreamValue)) -> FlowSight {
    let [a, b, c, d] = key.word.to_ne_bytes();
    let (port, vip_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    FlowSight {
        vip: SocketAddr::new(key.vip.addr().into(), vip_port),
        ifindex: key.vip.ifindex(),
        client: SocketAddr::new(key.client.into(), port),
        protocol: key.protocol,
        node: value.node,
        seen_ns: value.seen_ns,
    }
}

/// Rows of a map that are looked at: some ten milliseconds.
const ROWS_MAX: usize = 4_096;
