//! The thread that renews the deadline.
//!
//! It owns the cell that the kernel program reads and drives [`Pulse`]. It never logs or waits for
//! anybody: what it has to say goes through a bounded channel to the deciding thread.

use super::clock::{Stamp, now};
use crate::dataplane::deadline::DeadlineCell;
use speaker_proto::pulse::{Input, Output, Pulse};
use speaker_proto::{Machine, Span, Time};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
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

/// The deciding thread's side of the pulse.
pub(crate) struct PulseHandle {
    arm: SyncSender<()>,
    /// Whether a deadline of the last process was adopted.
    pub(crate) adopted: bool,
}

impl PulseHandle {
    /// Asks for a first deadline. Asking twice is harmless.
    pub(crate) fn arm(&self) {
        match self.arm.try_send(()) {
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => unreachable!("the pulse thread lives as long as the process"),
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
    let (arm, asked) = sync_channel(1);
    thread::Builder::new()
        .name("pulse".into())
        .spawn(move || drive(pulse, &cell, &decided, &asked, say))?;
    Ok(PulseHandle { arm, adopted })
}

fn drive(
    mut pulse: Pulse,
    cell: &DeadlineCell,
    decided: &Stamp,
    asked: &Receiver<()>,
    say: impl Fn(Said),
) {
    loop {
        match asked.recv_timeout(until_turn(&pulse)) {
            Ok(()) => pulse.input(now(), Input::Arm),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let turn = now();
        pulse.expire(turn);
        while let Some(output) = pulse.output() {
            match output {
                Output::Beat => pulse.input(
                    turn,
                    Input::Beat { sends_accepted: 0, observers: 0, decided: decided.last() },
                ),
                Output::Store(deadline) => cell.store(deadline.ns()),
                Output::Armed => say(Said::Armed),
                Output::Lapsed { deadline } => say(Said::Lapsed { deadline }),
            }
        }
    }
}

fn until_turn(pulse: &Pulse) -> Duration {
    let (at, _) = pulse.deadline().expect("a pulse always has a next turn");
    at.since(now()).max(Span::from_ns(1)).into()
}
