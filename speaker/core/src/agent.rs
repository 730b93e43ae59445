//! The deciding machine of one node: objects and links in, tables and reasons out.
//!
//! It keeps the [`World`], turns the election into what this node holds, and asks for each new plan to be applied.
//! Until members exchange what they hold, elected means held. The deadline governs all: after a lapse everything is
//! released first, and only when the kernel's tables say so is the pulse armed again and anything taken
//! (`docs/layer2.md`, "Deadline"). It knows nothing of maps, threads or sockets.

use crate::allocator::Assignments;
use crate::crd::Pool;
use crate::diff::{Change, diff};
use crate::local::{Link, LinkName, Local};
use crate::object::{Kind, Object, ObjectKey};
use crate::plan::{self, Held, Hold, Holding, Memo, Outcome, Plan};
use crate::problem::Problem;
use crate::service::ServiceId;
use crate::world::World;
use speaker_proto::{Epoch, GroupKey, Machine, Span, Time, Vip};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// After a change that acted at once, further ones wait this long, so that a burst costs one plan.
pub const SETTLE: Span = Span::ms(50);
/// The first election of a large cluster is made in parts of this many hashes, some 20 ms each, since the pulse trusts
/// only a loop that finishes its turns.
const HASHES_PER_TURN: usize = 100_000;
/// A plan that could not be applied is tried again after this long.
pub const RETRY: Span = Span::s(1);

/// What happens to an [`Agent`].
#[expect(
    clippy::large_enum_variant,
    reason = "objects are what nearly every input is"
)]
#[derive(Debug)]
pub enum Input {
    /// A new version of an object, or what is wrong with it.
    Object(Result<Object, Problem>),
    /// An object is gone.
    Gone(ObjectKey),
    /// Every object of this kind has been seen.
    Synced(Kind),
    /// The addresses in force, in directory mode.
    Assignments(Assignments),
    /// The links of this node.
    Links {
        /// Those that may announce.
        announcing: BTreeMap<LinkName, Link>,
        /// The others that exist.
        others: BTreeSet<LinkName>,
    },
    /// The pulse has a deadline in force.
    Armed,
    /// The deadline passed.
    Lapsed {
        /// The deadline that passed.
        deadline: Time,
    },
    /// What became of the last [`Output::Apply`].
    Applied(Result<(), String>),
}

/// What an [`Agent`] wants done.
#[expect(
    clippy::large_enum_variant,
    reason = "a handful exist at a time, and most are events"
)]
#[derive(Clone, Debug)]
pub enum Output {
    /// Make the kernel's tables say this, then answer with [`Input::Applied`].
    Apply(Arc<Plan>),
    /// Arm the pulse: nothing is answered for any more.
    Arm,
    /// Tell the operator.
    Event(Event),
}

/// A change that an operator wants to see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A service's outcome changed; `None`: it is gone.
    Outcome {
        /// The service.
        service: ServiceId,
        /// Its UID; empty if it is gone, or where there is no API server.
        uid: String,
        /// Before.
        before: Option<Outcome>,
        /// From now on.
        after: Option<Outcome>,
        /// The pool that its addresses come from, if it holds any.
        pool: Option<String>,
    },
    /// An object became faulty.
    Problem(Problem),
    /// An object is sound again.
    Resolved(ObjectKey),
    /// VIPs were released because the deadline passed.
    Lapsed {
        /// Groups that were held.
        groups: usize,
        /// The deadline that passed.
        deadline: Time,
        /// When that was seen.
        seen: Time,
    },
    /// A plan could not be applied.
    NotApplied(String),
}

/// Whether anything may be answered for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Power {
    /// No deadline in force; nothing released yet.
    Lapsed,
    /// Everything released; the pulse was asked.
    Arming,
    /// A deadline is in force.
    Armed,
}

/// One node's deciding machine.
#[derive(Debug)]
pub struct Agent {
    world: Arc<World>,
    local: Local,
    held: Held,
    memo: Memo,
    power: Power,
    epoch: Epoch,
    adopted: BTreeMap<Vip, Epoch>,
    plan: Arc<Plan>,
    due: Option<Time>,
    decided: Option<Time>,
    outputs: VecDeque<Output>,
}

impl Agent {
    /// A node that finds `adopted` VIPs answered for in its kernel, by the epoch of their taking. `armed`: the
    /// deadline of the last process has not passed and was adopted, so they are held without a gap.
    pub fn new(local: Local, adopted: BTreeMap<Vip, Epoch>, armed: bool) -> Self {
        Self {
            world: Arc::default(),
            local,
            held: Held::new(),
            memo: Memo::default(),
            power: if armed { Power::Armed } else { Power::Lapsed },
            epoch: adopted.values().copied().max().unwrap_or_default(),
            adopted: if armed { adopted } else { BTreeMap::new() },
            plan: Arc::default(),
            due: None,
            decided: None,
            outputs: VecDeque::new(),
        }
    }

    /// The objects in force.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// What this node knows of itself.
    pub fn local(&self) -> &Local {
        &self.local
    }

