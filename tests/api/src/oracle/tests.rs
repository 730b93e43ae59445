//! The oracle finds what is wrong, and nothing where all is well: played on recordings of MetalLB and on the allocator.

use super::*;
use crate::history::{self, Operation};
use model_tests::cluster::{Allocator, Cluster};
use serde_json::json;
use speaker_core::World;
use speaker_core::allocator::{Allocation, Assignments, EventReason, allocate};
use std::fs;
use std::path::Path;

/// A cluster without an API server, and who judges it.
struct Play {
    cluster: Cluster,
    judge: Judge,
    class: Option<String>,
}

impl Play {
    fn new(allocator: Allocator, class: Option<&str>) -> Self {
        let mut play = Self {
            cluster: Cluster::new(allocator),
            judge: Judge::default(),
            class: class.map(str::to_owned),
        };
        play.cluster.act(&play.restart());
        play.step(&json!({}));
        play
    }

    fn restart(&self) -> Value {
        let class = self.class.iter().map(|class| format!("--lb-class={class}"));
        json!({"restart-controller": {"args": class.collect::<Vec<_>>()}})
    }

    fn picture(&self) -> Picture {
        Picture::of(&self.cluster.objects(), self.class.as_deref())
    }

    fn step(&mut self, step: &Value) -> Vec<Violation> {
        self.cluster.act(step);
        let picture = self.picture();
        let mut violations = self.judge.changed(picture, Actor::Controller);
        violations.extend(self.judge.rested(self.cluster.events()));
        violations
    }

    fn operate(&mut self, operation: &Operation) -> Vec<Violation> {
        let objects = self.cluster.objects();
        let find = |of: &history::Subject| {
            let is_it = |o: &&Value| {
                let metadata = &o["metadata"];
                let namespace = of.namespace == text(&metadata["namespace"]);
                text(&o["kind"]) == of.kind && namespace && text(&metadata["name"]) == of.name
            };
            objects.iter().position(|o| is_it(&o))
        };
        match operation {
            Operation::Apply(object) => self.step(&json!({"apply": object})),
            Operation::Delete(of) => match find(of) {
                Some(_) => self.step(&json!({"delete": names(of)})),
                None => Vec::new(),
            },
            Operation::Empty(of) => match find(of) {
                Some(at) => {
                    let mut emptied = objects.clone();
                    emptied[at]["status"] = json!({});
                    let picture = Picture::of(&emptied, self.class.as_deref());
                    self.judge.changed(picture, Actor::User);
                    let mut patch = names(of);
                    patch["patch"] = json!({"status": {"loadBalancer": null}});
                    self.step(&json!({"patch": patch}))
                }
                None => Vec::new(),
            },
            Operation::Restart | Operation::Kill { .. } => self.step(&self.restart()),
        }
    }
}

fn names(of: &history::Subject) -> Value {
    json!({"kind": of.kind, "namespace": of.namespace, "name": of.name})
}

/// The first step with something wrong.
fn first_fault(allocator: Allocator, class: Option<&str>, history: &[Operation]) -> Option<String> {
    let mut play = Play::new(allocator, class);
    for (at, operation) in history.iter().enumerate() {
        let violations = play.operate(operation);
        if let Some(first) = violations.first() {
            return Some(format!("operation {at}: {first}"));
        }
    }
    None
}

#[test]
fn the_allocator_breaks_no_promise() {
    for seed in 0..SEEDS {
        let class = (seed % 4 == 3).then_some("example.com/ours");
        let history = history::history(seed, OPERATIONS, class);
        let Some(fault) = first_fault(allocate, class, &history) else {
            continue;
        };
        let fails = |shorter: &[Operation]| first_fault(allocate, class, shorter).is_some();
        let shortest = history::shrink(&history, SHRINKS_MAX, fails);
        let lines: Vec<_> = shortest.iter().map(ToString::to_string).collect();
        let last = first_fault(allocate, class, &shortest);
        panic!("seed {seed}: {fault}\n{}\n{last:?}", lines.join("\n"));
    }
}

