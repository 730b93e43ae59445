//! Random histories against the real controller: two replicas, killed between their requests, judged by the oracle at each
//! write and whenever all is quiet.
//!
//! Admission webhooks are not registered: what a controller must bear, it must bear without them. `docs/contributing.md`,
//! "Random histories", says how to have a failure again.

#[path = "random/replicas.rs"]
mod replicas;

use crate::cluster::{CONTROLLER, shipped};
use api_tests::history::{self, Operation, Subject};
use api_tests::oracle::{Actor, Judge, Picture, Rule, Violation};
use api_tests::{Double, Options, Users, Written};
use replicas::Replicas;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

#[test]
fn random_histories_break_no_promise() {
    let count = number("OPERATIONS").map_or(OPERATIONS, |count| count as usize);
    judge(number("SEED").unwrap_or(SEED), count);
}

#[test]
fn short_histories_break_no_promise() {
    if number("SEED").is_some() {
        println!("left out: another history is wanted (SEED)");
        return;
    }
    for seed in SHORT_SEEDS {
        judge(seed, SHORT_OPERATIONS);
    }
}

#[test]
fn histories_of_the_night_break_no_promise() {
    let Some(histories) = number(NIGHT) else {
        println!("left out: it takes a night ({NIGHT}=500)");
        return;
    };
    let days = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / DAY_S;
    for seed in (days * SEEDS_A_DAY..).take(usize::try_from(histories).unwrap()) {
        judge(seed, OPERATIONS);
    }
}

/// Whether tests that take long are wanted.
pub(super) fn is_night() -> bool {
    number(NIGHT).is_some()
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|why| panic!("{name}={text}: {why}")))
}

/// Runs the history of a seed. What is wrong with it is shrunk and fails the test.
fn judge(seed: u64, count: usize) {
    let class = (seed % 4 == 3).then_some("example.com/ours");
    println!("SEED={seed} OPERATIONS={count}");
    let history = history::history(seed, count, class);
    let fault = match run(&history, class, seed) {
        Ok(summary) => return println!("{summary}"),
        Err(fault) => fault,
    };
    println!("SEED={seed}: {fault}");
    // Until it fails each try takes as long as the history, so that time is the bound.
    let deadline = Instant::now() + SHRINK_MAX;
    let failing = &history[..=fault.at.min(history.len() - 1)];
    let shortest = history::shrink(failing, SHRINKS_MAX, |shorter| {
        Instant::now() < deadline
            && run(shorter, class, seed).is_err_and(|other| other.rule() == fault.rule())
    });
    let lines: Vec<_> = shortest.iter().map(ToString::to_string).collect();
    panic!("SEED={seed}: {fault}\nshrunk:\n{}", lines.join("\n"));
}

/// What was wrong, and after which operation.
struct Fault {
    at: usize,
    violations: Vec<Violation>,
    /// What the replicas had to say last.
    logs: String,
}

impl Fault {
    fn rule(&self) -> Option<Rule> {
        self.violations.first().map(|violation| violation.rule)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "after operation {}", self.at)?;
        for violation in &self.violations {
            writeln!(f, "  {violation}")?;
        }
        f.write_str(&self.logs)
    }
}

/// What came of a history, in words.
fn run(history: &[Operation], class: Option<&str>, seed: u64) -> Result<String, Fault> {
    let mut trial = Trial::new(class, seed);
    for (at, operation) in history.iter().enumerate() {
        let result = trial.operate(operation).and_then(|()| trial.settle());
        result.map_err(|violations| Fault {
            at,
            violations,
            logs: trial.replicas.logs(),
        })?;
    }
    assert!(
        trial.refused * 4 <= history.len(),
        "most operations must be taken"
    );
    // A controller that does nothing breaks few promises.
    assert!(
        trial.written * 8 >= history.len() || history.len() < OPERATIONS,
        "only {} writes",
        trial.written
    );
    let Trial {
        refused,
        killed,
        written,
        ..
    } = trial;
    let count = history.len();
    Ok(format!(
        "{count} operations, {refused} refused, {killed} leaders killed, {written} services written"
    ))
}

/// One run.
struct Trial {
    double: Double,
    replicas: Replicas,
    judge: Judge,
    class: Option<String>,
    /// Services, pools and namespaces as they were at `seen`.
    objects: BTreeMap<api_tests::Key, Arc<Value>>,
    /// Every event as it was written, again and again.
    events: Vec<Value>,
    /// The revision up to which writes were looked at.
    seen: u64,
    /// Revisions that users made.
    ours: BTreeSet<u64>,
    /// The leader dies after so many more writes.
    armed: Option<usize>,
    refused: usize,
    killed: usize,
    /// Writes of a controller into services.
    written: usize,
}