    /// What this node holds.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// The plan in force.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    fn changed(&mut self, now: Time) {
        let settled = self.decided.map_or(now, |decided| decided + SETTLE);
        let due = settled.max(now);
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        self.expire(now);
    }

    fn world_changes(&mut self, now: Time, change: impl FnOnce(&mut World) -> bool) {
        if change(Arc::make_mut(&mut self.world)) {
            self.changed(now);
        }
    }

    fn object(&mut self, now: Time, object: Result<Object, Problem>) {
        match &object {
            Ok(object) if self.world.problems.contains_key(&object.key()) => {
                self.event(Event::Resolved(object.key()));
            }
            Err(problem) if self.world.problems.get(&problem.object) != Some(problem) => {
                self.event(Event::Problem(problem.clone()));
            }
            Ok(_) | Err(_) => {}
        }
        self.world_changes(now, |world| world.put(object));
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn lapsed(&mut self, now: Time, deadline: Time) {
        self.event(Event::Lapsed {
            groups: self.held.len(),
            deadline,
            seen: now,
        });
        self.power = Power::Lapsed;
        self.adopted.clear();
        self.decided = None;
        self.changed(now);
    }

    fn applied(&mut self, now: Time, result: Result<(), String>) {
        match result {
            Ok(()) if self.power == Power::Lapsed => {
                self.power = Power::Arming;
                self.outputs.push_back(Output::Arm);
            }
            Ok(()) => {}
            Err(why) => {
                self.event(Event::NotApplied(why));
                self.due = Some(now + RETRY);
            }
        }
    }

    fn decide(&mut self, now: Time) {
        self.due = None;
        self.decided = Some(now);
        if !self.world.is_synced() {
            return;
        }
        let members = self.world.nodes.keys().cloned().collect();
        if !plan::prepare(
            &self.world,
            &members,
            &self.local,
            &mut self.memo,
            HASHES_PER_TURN,
        ) {
            self.due = Some(now);
            return;
        }
        let elected = plan::elected(&self.world, &members, &self.local, &mut self.memo);
        self.hold(&elected);
        let plan = plan::plan(
            &self.world,
            &members,
            &self.held,
            &self.local,
            &mut self.memo,
        );
        self.tell(&plan);
        self.plan = Arc::new(plan);
        self.outputs
            .push_back(Output::Apply(Arc::clone(&self.plan)));
    }

    /// Elected means held, as long as a deadline is in force.
    fn hold(&mut self, elected: &BTreeSet<GroupKey>) {
        match self.power {
            Power::Lapsed | Power::Arming => {
                for holding in self.held.values_mut() {
                    holding.hold = Hold::Lapsed;
                }
            }
            Power::Armed => {
                self.held.retain(|group, _| elected.contains(group));
                for group in elected {
                    let holding = self.held.get(group).copied();
                    if holding.is_none_or(|holding| holding.hold != Hold::Holding) {
                        let epoch = self.adopted.get(&Vip(group.0)).copied().unwrap_or_else(|| {
                            self.epoch = self.epoch.next();
                            self.epoch
                        });
                        self.held.insert(
                            *group,
                            Holding {
                                hold: Hold::Holding,
                                epoch,
                            },
                        );
                    }
                }
                self.adopted.clear();
            }
        }
    }

    fn pool(&self, id: &ServiceId) -> Option<String> {
        if let Some(assignments) = &self.world.assignments {
            return Some(assignments.get(id)?.pool.clone());
        }
        let ingress = &self.world.services.get(id)?.ingress;
        let holds = |pool: &&Arc<Pool>| {
            let mut ips = ingress.iter().flatten();
            !ingress.is_empty() && ips.all(|ip| pool.contains(*ip))
        };
        Some(self.world.pools.values().find(holds)?.name.clone())
    }

    fn uid(&self, id: &ServiceId) -> String {
        let service = self.world.services.get(id);
        service.map_or_else(String::new, |service| service.uid.clone())
    }

    fn tell(&mut self, plan: &Plan) {
        let before = Arc::clone(&self.plan);
        for change in diff(&before.outcomes, &plan.outcomes) {
            let (service, after) = match change {
                Change::Put(service, outcome) => (service, Some(outcome)),
                Change::Remove(service) => (service, None),
            };
            self.event(Event::Outcome {
                before: before.outcomes.get(&service).cloned(),
                pool: self.pool(&service),
                uid: self.uid(&service),
                service,
                after,
            });
        }
    }
}

impl Machine for Agent {
    type Input = Input;
    type Output = Output;

    fn input(&mut self, now: Time, input: Input) {
        match input {
            Input::Object(object) => self.object(now, object),
            Input::Gone(key) => {
                if self.world.problems.contains_key(&key) {
                    self.event(Event::Resolved(key.clone()));
                }
                self.world_changes(now, |world| world.gone(&key));
            }
            Input::Synced(kind) => self.world_changes(now, |world| world.synced(kind)),
            Input::Assignments(assignments) => self.world_changes(now, |world| {
                let news = world.assignments.as_deref() != Some(&assignments);
                if news {
                    world.assignments = Some(Arc::new(assignments));
                }
                news
            }),
            Input::Links { announcing, others } => {
                if self.local.links != announcing || self.local.other_links != others {
                    self.local.links = announcing;
                    self.local.other_links = others;
                    self.changed(now);
                }
            }
            Input::Armed => {
                self.power = Power::Armed;
                self.decided = None;
                self.changed(now);
            }
            Input::Lapsed { deadline } => self.lapsed(now, deadline),
            Input::Applied(result) => self.applied(now, result),
        }
    }

    fn expire(&mut self, now: Time) {
        if self.due.is_some_and(|due| due <= now) {
            self.decide(now);
        }
    }

    fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        self.due.map(|due| (due, "settle"))
    }
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
