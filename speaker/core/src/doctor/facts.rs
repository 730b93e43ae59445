//! What was seen of a node, gathered by somebody else.
//!
//! Plain values: whatever could not be looked at is absent, and [`Facts::unseen`] says so. Nothing secret is among them,
//! since they are printed and sent to others.

use super::migrate::ClusterFacts;
use crate::World;
use crate::crd::{Pool, Remote};
use crate::plan::serves;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Everything that findings are made from.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Facts {
    /// The kernel, and what it lets this process do.
    pub kernel: Kernel,
    /// Settings below `/proc/sys` by their path there, such as `net/ipv4/ip_forward`; what does not exist is left out.
    pub sysctls: BTreeMap<String, i64>,
    /// Links of the node's network namespace by name.
    pub links: BTreeMap<String, LinkFacts>,
    /// Addresses of the node.
    pub addresses: Vec<OwnAddress>,
    /// Its default routes.
    pub defaults: Vec<DefaultRoute>,
    /// The ports that a speaker listens on.
    pub ports: Ports,
    /// Who listens on those and a few more.
    pub listeners: Vec<Listener>,
    /// Pins on the bpf file system that tell of another responder.
    pub foreign_pins: Vec<String>,
    /// The members' secret; `None`: none is asked for.
    pub secret: Option<SecretFacts>,
    /// Calls of a speaker's that the API server does not let this process make, as `kubectl auth can-i` is asked for them.
    pub lacking_rights: BTreeSet<String>,
    /// What the node's speaker says; `None`: none was reached.
    pub speaker: Option<SpeakerFacts>,
    /// A cluster on which MetalLB's place is to be taken; then nothing else is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterFacts>,
    /// What could not be looked at, and why.
    pub unseen: BTreeMap<String, String>,
}

/// The kernel, and what it lets this process do.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Kernel {
    /// As `uname -r` has it.
    pub release: String,
    /// Whether it tells its types.
    pub has_types: bool,
    /// What it reads time from; `None`: it does not say.
    pub clock_source: Option<String>,
    /// Seconds since 1970 by the wall clock.
    pub wall_s: i64,
    /// Whether something keeps that clock, such as NTP; `None`: the kernel does not say.
    pub is_clock_kept: Option<bool>,
    /// Capabilities that a speaker needs and this process lacks, with what each is for.
    pub lacking: BTreeMap<String, String>,
    /// Where the bpf file system should be.
    pub bpffs: String,
    /// How it is there.
    pub bpffs_state: BpfFsState,
}

/// Whether there is a bpf file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub enum BpfFsState {
    /// It is not there, or something else is.
    #[default]
    Absent,
    /// It can be read only.
    ReadOnly,
    /// It can be used.
    Usable,
}

/// One link.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LinkFacts {
    /// The kind of virtual device, such as `veth`; empty for hardware.
    pub kind: String,
    /// The largest packet in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub is_up: bool,
    /// It can carry.
    pub has_carrier: bool,
    /// It takes part in multicast.
    pub has_multicast: bool,
    /// It may announce.
    pub announces: bool,
    /// Why it may not, where somebody might have meant it to.
    pub refused: Option<String>,
    /// The link that it is part of.
    pub part_of: Option<String>,
    /// The link that it lies on, in the same namespace.
    pub below: Option<String>,
    /// How a bond spreads, by the kernel's name.
    pub bond_mode: Option<String>,
    /// Features of the card that are on; empty where it does not say.
    pub features: BTreeSet<String>,
    /// Programs that see what comes in, in the order in which they run.
    pub programs: Vec<ProgramFacts>,
}

/// A program on a link.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ProgramFacts {
    /// Where: `xdp`, `tcx` or `clsact`.
    pub hook: String,
    /// Its name; empty: it has none.
    pub name: String,
    /// It is ours.
    pub is_ours: bool,
}

/// An address of this node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OwnAddress {
    /// The address.
    pub ip: IpAddr,
    /// The bits of its network.
    pub bits: u8,
    /// The link that has it.
    pub link: String,
}

/// A default route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DefaultRoute {
    /// Of IPv6.
    pub is_v6: bool,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// The link that it leaves by.
    pub link: String,
}

/// The ports that a speaker listens on; 0: not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Ports {
    /// UDP, of other speakers.
    pub members: u16,
    /// TCP, of metrics.
    pub metrics: u16,
    /// TCP, of health.
    pub health: u16,
}

