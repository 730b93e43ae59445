//! How a speaker starts, stops and dies, and what it hears of the objects.

use crate::api::Change;
use crate::node::{Process, State, THREADS, Thread};
use crate::plant::Plant;
use crate::queue::MS;
use crate::world::{Event, World};
use crate::{decide, net};
use speaker_core::agent::{self, Agent, Input};
use speaker_core::fence::Looks;
use speaker_core::key::Kind;
use speaker_core::tables::{Memory, Tables, left};
use speaker_core::{Link, LinkName, Local};
use speaker_ebpf::abi::Mode;
use speaker_proto::announce::Announce;
use speaker_proto::gossip::{self, Gossip};
use speaker_proto::member::{HeldEntry, HeldSet, HeldState, Profile};
use speaker_proto::probe::Probes;
use speaker_proto::pulse::{self, Pulse};
use speaker_proto::vicinity::Vicinity;
use speaker_proto::watch::Watch;
use speaker_proto::{Boot, Epoch, GroupKey, Machine, Span, Time, Vip};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

impl World {
    /// A speaker starts on a node, unless one runs.
    pub(crate) fn start(&mut self, node: usize) {
        if let Some(process) = &mut self.nodes[node].process {
            process.has_successor = true;
            return;
        }
        let boot = self.boot();
        let known = &mut self.nodes[node];
        let time = known.time(self.now);
        let mirror = known.kernel.read();
        let pulse = Pulse::new(time, known.kernel.deadline());
        let is_armed = pulse.is_armed();
        let adopted = adopted(&mirror);
        let held = adopted.iter().filter(|_| is_armed).map(holding);
        let held: HeldSet = held.collect();
        let start = agent::Start {
            local: Local::new(known.name.clone()),
            adopted,
            is_armed,
            spread: left(&mirror, time),
            last_deadline: Some(known.kernel.deadline()).filter(|last| *last > Time::default()),
            drain_window: DRAIN_WINDOW,
            seed: self.chance.any(),
        };
        let links = known.links();
        let profile = decide::profile(node, known);
        let gossip = self.gossip(node, boot, &profile, held);
        let inbox = self.first_inputs(node, links);
        let known = &mut self.nodes[node];
        known.life += 1;
        let binary = known.binary;
        self.net.set_strange(self.now, node, binary.is_other);
        known.process = Some(Box::new(Process {
            boot,
            pulse,
            gossip,
            socket: VecDeque::new(),
            asked: VecDeque::new(),
            profile,
            is_stale: false,
            binary,
            is_stopping: false,
            has_successor: false,
            agent: Agent::new(start, time),
            mirror,
            memory: Memory::default(),
            is_armed,
            announce: Announce::new(),
            probes: Probes::new(),
            watch: Watch::new(),
            vicinity: Vicinity::new(),
            prospects: Arc::default(),
            jobs: VecDeque::new(),
            looks: Looks::default(),
            look_at: time,
            told: BTreeMap::new(),
            inbox,
            said: VecDeque::new(),
            arms: 0,
            decided: time,
            was_renewed: false,
            threads: [State::default(); 3],
            torn: None,
            tear: false,
        }));
        self.oracle.started.insert(node, self.now);
        for thread in THREADS {
            self.want_soon(node, thread);
        }
        self.tell_later(node);
    }

    /// Membership of a new process, which looks for all the others.
    fn gossip(&mut self, node: usize, boot: Boot, profile: &Arc<Profile>, held: HeldSet) -> Gossip {
        let known = &self.nodes[node];
        let time = known.time(self.now);
        let mut gossip = Gossip::new(gossip::Start {
            me: known.id,
            boot,
            profile: Arc::clone(profile),
            held: Arc::new(held),
            seed: self.chance.any(),
            now: time,
        });
        gossip.input(time, self.seeds(node));
        gossip
    }

    /// What a new process hears first: its links, and the objects that its node has been told of.
    fn first_inputs(&self, node: usize, links: BTreeMap<LinkName, Link>) -> VecDeque<Input> {
        let links = Input::Links {
            announcing: links,
            others: BTreeSet::new(),
        };
        let objects = self.api.objects(node);
        let objects = objects.map(|object| Input::Object(Ok(object.clone())));
        let synced = Kind::ALL.map(Input::Synced);
        [links].into_iter().chain(objects).chain(synced).collect()
    }

