//! Whether the agent may keep its kernel answering: the deadline.
//!
//! The program answers for a VIP only before a deadline in BOOTTIME that this machine renews. One turn sends the
//! heartbeats and then moves the deadline, both from the same `now`, so that a kernel is silent before others
//! may conclude that its node is gone. The rules are in `docs/layer2.md`, "Deadline"; the machine knows nothing of
//! sockets, maps or VIPs. Without observers there are no heartbeats to send and the other two conditions remain.

use crate::{Machine, Span, Time};
use std::collections::VecDeque;

/// A turn is due this long after the last: ten renewals per deadline, so that scheduling delays lose none.
pub const PERIOD: Span = Span::ms(50);
/// How far ahead the deadline is written.
pub const PROMISE: Span = Span::ms(500);
/// The deciding loop must have finished a turn this recently; longer means that nobody steers the kernel.
pub const DECIDE_AGE_MAX: Span = Span::ms(100);
/// At most this many accepted sends are asked for.
const SENDS_MIN: usize = 2;

/// The machine that owns the node-wide deadline.
#[derive(Debug)]
pub struct Pulse {
    state: State,
    next_turn: Time,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// No deadline in force: waits for [`Input::Arm`].
    Disarmed,
    /// The first turn that could renew a deadline writes one.
    Arming,
    /// The stored deadline, to be moved before it passes.
    Armed(Time),
}

/// What happens to [`Pulse`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// No VIP is answered for with an older epoch any more: a first deadline may be written, by a turn that could renew one. That turn is due
    /// at once.
    Arm,
    /// The process stops and another is to follow: leave the kernel this much time. Only a deadline in force is moved.
    Promise(Span),
    /// The heartbeats of a turn went out.
    Beat {
        /// Sends that the network stack accepted.
        sends_accepted: usize,
        /// Observers that there are.
        observers: usize,
        /// When the deciding loop last finished a turn.
        decided: Time,
    },
}

/// What [`Pulse`] wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send the heartbeats and say how it went with [`Input::Beat`] and the same `now`.
    Beat,
    /// Store this deadline.
    Store(Time),
    /// A deadline is in force again: VIPs may be taken.
    Armed,
    /// The deadline passed: release every VIP, then [`Input::Arm`].
    Lapsed {
        /// The deadline that passed.
        deadline: Time,
    },
}

impl Pulse {
    /// Starts with the deadline that the kernel holds: one that has not passed is adopted, cut to the ordinary length
    /// at once (the last process may have promised more), and renewed.
    pub fn new(now: Time, stored: Time) -> Self {
        let mut pulse = Self {
            state: State::Disarmed,
            next_turn: now,
            outputs: VecDeque::new(),
        };
        if now < stored {
            pulse.store(stored.min(now + PROMISE));
        }
        pulse
    }

    /// Whether a deadline is in force.
    pub fn is_armed(&self) -> bool {
        matches!(self.state, State::Armed(_))
    }

    fn lapse_if_past(&mut self, now: Time) {
        if let State::Armed(deadline) = self.state
            && now >= deadline
        {
            self.state = State::Disarmed;
            self.outputs.push_back(Output::Lapsed { deadline });
        }
    }

    fn store(&mut self, deadline: Time) {
        self.state = State::Armed(deadline);
        self.outputs.push_back(Output::Store(deadline));
    }
}

impl Machine for Pulse {
    type Input = Input;
    type Output = Output;

    fn input(&mut self, now: Time, input: Input) {
        self.lapse_if_past(now);
        match (input, self.state) {
            (Input::Arm, State::Disarmed) => {
                self.state = State::Arming;
                self.next_turn = self.next_turn.min(now);
            }
            (Input::Arm, State::Armed(_)) => self.outputs.push_back(Output::Armed),
            (
                Input::Beat {
                    sends_accepted,
                    observers,
                    decided,
                },
                state @ (State::Arming | State::Armed(_)),
            ) => {
                let heard = sends_accepted >= observers.min(SENDS_MIN);
                let steered = now.since(decided) <= DECIDE_AGE_MAX;
                if heard && steered {
                    self.store(now + PROMISE);
                    if state == State::Arming {
                        self.outputs.push_back(Output::Armed);
                    }
                }
            }
            (Input::Promise(grace), State::Armed(deadline)) => {
                self.store(deadline.max(now + grace))
            }
            (Input::Beat { .. }, State::Disarmed)
            | (Input::Arm, State::Arming)
            | (Input::Promise(_), State::Disarmed | State::Arming) => {}
        }
    }

