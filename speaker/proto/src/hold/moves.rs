//! How often a group was moved without need.
//!
//! Fabrics freeze an address that moves too often (RFC 7432 §15.1: five times in 180 s), so a fifth move waits (L1.4). The count
//! goes with the group from holder to holder, or two nodes could each use it up. It knows nothing of why a move is wanted.

use super::message::{AGES, Ages, NO_AGE};
use crate::{Span, Time};

/// The last voluntary moves of a group, as its holder knows them; at most [`AGES`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Moves(Vec<Time>);

impl Moves {
    /// Whether another move is allowed at `now`.
    pub(super) fn is_allowed(&self, now: Time) -> bool {
        let recent = self.0.iter().filter(|at| now.since(**at) < WINDOW);
        recent.count() < AGES
    }

    /// A move happens at `now`.
    pub(super) fn count(&mut self, now: Time) {
        self.0.retain(|at| now.since(*at) < WINDOW);
        if self.0.len() == AGES {
            self.0.remove(0);
        }
        self.0.push(now);
    }

    /// For the next holder, whose clock is another one.
    pub(super) fn ages(&self, now: Time) -> Ages {
        let mut ages = [NO_AGE; AGES];
        for (age, at) in ages.iter_mut().zip(&self.0) {
            let ms = now.since(*at).ns() / Span::ms(1).ns();
            *age = u32::try_from(ms).unwrap_or(NO_AGE);
        }
        ages
    }

    /// What the last holder said.
    pub(super) fn inherited(now: Time, ages: Ages) -> Self {
        let known = ages.iter().filter(|age| **age != NO_AGE);
        let mut times: Vec<Time> = known.map(|age| now - Span::ms((*age).into())).collect();
        times.sort();
        Self(times)
    }
}

/// Moves count for so long.
const WINDOW: Span = Span::s(180);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l1_4_a_fifth_move_in_three_minutes_waits_whoever_made_the_others() {
        let mut now = Time::from_ns(Span::s(1_000).ns());
        let mut moves = Moves::default();
        for _ in 0..4 {
            assert!(moves.is_allowed(now));
            moves.count(now);
            let ages = moves.ages(now);
            now += Span::s(10);
            moves = Moves::inherited(now, ages);
        }
        assert!(!moves.is_allowed(now));
        assert!(!moves.is_allowed(now + Span::s(139)));
        assert!(moves.is_allowed(now + Span::s(180)));
    }
}
