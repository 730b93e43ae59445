//! The deciding thread, as `speaker/src/drive/decide.rs` drives the agent and writes the tables.

use crate::net;
use crate::node::{Job, Node, Process, Said, Thread};
use crate::oracle::Promise;
use crate::plant::Plant;
use crate::world::World;
use speaker_core::agent::{self, Input, Output};
use speaker_core::diff::Change;
use speaker_core::plan::Plan;
use speaker_core::tables::{self, Memory, TableChange, Tables};
use speaker_ebpf::abi::{Entry, Mode, MoveValue, VipKey};
use speaker_proto::gossip;
use speaker_proto::hold::{self, Ground};
use speaker_proto::member::Profile;
use speaker_proto::probe;
use speaker_proto::{Mac, Machine, Time, Vip};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

impl World {
    /// One turn.
    pub(crate) fn decide_turn(&mut self, node: usize) {
        let time = self.nodes[node].time(self.now);
        let Some(mut process) = self.nodes[node].process.take() else {
            return;
        };
        let mut turn = Turn::default();
        let before = process.agent.held().clone();
        while let Some(said) = process.said.pop_front() {
            process.is_armed = said == Said::Armed;
            let input = match said {
                Said::Armed => Input::Armed,
                Said::Lapsed(deadline) => Input::Lapsed { deadline },
            };
            self.decide(node, &mut process, time, input, &mut turn);
        }
        let taken = process.inbox.len().min(INPUTS_PER_TURN);
        for input in process.inbox.drain(..taken).collect::<Vec<_>>() {
            self.decide(node, &mut process, time, input, &mut turn);
        }
        process.agent.expire(time);
        self.flush(node, &mut process, time, &mut turn);
        process.decided = time;
        let entered = self.coverage.note(&before, process.agent.held());
        self.tell_changes(node, &before, process.agent.held());
        self.describe(&mut process);
        let due = process.agent.deadline();
        let is_more = !process.inbox.is_empty();
        process.arms += turn.arms;
        let wakes_pulse = turn.arms > 0 || !process.asked.is_empty();
        let wakes_work = turn.is_applied || !process.jobs.is_empty();
        self.nodes[node].process = Some(process);
        if let Some((due, _)) = due {
            self.want_when(node, Thread::Decide, due);
        }
        if is_more {
            self.want_soon(node, Thread::Decide);
        }
        if wakes_pulse {
            self.want_soon(node, Thread::Pulse);
        }
        if wakes_work {
            self.want_soon(node, Thread::Work);
        }
        if turn.is_written {
            self.changed(node);
        }
        for state in entered {
            self.entered(node, state);
        }
    }

    fn decide(
        &mut self,
        node: usize,
        process: &mut Process,
        time: Time,
        input: Input,
        turn: &mut Turn,
    ) {
        if let Input::Told(from, message) = &input {
            let said = hold::message::decode(message);
            let name = &self.nodes[node].name;
            self.tell(|| format!("{name} hears from {from}: {said:?}"));
            if said.is_err() {
                let what = format!("{name} heard from {from} what is malformed");
                self.oracle.note(self.now, Promise::Understood, what);
            }
        }
        if let Input::Claimed { vip, .. } | Input::Fenced(vip) = &input {
            self.note_fence(node, process, *vip);
        }
        process.agent.input(time, input);
        self.flush(node, process, time, turn);
    }

    fn flush(&mut self, node: usize, process: &mut Process, time: Time, turn: &mut Turn) {
        while let Some(output) = process.agent.output() {
            match output {
                Output::Apply(plan) => {
                    turn.is_applied = true;
                    turn.is_written |= self.apply(node, process, &plan);
                    process.agent.input(time, Input::Applied(Ok(())));
                }
                Output::Arm => turn.arms += 1,
                Output::Event(event) => {
                    self.happened(node, &event);
                }
                Output::Tell(to, message) => {
                    process.asked.push_back(gossip::Input::Tell(to, message));
                }
                Output::Kernel(of, is_silent) => {
                    process
                        .asked
                        .push_back(gossip::Input::Kernel(of, is_silent));
                }
                Output::Publish(version, held) => {
                    process.asked.push_back(gossip::Input::Held(version, held));
                }
                Output::Probe {
                    group,
                    nonce,
                    only,
                    places,
                } => {
                    if only.is_some() && self.plant == Some(Plant::StopsProbing) {
                        continue;
                    }
                    let links = &process.agent.local().links;
                    let places = places.into_iter().filter_map(|(vip, name)| {
                        let link = links.get(&name)?;
                        Some(((vip, link.ifindex), link.mac))
                    });
                    process.jobs.push_back(Job::Probe(probe::Ask {
                        group,
                        nonce,
                        places: places.collect(),
                        only,
                    }));
                }
                Output::LookFor(prospects) => process.jobs.push_back(Job::LookFor(prospects)),
                Output::Watch(_) if self.plant == Some(Plant::WatchesNobody) => {}
                Output::Watch(list) => process.jobs.push_back(Job::Watch(list)),
                Output::Unfence(vips) => {
                    self.unfence(node, process, &vips);
                    turn.is_written = true;
                }
                Output::Claim(places) => {
                    let vips = places.into_iter().map(|(vip, _)| vip);
                    process.jobs.push_back(Job::Claim(vips.collect()));
                }
                Output::ClaimTo(places, macs) => {
                    let vips = places.into_iter().map(|(vip, _)| vip).collect();
                    process.jobs.push_back(Job::ClaimTo(vips, macs));
                }
                Output::Disarm(mac, until) => self.disarm(node, process, mac, until),
            }
        }
    }

