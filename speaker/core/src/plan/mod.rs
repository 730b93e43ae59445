//! What should be true of this node, from what the world is.
//!
//! [`elected`] is a wish: the groups that this node should hold. What it does hold ([`Held`]) is the fact, and [`plan`] goes
//! by that. Both are pure; [`Memo`] only saves working the same thing out twice. Nothing here knows of kernel tables,
//! time, or how a group is taken. The rules of layer 2 are MetalLB's (its page on layer 2 mode).

mod bgp;
mod demand;
mod explain;
mod group;
mod l2;
mod moves;
mod options;
mod overlay;
mod passed;
mod placement;
mod ranks;
mod reason;
mod routes;
mod setting;
mod sharing;
mod socket;
mod steering;
mod text;
mod told;
mod wishes;

#[cfg(test)]
mod tests;

use crate::key::Kind;
use crate::link::LinkName;
use crate::local::Local;
pub use crate::members::Members;
use crate::problem::Problem;
use crate::service::ServiceId;
use crate::world::World;
use bgp::BgpPlan;
use demand::Demands;
use group::{Group, Groups};
use ranks::Ranks;
use setting::Setting;
pub(crate) use setting::{places_otherwise, serves};
use speaker_ebpf::abi::Mode;
use speaker_ebpf::abi::options::Closed;
use speaker_proto::bgp::Prefix;
pub use speaker_proto::hold::{Hold, Holding, Wishes};
use speaker_proto::shared_map::SharedMap;
use speaker_proto::{Epoch, GroupKey, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use told::Told;

pub use bgp::{
    Attribute, BfdSettings, BgpExplanation, Conflict, JudgedAdvertisement, JudgedPeer, Obstacle,
    PasswordFrom, PeerName, PeerPlan, PeerSettings, Unrouted,
};
pub use explain::{
    Explanation, Judged, JudgedLink, JudgedOption, JudgedSocket, JudgedSpread, explain,
};
pub use moves::{L2Move, L2Moves, link_of, moves};
pub use options::{Ports, Sources};
pub use overlay::{beyond, overlay};
pub use passed::{Passed, passed_over};
pub use reason::{Reason, Unfit, Unmatched};
pub use routes::{routed_vips, routes};
pub use socket::Served;
pub use steering::{Shares, Steering, prospects, shares};
pub use wishes::{heirs, lines, places, wishes};

/// The facts about every group that this node has to do with; absent is `Free`.
pub type Held = BTreeMap<GroupKey, Holding>;

/// Entries of the VIP table.
pub type Entries = SharedMap<(Vip, LinkName), L2Entry>;

/// What should be true of this node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Whether every kind of object had been seen whole. If not, the plan has no entries and must not be applied:
    /// whatever was in force stays in force.
    pub is_complete: bool,
    /// Entries of the VIP table.
    pub l2: Entries,
    /// Where packets of VIPs that move go; empty unless something moved lately.
    pub moves: L2Moves,
    /// How packets are spread over nodes. `None`: it is not known yet who can be reached; what was in force stays in force.
    pub steering: Option<Steering>,
    /// What sockets of this node serve.
    pub served: Served,
    /// What else is done with packets of VIPs, on every link; those of which nobody asks for anything are left out.
    pub options: BTreeMap<Vip, VipOptions>,
    /// What became of every service in layer 2 and why.
    pub outcomes: SharedMap<ServiceId, Outcome>,
    /// The BGP peers of this node: what their sessions are to be like and what they are to be told.
    pub bgp: BTreeMap<PeerName, PeerPlan>,
    /// What became of every service in BGP and why; empty while there is no BGPAdvertisement.
    pub bgp_outcomes: SharedMap<ServiceId, BgpOutcome>,
    /// What is wrong between objects that are each sound.
    pub problems: BTreeSet<Problem>,
}

/// What a holder does with packets of a VIP by option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VipOptions {
    /// What becomes of packets to ports that none of its services has.
    pub closed: Closed,
    /// Pings are answered.
    pub is_echo: bool,
    /// The ports that its services have, and the sources that each is served to.
    pub ports: Ports,
    /// A service of it that does not ask for what another one asks for, which is not done then.
    pub disagrees: Option<ServiceId>,
}

