//! Why a service is or is not announced here: every candidate in order, and every other node with its reason.

use super::{Held, Members, Memo, Outcome, plan};
use crate::election::order;
use crate::local::Local;
use crate::service::ServiceId;
use crate::world::World;
use serde::Serialize;

/// The whole story of one service, for people and for programs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explanation {
    /// Which service.
    pub service: String,
    /// Whether this node announces it.
    pub announced: bool,
    /// The deciding fact.
    pub because: String,
    /// What MetalLB's speaker calls the reason; `None` if announced.
    pub reason: Option<&'static str>,
    /// What would change it; `None` if announced.
    pub remedy: Option<String>,
    /// Its addresses, in the order of its status.
    pub addresses: Vec<String>,
    /// The key of its group, the text that is hashed.
    pub group: Option<String>,
    /// The services that share its addresses.
    pub shares_with: Vec<String>,
    /// The nodes that may announce it, in order: the first one is elected.
    pub candidates: Vec<Judged>,
    /// The other nodes, and why each is no candidate.
    pub others: Vec<Judged>,
}

/// A node in the light of one service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Judged {
    /// The node.
    pub node: String,
    /// The sum of the preferences' weights, of a candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<u32>,
    /// Why it is no candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// The whole story of one service; `None` if there is none of that name.
pub fn explain(
    world: &World,
    members: &Members,
    held: &Held,
    local: &Local,
    service: &ServiceId,
) -> Option<Explanation> {
    let mut memo = Memo::default();
    let mut plan = plan(world, members, held, local, &mut memo);
    let outcome = plan.outcomes.remove(service)?;
    let (reason, remedy) = match &outcome {
        Outcome::Announced(_) => (None, None),
        Outcome::Silent(reason) => (Some(reason.metallb_name()), Some(reason.remedy())),
    };
    let mut explanation = Explanation {
        service: service.to_string(),
        announced: reason.is_none(),
        because: outcome.to_string(),
        reason,
        remedy,
        addresses: Vec::new(),
        group: None,
        shares_with: Vec::new(),
        candidates: Vec::new(),
        others: Vec::new(),
    };
    if plan.is_complete {
        explanation.tell_nodes(&mut memo, world, members, local, service);
    }
    Some(explanation)
}

impl Explanation {
    fn tell_nodes(
        &mut self,
        memo: &mut Memo,
        world: &World,
        members: &Members,
        local: &Local,
        service: &ServiceId,
    ) {
        let survey = memo.survey(world, members, local);
        let demands = &survey.demands.list;
        let Ok(i) = demands.binary_search_by(|demand| demand.id().cmp(service)) else {
            return;
        };
        let demand = &demands[i];
        self.addresses = demand.addresses.iter().map(ToString::to_string).collect();
        let group = survey.groups.of[i].map(|at| &survey.groups.list[at]);
        let (Some(group), Some(field)) = (group, &demand.field) else {
            return;
        };
        self.group = Some(group.key.to_string());
        let others = group.others(demands, i);
        self.shares_with = others.iter().map(ToString::to_string).collect();
        let candidates = order(local.rules.election, group.key, group.candidates(demands));
        for node in survey.setting.everyone() {
            if candidates.iter().any(|candidate| candidate.node == node) {
                continue;
            }
            let hosts = demand.hosts.as_ref();
            let because = match survey.setting.why_not(&node, field, hosts) {
                Some(unfit) => unfit.to_string(),
                None => "cannot announce the services that share the address".to_owned(),
            };
            self.others.push(Judged {
                node: node.to_string(),
                score: None,
                because: Some(because),
            });
        }
        self.candidates = candidates
            .into_iter()
            .map(|candidate| Judged {
                node: candidate.node.to_string(),
                score: Some(candidate.score),
                because: None,
            })
            .collect();
    }
}