impl Trial {
    fn new(class: Option<&str>, seed: u64) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut users = Users::new();
        users.add("controller", CONTROLLER, &[]);
        let options = Options {
            crds: Some(root.join("deploy/crds")),
            users,
            seed,
            ..Options::default()
        };
        let double = Double::start(options).unwrap();
        let seen = double.revision();
        for name in ["metallb-system", "a", "b", "c"] {
            let metadata = json!({"name": name});
            double.put(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}));
        }
        for right in shipped("manifests/1-controller-rights.yaml") {
            let (code, answer) = double.put(&right);
            assert_eq!(code, 201, "{answer}");
        }
        let replicas = Replicas::start(&double, class);
        Self {
            seen,
            replicas,
            double,
            judge: Judge::default(),
            class: class.map(str::to_owned),
            objects: BTreeMap::new(),
            events: Vec::new(),
            ours: BTreeSet::new(),
            armed: None,
            refused: 0,
            killed: 0,
            written: 0,
        }
    }

    fn operate(&mut self, operation: &Operation) -> Result<(), Vec<Violation>> {
        // Counted from here on.
        self.double.forget_requests();
        match operation {
            Operation::Apply(object) => self.apply(object),
            Operation::Delete(subject) => {
                let path = self.path(subject);
                self.write("DELETE", &path, "", &Value::Null);
            }
            Operation::Empty(subject) => {
                let path = format!("{}/status?fieldManager=kubectl-edit", self.path(subject));
                let patch = json!({"status": {"loadBalancer": null}});
                self.write("PATCH", &path, "application/merge-patch+json", &patch);
            }
            Operation::Restart => self.replicas.restart(),
            // With the next operation there is something to write.
            Operation::Kill { requests } => self.armed = Some(*requests),
        }
        self.look()
    }

    fn apply(&mut self, object: &Value) {
        let path = format!("{}?fieldManager=user&force=true", self.double.path(object));
        self.write("PATCH", &path, "application/apply-patch+yaml", object);
    }

    fn path(&self, of: &Subject) -> String {
        let version = match of.kind.as_str() {
            "IPAddressPool" => "metallb.io/v1beta1",
            _core => "v1",
        };
        let metadata = json!({"namespace": of.namespace, "name": of.name});
        let object = json!({"apiVersion": version, "kind": of.kind, "metadata": metadata});
        self.double.path(&object)
    }

    /// Writes as a user does. What is refused changes nothing.
    fn write(&mut self, method: &str, path: &str, content_type: &str, body: &Value) {
        let (code, answer) = self.double.request(method, path, content_type, body);
        let revision = answer["metadata"]["resourceVersion"].as_str();
        match (code, revision.and_then(|text| text.parse().ok())) {
            (200 | 201, Some(revision)) => drop(self.ours.insert(revision)),
            (200 | 201 | 404, _) => {}
            (_refused, _) => self.refused += 1,
        }
    }

    /// Looks at everything that was written since the last look, one write after the other.
    fn look(&mut self) -> Result<(), Vec<Violation>> {
        let written = self.double.written(self.seen).unwrap();
        for write in written {
            self.seen = write.revision;
            match write.key.resource.as_str() {
                "services" | "ipaddresspools.metallb.io" | "namespaces" => self.follow(&write)?,
                "events" => self
                    .events
                    .extend(write.object.map(|event| (*event).clone())),
                _other => {}
            }
        }
        Ok(())
    }

    fn follow(&mut self, write: &Written) -> Result<(), Vec<Violation>> {
        match &write.object {
            Some(object) => self.objects.insert(write.key.clone(), Arc::clone(object)),
            None => self.objects.remove(&write.key),
        };
        // Controllers make and delete none of these.
        let is_user = self.ours.contains(&write.revision) || write.object.is_none();
        let actor = if is_user {
            Actor::User
        } else {
            Actor::Controller
        };
        let is_service = write.key.resource == "services";
        self.written += usize::from(is_service && actor == Actor::Controller);
        let objects = self.objects.values().map(AsRef::as_ref);
        let picture = Picture::of(objects, self.class.as_deref());
        some(self.judge.changed(picture, actor))
    }

    /// Waits until nothing is wrong any more and nothing happens.
    fn settle(&mut self) -> Result<(), Vec<Violation>> {
        let deadline = Instant::now() + SETTLE_MAX;
        let mut quiet_since = Instant::now();
        loop {
            let before = self.seen;
            self.kill_if_due();
            self.look()?;
            if self.seen != before {
                quiet_since = Instant::now();
            }
            if let Some(fallen) = self.replicas.fallen() {
                panic!("{fallen}\n{}", self.replicas.logs());
            }
            if quiet_since.elapsed() >= QUIET {
                let violations = self.judge.clone().rested(&self.events);
                if violations.is_empty() {
                    return some(self.judge.rested(&self.events));
                }
                if Instant::now() > deadline {
                    return Err(violations);
                }
            }
            std::thread::sleep(STEP);
        }
    }

    /// Kills the leader once it has begun as many writes as it may.
    fn kill_if_due(&mut self) {
        let Some(requests) = self.armed else { return };
        let begun = self.double.requests();
        let writes = begun.iter().filter(|request| {
            let is_write = ["create", "update", "patch"].contains(&request.verb.as_str());
            request.user == CONTROLLER && is_write && !request.path.contains("/leases")
        });
        if writes.count() >= requests {
            self.armed = None;
            self.killed += 1;
            self.replicas.kill_leader(&self.double);
        }
    }
}

fn some(violations: Vec<Violation>) -> Result<(), Vec<Violation>> {
    if violations.is_empty() {
        Ok(())
    } else {
        Err(violations)
    }
}

/// Enough for each kind of operation to meet each other.
const OPERATIONS: usize = 200;
/// Once found a status that said what another still said. Others by the environment.
const SEED: u64 = 8;
/// The second is of a controller with a class.
const SHORT_SEEDS: [u64; 2] = [22, 23];
/// A quarter of a minute.
const SHORT_OPERATIONS: usize = 40;
/// Names how many more histories are wanted, and lets the tests run that take minutes.
const NIGHT: &str = "HELIOGRAPH_NIGHT";
/// Each night has seeds of its own, which the day names.
const SEEDS_A_DAY: u64 = 10_000;
const DAY_S: u64 = 24 * 3600;
/// Longer than a controller waits between two passes.
const QUIET: Duration = Duration::from_millis(120);
const STEP: Duration = Duration::from_millis(4);
/// A new leader waits two seconds at most for its turn; a busy machine takes its time.
const SETTLE_MAX: Duration = Duration::from_secs(20);
const SHRINK_MAX: Duration = Duration::from_secs(240);
const SHRINKS_MAX: usize = 60;
