//! What the other members say of each VIP, and until when a dead one may still answer.
//!
//! An index over the [`Roster`], kept up by differences, so that a change of one member's held set costs as much as that set. It judges
//! nothing; [`super::taking`] and its neighbours do.

use super::rank::Rank;
use crate::member::{
    Boot, Directory, HeldEntry, HeldSet, HeldState, HeldVersion, Member, NodeId, Roster, Standing,
};
use crate::{Epoch, GroupKey, Mac, Time, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The others, by VIP.
#[derive(Debug, Default)]
pub(super) struct Others {
    roster: Arc<Roster>,
    published: Arc<Directory>,
    by_vip: BTreeMap<GroupKey, BTreeMap<NodeId, HeldEntry>>,
    /// The highest epoch that anybody ever published.
    pub(super) seen: Epoch,
    /// Every live member has at least this version of the own held set; `None`: there is no live member.
    pub(super) acked: Option<HeldVersion>,
    /// From now on no dead member's kernel answers for anything, also for what it took last and could not say.
    pub(super) silent_at: Time,
}

/// What others say of the VIPs of one group.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Live members that answer for one, or gave one away: each must say that it is silent.
    pub(super) holders: BTreeMap<(NodeId, GroupKey), Holder>,
    /// Live members about to take one, with the lowest such VIP.
    pub(super) rivals: BTreeMap<NodeId, GroupKey>,
    /// Whom the last of the yields names, with its epoch and who gave.
    pub(super) heir: Option<(Epoch, NodeId, NodeId)>,
    /// Members that died and may have answered for one, and until when.
    pub(super) dead: BTreeMap<(NodeId, GroupKey), (Holder, Time)>,
}

/// A member that answers for a VIP, or did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pub(super) epoch: Epoch,
    pub(super) boot: Boot,
    /// It took it, or was given it, and did not give it away.
    pub(super) is_holding: bool,
}

impl Others {
    /// Takes in a new roster, and says which VIPs are concerned.
    pub(super) fn learn(&mut self, roster: Arc<Roster>) -> BTreeSet<GroupKey> {
        let mut touched = BTreeSet::new();
        let old = std::mem::replace(&mut self.roster, roster.clone());
        for (id, before) in &old.members {
            if !roster.members.contains_key(id) {
                self.differ(*id, said(before), &HeldSet::new(), &mut touched);
            }
        }
        let nothing = HeldSet::new();
        for (id, after) in &roster.members {
            let before = old.members.get(id);
            if before.is_some_and(|before| Arc::ptr_eq(before, after)) {
                continue;
            }
            let had = before.map_or(&nothing, |before| said(before));
            self.differ(*id, had, said(after), &mut touched);
            if before.is_some_and(|b| b.standing != after.standing || b.boot != after.boot) {
                touched.extend(after.held.keys());
            }
        }
        let live = roster.members.values().filter(|member| member.is_alive());
        self.acked = live.map(|member| member.acked).min();
        let dead = roster.members.values().filter_map(|member| member.died());
        self.silent_at = dead.map(|(_, at)| at).max().unwrap_or_default();
        touched
    }

    fn differ(
        &mut self,
        id: NodeId,
        had: &HeldSet,
        has: &HeldSet,
        touched: &mut BTreeSet<GroupKey>,
    ) {
        if std::ptr::eq(had, has) {
            return;
        }
        for vip in had.keys().filter(|vip| !has.contains_key(vip)) {
            touched.insert(*vip);
            if let Some(entries) = self.by_vip.get_mut(vip) {
                entries.remove(&id);
                if entries.is_empty() {
                    self.by_vip.remove(vip);
                }
            }
        }
        for (vip, entry) in has {
            if had.get(vip) != Some(entry) {
                touched.insert(*vip);
                self.seen = self.seen.max(entry.epoch);
                self.by_vip.entry(*vip).or_default().insert(id, *entry);
            }
        }
    }

    /// Takes in whose hardware is whose, of those that were never heard, too.
    pub(super) fn look_up(&mut self, published: Arc<Directory>) {
        self.published = published;
    }

    /// The roster.
    pub(super) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// A member that is alive.
    pub(super) fn live(&self, id: NodeId) -> Option<&Member> {
        let member = self.roster.members.get(&id)?;
        member.is_alive().then_some(member)
    }

