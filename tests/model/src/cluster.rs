//! An API server and a controller, as far as recorded sequences of MetalLB's show them.
//!
//! It stores objects, calls an allocator after each change, and writes what comes out into the statuses. Nothing here
//! takes time or goes over a wire; what a real API server refuses, this one takes. The sequences are in
//! `data/allocation`, and `data/README.md` says what their steps mean.

use serde_json::{Map, Value, json};
use speaker_core::allocator::{
    self, Allocation, Assignments, Event, POOL_ANNOTATION as POOL, Usage,
};
use speaker_core::convergence;
use speaker_core::manifest::{self, DEFAULT_NAMESPACE};
use speaker_core::{Kind, Object, Problem, World};
use std::collections::{BTreeMap, BTreeSet};

/// What decides about addresses; [`allocator::allocate`] unless a test plants a fault.
pub type Allocator = fn(&World, &Assignments, Option<&str>) -> Allocation;

/// Kind, namespace and name as the recordings have them.
type Key = (String, String, String);

/// A cluster with one controller, which is always quick.
pub struct Cluster {
    allocator: Allocator,
    /// Objects as stored.
    store: BTreeMap<Key, Value>,
    /// Deleted, but kept by a finalizer.
    going: BTreeSet<Key>,
    /// The status of each pool, once written.
    pools: BTreeMap<String, Usage>,
    /// What the controller remembers; gone when it restarts.
    world: World,
    assignments: Assignments,
    is_running: bool,
    class: Option<String>,
    created: i64,
    /// Events of the last pass before this step, and of all passes in it.
    before: Vec<Event>,
    last: Vec<Event>,
    events: Vec<Event>,
    /// Every event since the beginning, as objects.
    told: Vec<Value>,
    problems: Vec<Problem>,
}

impl Cluster {
    /// One with the namespaces of the recordings and nothing else, whose controller decides as `allocator` says.
    pub fn new(allocator: Allocator) -> Self {
        let mut cluster = Self {
            allocator,
            store: BTreeMap::new(),
            going: BTreeSet::new(),
            pools: BTreeMap::new(),
            world: World::default(),
            assignments: Assignments::new(),
            is_running: true,
            class: None,
            created: 0,
            before: Vec::new(),
            last: Vec::new(),
            events: Vec::new(),
            told: Vec::new(),
            problems: Vec::new(),
        };
        for name in ["a", "b", "c", "default", "metallb-system"] {
            cluster.apply(
                &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
            );
        }
        cluster
    }

    /// Services, pools and namespaces as stored, with their statuses.
    pub fn objects(&self) -> Vec<Value> {
        let stored = self.store.iter().map(|(key, object)| {
            let mut object = object.clone();
            if let Some(usage) = self.pools.get(&key.2).filter(|_| key.0 == "IPAddressPool") {
                object["status"] = json!(usage);
            }
            object
        });
        stored.collect()
    }

    /// Every event so far, oldest first.
    pub fn events(&self) -> &[Value] {
        &self.told
    }

    /// Whether the controller follows what happens.
    pub fn is_running(&self) -> bool {
        self.is_running
    }

    /// Does what a step says and lets the controller follow.
    ///
    /// # Panics
    /// When the step is none of the recordings' kinds, or is about an object that is not there.
    pub fn act(&mut self, step: &Value) {
        self.before = std::mem::take(&mut self.last);
        self.events.clear();
        for (action, value) in step.as_object().expect("a step is an object") {
            match (action.as_str(), value) {
                ("expect" | "alsoSeen", _) => {}
                ("apply", Value::Array(objects)) => objects.iter().for_each(|o| self.apply(o)),
                ("apply", object) => self.apply(object),
                ("delete", what) => self.delete(&key(what, what)),
                ("patch", what) => self.patch(what),
                ("stop-controller", _) => self.is_running = false,
                ("restart-controller", what) => self.restart(&what["args"]),
                (other, _) => panic!("a step with {other}"),
            }
        }
        if self.last.is_empty() && self.events.is_empty() {
            self.last = self.before.clone();
        }
    }

