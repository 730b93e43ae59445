//! What is still to be written into services: one entry each, and when it may be tried.
//!
//! An address that one service loses and another gets is written out of the first before it is written into the second:
//! no status ever says what another one still says, also if this process ends in between. Where services wait for each
//! other in a circle, one of them is emptied first.
//!
//! Knows neither objects nor connection; the time is an argument.

use crate::api::Failure;
use speaker_core::allocator::Event;
use speaker_core::convergence::Target;
use speaker_core::service::ServiceId;
use speaker_proto::{Span, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Everything that is still to be written.
#[derive(Default)]
pub(super) struct Outbox {
    writes: BTreeMap<ServiceId, Write>,
    /// Those that wait, by the moment from which they may be tried.
    waiting: BTreeSet<(Time, ServiceId)>,
    /// Addresses that statuses still say and must not say any more.
    leaving: BTreeSet<(IpAddr, ServiceId)>,
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
    /// What the status says now, as far as it is known, or may come to say by a request that is under way.
    said: BTreeSet<IpAddr>,
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

    /// What the status says and must not say any more.
    fn leaving(&self) -> impl Iterator<Item = IpAddr> {
        let said = self.said.iter().copied();
        said.filter(|ip| !self.target.ips.contains(ip))
    }
}

impl Outbox {
    /// A service that says `held` must come to say this; what was to be told with what it had to say before is void.
    pub(super) fn intend(&mut self, now: Time, id: ServiceId, target: Target, held: Vec<IpAddr>) {
        let mut said: BTreeSet<IpAddr> = held.into_iter().collect();
        if let Some(write) = self.writes.get_mut(&id) {
            // A request that failed may have been carried out.
            if write.is_asked() || write.failures > 0 {
                said.extend(&write.target.ips);
                said.extend(&write.said);
            }
            write.target = target;
            write.events.clear();
            write.cleared = None;
        } else {
            let write = Write {
                target,
                events: Vec::new(),
                cleared: None,
                said: BTreeSet::new(),
                state: State::Waits(now),
                failures: 0,
            };
            self.waiting.insert((now, id.clone()));
            self.writes.insert(id.clone(), write);
        }
        self.stay(&id);
        let write = self.writes.get_mut(&id).expect("it was put there above");
        write.said = said;
        let leaving = write.leaving().map(|ip| (ip, id.clone()));
        self.leaving.extend(leaving);
    }

    /// Nothing that the service says is on its way out any more.
    fn stay(&mut self, id: &ServiceId) {
        if let Some(write) = self.writes.get(id) {
            for ip in write.leaving() {
                self.leaving.remove(&(ip, id.clone()));
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

    /// Whether as many requests are under way as may be, and more is to be written.
    pub(super) fn is_pressed(&self) -> bool {
        !self.waiting.is_empty() && self.asked() >= REQUESTS_MAX
    }

    /// Requests under way.
    fn asked(&self) -> usize {
        self.writes.len() - self.waiting.len()
    }

    /// The next service to be written, if there may be one more request: it counts as asked from now on.
    pub(super) fn begin(&mut self, now: Time) -> Option<(ServiceId, Target)> {
        if self.asked() >= REQUESTS_MAX {
            return None;
        }
        let (from, id, is_free) = self.first()?;
        if from > now {
            return None;
        }
        self.waiting.remove(&(from, id.clone()));
        let write = self
            .writes
            .get_mut(&id)
            .expect("what waits is to be written");
        write.state = State::Asked;
        let target = is_free.then(|| write.target.clone());
        Some((id, target.unwrap_or_default()))
    }

    /// When something that waits may be tried.
    pub(super) fn due(&self) -> Option<Time> {
        self.first().map(|(from, ..)| from)
    }

    /// What may be tried first, from when on, and whether what it takes is free. If each waits for another, the first that
    /// gives something up does that.
    fn first(&self) -> Option<(Time, ServiceId, bool)> {
        let mut waiting = self.waiting.iter();
        let free = waiting.find(|(_, id)| !self.is_blocked(id));
        if let Some((from, id)) = free {
            return Some((*from, id.clone(), true));
        }
        if self.asked() > 0 {
            return None;
        }
        let gives_up = |id: &ServiceId| self.writes[id].leaving().next().is_some();
        let (from, id) = self.waiting.iter().find(|(_, id)| gives_up(id))?;
        Some((*from, id.clone(), false))
    }

    /// Whether another service still says what this one is to say.
    fn is_blocked(&self, id: &ServiceId) -> bool {
        let write = &self.writes[id];
        let taken = write.target.ips.iter();
        let mut taken = taken.filter(|ip| !write.said.contains(ip));
        taken.any(|ip| {
            let leaving = self.leaving.range((*ip, FIRST)..);
            let mut leaving = leaving.take_while(|(other, _)| other == ip);
            leaving.any(|(_, other)| other != id)
        })
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
        self.stay(id);
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
            self.stay(id);
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
/// Before every other one.
const FIRST: ServiceId = ServiceId {
    namespace: String::new(),
    name: String::new(),
};
