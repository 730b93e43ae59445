//! What the controller knows and what it still has to write: a machine without I/O.
//!
//! Objects come in, [`Desk::pass`] lets the allocator decide, [`Desk::next`] says what to write, and the answers come back.
//! What was decided counts as done in [`World`] from the start, so that no later pass gives an address away that is on its
//! way into a status; an object that turns out to be another one than it was takes its place again, and is decided anew.
//! The statuses are the truth: nothing is remembered of them beyond a process's life. Knows neither clock nor
//! connection, nor whether it may write.

use super::stock::{Arrival, Stock, Writer};
use crate::api::Failure;
use crate::source;
use crate::source::kube::{Item, Told};
use serde_json::Value;
use speaker_core::allocator::{
    self, Allocation, Assignment, Assignments, Cleared, Event, POOL_ANNOTATION, Usage,
};
use speaker_core::convergence::{Target, changes};
use speaker_core::service::{Service, ServiceId};
use speaker_core::{Kind, Object, ObjectKey, Problem, World};
use speaker_proto::{Span, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The state of a leading controller.
pub(super) struct Desk {
    world: World,
    namespace: String,
    class: Option<String>,
    assignments: Assignments,
    stock: Stock,
    writes: BTreeMap<ServiceId, Write>,
    /// Services that were written by somebody else while we wrote, and how often in a row.
    conflicts: BTreeMap<ServiceId, u32>,
    /// Events that come back with every pass, as of the last one.
    standing: BTreeSet<Event>,
    is_changed: bool,
    /// Objects taken so far, and the faulty ones among them.
    pub(super) updates: u64,
    /// Of those, the faulty ones.
    pub(super) update_errors: u64,
    /// Addresses that were taken from a service because another one has them.
    pub(super) duplicates: u64,
}

/// What a service is still to be made to say.
struct Write {
    target: Target,
    state: State,
    failures: u32,
    /// Told once it is written.
    events: Vec<Event>,
    cleared: Option<&'static str>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    /// From this moment on it may be tried.
    Waits(Time),
    /// A request is under way that says this.
    Asked(Target),
    /// It is being read anew.
    Reads,
}

/// One request for a service.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Request {
    /// Write this status.
    Write(ServiceId, Value),
    /// Somebody else wrote it: read it, after a wait for the n-th conflict in a row.
    Read(ServiceId, u32),
}

/// What is worth telling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// An event of a service, and the UID of the service.
    Event(Event, String),
    /// What a service held is taken from it.
    Cleared(ServiceId, &'static str),
    /// A status was written.
    Written(ServiceId),
    /// A service is gone.
    Deleted(ServiceId),
    /// A status cannot be written; told for the first failure of a row.
    Failed(ServiceId, String),
    /// Somebody else wrote a status of ours.
    Foreign(ServiceId, Writer),
}

/// What a pass came to.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Passed {
    /// How full each pool is whose status is to be written.
    pub(super) usage: BTreeMap<String, Usage>,
    /// What is wrong with the configuration.
    pub(super) config_problems: Vec<Problem>,
    /// Services that do not have what they ask for, by the allocator.
    pub(super) service_problems: Vec<Problem>,
}

impl Desk {
    pub(super) fn new(namespace: &str, class: Option<String>) -> Self {
        Self {
            world: World::default(),
            namespace: namespace.to_owned(),
            class,
            assignments: Assignments::new(),
            stock: Stock::default(),
            writes: BTreeMap::new(),
            conflicts: BTreeMap::new(),
            standing: BTreeSet::new(),
            is_changed: false,
            updates: 0,
            update_errors: 0,
            duplicates: 0,
        }
    }

    /// Takes what the API server tells.
    pub(super) fn take(&mut self, now: Time, item: Item) -> Vec<News> {
        let kind = item.kind;
        let mut news = Vec::new();
        let item = match (kind, item.told) {
            (Kind::Service, Told::Put(object)) => return self.service(now, object),
            (Kind::Service, Told::Gone(namespace, name)) => {
                let id = ServiceId { namespace, name };
                self.stock.remove(&id);
                self.writes.remove(&id);
                self.conflicts.remove(&id);
                let service = self.world.services.get(&id);
                if service.is_some_and(|service| service.is_load_balancer) {
                    news.push(News::Deleted(id.clone()));
                }
                Told::Gone(id.namespace, id.name)
            }
            (_, told) => told,
        };
        for event in (Item { kind, told: item }).events(&self.namespace) {
            self.event(event);
        }
        news
    }