    fn apply(&mut self, object: &Value) {
        let key = key(object, &object["metadata"]);
        let mut object = object.clone();
        let metadata = object["metadata"]
            .as_object_mut()
            .expect("every object has metadata");
        let old = self.store.get(&key).cloned();
        let created = match &old {
            Some(old) => old["metadata"]["creationTimestamp"].clone(),
            None => {
                self.created += 1;
                json!(format!(
                    "2026-01-01T00:{:02}:{:02}Z",
                    self.created / 60,
                    self.created % 60
                ))
            }
        };
        metadata.insert("creationTimestamp".into(), created);
        if let Some(old) = old {
            if let Some(pool) = old["metadata"]["annotations"].get(POOL) {
                let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
                annotations[POOL] = pool.clone();
            }
            // What is no load balancer has its status emptied by the API server.
            if !old["status"].is_null() && object["spec"]["type"] == "LoadBalancer" {
                object["status"] = old["status"].clone();
            }
        }
        self.store.insert(key, object);
        self.reconcile();
    }

    fn delete(&mut self, key: &Key) {
        let finalizers = &self.store[key]["metadata"]["finalizers"];
        if finalizers.as_array().is_some_and(|list| !list.is_empty()) {
            self.going.insert(key.clone());
            return;
        }
        self.store.remove(key);
        self.pools.remove(&key.2);
        self.reconcile();
    }

    fn patch(&mut self, what: &Value) {
        let key = key(what, what);
        let object = self.store.get_mut(&key).expect("what is patched is there");
        merge(object, &what["patch"]);
        let is_held = object["metadata"]["finalizers"].is_array();
        if self.going.contains(&key) && !is_held {
            self.going.remove(&key);
            return self.delete(&key);
        }
        self.reconcile();
    }

    fn restart(&mut self, args: &Value) {
        let args = args
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let mut classes = args.filter_map(|arg| arg.strip_prefix("--lb-class="));
        self.class = classes.next().map(str::to_owned);
        self.world = World::default();
        self.assignments = Assignments::new();
        self.is_running = true;
        self.reconcile();
    }

    /// The controller looks at everything and writes what it decides, and sees what it wrote, until all is quiet.
    fn reconcile(&mut self) {
        if !self.is_running {
            return;
        }
        self.observe();
        for _ in 0..PASSES_MAX {
            let before = self.assignments.clone();
            self.pass();
            self.observe();
            if self.assignments == before {
                break;
            }
        }
    }

    fn pass(&mut self) {
        let class = self.class.as_deref();
        let allocation = (self.allocator)(&self.world, &self.assignments, class);
        self.assignments = allocation.assignments;
        self.events.extend(allocation.events.iter().cloned());
        self.told.extend(allocation.events.iter().map(as_object));
        self.last = allocation.events;
        self.problems = self.world.config_problems();
        self.write_statuses();
        let given = allocator::usage(&self.world, &self.assignments);
        let is_bad = |name: &str| {
            self.problems
                .iter()
                .any(|p| p.object.kind == Kind::Pool && p.object.name == name)
        };
        let good = given.into_iter().filter(|(name, _)| !is_bad(name));
        self.pools.extend(good);
    }

    fn observe(&mut self) {
        let mut seen = BTreeSet::new();
        for object in self.store.values() {
            let text = object.to_string();
            for read in manifest::read("api", &text, DEFAULT_NAMESPACE).objects {
                seen.insert(match &read {
                    Ok(object) => object.key(),
                    Err(problem) => problem.object.clone(),
                });
                self.world.put(read);
            }
        }
        let services = self
            .world
            .services
            .values()
            .map(|s| Object::Service((**s).clone()).key());
        let pools = self
            .world
            .pools
            .values()
            .map(|p| Object::Pool((**p).clone()).key());
        let unread = self.world.problems.values().map(|p| p.object.clone());
        let known: Vec<_> = services.chain(pools).chain(unread).collect();
        for key in known.iter().filter(|key| !seen.contains(key)) {
            self.world.gone(key);
        }
        for kind in Kind::ALL {
            self.world.synced(kind);
        }
    }

    fn write_statuses(&mut self) {
        let changes = convergence::changes(&self.world, &self.assignments, self.class.as_deref());
        for (id, target) in changes {
            let key = ("Service".into(), id.namespace, id.name);
            let Some(object) = self.store.get_mut(&key) else {
                continue;
            };
            let ips = target.ips.iter().map(|ip| json!({"ip": ip.to_string()}));
            let ingress: Vec<Value> = ips.collect();
            object["status"] = json!({"loadBalancer": {"ingress": ingress}});
            let annotations = &mut object["metadata"]["annotations"];
            match (target.pool, annotations.as_object_mut()) {
                (Some(pool), _) => annotations[POOL] = json!(pool),
                (None, Some(annotations)) => drop(annotations.remove(POOL)),
                (None, None) => {}
            }
        }
    }