    /// What an agent told its operator.
    fn happened(&mut self, node: usize, event: &agent::Event) {
        self.coverage.event(event);
        let agent::Event::Hold { event, with, .. } = event else {
            return;
        };
        self.tell(|| format!("{} {event:?} {with:?}", self.nodes[node].name));
        match event {
            hold::Event::Taken {
                group,
                ground: Ground::Contest,
                ..
            } => self.retaken(node, group.0),
            hold::Event::Contest { group, with, .. } => self.contested(node, group.0, *with),
            hold::Event::Taken { .. }
            | hold::Event::Given { .. }
            | hold::Event::Disagree { .. }
            | hold::Event::Stranger { .. }
            | hold::Event::Spoofed { .. }
            | hold::Event::MovesSpent { .. } => {}
        }
    }

    /// Whether anything had to be written.
    fn apply(&mut self, node: usize, process: &mut Process, plan: &Plan) -> bool {
        let mut memory = std::mem::take(&mut process.memory);
        let wanted = wanted(process, &mut memory, plan);
        process.memory = memory;
        let mut changes = tables::changes(&process.mirror, &wanted);
        if let Some(plant) = self.plant {
            changes.retain(|change| is_written(plant, process, change));
        }
        let kernel = &mut self.nodes[node].kernel;
        let fenced: BTreeSet<(VipKey, u32)> = kernel
            .fenced()
            .filter(|(key, _)| {
                let entry = process.mirror.vips.get(key);
                entry.and_then(Entry::mode) == Some(Mode::Answer)
            })
            .collect();
        for change in &changes {
            kernel.apply(change);
            process.mirror.apply(change);
        }
        if self.plant == Some(Plant::RewritesFences) {
            for slot in process.mirror.vips.values().map(Entry::slot) {
                kernel.unfence(slot, kernel.generation(slot));
            }
        }
        self.judge_fences(node, &fenced);
        !changes.is_empty()
    }

    /// Before the agent is told of claims of a VIP: notes how many there were.
    fn note_fence(&mut self, node: usize, process: &mut Process, vip: Vip) {
        let slots = slots(process, vip);
        let fenced = self.nodes[node].kernel.fenced_of(slots.into_iter());
        process.told.extend(fenced);
    }

    /// Lowers fences up to the claims that the agent was told of.
    fn unfence(&mut self, node: usize, process: &mut Process, vips: &BTreeSet<Vip>) {
        for vip in vips {
            for slot in slots(process, *vip) {
                if let Some(generation) = process.told.remove(&slot) {
                    self.nodes[node].kernel.unfence(slot, generation);
                }
            }
        }
    }

    fn disarm(&mut self, node: usize, process: &mut Process, mac: Mac, until: Time) {
        if let Some(change) = tables::disarm(&process.mirror, mac, until.ns()) {
            self.nodes[node].kernel.apply(&change);
            process.mirror.apply(&change);
        }
    }

    /// Tells members of this node, if that changed.
    pub(crate) fn describe(&mut self, process: &mut Process) {
        let local = process.agent.local();
        let links = local.member_links();
        let is_same = process.profile.links == links
            && process.profile.is_draining == local.is_draining
            && process.profile.is_stale == process.is_stale
            && process.profile.newcomers == local.newcomers;
        if !is_same {
            process.profile = Arc::new(Profile {
                links,
                is_draining: local.is_draining,
                is_stale: process.is_stale,
                newcomers: local.newcomers.clone(),
                ..(*process.profile).clone()
            });
            let profile = Arc::clone(&process.profile);
            process.asked.push_back(gossip::Input::Profile(profile));
        }
    }
}

/// Whether a planted defect lets a write be made.
fn is_written(plant: Plant, process: &Process, change: &TableChange) -> bool {
    match (plant, change) {
        (Plant::KeepsOldMacs, TableChange::Member(_)) => false,
        (Plant::KeepsNextHop, TableChange::Target(Change::Remove(_))) => false,
        (Plant::KeepsTarget, TableChange::Move(Change::Put(key, value))) => {
            let was = process.mirror.moves.get(key);
            let of_nobody = MoveValue::new(None, None, 0, 0).fresh();
            was.is_none_or(|was| was.fresh() == value.fresh() || was.fresh() == of_nobody)
        }
        (Plant::LeavesFamily, TableChange::Vip(Change::Put(key, entry))) => {
            let was = process.mirror.vips.get(key).and_then(Entry::mode);
            IpAddr::from(key.addr()).is_ipv4()
                || was != Some(Mode::Answer)
                || entry.mode() == Some(Mode::Answer)
        }
        _ => true,
    }
}

/// The slots of a VIP's entries on all links.
fn slots(process: &Process, vip: Vip) -> Vec<u32> {
    let entries = process.mirror.vips.iter();
    let own = entries.filter(|(key, _)| IpAddr::from(key.addr()) == vip.0);
    own.map(|(_, entry)| entry.slot()).collect()
}

/// What a node says of itself at first.
pub(crate) fn profile(node: usize, known: &Node) -> Arc<Profile> {
    Arc::new(Profile {
        addresses: vec![net::address(node)],
        macs: known.macs.iter().flatten().copied().collect(),
        version: "simulated".into(),
        ..Profile::of(known.name.clone())
    })
}

/// What the tables should hold by a plan.
pub(crate) fn wanted(process: &Process, memory: &mut Memory, plan: &Plan) -> Tables {
    let wanted = tables::wanted(
        plan,
        process.agent.local(),
        process.agent.macs(),
        &process.mirror,
        memory,
    );
    wanted.tables
}

/// What a turn of the deciding thread came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Turn {
    is_applied: bool,
    is_written: bool,
    arms: usize,
}

/// As in the shell: so that a flood does not make a turn long.
const INPUTS_PER_TURN: usize = 256;