    fn expire(&mut self, now: Time) {
        self.lapse_if_past(now);
        if now >= self.next_turn {
            // Counted from now, so that a starved machine does not catch up with a burst of turns.
            self.next_turn = now + PERIOD;
            self.outputs.push_back(Output::Beat);
        }
    }

    fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        Some((self.next_turn, "heartbeat"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(pulse: &mut Pulse) -> Vec<Output> {
        std::iter::from_fn(|| pulse.output()).collect()
    }

    /// A pulse that found `stored` in the kernel and took it over as it is.
    fn armed(now: Time, stored: Time) -> Pulse {
        let mut pulse = Pulse::new(now, stored);
        assert_eq!(outputs(&mut pulse), [Output::Store(stored)]);
        pulse
    }

    fn beat(decided: Time) -> Input {
        Input::Beat {
            sends_accepted: 0,
            observers: 0,
            decided,
        }
    }

    /// One turn at `now`, the deciding loop having finished at `decided`.
    fn turn(pulse: &mut Pulse, now: Time, decided: Time) -> Vec<Output> {
        pulse.expire(now);
        let mut seen = outputs(pulse);
        if seen.contains(&Output::Beat) {
            pulse.input(now, beat(decided));
            seen.extend(outputs(pulse));
        }
        seen
    }

    #[test]
    fn l5_1_a_turn_moves_the_deadline_from_its_own_now() {
        let mut pulse = armed(Time::ms(1000), Time::ms(1400));
        let seen = turn(&mut pulse, Time::ms(1000), Time::ms(990));
        assert_eq!(seen, [Output::Beat, Output::Store(Time::ms(1500))]);
    }

    #[test]
    fn l5_1_a_deciding_loop_that_hangs_is_not_covered_for() {
        let mut pulse = armed(Time::ms(1000), Time::ms(1400));
        assert_eq!(
            turn(&mut pulse, Time::ms(1000), Time::ms(899)),
            [Output::Beat]
        );
        assert_eq!(
            turn(&mut pulse, Time::ms(1050), Time::ms(950)),
            [Output::Beat, Output::Store(Time::ms(1550))],
            "a loop that came back in time is covered again"
        );
    }

    #[test]
    fn l5_1_sends_that_nobody_accepted_do_not_count() {
        let mut pulse = armed(Time::ms(0), Time::ms(500));
        for (sends_accepted, observers, stored) in [
            (0, 1, false),
            (1, 1, true),
            (1, 5, false),
            (2, 5, true),
            (0, 0, true),
        ] {
            pulse.input(
                Time::ms(10),
                Input::Beat {
                    sends_accepted,
                    observers,
                    decided: Time::ms(10),
                },
            );
            assert_eq!(
                !outputs(&mut pulse).is_empty(),
                stored,
                "{sends_accepted} of {observers}"
            );
        }
    }

    #[test]
    fn l5_1_a_lapsed_deadline_is_never_renewed() {
        let mut pulse = armed(Time::ms(1000), Time::ms(1400));
        let stopped_until = Time::ms(4000);
        let seen = turn(&mut pulse, stopped_until, stopped_until);
        assert_eq!(
            seen,
            [
                Output::Lapsed {
                    deadline: Time::ms(1400)
                },
                Output::Beat
            ]
        );
        assert_eq!(
            turn(&mut pulse, Time::ms(4050), Time::ms(4050)),
            [Output::Beat]
        );
        assert!(!pulse.is_armed());
    }

    #[test]
    fn l5_1_a_stop_between_sending_and_writing_lapses() {
        let mut pulse = armed(Time::ms(1000), Time::ms(1400));
        pulse.expire(Time::ms(1000));
        assert_eq!(outputs(&mut pulse), [Output::Beat]);
        pulse.input(Time::ms(1400), beat(Time::ms(1390)));
        assert_eq!(
            outputs(&mut pulse),
            [Output::Lapsed {
                deadline: Time::ms(1400)
            }]
        );
    }

    #[test]
    fn arming_starts_a_new_deadline_at_once_and_once() {
        let mut pulse = Pulse::new(Time::ms(1000), Time::ms(0));
        assert!(!pulse.is_armed());
        assert_eq!(
            turn(&mut pulse, Time::ms(1000), Time::ms(1000)),
            [Output::Beat]
        );
        pulse.input(Time::ms(1010), Input::Arm);
        pulse.input(Time::ms(1010), Input::Arm);
        assert_eq!(
            turn(&mut pulse, Time::ms(1010), Time::ms(1005)),
            [Output::Beat, Output::Store(Time::ms(1510)), Output::Armed]
        );
        pulse.input(Time::ms(1020), Input::Arm);
        assert_eq!(
            outputs(&mut pulse),
            [Output::Armed],
            "armed already: nothing to write"
        );
    }

    #[test]
    fn l5_1_a_first_deadline_is_not_written_for_a_deciding_loop_that_hangs() {
        let mut pulse = Pulse::new(Time::ms(1000), Time::ms(0));
        pulse.input(Time::ms(1000), Input::Arm);
        assert_eq!(
            turn(&mut pulse, Time::ms(1000), Time::ms(899)),
            [Output::Beat]
        );
        assert!(!pulse.is_armed());
        assert_eq!(
            turn(&mut pulse, Time::ms(1050), Time::ms(1040)),
            [Output::Beat, Output::Store(Time::ms(1550)), Output::Armed],
            "what was asked for is not forgotten"
        );
    }

    #[test]
    fn l5_1_a_first_deadline_waits_for_heartbeats_that_are_taken() {
        let mut pulse = Pulse::new(Time::ms(1000), Time::ms(0));
        pulse.input(Time::ms(1000), Input::Arm);
        for (sends_accepted, is_armed) in [(0, false), (1, false), (2, true)] {
            let beat = Input::Beat {
                sends_accepted,
                observers: 5,
                decided: Time::ms(1000),
            };
            pulse.input(Time::ms(1000), beat);
            assert_eq!(pulse.is_armed(), is_armed, "{sends_accepted}");
        }
    }

    #[test]
    fn a_deadline_left_by_the_last_process_is_adopted_only_before_it_passes() {
        assert!(Pulse::new(Time::ms(1399), Time::ms(1400)).is_armed());
        assert!(!Pulse::new(Time::ms(1400), Time::ms(1400)).is_armed());
    }

    #[test]
    fn l6_3_a_successor_first_cuts_the_promise_it_finds() {
        let mut pulse = Pulse::new(Time::ms(1000), Time::ms(9000));
        assert_eq!(outputs(&mut pulse), [Output::Store(Time::ms(1500))]);
    }

    #[test]
    fn l6_3_a_promise_moves_only_a_deadline_in_force_and_never_back() {
        let mut pulse = armed(Time::ms(1000), Time::ms(1400));
        pulse.input(Time::ms(1001), Input::Promise(Span::s(10)));
        assert_eq!(outputs(&mut pulse), [Output::Store(Time::ms(11_001))]);
        pulse.input(Time::ms(1002), Input::Promise(Span::ms(0)));
        assert_eq!(outputs(&mut pulse), [Output::Store(Time::ms(11_001))]);

        let mut arming = Pulse::new(Time::ms(1000), Time::ms(0));
        arming.input(Time::ms(1000), Input::Arm);
        arming.input(Time::ms(1000), Input::Promise(Span::s(10)));
        assert_eq!(outputs(&mut arming), []);

        let mut lapsed = armed(Time::ms(1000), Time::ms(1400));
        lapsed.input(Time::ms(1400), Input::Promise(Span::s(10)));
        assert_eq!(
            outputs(&mut lapsed),
            [Output::Lapsed {
                deadline: Time::ms(1400)
            }]
        );
    }

    #[test]
    fn a_starved_machine_takes_one_turn_not_many() {
        let mut pulse = armed(Time::ms(9_500), Time::ms(10_000));
        let seen = turn(&mut pulse, Time::ms(9_900), Time::ms(9_900));
        assert_eq!(seen.iter().filter(|o| **o == Output::Beat).count(), 1);
        assert_eq!(pulse.deadline(), Some((Time::ms(9_950), "heartbeat")));
        pulse.expire(Time::ms(9_901));
        assert_eq!(outputs(&mut pulse), [], "a spurious expiry is harmless");
    }
}
