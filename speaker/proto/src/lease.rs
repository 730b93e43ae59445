//! Whether this process is the one that writes: leadership by a Lease of the API server.
//!
//! Three lengths of time keep two writers apart without comparing clocks. A leader renews every two seconds, and stops
//! writing while what it has begun can still end within [`DEADLINE`] of the start of its last successful renewal. Others
//! take a Lease over only after they saw no change of it for [`DURATION`]. Between the two lies a margin for the rate
//! of clocks; their setting plays no part, because nobody reads a time out of the Lease.
//!
//! What was sent can still land late, from a buffer of a process or machine that stood still. Versions keep that from
//! touching the Lease; for anything else it is the reader's to bear (`docs/controller.md`, "One writer").
//!
//! Whoever deletes the Lease by hand, while a leader lives, takes two seconds of that certainty: a process that has
//! never seen a Lease makes one and writes. The lengths are client-go's (its package leaderelection), whose form of
//! Lease this is. The machine knows nothing of HTTP, names or objects.

use crate::{Machine, Span, Time};
use std::collections::VecDeque;

/// Unchanged for so long, as seen by who wants it, a Lease is free.
pub const DURATION: Span = Span::s(15);
/// So long after the start of the last successful renewal, nothing that the leader began may still be under way.
pub const DEADLINE: Span = Span::s(10);
/// Renewals, and looks at what others hold, are so far apart: four tries fit before the leader must stop writing.
pub const RETRY: Span = Span::s(2);
/// The longest that one request of a leader may take.
pub const REQUEST_MAX: Span = Span::s(5);

/// What a Lease says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Whose it is.
    pub holder: Holder,
    /// The version of the object: another one means that somebody wrote.
    pub version: String,
}

/// Whose a Lease is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// It was given back.
    Nobody,
    /// This process holds it.
    Us,
    /// Another one does.
    Another,
}

/// What happens to a [`Lease`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The answer to [`Output::Read`]; `None`: there is no Lease.
    Seen(Option<Record>),
    /// The last [`Output::Write`] was taken.
    Written,
    /// It was refused, since somebody wrote, made or deleted the Lease in between.
    Conflict,
    /// The last request came to nothing: no answer, or one that says nothing about the Lease.
    Failed,
    /// This process stops, and no write of it is under way any more.
    Resign,
}

/// What a [`Lease`] wants done. One request is under way at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// Read the Lease.
    Read,
    /// Write it over the version that was seen or written last.
    Write(Claim),
    /// This process leads: it reads everything anew and may write while [`Lease::may_write`].
    Leads,
    /// This process leads no more, and must end.
    Deposed(&'static str),
    /// What was held is given back, or left to run out; the process can end.
    Resigned,
}

/// What to write into a Lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// There is none: make it, as ours.
    Make,
    /// Make it ours.
    Take,
    /// It is ours still.
    Renew,
    /// It is nobody's.
    Release,
}

/// The machine of one process that wants to lead.
#[derive(Debug)]
pub struct Lease {
    state: State,
    asked: Option<Asked>,
    next_turn: Time,
    is_resigning: bool,
    outputs: VecDeque<Output>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    /// Nothing is known of the Lease yet.
    New,
    /// Somebody else's turn: what the Lease said last, and since when it has.
    Follows(Option<Record>, Time),
    /// Ours.
    Leads {
        /// When the last renewal that succeeded was begun.
        renewed: Time,
        /// Somebody wrote the Lease, and it is not known who.
        in_doubt: bool,
    },
    /// Deposed or resigned.
    Over,
}

/// The request that is under way, and when it was begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Read,
    Write(Claim, Time),
}

impl Lease {
    /// A process that wants to lead from now on.
    pub const fn new(now: Time) -> Self {
        Self {
            state: State::New,
            asked: None,
            next_turn: now,
            is_resigning: false,
            outputs: VecDeque::new(),
        }
    }

    /// Whether a request of at most [`REQUEST_MAX`] may be begun now.
    pub fn may_write(&self, now: Time) -> bool {
        self.writes_until().is_some_and(|end| now < end)
    }

    /// Until when such requests may be begun, as things are; `None`: not at all.
    pub fn writes_until(&self) -> Option<Time> {
        match self.state {
            State::Leads {
                renewed,
                in_doubt: false,
            } if !self.is_resigning => Some(renewed + DEADLINE - REQUEST_MAX),
            State::New | State::Follows(..) | State::Leads { .. } | State::Over => None,
        }
    }

    /// Whether the Lease is this process's.
    pub const fn leads(&self) -> bool {
        matches!(self.state, State::Leads { .. })
    }

    fn read(&mut self) {
        self.asked = Some(Asked::Read);
        self.outputs.push_back(Output::Read);
    }

    fn write(&mut self, now: Time, claim: Claim) {
        self.asked = Some(Asked::Write(claim, now));
        self.outputs.push_back(Output::Write(claim));
    }

    fn depose(&mut self, why: &'static str) {
        self.state = State::Over;
        self.outputs.push_back(Output::Deposed(why));
    }

