//! What deciding sees of all this: a roster, whenever it changed, but not more often than it can be read.

use super::Output;
use super::machine::Gossip;
use super::schedule::PACE;
use crate::Time;
use crate::member::{NodeId, Roster};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The roster as it was last told, and what changed since.
#[derive(Debug)]
pub(super) struct View {
    roster: Arc<Roster>,
    touched: BTreeSet<NodeId>,
    /// To whom acknowledgements are owed once the roster is told.
    owed: BTreeSet<NodeId>,
    is_live_changed: bool,
    is_taken_changed: bool,
    /// Not told again before this.
    next: Time,
}

impl View {
    pub(super) fn new(now: Time) -> Self {
        Self {
            roster: Arc::default(),
            touched: BTreeSet::new(),
            owed: BTreeSet::new(),
            is_live_changed: false,
            is_taken_changed: false,
            next: now,
        }
    }

    pub(super) fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Something about a member may have changed.
    pub(super) fn touch(&mut self, node: NodeId) {
        self.touched.insert(node);
    }

    /// This member waits for an acknowledgement.
    pub(super) fn owe(&mut self, node: NodeId) {
        self.owed.insert(node);
    }

    /// Somebody came or went: observers are chosen anew.
    pub(super) fn live_changed(&mut self) {
        self.is_live_changed = true;
    }

    /// Another process of this name came or went.
    pub(super) fn taken_changed(&mut self) {
        self.is_taken_changed = true;
    }

    fn is_due(&self) -> bool {
        self.is_live_changed
            || self.is_taken_changed
            || !self.touched.is_empty()
            || !self.owed.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.is_due().then_some(self.next)
    }
}

impl Gossip {
    pub(super) fn view_turn(&mut self, now: Time) {
        if self.view.next > now {
            return;
        }
        let is_settled = self.view.roster.is_settled || self.is_settled(now);
        let is_news = is_settled != self.view.roster.is_settled;
        if !is_news && !self.view.is_due() {
            return;
        }
        self.view.next = now + PACE;
        if std::mem::take(&mut self.view.is_live_changed) {
            self.choose_observers(now);
        }
        let touched = std::mem::take(&mut self.view.touched);
        self.view.is_taken_changed = false;
        for node in &touched {
            self.refresh_reach(now, *node);
        }
        self.view.touched.clear();
        let mut roster = Roster::clone(&self.view.roster);
        let mut is_changed = is_news;
        for node in touched {
            let member = self.peers.get(&node).and_then(|peer| peer.member());
            is_changed |= roster.members.get(&node).map(|m| &**m) != member.as_ref();
            match member {
                Some(member) => roster.members.insert(node, Arc::new(member)),
                None => roster.members.remove(&node),
            };
        }
        is_changed |= roster.is_name_taken != self.own.is_name_taken();
        roster.is_name_taken = self.own.is_name_taken();
        roster.is_settled = is_settled;
        if is_changed {
            self.view.roster = Arc::new(roster);
            self.push_output(Output::Roster(Arc::clone(&self.view.roster)));
        }
        for node in std::mem::take(&mut self.view.owed) {
            self.send_ack(now, node);
        }
    }
}
