//! What election says now: groups that come, go, or are put together anew.
//!
//! A VIP that is held stays held if its new group is held as a whole; otherwise the new group is taken like any other, since nothing is
//! known of its other VIPs. The same is done with what the last process of this node left in the kernel. Neither settles a claim: a fence that is
//! up stays so until it is known whether another member took the VIP meanwhile.

use super::contest::Doubt;
use super::group::{Group, Own, State};
use super::machine::Holds;
use super::moves::Moves;
use super::{Event, Ground, Output, Wish, Wishes};
use crate::{Epoch, GroupKey, Span, Time, Vip};
use std::collections::{BTreeMap, BTreeSet};

/// VIPs that are held, of groups that are no more.
type Pool = BTreeMap<GroupKey, Kept>;

#[derive(Clone)]
struct Kept {
    epoch: Epoch,
    moves: Moves,
    /// The group that it was of.
    of: GroupKey,
}

impl Holds {
    /// Takes in what election says.
    pub(super) fn wished(&mut self, now: Time, wishes: Wishes) {
        let old = self.wishes.replace(wishes.clone());
        let is_first = old.is_none();
        let old = old.unwrap_or_default();
        let news = wishes.differing(&old, PartialEq::eq);
        // Groups of the last process come from no wish; every other one is of the VIPs of its wish.
        let doubtful: Vec<GroupKey> = match is_first {
            true => self.groups.keys().copied().collect(),
            false => news.iter().map(|key| **key).collect(),
        };
        let is_regrouped = |key: &GroupKey| {
            let group = self.groups.get(key);
            group.is_some_and(|group| wishes.get(key).map(|wish| &wish.vips) != Some(&group.vips))
        };
        let regrouped: Vec<GroupKey> = doubtful.into_iter().filter(is_regrouped).collect();
        if is_first {
            self.report_adopted(now, &regrouped);
        }
        let mut pool = Pool::new();
        for key in &regrouped {
            self.dissolve(*key, &mut pool);
        }
        if !pool.is_empty() {
            for (key, wish) in &wishes {
                self.carry_over(now, (*key, wish), &mut pool, is_first);
            }
        }
        let given: BTreeSet<GroupKey> = pool.values().map(|kept| kept.of).collect();
        for group in given {
            self.say(Output::Event(Event::Given { group, to: None }));
        }
        for (vip, kept) in pool {
            self.facts.fade(vip, kept.epoch);
            self.facts.show(vip, None);
        }
        for key in news {
            let wish = wishes.get(key);
            let is_own = wish.is_some_and(|wish| wish.owner == Some(self.me));
            if is_own || (wish.is_some() && self.groups.contains_key(key)) {
                self.pending.insert(*key);
            }
        }
    }

    /// A group is no more, or not of these VIPs.
    fn dissolve(&mut self, key: GroupKey, pool: &mut Pool) {
        let Some(group) = self.take_out(key) else {
            return;
        };
        match &group.state {
            State::Holding(own) => {
                let kept = Kept {
                    epoch: own.epoch,
                    moves: group.moves.clone(),
                    of: key,
                };
                pool.extend(group.keys().map(|vip| (vip, kept.clone())));
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
    fn carry_over(
        &mut self,
        now: Time,
        (key, wish): (GroupKey, &Wish),
        pool: &mut Pool,
        is_first: bool,
    ) {
        let vips: BTreeSet<GroupKey> = wish.vips.iter().map(|vip| GroupKey(vip.0)).collect();
        let all = vips.iter().map(|vip| pool.get(vip).cloned());
        let Some(held) = all.collect::<Option<Vec<_>>>() else {
            return;
        };
        let Some(kept) = held.into_iter().max_by_key(|kept| kept.epoch) else {
            return;
        };
        for vip in &vips {
            pool.remove(vip);
        }
        // Whoever was asked about a fence was asked about another group.
        let mut own = Own::new(kept.epoch);
        let doubt = own.doubt.insert(Doubt::of_nobody(now));
        let due = Some(doubt.until());
        let mut group = Group::new(wish.vips.clone(), State::Holding(own));
        group.due = due;
        group.moves = kept.moves;
        if is_first {
            self.say(adopted(key, kept.epoch));
        }
        self.own(key, &group);
        self.put_back(key, group);
    }

    /// Groups that are as the last process left them. A fence of its time would stay up for ever, unless it is doubted.
    fn report_adopted(&mut self, now: Time, regrouped: &[GroupKey]) {
        let groups = self.groups.iter_mut();
        let kept = groups.filter(|(key, _)| regrouped.binary_search(key).is_err());
        let mut reports = Vec::new();
        for (key, group) in kept {
            reports.extend(group.entry().map(|entry| adopted(*key, entry.epoch)));
            if let State::Holding(own) = &mut group.state {
                let doubt = own.doubt.get_or_insert_with(|| Doubt::of_nobody(now));
                group.due = Some(doubt.until());
                self.timers.set(*key, group.due);
            }
        }
        self.said.extend(reports);
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

const fn adopted(group: GroupKey, epoch: Epoch) -> Output {
    Output::Event(Event::Taken {
        group,
        epoch,
        ground: Ground::Adopted,
        from: None,
        took: Span::ms(0),
    })
}