    fn event(&mut self, event: source::Event) {
        let changed = match event {
            source::Event::Put(object) => {
                self.updates += 1;
                self.update_errors += u64::from(object.is_err());
                self.world.put(object)
            }
            source::Event::Gone(key) => self.world.gone(&key),
            source::Event::Synced(kind) => self.world.synced(kind),
            source::Event::Assignments(_)
            | source::Event::Allocates(_)
            | source::Event::Note(_) => false,
        };
        self.is_changed |= changed;
    }

    /// Takes a service as the API server has it, from a watch, a write or a read.
    fn service(&mut self, now: Time, mut object: Value) -> Vec<News> {
        let id = id(&object);
        let mut news = Vec::new();
        match self.stock.put(now, &id, &mut object) {
            Arrival::Stale => return news,
            Arrival::New { writer } => {
                news.extend(writer.map(|writer| News::Foreign(id.clone(), writer)));
            }
        }
        let held = held(&object);
        let item = Item {
            kind: Kind::Service,
            told: Told::Put(object),
        };
        for event in item.events(&self.namespace) {
            let event = match event {
                source::Event::Put(Ok(Object::Service(service))) => {
                    let service = self.overlaid(service, &mut news);
                    source::Event::Put(Ok(Object::Service(service)))
                }
                source::Event::Put(Err(problem)) if !self.world.services.contains_key(&id) => {
                    self.reserve(&id, &held);
                    source::Event::Put(Err(problem))
                }
                other => other,
            };
            self.event(event);
        }
        news
    }

    /// A service with what is decided of it, as long as that is not written.
    fn overlaid(&mut self, service: Service, news: &mut Vec<News>) -> Service {
        let Some(write) = self.writes.get(&service.id) else {
            return service;
        };
        if write.target.is_met_by(&service) && !matches!(write.state, State::Asked(_)) {
            // An earlier try has come through, though no answer did.
            self.is_written(&service.id, news);
            return service;
        }
        self.writes[&service.id].target.applied_to(&service)
    }

    /// A service that cannot be read, and that nothing better is known of, keeps what its status says.
    fn reserve(&mut self, id: &ServiceId, held: &(Vec<IpAddr>, String)) {
        let (ips, pool) = held;
        if !ips.is_empty() && !self.assignments.contains_key(id) {
            let assignment = Assignment {
                ips: ips.clone(),
                pool: pool.clone(),
                sharing: None,
            };
            self.assignments.insert(id.clone(), assignment);
        }
    }

    /// Whether a pass may change anything.
    pub(super) fn is_due(&self) -> bool {
        self.is_changed && self.is_complete()
    }

    /// Whether everything has been seen once that decisions depend on.
    pub(super) fn is_complete(&self) -> bool {
        KINDS.iter().all(|kind| self.world.synced.contains(kind))
    }

    /// Decides for every service; `None` before everything has been seen.
    pub(super) fn pass(&mut self, now: Time) -> Option<(Passed, Vec<News>)> {
        if !self.is_complete() {
            return None;
        }
        self.is_changed = false;
        let class = self.class.as_deref();
        let allocation = allocator::allocate(&self.world, &self.assignments, class);
        for (id, target) in changes(&self.world, &allocation.assignments, class) {
            let service = target.applied_to(&self.world.services[&id]);
            self.world.put(Ok(Object::Service(service)));
            self.intend(now, id, target);
        }
        let news = self.tell(&allocation);
        let config_problems = self.config_problems();
        let is_at_fault = |name: &str| {
            let mut faulty = config_problems.iter().map(|problem| &problem.object);
            faulty.any(|key| key.kind == Kind::Pool && key.name == name)
        };
        let mut usage = allocator::usage(&self.world, &allocation.assignments);
        usage.retain(|name, _| !is_at_fault(name));
        self.assignments = allocation.assignments;
        let passed = Passed {
            usage,
            config_problems,
            service_problems: allocation.problems,
        };
        Some((passed, news))
    }

    fn intend(&mut self, now: Time, id: ServiceId, target: Target) {
        match self.writes.get_mut(&id) {
            Some(write) => {
                write.target = target;
                write.events.clear();
                write.cleared = None;
            }
            None => {
                let write = Write {
                    target,
                    state: State::Waits(now),
                    failures: 0,
                    events: Vec::new(),
                    cleared: None,
                };
                self.writes.insert(id, write);
            }
        }
    }

