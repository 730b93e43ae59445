//! Whose the packets of a VIP are for a while after it moved (L6.2): new connections are the new holder's, old ones stay with the node
//! that has them.
//!
//! Who gave a group sends new connections to whoever holds it now, from when that one's kernel is told of the move; who took one
//! sends back what it does not know. A group that comes back within its window is treated as if it had been here all the time: its
//! old connections are far more than those that began elsewhere meanwhile. What the kernel makes of it is not known here.

use super::group::{Group, State};
use super::machine::Holds;
use crate::member::NodeId;
use crate::{GroupKey, Span, Time, Vip};
use std::collections::BTreeMap;

/// Whose the packets of a VIP are while it moves; `None` is this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passing {
    /// Who has new connections.
    pub to: Option<NodeId>,
    /// Who has old connections that are not remembered here.
    pub from: Option<NodeId>,
    /// What was remembered before belongs to another move.
    pub since: Time,
    /// When all is over.
    pub until: Time,
}

/// The window of a group that moved.
#[derive(Clone, Debug)]
pub(super) struct Window {
    since: Time,
    pub(super) until: Time,
    /// Who gave each VIP to this node, if the window began with that.
    from: BTreeMap<GroupKey, NodeId>,
}

impl Window {
    /// Goes on with an open window, or opens one in which `from` gave this node its VIPs.
    fn open(
        old: Option<Self>,
        now: Time,
        until: Time,
        from: impl IntoIterator<Item = (GroupKey, NodeId)>,
    ) -> Self {
        match old.filter(|old| now < old.until) {
            Some(old) => Self { until, ..old },
            None => Self {
                since: now,
                until,
                from: from.into_iter().collect(),
            },
        }
    }
}

impl Holds {
    /// What must be known of packets while groups move, by VIP. Its changes are those of [`Holds::held`].
    pub fn passing(&self) -> &BTreeMap<Vip, Passing> {
        &self.facts.passing
    }

    /// A group was taken from these.
    pub(super) fn open_window(
        &self,
        now: Time,
        group: &mut Group,
        from: impl IntoIterator<Item = (GroupKey, NodeId)>,
    ) {
        let until = now + self.drain_window;
        let window = Window::open(group.window.take(), now, until, from);
        let is_empty = window.since == now && window.from.is_empty();
        group.window = (!is_empty).then_some(window);
    }

    /// A group was given: its window has begun.
    pub(super) fn end_draining(&self, now: Time, group: &mut Group) {
        let State::Draining(draining) = &mut group.state else {
            return;
        };
        let ends = now + self.drain_window;
        draining.ends = Some(ends);
        draining.passes_at = now + SETTLE;
        group.window = Some(Window::open(group.window.take(), now, ends, []));
    }

    /// What planning is told of each VIP of a group.
    pub(super) fn pass(&mut self, group: &Group) {
        for vip in group.keys() {
            let passing = self.passing_of(group, vip);
            self.facts.pass(Vip(vip.0), passing);
        }
    }

    fn passing_of(&self, group: &Group, vip: GroupKey) -> Option<Passing> {
        let window = group.window.as_ref()?;
        let to = match &group.state {
            State::Draining(draining) if draining.is_passing => {
                let holders = self.others.holders(vip);
                holders.max_by_key(|(_, epoch)| *epoch).map(|(id, _)| id)
            }
            State::Lapsed => return None,
            State::Free
            | State::Waiting
            | State::Taking(_)
            | State::Holding(_)
            | State::Draining(_)
            | State::Contested(_) => None,
        };
        let from = window.from.get(&vip).copied();
        Some(Passing {
            to,
            from: from.filter(|id| self.others.live(*id).is_some()),
            since: window.since,
            until: window.until,
        })
    }
}

/// So long the new holder has for its kernel's tables. What came there sooner would not be remembered, and be taken for old later.
const SETTLE: Span = Span::ms(200);
