//! The intervals of one session, and the Poll sequence that makes a change of them safe (RFC 5880 §6.5, §6.8.3).
//!
//! What is told to the other side is one thing, what may be relied on until it answered another. Knows nothing of states: a session that
//! is not Up polls nobody.

use crate::{Span, Time};

/// Intervals as they are told: Desired Min TX and Required Min RX.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Intervals {
    pub(super) transmit: Span,
    pub(super) receive: Span,
}

/// Our intervals, and what the other side may know of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    /// What our packets say.
    told: Intervals,
    /// What counts: the shortest interval between our packets and the longest between theirs of all that the other side may still believe.
    in_force: Intervals,
    poll: Poll,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Poll {
    /// Nothing to ask.
    Idle,
    /// Our packets have P set, since then; `is_stale`: what is told has changed since.
    Asking { since: Time, is_stale: bool },
    /// Asking begins then, when no late answer to an earlier P can be about.
    Waiting(Time),
}

impl Timers {
    /// Nobody knows better.
    pub(super) const fn new(told: Intervals) -> Self {
        Self {
            told,
            in_force: told,
            poll: Poll::Idle,
        }
    }

    pub(super) const fn told(&self) -> Intervals {
        self.told
    }

    pub(super) const fn in_force(&self) -> Intervals {
        self.in_force
    }

    /// Whether packets have P set.
    pub(super) const fn is_asking(&self) -> bool {
        matches!(self.poll, Poll::Asking { .. })
    }

    /// Whether the other side knows what is told.
    pub(super) const fn is_settled(&self) -> bool {
        matches!(self.poll, Poll::Idle)
    }

    /// Tells something else, and asks whether it was heard. Whether it is news.
    pub(super) fn tell(&mut self, now: Time, told: Intervals) -> bool {
        if told == self.told {
            return false;
        }
        // RFC 5880 §6.8.3: a longer interval of ours and a shorter one of theirs hold only once the other side has answered.
        self.in_force = Intervals {
            transmit: self.in_force.transmit.min(told.transmit),
            receive: self.in_force.receive.max(told.receive),
        };
        self.told = told;
        self.ask(now);
        true
    }

    /// Asks whether what is told was heard.
    pub(super) fn ask(&mut self, now: Time) {
        match &mut self.poll {
            Poll::Idle => {
                self.poll = Poll::Asking {
                    since: now,
                    is_stale: false,
                };
            }
            Poll::Asking { is_stale, .. } => *is_stale = true,
            Poll::Waiting(_) => {}
        }
    }

    /// The other side answered with F.
    pub(super) fn answered(&mut self, now: Time) {
        match self.poll {
            Poll::Asking {
                is_stale: false, ..
            } => *self = Self::new(self.told),
            // The answer may be to what was told before. It came within a round trip, so after as long again no other is on its way.
            Poll::Asking {
                since,
                is_stale: true,
            } => self.poll = Poll::Waiting(now + now.since(since)),
            Poll::Idle | Poll::Waiting(_) => {}
        }
    }

    /// When [`Timers::expire`] is wanted.
    pub(super) const fn deadline(&self) -> Option<Time> {
        match self.poll {
            Poll::Waiting(at) => Some(at),
            Poll::Idle | Poll::Asking { .. } => None,
        }
    }

    pub(super) fn expire(&mut self, now: Time) {
        if self.deadline().is_some_and(|at| at <= now) {
            self.poll = Poll::Asking {
                since: now,
                is_stale: false,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn intervals(transmit: u64, receive: u64) -> Intervals {
        Intervals {
            transmit: Span::ms(transmit),
            receive: Span::ms(receive),
        }
    }

    #[test]
    fn rfc5880_6_8_3_longer_sending_and_shorter_hearing_wait_for_the_answer() {
        let mut timers = Timers::new(intervals(50, 50));
        assert!(timers.tell(Time::ms(0), intervals(300, 20)));
        assert!(timers.is_asking());
        assert_eq!(timers.in_force(), intervals(50, 50));
        timers.answered(Time::ms(5));
        assert_eq!(timers.in_force(), intervals(300, 20));
        assert!(timers.is_settled());
    }

    #[test]
    fn rfc5880_6_8_3_shorter_sending_and_longer_hearing_hold_at_once() {
        let mut timers = Timers::new(intervals(300, 50));
        timers.tell(Time::ms(0), intervals(50, 300));
        assert_eq!(timers.in_force(), intervals(50, 300));
        assert!(timers.is_asking());
    }

    #[test]
    fn a_change_while_asking_is_asked_for_again_when_no_late_answer_is_about() {
        let mut timers = Timers::new(intervals(50, 50));
        timers.tell(Time::ms(0), intervals(300, 50));
        timers.tell(Time::ms(10), intervals(600, 20));
        timers.answered(Time::ms(40));
        assert_eq!(timers.in_force(), intervals(50, 50), "heard of neither");
        assert!(!timers.is_asking());
        timers.answered(Time::ms(60));
        timers.expire(Time::ms(79));
        assert!(!timers.is_asking(), "answers to the first P may come yet");
        timers.expire(Time::ms(80));
        assert!(timers.is_asking());
        timers.answered(Time::ms(100));
        assert_eq!(timers.in_force(), intervals(600, 20));
    }

    #[test]
    fn what_is_no_news_is_not_asked_for() {
        let mut timers = Timers::new(intervals(50, 50));
        assert!(!timers.tell(Time::ms(0), intervals(50, 50)));
        assert!(timers.is_settled());
        timers.answered(Time::ms(1));
        assert_eq!(timers.in_force(), intervals(50, 50));
    }
}