    /// What is new is told at once, or, where the service is to be written, once that has happened: what was decided may be
    /// decided anew before.
    fn tell(&mut self, allocation: &Allocation) -> Vec<News> {
        let mut news = Vec::new();
        for event in &allocation.events {
            if event.reason.is_standing() && self.standing.contains(event) {
                continue;
            }
            match self.writes.get_mut(&event.service) {
                Some(write) => write.events.push(event.clone()),
                None => {
                    let uid = self.stock.uid(&event.service).to_owned();
                    news.push(News::Event(event.clone(), uid));
                }
            }
        }
        let standing = allocation.events.iter().filter(|e| e.reason.is_standing());
        self.standing = standing.cloned().collect();
        for (id, why) in &allocation.cleared {
            if let Some(write) = self.writes.get_mut(id) {
                write.cleared = Some(why.as_str());
            }
            self.duplicates += u64::from(*why == Cleared::InUse);
        }
        for (id, write) in &mut self.writes {
            let service = self.world.services.get(id);
            if service.is_some_and(|service| !service.is_load_balancer) {
                write.cleared = Some("notLoadBalancer");
            }
        }
        news
    }

    /// What is wrong with the configuration, object by object.
    pub(super) fn config_problems(&self) -> Vec<Problem> {
        let is_config = |key: &ObjectKey| match key.kind {
            Kind::Pool | Kind::Community => true,
            Kind::Namespace
            | Kind::Node
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::L2Advertisement
            | Kind::BgpPeer
            | Kind::BgpAdvertisement
            | Kind::BfdProfile
            | Kind::Document => false,
        };
        let of_objects = self.world.problems.values();
        of_objects
            .filter(|problem| is_config(&problem.object))
            .cloned()
            .chain(self.world.config_problems())
            .collect()
    }

    /// The next request, if there may be one more.
    pub(super) fn next(&mut self, now: Time) -> Option<Request> {
        let is_asked = |write: &&Write| !matches!(write.state, State::Waits(_));
        if self.writes.values().filter(is_asked).count() >= REQUESTS_MAX {
            return None;
        }
        let is_due = |write: &Write| matches!(write.state, State::Waits(from) if from <= now);
        let (id, write) = self.writes.iter_mut().find(|(_, write)| is_due(write))?;
        let Some(body) = self.stock.written(id, &write.target) else {
            // It went while it waited.
            let id = id.clone();
            self.writes.remove(&id);
            return self.next(now);
        };
        write.state = State::Asked(write.target.clone());
        Some(Request::Write(id.clone(), body))
    }

    /// When a write that waits may be tried.
    pub(super) fn due(&self) -> Option<Time> {
        let waits = self.writes.values().filter_map(|write| match write.state {
            State::Waits(from) => Some(from),
            State::Asked(_) | State::Reads => None,
        });
        waits.min()
    }

    /// Nothing that was decided and not begun is to be done: the statuses are as they are.
    pub(super) fn forget_intentions(&mut self, now: Time) {
        let is_begun = |write: &Write| !matches!(write.state, State::Waits(_));
        let waiting: Vec<ServiceId> = self
            .writes
            .extract_if(.., |_, write| !is_begun(write))
            .map(|(id, _)| id)
            .collect();
        for id in waiting {
            if let Some(object) = self.stock.object(&id) {
                self.service(now, object);
            }
        }
        self.assignments.clear();
        self.standing.clear();
        self.is_changed = true;
    }

    /// Services that are still to be written.
    pub(super) fn pending(&self) -> usize {
        self.writes.len()
    }

    /// Takes the answer to [`Request::Write`]. Maybe the object must be read.
    pub(super) fn wrote(
        &mut self,
        now: Time,
        id: &ServiceId,
        answer: Result<Value, Failure>,
    ) -> (Vec<News>, Option<Request>) {
        let Some(write) = self.writes.get_mut(id) else {
            return (Vec::new(), None);
        };
        let failure = match answer {
            Ok(object) => {
                write.state = State::Waits(now);
                write.failures = 0;
                self.conflicts.remove(id);
                let mut news = self.service(now, object);
                news.extend(self.overtaken(now, id));
                news.retain(|news| !matches!(news, News::Foreign(..)));
                return (news, None);
            }
            Err(failure) => failure,
        };
        if failure.is_not_found() {
            // Nobody is left to be told. The watch says so too.
            self.writes.remove(id);
            return (Vec::new(), None);
        }
        if failure.is_conflict() {
            let conflicts = self.conflicts.entry(id.clone()).or_insert(0);
            *conflicts += 1;
            if *conflicts <= CONFLICTS_MAX {
                write.state = State::Reads;
                return (Vec::new(), Some(Request::Read(id.clone(), *conflicts - 1)));
            }
            *conflicts = 0;
        }
        (self.failed(now, id, &failure), None)
    }

