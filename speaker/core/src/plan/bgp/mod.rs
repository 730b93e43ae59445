//! Which BGP peers this node has, what their sessions are to be like, and which routes each of them gets.
//!
//! All of it follows from the world and from what this node knows of itself. Nothing here knows of sessions: whether a peer is
//! up, what it said, and how a drain is told to it (GRACEFUL_SHUTDOWN, then withdrawal) is up to the machine that runs the session.
//! The rules are those of MetalLB's page on BGP mode.

mod bid;
mod explain;
mod peer;
mod reason;
mod session;
mod setting;
mod table;
mod terms;
mod text;

pub(super) use explain::explain;
pub use explain::{BgpExplanation, JudgedAdvertisement, JudgedPeer};
pub use peer::{BfdSettings, Obstacle, PasswordFrom, PeerName, PeerPlan, PeerSettings};
pub use reason::{Conflict, Unrouted};
pub use terms::Attribute;
pub(super) use text::sections;

use super::demand::Demand;
use super::{BgpOutcome, Reason};
use crate::local::Local;
use crate::problem::Problem;
use crate::service::ServiceId;
use crate::world::World;
use bid::{Bid, bid};
use setting::{Setting, Store};
use speaker_proto::bgp::Routes;
use speaker_proto::shared_map::SharedMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use table::Table;

/// What a service asks for, and the demand that it was worked out from.
type Placed = (Arc<Demand>, Arc<Bid>);

/// What is remembered between calls; it never changes what a call returns.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    setting: Option<Setting>,
    /// What each service asks for, in the order of demands.
    bids: Vec<Placed>,
    routes: BTreeMap<PeerName, Arc<Routes>>,
    /// As the last plan had them: nearly all stay, and cost little to compare if they are shared.
    outcomes: SharedMap<ServiceId, BgpOutcome>,
}

/// The part of the plan that is about BGP.
#[derive(Debug, Default)]
pub(super) struct BgpPlan {
    pub(super) peers: BTreeMap<PeerName, PeerPlan>,
    pub(super) outcomes: SharedMap<ServiceId, BgpOutcome>,
    pub(super) problems: Vec<Problem>,
}

/// What BGP is to say of services; `duplicates` are those whose address an older one holds, by place.
pub(super) fn plan(
    world: &World,
    local: &Local,
    demands: &[Arc<Demand>],
    duplicates: &BTreeMap<usize, Reason>,
    memory: &mut Memory,
) -> BgpPlan {
    let is_used = world.bgp_advertisements.iter().len() > 0;
    if !is_used && world.bgp_peers.iter().len() == 0 {
        *memory = Memory::default();
        return BgpPlan::default();
    }
    memory.advance(world, local, if is_used { demands } else { &[] });
    memory.decide(duplicates)
}

impl Memory {
    fn advance(&mut self, world: &World, local: &Local, demands: &[Arc<Demand>]) {
        let old = self.setting.take();
        let setting = match old {
            Some(setting) if setting.is_of(world, local) => setting,
            old => {
                self.bids.clear();
                let store = old.map_or_else(Store::default, Setting::into_store);
                Setting::new(world, local, store)
            }
        };
        let setting = self.setting.insert(setting);
        let mut old = std::mem::take(&mut self.bids).into_iter().peekable();
        self.bids.reserve(demands.len());
        for demand in demands {
            while old
                .next_if(|(before, _)| before.id() < demand.id())
                .is_some()
            {}
            let kept = old.next_if(|(before, _)| Arc::ptr_eq(before, demand));
            self.bids.push(kept.unwrap_or_else(|| {
                let bid = bid(setting, demand);
                (Arc::clone(demand), Arc::new(bid))
            }));
        }
    }

    fn decide(&mut self, duplicates: &BTreeMap<usize, Reason>) -> BgpPlan {
        let setting = self.setting.as_mut().expect("advancing leaves a setting");
        let table = Table::of(setting, &self.bids, duplicates);
        let outcome = |place: usize, bid: &Bid| {
            let silent = duplicates
                .get(&place)
                .or_else(|| table.silenced.get(&place));
            match (silent, bid) {
                (Some(reason), _) | (None, Bid::Silent(reason)) => {
                    BgpOutcome::Silent(reason.clone())
                }
                (None, Bid::Offered(offer)) => BgpOutcome::Announced(Arc::clone(&offer.announced)),
            }
        };
        let outcomes = self.bids.iter().enumerate();
        let outcomes = outcomes.map(|(i, (d, bid))| (d.id(), outcome(i, bid)));
        self.outcomes.replace(outcomes);
        let problems = setting.problems.clone();
        BgpPlan {
            peers: self.peers(table.routes),
            outcomes: self.outcomes.clone(),
            problems,
        }
    }

    /// The peers with the routes of their audiences; the same value as before where nothing changed.
    fn peers(&mut self, routes: Vec<Routes>) -> BTreeMap<PeerName, PeerPlan> {
        let setting = self.setting.as_mut().expect("advancing leaves a setting");
        let mut shared = BTreeMap::new();
        for (audience, routes) in setting.audiences.iter().zip(routes) {
            let mut before = audience
                .peers
                .iter()
                .filter_map(|peer| self.routes.get(peer));
            let same = before.next().filter(|before| ***before == routes).cloned();
            let routes = same.unwrap_or_else(|| Arc::new(routes));
            let peers = audience.peers.iter().cloned();
            shared.extend(peers.map(|peer| (peer, Arc::clone(&routes))));
        }
        self.routes = shared;
        setting.tidy();
        let plan = |(name, settings): (&PeerName, &Result<_, _>)| {
            let plan = PeerPlan {
                settings: settings.clone(),
                routes: self.routes.get(name).cloned().unwrap_or_default(),
            };
            (name.clone(), plan)
        };
        setting.sessions.iter().map(plan).collect()
    }
}
