//! Keeps the Lease by which one of several replicas writes, and says for how long it may.
//!
//! The rules are [`speaker_proto::lease`]'s; this task carries its requests to the API server. Knows nothing of what a
//! leader does.

use crate::api::{Api, Call, Failure};
use crate::drive::chance;
use crate::drive::clock::{now, pause, wall};
use crate::report::leave::Leave;
use anyhow::{Result, bail};
use jiff::Timestamp;
use serde_json::{Value, json};
use speaker_proto::lease::{Claim, DURATION, Holder, Input, Lease, Output, REQUEST_MAX, Record};
use speaker_proto::{Machine, Time};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Whether this process leads.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Standing {
    /// It has not looked yet.
    #[default]
    Unknown,
    /// Another one does, or nobody.
    Follows {
        /// Who.
        holder: String,
    },
    /// It does.
    Leads,
}

/// What a leader may do. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Term {
    until: Arc<AtomicU64>,
    /// What the process is.
    pub(crate) standing: watch::Receiver<Standing>,
}

impl Term {
    /// Whether a request of at most [`REQUEST_MAX`] may be begun at this moment.
    pub(crate) fn may_write(&self) -> bool {
        now().ns() < self.until.load(Ordering::Acquire)
    }

    /// The same for whoever writes by it.
    pub(crate) fn leave(&self) -> Leave {
        let term = self.clone();
        Leave::while_so(move || term.may_write())
    }

    /// Whether this process leads, kept up to date for as long as somebody wants to know.
    pub(crate) fn leads(&self) -> watch::Receiver<bool> {
        let (told, leads) = watch::channel(false);
        let mut standing = self.standing.clone();
        drop(tokio::spawn(async move {
            loop {
                told.send_replace(*standing.borrow_and_update() == Standing::Leads);
                tokio::select! {
                    changed = standing.changed() => if changed.is_err() { return },
                    () = told.closed() => return,
                }
            }
        }));
        leads
    }

    /// Waits until this process leads.
    pub(crate) async fn begun(&self) -> Result<()> {
        let mut standing = self.standing.clone();
        match standing.wait_for(|s| *s == Standing::Leads).await {
            Ok(_) => Ok(()),
            Err(_) => bail!("nobody keeps the Lease any more"),
        }
    }
}

/// The task that keeps the Lease.
pub(crate) struct Leader {
    api: Api,
    seat: Seat,
    paths: Paths,
    identity: String,
    lease: Lease,
    /// The Lease as it was read or written last.
    seen: Value,
    until: Arc<AtomicU64>,
    standing: watch::Sender<Standing>,
    is_in_trouble: bool,
}

struct Paths {
    namespace: String,
    all: String,
    one: String,
}

impl Leader {
    /// A process of the namespace that wants to lead. `pod` names it for people.
    pub(crate) fn new(api: Api, seat: Seat, namespace: &str, pod: Option<&str>) -> (Self, Term) {
        let (standing, seen) = watch::channel(Standing::Unknown);
        let until = Arc::<AtomicU64>::default();
        let term = Term {
            until: Arc::clone(&until),
            standing: seen,
        };
        let all = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        let chance = u64::from_le_bytes(chance::bytes());
        let leader = Self {
            api,
            seat,
            paths: Paths {
                namespace: namespace.to_owned(),
                one: format!("{all}/{}", seat.lease),
                all,
            },
            // A pod that was started again is another process with the same name.
            identity: format!("{}_{chance:016x}", pod.unwrap_or(seat.what)),
            lease: Lease::new(now()),
            seen: Value::Null,
            until,
            standing,
            is_in_trouble: false,
        };
        (leader, term)
    }

    /// Keeps the Lease until it is lost, or until `resign` says that nothing of this process writes any more; then it
    /// is given back.
    ///
    /// # Errors
    /// When the Lease is lost: the process must end.
    pub(crate) async fn run(mut self, mut resign: oneshot::Receiver<()>) -> Result<()> {
        let mut asked: Option<Asked> = None;
        let mut is_told = false;
        loop {
            self.lease.expire(now());
            while let Some(output) = self.lease.output() {
                match output {
                    Output::Read => asked = Some(self.ask(None)),
                    Output::Write(claim) => asked = Some(self.ask(Some(claim))),
                    Output::Leads => {
                        tracing::info!(
                            event = "leading",
                            identity = self.identity,
                            "this {} leads",
                            self.seat.what
                        );
                        self.standing.send_replace(Standing::Leads);
                    }
                    Output::Deposed(why) => {
                        self.until.store(0, Ordering::Release);
                        tracing::warn!(
                            event = "deposed",
                            reason = why,
                            "this {} leads no more, and ends",
                            self.seat.what
                        );
                        bail!("this {} leads no more: {why}", self.seat.what);
                    }
                    Output::Resigned => return Ok(()),
                }
            }
            self.publish();
            let wait = until(self.lease.deadline().map(|(at, _)| at));
            tokio::select! {
                answer = answer(&mut asked) => {
                    asked = None;
                    let input = self.heard(answer);
                    self.lease.input(now(), input);
                }
                _ = &mut resign, if !is_told => {
                    is_told = true;
                    self.lease.input(now(), Input::Resign);
                }
                () = pause(wait) => {}
            }
        }
    }

