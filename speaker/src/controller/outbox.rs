//! What is still to be written into services: one entry each, and when it may be tried.
//!
//! Knows neither objects nor connection; the time is an argument.

use crate::api::Failure;
use speaker_core::allocator::Event;
use speaker_core::convergence::Target;
use speaker_core::service::ServiceId;
use speaker_proto::{Span, Time};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is still to be written.
#[derive(Default)]
pub(super) struct Outbox {
    writes: BTreeMap<ServiceId, Write>,
    /// Those that wait, by the moment from which they may be tried.
    waiting: BTreeSet<(Time, ServiceId)>,
    /// Services that were written by somebody else while we wrote, and how often in a row.
    conflicts: BTreeMap<ServiceId, u32>,
}

/// What a service is still to be made to say.
pub(super) struct Write {
    /// What it must say.
    pub(super) target: Target,
    /// Told once it is written.
    pub(super) events: Vec<Event>,
    /// Why it loses what it holds, if it does.
    pub(super) cleared: Option<&'static str>,
    state: State,
    failures: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// From this moment on it may be tried.
    Waits(Time),
    /// A request is under way.
    Asked,
}

impl Write {
    /// Whether a request for it is under way.
    pub(super) fn is_asked(&self) -> bool {
        self.state == State::Asked
    }
}

impl Outbox {
    /// A service must come to say this; what was to be told with what it had to say before is void.
    pub(super) fn intend(&mut self, now: Time, id: ServiceId, target: Target) {
        match self.writes.get_mut(&id) {
            Some(write) => {
                write.target = target;
                write.events.clear();
                write.cleared = None;
            }
            None => {
                let write = Write {
                    target,
                    events: Vec::new(),
                    cleared: None,
                    state: State::Waits(now),
                    failures: 0,
                };
                self.waiting.insert((now, id.clone()));
                self.writes.insert(id, write);
            }
        }
    }

    /// What a service is to be made to say.
    pub(super) fn get(&self, id: &ServiceId) -> Option<&Write> {
        self.writes.get(id)
    }

    /// What a service is to be made to say.
    pub(super) fn get_mut(&mut self, id: &ServiceId) -> Option<&mut Write> {
        self.writes.get_mut(id)
    }

    /// Everything that is to be written.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&ServiceId, &mut Write)> {
        self.writes.iter_mut()
    }

    /// How much is to be written.
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    /// The next service to be written, if there may be one more request: it counts as asked from now on.
    pub(super) fn begin(&mut self, now: Time) -> Option<(ServiceId, &Target)> {
        if self.writes.len() - self.waiting.len() >= REQUESTS_MAX {
            return None;
        }
        self.waiting.first().filter(|(from, _)| *from <= now)?;
        let (_, id) = self.waiting.pop_first()?;
        let write = self
            .writes
            .get_mut(&id)
            .expect("what waits is to be written");
        write.state = State::Asked;
        Some((id, &write.target))
    }

    /// When something that waits may be tried.
    pub(super) fn due(&self) -> Option<Time> {
        self.waiting.first().map(|(from, _)| *from)
    }

    /// A request was answered; what is still to be written may be tried at once.
    pub(super) fn answered(&mut self, now: Time, id: &ServiceId) {
        if let Some(write) = self.writes.get_mut(id) {
            write.failures = 0;
        }
        self.conflicts.remove(id);
        self.wait(id, now);
    }

    /// A request came to nothing: it is tried again, ever more rarely, and not before the server wants. Whether it is the
    /// first failure of a row.
    pub(super) fn failed(&mut self, now: Time, id: &ServiceId, failure: &Failure) -> bool {
        let Some(write) = self.writes.get_mut(id) else {
            return false;
        };
        let doubled = WAIT_MIN.ns() << write.failures.min(DOUBLINGS_MAX);
        let asked = failure.retry_after().unwrap_or_default();
        let asked = u64::try_from(asked.as_nanos()).unwrap_or(u64::MAX);
        let wait = Span::from_ns(doubled.min(WAIT_MAX.ns()).max(asked));
        write.failures += 1;
        let is_first = write.failures == 1;
        self.wait(id, now + wait);
        is_first
    }

    /// A request met a newer version: how many conflicts in a row there were before, or `None` if there were so many that a
    /// wait helps more than another look.
    pub(super) fn conflict(&mut self, id: &ServiceId) -> Option<u32> {
        let conflicts = self.conflicts.entry(id.clone()).or_insert(0);
        *conflicts += 1;
        if *conflicts <= CONFLICTS_MAX {
            return Some(*conflicts - 1);
        }
        self.conflicts.remove(id);
        None
    }

    /// A service is not to be written any more.
    pub(super) fn remove(&mut self, id: &ServiceId) -> Option<Write> {
        let write = self.writes.remove(id)?;
        if let State::Waits(from) = write.state {
            self.waiting.remove(&(from, id.clone()));
        }
        Some(write)
    }

    /// A service is gone.
    pub(super) fn gone(&mut self, id: &ServiceId) {
        self.remove(id);
        self.conflicts.remove(id);
    }

    /// Takes away everything that no request is under way for.
    pub(super) fn take_waiting(&mut self) -> Vec<ServiceId> {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let ids: Vec<_> = waiting.map(|(_, id)| id).collect();
        for id in &ids {
            self.writes.remove(id);
        }
        ids
    }

    fn wait(&mut self, id: &ServiceId, from: Time) {
        if let Some(write) = self.writes.get_mut(id) {
            if let State::Waits(before) = write.state {
                self.waiting.remove(&(before, id.clone()));
            }
            write.state = State::Waits(from);
            self.waiting.insert((from, id.clone()));
        }
    }
}

/// Requests under way at a time: enough to hide the way to the server, too few to crowd others out.
pub(super) const REQUESTS_MAX: usize = 8;
/// Conflicts in a row; then somebody writes without pause, and a wait helps more.
pub(super) const CONFLICTS_MAX: u32 = 5;
/// The wait after a first failure.
pub(super) const WAIT_MIN: Span = Span::ms(250);
const WAIT_MAX: Span = Span::s(30);
const DOUBLINGS_MAX: u32 = 7;
