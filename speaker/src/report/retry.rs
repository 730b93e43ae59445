//! When a write that failed is tried again.

use crate::api::Failure;
use crate::drive::chance;
use std::time::Duration;

/// Waits that double up to a bound, each spread by chance so that a thousand nodes do not come back at once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after this failure; what the server asks for counts if it is longer.
    pub(crate) fn after(&mut self, failure: &Failure) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(DOUBLINGS_MAX));
        self.failures = self.failures.saturating_add(1);
        let wait = doubled.max(failure.retry_after().unwrap_or_default());
        wait + chance::within(wait / 2)
    }

    /// The next failure is the first again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Whether the last failure was the first of a row, which is the one worth telling.
    pub(crate) const fn is_first(&self) -> bool {
        self.failures == 1
    }
}

const FIRST: Duration = Duration::from_secs(1);
const DOUBLINGS_MAX: u32 = 5; // 32 s and half as much again: statuses are late, VIPs are not

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        Failure::Broken("reset".to_owned())
    }

    #[test]
    fn waits_double_to_a_bound() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..40)
            .map(|_| backoff.after(&failure()).as_secs())
            .collect();
        assert!((1..=1).contains(&waits[0]), "{waits:?}");
        assert!((2..=3).contains(&waits[1]), "{waits:?}");
        assert!((32..=48).contains(&waits[39]), "{waits:?}");
    }

    #[test]
    fn success_begins_anew_and_only_the_first_failure_is_told() {
        let mut backoff = Backoff::default();
        backoff.after(&failure());
        assert!(backoff.is_first());
        backoff.after(&failure());
        assert!(!backoff.is_first());
        backoff.reset();
        assert!(backoff.after(&failure()) < Duration::from_secs(2));
        assert!(backoff.is_first());
    }
}
