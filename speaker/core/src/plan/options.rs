//! What holders do with packets of VIPs by option: ports that no service has, pings, and sources that a service does not serve.
//!
//! A service asks for it by annotation, on its advertisements of either kind or on itself where its pool lets it. A VIP that several services share has what
//! all of them ask for; a service's sources concern its own ports only. It knows nothing of tables.

use super::demand::Demand;
use super::setting::{Kept, Setting};
use super::{Survey, VipOptions};
use crate::annotations::{self, PREFIX};
use crate::key::{Kind, ObjectKey};
use crate::problem::Problem;
use crate::service::{Protocol, Service};
use ipnet::IpNet;
use speaker_ebpf::abi::options::Closed;
use speaker_proto::Vip;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A set of sources; none: everybody.
pub type Sources = Arc<BTreeSet<IpNet>>;

/// Ports of a VIP, and the sources that each is served to.
pub type Ports = BTreeMap<(Protocol, u16), Sources>;

/// What one service asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Asked {
    pub(super) closed: Closed,
    pub(super) is_echo: bool,
    /// Of both families; none: nothing is to be looked at.
    pub(super) sources: Sources,
}

impl Asked {
    pub(super) fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

/// What a service asks for, and what is wrong with how it does.
pub(super) fn asked(
    setting: &Setting,
    service: &Service,
    pool: &str,
    kept: &Kept,
) -> (Asked, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut said = |key| {
        let (word, doubt) = word(setting, service, pool, kept, key);
        problems.extend(doubt);
        word
    };
    let closed = match said(CLOSED_PORT) {
        Some("reject") => Closed::Reject,
        Some("drop") => Closed::Drop,
        Some(_) | None => Closed::Pass,
    };
    let is_echo = said(ECHO).is_some();
    let is_filtered = said(SOURCE_RANGES).is_some();
    let mut asked = Asked {
        closed,
        is_echo,
        sources: Sources::default(),
    };
    if is_filtered {
        match sources(service) {
            Ok(sources) => asked.sources = Arc::new(sources),
            Err(problem) => problems.push(problem),
        }
    }
    (asked, problems)
}

/// What a service says for itself, if its pool lets it, or else what its advertisements say, if they agree.
fn word<'s>(
    setting: &'s Setting,
    service: &'s Service,
    pool: &str,
    kept: &Kept,
    key: &str,
) -> (Option<&'s str>, Option<Problem>) {
    let own = annotations::word(&service.annotations, key);
    let allows = || {
        let pool = setting.pool(pool);
        pool.is_some_and(|pool| annotations::allows_service(&pool.annotations, key))
    };
    if own.is_some() && allows() {
        return (own, None);
    }
    let words = setting.words(kept, key);
    let agreed = words.first().copied().filter(|_| words.len() == 1);
    let field = format!("metadata.annotations.{PREFIX}{key}");
    let why = match own {
        Some(_) => {
            format!("has no effect: {PREFIX}allow-service of the pool {pool} does not list it")
        }
        None if words.len() > 1 => {
            let words: Vec<&str> = words.into_iter().collect();
            format!(
                "its advertisements do not agree, and so it has no effect: {}",
                words.join(", ")
            )
        }
        None => return (agreed, None),
    };
    (agreed, Some(doubt(service, field, why)))
}

/// `spec.loadBalancerSourceRanges`, which the API server does not look at closely.
fn sources(service: &Service) -> Result<BTreeSet<IpNet>, Problem> {
    let ranges = service.source_ranges.iter().enumerate();
    let range = |(i, text): (usize, &String)| {
        let net: Result<IpNet, _> = text.trim().parse();
        net.map(|net| net.trunc()).map_err(|_| {
            let field = format!("spec.loadBalancerSourceRanges[{i}]");
            let why = format!("{text:?} is no range, and so they are left to the service proxy");
            doubt(service, field, why)
        })
    };
    ranges.map(range).collect()
}

fn doubt(service: &Service, field: String, why: String) -> Problem {
    Problem {
        object: ObjectKey::new(Kind::Service, &service.id.namespace, &service.id.name),
        origin: "plan".into(),
        field,
        why,
    }
}

/// The options of every VIP of which some service asks for any.
pub(super) fn options(survey: &Survey<'_>) -> BTreeMap<Vip, VipOptions> {
    let asking = survey.demands.asking.iter();
    let asking = asking.map(|i| &survey.demands.list[*i]);
    let asking = asking.filter(|demand| demand.options.is_any());
    let mut sharing: BTreeMap<Vip, Vec<&Demand>> = asking
        .flat_map(|demand| demand.vips.iter().map(|vip| (*vip, Vec::new())))
        .collect();
    if sharing.is_empty() {
        return BTreeMap::new();
    }
    for demand in &survey.demands.list {
        for vip in &demand.vips {
            if let Some(sharing) = sharing.get_mut(vip) {
                sharing.push(demand);
            }
        }
    }
    let of_vip = |(vip, sharing): (Vip, Vec<&Demand>)| (vip, common(vip, &sharing));
    sharing.into_iter().map(of_vip).collect()
}

/// What all services of a VIP ask for.
fn common(vip: Vip, sharing: &[&Demand]) -> VipOptions {
    let first = sharing.first().map(|demand| demand.options.clone());
    let first = first.unwrap_or_default();
    let differs = |demand: &&&Demand| {
        demand.options.closed != first.closed || demand.options.is_echo != first.is_echo
    };
    let other = sharing.iter().find(differs);
    let all_closed = sharing.iter().all(|d| d.options.closed == first.closed);
    let mut ports = Ports::new();
    for demand in sharing {
        let sources = of_family(&demand.options.sources, vip);
        for port in &demand.service.ports {
            ports.insert((port.protocol, port.port), Arc::clone(&sources));
        }
    }
    VipOptions {
        closed: if all_closed {
            first.closed
        } else {
            Closed::Pass
        },
        is_echo: sharing.iter().all(|demand| demand.options.is_echo),
        ports,
        disagrees: other.map(|demand| demand.id().clone()),
    }
}

/// As kube-proxy has it: ranges of the other family are as if they were not there.
fn of_family(sources: &Sources, vip: Vip) -> Sources {
    let is_v4 = vip.0.is_ipv4();
    let is_ours = |net: &IpNet| net.addr().is_ipv4() == is_v4;
    if sources.iter().all(is_ours) {
        return Arc::clone(sources);
    }
    Arc::new(sources.iter().filter(|net| is_ours(net)).copied().collect())
}

impl fmt::Display for VipOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match self.closed {
            Closed::Pass => {}
            Closed::Reject => parts.push("closed ports are refused".to_owned()),
            Closed::Drop => parts.push("packets to closed ports are dropped".to_owned()),
        }
        if self.is_echo {
            parts.push("pings are answered".to_owned());
        }
        for ((protocol, port), sources) in &self.ports {
            if !sources.is_empty() {
                let sources: Vec<String> = sources.iter().map(ToString::to_string).collect();
                parts.push(format!("{port}/{protocol} only from {}", sources.join(" ")));
            }
        }
        if let Some(other) = &self.disagrees {
            parts.push(format!("not all its services ask for the same: {other}"));
        }
        f.write_str(&parts.join("; "))
    }
}

const CLOSED_PORT: &str = "closed-port";
const ECHO: &str = "echo";
const SOURCE_RANGES: &str = "source-ranges";