    /// Whether the cluster is as recorded.
    ///
    /// # Errors
    /// What differs first.
    ///
    /// # Panics
    /// When `expected` is not as recordings are.
    pub fn compare(&self, expected: &Value) -> Result<(), String> {
        for (name, expected) in expected["services"]
            .as_object()
            .expect("recorded services are an object")
        {
            self.compare_service(name, expected)?;
        }
        let pools = self.store.keys().filter(|key| key.0 == "IPAddressPool");
        let status = |name: &String| match self.pools.get(name) {
            Some(usage) => json!(usage),
            None => json!({}),
        };
        let pools: Map<String, Value> = pools.map(|key| (key.2.clone(), status(&key.2))).collect();
        same("pools", &Value::Object(pools), &expected["pools"])?;
        let is_faulty = !self.problems.is_empty() || !self.world.problems.is_empty();
        if !expected["state"].is_null() && !is_faulty {
            return Err(format!("no problem, expected {}", expected["state"]));
        }
        Ok(())
    }

    fn compare_service(&self, name: &str, expected: &Value) -> Result<(), String> {
        let (namespace, short) = name
            .split_once('/')
            .expect("services are recorded by namespace and name");
        let object = self
            .store
            .get(&("Service".into(), namespace.into(), short.into()));
        if expected["gone"] == json!(true) {
            return match object {
                None => Ok(()),
                Some(_) => Err(format!("{name} is still there")),
            };
        }
        let Some(object) = object else {
            return Err(format!("{name} is gone"));
        };
        let ingress = match &object["status"]["loadBalancer"]["ingress"] {
            Value::Array(entries) => entries.iter().map(|e| json!({"ip": e["ip"]})).collect(),
            _ => Vec::new(),
        };
        same(
            &format!("{name} ingress"),
            &Value::Array(ingress),
            &expected["ingress"],
        )?;
        let pool = object["metadata"]["annotations"].get(POOL);
        let annotations = pool.map_or_else(|| json!({}), |pool| json!({POOL: pool}));
        same(
            &format!("{name} annotations"),
            &annotations,
            &expected["annotations"],
        )?;
        self.compare_events(
            name,
            expected["events"].as_array().map_or(&[], Vec::as_slice),
        )
    }

    /// Every event that is news is recorded, in that order, and every recorded one is there. An event that comes with
    /// each pass while its cause lasts may or may not be recorded again.
    fn compare_events(&self, service: &str, expected: &[Value]) -> Result<(), String> {
        let of_service = |events: &[Event]| -> Vec<Event> {
            events
                .iter()
                .filter(|e| e.service.to_string() == service)
                .cloned()
                .collect()
        };
        let (before, events) = (of_service(&self.before), of_service(&self.events));
        let mut news: Vec<Value> = Vec::new();
        let mut all = Vec::new();
        for event in events {
            let is_old = event.reason.is_standing() && before.contains(&event);
            let shown = shown(&event);
            if !is_old && !news.contains(&shown) {
                news.push(shown.clone());
            }
            all.push(shown);
        }
        let missing = expected.iter().find(|event| !all.contains(event));
        if let Some(event) = missing {
            return Err(format!(
                "{service}: event {event} missing, there are {all:?}"
            ));
        }
        let recorded: Vec<&Value> = expected
            .iter()
            .filter(|event| news.contains(event))
            .collect();
        if recorded != news.iter().collect::<Vec<_>>() {
            return Err(format!("{service}: events {news:?}, recorded {expected:?}"));
        }
        Ok(())
    }
}

fn shown(event: &Event) -> Value {
    json!({
        "type": if event.reason.is_warning() { "Warning" } else { "Normal" },
        "reason": event.reason.as_str(),
        "message": event.message,
    })
}

/// As core/v1 has it, as far as the recordings go.
fn as_object(event: &Event) -> Value {
    let mut object = shown(event);
    object["involvedObject"] = json!({
        "kind": "Service",
        "namespace": event.service.namespace,
        "name": event.service.name,
    });
    object
}

fn key(kind: &Value, names: &Value) -> Key {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    (
        text(&kind["kind"]),
        text(&names["namespace"]),
        text(&names["name"]),
    )
}

/// RFC 7386.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in patch {
        match (value, into.as_object_mut()) {
            (Value::Null, Some(map)) => drop(map.remove(name)),
            (value, _) => merge(&mut into[name], value),
        }
    }
}

fn same(what: &str, actual: &Value, expected: &Value) -> Result<(), String> {
    if actual == expected {
        return Ok(());
    }
    Err(format!("{what}: {actual}, recorded {expected}"))
}

/// An allocator that comes to no end is wrong; what it last said then stands.
const PASSES_MAX: usize = 4;
