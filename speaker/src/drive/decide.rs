//! The thread that decides and writes the kernel's tables.
//!
//! It drives the [`Agent`] and is the only writer of the tables. It waits for nobody: what it says leaves through
//! channels that never block, so that a hung worker (or a log that nobody reads) cannot stop it. A turn is finished at
//! least every [`TURN_MAX`], which is what the pulse goes by.

use super::announce::Claim;
use super::audit::Suspicion;
use super::clock::{Stamp, now};
use super::hands::{self, Fences, Hands};
use super::pulse::{PulseHandle, Said};
use crate::dataplane::KernelTables;
use anyhow::{Context, Result};
use speaker_core::agent::{Agent, Event, Input, Output};
use speaker_core::plan::{Held, Plan};
use speaker_core::tables::{self, Memory, TableChange, Tables};
use speaker_core::{LinkName, Local, Members, Problem, World};
use speaker_proto::gossip;
use speaker_proto::{GroupKey, Mac, Machine, NodeId, NodeName, Span, Time, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use tokio::sync::{mpsc, watch};

/// Everything that stands behind the tables at one moment, for whoever wants to see it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The objects in force.
    pub(crate) world: Arc<World>,
    /// The plan in force.
    pub(crate) plan: Arc<Plan>,
    /// What the kernel's tables hold.
    pub(crate) tables: Arc<Tables>,
    /// What this node knows of itself.
    pub(crate) local: Local,
    /// What it holds.
    pub(crate) held: Held,
    /// Whom it knows to be alive, itself included.
    pub(crate) alive: Members,
    /// Groups whose holder does not answer for them where this node asks, with that holder.
    pub(crate) unanswered: BTreeMap<GroupKey, NodeName>,
    /// Groups that this node should watch and has no room for.
    pub(crate) unwatched: usize,
    /// The nodes that the tables of steering name by number.
    pub(crate) numbers: BTreeMap<NodeName, u16>,
    /// Tables that are full.
    pub(crate) problems: Vec<Problem>,
    /// Whether a deadline is in force.
    pub(crate) is_armed: bool,
    /// What the thread has done so far.
    pub(crate) work: Work,
    /// When all of it was so.
    pub(crate) at: Time,
}

/// What the deciding thread has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Work {
    /// Plans applied.
    pub(crate) plans: u64,
    /// Writes to the kernel's tables.
    pub(crate) writes: u64,
    /// How long the last plan took from decision to the last write.
    pub(crate) last: Span,
    /// How long it took from hearing of the last change that called for writes to the last of them.
    pub(crate) reaction: Span,
    /// Writes that were needed although no plan changed: somebody else wrote.
    pub(crate) repairs: u64,
    /// Plans that failed to apply.
    pub(crate) failures: u64,
    /// Events that nobody took in time.
    pub(crate) events_lost: u64,
    /// Messages to other nodes that the pulse did not take.
    pub(crate) messages_lost: u64,
}

/// Where the thread's results go.
pub(crate) struct Outlets {
    /// Changes for the operator; a full channel loses and counts them.
    pub(crate) events: mpsc::Sender<Event>,
    /// The newest view.
    pub(crate) views: watch::Sender<Option<Arc<View>>>,
    /// Probes and claims.
    pub(crate) hands: Hands,
}

/// What the thread exchanges with the other threads that never block.
pub(crate) struct Signals {
    /// The pulse, to be armed.
    pub(crate) pulse: PulseHandle,
    /// What the pulse says.
    pub(crate) said: Receiver<Said>,
    /// When a turn was last finished.
    pub(crate) decided: Stamp,
    /// What the audit found.
    pub(crate) suspicion: Suspicion,
}

/// The deciding loop with everything it owns.
pub(crate) struct Decide {
    agent: Agent,
    kernel: KernelTables,
    mirror: Arc<Tables>,
    memory: Memory,
    signals: Signals,
    outlets: Outlets,
    problems: Vec<Problem>,
    fences: Fences,
    /// The pulse has not taken the newest held set.
    is_held_unsaid: bool,
    /// Whether kernels of members in their grace are silent, as far as the pulse has not taken it: it is said only once.
    kernels: BTreeMap<NodeId, bool>,
    is_armed: bool,
    /// When the first change was heard that no plan has answered yet.
    heard: Option<Time>,
    work: Work,
}

impl Decide {
    /// `kernel` as it was read into `mirror`.
    pub(crate) fn new(
        agent: Agent,
        kernel: KernelTables,
        mirror: Tables,
        signals: Signals,
        outlets: Outlets,
    ) -> Self {
        Self {
            agent,
            kernel,
            mirror: Arc::new(mirror),
            memory: Memory::default(),
            is_armed: signals.pulse.is_adopted(),
            signals,
            outlets,
            problems: Vec::new(),
            fences: Fences::default(),
            is_held_unsaid: false,
            kernels: BTreeMap::new(),
            heard: None,
            work: Work::default(),
        }
    }

