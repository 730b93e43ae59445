//! The figures of a speaker at one moment, before anything of Prometheus.

use speaker_core::allocator::Usage;
use speaker_proto::bgp::session::Messages;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Everything that the metrics are made from.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Figures {
    /// The name of this node.
    pub(crate) node: String,
    /// Addresses of each service announced from here, by `namespace/name`.
    pub(crate) announced: BTreeMap<String, Vec<IpAddr>>,
    /// Addresses of each service announced by BGP, by `namespace/name`: of their prefixes, the first ones.
    pub(crate) routed: BTreeMap<String, Vec<IpAddr>>,
    /// By VIP, summed over the links.
    pub(crate) vips: BTreeMap<IpAddr, VipFigures>,
    /// By pool; empty unless this speaker gives addresses.
    pub(crate) pools: BTreeMap<String, PoolFigures>,
    /// Frames that belong to no VIP, by what they are counted as.
    pub(crate) globals: BTreeMap<&'static str, u64>,
    /// Packets of VIPs that move, by what became of them.
    pub(crate) passages: BTreeMap<&'static str, u64>,
    /// Packets of VIPs that are spread, by what became of them.
    pub(crate) steered: BTreeMap<&'static str, u64>,
    /// Packets to and from other segments, by what became of them.
    pub(crate) tunnelled: BTreeMap<&'static str, u64>,
    /// Connections and datagrams for VIPs, by whether a socket got them.
    pub(crate) listening: BTreeMap<&'static str, u64>,
    /// Packets of VIPs with options, by what was done with them.
    pub(crate) opted: BTreeMap<&'static str, u64>,
    /// What nodes got of VIPs that are spread, by VIP, link and node: packets and bytes.
    pub(crate) shares: BTreeMap<(IpAddr, String, String), (u64, u64)>,
    /// Questions to nodes whether they are on a link's segment, by what became of them.
    pub(crate) neighbours: BTreeMap<&'static str, u64>,
    /// Where the program is, by link; `None`: nowhere.
    pub(crate) links: BTreeMap<String, Option<String>>,
    /// Faulty objects, by kind.
    pub(crate) problems: BTreeMap<String, u64>,
    /// Whether every kind of object has been seen whole.
    pub(crate) is_config_loaded: bool,
    /// Whether some object in force is older than what its file says.
    pub(crate) is_config_stale: bool,
    /// Changes of objects taken so far.
    pub(crate) updates: u64,
    /// Of those, the faulty ones.
    pub(crate) update_errors: u64,
    /// Seconds until the node-wide deadline; negative: since it passed. `None`: never armed.
    pub(crate) deadline_s: Option<f64>,
    /// Whether this node is drained.
    pub(crate) is_draining: bool,
    /// Entries in the kernel's table of VIPs.
    pub(crate) entries: u64,
    /// Plans applied.
    pub(crate) plans: u64,
    /// Plans that failed to apply.
    pub(crate) plan_failures: u64,
    /// Seconds that the last plan took from decision to the last write.
    pub(crate) plan_s: f64,
    /// Writes to the kernel's tables.
    pub(crate) writes: u64,
    /// Writes that mended what somebody else had changed.
    pub(crate) repairs: u64,
    /// Seconds from hearing of the last change that mattered to the last write for it.
    pub(crate) reaction_s: f64,
    /// Services that this node began to announce.
    pub(crate) won: u64,
    /// Services that it ceased to announce.
    pub(crate) lost: u64,
    /// What happened to groups of VIPs, by the event's name in the log.
    pub(crate) groups: BTreeMap<&'static str, u64>,
    /// Takings of groups by their ground, with the seconds that all of them took.
    pub(crate) takings: BTreeMap<&'static str, (u64, f64)>,
    /// The other speakers.
    pub(crate) members: MemberFigures,
    /// Probes, by what became of them.
    pub(crate) probes: BTreeMap<&'static str, u64>,
    /// Groups whose holder does not answer for them where this node asks.
    pub(crate) unanswered: u64,
    /// Groups that this node should ask for while others hold them, and has no room for.
    pub(crate) unwatched: u64,
    /// Claims of others that were heard, by whether they could be used.
    pub(crate) heard: BTreeMap<&'static str, u64>,
    /// The connection to the API server; `None`: there is none.
    pub(crate) api: Option<ApiFigures>,
    /// BGP peers.
    pub(crate) bgp: Vec<BgpFigures>,
    /// Connections that no BGP peer dialled or that too many did, by cause; none where nobody may dial.
    pub(crate) bgp_unwelcome: BTreeMap<&'static str, u64>,
    /// BGP peers by name, and whether each is left to another speaker of this node.
    pub(crate) bgp_foreign: BTreeMap<String, bool>,
    /// BFD sessions.
    pub(crate) bfd: Vec<BfdFigures>,
    /// Packets of BFD that were not taken, by cause.
    pub(crate) bfd_discarded: BTreeMap<&'static str, u64>,
    /// Sessions also have the names that frr-k8s gives them.
    pub(crate) has_frr_k8s_names: bool,
}

