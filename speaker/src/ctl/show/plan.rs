//! What should be true of this node, as the one text form of the plan, and as data.

use super::{Known, Shown};
use serde::Serialize;
use speaker_core::Problem;
use speaker_core::plan::{BgpOutcome, Outcome, PeerName, PeerPlan, Reason};
use speaker_core::service::ServiceId;
use speaker_proto::bgp::{Attributes, Prefix};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The answer for programs.
#[derive(Serialize)]
pub(super) struct PlanData<'a> {
    is_complete: bool,
    entries: Vec<Entry>,
    services: Vec<Service>,
    peers: Vec<Peer>,
    bgp_services: Vec<Service>,
    problems: &'a BTreeSet<Problem>,
}

#[derive(Serialize)]
struct Entry {
    vip: String,
    link: String,
    mode: &'static str,
    /// Routes of BGP bring its packets here too, whatever the mode, and something is asked of them.
    is_routed: bool,
    epoch: u64,
    group: String,
}

#[derive(Serialize)]
struct Service {
    service: String,
    announced: bool,
    because: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// A BGP peer, what its session is to be like, and what it is to be told.
#[derive(Serialize)]
struct Peer {
    peer: String,
    session: String,
    waits: bool,
    routes: Vec<Route>,
}

#[derive(Serialize)]
struct Route {
    prefix: String,
    attributes: String,
}

impl Service {
    fn new(id: &ServiceId, because: String, reason: Option<&Reason>) -> Self {
        Self {
            service: id.to_string(),
            announced: reason.is_none(),
            because,
            reason: reason.map(Reason::metallb_name),
        }
    }
}

impl Peer {
    fn new(name: &PeerName, plan: &PeerPlan) -> Self {
        let route = |(prefix, told): (&Prefix, &Arc<Attributes>)| Route {
            prefix: prefix.to_string(),
            attributes: told.to_string(),
        };
        Self {
            peer: name.to_string(),
            session: plan.to_string(),
            waits: plan.settings.is_err(),
            routes: plan.routes.iter().map(route).collect(),
        }
    }
}

pub(super) fn show<'a>(known: &Known<'a>) -> Shown<PlanData<'a>> {
    let plan = &known.snapshot.plan;
    let entries = plan.l2.iter().map(|((vip, link), entry)| Entry {
        vip: vip.to_string(),
        link: link.to_string(),
        mode: entry.mode_word(),
        is_routed: entry.is_routed,
        epoch: entry.epoch.0,
        group: entry.group.to_string(),
    });
    let services = plan.outcomes.iter().map(|(id, outcome)| {
        let reason = match outcome {
            Outcome::Announced(_) => None,
            Outcome::Silent(reason) => Some(reason),
        };
        Service::new(id, outcome.to_string(), reason)
    });
    let bgp_services = plan.bgp_outcomes.iter().map(|(id, outcome)| {
        let reason = match outcome {
            BgpOutcome::Announced(_) => None,
            BgpOutcome::Silent(reason) => Some(reason),
        };
        Service::new(id, outcome.to_string(), reason)
    });
    let peers = plan.bgp.iter().map(|(name, peer)| Peer::new(name, peer));
    let data = PlanData {
        is_complete: plan.is_complete,
        entries: entries.collect(),
        services: services.collect(),
        peers: peers.collect(),
        bgp_services: bgp_services.collect(),
        problems: &plan.problems,
    };
    Shown {
        data,
        text: plan.to_string(),
    }
}
