//! What the API server said of callers, for as long as it may be reused: pure, the time is an argument.
//!
//! Keyed by a hash: no token is kept. Bounded: bad answers make room first, so that guesses push out no scraper.

use speaker_proto::{Span, Time};
use std::collections::BTreeMap;

/// A token's SHA-256.
pub(super) type Key = [u8; 32];

/// What was said of a caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// May read.
    Allowed,
    /// Is nobody the API server knows.
    Unknown,
    /// Is known and may not.
    Forbidden {
        /// Who it is.
        user: String,
    },
}

/// The verdicts at hand.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    kept: BTreeMap<Key, (Verdict, Time)>,
    /// When questions were asked lately.
    asked: Vec<Time>,
}

impl Verdicts {
    /// A verdict so fresh that nobody need be asked.
    pub(super) fn fresh(&self, now: Time, key: &Key) -> Option<Verdict> {
        let (verdict, at) = self.kept.get(key)?;
        let reuse = match verdict {
            Verdict::Allowed => ALLOWED_FRESH,
            Verdict::Unknown | Verdict::Forbidden { .. } => REFUSED_FRESH,
        };
        (now.since(*at) < reuse).then(|| verdict.clone())
    }

    /// Whether the caller was found good so lately that it may read while the API server cannot be asked.
    pub(super) fn was_allowed(&self, now: Time, key: &Key) -> bool {
        let kept = self.kept.get(key);
        kept.is_some_and(|(verdict, at)| {
            *verdict == Verdict::Allowed && now.since(*at) < ALLOWED_STALE
        })
    }

    /// Whether the API server may be asked once more; notes that it is.
    pub(super) fn ask(&mut self, now: Time) -> bool {
        self.asked.retain(|at| now.since(*at) < ASKED_SPAN);
        let may = self.asked.len() < ASKED_MAX;
        if may {
            self.asked.push(now);
        }
        may
    }

    /// Keeps what was said.
    pub(super) fn keep(&mut self, now: Time, key: Key, verdict: Verdict) {
        self.kept.insert(key, (verdict, now));
        while self.kept.len() > KEPT_MAX {
            let least =
                |(_, (verdict, at)): &(&Key, &(Verdict, Time))| (*verdict == Verdict::Allowed, *at);
            let Some(oldest) = self.kept.iter().min_by_key(least).map(|(key, _)| *key) else {
                return;
            };
            self.kept.remove(&oldest);
        }
    }
}

const ALLOWED_FRESH: Span = Span::s(60); // a right that was taken away ends within that
const ALLOWED_STALE: Span = Span::s(600); // while the API server cannot be asked
const REFUSED_FRESH: Span = Span::s(10); // a right that was given counts from the next scrape but one
const KEPT_MAX: usize = 64; // tokens of a few scrapers, each renewed within the hour
/// Questions within [`ASKED_SPAN`]: anyone may send tokens, and the API server must not pay for it.
const ASKED_MAX: usize = 50;
const ASKED_SPAN: Span = Span::s(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        let mut key = Key::default();
        key[..8].copy_from_slice(&n.to_be_bytes());
        key
    }

    fn at(s: u64) -> Time {
        Time::ms(s * 1000)
    }

    #[test]
    fn a_good_answer_is_reused_a_minute_and_ten_while_nobody_can_be_asked() {
        let mut verdicts = Verdicts::default();
        verdicts.keep(at(100), key(1), Verdict::Allowed);
        for (s, is_fresh, is_good_for_an_outage) in [
            (100, true, true),
            (159, true, true),
            (160, false, true),
            (699, false, true),
            (700, false, false),
        ] {
            assert_eq!(verdicts.fresh(at(s), &key(1)).is_some(), is_fresh, "{s}");
            assert_eq!(
                verdicts.was_allowed(at(s), &key(1)),
                is_good_for_an_outage,
                "{s}"
            );
        }
        assert_eq!(verdicts.fresh(at(100), &key(2)), None);
        assert!(!verdicts.was_allowed(at(100), &key(2)));
    }

    #[test]
    fn a_bad_answer_is_reused_ten_seconds_and_lets_nobody_in() {
        let forbidden = Verdict::Forbidden {
            user: "u".to_owned(),
        };
        for bad in [Verdict::Unknown, forbidden] {
            let mut verdicts = Verdicts::default();
            verdicts.keep(at(100), key(1), Verdict::Allowed);
            verdicts.keep(at(101), key(1), bad.clone());
            assert_eq!(verdicts.fresh(at(110), &key(1)), Some(bad));
            assert_eq!(verdicts.fresh(at(111), &key(1)), None);
            assert!(
                !verdicts.was_allowed(at(101), &key(1)),
                "a right was taken away"
            );
        }
    }

    #[test]
    fn guesses_push_out_no_scraper() {
        let mut verdicts = Verdicts::default();
        verdicts.keep(at(1), key(0), Verdict::Allowed);
        for n in 1..10_000 {
            verdicts.keep(at(2), key(n), Verdict::Unknown);
        }
        assert_eq!(verdicts.kept.len(), KEPT_MAX);
        assert!(verdicts.was_allowed(at(2), &key(0)));
        for n in 1..1000 {
            verdicts.keep(at(3), key(n), Verdict::Allowed);
        }
        assert_eq!(verdicts.kept.len(), KEPT_MAX);
        assert!(
            !verdicts.was_allowed(at(3), &key(0)),
            "the oldest goes first"
        );
        assert!(verdicts.was_allowed(at(3), &key(999)));
    }

    #[test]
    fn questions_are_bounded_in_time() {
        let mut verdicts = Verdicts::default();
        let asked = (0..1000).filter(|_| verdicts.ask(at(5))).count();
        assert_eq!(asked, ASKED_MAX);
        assert!(!verdicts.ask(at(14)) && verdicts.ask(at(15)));
    }
}
