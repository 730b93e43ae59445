//! What became of services, remembered from one plan to the next.
//!
//! Of thousands of services nearly all are as before, and a plan that shares those with the one before costs little to make, to
//! compare and to give back. An outcome is worked out anew wherever anything differs that [`l2::outcome`] looks at. It
//! knows nothing of what is told to whom.

use super::demand::Demand;
use super::group::Group;
use super::{Held, Holding, Outcome, Survey, l2};
use crate::local::Local;
use crate::service::ServiceId;
use speaker_proto::shared_map::SharedMap;
use speaker_proto::{GroupKey, NodeName};
use std::sync::Arc;

/// What became of every service, as the last plan had it.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    local: Option<Local>,
    /// By place of the demand.
    bases: Vec<Basis>,
    outcomes: SharedMap<ServiceId, Outcome>,
}

/// What one outcome was worked out from, beside what this node knows of itself.
#[derive(Clone, Debug)]
struct Basis {
    demand: Arc<Demand>,
    group: Option<(GroupKey, Option<NodeName>)>,
    holding: Option<Holding>,
    /// Other services have a part in it, which is not remembered.
    is_of_others: bool,
}

impl Told {
    /// What becomes of every service now.
    pub(super) fn outcomes(
        &mut self,
        survey: &Survey<'_>,
        held: &Held,
        local: &Local,
    ) -> SharedMap<ServiceId, Outcome> {
        let list = &survey.demands.list;
        if self.local.as_ref() != Some(local) || !self.is_in_step(list) {
            *self = Self {
                local: Some(local.clone()),
                ..Self::default()
            };
        }
        for (i, demand) in list.iter().enumerate() {
            let group = survey.groups.of[i].map(|at| &survey.groups.list[at]);
            let holding = group.and_then(|group| held.get(&group.key)).copied();
            let known = self.bases.get_mut(i);
            let is_duplicate = survey.groups.duplicates.contains_key(&i);
            if !is_duplicate
                && known
                    .as_ref()
                    .is_some_and(|k| k.is_of(demand, group, holding))
            {
                continue;
            }
            let basis = Basis {
                demand: Arc::clone(demand),
                group: group.map(|group| (group.key, group.owner.clone())),
                holding,
                is_of_others: is_duplicate || group.is_some_and(|group| group.owner.is_none()),
            };
            match known {
                Some(known) => *known = basis,
                None => self.bases.push(basis),
            }
            let outcome = l2::outcome(survey, held, local, i);
            if self.outcomes.get(demand.id()) != Some(&outcome) {
                self.outcomes.insert(demand.id().clone(), outcome);
            }
        }
        self.outcomes.clone()
    }

    /// Whether each place is that of the same service as before.
    fn is_in_step(&self, list: &[Arc<Demand>]) -> bool {
        let same = |(basis, demand): (&Basis, &Arc<Demand>)| {
            Arc::ptr_eq(&basis.demand, demand) || basis.demand.id() == demand.id()
        };
        self.bases.len() == list.len() && self.bases.iter().zip(list).all(same)
    }
}

impl Basis {
    fn is_of(&self, demand: &Arc<Demand>, group: Option<&Group>, holding: Option<Holding>) -> bool {
        let known = self.group.as_ref();
        let known = known.map(|(key, owner)| (*key, owner.as_ref()));
        !self.is_of_others
            && Arc::ptr_eq(&self.demand, demand)
            && self.holding == holding
            && known == group.map(|group| (group.key, group.owner.as_ref()))
    }
}
