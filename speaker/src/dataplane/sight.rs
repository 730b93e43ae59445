//! Everything of the kernel's side, read and never written.
//!
//! Opened from the pins, so that it works beside the agent and also when there is none. For `ctl`, metrics and
//! `docs/bpftool.md`; knows nothing of how it is shown.

use super::attach::Hook;
use super::flows::{FlowMaps, FlowsSight};
use super::maps::{ArrayTable, CpuArray, CpuHash, CpuRows, HashTable};
use super::pins::{PinnedHook, Pins};
use super::{facts, tc};
use crate::netlink::Client;
use anyhow::{Context, Result};
use aya::maps::{MapData, MapFd};
use aya::programs::links::{FdLink, PinnedLink};
use serde::Serialize;
use speaker_ebpf::abi::{
    self, Entry, Global, Listening, MAPS, MapSpec, Opted, OptedStats, Outcome, Passage, ShareKey,
    SlotStats, Steered, Traffic, Tunnelled, VipKey,
};
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

/// A read-only view of the pinned maps.
pub(crate) struct Sight {
    pins: Pins,
    vips: HashTable<VipKey, Entry, 20, 24>,
    node: ArrayTable,
    fence: ArrayTable,
    cleared: ArrayTable,
    stats: CpuHash<SlotStats, 96>,
    traffic: CpuArray<Traffic, 16>,
    globals: CpuArray<u64, 8>,
    passages: CpuArray<u64, 8>,
    steered: CpuArray<u64, 8>,
    tunnelled: CpuArray<u64, 8>,
    listening: CpuArray<u64, 8>,
    shares: CpuRows<ShareKey, Traffic, 8, 16>,
    opted: CpuArray<OptedStats, 24>,
    flows: FlowMaps,
}

/// One VIP on one link, as the kernel has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct SlotSight {
    /// The VIP.
    pub(crate) vip: IpAddr,
    /// The link's index.
    pub(crate) ifindex: u32,
    /// `answer`, `draining` or `known`.
    pub(crate) mode: &'static str,
    /// Which taking it is.
    pub(crate) epoch: u64,
    /// Its own deadline in BOOTTIME nanoseconds; 0: the node's.
    pub(crate) deadline_ns: u64,
    /// Index of fence and counters.
    pub(crate) slot: u32,
    /// Whether a claim keeps it silent.
    pub(crate) is_fenced: bool,
    /// Neighbour frames by what became of them, summed over the CPUs.
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
    /// It moves, or did a moment ago.
    pub(crate) is_moving: bool,
    /// Sockets of this node serve it.
    pub(crate) is_socketed: bool,
    /// Its packets are spread over nodes.
    pub(crate) is_steered: bool,
    /// As its row of `hg_spread` says; 0: none.
    pub(crate) row: u16,
    /// Frames handed to the stack.
    pub(crate) packets: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// What a node got of a VIP that is spread.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct ShareSight {
    /// The VIP on a link.
    pub(crate) slot: u32,
    /// The node's number; 0 is this one.
    pub(crate) node: u32,
    /// Frames.
    pub(crate) packets: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// A counter that belongs to no VIP.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct GlobalCount {
    /// What is counted.
    pub(crate) name: &'static str,
    /// How often, on all CPUs.
    pub(crate) count: u64,
}

/// A pinned map.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct MapSight {
    /// Its kernel name.
    pub(crate) name: &'static str,
    /// The kernel's number of it, for `bpftool map dump id`.
    pub(crate) id: u32,
    /// Its type, such as `Hash`.
    pub(crate) kind: String,
    /// The layout version of its keys and values.
    pub(crate) layout: u32,
    /// Bytes of a key.
    pub(crate) key_bytes: u32,
    /// Bytes of a value (on one CPU).
    pub(crate) value_bytes: u32,
    /// Entries at most (bytes, for the ring).
    pub(crate) entries_max: u32,
    /// Bytes of kernel memory, as far as the kernel says.
    pub(crate) memory_bytes: Option<u64>,
    /// Where it is pinned.
    pub(crate) pin: String,
}