#[test]
fn what_metallb_was_seen_to_do_breaks_no_promise() {
    let mut failures = Vec::new();
    let mut judged = 0;
    for sequence in recordings() {
        let name = text(&sequence["name"]);
        let mut play = Play::new(allocate, None);
        let mut faults = Vec::new();
        for step in sequence["steps"].as_array().unwrap() {
            let args = &step["restart-controller"]["args"];
            for arg in args.as_array().into_iter().flatten() {
                play.class = text(arg).strip_prefix("--lb-class=").map(str::to_owned);
            }
            // A status that is written by hand is the user's doing.
            if step["patch"]["subresource"] == "status" {
                play.judge = Judge::default();
            }
            let violations = play.step(step);
            if play.cluster.is_running() {
                faults.extend(violations.iter().map(ToString::to_string));
                judged += 1;
            } else {
                play.judge = Judge::default();
            }
        }
        if !faults.is_empty() && !OTHERWISE.iter().any(|(other, _)| *other == name) {
            failures.push(format!("{name}: {}", faults.join("; ")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(judged >= STEPS_MIN, "only {judged} steps");
}

fn recordings() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/data/allocation");
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let lines = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    lines
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect()
}

/// That an allocator with this fault is found out, by a violation of this rule, in a short history.
fn check_found(allocator: Allocator, rule: Rule) {
    let fault_of = |history: &[Operation]| {
        first_fault(allocator, None, history).filter(|fault| fault.contains(&format!("{rule:?}")))
    };
    let found = (0..SEEDS).find_map(|seed| {
        let history = history::history(seed, OPERATIONS, None);
        fault_of(&history).map(|_| history)
    });
    let history = found.unwrap_or_else(|| panic!("{rule:?} is not found"));
    let shortest = history::shrink(&history, SHRINKS_MAX, |shorter| fault_of(shorter).is_some());
    assert!(shortest.len() <= SHORT, "{} operations", shortest.len());
}

#[test]
fn an_address_given_twice_is_found() {
    fn generous(world: &World, current: &Assignments, class: Option<&str>) -> Allocation {
        let mut allocation = allocate(world, current, class);
        let assigned = allocation.assignments.clone();
        if let (Some((_, first)), Some((last, _))) =
            (assigned.iter().next(), assigned.iter().next_back())
        {
            allocation.assignments.insert(last.clone(), first.clone());
        }
        allocation
    }
    check_found(generous, Rule::GivenTwice);
}

#[test]
fn an_address_that_is_moved_without_need_is_found() {
    fn forgetful(world: &World, _: &Assignments, class: Option<&str>) -> Allocation {
        let mut stripped = world.clone();
        for (id, service) in &world.services {
            let mut service = service.as_ref().clone();
            service.ingress.clear();
            stripped.services.insert(id.clone(), service.into());
        }
        allocate(&stripped, &Assignments::new(), class)
    }
    check_found(forgetful, Rule::Moved);
}

#[test]
fn a_service_that_waits_in_vain_is_found() {
    fn stingy(world: &World, current: &Assignments, class: Option<&str>) -> Allocation {
        let mut allocation = allocate(world, current, class);
        let newest = allocation.events.iter().rev();
        let mut given = newest.filter(|event| event.reason == EventReason::Allocated);
        if let Some(event) = given
            .next()
            .filter(|event| event.service.name.ends_with('3'))
        {
            allocation.assignments.remove(&event.service);
        }
        allocation
    }
    check_found(stingy, Rule::WaitsInVain);
}

#[test]
fn an_untrue_reason_is_found() {
    fn lying(world: &World, current: &Assignments, class: Option<&str>) -> Allocation {
        let mut allocation = allocate(world, current, class);
        for event in &mut allocation.events {
            event.message = event
                .message
                .replace("no available IPs", "no suitable pool");
        }
        allocation
    }
    check_found(lying, Rule::UntrueReason);
}

#[test]
fn a_pool_that_is_not_for_the_service_is_found() {
    fn careless(world: &World, current: &Assignments, class: Option<&str>) -> Allocation {
        let mut open = world.clone();
        for (name, pool) in &world.pools {
            let mut pool = pool.as_ref().clone();
            pool.allocation = None;
            open.pools.insert(name.clone(), pool.into());
        }
        allocate(&open, current, class)
    }
    check_found(careless, Rule::Unlawful);
}

#[test]
fn an_annotation_that_names_another_pool_is_found() {
    fn muddled(world: &World, current: &Assignments, class: Option<&str>) -> Allocation {
        let mut allocation = allocate(world, current, class);
        for assignment in allocation.assignments.values_mut() {
            assignment.pool = "p0".to_owned();
        }
        allocation
    }
    check_found(muddled, Rule::Disagreement);
}

/// A pool, a service that holds an address of it, and one of another class that holds the same.
fn small_cluster() -> Vec<Value> {
    let service = |name: &str, class: Value| {
        json!({
            "kind": "Service",
            "metadata": {
                "namespace": "a",
                "name": name,
                "annotations": {"metallb.io/ip-allocated-from-pool": "p"},
            },
            "spec": {"type": "LoadBalancer", "loadBalancerClass": class, "clusterIPs": ["10.96.0.1"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
        })
    };
    let pool = json!({
        "kind": "IPAddressPool",
        "metadata": {"namespace": "metallb-system", "name": "p"},
        "spec": {"addresses": ["192.0.2.0/30"]},
        "status": {"assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 3, "availableIPv6": 0},
    });
    vec![
        pool,
        service("w", Value::Null),
        service("x", json!("example.com/other")),
    ]
}

#[test]
fn a_wrong_counter_is_found() {
    let mut objects = small_cluster();
    assert_eq!(at_rest(&Picture::of(&objects, None), &[]), []);
    objects[0]["status"]["availableIPv4"] = json!(2);
    let found = at_rest(&Picture::of(&objects, None), &[]);
    assert_eq!(
        found.iter().map(|v| v.rule).collect::<Vec<_>>(),
        [Rule::Miscounted]
    );
}

#[test]
fn a_write_to_a_service_of_another_class_is_found() {
    let mut objects = small_cluster();
    let mut judge = Judge::default();
    judge.changed(Picture::of(&objects, None), Actor::User);
    objects[2]["status"] = json!({});
    let found = judge.changed(Picture::of(&objects, None), Actor::Controller);
    assert_eq!(
        found.iter().map(|v| v.rule).collect::<Vec<_>>(),
        [Rule::NotOurs]
    );
}

#[test]
fn an_address_that_is_given_before_it_is_free_is_found() {
    let mut objects = small_cluster();
    objects[2]["spec"]["loadBalancerClass"] = Value::Null;
    objects[2]["status"] = json!({});
    let mut judge = Judge::default();
    judge.changed(Picture::of(&objects, None), Actor::User);
    objects[2]["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
    let found = judge.changed(Picture::of(&objects, None), Actor::Controller);
    assert_eq!(
        found.iter().map(|v| v.rule).collect::<Vec<_>>(),
        [Rule::GivenTwice]
    );
}

/// Recordings in which MetalLB breaks a promise that is made here, and why.
const OTHERWISE: [(&str, &str); 0] = [];

const SEEDS: u64 = 12;
const OPERATIONS: usize = 200;
const SHRINKS_MAX: usize = 400;
/// A planted fault needs a pool or two, and as many services.
const SHORT: usize = 8;
/// As many are recorded; a suite that shrinks is a mistake.
const STEPS_MIN: usize = 600;