    /// Whether the kernel of a member, alive or not, takes this node's claims for a member's.
    pub(super) fn was_met(&self, id: NodeId) -> bool {
        let member = self.roster.members.get(&id);
        member.is_some_and(|member| member.has_met)
    }

    /// Whose hardware address this is.
    pub(super) fn owner_of(&self, mac: Mac) -> Option<NodeId> {
        let mut members = self.roster.members.iter();
        let found = members.find(|(_, member)| member.profile.macs.contains(&mac));
        let published = || {
            let mut published = self.published.iter();
            published.find(|(_, other)| other.macs.contains(&mac))
        };
        let found = found.map(|(id, _)| *id);
        found.or_else(|| published().map(|(id, _)| *id))
    }

    /// What a member says of a VIP.
    pub(super) fn entry(&self, vip: GroupKey, id: NodeId) -> Option<HeldEntry> {
        self.by_vip.get(&vip)?.get(&id).copied()
    }

    /// Live members that answer for a VIP.
    pub(super) fn holders(&self, vip: GroupKey) -> impl Iterator<Item = (NodeId, Epoch)> {
        let entries = self.by_vip.get(&vip).into_iter().flatten();
        entries.filter_map(|(id, entry)| match entry.state {
            HeldState::Holding if self.live(*id).is_some() => Some((*id, entry.epoch)),
            HeldState::Holding | HeldState::Preparing | HeldState::Yielded(_) => None,
        })
    }

    /// What is said of these VIPs, as `me` sees it.
    pub(super) fn view(&self, me: NodeId, vips: &BTreeSet<Vip>) -> View {
        let mut view = View::default();
        for vip in vips.iter().map(|vip| GroupKey(vip.0)) {
            for (id, entry) in self.by_vip.get(&vip).into_iter().flatten() {
                let Some(member) = self.roster.members.get(id) else {
                    continue;
                };
                self.see(&mut view, me, vip, (*id, member), *entry);
            }
        }
        view
    }

    fn see(
        &self,
        view: &mut View,
        me: NodeId,
        vip: GroupKey,
        (id, member): (NodeId, &Member),
        entry: HeldEntry,
    ) {
        let holder = Holder {
            epoch: entry.epoch,
            boot: member.boot,
            is_holding: entry.state == HeldState::Holding,
        };
        match (member.standing, entry.state) {
            (Standing::Left, _) => {}
            (Standing::Alive, HeldState::Preparing) => {
                view.rivals.entry(id).or_insert(vip);
            }
            (Standing::Alive, HeldState::Holding | HeldState::Yielded(_)) => {
                view.holders.insert((id, vip), holder);
            }
            (Standing::Dead { silent_at }, HeldState::Preparing | HeldState::Holding) => {
                view.dead.insert((id, vip), (holder, silent_at));
            }
            // It was silent before it said so.
            (Standing::Dead { .. }, HeldState::Yielded(_)) => {}
        }
        if let HeldState::Yielded(heir) = entry.state {
            let member = self.roster.members.get(&heir);
            if let Some((boot, silent_at)) = member.and_then(|member| member.died()) {
                let is_holding = true;
                let holder = Holder {
                    boot,
                    is_holding,
                    ..holder
                };
                view.dead.insert((heir, vip), (holder, silent_at));
            } else if heir == me || self.live(heir).is_some() {
                view.heir = view.heir.max(Some((entry.epoch, id, heir)));
            }
        }
    }
}

impl View {
    /// Whether `me` stands back for somebody else that prepares: the one that the last yield names goes first, then the one
    /// with precedence. `is_given`: `me` has a yield in hand. `is_late`: that led nowhere, since not all see the same yields; then
    /// precedence alone decides.
    pub(super) fn stands_back(
        &self,
        me: NodeId,
        is_given: bool,
        is_late: bool,
        rank: &Rank,
    ) -> bool {
        if let Some((_, _, heir)) = self.heir
            && !is_late
        {
            if heir == me {
                return false;
            }
            if self.rivals.contains_key(&heir) {
                return true;
            }
        }
        let mut rivals = self.rivals.iter();
        !is_given && rivals.any(|(rival, vip)| rank.precedes(*vip, *rival, me))
    }
}

fn said(member: &Member) -> &HeldSet {
    &member.held
}
