//! One group of VIPs as this node sees it: where it stands, and what others are told of that.
//!
//! Plain state; what leads from one to the next is in [`super::taking`], [`super::yielding`] and [`super::contest`].

use super::asking::Dispute;
use super::contest::{Contested, Doubt};
use super::moves::Moves;
use super::taking::Taking;
use super::window::Window;
use super::yielding::Draining;
use super::{Hold, Holding};
use crate::member::{HeldEntry, HeldState, HeldVersion, NodeId};
use crate::{Epoch, GroupKey, Time, Vip};
use std::collections::BTreeSet;

/// A group that this node was elected for or holds.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) vips: BTreeSet<Vip>,
    pub(super) state: State,
    /// When to look at it again.
    pub(super) due: Option<Time>,
    /// Its last voluntary moves.
    pub(super) moves: Moves,
    /// When its claims were contested lately.
    pub(super) contests: Vec<Time>,
    /// Who kept a part of it when others gave theirs.
    pub(super) keepers: BTreeSet<NodeId>,
    /// Not before then is it tried for, since it was given and could not be taken.
    pub(super) not_before: Time,
    /// It moved a while ago.
    pub(super) window: Option<Window>,
    /// It was lost in a contest and not taken since.
    pub(super) is_lost: bool,
    /// The held set whose acknowledgement its taking waits for, as noted in the index of those.
    pub(super) awaits: Option<HeldVersion>,
}

/// Where a group stands.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing is under way.
    Free,
    /// Stood back for another member that prepares; tries again later.
    Waiting,
    /// On the way to being held: published as preparing.
    Taking(Taking),
    /// Answered for.
    Holding(Own),
    /// Given away.
    Draining(Draining),
    /// Lost in a contest.
    Contested(Contested),
    /// The deadline passed.
    Lapsed,
}

/// A group that is held.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) epoch: Epoch,
    /// A fence is up, and it is being found out why.
    pub(super) doubt: Option<Doubt>,
    /// Who asked for it in vain.
    pub(super) refused: Option<Dispute>,
    /// Who last said that this node does not answer for it, and when.
    pub(super) unheard: Option<(NodeId, Time)>,
}

impl Own {
    pub(super) const fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            doubt: None,
            refused: None,
            unheard: None,
        }
    }
}

impl Group {
    pub(super) fn new(vips: BTreeSet<Vip>, state: State) -> Self {
        Self {
            vips,
            state,
            due: None,
            moves: Moves::default(),
            not_before: Time::default(),
            contests: Vec::new(),
            keepers: BTreeSet::new(),
            window: None,
            is_lost: false,
            awaits: None,
        }
    }

    /// Its VIPs, as they are published.
    pub(super) fn keys(&self) -> impl Iterator<Item = GroupKey> {
        self.vips.iter().map(|vip| GroupKey(vip.0))
    }

    /// What planning is told; `None`: free.
    pub(super) fn holding(&self) -> Option<Holding> {
        let (hold, epoch) = match &self.state {
            State::Free => return None,
            State::Waiting => (Hold::Asking, Epoch(0)),
            State::Taking(taking) if taking.is_asking => (Hold::Asking, taking.epoch),
            State::Taking(taking) => {
                let hold = taking.stranger.map_or(Hold::Preparing, Hold::Occupied);
                (hold, taking.epoch)
            }
            State::Holding(own) => (Hold::Holding, own.epoch),
            State::Draining(draining) => (Hold::Draining, draining.epoch),
            State::Contested(contested) => (Hold::Contested, contested.epoch),
            State::Lapsed => (Hold::Lapsed, Epoch(0)),
        };
        Some(Holding { hold, epoch })
    }

    /// What others are told of each of its VIPs.
    pub(super) fn entry(&self) -> Option<HeldEntry> {
        let (epoch, state) = match &self.state {
            State::Free | State::Waiting | State::Contested(_) | State::Lapsed => return None,
            State::Taking(taking) => (taking.epoch, HeldState::Preparing),
            State::Holding(own) => (own.epoch, HeldState::Holding),
            State::Draining(draining) if draining.is_silent => {
                (draining.given, HeldState::Yielded(draining.to))
            }
            State::Draining(draining) => (draining.epoch, HeldState::Holding),
        };
        Some(HeldEntry { epoch, state })
    }
}
