//! Claims to single stations that wait for their turn (L5.4 of `docs/layer2.md`).
//!
//! Knows nothing of what is answered for: whoever takes a claim out looks whether it still is.

use super::Place;
use crate::pace::{Budget, Pace};
use crate::{Mac, Time};
use std::collections::{BTreeSet, VecDeque};

/// Claims to single stations in any one second at most, beside the other frames.
pub const CLAIMS_PER_SECOND_MAX: u64 = 200;
/// Claims to single stations at once after a quiet time.
const BURST_CLAIMS: u64 = 50;
/// Claims that wait at most. Who is behind is claimed from again anyway, so more are left out.
pub const CLAIMS_QUEUED_MAX: usize = 4096;

/// First come, first served, and nothing twice.
#[derive(Debug)]
pub(super) struct SingleClaims {
    order: VecDeque<(Place, Mac)>,
    waiting: BTreeSet<(Place, Mac)>,
    budget: Budget,
    lost: u64,
}

impl SingleClaims {
    pub(super) const fn new() -> Self {
        Self {
            order: VecDeque::new(),
            waiting: BTreeSet::new(),
            budget: Budget::new(Pace::new(CLAIMS_PER_SECOND_MAX, BURST_CLAIMS)),
            lost: 0,
        }
    }

    /// How many were left out, since too many waited.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn add(&mut self, place: Place, mac: Mac) {
        let claim = (place, mac);
        if self.waiting.contains(&claim) {
            return;
        }
        if self.order.len() == CLAIMS_QUEUED_MAX {
            self.lost += 1;
            return;
        }
        self.waiting.insert(claim);
        self.order.push_back(claim);
    }

    pub(super) fn forget(&mut self, place: Place) {
        if self.order.is_empty() {
            return;
        }
        self.order.retain(|(of, _)| *of != place);
        self.waiting.retain(|(of, _)| *of != place);
    }

    /// The next one that may go now; it waits no longer.
    pub(super) fn next(&mut self, now: Time) -> Option<(Place, Mac)> {
        if self.order.is_empty() || !self.budget.take(now, 1) {
            return None;
        }
        let claim = self.order.pop_front()?;
        self.waiting.remove(&claim);
        Some(claim)
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.order.front().map(|_| self.budget.ready(1))
    }
}
