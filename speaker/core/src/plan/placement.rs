//! Which candidate a group is on where that is not simply the first in the order: where it is now, or where there is room.
//!
//! Every node works it out from the same groups and the same holders, so all come to the same result; where they do not yet know the same
//! holders, the holder's own view decides, as always (`docs/layer2.md`, L3.2). Advertisements say it for their services, a flag for all of which they say
//! nothing; groups that are to be spread evenly are spread among each other.

use super::demand::Demand;
use super::group::{Group, Groups};
use super::ranks::Ranks;
use crate::election::Placement;
use crate::members::Members;
use speaker_proto::NodeName;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Group {
    /// Where it should be, if `flag` is for all of which no advertisement says anything.
    pub(super) fn placement(&self, demands: &[Arc<Demand>], flag: Placement) -> Placement {
        let said = self.members.iter().map(|at| demands[*at].placement);
        said.max().flatten().unwrap_or(flag)
    }
}

impl Groups {
    /// Sets every group's owner by what was elected and who holds it; `otherwise`: not all may be with the first in the order, and where those
    /// are of which no advertisement says anything.
    pub(super) fn place(
        &mut self,
        demands: &[Arc<Demand>],
        otherwise: Option<Placement>,
        members: &Members,
        ranks: &mut Ranks,
    ) {
        for at in std::mem::take(&mut self.shunned) {
            self.give(at, self.list[at].first().cloned());
        }
        if let Some(flag) = otherwise {
            let places = |wanted: Placement| {
                let groups = self.list.iter().enumerate();
                let alike = groups.filter(|(_, group)| group.placement(demands, flag) == wanted);
                alike.map(|(at, _)| at).collect::<Vec<usize>>()
            };
            let (sticky, even) = (places(Placement::Sticky), places(Placement::Even));
            self.keep_holders(&sticky, demands, members, &mut Loads::unlimited());
            let mut loads = Loads::even(self, &even, demands);
            let homeless = self.keep_holders(&even, demands, members, &mut loads);
            self.house(&homeless, demands, loads.share, ranks, &mut loads.of);
        }
        self.pass_over(members);
    }

    /// Moves groups from nodes that do not answer for them to the next in the order (L6.7). Where nobody is left they stay.
    fn pass_over(&mut self, members: &Members) {
        for (key, shunned) in &members.shunned {
            let Ok(at) = self.list.binary_search_by_key(key, |group| group.key) else {
                continue;
            };
            let group = &self.list[at];
            let next = group.line.iter().find(|node| !shunned.contains(*node));
            if group
                .owner
                .as_ref()
                .is_some_and(|owner| shunned.contains(owner))
                && let Some(next) = next.cloned()
            {
                self.give(at, Some(next));
                self.shunned.push(at);
            }
        }
    }

    /// Leaves the groups at these places with their holders as long as those are candidates with room; the places of the others, which are with the
    /// first in the order.
    fn keep_holders(
        &mut self,
        places: &[usize],
        demands: &[Arc<Demand>],
        members: &Members,
        loads: &mut Loads,
    ) -> Vec<usize> {
        let mut homeless = Vec::new();
        for at in places {
            let group = &self.list[*at];
            let holder = members.holders.get(&group.key);
            let holder = holder.filter(|holder| group.best(demands).contains(*holder));
            match holder.filter(|holder| loads.take(holder)) {
                Some(holder) => self.give(*at, Some(holder.clone())),
                None => {
                    let first = group.first().cloned();
                    if first.is_some() {
                        homeless.push(*at);
                    }
                    self.give(*at, first);
                }
            }
        }
        homeless
    }

    /// Gives each group the first of its best candidates that has room; where none has, the first of those with the least.
    fn house(
        &mut self,
        homeless: &[usize],
        demands: &[Arc<Demand>],
        share: usize,
        ranks: &mut Ranks,
        loads: &mut BTreeMap<NodeName, usize>,
    ) {
        for at in homeless {
            let group = &self.list[*at];
            let best = group.best(demands);
            let load = |node: &NodeName| loads.get(node).copied().unwrap_or_default();
            let least = best.iter().map(load).min().unwrap_or_default();
            let room = least.max(share.saturating_sub(1));
            let roomy = best.iter().filter(|node| load(node) <= room);
            let roomy: BTreeSet<_> = roomy.cloned().collect();
            let owner = ranks.first_of(group.key, &roomy);
            if let Some(owner) = &owner {
                *loads.entry(owner.clone()).or_default() += 1;
            }
            self.give(*at, owner);
        }
    }
}

/// How many groups each node has been given, and how many it may have.
struct Loads {
    of: BTreeMap<NodeName, usize>,
    share: usize,
}

impl Loads {
    const fn unlimited() -> Self {
        Self {
            of: BTreeMap::new(),
            share: usize::MAX,
        }
    }

    /// Those of the groups at these places that somebody can serve, divided among those who can serve one, rounded up.
    fn even(groups: &Groups, places: &[usize], demands: &[Arc<Demand>]) -> Self {
        let groups = places.iter().map(|at| &groups.list[*at]);
        let served = groups.filter(|group| group.first().is_some());
        let mut nodes = BTreeSet::new();
        // Most groups borrow the one set of their advertisements: each such set is looked at once.
        let mut seen = BTreeSet::new();
        let mut count = 0;
        for group in served {
            count += 1;
            match group.best(demands) {
                Cow::Borrowed(best) if !seen.insert(std::ptr::from_ref(best)) => {}
                best => nodes.extend(best.iter().cloned()),
            }
        }
        Self {
            of: BTreeMap::new(),
            share: usize::div_ceil(count, nodes.len().max(1)),
        }
    }

    /// Counts one more for `node`, if it may have it.
    fn take(&mut self, node: &NodeName) -> bool {
        let load = self.of.entry(node.clone()).or_default();
        let has_room = *load < self.share;
        *load += usize::from(has_room);
        has_room
    }
}
