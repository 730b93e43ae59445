//! The deciding machine of one node: objects and links in, tables and reasons out.
//!
//! It keeps the [`World`], wishes by election, lets [`Holds`] turn wishes into what this node holds, and asks for each new plan to be
//! applied. The deadline governs all: after a lapse everything is released first, and only when the kernel's tables say
//! so is the pulse armed again and anything taken (`docs/layer2.md`, "Deadline"). It knows nothing of maps, threads or
//! sockets.

mod grace;
mod links;
mod membership;
mod message;
mod outcomes;
mod steering;
mod story;
mod watching;

pub use message::{Event, Input, Output, Seen};
pub use story::{STORIES, Story, seen_story, story};

use crate::election::precedence;
use crate::failures::Failures;
use crate::key::ObjectKey;
use crate::local::Local;
use crate::members::{Members, node_id};
use crate::object::Object;
use crate::plan::{self, Held, Memo, Plan, Wishes};
use crate::problem::Problem;
use crate::steering::Legacy;
use crate::world::World;
use speaker_proto::hold::{self, Holds};
use speaker_proto::member::{Directory, HeldSet, HeldVersion, Roster};
use speaker_proto::{Epoch, Mac, Machine, Span, Time, Vip};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use steering::Spreading;
use watching::Watching;

/// After a change that acted at once, further ones wait this long, so that a burst costs one plan.
pub const SETTLE: Span = Span::ms(50);
/// The first election of a large cluster is made in parts of this many hashes, some 20 ms each, since the pulse trusts
/// only a loop that finishes its turns.
const HASHES_PER_TURN: usize = 100_000;
/// Room for outputs that stays when nothing is left to say.
const OUTPUTS_KEPT: usize = 64;
/// A plan that could not be applied is tried again after this long.
pub const RETRY: Span = Span::s(1);

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
    roster: Arc<Roster>,
    /// What others published, of whom nothing may have been heard.
    published: Arc<Directory>,
    members: Members,
    /// Hardware addresses by which members may claim.
    macs: BTreeSet<Mac>,
    failures: Failures,
    /// When the next hold-down ends.
    failures_due: Option<Time>,
    /// It was told of its links, and so the program is on them as far as it goes. Before that nothing is decided: a plan for no links takes away what
    /// the last process left.
    has_heard_of_links: bool,
    /// Since when no link is usable.
    cut_off: Option<Time>,
    /// Who holds a group has a say in where it should be.
    goes_by_holders: bool,
    watching: Watching,
    spreading: Spreading,
    holds: Holds,
    wishes: Wishes,
    memo: Memo,
    power: Power,
    plan: Arc<Plan>,
    /// The version of what is held that the last plan was made from.
    planned: u64,
    due: Option<Time>,
    decided: Option<Time>,
    outputs: VecDeque<Output>,
}

/// Where an [`Agent`] begins.
#[derive(Clone, Debug)]
pub struct Start {
    /// What is known of this node. Its links too, if they are known: others hear of them, but nothing is decided before [`Input::Links`].
    pub local: Local,
    /// VIPs that its kernel was found to answer for, by the epoch of their taking.
    pub adopted: BTreeMap<Vip, Epoch>,
    /// VIPs of which it was found to spread the packets, and whose these were, as [`crate::tables::left`] says.
    pub spread: Legacy,
    /// Until when the last process might speak for anything; `None`: there was none since the node booted.
    pub last_deadline: Option<Time>,
    /// The deadline of the last process has not passed and was adopted: the VIPs are held without a gap.
    pub is_armed: bool,
    /// How long a group that was given away is still said to be (L6.2).
    pub drain_window: Span,
    /// For numbers that must not repeat those of an earlier process; any.
    pub seed: u64,
}

