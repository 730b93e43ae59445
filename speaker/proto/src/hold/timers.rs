//! One deadline a group, in order, so that ten thousand groups cost a turn no more than those that are due.

use crate::{GroupKey, Time};
use std::collections::{BTreeMap, BTreeSet};

/// When each group wants to be looked at.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Time, GroupKey)>,
    by_group: BTreeMap<GroupKey, Time>,
}

impl Timers {
    /// Sets the deadline of a group; `None`: none.
    pub(super) fn set(&mut self, group: GroupKey, at: Option<Time>) {
        let old = match at {
            Some(at) => self.by_group.insert(group, at),
            None => self.by_group.remove(&group),
        };
        if let Some(old) = old {
            self.by_time.remove(&(old, group));
        }
        if let Some(at) = at {
            self.by_time.insert((at, group));
        }
    }

    /// The next deadline.
    pub(super) fn first(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The groups that are due at `now`, the first `max` of them.
    pub(super) fn due(&self, now: Time, max: usize) -> Vec<GroupKey> {
        let due = self.by_time.iter().take_while(|(at, _)| *at <= now);
        due.take(max).map(|(_, group)| *group).collect()
    }
}