    /// Starts the thread. It ends when every sender of `inbox` is gone.
    pub(crate) fn spawn(mut self, inbox: Receiver<Input>) -> Result<thread::JoinHandle<()>> {
        self.signals.decided.touch();
        thread::Builder::new()
            .name("decide".into())
            .spawn(move || while self.turn(&inbox) {})
            .context("failed to start the deciding thread")
    }

    /// One turn: what came in, what is due, and the stamp that the pulse reads. `false`: nothing can come any more.
    fn turn(&mut self, inbox: &Receiver<Input>) -> bool {
        let first = match inbox.recv_timeout(self.wait().into()) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        while let Ok(said) = self.signals.said.try_recv() {
            self.is_armed = said == Said::Armed;
            self.take(match said {
                Said::Armed => Input::Armed,
                Said::Lapsed { deadline } => Input::Lapsed { deadline },
            });
        }
        for input in first
            .into_iter()
            .chain(inbox.try_iter().take(INPUTS_PER_TURN))
        {
            self.take(input);
        }
        self.agent.expire(now());
        self.flush();
        self.repair();
        self.publish_held();
        self.tell_kernels();
        self.signals.decided.touch();
        if self.is_news() {
            self.publish();
        }
        true
    }

    fn wait(&self) -> Span {
        let due = self
            .agent
            .deadline()
            .map_or(TURN_MAX, |(at, _)| at.since(now()));
        // The pulse answers an asking within microseconds, but cannot wake this thread.
        due.min(if self.is_armed { TURN_MAX } else { ARMING_TURN })
    }

    fn take(&mut self, input: Input) {
        let now = now();
        self.heard.get_or_insert(now);
        if let Some(vip) = hands::claimed(&input) {
            let noted = self.fences.note(&self.kernel, &self.mirror, vip);
            self.report(noted);
        }
        self.agent.input(now, input);
        self.flush();
        if self.agent.pending().is_none() {
            // Nothing is due: it was answered just now, or changed nothing.
            self.heard = None;
        }
    }

    fn flush(&mut self) {
        while let Some(output) = self.agent.output() {
            match output {
                Output::Apply(plan) => {
                    let result = self.apply(&plan).map_err(|error| format!("{error:#}"));
                    self.work.plans += 1;
                    self.work.failures += u64::from(result.is_err());
                    self.agent.input(now(), Input::Applied(result));
                }
                Output::Tell(to, message) => self.gossip(gossip::Input::Tell(to, message)),
                // Said once a turn, or before the next message: with thousands of VIPs each version costs its length.
                Output::Publish(_version, _held) => self.is_held_unsaid = true,
                Output::Arm => self.signals.pulse.arm(),
                Output::Probe {
                    group,
                    nonce,
                    only,
                    places,
                } => {
                    let local = self.agent.local();
                    self.outlets
                        .hands
                        .probe(local, (group, nonce), only, &places);
                }
                Output::LookFor(prospects) => self.outlets.hands.look_for(prospects),
                Output::Kernel(node, is_silent) => {
                    self.kernels.insert(node, is_silent);
                }
                Output::Watch(list) => self.outlets.hands.watch(list),
                Output::Claim(places) => self.outlets.hands.claim(Claim::Again(vips(places))),
                Output::ClaimTo(places, macs) => {
                    self.outlets.hands.claim(Claim::From(vips(places), macs));
                }
                Output::Unfence(vips) => {
                    let lowered = self.fences.lower(&mut self.kernel, &self.mirror, &vips);
                    self.report(lowered);
                }
                Output::Disarm(mac, until) => {
                    let change = tables::disarm(&self.mirror, mac, until.ns());
                    let disarmed = self.write(change.as_slice());
                    self.report(disarmed);
                }
                Output::Event(event) => {
                    self.work.events_lost +=
                        u64::from(self.outlets.events.try_send(event).is_err());
                }
            }
        }
    }

    /// Tells all members what this node holds by now, if they do not know; now or at the next turn.
    fn publish_held(&mut self) {
        if self.is_held_unsaid {
            let (version, held) = self.agent.said_to_hold();
            let input = gossip::Input::Held(version, Arc::clone(held));
            self.is_held_unsaid = self.signals.pulse.tell(input).is_err();
        }
    }

    /// Tells what was found of kernels, now or at the next turn.
    fn tell_kernels(&mut self) {
        let pulse = &self.signals.pulse;
        let tell = |node, is_silent| pulse.tell(gossip::Input::Kernel(node, is_silent));
        self.kernels
            .retain(|node, is_silent| tell(*node, *is_silent).is_err());
    }

    /// A message to another node, which is lost if too many are under way: those who send them send them again.
    ///
    /// None may come before what was published earlier: another node could go by it without knowing that.
    fn gossip(&mut self, input: gossip::Input) {
        self.publish_held();
        if self.is_held_unsaid {
            self.work.messages_lost += 1;
            return;
        }
        self.work.messages_lost += u64::from(self.signals.pulse.tell(input).is_err());
    }

