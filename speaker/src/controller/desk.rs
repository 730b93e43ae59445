//! What the controller knows and what it still has to write: a machine without I/O.
//!
//! Objects come in, [`Desk::pass`] lets the allocator decide, [`Desk::next`] says what to write, and the answers come back.
//! What was decided counts as done in [`World`] from the start, so that no later pass gives an address away that is on its
//! way into a status; an object that turns out to be another one than it was takes its place again, and is decided anew.
//! The statuses are the truth: nothing is remembered of them beyond a process's life. Knows neither clock nor
//! connection, nor whether it may write.

use super::brief::brief;
use super::outbox::Outbox;
use super::stock::{Arrival, Stock, Writer, held, id};
use crate::api::Failure;
use crate::source;
use crate::source::kube::{Item, Told};
use serde_json::Value;
use speaker_core::allocator::{self, Allocation, Assignment, Assignments, Cleared, Event, Usage};
use speaker_core::convergence::changes;
use speaker_core::service::{Service, ServiceId};
use speaker_core::{Kind, Object, ObjectKey, Problem, World};
use speaker_proto::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The state of a leading controller.
pub(super) struct Desk {
    world: World,
    namespace: String,
    class: Option<String>,
    assignments: Assignments,
    stock: Stock,
    outbox: Outbox,
    /// Events that come back with every pass, as of the last one.
    standing: BTreeSet<Event>,
    is_changed: bool,
    /// Whether something came since the configuration was judged.
    is_unjudged: bool,
    /// Services of ours that came since the last pass.
    came: BTreeSet<ServiceId>,
    /// Objects taken so far, and the faulty ones among them.
    pub(super) updates: u64,
    /// Of those, the faulty ones.
    pub(super) update_errors: u64,
    /// Addresses that were taken from a service because another one has them.
    pub(super) duplicates: u64,
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
    /// Somebody wrote other addresses into a status of ours.
    Foreign(ServiceId, Writer),
    /// So many services lost what they held at once, and why the first did.
    ManyCleared(usize, String),
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
    /// Services that came since the pass before, and whether they say already what they must.
    pub(super) came: BTreeMap<ServiceId, bool>,
}