/// One BFD session.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct BfdFigures {
    /// The peer's address.
    pub(crate) peer: String,
    /// Its VRF.
    pub(crate) vrf: String,
    /// Whether it is up.
    pub(crate) is_up: bool,
    /// Packets taken.
    pub(crate) received: u64,
    /// Packets sent.
    pub(crate) sent: u64,
    /// How often it came up.
    pub(crate) ups: u64,
    /// How often it went down.
    pub(crate) downs: u64,
}

/// What passes between this speaker and one BGP peer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct BgpFigures {
    /// The peer's address and port.
    pub(crate) peer: String,
    /// Its address alone, or its link.
    pub(crate) address: String,
    /// Its VRF.
    pub(crate) vrf: String,
    /// Whether the session is up.
    pub(crate) is_up: bool,
    /// Whether an operator paused it.
    pub(crate) is_paused: bool,
    /// Prefixes that the peer was told and that stand.
    pub(crate) announced: u64,
    /// Prefixes that it is still to be told of.
    pub(crate) pending: u64,
    /// Prefixes that it announced and did not withdraw.
    pub(crate) received: u64,
    /// Messages sent, by type.
    pub(crate) sent: Messages,
    /// Messages received, by type.
    pub(crate) got: Messages,
    /// UPDATEs with errors that the session survived.
    pub(crate) forgiven: u64,
    /// How often the session went down.
    pub(crate) dropped: u64,
}

/// What passes between this speaker and the others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct MemberFigures {
    /// There is no secret yet.
    pub(crate) is_waiting: bool,
    /// Other members, by standing.
    pub(crate) standings: BTreeMap<&'static str, u64>,
    /// Live members that watch this node.
    pub(crate) observers: u64,
    /// Members and addresses that were sent to and never heard.
    pub(crate) unheard: BTreeSet<String>,
    /// Datagrams sent.
    pub(crate) sent: u64,
    /// Authentic datagrams that came.
    pub(crate) received: u64,
    /// Datagrams that the network stack did not take.
    pub(crate) send_failures: u64,
    /// Datagrams that were not believed or could not be used, by cause.
    pub(crate) dropped: BTreeMap<&'static str, u64>,
    /// What else happened, by what it was.
    pub(crate) events: BTreeMap<&'static str, u64>,
}

/// How the connection to the API server fares.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct ApiFigures {
    /// Requests sent.
    pub(crate) requests: u64,
    /// Those that came to nothing.
    pub(crate) failures: u64,
    /// Events that reached no API server.
    pub(crate) events_lost: u64,
    /// Age of the objects kept from before, in seconds, while they are in force; else 0.
    pub(crate) stale_s: f64,
    /// Seconds since the API server last said anything about a kind, by kind.
    pub(crate) ages_s: BTreeMap<&'static str, f64>,
}

/// What became of the frames for one VIP.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct VipFigures {
    /// Neighbour frames, by what became of them.
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
    /// Gratuitous frames sent.
    pub(crate) gratuitous: u64,
    /// Frames handed to the stack.
    pub(crate) packets: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// How full a pool is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PoolFigures {
    /// IPv4 addresses in use.
    pub(crate) used_v4: i64,
    /// IPv6 addresses in use.
    pub(crate) used_v6: i64,
    /// All its IPv4 addresses.
    pub(crate) total_v4: i64,
    /// All its IPv6 addresses, as far as the number goes.
    pub(crate) total_v6: i64,
}

impl From<Usage> for PoolFigures {
    fn from(usage: Usage) -> Self {
        Self {
            used_v4: usage.assigned_v4,
            used_v6: usage.assigned_v6,
            total_v4: usage.assigned_v4.wrapping_add(usage.available_v4),
            total_v6: usage.assigned_v6.wrapping_add(usage.available_v6),
        }
    }
}

impl VipFigures {
    /// Requests for it while this node was to answer, whether or not it did.
    pub(super) fn requests(&self) -> u64 {
        REQUESTS.iter().map(|name| self.outcome(name)).sum()
    }

    /// Replies sent.
    pub(super) fn responses(&self) -> u64 {
        self.outcome("answered")
    }

    fn outcome(&self, name: &str) -> u64 {
        self.outcomes.get(name).copied().unwrap_or_default()
    }
}

/// What a request is counted as where this node holds the VIP.
const REQUESTS: [&str; 5] = ["answered", "limited", "fenced", "lapsed", "draining"];