/// One entry of the VIP table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct L2Entry {
    /// What the program does.
    pub mode: Mode,
    /// Which taking; 0 in mode known.
    pub epoch: Epoch,
    /// The group that it belongs to.
    pub group: GroupKey,
    /// This node is elected, or one of the two that would be next, and the kernel is to hear questions for it there (L6.6).
    pub is_near: bool,
    /// Routes bring its packets here, whoever holds it.
    pub is_routed: bool,
}

impl L2Entry {
    /// The same where routes bring its packets too.
    #[must_use]
    pub const fn routed(self) -> Self {
        Self {
            is_routed: true,
            ..self
        }
    }

    /// Whether this node deals with packets that come for it.
    pub const fn takes_packets(&self) -> bool {
        self.is_routed || matches!(self.mode, Mode::Answer | Mode::Draining)
    }
}

/// What became of a service on this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// This node answers for it.
    Announced(Announced),
    /// It does not, because of this.
    Silent(Reason),
}

/// What this node answers for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    /// Its group.
    pub group: GroupKey,
    /// Which taking of the group.
    pub epoch: Epoch,
    /// Its VIPs, in the order of the status, and the links that each is answered on; a VIP may have none while another has.
    pub vips: Vec<(Vip, Vec<LinkName>)>,
    /// Links that the advertisements list but this node does not have.
    pub missing: Vec<LinkName>,
    /// Links that the advertisements list, by name; none: they mean all.
    pub listed: Vec<LinkName>,
}

/// Pure results remembered between calls, by everything they depend on. It never changes what a call returns.
#[derive(Clone, Debug, Default)]
pub struct Memo {
    setting: Option<Setting>,
    demands: Demands,
    groups: Groups,
    ranks: Ranks,
    wished: wishes::Wished,
    told: Told,
    bgp: bgp::Memory,
}

/// What became of a service on this node as far as BGP is concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BgpOutcome {
    /// Some peer is to be told of it, if its session is up.
    Announced(Arc<BgpAnnounced>),
    /// None is, because of this.
    Silent(Reason),
}

/// What peers are told of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BgpAnnounced {
    /// Its addresses of which some peer is told, in the order of the status.
    pub vips: Vec<Vip>,
    /// The prefixes in which its addresses are announced, rising.
    pub prefixes: Vec<Prefix>,
    /// The peers that are told of some of them. Shared by services that have the same.
    pub peers: Arc<BTreeSet<PeerName>>,
    /// Its addresses of which no peer is told, because none of those peers carries their family.
    pub left_out: Vec<Vip>,
}

/// The groups that this node should hold: those whose election it wins. Means nothing before the world is synced.
pub fn elected(
    world: &World,
    members: &Members,
    local: &Local,
    memo: &mut Memo,
) -> BTreeSet<GroupKey> {
    let survey = memo.survey(world, members, local);
    let groups = survey.groups.list.iter();
    let won = groups.filter(|group| group.owner.as_ref() == Some(&local.node));
    won.map(|group| group.key).collect()
}

/// What should be true of this node, but for [`moves`], [`routes`] and steering.
pub fn plan(world: &World, members: &Members, held: &Held, local: &Local, memo: &mut Memo) -> Plan {
    if let Some(kind) = missing_kind(world) {
        return incomplete(world, kind);
    }
    let mut told = std::mem::take(&mut memo.told);
    let survey = memo.survey(world, members, local);
    told.renew(&survey, held, local);
    let mut plan = Plan {
        is_complete: true,
        l2: told.entries.clone(),
        outcomes: told.outcomes.clone(),
        served: socket::served(&survey, local, world.assignments.is_some()),
        options: options::options(&survey),
        problems: survey.problems(),
        ..Plan::default()
    };
    memo.told = told;
    let bgp = memo.bgp(world, local);
    plan.bgp = bgp.peers;
    plan.bgp_outcomes = bgp.outcomes;
    let between = world.config_problems();
    plan.problems
        .extend(bgp.problems.into_iter().chain(between));
    plan
}

/// The first kind that has not been seen whole.
fn missing_kind(world: &World) -> Option<Kind> {
    Kind::ALL
        .into_iter()
        .find(|kind| !world.synced.contains(kind))
}

fn incomplete(world: &World, kind: Kind) -> Plan {
    let silent = || Outcome::Silent(Reason::NotSynced(kind));
    Plan {
        outcomes: world
            .services
            .keys()
            .map(|id| (id.clone(), silent()))
            .collect(),
        ..Plan::default()
    }
}

