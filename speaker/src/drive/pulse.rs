//! The thread that renews the deadline, and with it the one that hears and is heard by other nodes.
//!
//! It owns the cell that the kernel program reads, the sockets of members and the seal. One turn takes in what came, sends the
//! heartbeats and renews the deadline, all from the same `now`. It never logs or waits for anybody: what it
//! has to say goes through bounded channels, or to a board that is written when nobody reads it.

use super::clock::{Stamp, now};
use super::membership::{Membership, Parts};
use super::wake::Wake;
use crate::dataplane::deadline::DeadlineCell;
use crate::edge::gossip::Keys;
use speaker_proto::gossip::{self, PROMISE_WAIT};
use speaker_proto::pulse::{DECIDE_AGE_MAX, Input, Output, PERIOD, PROMISE, Pulse};
use speaker_proto::{Machine, Span, Time};
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// What the deciding thread hears from the pulse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    /// A deadline is in force: VIPs may be taken.
    Armed,
    /// The deadline passed: release everything.
    Lapsed {
        /// The deadline that passed.
        deadline: Time,
    },
}

/// The pulse as seen from other threads.
#[derive(Clone)]
pub(crate) struct PulseHandle {
    asks: SyncSender<Ask>,
    inputs: SyncSender<gossip::Input>,
    wake: Wake,
    adopted: bool,
}

enum Ask {
    Arm,
    Keys(Keys),
    Promise(Span, SyncSender<bool>),
}

impl PulseHandle {
    /// Whether a deadline of the last process was in force at the start.
    pub(crate) fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// Asks for a first deadline. Asking twice is harmless; it never blocks.
    pub(crate) fn arm(&self) {
        // A full channel means a thread that hangs: there is no deadline then.
        let _asked = self.ask(Ask::Arm);
    }

    /// The keys as they are from now on. Whether they are on their way.
    pub(crate) fn install(&self, keys: Keys) -> bool {
        self.ask(Ask::Keys(keys))
    }

    /// Tells the gossip machine.
    ///
    /// # Errors
    /// With the input, when too many are under way.
    pub(crate) fn tell(&self, input: gossip::Input) -> Result<(), gossip::Input> {
        let sent = self.inputs.try_send(input);
        self.wake.ring();
        sent.map_err(|error| match error {
            TrySendError::Full(input) | TrySendError::Disconnected(input) => input,
        })
    }

    /// Leaves the kernel `grace` for a successor if all observers acknowledge it, and waits until that is known. Else, and where
    /// the pulse does not answer, the ordinary deadline stands: then `false`.
    pub(crate) fn promise(&self, grace: Span) -> bool {
        let (done, written) = sync_channel(1);
        let wait = Duration::from(PROMISE_WAIT) + 2 * Duration::from(PERIOD);
        self.ask(Ask::Promise(grace, done)) && written.recv_timeout(wait) == Ok(true)
    }

    fn ask(&self, ask: Ask) -> bool {
        let sent = self.asks.try_send(ask);
        self.wake.ring();
        sent.is_ok()
    }
}

/// Starts the thread. `decided` is when the deciding loop last finished a turn; `say` must not block. Without `keys` nothing is
/// armed or renewed before [`PulseHandle::install`].
pub(crate) fn spawn(
    cell: DeadlineCell,
    decided: Stamp,
    members: Parts,
    keys: Option<Keys>,
    say: impl Fn(Said) + Send + 'static,
) -> io::Result<PulseHandle> {
    let (mut thread, handle) = begin(cell, decided, members, keys, say)?;
    thread::Builder::new()
        .name("pulse".into())
        .spawn(move || while thread.turn() {})?;
    Ok(handle)
}

/// The thread before it runs, and the handle.
fn begin<S: Fn(Said)>(
    cell: DeadlineCell,
    decided: Stamp,
    members: Parts,
    keys: Option<Keys>,
    say: S,
) -> io::Result<(Thread<S>, PulseHandle)> {
    let pulse = Pulse::new(now(), Time::from_ns(cell.load()));
    let (asks, asked) = sync_channel(ASKS);
    let (inputs, told) = sync_channel(INPUTS);
    let wake = Wake::new()?;
    let mut members = Membership::new(members);
    if let Some(keys) = keys {
        members.install(now(), keys);
    }
    let handle = PulseHandle {
        asks,
        inputs,
        wake: wake.clone(),
        adopted: pulse.is_armed(),
    };
    let thread = Thread {
        pulse,
        members,
        cell,
        decided,
        asked,
        told,
        wake,
        say,
        leaving: None,
    };
    Ok((thread, handle))
}

