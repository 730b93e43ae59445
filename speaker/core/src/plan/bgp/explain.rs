//! Why BGP peers are or are not told of a service: every advertisement for its pool, and every peer of this node.

use super::bid::Bid;
use super::setting::{Audience, NOTHING, Setting};
use super::terms::Ad;
use super::{Memory, PeerName, plan};
use crate::local::Local;
use crate::plan::demand::Demand;
use crate::plan::{BgpOutcome, Reason};
use crate::world::World;
use serde::Serialize;
use speaker_proto::Vip;
use speaker_proto::bgp::{Family, Routes};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The whole story of one service on one node as far as BGP is concerned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BgpExplanation {
    /// Whether this node announces it.
    pub announced: bool,
    /// The deciding fact.
    pub because: String,
    /// What MetalLB's speaker calls the reason; absent if announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What would change it; absent if announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The BGPAdvertisements for its pool.
    pub advertisements: Vec<JudgedAdvertisement>,
    /// The peers of this node.
    pub peers: Vec<JudgedPeer>,
}

/// A BGPAdvertisement in the light of one service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct JudgedAdvertisement {
    /// Its name.
    pub advertisement: String,
    /// Whether it is for the service on this node.
    pub applies: bool,
    /// Why.
    pub because: String,
}

/// A peer in the light of one service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct JudgedPeer {
    /// Its name.
    pub peer: String,
    /// Prefixes that it is told of, with their attributes.
    pub routes: Vec<String>,
    /// Why there are none, or why it does not hear them now; absent if neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// The story of the service at a place; `None` while there is no BGPAdvertisement.
pub(in crate::plan) fn explain(
    world: &World,
    local: &Local,
    demands: &[Arc<Demand>],
    duplicates: &BTreeMap<usize, Reason>,
    place: usize,
) -> Option<BgpExplanation> {
    let mut memory = Memory::default();
    let plan = plan(world, local, demands, duplicates, &mut memory);
    let demand = &demands[place];
    let outcome = plan.outcomes.get(demand.id())?;
    let (reason, remedy) = match outcome {
        BgpOutcome::Announced(_) => (None, None),
        BgpOutcome::Silent(reason) => (Some(reason.metallb_name()), Some(reason.remedy())),
    };
    let setting = memory.setting.as_ref()?;
    let pool = demand.pool.as_deref().unwrap_or_default();
    let advertisements = setting.advertisements(pool).iter();
    Some(BgpExplanation {
        announced: reason.is_none(),
        because: outcome.to_string(),
        reason,
        remedy,
        advertisements: advertisements
            .map(|ad| advertisement(setting, demand, pool, *ad))
            .collect(),
        peers: memory.judged_peers(demand, place, outcome, |peer| &plan.peers[peer].routes),
    })
}

fn advertisement(setting: &Setting, demand: &Demand, pool: &str, ad: Ad) -> JudgedAdvertisement {
    let past = |ip| setting.overreach(pool, ip, setting.length(ad, ip));
    let overreach = demand.vips.iter().find_map(|vip| past(vip.0));
    let why_not = match setting.terms(ad) {
        None => Some("does not select this node".to_owned()),
        Some(_) if !setting.selects(ad, &demand.service) => {
            Some("does not select it by its labels".to_owned())
        }
        Some(Err(unready)) => Some(unready.words(NOTHING)),
        Some(Ok(_)) => overreach.map(|range| format!("would reach past {range}")),
    };
    JudgedAdvertisement {
        advertisement: setting.name(ad).to_owned(),
        applies: why_not.is_none(),
        because: why_not.unwrap_or_else(|| "applies".to_owned()),
    }
}

impl Memory {
    fn judged_peers<'r>(
        &self,
        demand: &Demand,
        place: usize,
        outcome: &BgpOutcome,
        routes: impl Fn(&PeerName) -> &'r Arc<Routes>,
    ) -> Vec<JudgedPeer> {
        let (Some(setting), Some((_, bid))) = (&self.setting, self.bids.get(place)) else {
            return Vec::new();
        };
        let offered = match (outcome, &**bid) {
            (BgpOutcome::Announced(_), Bid::Offered(offer)) => offer.routes.as_slice(),
            (BgpOutcome::Silent(_), _) | (BgpOutcome::Announced(_), Bid::Silent(_)) => &[],
        };
        let mut peers = Vec::new();
        for (at, audience) in setting.audiences.iter().enumerate() {
            let prefixes = offered.iter().filter(|route| route.audience == at);
            let prefixes: Vec<_> = prefixes.map(|route| route.prefix).collect();
            for peer in &audience.peers {
                let told = |prefix| Some(format!("{prefix} ({})", routes(peer).get(prefix)?));
                let obstacle = setting.sessions[peer].as_ref().err();
                let waits = obstacle.map(|o| format!("no session: {}: {o}", o.field()));
                let because = match (outcome, prefixes.is_empty()) {
                    (BgpOutcome::Announced(_), false) => waits,
                    (BgpOutcome::Announced(_), true) => Some(why_none(audience, demand)),
                    (BgpOutcome::Silent(_), _) => None,
                };
                peers.push(JudgedPeer {
                    peer: peer.to_string(),
                    routes: prefixes.iter().filter_map(told).collect(),
                    because,
                });
            }
        }
        peers.sort_by(|a, b| a.peer.cmp(&b.peer));
        peers
    }
}

/// Why an audience is told nothing of a service of which another is.
fn why_none(audience: &Audience, demand: &Demand) -> String {
    let carries = |vip: &Vip| audience.families.contains(&Family::of(vip.0));
    if !demand.vips.iter().any(carries) {
        let families: Vec<_> = audience.families.iter().map(|f| f.as_str()).collect();
        return format!("carries {} only", families.join(" "));
    }
    "is listed by no advertisement for it".to_owned()
}

impl BgpExplanation {
    /// Under the story of layer 2, in the same form.
    pub(in crate::plan) fn write(&self, f: &mut fmt::Formatter<'_>, node: &str) -> fmt::Result {
        let not = if self.announced { "" } else { "not " };
        writeln!(f, "  by BGP it is {not}announced: {}", self.because)?;
        if let Some(remedy) = &self.remedy {
            writeln!(f, "  what would change that: {remedy}")?;
        }
        for (i, ad) in self.advertisements.iter().enumerate() {
            let head = if i == 0 { "advertisements:" } else { "" };
            writeln!(f, "  {head:22} {} {}", ad.advertisement, ad.because)?;
        }
        let head = format!("peers of {node}:");
        for (i, peer) in self.peers.iter().enumerate() {
            let head = if i == 0 { head.as_str() } else { "" };
            let told = match peer.routes.as_slice() {
                [] => "is told nothing".to_owned(),
                routes => format!("is told {}", routes.join("; ")),
            };
            let because = peer.because.iter();
            let because: String = because.map(|why| format!(": {why}")).collect();
            writeln!(f, "  {head:22} {} {told}{because}", peer.peer)?;
        }
        Ok(())
    }
}
