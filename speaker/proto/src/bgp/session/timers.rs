//! Jitter, and how waits grow (RFC 4271 §8.1.1 DampPeerOscillations, §10).
//!
//! Knows no state: who waits, for what, and when a growth starts again is said by the caller.

use crate::Span;
use crate::gossip::mix;

/// Chance that anybody can repeat: it begins with a number that was given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// RFC 4271 §10: between 0.75 and 1 of it, evenly.
    pub(super) fn jitter(&mut self, span: Span) -> Span {
        self.0 = self.0.wrapping_add(1);
        let parts = 768 + mix(self.0) % 257;
        Span::from_ns((u128::from(span.ns()) * u128::from(parts) / 1024) as u64)
    }
}

/// A wait that doubles with each failure, from a second up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one failure more.
    pub(super) fn next(&mut self, max: Span) -> Span {
        let wait = Span::from_ns(FIRST.ns() << self.failures);
        self.failures = (self.failures + 1).min(DOUBLINGS_MAX);
        wait.min(max)
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The wait after the first failure.
const FIRST: Span = Span::s(1);
/// A second doubled so often is longer than any wait that may be configured in use, and far from the end of the range.
const DOUBLINGS_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4271_10_jitter_is_between_three_quarters_and_all() {
        let mut chance = Chance::new(7);
        let seen: Vec<u64> = (0..2_000)
            .map(|_| chance.jitter(Span::s(10)).ns() / 10_000_000)
            .collect();
        assert!(seen.iter().all(|percent| (750..=1000).contains(percent)));
        assert!(
            seen.iter().any(|percent| *percent < 760) && seen.iter().any(|percent| *percent > 990)
        );
        assert_eq!(chance.jitter(Span::s(0)), Span::s(0));
    }

    #[test]
    fn rfc4271_8_1_1_a_wait_doubles_up_to_its_limit_and_begins_anew() {
        let mut backoff = Backoff::default();
        let mut seen: Vec<Span> = (0..8).map(|_| backoff.next(Span::s(60))).collect();
        assert_eq!(seen, [1, 2, 4, 8, 16, 32, 60, 60].map(Span::s));
        seen.extend((0..100).map(|_| backoff.next(Span::s(60))));
        assert_eq!(seen.last(), Some(&Span::s(60)));
        backoff.reset();
        assert_eq!(backoff.next(Span::s(60)), Span::s(1));
    }
}