    fn seen(&mut self, now: Time, record: Option<Record>) {
        match &self.state {
            State::New => self.follow(now, record, true),
            State::Follows(before, since) => {
                let since = if *before == record { *since } else { now };
                self.state = State::Follows(record, since);
                self.claim(now, since, false);
            }
            State::Leads { renewed, .. } => match record.map(|record| record.holder) {
                // Our own renewal, of which no answer came.
                Some(Holder::Us) => {
                    self.state = State::Leads {
                        renewed: *renewed,
                        in_doubt: false,
                    };
                    self.write(now, Claim::Renew);
                }
                Some(Holder::Another | Holder::Nobody) => {
                    self.depose("somebody else wrote the Lease");
                }
                None => self.depose("the Lease was deleted"),
            },
            State::Over => {}
        }
    }

    fn follow(&mut self, now: Time, record: Option<Record>, is_first_look: bool) {
        self.state = State::Follows(record, now);
        self.claim(now, now, is_first_look);
    }

    /// Claims the Lease that said the same since `since`, if it is free.
    fn claim(&mut self, now: Time, since: Time, is_first_look: bool) {
        let State::Follows(record, _) = &self.state else {
            return;
        };
        let is_expired = now >= since + DURATION;
        match record.as_ref().map(|record| record.holder) {
            None if is_first_look || is_expired => self.write(now, Claim::Make),
            // Ours by a claim of which no answer came: only one that is answered counts.
            Some(Holder::Nobody | Holder::Us) => self.write(now, Claim::Take),
            Some(Holder::Another) if is_expired => self.write(now, Claim::Take),
            None | Some(Holder::Another) => {}
        }
    }

    fn written(&mut self, claim: Claim, begun: Time) {
        match (claim, &self.state) {
            (Claim::Make | Claim::Take, State::Follows(..)) => {
                self.state = State::Leads {
                    renewed: begun,
                    in_doubt: false,
                };
                self.outputs.push_back(Output::Leads);
            }
            (Claim::Renew, State::Leads { .. }) => {
                self.state = State::Leads {
                    renewed: begun,
                    in_doubt: false,
                };
            }
            (Claim::Release, _) => self.resigned(),
            (Claim::Make | Claim::Take | Claim::Renew, _) => {}
        }
    }

    fn conflict(&mut self, claim: Claim) {
        match (claim, &self.state) {
            (Claim::Release, _) => self.resigned(),
            (_, State::Leads { renewed, .. }) => {
                self.state = State::Leads {
                    renewed: *renewed,
                    in_doubt: true,
                };
                self.read();
            }
            (_, State::New | State::Follows(..) | State::Over) => {}
        }
    }

    fn resigned(&mut self) {
        self.state = State::Over;
        self.outputs.push_back(Output::Resigned);
    }

    /// Gives back what is held, once nothing is under way.
    fn resign(&mut self, now: Time) {
        if !self.is_resigning || self.asked.is_some() {
            return;
        }
        match self.state {
            State::Leads {
                in_doubt: false, ..
            } => self.write(now, Claim::Release),
            State::Leads { in_doubt: true, .. } | State::New | State::Follows(..) => {
                self.resigned();
            }
            State::Over => {}
        }
    }

    fn lapse_if_late(&mut self, now: Time) {
        if let State::Leads { renewed, .. } = self.state
            && now >= renewed + DEADLINE
        {
            self.depose("the Lease could not be renewed in time");
        }
    }
}

impl Machine for Lease {
    type Input = Input;
    type Output = Output;

    fn input(&mut self, now: Time, input: Input) {
        match (input, self.asked) {
            (Input::Resign, _) => self.is_resigning = true,
            (Input::Seen(record), Some(Asked::Read)) => {
                self.asked = None;
                self.seen(now, record);
            }
            (Input::Written, Some(Asked::Write(claim, begun))) => {
                self.asked = None;
                self.written(claim, begun);
            }
            (Input::Conflict, Some(Asked::Write(claim, _))) => {
                self.asked = None;
                self.conflict(claim);
            }
            (Input::Failed, Some(Asked::Write(Claim::Release, _))) => {
                self.asked = None;
                self.resigned();
            }
            (Input::Failed, _) => self.asked = None,
            // An answer to what was not asked says nothing about now.
            (Input::Seen(_) | Input::Written | Input::Conflict, _) => {}
        }
        self.lapse_if_late(now);
        self.resign(now);
    }

    fn expire(&mut self, now: Time) {
        self.lapse_if_late(now);
        if now < self.next_turn {
            return;
        }
        // Counted from now, so that a process that stood still does not catch up with a burst of turns.
        self.next_turn = now + RETRY;
        if self.asked.is_some() || self.is_resigning {
            return;
        }
        match self.state {
            State::New | State::Follows(..) | State::Leads { in_doubt: true, .. } => self.read(),
            State::Leads {
                in_doubt: false, ..
            } => self.write(now, Claim::Renew),
            State::Over => {}
        }
    }

    fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        match self.state {
            State::Leads { renewed, .. } if renewed + DEADLINE < self.next_turn => {
                Some((renewed + DEADLINE, "the Lease's end"))
            }
            State::New | State::Follows(..) | State::Leads { .. } => {
                Some((self.next_turn, "the next look at the Lease"))
            }
            State::Over => None,
        }
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
