//! Frames at a bounded rate.
//!
//! A [`Budget`] is a bucket of frames, kept as the time at which it will be full again; [`Lanes`] are what waits for one budget
//! a link. Knows nothing of what the frames are.

use crate::{Span, Time};
use std::collections::{BTreeMap, BTreeSet};

/// How many frames may go: some at once after a quiet time, then one each interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pace {
    burst: u64,
    interval: Span,
}

impl Pace {
    /// In any one second at most `per_second_max` frames: `burst` of them at once, the others as they accrue meanwhile.
    pub(crate) const fn new(per_second_max: u64, burst: u64) -> Self {
        Self {
            burst,
            interval: Span::from_ns(1_000_000_000 / (per_second_max - burst)),
        }
    }
}

/// What is left of a [`Pace`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pace: Pace,
    full_at: Time,
}

impl Budget {
    /// A full one.
    pub(crate) const fn new(pace: Pace) -> Self {
        Self {
            pace,
            full_at: Time::from_ns(0),
        }
    }

    /// Takes `frames` out, if there are so many.
    pub(crate) fn take(&mut self, now: Time, frames: u64) -> bool {
        if self.ready(frames) > now {
            return false;
        }
        self.full_at = self.full_at.max(now) + Span::from_ns(frames * self.pace.interval.ns());
        true
    }

    /// From when on `frames` may go; never more than the burst.
    pub(crate) fn ready(&self, frames: u64) -> Time {
        let spare = Span::from_ns((self.pace.burst - frames) * self.pace.interval.ns());
        self.full_at - spare
    }

    fn is_full(&self, now: Time) -> bool {
        self.full_at <= now
    }
}

/// Single frames that wait for their time and for their link's budget; on each link in the order of their times.
#[derive(Clone, Debug)]
pub(crate) struct Lanes<K> {
    pace: Pace,
    by_link: BTreeMap<u32, Lane<K>>,
}

#[derive(Clone, Debug)]
struct Lane<K> {
    budget: Budget,
    queue: BTreeSet<(Time, K)>,
}

impl<K: Copy + Ord> Lanes<K> {
    /// Nothing waits.
    pub(crate) const fn new(pace: Pace) -> Self {
        Self {
            pace,
            by_link: BTreeMap::new(),
        }
    }

    /// Has a frame wait for `due`.
    pub(crate) fn insert(&mut self, link: u32, due: Time, key: K) {
        let pace = self.pace;
        let lane = self.by_link.entry(link).or_insert_with(|| Lane {
            budget: Budget::new(pace),
            queue: BTreeSet::new(),
        });
        lane.queue.insert((due, key));
    }

    /// Takes a frame back that was to wait for `due`; absent is fine.
    pub(crate) fn remove(&mut self, link: u32, due: Time, key: K) {
        if let Some(lane) = self.by_link.get_mut(&link) {
            lane.queue.remove(&(due, key));
        }
    }

    /// The next frame that may go now; it waits no longer.
    pub(crate) fn next(&mut self, now: Time) -> Option<K> {
        let next = self.by_link.values_mut().find_map(|lane| {
            let (due, key) = *lane.queue.first()?;
            (due <= now && lane.budget.take(now, 1)).then(|| {
                lane.queue.pop_first();
                key
            })
        });
        if next.is_none() {
            self.by_link
                .retain(|_, lane| !lane.queue.is_empty() || !lane.budget.is_full(now));
        }
        next
    }

    /// When [`Lanes::next`] may next have one.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let lanes = self.by_link.values();
        let due = lanes.filter_map(|lane| Some(lane.queue.first()?.0.max(lane.budget.ready(1))));
        due.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace::new(20, 10);

    /// When each frame of a lane goes, in milliseconds.
    fn drain(lanes: &mut Lanes<u32>) -> Vec<(u64, u32)> {
        let mut seen = Vec::new();
        while let Some(due) = lanes.deadline() {
            while let Some(key) = lanes.next(due) {
                seen.push((due.ns() / 1_000_000, key));
            }
        }
        seen
    }

    #[test]
    fn a_burst_goes_at_once_and_then_one_each_interval() {
        let mut lanes = Lanes::new(PACE);
        for key in 0..13 {
            lanes.insert(1, Time::ms(5000), key);
        }
        let seen = drain(&mut lanes);
        assert!(seen[..10].iter().all(|(at, _)| *at == 5000));
        assert_eq!(seen[10..], [(5100, 10), (5200, 11), (5300, 12)]);
    }

    #[test]
    fn a_link_that_is_behind_holds_up_no_other() {
        let mut lanes = Lanes::new(PACE);
        for key in 0..100 {
            lanes.insert(1, Time::ms(0), key);
        }
        lanes.insert(2, Time::ms(1), 1000);
        assert!(drain(&mut lanes)[..11].contains(&(1, 1000)));
    }

    #[test]
    fn a_lane_is_forgotten_once_its_budget_is_full() {
        let mut lanes = Lanes::new(PACE);
        lanes.insert(1, Time::ms(0), 7);
        assert_eq!(lanes.next(Time::ms(0)), Some(7));
        assert_eq!(lanes.next(Time::ms(99)), None);
        assert_eq!(lanes.by_link.len(), 1, "its frame still counts");
        assert_eq!(lanes.next(Time::ms(100)), None);
        assert!(lanes.by_link.is_empty());
    }

    #[test]
    fn what_is_taken_back_does_not_go() {
        let mut lanes = Lanes::new(PACE);
        lanes.insert(1, Time::ms(3), 7);
        lanes.remove(1, Time::ms(3), 7);
        lanes.remove(9, Time::ms(3), 7);
        assert_eq!(lanes.deadline(), None);
        assert_eq!(lanes.next(Time::ms(3)), None);
    }
}
