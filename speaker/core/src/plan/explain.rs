//! Why a service is or is not announced here: every candidate in order, every other node with its reason, and every link
//! of this node; then the same of BGP, where it is used.

use super::demand::Demand;
use super::group::Group;
use super::setting::Field;
use super::socket::Served;
use super::{
    BgpExplanation, Held, Members, Memo, Outcome, Plan, Reason, Steering, Survey, l2, missing_kind,
};
use crate::election::{Placement, order};
use crate::link::{Link, LinkName};
use crate::local::Local;
use crate::service::ServiceId;
use crate::steering::Place;
use crate::world::World;
use serde::Serialize;
use speaker_proto::NodeName;
use std::collections::BTreeMap;
use std::fmt;

/// The whole story of one service on one node, for people ([`fmt::Display`]) and for programs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explanation {
    /// Which service.
    pub service: String,
    /// Which node tells.
    pub node: String,
    /// Whether this node announces it in layer 2.
    pub announced: bool,
    /// The deciding fact of that.
    pub because: String,
    /// What MetalLB's speaker calls the reason; absent if announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What would change it; absent if announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Its addresses, in the order of its status.
    pub addresses: Vec<String>,
    /// The key of its group, the text that is hashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The services that share its addresses.
    pub shares_with: Vec<String>,
    /// The nodes that may announce it, in order: the first one is elected.
    pub candidates: Vec<Judged>,
    /// Which of them it is on, where that is not simply the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<String>,
    /// The other nodes, and why each is no candidate.
    pub others: Vec<Judged>,
    /// The links of this node that may announce, and whether they would.
    pub links: Vec<JudgedLink>,
    /// How its packets are spread over nodes; none unless it asks for that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steering: Vec<JudgedSpread>,
    /// Which of its addresses sockets of this node serve; none unless it asks for that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<JudgedSocket>,
    /// What else is done with its packets; none unless it asks for anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<JudgedOption>,
    /// What is to be said of BGP; absent while there is no BGPAdvertisement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bgp: Option<BgpExplanation>,
}

/// A node in the light of one service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Judged {
    /// The node.
    pub node: String,
    /// The sum of the preferences' weights, of a candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<u32>,
    /// Why it is no candidate, or comes after the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// A link of this node in the light of one service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct JudgedLink {
    /// The link.
    pub link: String,
    /// Whether it could answer for the service, if this node held it.
    pub usable: bool,
    /// Why.
    pub because: String,
}

/// The whole story of one service; `None` if there is none of that name. Elects for this one service only.
pub fn explain(
    world: &World,
    members: &Members,
    held: &Held,
    local: &Local,
    service: &ServiceId,
) -> Option<Explanation> {
    if !world.services.contains_key(service) {
        return None;
    }
    if let Some(kind) = missing_kind(world) {
        let outcome = Outcome::Silent(Reason::NotSynced(kind));
        return Some(Explanation::new(service, local, &outcome));
    }
    let mut memo = Memo::default();
    let (survey, i) = memo.survey_one(world, members, local, service)?;
    let outcome = l2::outcome(&survey, held, local, i);
    let mut explanation = Explanation::new(service, local, &outcome);
    explanation.fill(&survey, local, i);
    explanation.bgp = memo.bgp_story(world, local, i);
    Some(explanation)
}

impl Explanation {
    fn new(service: &ServiceId, local: &Local, outcome: &Outcome) -> Self {
        let (reason, remedy) = match outcome {
            Outcome::Announced(_) => (None, None),
            Outcome::Silent(reason) => (Some(reason.metallb_name()), Some(reason.remedy())),
        };
        Self {
            service: service.to_string(),
            node: local.node.to_string(),
            announced: reason.is_none(),
            because: outcome.to_string(),
            reason,
            remedy,
            addresses: Vec::new(),
            group: None,
            shares_with: Vec::new(),
            candidates: Vec::new(),
            placement: None,
            others: Vec::new(),
            links: Vec::new(),
            steering: Vec::new(),
            sockets: Vec::new(),
            options: Vec::new(),
            bgp: None,
        }
    }

    fn fill(&mut self, survey: &Survey<'_>, local: &Local, i: usize) {
        let demands = &survey.demands.list;
        self.addresses = texts(&demands[i].addresses);
        let group = survey.groups.of[i].map(|at| &survey.groups.list[at]);
        let (Some(group), Some(field)) = (group, &demands[i].field) else {
            return;
        };
        self.group = Some(group.key.to_string());
        let placement = group.placement(demands, local.rules.placement);
        self.placement = placed(placement).map(ToOwned::to_owned);
        self.shares_with = texts(&group.others(demands, i));
        self.judge_nodes(survey, local, group, &demands[i], field);
        let links = local.links.iter();
        self.links = links
            .map(|(name, link)| judge_link(name, link, field))
            .collect();
    }