    /// If a newer version came before the answer to the write, that one says whether the write is still in it.
    fn overtaken(&mut self, now: Time, id: &ServiceId) -> Vec<News> {
        let mut news = Vec::new();
        if self.writes.contains_key(id)
            && let Some(latest) = self.stock.object(id)
        {
            news = self.service(now, latest.clone());
            if self.writes.contains_key(id) {
                news.extend(self.read(now, id, Ok(latest)));
            }
        }
        news
    }

    /// Takes the answer to [`Request::Read`].
    pub(super) fn read(
        &mut self,
        now: Time,
        id: &ServiceId,
        answer: Result<Value, Failure>,
    ) -> Vec<News> {
        match answer {
            Ok(object) => {
                // Decided anew from the object as it is.
                self.writes.remove(id);
                self.standing.retain(|event| event.service != *id);
                self.is_changed = true;
                self.service(now, object)
            }
            Err(failure) if failure.is_not_found() => {
                self.writes.remove(id);
                Vec::new()
            }
            Err(failure) => self.failed(now, id, &failure),
        }
    }

    fn failed(&mut self, now: Time, id: &ServiceId, failure: &Failure) -> Vec<News> {
        let Some(write) = self.writes.get_mut(id) else {
            return Vec::new();
        };
        let doubled = WAIT_MIN.ns() << write.failures.min(DOUBLINGS_MAX);
        let asked = failure.retry_after().unwrap_or_default();
        let asked = u64::try_from(asked.as_nanos()).unwrap_or(u64::MAX);
        let wait = Span::from_ns(doubled.min(WAIT_MAX.ns()).max(asked));
        write.state = State::Waits(now + wait);
        write.failures += 1;
        match write.failures {
            1 => vec![News::Failed(id.clone(), failure.to_string())],
            _ => Vec::new(),
        }
    }

    /// The status says what it must: what was decided may be told.
    fn is_written(&mut self, id: &ServiceId, news: &mut Vec<News>) {
        let Some(write) = self.writes.remove(id) else {
            return;
        };
        news.extend(write.cleared.map(|why| News::Cleared(id.clone(), why)));
        let uid = self.stock.uid(id);
        let events = write.events.into_iter();
        news.extend(events.map(|event| News::Event(event, uid.to_owned())));
        news.push(News::Written(id.clone()));
    }

    /// The objects in force.
    pub(super) fn world(&self) -> &World {
        &self.world
    }

    /// The addresses that services hold.
    pub(super) fn assignments(&self) -> &Assignments {
        &self.assignments
    }
}

fn id(object: &Value) -> ServiceId {
    let text = |field: &str| {
        let text = object["metadata"][field].as_str();
        text.unwrap_or_default().to_owned()
    };
    ServiceId {
        namespace: text("namespace"),
        name: text("name"),
    }
}

/// What a status says, for an object of which nothing else can be read, and the pool that it names.
fn held(object: &Value) -> (Vec<IpAddr>, String) {
    let ingress = object["status"]["loadBalancer"]["ingress"].as_array();
    let ips = ingress.into_iter().flatten();
    let ips = ips.filter_map(|entry| entry["ip"].as_str()?.parse().ok());
    let pool = object["metadata"]["annotations"][POOL_ANNOTATION].as_str();
    (ips.collect(), pool.unwrap_or_default().to_owned())
}

/// The kinds that a controller follows, all of which it must have seen before it decides.
pub(super) const KINDS: [Kind; 4] = [Kind::Service, Kind::Pool, Kind::Namespace, Kind::Community];

const REQUESTS_MAX: usize = 8; // enough to hide the way to the server, too few to crowd others out
const CONFLICTS_MAX: u32 = 5; // in a row; then somebody writes without pause, and a wait helps more
const WAIT_MIN: Span = Span::ms(250);
const WAIT_MAX: Span = Span::s(30);
const DOUBLINGS_MAX: u32 = 7;

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