impl Desk {
    pub(super) fn new(namespace: &str, class: Option<String>) -> Self {
        Self {
            world: World::default(),
            namespace: namespace.to_owned(),
            class,
            assignments: Assignments::new(),
            stock: Stock::default(),
            outbox: Outbox::default(),
            standing: BTreeSet::new(),
            is_changed: false,
            is_unjudged: true,
            came: BTreeSet::new(),
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
            (Kind::Service, Told::Put(object)) if self.stock.has(now, &id(&object), &object) => {
                // The watch tells of our own writes too, whose answers were taken.
                self.updates += 1;
                return news;
            }
            (Kind::Service, Told::Put(object)) => {
                if self.is_ours(&object) {
                    self.came.insert(id(&object));
                }
                return self.service(now, object);
            }
            (Kind::Service, Told::Gone(namespace, name)) => {
                let id = ServiceId { namespace, name };
                self.stock.remove(&id);
                self.outbox.gone(&id);
                self.came.remove(&id);
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
        self.is_unjudged |= changed;
    }

    /// Takes a service as the API server has it, from a watch, a write or a read.
    fn service(&mut self, now: Time, mut object: Value) -> Vec<News> {
        let id = id(&object);
        let mut news = Vec::new();
        let writer = match self.stock.put(now, &id, &mut object) {
            Arrival::Stale => return news,
            Arrival::New { writer } => writer,
        };
        let held = held(&object);
        if self.is_ours(&object) && self.given(&id) != held.0 {
            news.extend(writer.map(|writer| News::Foreign(id.clone(), writer)));
        }
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

    /// Whether an object is a service that we give addresses to.
    fn is_ours(&self, object: &Value) -> bool {
        let spec = &object["spec"];
        spec["type"] == "LoadBalancer"
            && spec["loadBalancerClass"].as_str() == self.class.as_deref()
    }

    /// The addresses that were decided for a service.
    fn given(&self, id: &ServiceId) -> &[IpAddr] {
        self.assignments.get(id).map_or(&[], |given| &given.ips)
    }

    /// A service with what is decided of it, as long as that is not written.
    fn overlaid(&mut self, service: Service, news: &mut Vec<News>) -> Service {
        let Some(write) = self.outbox.get(&service.id) else {
            return service;
        };
        if !write.target.is_met_by(&service) || write.is_asked() {
            return write.target.applied_to(&service);
        }
        // An earlier try has come through, though no answer did.
        self.is_written(&service.id, news);
        service
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
        self.is_unjudged = false;
        let class = self.class.as_deref();
        let allocation = allocator::allocate(&self.world, &self.assignments, class);
        for (id, target) in changes(&self.world, &allocation.assignments, class) {
            let service = target.applied_to(&self.world.services[&id]);
            self.world.put(Ok(Object::Service(service)));
            let held = self.stock.object(&id).map(|object| held(&object).0);
            self.outbox
                .intend(now, id, target, held.unwrap_or_default());
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
        let came = std::mem::take(&mut self.came).into_iter();
        let came = came.map(|id| {
            let is_met = self.outbox.get(&id).is_none();
            (id, is_met)
        });
        let passed = Passed {
            usage,
            config_problems,
            service_problems: allocation.problems,
            came: came.collect(),
        };
        Some((passed, news))
    }

    /// What is new is told at once, or, where the service is to be written, once that has happened: what was decided may be
    /// decided anew before.
    fn tell(&mut self, allocation: &Allocation) -> Vec<News> {
        let (events, many) = brief(&allocation.events);
        let mut news: Vec<News> = many.into_iter().collect();
        for event in events {
            if event.reason.is_standing() && self.standing.contains(event) {
                continue;
            }
            match self.outbox.get_mut(&event.service) {
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
            if let Some(write) = self.outbox.get_mut(id) {
                write.cleared = Some(why.as_str());
            }
            self.duplicates += u64::from(*why == Cleared::InUse);
        }
        for (id, write) in self.outbox.iter_mut() {
            let service = self.world.services.get(id);
            if service.is_some_and(|service| !service.is_load_balancer) {
                write.cleared = Some("notLoadBalancer");
            }
        }
        news
    }

    /// What is wrong with the configuration, if all of it has been seen and it may have changed since it was judged last: for a
    /// controller that may decide nothing.
    pub(super) fn judge(&mut self) -> Option<Vec<Problem>> {
        let is_due = self.is_complete() && std::mem::take(&mut self.is_unjudged);
        is_due.then(|| self.config_problems())
    }

    /// What is wrong with the configuration, object by object.
    fn config_problems(&self) -> Vec<Problem> {
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
        loop {
            let (id, target) = self.outbox.begin(now)?;
            if let Some(body) = self.stock.written(&id, &target) {
                return Some(Request::Write(id, body));
            }
            // It went while it waited.
            self.outbox.gone(&id);
        }
    }

    /// When something that waits may be tried.
    pub(super) fn due(&self) -> Option<Time> {
        self.outbox.due()
    }

    /// Nothing that was decided and not begun is to be done: the statuses are as they are.
    pub(super) fn forget_intentions(&mut self, now: Time) {
        for id in self.outbox.take_waiting() {
            if let Some(object) = self.stock.object(&id) {
                self.service(now, object);
            }
        }
        self.assignments.clear();
        self.standing.clear();
        self.is_changed = true;
    }

    /// Whether more is to be written than may be under way at a time.
    pub(super) fn is_pressed(&self) -> bool {
        self.outbox.is_pressed()
    }

    /// Services that are still to be written.
    pub(super) fn pending(&self) -> usize {
        self.outbox.len()
    }

    /// Takes the answer to [`Request::Write`]. Maybe the object must be read.
    pub(super) fn wrote(
        &mut self,
        now: Time,
        id: &ServiceId,
        answer: Result<Value, Failure>,
    ) -> (Vec<News>, Option<Request>) {
        if self.outbox.get(id).is_none() {
            return (Vec::new(), None);
        }
        let failure = match answer {
            Ok(object) => {
                self.outbox.answered(now, id);
                let mut news = self.service(now, object);
                news.extend(self.overtaken(now, id));
                news.retain(|news| !matches!(news, News::Foreign(..)));
                return (news, None);
            }
            Err(failure) => failure,
        };
        if failure.is_not_found() {
            // Nobody is left to be told. The watch says so too.
            self.outbox.gone(id);
            return (Vec::new(), None);
        }
        if failure.is_conflict()
            && let Some(before) = self.outbox.conflict(id)
        {
            return (Vec::new(), Some(Request::Read(id.clone(), before)));
        }
        (self.failed(now, id, &failure), None)
    }

    /// If a newer version came before the answer to the write, that one says whether the write is still in it.
    fn overtaken(&mut self, now: Time, id: &ServiceId) -> Vec<News> {
        let mut news = Vec::new();
        if self.outbox.get(id).is_some()
            && let Some(latest) = self.stock.object(id)
        {
            news = self.service(now, latest.clone());
            if self.outbox.get(id).is_some() {
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
                self.outbox.remove(id);
                self.standing.retain(|event| event.service != *id);
                self.is_changed = true;
                self.service(now, object)
            }
            Err(failure) if failure.is_not_found() => {
                self.outbox.gone(id);
                Vec::new()
            }
            Err(failure) => self.failed(now, id, &failure),
        }
    }

    fn failed(&mut self, now: Time, id: &ServiceId, failure: &Failure) -> Vec<News> {
        match self.outbox.failed(now, id, failure) {
            true => vec![News::Failed(id.clone(), failure.to_string())],
            false => Vec::new(),
        }
    }

    /// The status says what it must: what was decided may be told.
    fn is_written(&mut self, id: &ServiceId, news: &mut Vec<News>) {
        let Some(write) = self.outbox.remove(id) else {
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

/// The kinds that a controller follows, all of which it must have seen before it decides.
pub(super) const KINDS: [Kind; 4] = [Kind::Service, Kind::Pool, Kind::Namespace, Kind::Community];

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
