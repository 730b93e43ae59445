//! What answers are made from.

use super::peers::{BfdSight, BgpSight};
use crate::dataplane::{
    self, AttachReport, FlowsSight, GlobalCount, LinkSight, MapSight, ShareSight, SlotSight,
};
use anyhow::Result;
use serde::Serialize;
use speaker_core::plan::{Held, Plan};
use speaker_core::tables::SteeringContent;
use speaker_core::{Local, Members, Problem, World};
use speaker_proto::NodeName;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// Everything that the speaker knows at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// When the process started.
    pub(crate) started: SystemTime,
    /// What it was told at the start, by name.
    pub(crate) settings: BTreeMap<&'static str, String>,
    /// The objects in force.
    pub(crate) world: Arc<World>,
    /// The plan in force.
    pub(crate) plan: Arc<Plan>,
    /// What this node knows of itself.
    pub(crate) local: Local,
    /// What it holds.
    pub(crate) held: Held,
    /// Whom it knows to be alive, itself included.
    pub(crate) alive: Members,
    /// The tables of steering, as they were written.
    pub(crate) steering: SteeringContent,
    /// The nodes that those name by number.
    pub(crate) numbers: BTreeMap<NodeName, u16>,
    /// What is wrong besides objects and the plan.
    pub(crate) problems: Vec<Problem>,
    /// Whether a deadline is in force.
    pub(crate) is_armed: bool,
    /// Whether this process gives addresses.
    pub(crate) allocates: bool,
    /// Where the program is, and what was tried.
    pub(crate) attached: Vec<AttachReport>,
    /// How the API server is followed; `None`: objects come from a directory.
    pub(crate) api: Option<ApiState>,
    /// The other speakers.
    pub(crate) members: MembersSight,
    /// BGP peers.
    pub(crate) bgp: BgpSight,
    /// BFD, which watches them.
    pub(crate) bfd: BfdSight,
    /// What was done so far, by name.
    pub(crate) work: BTreeMap<&'static str, u64>,
}

/// How the API server is followed.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct ApiState {
    /// Age of the objects kept from before the start, in seconds, while they are in force.
    pub(crate) stale_s: Option<f64>,
    /// Seconds since the API server last said anything, by kind.
    pub(crate) ages_s: BTreeMap<&'static str, f64>,
    /// What stands in the way, by kind.
    pub(crate) troubles: BTreeMap<&'static str, String>,
}

/// The other speakers as this one knows them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct MembersSight {
    /// Where the secret is looked for; `None`: none is asked for.
    pub(crate) secret: Option<String>,
    /// There is no secret yet: this speaker is neither heard nor hears.
    pub(crate) is_waiting: bool,
    /// What names the newest secret here, in hexadecimal digits.
    pub(crate) key: Option<String>,
    /// It is known who is there and what each holds.
    pub(crate) is_settled: bool,
    /// Another process uses this node's name.
    pub(crate) is_name_taken: bool,
    /// Live members that watch this node.
    pub(crate) observers: usize,
    /// Everyone that is known, and addresses where somebody was looked for in vain.
    pub(crate) members: Vec<MemberSight>,
}

/// Another speaker.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct MemberSight {
    /// Its node; empty: only an address is known.
    pub(crate) name: String,
    /// `alive`, `dead`, `left` or `unknown`.
    pub(crate) standing: &'static str,
    /// Where it says that it hears.
    pub(crate) addresses: Vec<String>,
    /// Milliseconds since anything came from it; `None`: nothing did.
    pub(crate) heard_ms_ago: Option<u64>,
    /// Datagrams to it.
    pub(crate) sent: u64,
    /// Authentic datagrams from it.
    pub(crate) heard: u64,
    /// Something was sent, and nothing ever came back.
    pub(crate) is_unheard: bool,
    /// Whether it can be reached now, as far as is known.
    pub(crate) is_reachable: bool,
    /// Groups of VIPs that it has to do with.
    pub(crate) held: usize,
    /// Its links that can answer.
    pub(crate) links: Vec<String>,
    /// The version of its software.
    pub(crate) version: String,
    /// Its settings differ where they must not.
    pub(crate) has_other_rules: bool,
    /// It gives everything away.
    pub(crate) is_draining: bool,
    /// Its view of the objects is old.
    pub(crate) is_stale: bool,
    /// What names the newest secret there; `None`: it does not say.
    pub(crate) key: Option<String>,
    /// That is another one than here.
    pub(crate) has_other_key: bool,
}