    fn judge_nodes(
        &mut self,
        survey: &Survey<'_>,
        local: &Local,
        group: &Group,
        demand: &Demand,
        field: &Field,
    ) {
        let candidates = group.candidates(&survey.demands.list);
        let candidates = order(local.rules.election, group.key, candidates);
        let silent = survey.setting.silent(group.key);
        let is_candidate = |node: &NodeName| candidates.iter().any(|c| c.node == *node);
        let why = |node: &NodeName| {
            let unfit = survey.setting.why_not(node, field, demand.hosts.as_ref());
            unfit.map_or_else(|| NOT_COMMON.to_owned(), |unfit| unfit.to_string())
        };
        for node in survey.setting.everyone() {
            if !is_candidate(&node) {
                self.others.push(Judged {
                    because: Some(why(&node)),
                    node: node.to_string(),
                    score: None,
                });
            }
        }
        let judged = candidates.into_iter().map(|candidate| {
            let is_silent = silent.is_some_and(|silent| silent.contains(&candidate.node));
            let why = match candidate.score.is_held_down {
                true => Some(HELD_DOWN),
                false => is_silent.then_some(SILENT),
            };
            Judged {
                node: candidate.node.to_string(),
                score: Some(candidate.score.weight),
                because: why.map(ToOwned::to_owned),
            }
        });
        self.candidates = judged.collect();
    }
}

/// An address on a link of this node, of a service that asks for its packets to be spread.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct JudgedSpread {
    /// The address.
    pub address: String,
    /// The link.
    pub link: String,
    /// The nodes that have a share of its packets, and how large it is; none: this node's service proxy has them all.
    pub shares: BTreeMap<String, u32>,
    /// Why they are not spread; absent if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

impl Explanation {
    /// With how its packets are spread, as the plan in force says.
    pub fn with_steering(mut self, steering: Option<&Steering>) -> Self {
        let Some(steering) = steering else {
            return self;
        };
        let is_ours = |(vip, _): &&Place| self.addresses.contains(&vip.to_string());
        let judged = |place: &Place, shares, because| JudgedSpread {
            address: place.0.to_string(),
            link: place.1.to_string(),
            shares,
            because,
        };
        let spread = steering.rows.iter().filter(|(place, _)| is_ours(place));
        let spread = spread.map(|(place, spread)| {
            let weights = spread.share.weights.iter();
            let shares = weights.map(|(node, weight)| (node.to_string(), *weight));
            judged(place, shares.collect(), None)
        });
        let not = steering.unspread.iter().filter(|(place, _)| is_ours(place));
        let not = not.map(|(place, why)| judged(place, BTreeMap::new(), Some(why.to_string())));
        self.steering = spread.chain(not).collect();
        self
    }
}

/// An address on a link of this node, of a service that asks for sockets to serve it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct JudgedSocket {
    /// The address.
    pub address: String,
    /// The link.
    pub link: String,
    /// Why they do not, and this node's service proxy does; absent if they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

impl Explanation {
    /// With what sockets serve, as the plan in force says.
    pub fn with_sockets(mut self, served: &Served) -> Self {
        let judged = |(vip, link): &Place, because| JudgedSocket {
            address: vip.to_string(),
            link: link.to_string(),
            because,
        };
        let rows = served.rows.iter().map(|place| judged(place, None));
        let not = served.not.iter();
        let not = not.map(|(place, why)| judged(place, Some(why.to_string())));
        let all = rows.chain(not);
        self.sockets = all
            .filter(|judged| self.addresses.contains(&judged.address))
            .collect();
        self
    }
}

/// What is done with packets of an address by option.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct JudgedOption {
    /// The address.
    pub address: String,
    /// What its holder does, and what it does not although a service asks for it.
    pub does: String,
}

impl Explanation {
    /// With what else is done with its packets, as the plan in force says.
    pub fn with_options(mut self, plan: &Plan) -> Self {
        let options = plan.options.iter();
        let judged = options.map(|(vip, options)| JudgedOption {
            address: vip.to_string(),
            does: options.to_string(),
        });
        self.options = judged
            .filter(|option| self.addresses.contains(&option.address))
            .collect();
        self
    }
}

impl fmt::Display for JudgedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, link, .. } = self;
        match &self.because {
            Some(because) => write!(f, "not {address} on {link}: {because}"),
            None => write!(f, "{address} on {link}"),
        }
    }
}