/// A link that the program is attached to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct LinkSight {
    /// The link's index.
    pub(crate) ifindex: u32,
    /// Its name; empty if it is gone.
    pub(crate) name: String,
    /// The hook.
    pub(crate) hook: Hook,
    /// The kernel's number of the program, for `bpftool prog show id`; `None` if it does not say.
    pub(crate) program: Option<u32>,
}

impl Sight {
    /// Opens the maps pinned under `pin_dir` (see `pin_dir`).
    pub(crate) fn open(pin_dir: &Path) -> Result<Self> {
        let pins = Pins::new(pin_dir);
        Ok(Self {
            vips: HashTable::open(&pins, &abi::VIPS)?,
            node: ArrayTable::open(&pins, &abi::NODE)?,
            fence: ArrayTable::open(&pins, &abi::FENCE)?,
            cleared: ArrayTable::open(&pins, &abi::CLEARED)?,
            stats: CpuHash::open(&pins, &abi::STATS)?,
            traffic: CpuArray::open(&pins, &abi::TRAFFIC)?,
            globals: CpuArray::open(&pins, &abi::GLOBALS)?,
            passages: CpuArray::open(&pins, &abi::PASSAGES)?,
            steered: CpuArray::open(&pins, &abi::STEERED)?,
            tunnelled: CpuArray::open(&pins, &abi::TUNNELLED)?,
            listening: CpuArray::open(&pins, &abi::LISTENING)?,
            shares: CpuRows::open(&pins, &abi::SHARES)?,
            opted: CpuArray::open(&pins, &abi::OPTED)?,
            flows: FlowMaps::open(&pins)?,
            pins,
        })
    }

    /// The node-wide deadline in BOOTTIME nanoseconds; 0: never armed.
    pub(crate) fn deadline_ns(&self) -> Result<u64> {
        self.node.get(0)
    }

    /// Every VIP on every link, in order of address and link.
    pub(crate) fn slots(&self) -> Result<Vec<SlotSight>> {
        let rows: BTreeMap<VipKey, Entry> = self.vips.rows().collect::<Result<_>>()?;
        rows.into_iter()
            .map(|(key, entry)| self.slot(key, entry))
            .collect()
    }

    /// The counters that belong to no VIP.
    pub(crate) fn globals(&self) -> Result<Vec<GlobalCount>> {
        let count = |global: &Global| {
            let count = self.globals.get(*global as u32)?.iter().sum();
            Ok(GlobalCount {
                name: name_of_global(*global),
                count,
            })
        };
        Global::ALL.iter().map(count).collect()
    }

    /// What became of packets for VIPs that move.
    pub(crate) fn passages(&self) -> Result<Vec<GlobalCount>> {
        let count = |passage: &Passage| {
            let count = self.passages.get(*passage as u32)?.iter().sum();
            Ok(GlobalCount {
                name: name_of_passage(*passage),
                count,
            })
        };
        Passage::ALL.iter().map(count).collect()
    }

    /// What became of packets for VIPs that are spread.
    pub(crate) fn steered(&self) -> Result<Vec<GlobalCount>> {
        let count = |steered: &Steered| {
            let count = self.steered.get(*steered as u32)?.iter().sum();
            Ok(GlobalCount {
                name: name_of_steered(*steered),
                count,
            })
        };
        Steered::ALL.iter().map(count).collect()
    }

    /// What became of packets to and from other segments.
    pub(crate) fn tunnelled(&self) -> Result<Vec<GlobalCount>> {
        let count = |tunnelled: &Tunnelled| {
            let count = self.tunnelled.get(*tunnelled as u32)?.iter().sum();
            Ok(GlobalCount {
                name: name_of_tunnelled(*tunnelled),
                count,
            })
        };
        Tunnelled::ALL.iter().map(count).collect()
    }

    /// What became of connections and datagrams that came in for VIPs, as far as sockets go.
    pub(crate) fn listening(&self) -> Result<Vec<GlobalCount>> {
        let count = |listening: &Listening| {
            let count = self.listening.get(*listening as u32)?.iter().sum();
            Ok(GlobalCount {
                name: name_of_listening(*listening),
                count,
            })
        };
        Listening::ALL.iter().map(count).collect()
    }

