//! What this node has said: to planning, and to the other members.
//!
//! The two are not the same. A VIP that was answered for stays published until the kernel's tables are known to be silent, so that
//! what others hear is never less than what the kernel does. It is published by VIP and not by group, since views of others may
//! group services differently for a moment. It knows no rules.

use super::{Holding, Passing};
use crate::member::{HeldEntry, HeldSet, HeldState, HeldVersion};
use crate::{Epoch, GroupKey, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What this node holds and says that it holds.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) held: BTreeMap<GroupKey, Holding>,
    /// Of `held`.
    pub(super) version: u64,
    /// The newest version that the kernel's tables follow.
    pub(super) applied: u64,
    /// Whose packets are whose. Its changes are counted as those of `held`.
    pub(super) passing: BTreeMap<Vip, Passing>,
    is_changed: bool,
    pub(super) shown: Arc<HeldSet>,
    pub(super) shown_version: HeldVersion,
    is_shown_changed: bool,
    /// VIPs that are released here, but not known to be silent in the kernel: until which version, and by which taking.
    fading: BTreeMap<GroupKey, (u64, Epoch)>,
    /// What waits for a version, by VIP.
    awaited: BTreeSet<(u64, GroupKey)>,
}

impl Facts {
    /// What stands here so far is the first version of both.
    pub(super) fn begin(&mut self) {
        self.version = 1;
        self.shown_version = HeldVersion(1);
        self.is_changed = false;
        self.is_shown_changed = false;
    }

    /// The version of `held` that the change under way belongs to. All changes of a turn share one.
    pub(super) fn touch(&mut self) -> u64 {
        if !self.is_changed {
            self.is_changed = true;
            self.version += 1;
        }
        self.version
    }

    /// Whether `held` changed since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// Whether what is published changed since the last call.
    pub(super) fn take_shown_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_shown_changed)
    }

    /// Sets what planning sees of a group; `None`: free.
    pub(super) fn hold(&mut self, group: GroupKey, holding: Option<Holding>) {
        if self.held.get(&group) == holding.as_ref() {
            return;
        }
        self.touch();
        match holding {
            Some(holding) => self.held.insert(group, holding),
            None => self.held.remove(&group),
        };
    }

    /// Sets what planning sees of a VIP that moves; `None`: it does not.
    pub(super) fn pass(&mut self, vip: Vip, passing: Option<Passing>) {
        if self.passing.get(&vip) == passing.as_ref() {
            return;
        }
        self.touch();
        match passing {
            Some(passing) => self.passing.insert(vip, passing),
            None => self.passing.remove(&vip),
        };
    }

    /// Publishes something of a VIP, unless it still fades; `None`: nothing.
    pub(super) fn show(&mut self, vip: GroupKey, entry: Option<HeldEntry>) {
        let entry = match self.fading.get(&vip) {
            Some((_, epoch)) => Some(HeldEntry {
                epoch: *epoch,
                state: HeldState::Holding,
            }),
            None => entry,
        };
        if self.shown.get(&vip) == entry.as_ref() {
            return;
        }
        if !self.is_shown_changed {
            self.is_shown_changed = true;
            self.shown_version = self.shown_version.next();
        }
        let shown = Arc::make_mut(&mut self.shown);
        match entry {
            Some(entry) => shown.insert(vip, entry),
            None => shown.remove(&vip),
        };
    }

    /// A VIP is released: it stays published until the kernel is silent about it.
    pub(super) fn fade(&mut self, vip: GroupKey, epoch: Epoch) {
        let version = self.touch();
        self.fading.insert(vip, (version, epoch));
        self.awaited.insert((version, vip));
    }

    /// Whether the kernel may still answer for a VIP that was released.
    pub(super) fn is_fading(&self, vip: GroupKey) -> bool {
        self.fading.contains_key(&vip)
    }

    /// Has [`Facts::applied_now`] return this VIP when the change under way is in the kernel; returns the version.
    pub(super) fn wait_for_kernel(&mut self, vip: GroupKey) -> u64 {
        let version = self.touch();
        self.awaited.insert((version, vip));
        version
    }

    /// The kernel's tables follow this version. Returns the VIPs that waited for it; they fade no more.
    pub(super) fn applied_now(&mut self, version: u64) -> Vec<GroupKey> {
        self.applied = self.applied.max(version.min(self.version));
        let later = self.awaited.split_off(&(self.applied + 1, FIRST));
        let done = std::mem::replace(&mut self.awaited, later);
        let applied = self.applied;
        self.fading.retain(|_, (until, _)| *until > applied);
        done.into_iter().map(|(_, vip)| vip).collect()
    }

    /// The deadline passed: the kernel answers for nothing, whatever its tables say. Returns what faded.
    pub(super) fn silent(&mut self) -> Vec<GroupKey> {
        self.awaited.clear();
        std::mem::take(&mut self.fading).into_keys().collect()
    }
}

/// Before every other VIP.
const FIRST: GroupKey = GroupKey(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