impl fmt::Display for JudgedSpread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} ", self.address, self.link)?;
        if let Some(because) = &self.because {
            return write!(f, "is not: {because}");
        }
        let shares = self.shares.iter();
        let shares: Vec<_> = shares
            .map(|(node, share)| match share {
                1 => node.clone(),
                share => format!("{node} (×{share})"),
            })
            .collect();
        write!(f, "over {}", shares.join(", "))
    }
}

const HELD_DOWN: &str = "failed lately: only where nobody else can";
const SILENT: &str = "does not answer for it, or did not a moment ago: only where nobody else can";
const NOT_COMMON: &str = "is no candidate of a service that shares the address";

/// Which candidate a group is on, where that is not simply the first.
const fn placed(placement: Placement) -> Option<&'static str> {
    match placement {
        Placement::First => None,
        Placement::Sticky => Some("sticky: its holder keeps it while none has a higher score"),
        Placement::Even => Some(
            "even: its holder keeps it while none has a higher score, up to its share of groups",
        ),
    }
}

fn judge_link(name: &LinkName, link: &Link, field: &Field) -> JudgedLink {
    let is_selected = field.here.as_ref().is_some_and(|choice| choice.has(name));
    let because = match link {
        _ if !is_selected => "no advertisement selects it",
        Link { is_up: false, .. } => "it is down",
        Link {
            has_carrier: false, ..
        } => "it has no carrier",
        Link {
            has_arp: true,
            has_ndp: true,
            ..
        } => "it speaks ARP and NDP",
        Link {
            has_arp: true,
            has_ndp: false,
            ..
        } => "it speaks ARP only: no IPv6 link-local address is ready",
        Link {
            has_arp: false,
            has_ndp: true,
            ..
        } => "it speaks NDP only: it has no broadcast",
        Link {
            has_arp: false,
            has_ndp: false,
            ..
        } => "it speaks neither ARP nor NDP",
    };
    JudgedLink {
        link: name.to_string(),
        usable: is_selected && link.is_usable() && (link.has_arp || link.has_ndp),
        because: because.to_owned(),
    }
}

fn texts<T: fmt::Display>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.announced { "" } else { "not " };
        let Self {
            service,
            node,
            because,
            ..
        } = self;
        let layer = if self.bgp.is_some() {
            " in layer 2"
        } else {
            ""
        };
        writeln!(f, "{service} is {not}announced by {node}{layer}: {because}")?;
        if let Some(remedy) = &self.remedy {
            writeln!(f, "  what would change it: {remedy}")?;
        }
        if !self.addresses.is_empty() {
            writeln!(f, "  addresses: {}", self.addresses.join(", "))?;
        }
        if !self.shares_with.is_empty() {
            writeln!(f, "  shares them with: {}", self.shares_with.join(", "))?;
        }
        for (i, candidate) in self.candidates.iter().enumerate() {
            let head = if i == 0 { "candidates, in order:" } else { "" };
            let score = candidate.score.unwrap_or_default();
            let because = candidate.because.as_deref();
            let because = because.map_or_else(String::new, |because| format!(" {because}"));
            writeln!(f, "  {head:22} {} (score {score}){because}", candidate.node)?;
        }
        if let Some(placement) = &self.placement {
            writeln!(f, "  {:22} {placement}", "placement:")?;
        }
        for (i, other) in self.others.iter().enumerate() {
            let head = if i == 0 { "no candidates:" } else { "" };
            let because = other.because.as_deref().unwrap_or_default();
            writeln!(f, "  {head:22} {} {because}", other.node)?;
        }
        for (i, link) in self.links.iter().enumerate() {
            let head = if i == 0 {
                format!("links of {node}:")
            } else {
                String::new()
            };
            let can = if link.usable {
                "can answer"
            } else {
                "cannot answer"
            };
            writeln!(f, "  {head:22} {} {can}: {}", link.link, link.because)?;
        }
        for (i, spread) in self.steering.iter().enumerate() {
            let head = if i == 0 { "spread:" } else { "" };
            writeln!(f, "  {head:22} {spread}")?;
        }
        for (i, socket) in self.sockets.iter().enumerate() {
            let head = if i == 0 { "served by sockets:" } else { "" };
            writeln!(f, "  {head:22} {socket}")?;
        }
        for (i, option) in self.options.iter().enumerate() {
            let head = if i == 0 { "options:" } else { "" };
            writeln!(f, "  {head:22} {}: {}", option.address, option.does)?;
        }
        self.bgp.as_ref().map_or(Ok(()), |bgp| bgp.write(f, node))
    }
}