    fn publish(&self) {
        let until = self.lease.writes_until().unwrap_or_default();
        self.until.store(until.ns(), Ordering::Release);
    }

    fn ask(&self, claim: Option<Claim>) -> Asked {
        let call = match claim {
            None => Call::get(&self.paths.one),
            Some(Claim::Make) => Call::post(&self.paths.all, self.made()),
            Some(claim) => Call::put(&self.paths.one, self.claimed(claim)),
        };
        let api = self.api.clone();
        let call = call.within(REQUEST_MAX.into());
        let answer = Box::pin(async move { api.call(call).await });
        Asked { claim, answer }
    }

    fn made(&self) -> Value {
        let at = micros();
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.seat.lease, "namespace": self.paths.namespace},
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": DURATION.ns() / 1_000_000_000,
                "acquireTime": at,
                "renewTime": at,
                "leaseTransitions": 0,
            },
        })
    }

    fn claimed(&self, claim: Claim) -> Value {
        let mut lease = self.seen.clone();
        let spec = &mut lease["spec"];
        let at = micros();
        match claim {
            Claim::Make | Claim::Renew => {}
            Claim::Take => {
                let transitions = spec["leaseTransitions"].as_u64().unwrap_or_default();
                spec["leaseTransitions"] = json!(transitions + 1);
                spec["acquireTime"] = json!(at);
            }
            Claim::Release => {}
        }
        spec["holderIdentity"] = match claim {
            Claim::Release => json!(""),
            Claim::Make | Claim::Take | Claim::Renew => json!(self.identity),
        };
        spec["leaseDurationSeconds"] = json!(DURATION.ns() / 1_000_000_000);
        spec["renewTime"] = json!(at);
        lease
    }

    fn heard(&mut self, (claim, answer): (Option<Claim>, Result<Value, Failure>)) -> Input {
        let failure = match answer {
            Ok(lease) => {
                self.is_in_trouble = false;
                self.seen = lease;
                return match claim {
                    None => self.seen_input(),
                    Some(_) => Input::Written,
                };
            }
            Err(failure) => failure,
        };
        match claim {
            None if failure.is_not_found() => {
                self.follows("");
                Input::Seen(None)
            }
            Some(_)
                if failure.is_conflict() || failure.already_exists() || failure.is_not_found() =>
            {
                Input::Conflict
            }
            None | Some(_) => {
                if !std::mem::replace(&mut self.is_in_trouble, true) {
                    tracing::warn!(
                        event = "leaseFailed",
                        lease = format!("{}/{}", self.paths.namespace, self.seat.lease),
                        error = %failure,
                        "the Lease can be neither read nor written; without it nothing is written"
                    );
                }
                Input::Failed
            }
        }
    }

    fn seen_input(&self) -> Input {
        let holder = self.seen["spec"]["holderIdentity"]
            .as_str()
            .unwrap_or_default();
        self.follows(holder);
        let holder = match holder {
            "" => Holder::Nobody,
            us if us == self.identity => Holder::Us,
            _ => Holder::Another,
        };
        let version = self.seen["metadata"]["resourceVersion"].as_str();
        Input::Seen(Some(Record {
            holder,
            version: version.unwrap_or_default().to_owned(),
        }))
    }

    fn follows(&self, holder: &str) {
        if self.lease.leads() {
            return;
        }
        let follows = Standing::Follows {
            holder: holder.to_owned(),
        };
        let is_news = *self.standing.borrow() != follows;
        if is_news {
            if !holder.is_empty() {
                tracing::info!(
                    event = "following",
                    holder,
                    "another {} leads; waiting",
                    self.seat.what
                );
            }
            self.standing.send_replace(follows);
        }
    }
}

/// What is led, and by which Lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    /// The Lease's name.
    pub(crate) lease: &'static str,
    /// What the log calls a process that leads.
    pub(crate) what: &'static str,
}

/// A request to the API server that is under way.
struct Asked {
    claim: Option<Claim>,
    answer: std::pin::Pin<Box<dyn Future<Output = Result<Value, Failure>> + Send>>,
}

async fn answer(asked: &mut Option<Asked>) -> (Option<Claim>, Result<Value, Failure>) {
    match asked {
        Some(asked) => (asked.claim, asked.answer.as_mut().await),
        None => std::future::pending().await,
    }
}

fn until(deadline: Option<Time>) -> Duration {
    let deadline = deadline.map_or(LOOK_MAX, |at| at.since(now()).into());
    deadline.min(LOOK_MAX)
}

/// As metav1.MicroTime must be: six decimals, no more and no fewer.
fn micros() -> String {
    let now = Timestamp::try_from(wall()).unwrap_or(Timestamp::UNIX_EPOCH);
    now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

const LOOK_MAX: Duration = Duration::from_secs(2); // a machine that was suspended is late by no more than that
