//! What election says now: groups that come, go, or are put together anew.
//!
//! A VIP that is held stays held if its new group is held as a whole; otherwise the new group is taken like any other, since nothing is
//! known of its other VIPs. The same is done with what the last process of this node left in the kernel.

use super::group::{Group, Own, State};
use super::machine::Holds;
use super::moves::Moves;
use super::{Event, Ground, Output, Wish};
use crate::{Epoch, GroupKey, Time, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// VIPs that are held, of groups that are no more.
type Pool = BTreeMap<GroupKey, (Epoch, Moves)>;

impl Holds {
    /// Takes in what election says.
    pub(super) fn wished(&mut self, now: Time, wishes: Arc<BTreeMap<GroupKey, Wish>>) {
        let old = self.wishes.replace(wishes.clone());
        let is_first = old.is_none();
        let old = old.unwrap_or_default();
        let regrouped: Vec<GroupKey> = self
            .groups
            .iter()
            .filter(|(key, group)| wishes.get(key).map(|wish| &wish.vips) != Some(&group.vips))
            .map(|(key, _)| *key)
            .collect();
        let mut pool = Pool::new();
        for key in &regrouped {
            self.dissolve(*key, &mut pool);
        }
        if !pool.is_empty() {
            for (key, wish) in wishes.iter() {
                self.carry_over(*key, wish, &mut pool, is_first);
            }
        }
        for (vip, (epoch, _)) in pool {
            self.facts.fade(vip, epoch);
            self.facts.show(vip, None);
        }
        for (key, wish) in wishes.iter() {
            let is_known = self.groups.contains_key(key);
            let is_new = old.get(key) != Some(wish);
            if is_new && (is_known || wish.owner == Some(self.me)) {
                self.evaluate(now, *key);
            }
        }
        // A group that could not be taken while another had one of its VIPs.
        for key in regrouped {
            self.evaluate(now, key);
        }
    }

    /// A group is no more, or not of these VIPs.
    fn dissolve(&mut self, key: GroupKey, pool: &mut Pool) {
        let Some(group) = self.take_out(key) else {
            return;
        };
        match &group.state {
            State::Holding(own) => {
                let held = group.keys();
                pool.extend(held.map(|vip| (vip, (own.epoch, group.moves.clone()))));
                self.say(Output::Event(Event::Given {
                    group: key,
                    to: None,
                }));
            }
            State::Draining(draining) if !draining.is_silent => self.fade(&group, draining.epoch),
            State::Taking(taking) => self.refuse_all(taking),
            State::Draining(_)
            | State::Free
            | State::Waiting
            | State::Contested(_)
            | State::Lapsed => {}
        }
        self.forget(key, &group, pool);
    }

    /// A group all of whose VIPs are held goes on without a gap.
    fn carry_over(&mut self, key: GroupKey, wish: &Wish, pool: &mut Pool, is_first: bool) {
        let vips: BTreeSet<GroupKey> = wish.vips.iter().map(|vip| GroupKey(vip.0)).collect();
        let all = vips.iter().map(|vip| pool.get(vip).cloned());
        let Some(held) = all.collect::<Option<Vec<_>>>() else {
            return;
        };
        let Some((epoch, moves)) = held.into_iter().max_by_key(|(epoch, _)| *epoch) else {
            return;
        };
        pool.retain(|vip, _| !vips.contains(vip));
        let mut group = Group::new(wish.vips.clone(), State::Holding(Own::new(epoch)));
        group.moves = moves;
        if is_first {
            self.say(Output::Event(Event::Taken {
                group: key,
                epoch,
                ground: Ground::Adopted,
            }));
        }
        self.own(key, &group);
        self.put_back(key, group);
    }

    /// VIPs that the last process left in the kernel, each for itself until it is known what belongs together.
    pub(super) fn adopt(&mut self, adopted: BTreeMap<Vip, Epoch>) {
        for (vip, epoch) in adopted {
            self.see_epoch(epoch);
            let key = GroupKey(vip.0);
            let group = Group::new(BTreeSet::from([vip]), State::Holding(Own::new(epoch)));
            self.own(key, &group);
            self.put_back(key, group);
        }
    }
}
