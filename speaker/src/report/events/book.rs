//! Which events were told before, and how many there may be about one object.
//!
//! Time is an argument; nothing here speaks to an API server.

use super::{Subject, Told};
use speaker_proto::{Span, Time};
use std::collections::BTreeMap;

/// What to do about an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Make it.
    Make,
    /// Count up the one that is there.
    Repeat {
        /// Its name.
        name: String,
        /// How often it happened, with this time.
        count: u32,
    },
}

/// Events that were written lately.
#[derive(Default)]
pub(super) struct Book {
    written: BTreeMap<Told, Written>,
    allowances: BTreeMap<Subject, Allowance>,
}

struct Written {
    name: String,
    count: u32,
    last: Time,
}

/// How many more events an object may get, as the time that it takes to earn them: [`REFILL`] each.
struct Allowance {
    credit: u64,
    since: Time,
}

impl Book {
    /// What to do about an event now; `None` if its object has had too many.
    pub(super) fn admit(&mut self, now: Time, told: &Told) -> Option<Step> {
        self.forget(now);
        let allowance = self
            .allowances
            .entry(told.subject.clone())
            .or_insert(Allowance {
                credit: CREDIT_MAX,
                since: now,
            });
        if !allowance.spend(now) {
            return None;
        }
        let step = self.written.get(told).map(|written| Step::Repeat {
            name: written.name.clone(),
            count: written.count + 1,
        });
        Some(step.unwrap_or(Step::Make))
    }

    /// The event is there now, under this name.
    pub(super) fn written(&mut self, now: Time, told: &Told, name: &str) {
        let written = self.written.entry(told.clone()).or_insert(Written {
            name: String::new(),
            count: 0,
            last: now,
        });
        // Under another name it was made anew, and counts from one.
        written.count = if written.name == name {
            written.count + 1
        } else {
            1
        };
        written.name = name.to_owned();
        written.last = now;
    }

    /// Keeps the book short: what the server has forgotten, and objects whose allowance is whole again.
    fn forget(&mut self, now: Time) {
        if self.written.len() >= WRITTEN_MAX {
            self.written
                .retain(|_, written| now.since(written.last) < KEPT);
        }
        while self.written.len() >= WRITTEN_MAX {
            self.written.pop_first();
        }
        if self.allowances.len() >= OBJECTS_MAX {
            self.allowances
                .retain(|_, allowance| !allowance.is_whole(now));
        }
        while self.allowances.len() >= OBJECTS_MAX {
            self.allowances.pop_first();
        }
    }
}

impl Allowance {
    fn spend(&mut self, now: Time) -> bool {
        self.credit = self.at(now);
        self.since = now;
        let may = self.credit >= REFILL.ns();
        if may {
            self.credit -= REFILL.ns();
        }
        may
    }

    fn at(&self, now: Time) -> u64 {
        let earned = now.since(self.since).ns();
        self.credit.saturating_add(earned).min(CREDIT_MAX)
    }

    fn is_whole(&self, now: Time) -> bool {
        self.at(now) == CREDIT_MAX
    }
}

/// Events about one object at once, as in client-go.
const BURST: u64 = 25;
/// One more after this long, as in client-go.
const REFILL: Span = Span::s(300);
const CREDIT_MAX: u64 = BURST * REFILL.ns();
const WRITTEN_MAX: usize = 16_384; // one for each service of a large cluster
const OBJECTS_MAX: usize = 16_384; // likewise
const KEPT: Span = Span::s(3600); // API servers keep events for an hour

#[cfg(test)]
mod tests {
    use super::*;
    use speaker_core::events::IP_ALLOCATED;

    fn told(name: &str, message: &str) -> Told {
        Told {
            subject: Subject::service("a", name, "u"),
            reason: &IP_ALLOCATED,
            message: message.into(),
        }
    }

    #[test]
    fn an_equal_event_is_counted_up_and_another_is_made() {
        let mut book = Book::default();
        let first = told("web", "m");
        assert_eq!(book.admit(Time::ms(1), &first), Some(Step::Make));
        book.written(Time::ms(1), &first, "web.1");
        let repeat = |count| {
            Some(Step::Repeat {
                name: "web.1".into(),
                count,
            })
        };
        assert_eq!(book.admit(Time::ms(2), &first), repeat(2));
        book.written(Time::ms(2), &first, "web.1");
        assert_eq!(book.admit(Time::ms(3), &first), repeat(3));
        let other = told("web", "another message");
        assert_eq!(book.admit(Time::ms(3), &other), Some(Step::Make));
    }

    #[test]
    fn an_event_made_anew_counts_from_one() {
        let mut book = Book::default();
        let event = told("web", "m");
        book.written(Time::ms(1), &event, "web.1");
        book.written(Time::ms(2), &event, "web.2");
        let step = book.admit(Time::ms(3), &event);
        assert_eq!(
            step,
            Some(Step::Repeat {
                name: "web.2".into(),
                count: 2
            })
        );
    }

    #[test]
    fn one_object_gets_a_burst_and_then_one_in_five_minutes() {
        let mut book = Book::default();
        let mut admitted = |name: &str, s: u64| {
            let at = Time::ms(s * 1000);
            (0..100)
                .filter(|n| book.admit(at, &told(name, &n.to_string())).is_some())
                .count() as u64
        };
        assert_eq!(admitted("web", 1), BURST);
        assert_eq!(admitted("other", 1), BURST, "each object has its own");
        assert_eq!(admitted("web", 299), 0);
        assert_eq!(admitted("web", 301), 1);
        assert_eq!(admitted("web", 302), 0);
        assert_eq!(admitted("web", 100_000), BURST, "and no more than that");
    }

    #[test]
    fn the_book_has_an_end() {
        let mut book = Book::default();
        for n in 0..=OBJECTS_MAX {
            let event = told(&n.to_string(), "m");
            assert!(book.admit(Time::ms(1), &event).is_some());
            book.written(Time::ms(1), &event, "e");
        }
        assert!(book.written.len() <= WRITTEN_MAX && book.allowances.len() <= OBJECTS_MAX);
    }
}