    /// What was done with packets by options of their VIPs.
    pub(crate) fn opted(&self) -> Result<Vec<GlobalCount>> {
        let count = |opted: &Opted| {
            let cpus = self.opted.get(*opted as u32)?;
            Ok(GlobalCount {
                name: name_of_opted(*opted),
                count: cpus.iter().map(|cpu| cpu.count).sum(),
            })
        };
        Opted::ALL.iter().map(count).collect()
    }

    /// What each node got of each VIP that is spread.
    pub(crate) fn shares(&self) -> Result<Vec<ShareSight>> {
        let share = |row: Result<(ShareKey, Vec<Traffic>)>| {
            let (key, cpus) = row?;
            Ok(ShareSight {
                slot: key.slot,
                node: key.node,
                packets: cpus.iter().map(|cpu| cpu.packets).sum(),
                bytes: cpus.iter().map(|cpu| cpu.bytes).sum(),
            })
        };
        self.shares.rows().map(share).collect()
    }

    /// Some of the flows of VIPs that are spread which are remembered.
    pub(crate) fn flows(&self) -> Result<FlowsSight> {
        self.flows.read()
    }

    /// Every pinned map.
    pub(crate) fn maps(&self) -> Result<Vec<MapSight>> {
        MAPS.iter().map(|spec| self.map(spec)).collect()
    }

    /// Every link that the program is attached to, in the calling thread's network namespace.
    pub(crate) fn links(&self) -> Result<Vec<LinkSight>> {
        let netlink = Client::open()?;
        let named: BTreeMap<u32, String> = facts::links(&netlink)?.into_iter().collect();
        let mut links = Vec::new();
        for ((ifindex, pinned), path) in self.pins.links().context("failed to list pinned links")? {
            let link = FdLink::from(PinnedLink::from_pin(&path)?);
            let xdp = facts::of(&netlink, ifindex)?.and_then(|facts| facts.xdp);
            let hook = match pinned {
                PinnedHook::Tcx => Hook::Tcx,
                PinnedHook::Xdp if xdp.is_some_and(|xdp| xdp.is_native) => Hook::XdpNative,
                PinnedHook::Xdp => Hook::XdpGeneric,
            };
            let name = named.get(&ifindex).cloned().unwrap_or_default();
            links.push(LinkSight {
                ifindex,
                name,
                hook,
                program: Some(link.info()?.program_id()),
            });
        }
        for (ifindex, name) in named {
            if let Some(filter) = tc::our_clsact(&netlink, ifindex)? {
                let hook = Hook::Clsact;
                links.push(LinkSight {
                    ifindex,
                    name,
                    hook,
                    program: filter.program,
                });
            }
        }
        links.sort_by_key(|link| (link.ifindex, link.hook));
        Ok(links)
    }

    fn slot(&self, key: VipKey, entry: Entry) -> Result<SlotSight> {
        let slot = entry.slot();
        let stats = self.stats.get(slot)?.unwrap_or_default();
        let count = |outcome: &Outcome| {
            (
                name_of_outcome(*outcome),
                stats.iter().map(|cpu| cpu.of(*outcome)).sum(),
            )
        };
        let traffic = self.traffic.get(slot)?;
        Ok(SlotSight {
            vip: key.addr().into(),
            ifindex: key.ifindex(),
            mode: name_of_mode(entry),
            epoch: entry.epoch(),
            deadline_ns: entry.deadline_ns(),
            slot,
            is_fenced: self.fence.get(slot)? != self.cleared.get(slot)?,
            outcomes: Outcome::ALL.iter().map(count).collect(),
            is_moving: entry.is_moving(),
            is_socketed: entry.is_socketed(),
            is_steered: entry.is_steered(),
            row: entry.row(),
            packets: traffic.iter().map(|cpu| cpu.packets).sum(),
            bytes: traffic.iter().map(|cpu| cpu.bytes).sum(),
        })
    }

