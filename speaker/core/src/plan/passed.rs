//! Why a node is not the one that a group elects, in a few words: what is told of a move beside who made it.
//!
//! The same facts as in [`super::explain`], of one node and one group, as of the last plan. It decides nothing.

use super::group::Group;
use super::{Memo, Survey, Unfit};
use crate::election::Placement;
use speaker_proto::{GroupKey, NodeName};
use std::fmt;

/// Why a node is passed over for a group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Passed {
    /// No service has the group's addresses any more.
    NoService,
    /// It may not announce it.
    Unfit(Unfit),
    /// It may announce some of its services and not all.
    NotCommon,
    /// It failed lately.
    HeldDown,
    /// It does not answer for it.
    Silent,
    /// Another is preferred by the advertisements.
    Preferred,
    /// The groups are spread evenly, and it has its share.
    Spread,
    /// Another comes first in the order.
    Order,
}

/// Why `node` is not the one that a group elects, as of the last plan; `None`: it is.
pub fn passed_over(memo: &Memo, group: GroupKey, node: &NodeName) -> Option<Passed> {
    let survey = memo.survey_as_is()?;
    let Some(group) = survey.groups.get(group) else {
        return Some(Passed::NoService);
    };
    let owner = group.owner.as_ref();
    if owner == Some(node) {
        return None;
    }
    if let Some(unfit) = unfit(&survey, group, node) {
        return Some(Passed::Unfit(unfit));
    }
    let candidates = group.candidates(&survey.demands.list);
    let score = |of: &NodeName| {
        let mut candidates = candidates.iter();
        let found = candidates.find(|candidate| candidate.node == *of);
        found.map(|candidate| candidate.score)
    };
    let Some(own) = score(node) else {
        return Some(Passed::NotCommon);
    };
    let silent = survey.setting.silent(group.key);
    let is_silent = silent.is_some_and(|silent| silent.contains(node));
    let best = owner.and_then(score);
    Some(if own.is_held_down {
        Passed::HeldDown
    } else if is_silent {
        Passed::Silent
    } else if best.is_some_and(|best| best.weight > own.weight) {
        Passed::Preferred
    } else if group.placement(&survey.demands.list, survey.setting.rules.placement)
        == Placement::Even
    {
        Passed::Spread
    } else {
        Passed::Order
    })
}

/// Why it is no candidate of the first of its services that has any.
fn unfit(survey: &Survey<'_>, group: &Group, node: &NodeName) -> Option<Unfit> {
    let demands = group.members.iter().map(|at| &survey.demands.list[*at]);
    let mut found = demands.filter_map(|demand| {
        let field = demand.field.as_ref()?;
        survey.setting.why_not(node, field, demand.hosts.as_ref())
    });
    found.next()
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoService => f.write_str("has no service for it any more"),
            Self::Unfit(unfit) => unfit.fmt(f),
            Self::NotCommon => f.write_str("is no candidate of a service that shares the address"),
            Self::HeldDown => f.write_str("failed lately"),
            Self::Silent => f.write_str("does not answer for it, or did not a moment ago"),
            Self::Preferred => f.write_str("is less preferred"),
            Self::Spread => f.write_str("has its share of groups"),
            Self::Order => f.write_str("comes later in the order"),
        }
    }
}