/// Everything that does not depend on what this node holds.
struct Survey<'m> {
    setting: &'m Setting,
    demands: &'m Demands,
    groups: &'m Groups,
}

impl Memo {
    /// As the last call left it; `None` before the first.
    fn survey_as_is(&self) -> Option<Survey<'_>> {
        Some(Survey {
            setting: self.setting.as_ref()?,
            demands: &self.demands,
            groups: &self.groups,
        })
    }

    fn survey(&mut self, world: &World, members: &Members, local: &Local) -> Survey<'_> {
        self.advance(world, members, local, usize::MAX);
        let setting = self.setting.as_ref().expect("advancing leaves a setting");
        let otherwise = setting.places_otherwise().then_some(local.rules.placement);
        self.groups
            .place(&self.demands.list, otherwise, members, &mut self.ranks);
        Survey {
            setting,
            demands: &self.demands,
            groups: &self.groups,
        }
    }

    /// The story of the service at a place in BGP, from the demands that are there.
    fn bgp_story(&self, world: &World, local: &Local, place: usize) -> Option<BgpExplanation> {
        let demands = &self.demands.list;
        bgp::explain(world, local, demands, &self.groups.duplicates, place)
    }

    /// With only the group of one service elected, and the place of that service.
    fn survey_one(
        &mut self,
        world: &World,
        members: &Members,
        local: &Local,
        service: &ServiceId,
    ) -> Option<(Survey<'_>, usize)> {
        self.advance(world, members, local, 0);
        let demands = &self.demands.list;
        let i = demands
            .binary_search_by(|demand| demand.id().cmp(service))
            .ok()?;
        self.groups.elect_for(i, demands, &mut self.ranks);
        let survey = Survey {
            setting: self.setting.as_ref()?,
            demands: &self.demands,
            groups: &self.groups,
        };
        Some((survey, i))
    }

    /// What BGP is to say of services whose demands are up to date.
    fn bgp(&mut self, world: &World, local: &Local) -> BgpPlan {
        let demands = &self.demands.list;
        bgp::plan(
            world,
            local,
            demands,
            &self.groups.duplicates,
            &mut self.bgp,
        )
    }

    fn advance(
        &mut self,
        world: &World,
        members: &Members,
        local: &Local,
        hashes_max: usize,
    ) -> bool {
        let kept = self
            .setting
            .take()
            .filter(|s| s.is_of(world, members, local));
        let is_new = kept.is_none();
        let old = std::mem::take(&mut self.demands);
        let demands = if is_new { Demands::default() } else { old };
        let setting = kept.unwrap_or_else(|| Setting::new(world, members, local));
        let setting = self.setting.insert(setting);
        if is_new {
            self.ranks.meet(setting.rules.election, &setting.everyone());
        }
        self.demands = demand::demands(setting, world, demands);
        if is_new || self.demands.is_regrouped {
            self.groups = self.groups.sorted(&self.demands.list);
            self.ranks
                .keep(&self.groups.list.iter().map(|g| g.key).collect());
        }
        self.groups
            .elect(&self.demands, &mut self.ranks, hashes_max)
    }
}

/// Does a part of the work of the next [`elected`] or [`plan`], and says whether all of it is done. Ranking thousands of nodes
/// for each of thousands of groups takes a second or two the first time, which is longer than a deciding thread may
/// be away: it calls this with `hashes_max` (some 10 hashes a microsecond) until it returns true.
pub fn prepare(
    world: &World,
    members: &Members,
    local: &Local,
    memo: &mut Memo,
    hashes_max: usize,
) -> bool {
    memo.advance(world, members, local, hashes_max)
}

impl Survey<'_> {
    /// The groups of which some service asks for something that is done with packets, by key.
    fn asking(&self) -> impl Iterator<Item = &Group> {
        let asking = self.demands.asking.iter();
        let groups: BTreeSet<usize> = asking.filter_map(|i| self.groups.of[*i]).collect();
        groups.into_iter().map(|at| &self.groups.list[at])
    }

    fn problems(&self) -> BTreeSet<Problem> {
        let own = self.demands.troubled.iter();
        let own = own.flat_map(|i| &self.demands.list[*i].problems).cloned();
        let duplicates = self.groups.duplicates.iter().map(|(i, reason)| {
            demand::problem(
                &self.demands.list[*i].service,
                "status.loadBalancer",
                reason,
            )
        });
        own.chain(duplicates).collect()
    }
}