    fn map(&self, spec: &MapSpec) -> Result<MapSight> {
        let path = self.pins.map(spec);
        let what = || format!("failed to look at {}", path.display());
        let data = MapData::from_pin(&path).with_context(what)?;
        let info = data.info().with_context(what)?;
        Ok(MapSight {
            name: spec.name,
            id: info.id(),
            kind: format!("{:?}", info.map_type()?),
            layout: spec.layout,
            key_bytes: info.key_size(),
            value_bytes: info.value_size(),
            entries_max: info.max_entries(),
            memory_bytes: memory_bytes(data.fd()),
            pin: path.display().to_string(),
        })
    }
}

/// `memlock` of the descriptor's fdinfo (proc_pid_fdinfo(5)): the only place where the kernel says it.
fn memory_bytes(map: &MapFd) -> Option<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_fd().as_raw_fd())).ok()?;
    let memlock = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    // Older kernels say zero of ring buffers.
    memlock?.trim().parse().ok().filter(|bytes| *bytes > 0)
}

fn name_of_mode(entry: Entry) -> &'static str {
    match entry.mode() {
        Some(abi::Mode::Answer) => "answer",
        Some(abi::Mode::Draining) => "draining",
        Some(abi::Mode::Known) => "known",
        Some(abi::Mode::Passive) => "passive",
        None => "unreadable",
    }
}

fn name_of_outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "answered",
        Outcome::NotOwner => "not_owner",
        Outcome::Lapsed => "lapsed",
        Outcome::Fenced => "fenced",
        Outcome::Draining => "draining",
        Outcome::Limited => "limited",
        Outcome::Malformed => "malformed",
        Outcome::Foreign => "foreign",
        Outcome::Spoofed => "spoofed",
        Outcome::Claimed => "claimed",
    }
}

fn name_of_passage(passage: Passage) -> &'static str {
    match passage {
        Passage::Forwarded => "forwarded",
        Passage::Returned => "returned",
        Passage::Kept => "kept",
        Passage::FromMember => "from_member",
        Passage::TooLate => "too_late",
        Passage::NoHops => "no_hops",
        Passage::Unclear => "unclear",
    }
}

fn name_of_steered(steered: Steered) -> &'static str {
    match steered {
        Steered::Sent => "sent",
        Steered::Own => "own",
        Steered::FromMember => "from_member",
        Steered::NotHeld => "not_held",
        Steered::NoHops => "no_hops",
        Steered::Unclear => "unclear",
        Steered::NoTarget => "no_target",
        Steered::LostFragment => "lost_fragment",
        Steered::Uncounted => "uncounted",
        Steered::Silenced => "silenced",
    }
}

fn name_of_opted(opted: Opted) -> &'static str {
    match opted {
        Opted::Rejected => "rejected",
        Opted::Closed => "closed",
        Opted::Refused => "refused",
        Opted::Echoed => "echoed",
        Opted::Limited => "limited",
    }
}

fn name_of_listening(listening: Listening) -> &'static str {
    match listening {
        Listening::Given => "given",
        Listening::Nobody => "nobody",
        Listening::Refused => "refused",
    }
}

fn name_of_tunnelled(tunnelled: Tunnelled) -> &'static str {
    match tunnelled {
        Tunnelled::Wrapped => "wrapped",
        Tunnelled::TooBig => "too_big",
        Tunnelled::Untold => "untold",
        Tunnelled::Uncut => "uncut",
        Tunnelled::NoWay => "no_way",
        Tunnelled::NoRoom => "no_room",
        Tunnelled::Lost => "lost",
        Tunnelled::Unwrapped => "unwrapped",
        Tunnelled::Stranger => "stranger",
    }
}

fn name_of_global(global: Global) -> &'static str {
    match global {
        Global::Arp => "arp",
        Global::Ndp => "ndp",
        Global::Malformed => "malformed",
        Global::RingFull => "ring_full",
        Global::BadEntry => "bad_entry",
        Global::Orphaned => "orphaned",
        Global::NoRoom => "no_room",
    }
}