impl Snapshot {
    /// Everything that is wrong.
    pub(super) fn all_problems(&self) -> BTreeSet<&Problem> {
        let world = self.world.problems.values();
        world
            .chain(&self.plan.problems)
            .chain(&self.problems)
            .collect()
    }

    /// `waiting` without the members' secret, `reading` before every kind was seen, `silent` without a deadline, else `serving`.
    pub(super) fn state(&self) -> &'static str {
        match (self.world.is_synced(), self.is_armed) {
            _ if self.members.is_waiting => "waiting",
            (false, _) => "reading",
            (true, false) => "silent",
            (true, true) => "serving",
        }
    }

    /// The services of every address.
    pub(super) fn services_by_address(&self) -> BTreeMap<IpAddr, Vec<String>> {
        let mut by_address: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
        for (id, service) in &self.world.services {
            let given = self
                .world
                .assignments
                .as_ref()
                .and_then(|given| given.get(id));
            let ips: Vec<IpAddr> = match given {
                Some(assignment) => assignment.ips.clone(),
                None => service.ingress.iter().flatten().copied().collect(),
            };
            for ip in ips {
                by_address.entry(ip).or_default().push(id.to_string());
            }
        }
        by_address
    }

    /// The name of a link that may announce.
    pub(super) fn link_name(&self, ifindex: u32) -> String {
        let links = self.local.links.iter();
        let known = links
            .filter(|(_, link)| link.ifindex == ifindex)
            .map(|(name, _)| name.to_string());
        let attached = self
            .attached
            .iter()
            .filter(|report| report.ifindex == ifindex);
        let mut names = known.chain(attached.map(|report| report.link.clone()));
        names.next().unwrap_or_else(|| format!("#{ifindex}"))
    }
}

/// What the kernel holds, read and never written.
pub(crate) trait Sight: Send + Sync {
    /// The node-wide deadline in BOOTTIME nanoseconds; 0: never armed.
    fn deadline_ns(&self) -> Result<u64>;
    /// Every VIP on every link.
    fn slots(&self) -> Result<Vec<SlotSight>>;
    /// Counters that belong to no VIP.
    fn globals(&self) -> Result<Vec<GlobalCount>>;
    /// What became of packets for VIPs that move.
    fn passages(&self) -> Result<Vec<GlobalCount>>;
    /// What became of packets for VIPs that are spread.
    fn steered(&self) -> Result<Vec<GlobalCount>>;
    /// What became of packets to and from other segments.
    fn tunnelled(&self) -> Result<Vec<GlobalCount>>;
    /// What became of connections and datagrams for VIPs, as far as sockets go.
    fn listening(&self) -> Result<Vec<GlobalCount>>;
    /// What was done with packets by options of their VIPs.
    fn opted(&self) -> Result<Vec<GlobalCount>>;
    /// What each node got of each VIP that is spread.
    fn shares(&self) -> Result<Vec<ShareSight>>;
    /// Some of the flows that are remembered, and whether those are all.
    fn flows(&self) -> Result<FlowsSight>;
    /// Every pinned map.
    fn maps(&self) -> Result<Vec<MapSight>>;
    /// Every link that the program is attached to.
    fn links(&self) -> Result<Vec<LinkSight>>;
}

impl Sight for dataplane::Sight {
    fn deadline_ns(&self) -> Result<u64> {
        Self::deadline_ns(self)
    }

    fn slots(&self) -> Result<Vec<SlotSight>> {
        Self::slots(self)
    }

    fn globals(&self) -> Result<Vec<GlobalCount>> {
        Self::globals(self)
    }

    fn passages(&self) -> Result<Vec<GlobalCount>> {
        Self::passages(self)
    }

    fn steered(&self) -> Result<Vec<GlobalCount>> {
        Self::steered(self)
    }

    fn tunnelled(&self) -> Result<Vec<GlobalCount>> {
        Self::tunnelled(self)
    }

    fn listening(&self) -> Result<Vec<GlobalCount>> {
        Self::listening(self)
    }

    fn opted(&self) -> Result<Vec<GlobalCount>> {
        Self::opted(self)
    }

    fn shares(&self) -> Result<Vec<ShareSight>> {
        Self::shares(self)
    }

    fn flows(&self) -> Result<FlowsSight> {
        Self::flows(self)
    }

    fn maps(&self) -> Result<Vec<MapSight>> {
        Self::maps(self)
    }

    fn links(&self) -> Result<Vec<LinkSight>> {
        Self::links(self)
    }
}
