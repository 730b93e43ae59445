//! Which of two members goes first for a VIP, when nothing else decides.
//!
//! Members must agree on it whatever their settings, and whatever each knows of the others besides their names, or two could stand back
//! for each other. The order of names is given; that of a group's key is the election's among equals (L1.2, L5.2 of `docs/layer2.md`).

use crate::member::{Directory, NodeId, Roster};
use crate::{Epoch, GroupKey, NodeName};
use std::sync::Arc;

/// A number for each VIP and node, the same on every node: the smaller goes first. Options of the election must not change it.
pub type RankOf = fn(GroupKey, &NodeName) -> [u8; 32];

/// The order among members.
#[derive(Debug)]
pub(super) struct Rank {
    of: RankOf,
    me: NodeId,
    my_name: NodeName,
    roster: Arc<Roster>,
    published: Arc<Directory>,
}

impl Rank {
    pub(super) fn new(of: RankOf, me: NodeId, my_name: NodeName) -> Self {
        Self {
            of,
            me,
            my_name,
            roster: Arc::default(),
            published: Arc::default(),
        }
    }

    /// Takes in who is called what.
    pub(super) fn learn(&mut self, roster: Arc<Roster>) {
        self.roster = roster;
    }

    /// Takes in what others are called that were never heard.
    pub(super) fn look_up(&mut self, published: Arc<Directory>) {
        self.published = published;
    }

    /// Whether `a` goes before `b`.
    pub(super) fn precedes(&self, vip: GroupKey, a: NodeId, b: NodeId) -> bool {
        (self.place(vip, a), a) < (self.place(vip, b), b)
    }

    /// Which of two that both answer goes on: the later taking, then precedence.
    pub(super) fn outlasts(&self, vip: GroupKey, a: (NodeId, Epoch), b: (NodeId, Epoch)) -> bool {
        a.1 > b.1 || a.1 == b.1 && self.precedes(vip, a.0, b.0)
    }

    /// Who was forgotten meanwhile comes last.
    fn place(&self, vip: GroupKey, id: NodeId) -> [u8; 32] {
        let member = self.roster.members.get(&id);
        let heard = member.map(|member| &member.profile.name);
        let name = match id == self.me {
            true => Some(&self.my_name),
            false => heard.or_else(|| self.published.get(&id).map(|other| &other.name)),
        };
        name.map_or([u8::MAX; 32], |name| (self.of)(vip, name))
    }
}