struct Thread<S> {
    pulse: Pulse,
    members: Membership,
    cell: DeadlineCell,
    decided: Stamp,
    asked: Receiver<Ask>,
    told: Receiver<gossip::Input>,
    wake: Wake,
    say: S,
    /// The promise that observers were asked for, and who waits for it.
    leaving: Option<(Span, SyncSender<bool>)>,
}

impl<S: Fn(Said)> Thread<S> {
    /// One turn. `false`: the process stops.
    fn turn(&mut self) -> bool {
        let due = self.due();
        self.wake.wait(self.members.descriptors(), due);
        let turn = now();
        // What came meanwhile, before anybody is found late.
        self.members.receive(turn);
        let late = turn.since(due);
        if late > LATE_MAX {
            self.members.starved(turn, late);
        }
        if !self.listen(turn) {
            return false;
        }
        self.pulse.expire(turn);
        self.obey(turn);
        self.members.expire(turn);
        self.members.took(now().since(turn));
        !self.has_left(turn)
    }

    /// When something is due, and not at once again if it was due just now.
    fn due(&self) -> Time {
        let (at, _) = self
            .pulse
            .deadline()
            .expect("a pulse always has a next turn");
        let gossip = self.members.deadline();
        gossip.map_or(at, |gossip| gossip.max(now() + REST).min(at))
    }

    /// Takes in what other threads say. `false`: there are none any more.
    fn listen(&mut self, turn: Time) -> bool {
        for _ in 0..ASKS {
            match self.asked.try_recv() {
                Ok(Ask::Arm) => self.pulse.input(turn, Input::Arm),
                Ok(Ask::Keys(keys)) => self.members.install(turn, keys),
                Ok(Ask::Promise(grace, done)) => self.leave(turn, grace, done),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        for taken in 0..INPUTS_PER_TURN {
            let Ok(input) = self.told.try_recv() else {
                break;
            };
            self.members.input(turn, input);
            if taken + 1 == INPUTS_PER_TURN {
                self.wake.ring();
            }
        }
        true
    }

    /// Asks the observers first; what they must not expect is only what the ordinary deadline does not cover.
    fn leave(&mut self, turn: Time, grace: Span, done: SyncSender<bool>) {
        self.leaving = Some((grace, done));
        if grace > PROMISE {
            self.members.input(turn, gossip::Input::Promise(grace));
        }
    }

    fn obey(&mut self, turn: Time) {
        while let Some(output) = self.pulse.output() {
            match output {
                Output::Beat => {
                    let beat = self.beat(turn);
                    self.pulse.input(turn, beat);
                }
                Output::Store(deadline) => self.cell.store(deadline.ns()),
                Output::Armed => (self.say)(Said::Armed),
                Output::Lapsed { deadline } => (self.say)(Said::Lapsed { deadline }),
            }
        }
    }

    fn beat(&mut self, turn: Time) -> Input {
        let decided = self.decided.last();
        if self.members.is_waiting() {
            // Whom nobody can hear must not go on: as if no heartbeat had been taken.
            return Input::Beat {
                sends_accepted: 0,
                observers: usize::MAX,
                decided,
            };
        }
        let is_steered = turn.since(decided) <= DECIDE_AGE_MAX;
        self.members.input(turn, gossip::Input::Steered(is_steered));
        let heartbeats = self.members.beat(turn);
        Input::Beat {
            sends_accepted: heartbeats.accepted(),
            observers: heartbeats.observers,
            decided,
        }
    }

    /// Writes the promise once it is acknowledged (L6.3). Whether that was the last that this thread had to do.
    fn has_left(&mut self, turn: Time) -> bool {
        let Some((grace, _)) = &self.leaving else {
            return false;
        };
        let (grace, needs_nobody) = (*grace, *grace <= PROMISE);
        let Some(all) = self.members.promised().or(needs_nobody.then_some(true)) else {
            return false;
        };
        if all {
            self.pulse.input(turn, Input::Promise(grace));
            self.obey(turn);
        }
        if let Some((_, done)) = self.leaving.take() {
            let _nobody_waits_any_more = done.try_send(all);
        }
        true
    }
}

/// Arming, keys and the promise at the end, with room for a secret that changes.
const ASKS: usize = 8;
/// What deciding has to tell: a message for each group of a node that goes, and more waits there.
const INPUTS: usize = 1024;
/// Of these in one turn, so that it stays short.
const INPUTS_PER_TURN: usize = 256;
/// A turn that comes later than this has heard nobody for a while.
const LATE_MAX: Span = Span::ms(100);
/// Between two turns that nothing but a gossip deadline asks for.
const REST: Span = Span::ms(1);

#[cfg(test)]
#[path = "pulse_tests.rs"]
mod tests;