    fn apply(&mut self, plan: &Plan) -> Result<()> {
        let started = now();
        let macs = self.macs();
        let wanted = tables::wanted(
            plan,
            self.agent.local(),
            &macs,
            &self.mirror,
            &mut self.memory,
        );
        self.problems = wanted.problems;
        let changes = tables::changes(&self.mirror, &wanted.tables);
        self.write(&changes)?;
        let ended = now();
        self.work.last = ended.since(started);
        if let Some(heard) = self.heard.take()
            && !changes.is_empty()
        {
            self.work.reaction = ended.since(heard);
        }
        Ok(())
    }

    /// Hardware addresses by which members may claim. Until it is known who there is, those that the last process knew count too.
    fn macs(&self) -> BTreeSet<Mac> {
        let mut macs = self.agent.macs().clone();
        if !self.agent.roster().is_settled {
            let known = self.mirror.members.keys();
            macs.extend(known.map(|key| Mac(key.mac().0)));
        }
        macs
    }

    fn write(&mut self, changes: &[TableChange]) -> Result<()> {
        for change in changes {
            if let Err(error) = self.kernel.apply(change) {
                self.mirror = Arc::new(self.kernel.read().context("failed to read the tables")?);
                return Err(error).context("failed to write a table");
            }
            Arc::make_mut(&mut self.mirror).apply(change);
            self.work.writes += 1;
        }
        Ok(())
    }

    /// Reads the kernel's tables and mends what somebody else changed, if the audit found something.
    fn repair(&mut self) {
        if !self.signals.suspicion.swap(false, Ordering::Relaxed) {
            return;
        }
        let mended = self.kernel.read().and_then(|found| {
            let changes = tables::changes(&found, &self.mirror);
            if changes.is_empty() {
                return Ok(0);
            }
            let wanted = Arc::clone(&self.mirror);
            self.mirror = Arc::new(found);
            self.write(&changes)?;
            debug_assert_eq!(*self.mirror, *wanted);
            Ok(changes.len() as u64)
        });
        let mended = mended.map(|count| self.work.repairs += count);
        self.report(mended);
    }

    /// Tells of what failed in the kernel's tables.
    fn report(&self, done: Result<()>) {
        if let Err(error) = done {
            let _full_is_counted_elsewhere = self
                .outlets
                .events
                .try_send(Event::NotApplied(format!("{error:#}")));
        }
    }

    fn is_news(&self) -> bool {
        self.outlets.views.borrow().as_ref().is_none_or(|view| {
            self.is_world_news(view)
                || view.work != self.work
                || view.is_armed != self.is_armed
                || view.local.links != self.agent.local().links
                || view.local.is_draining != self.agent.local().is_draining
                || view.unwatched != self.agent.unwatched()
                || !view
                    .unanswered
                    .iter()
                    .map(|(group, node)| (*group, node))
                    .eq(self.agent.unanswered())
        })
    }

    /// Whether other objects are in force, and no plan will show them soon: whoever follows the views works through all services, and
    /// a hundred objects a second must not make a hundred views.
    fn is_world_news(&self, view: &View) -> bool {
        let is_shown_soon = self.agent.is_settling() && now().since(view.at) < VIEW_MAX;
        !Arc::ptr_eq(&view.world, self.agent.world()) && !is_shown_soon
    }

    fn unanswered(&self) -> BTreeMap<GroupKey, NodeName> {
        let unanswered = self.agent.unanswered();
        unanswered
            .map(|(group, node)| (group, node.clone()))
            .collect()
    }

    fn publish(&self) {
        let view = View {
            world: Arc::clone(self.agent.world()),
            plan: Arc::clone(self.agent.plan()),
            tables: Arc::clone(&self.mirror),
            local: self.agent.local().clone(),
            held: self.agent.held().clone(),
            alive: self.agent.members().clone(),
            unanswered: self.unanswered(),
            unwatched: self.agent.unwatched(),
            numbers: self.memory.numbers().clone(),
            problems: self.problems.clone(),
            is_armed: self.is_armed,
            work: self.work,
            at: now(),
        };
        self.outlets.views.send_replace(Some(Arc::new(view)));
    }
}

fn vips(places: Vec<(Vip, LinkName)>) -> BTreeSet<Vip> {
    places.into_iter().map(|(vip, _)| vip).collect()
}

/// A turn is finished at least this often; the pulse stops trusting the loop after 100 ms.
const TURN_MAX: Span = Span::ms(40);
/// Objects that are in force are shown within this time, even if the plan of them is late.
const VIEW_MAX: Span = Span::ms(200);
/// Turns while no deadline is in force.
const ARMING_TURN: Span = Span::ms(5);
/// Inputs taken in one turn besides the first, so that a flood does not make it long.
const INPUTS_PER_TURN: usize = 256;
