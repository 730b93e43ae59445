//! What should be true of this node, as the one text form of the plan, and as data.

use super::{Known, Shown};
use serde::Serialize;
use speaker_core::Problem;
use speaker_core::plan::{Outcome, Reason};
use speaker_ebpf::abi::Mode;
use std::collections::BTreeSet;

/// The answer for programs.
#[derive(Serialize)]
pub(super) struct PlanData<'a> {
    is_complete: bool,
    entries: Vec<Entry>,
    services: Vec<Service>,
    problems: &'a BTreeSet<Problem>,
}

#[derive(Serialize)]
struct Entry {
    vip: String,
    link: String,
    mode: &'static str,
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

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Answer => "answer",
        Mode::Draining => "draining",
        Mode::Known => "known",
    }
}

pub(super) fn show<'a>(known: &Known<'a>) -> Shown<PlanData<'a>> {
    let plan = &known.snapshot.plan;
    let entries = plan.l2.iter().map(|((vip, link), entry)| Entry {
        vip: vip.to_string(),
        link: link.to_string(),
        mode: mode(entry.mode),
        epoch: entry.epoch.0,
        group: entry.group.to_string(),
    });
    let services = plan.outcomes.iter().map(|(id, outcome)| {
        let reason = match outcome {
            Outcome::Announced(_) => None,
            Outcome::Silent(reason) => Some(reason),
        };
        Service {
            service: id.to_string(),
            announced: reason.is_none(),
            because: outcome.to_string(),
            reason: reason.map(Reason::metallb_name),
        }
    });
    let data = PlanData {
        is_complete: plan.is_complete,
        entries: entries.collect(),
        services: services.collect(),
        problems: &plan.problems,
    };
    Shown {
        data,
        text: plan.to_string(),
    }
}
