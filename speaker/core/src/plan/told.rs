//! What became of services, and the entries of their VIPs, remembered from one plan to the next.
//!
//! Of thousands of services nearly all are as before, and a plan that shares those with the one before costs little to make, to
//! compare and to give back. Looked at anew is whatever anything differs of that [`l2::outcome`] and [`l2::of_group`] look at; if something
//! differs that concerns all, all are. It knows nothing of what is told to whom.

use super::demand::Demand;
use super::group::Group;
use super::{Entries, Held, Outcome, Survey, l2};
use crate::diff::{Change, diff};
use crate::local::Local;
use crate::service::ServiceId;
use speaker_proto::Vip;
use speaker_proto::shared_map::SharedMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the last plan said of services, and what it was worked out from.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    local: Option<Local>,
    held: Held,
    /// The version of the groups.
    version: u64,
    /// By place.
    demands: Vec<Arc<Demand>>,
    /// What became of every service.
    pub(super) outcomes: SharedMap<ServiceId, Outcome>,
    /// Those of VIPs that layer 2 concerns.
    pub(super) entries: Entries,
}

impl Told {
    /// Brings all up to what is true now.
    pub(super) fn renew(&mut self, survey: &Survey<'_>, held: &Held, local: &Local) {
        let list = &survey.demands.list;
        let is_as_before = self.local.as_ref() == Some(local);
        let changed = survey.groups.changed(self.version);
        if let Some(changed) = changed.filter(|_| is_as_before) {
            let changed = changed.map(|group| group.key);
            let holdings = diff(&self.held, held).into_iter();
            let keys = changed.chain(holdings.map(|change| match change {
                Change::Put(key, _) | Change::Remove(key) => key,
            }));
            let keys: BTreeSet<_> = keys.collect();
            let groups = keys.into_iter().filter_map(|key| survey.groups.get(key));
            let groups: Vec<&Group> = groups.collect();
            self.renew_outcomes(survey, held, local, &groups);
            self.renew_entries(survey, held, local, &groups);
        } else {
            let outcomes = list.iter().enumerate();
            let outcomes = outcomes.map(|(i, d)| (d.id(), l2::outcome(survey, held, local, i)));
            self.outcomes.replace(outcomes);
            self.demands.clone_from(list);
            self.renew_all_entries(survey, held, local);
            self.local = Some(local.clone());
        }
        if self.held != *held {
            self.held.clone_from(held);
        }
        self.version = survey.groups.version;
    }

    /// Of the services of these groups, and of those that ask for something else, which may be in none.
    fn renew_outcomes(
        &mut self,
        survey: &Survey<'_>,
        held: &Held,
        local: &Local,
        groups: &[&Group],
    ) {
        let mut places: BTreeSet<usize> = groups.iter().flat_map(|g| &g.members).copied().collect();
        let known = self.demands.iter_mut().zip(&survey.demands.list);
        for (i, (known, demand)) in known.enumerate() {
            if !Arc::ptr_eq(known, demand) {
                *known = Arc::clone(demand);
                places.insert(i);
            }
        }
        for i in places {
            let id = self.demands[i].id();
            let outcome = l2::outcome(survey, held, local, i);
            if self.outcomes.get(id) != Some(&outcome) {
                self.outcomes.insert(id.clone(), outcome);
            }
        }
    }

    fn renew_entries(
        &mut self,
        survey: &Survey<'_>,
        held: &Held,
        local: &Local,
        groups: &[&Group],
    ) {
        // Who has an address that an older service holds may have a part in entries of a group that it is not in.
        if !survey.groups.duplicates.is_empty() {
            return self.renew_all_entries(survey, held, local);
        }
        for group in groups {
            let new = l2::of_group(survey, group, held, local);
            let mut new: BTreeMap<_, _> = new.into_iter().collect();
            // Services of a group have the addresses that they had when it was made.
            let demands = group.members.iter().map(|i| &survey.demands.list[*i]);
            let vips: BTreeSet<Vip> = demands
                .flat_map(|d| &d.addresses)
                .map(|ip| Vip(*ip))
                .collect();
            for vip in vips {
                for link in local.links.keys() {
                    let place = (vip, link.clone());
                    match new.remove(&place) {
                        Some(entry) if self.entries.get(&place) != Some(&entry) => {
                            self.entries.insert(place, entry);
                        }
                        Some(_) => {}
                        None => {
                            self.entries.remove(&place);
                        }
                    }
                }
            }
            debug_assert!(new.is_empty(), "an entry is of an address and a link");
        }
    }

    fn renew_all_entries(&mut self, survey: &Survey<'_>, held: &Held, local: &Local) {
        let all = l2::entries(survey, held, local);
        self.entries
            .replace(all.iter().map(|(place, entry)| (place, *entry)));
    }
}