impl Agent {
    /// Begins at `now`.
    pub fn new(start: Start, now: Time) -> Self {
        let Start {
            local,
            adopted,
            spread,
            last_deadline,
            is_armed,
            drain_window,
            seed,
        } = start;
        let roster = Arc::<Roster>::default();
        let holds = Holds::new(hold::Start {
            me: node_id(&local.node),
            name: local.node.clone(),
            adopted,
            is_armed,
            drain_window,
            rank: precedence,
            nonce: seed,
        });
        let mut agent = Self {
            world: Arc::default(),
            members: Members::of(&roster, &local, |_| false),
            macs: BTreeSet::new(),
            local,
            roster,
            published: Arc::default(),
            failures: Failures::default(),
            failures_due: None,
            has_heard_of_links: false,
            cut_off: None,
            goes_by_holders: false,
            watching: Watching::default(),
            spreading: Spreading::new(spread, last_deadline, now),
            holds,
            wishes: Wishes::default(),
            memo: Memo::default(),
            power: if is_armed {
                Power::Armed
            } else {
                Power::Lapsed
            },
            plan: Arc::default(),
            planned: 0,
            due: None,
            decided: None,
            outputs: VecDeque::new(),
        };
        agent.pump(now);
        agent
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
        self.holds.held()
    }

    /// The members that are alive, this node included.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Hardware addresses by which members may claim a VIP.
    pub fn macs(&self) -> &BTreeSet<Mac> {
        &self.macs
    }

    /// What is known of the other members.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// When it may next decide on something that it has heard of.
    pub fn pending(&self) -> Option<(Time, &'static str)> {
        let own = self.due.map(|due| (due, "settle"));
        let failures = self.failures_due.map(|due| (due, "hold-down"));
        let spread = self.spreading.due.map(|due| (due, "steering"));
        let found = self.found().map(|due| (due, "neighbours"));
        let all = [own, failures, spread, found, self.holds.deadline()];
        all.into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    /// Whether a plan is to be made of what changed.
    pub const fn is_settling(&self) -> bool {
        self.due.is_some()
    }

    /// What the members are told that this node holds, and under which version.
    pub fn said_to_hold(&self) -> (HeldVersion, &Arc<HeldSet>) {
        self.holds.published()
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
            groups: self.held().len(),
            deadline,
            seen: now,
        });
        self.power = Power::Lapsed;
        self.hold(now, hold::Input::Lapsed);
        self.decided = None;
        self.changed(now);
    }

    fn applied(&mut self, now: Time, result: Result<(), String>) {
        match result {
            Ok(()) => {
                if self.power == Power::Lapsed {
                    self.power = Power::Arming;
                    self.outputs.push_back(Output::Arm);
                }
                self.hold(now, hold::Input::Applied(self.planned));
            }
            Err(why) => {
                self.event(Event::NotApplied(why));
                self.due = Some(now + RETRY);
            }
        }
    }

    fn decide(&mut self, now: Time) {
        self.due = None;
        self.decided = Some(now);
        if !self.world.is_synced() || !self.has_heard_of_links {
            return;
        }
        if !plan::prepare(
            &self.world,
            &self.members,
            &self.local,
            &mut self.memo,
            HASHES_PER_TURN,
        ) {
            self.due = Some(now);
            return;
        }
        self.mind_holders(now);
        self.wish(now);
        self.find(now);
        // Whatever holding changed just now is in the plan that follows.
        self.due = None;
        self.planned = self.holds.version();
        let mut plan = plan::plan(
            &self.world,
            &self.members,
            self.holds.held(),
            &self.local,
            &mut self.memo,
        );
        plan::routes(
            &self.memo,
            &self.local,
            &plan.bgp_outcomes,
            &self.followed(),
            &mut plan.l2,
        );
        let (moves, problems) = plan::moves(
            &self.memo,
            &self.local,
            &self.roster,
            &plan.l2,
            self.holds.passing(),
        );
        plan.moves = moves;
        plan.steering = self.steer(now, &plan.l2);
        plan.problems.extend(problems);
        self.tell(&plan);
        self.note_waiting(&plan);
        self.plan = Arc::new(plan);
        self.outputs
            .push_back(Output::Apply(Arc::clone(&self.plan)));
        self.watch_later(now);
    }
}