/// Somebody who listens.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Listener {
    /// By UDP; else by TCP.
    pub is_udp: bool,
    /// The port.
    pub port: u16,
    /// The process, as far as it can be seen.
    pub process: Option<String>,
}

/// The members' secret, without what it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SecretFacts {
    /// Where it is looked for.
    pub place: String,
    /// How many bytes it has, or why it cannot be read.
    pub bytes: Result<usize, String>,
}

/// What a running speaker knows.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SpeakerFacts {
    /// Its version.
    pub version: String,
    /// Where it looks for the members' secret; `None`: it asks for none.
    pub secret: Option<String>,
    /// As `ctl status` has it.
    pub state: String,
    /// What it calls wrong.
    pub problems: Vec<String>,
    /// Links that the program is not on, with why.
    pub unattached: BTreeMap<String, String>,
    /// What stands between it and the API server, by kind.
    pub api_troubles: BTreeMap<String, String>,
    /// Speakers that something was sent to and nothing came from.
    pub unheard: Vec<String>,
    /// Speakers whose settings differ.
    pub other_rules: Vec<String>,
    /// Somebody else has its name.
    pub is_name_taken: bool,
    /// Pools: name, and first and last address of each range.
    pub pools: BTreeMap<String, Vec<(IpAddr, IpAddr)>>,
    /// Pools that BGP is told of.
    pub routed_pools: BTreeSet<String>,
    /// Addresses of nodes by name.
    pub nodes: BTreeMap<String, Vec<IpAddr>>,
    /// Addresses of BGP peers by name.
    pub peers: BTreeMap<String, IpAddr>,
    /// VIPs that are known here.
    pub vips: BTreeSet<IpAddr>,
}

impl SpeakerFacts {
    /// What the objects in force say; the rest is for who knows the process.
    pub fn of_world(world: &World) -> Self {
        let pool = |pool: &Arc<Pool>| {
            let ranges = pool.ranges.iter().map(|range| (range.first, range.last));
            (pool.name.clone(), ranges.collect())
        };
        let is_routed = |pool: &&Arc<Pool>| {
            let mut ads = world.bgp_advertisements.values();
            ads.any(|ad| serves(&ad.pools, &ad.pool_selectors, pool))
        };
        let peers = world
            .bgp_peers
            .values()
            .filter_map(|peer| match peer.remote {
                Remote::Address { ip, .. } => Some((peer.name.clone(), ip)),
                Remote::Interface(_) => None,
            });
        let nodes = world.nodes.values();
        Self {
            pools: world.pools.values().map(pool).collect(),
            routed_pools: world
                .pools
                .values()
                .filter(is_routed)
                .map(|pool| pool.name.clone())
                .collect(),
            nodes: nodes
                .map(|node| (node.name.to_string(), node.addresses.clone()))
                .collect(),
            peers: peers.collect(),
            ..Self::default()
        }
    }
}

impl LinkFacts {
    /// Whether it joins pods, or carries their packets, by its kind. A part of a bridge counts with that.
    pub fn is_of_pods(&self) -> bool {
        let kind = self.kind.as_str();
        let is_tunnel = TUNNELS.iter().any(|(tunnel, _)| *tunnel == kind);
        self.part_of.is_none() && (is_tunnel || kind == "bridge" || kind == "veth")
    }
}

impl Facts {
    /// A setting by its path below `/proc/sys`.
    pub fn sysctl(&self, path: &str) -> Option<i64> {
        self.sysctls.get(path).copied()
    }

    /// A setting of a link of which the kernel takes the larger of the link's and that for all.
    pub fn larger(&self, family: &str, link: &str, name: &str) -> Option<i64> {
        let of = |conf: &str| self.sysctl(&format!("net/{family}/conf/{conf}/{name}"));
        of(link).into_iter().chain(of("all")).max()
    }

    /// Links that may announce.
    pub fn announcing(&self) -> impl Iterator<Item = (&str, &LinkFacts)> {
        let links = self.links.iter().filter(|(_, link)| link.announces);
        links.map(|(name, link)| (name.as_str(), link))
    }

    /// The device on which kube-proxy in IPVS mode has its addresses.
    pub fn has_ipvs(&self) -> bool {
        self.links.contains_key(IPVS)
    }
}

/// What kube-proxy calls its device.
pub const IPVS: &str = "kube-ipvs0";
/// Kinds that carry pods' packets in others, with the bytes of that over IPv4.
pub(super) const TUNNELS: [(&str, u32); 5] = [
    ("vxlan", 50),
    ("geneve", 50),
    ("ipip", 20),
    ("sit", 20),
    ("wireguard", 60),
];
