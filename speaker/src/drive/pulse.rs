//! The thread that renews the deadline.
//!
//! It owns the cell that the kernel program reads and drives [`Pulse`]. It never logs or waits for
//! anybody: what it has to say goes through a bounded channel to the deciding thread.

use super::clock::{Stamp, now};
use crate::dataplane::deadline::DeadlineCell;
use speaker_proto::pulse::{Input, Output, PERIOD, Pulse};
use speaker_proto::{Machine, Span, Time};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
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
    adopted: bool,
}

enum Ask {
    Arm,
    Promise(Span, SyncSender<()>),
}

impl PulseHandle {
    /// Whether a deadline of the last process was in force at the start.
    pub(crate) fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// Asks for a first deadline. Asking twice is harmless; it never blocks.
    pub(crate) fn arm(&self) {
        // A full channel means that the thread has been asked and not yet answered.
        let _asked_already = self.asks.try_send(Ask::Arm);
    }

    /// Leaves the kernel `grace` for a successor, and waits until that is written. A pulse that does not answer has not
    /// renewed either: then the ordinary deadline stands.
    pub(crate) fn promise(&self, grace: Span) {
        let (done, written) = sync_channel(1);
        if self.asks.try_send(Ask::Promise(grace, done)).is_ok() {
            let _written_or_hung = written.recv_timeout(PERIOD.into());
        }
    }
}

/// Starts the thread. `decided` is when the deciding loop last finished a turn; `say` must not block.
pub(crate) fn spawn(
    cell: DeadlineCell,
    decided: Stamp,
    say: impl Fn(Said) + Send + 'static,
) -> std::io::Result<PulseHandle> {
    let pulse = Pulse::new(now(), Time::from_ns(cell.load()));
    let adopted = pulse.is_armed();
    let (asks, asked) = sync_channel(ASKS);
    thread::Builder::new()
        .name("pulse".into())
        .spawn(move || drive(pulse, &cell, &decided, &asked, say))?;
    Ok(PulseHandle { asks, adopted })
}

fn drive(
    mut pulse: Pulse,
    cell: &DeadlineCell,
    decided: &Stamp,
    asked: &Receiver<Ask>,
    say: impl Fn(Said),
) {
    loop {
        let mut written = None;
        match asked.recv_timeout(until_turn(&pulse)) {
            Ok(Ask::Arm) => pulse.input(now(), Input::Arm),
            Ok(Ask::Promise(grace, done)) => {
                pulse.input(now(), Input::Promise(grace));
                written = Some(done);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let turn = now();
        pulse.expire(turn);
        while let Some(output) = pulse.output() {
            match output {
                Output::Beat => pulse.input(
                    turn,
                    Input::Beat {
                        sends_accepted: 0,
                        observers: 0,
                        decided: decided.last(),
                    },
                ),
                Output::Store(deadline) => cell.store(deadline.ns()),
                Output::Armed => say(Said::Armed),
                Output::Lapsed { deadline } => say(Said::Lapsed { deadline }),
            }
        }
        if let Some(done) = written {
            let _nobody_waits_any_more = done.try_send(());
            return;
        }
    }
}

fn until_turn(pulse: &Pulse) -> Duration {
    let (at, _) = pulse.deadline().expect("a pulse always has a next turn");
    at.since(now()).max(Span::from_ns(1)).into()
}

/// Arming and the promise at the end.
const ASKS: usize = 2;