impl Agent {
    fn gone(&mut self, now: Time, key: &ObjectKey) {
        if self.world.problems.contains_key(key) {
            self.event(Event::Resolved(key.clone()));
        }
        self.world_changes(now, |world| world.gone(key));
    }
}

impl Machine for Agent {
    type Input = Input;
    type Output = Output;

    fn input(&mut self, now: Time, input: Input) {
        match input {
            Input::Object(object) => self.object(now, object),
            Input::Gone(key) => self.gone(now, &key),
            Input::Synced(kind) => self.world_changes(now, |world| world.synced(kind)),
            Input::Assignments(assignments) => self.world_changes(now, |world| {
                let news = world.assignments.as_ref() != Some(&assignments);
                if news {
                    world.assignments = Some(assignments);
                }
                news
            }),
            Input::Links { announcing, others } => self.links(now, announcing, others),
            Input::Armed => {
                self.power = Power::Armed;
                self.hold(now, hold::Input::Armed);
                self.decided = None;
                self.changed(now);
            }
            Input::Lapsed { deadline } => self.lapsed(now, deadline),
            Input::Applied(result) => self.applied(now, result),
            Input::Roster(roster) => self.roster_changed(now, roster),
            Input::Neighbourhood(hood) => self.neighbourhood(now, hood),
            Input::Listeners(listeners) => self.listeners(now, listeners),
            Input::Published(published) => self.published(now, published),
            Input::Told(from, message) => self.hold(now, hold::Input::Told(from, message)),
            Input::Probed {
                group,
                nonce,
                answered,
            } => {
                let probed = hold::Input::Probed {
                    group,
                    nonce,
                    answered,
                };
                self.hold(now, probed);
            }
            Input::Missing { group, is_certain } => self.missing(now, group, is_certain),
            Input::Answering(group) => self.answering(now, group),
            Input::Unexpected { group, mac } => self.unexpected(group, mac),
            Input::Claimed { vip, mac } => self.claimed(now, vip, mac),
            Input::Fenced(vip) => self.fenced(now, vip),
            Input::Drain(is_draining) => {
                if self.local.is_draining != is_draining {
                    self.local.is_draining = is_draining;
                    self.event(Event::Drain(is_draining));
                    self.meet(now);
                    self.expire(now);
                }
            }
            Input::WaitingForSecret(is_waiting) => {
                if std::mem::replace(&mut self.local.is_waiting_for_secret, is_waiting)
                    != is_waiting
                {
                    self.changed(now);
                }
            }
            Input::Stale(is_stale) => self.hold(now, hold::Input::Stale(is_stale)),
            Input::Foreign(foreign) => {
                if self.local.foreign != foreign {
                    self.local.foreign = foreign;
                    self.changed(now);
                }
            }
        }
    }

    fn expire(&mut self, now: Time) {
        if self.failures_due.is_some_and(|due| due <= now) {
            self.meet(now);
        }
        if self.spreading.due.is_some_and(|due| due <= now) {
            self.spreading.due = None;
            self.due = Some(now);
        }
        if self.found().is_some_and(|due| due <= now) {
            self.due = Some(now);
        }
        self.holds.expire(now);
        self.pump(now);
        if self.due.is_some_and(|due| due <= now) {
            self.decide(now);
        }
        if self.watching.due.is_some_and(|due| due <= now) {
            self.watch(now);
        }
    }

    fn output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            // The first plan of thousands of services tells of each of them; room for that is not needed again.
            self.outputs.shrink_to(OUTPUTS_KEPT);
        }
        output
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        let watch = self.watching.due.map(|due| (due, "watchlist"));
        let both = [self.pending(), watch];
        both.into_iter().flatten().min_by_key(|(due, _)| *due)
    }
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
