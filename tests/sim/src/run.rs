//! A history happens: from its seed to what came of it.

use crate::api::{self, Api};
use crate::chance::Chance;
use crate::client::Client;
use crate::clock::Clock;
use crate::coverage::Coverage;
use crate::flow::Flows;
use crate::history::{History, Nodes, Way};
use crate::kernel::Kernel;
use crate::lan::{self, LANS};
use crate::net::Net;
use crate::node::{Binary, Node};
use crate::oracle::{Broken, Oracle};
use crate::queue::{MS, Ns, Queue, S};
use crate::segment::Segment;
use crate::world::{CLIENTS, Event, World};
use speaker_core::members::node_id;
use std::rc::Rc;

/// What came of a history.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The first promise that was broken, if any.
    pub broken: Option<Broken>,
    /// What was covered.
    pub coverage: Coverage,
    /// Events that happened.
    pub events: u64,
    /// True time that passed.
    pub lasted: Ns,
}

/// Lets a history happen.
pub fn run(history: &History) -> Outcome {
    happen(begin(history))
}

/// The same, and prints what happens.
pub fn run_aloud(history: &History) -> Outcome {
    let mut world = begin(history);
    world.is_told = true;
    happen(world)
}

fn happen(mut world: World) -> Outcome {
    let history = Rc::clone(&world.history);
    if let Some(judged) = history.judged {
        judge_at(&mut world, judged);
        world.judge_holders();
        return outcome(world);
    }
    let faults = history.faults.iter();
    let over = faults.map(|fault| fault.latest() + fault.lasts).max();
    world.run(over.unwrap_or(SETTLED));
    let calm = world.calm_from.max(world.now);
    judge_at(&mut world, calm + QUIET);
    judge_at(&mut world, calm + QUIET + S);
    if !world.are_candidates_holders() {
        judge_at(&mut world, calm + PATIENT);
    }
    world.judge_holders();
    if history.ends_mute {
        fall_mute_at_rest(&mut world);
    } else {
        die_at_rest(&mut world);
    }
    outcome(world)
}

/// One node dies when all is well again, so that every history times a failover.
fn die_at_rest(world: &mut World) {
    let node = (world.history.seed % world.history.nodes as u64) as usize;
    world.tell(|| format!("{} dies at rest", world.nodes[node].name));
    world.expect(node);
    world.strikes += 1;
    world.kill(node);
    world.run(world.now + 2 * S);
}

/// A link of one node falls mute or deaf when all is well again, though its carrier and gossip stay (L6.7).
fn fall_mute_at_rest(world: &mut World) {
    let mut chance = Chance::new(world.history.seed ^ MUTE);
    let node = chance.index(world.history.nodes);
    let lan = chance.index(world.segments.len());
    if !world.history.truth.is_on(node, lan) {
        return;
    }
    // What it was given a moment ago it was not yet seen to answer for.
    let before = world.expected_to_move(lan, node);
    world.run(world.now + SEEN);
    let mut expected = world.expected_to_move(lan, node);
    expected.retain(|vip| before.contains(vip));
    let name = world.nodes[node].name.clone();
    match chance.below(3) {
        0 => world.one_way((lan, node), Way::Out, false, true),
        1 => world.one_way((lan, node), Way::In, false, true),
        _ => world.cut_segment(lan, Nodes(1 << node), 1),
    }
    world.tell(|| format!("{name} is not heard on segment {lan} any more: {expected:?}"));
    world.run(world.now + WATCHED);
    world.judge_watched(lan, node, &expected);
}

fn judge_at(world: &mut World, at: Ns) {
    world.run(at - BLINK);
    world.glance();
    world.run(at);
    world.judge();
}

fn outcome(world: World) -> Outcome {
    Outcome {
        broken: world.oracle.broken().cloned(),
        coverage: world.coverage,
        events: world.events,
        lasted: world.now,
    }
}

fn begin(history: &History) -> World {
    let nodes = history.nodes;
    let mut chance = Chance::new(history.seed ^ NOISE);
    let mut queue = Queue::default();
    for (node, at) in history.starts.iter().enumerate() {
        queue.plan(*at, Event::Start(node));
    }
    let lans = history.truth.lans();
    for client in 0..CLIENTS * lans {
        queue.plan(chance.below(100 * MS), Event::Ask(client));
    }
    if history.truth.is_spread {
        for client in 0..CLIENTS * lans {
            queue.plan(FLOWS_FROM, Event::Flow(client));
        }
    }
    let clock = |node: usize, chance: &mut Chance| {
        // Hosts have been up for different times.
        let start = 1_000 * S + chance.below(1_000_000 * S);
        Clock::new(start, history.gains[node])
    };
    let mut world = World {
        now: 0,
        queue,
        net: Net::new(nodes),
        segments: segments(history),
        nodes: (0..nodes)
            .map(|node| Node {
                name: name(node),
                id: node_id(&name(node)),
                macs: [0, 1].map(|lan| {
                    history
                        .truth
                        .is_on(node, lan)
                        .then_some(lan::mac(node, lan))
                }),
                clock: clock(node, &mut chance),
                kernel: Kernel::broken(history.plant),
                process: None,
                life: 0,
                link_faults: [0; LANS],
                promised: None,
                slow_faults: 0,
                binary: Binary::default(),
            })
            .collect(),
        clients: (0..CLIENTS * lans)
            .map(|n| Client::new(n as u8, history.truth.is_spread))
            .collect(),
        api: Api::new(nodes, history.truth.objects()),
        vips: history.truth.vips(),
        oracle: Oracle::default(),
        coverage: Coverage::default(),
        history: Rc::new(history.clone()),
        truth: history.truth.clone(),
        flows: Flows::new(history.seed),
        plant: history.plant,
        kinds: Vec::new(),
        struck: Vec::new(),
        aims: Vec::new(),
        strikes: 0,
        // Every speaker has started by then, and taken what it is elected for.
        calm_from: STARTED,
        events: 0,
        is_told: false,
        chance,
    };
    world.plan_faults();
    world
}

/// Every node has a port on every segment; where it has no link nothing is plugged in.
fn segments(history: &History) -> Vec<Segment> {
    let of = |lan| {
        let mut segment = Segment::new(history.nodes + CLIENTS + 1);
        let absent = (0..history.nodes).filter(|node| !history.truth.is_on(*node, lan));
        absent.for_each(|node| segment.set_up(node, false));
        segment
    };
    (0..history.truth.lans()).map(of).collect()
}

fn name(node: usize) -> speaker_proto::NodeName {
    let name = api::node_name(node).parse();
    name.expect("a letter and a digit are a node's name")
}

/// A history without faults is judged from here.
const SETTLED: Ns = 5 * S;
/// The last speaker has started.
const STARTED: Ns = 3 * S;
/// How long after the last fault everything must be well again.
const QUIET: Ns = 8 * S;
/// What is on its way from one node to another is so for less.
const BLINK: Ns = 100 * MS;
/// How long it may take until a node that may not answer has given away what it answers for: whoever asked in vain waits.
const PATIENT: Ns = 16 * S;
/// Clients connect as soon as speakers have started.
const FLOWS_FROM: Ns = STARTED;
const MUTE: u64 = 0x6d7e;
/// Heirs ask each second.
const SEEN: Ns = 3 * S;
/// From when a holder is not heard to when another is: three misses a second apart and the phase of the first, a move, and slow turns.
const WATCHED: Ns = 5 * S;
/// So that what is chosen and what then happens by chance do not go together.
const NOISE: u64 = 0x5eed;