    fn boot(&mut self) -> Boot {
        let mut boot = [0; 16];
        boot[..8].copy_from_slice(&self.chance.any().to_be_bytes());
        boot[8..].copy_from_slice(&self.chance.any().to_be_bytes());
        Boot(boot)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, node: usize) {
        let known = &mut self.nodes[node];
        if known.process.take().is_some() {
            self.oracle.ended.insert(node, self.now);
        }
        known.life += 1;
    }

    /// A clean stop: the observers are asked to wait for a successor, then the process ends.
    pub(crate) fn stop(&mut self, node: usize) {
        let grace = self.history.grace;
        let Some(process) = &mut self.nodes[node].process else {
            return;
        };
        process.is_stopping = true;
        process.asked.push_back(gossip::Input::Promise(grace));
        self.want_soon(node, Thread::Pulse);
    }

    /// The promise of a process that stops is settled: its kernel gets that long if all observers know.
    pub(crate) fn promised(
        &mut self,
        node: usize,
        process: &mut Process,
        time: Time,
        is_noted: bool,
    ) {
        if !process.is_stopping {
            return;
        }
        self.coverage.see(if is_noted {
            "promise noted"
        } else {
            "promise not noted"
        });
        if is_noted || self.plant == Some(Plant::PromisesUnheard) {
            let grace = self.history.grace;
            process.pulse.input(time, pulse::Input::Promise(grace));
        }
        let at = self.now + self.chance.between(MS, 5 * MS);
        self.queue
            .plan(at, Event::Exit(node, self.nodes[node].life));
    }

    /// Where the others are.
    fn seeds(&self, node: usize) -> gossip::Input {
        let others = (0..self.history.nodes).filter(|other| *other != node);
        gossip::Input::Seeds(others.map(net::address).collect())
    }

    /// A process that stopped is gone.
    pub(crate) fn exit(&mut self, node: usize, life: u32) {
        if self.nodes[node].life != life {
            return;
        }
        let process = self.nodes[node].process.as_ref();
        let has_successor = process.is_some_and(|process| process.has_successor);
        self.kill(node);
        if has_successor {
            self.start(node);
        }
    }

    /// Tells a process whether its objects are old.
    pub(crate) fn stale(&mut self, node: usize, is_stale: bool) {
        let Some(process) = &mut self.nodes[node].process else {
            return;
        };
        if self.plant == Some(Plant::HidesStaleness) {
            return;
        }
        process.is_stale = is_stale;
        process.inbox.push_back(Input::Stale(is_stale));
        self.want_soon(node, Thread::Decide);
    }

    /// Tells a process to give away what it holds, or that it need not any more.
    pub(crate) fn drain(&mut self, node: usize, is_draining: bool) {
        let Some(process) = &mut self.nodes[node].process else {
            return;
        };
        process.inbox.push_back(Input::Drain(is_draining));
        self.want_soon(node, Thread::Decide);
    }

    /// A node hears of changes.
    pub(crate) fn hear(&mut self, node: usize, until: usize) {
        if self.api.follower(node).is_cut {
            return;
        }
        let news = self.api.hear(node, until);
        let Some(process) = &mut self.nodes[node].process else {
            return;
        };
        for change in news {
            process.inbox.push_back(match change {
                Change::Put(object) => Input::Object(Ok(object)),
                Change::Gone(key) => Input::Gone(key),
            });
        }
        self.want_soon(node, Thread::Decide);
    }
}

/// VIPs that the kernel answers for, by the epoch of their taking.
fn adopted(tables: &Tables) -> BTreeMap<Vip, Epoch> {
    let answers = tables.vips.iter();
    answers
        .filter(|(_, entry)| entry.mode() == Some(Mode::Answer))
        .map(|(key, entry)| (Vip(key.addr().into()), Epoch(entry.epoch())))
        .collect()
}

/// A VIP that was adopted, as the others are told of it before anything is decided.
fn holding((vip, epoch): (&Vip, &Epoch)) -> (GroupKey, HeldEntry) {
    let state = HeldState::Holding;
    (
        GroupKey(vip.0),
        HeldEntry {
            epoch: *epoch,
            state,
        },
    )
}

/// Shorter than the 30 s that ships, so that its end comes within a history.
const DRAIN_WINDOW: Span = Span::s(2);
