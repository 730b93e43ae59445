//! The whole history's state, and the loop that lets time pass.

use crate::api::Api;
use crate::chance::Chance;
use crate::client::Client;
use crate::fault::Aim;
use crate::flow::Flows;
use crate::history::{History, Kind};
use crate::lan::Lan;
use crate::net::Net;
use crate::node::{Node, Thread};
use crate::oracle::Oracle;
use crate::plant::Plant;
use crate::queue::{MS, Ns, Queue};
use crate::segment::{Port, Segment};
use crate::truth::Truth;
use crate::{client, coverage::Coverage};
use speaker_proto::gossip::Received;
use std::net::IpAddr;
use std::rc::Rc;

/// What happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A datagram arrives at a node's socket.
    Datagram(usize, Received),
    /// A frame arrives at a port of a segment.
    Frame(Lan, Port, Rc<[u8]>),
    /// A thread of a process wakes up.
    Wake(usize, u32, Thread),
    /// A client asks for every VIP.
    Ask(usize),
    /// A node hears of changes up to this one.
    Hear(usize, usize),
    /// A process of a node begins.
    Start(usize),
    /// Netlink tells a process of its links.
    Link(usize, u32),
    /// A process that stopped ends.
    Exit(usize, u32),
    /// A fault begins, by its place in the history.
    Strike(usize),
    /// A fault ends.
    Heal(usize),
    /// A VIP should be answered for again by somebody else than this node, if nothing else struck since.
    Expect(IpAddr, usize, usize),
    /// The oracle looks again.
    Look,
    /// The spoofing host claims once more, for a fault.
    Spoof(usize, Ns),
    /// A client sends a packet of one of its connections.
    Flow(usize),
}

/// A history as it happens.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Ns,
    pub(crate) queue: Queue<Event>,
    pub(crate) chance: Chance,
    pub(crate) net: Net,
    pub(crate) segments: Vec<Segment>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    pub(crate) api: Api,
    pub(crate) vips: Vec<IpAddr>,
    pub(crate) oracle: Oracle,
    pub(crate) coverage: Coverage,
    pub(crate) history: Rc<History>,
    pub(crate) truth: Truth,
    /// The connections of clients.
    pub(crate) flows: Flows,
    /// The rule that is broken.
    pub(crate) plant: Option<Plant>,
    /// The faults, each where it struck.
    pub(crate) kinds: Vec<Kind>,
    /// Whether each has struck.
    pub(crate) struck: Vec<bool>,
    /// Those that wait for a state.
    pub(crate) aims: Vec<Aim>,
    /// Faults that have struck.
    pub(crate) strikes: usize,
    /// When the last fault that struck is over.
    pub(crate) calm_from: Ns,
    pub(crate) events: u64,
    /// Somebody listens to what happens.
    pub(crate) is_told: bool,
}

impl World {
    /// Lets time pass until `end`, or until an invariant is broken.
    pub(crate) fn run(&mut self, end: Ns) {
        while self.oracle.broken().is_none() {
            let Some((at, event)) = self.queue.next(end) else {
                break;
            };
            debug_assert!(at >= self.now, "time runs forward");
            self.now = at;
            self.events += 1;
            self.happen(event);
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Datagram(node, received) => self.datagram(node, received),
            Event::Frame(lan, port, frame) => self.frame(lan, port, &frame),
            Event::Wake(node, life, thread) => self.wake(node, life, thread),
            Event::Ask(client) => self.ask(client),
            Event::Hear(node, until) => self.hear(node, until),
            Event::Start(node) => self.start(node),
            Event::Link(node, life) => self.link(node, life),
            Event::Exit(node, life) => self.exit(node, life),
            Event::Strike(fault) => self.strike(fault),
            Event::Heal(fault) => self.heal(fault),
            Event::Expect(vip, node, strikes) => self.expected(vip, node, strikes),
            Event::Look => self.look(),
            Event::Spoof(fault, until) => self.spoof(fault, until),
            Event::Flow(client) => self.flow_turn(client),
        }
    }

    /// Sends a frame out of a port.
    pub(crate) fn send(&mut self, lan: Lan, port: Port, frame: &[u8]) {
        let ports = self.segments[lan].route(self.now, port, frame, &mut self.chance);
        let frame: Rc<[u8]> = frame.into();
        for port in ports {
            let at = self.now + FRAME + self.chance.exponential(FRAME);
            self.queue
                .plan(at, Event::Frame(lan, port, Rc::clone(&frame)));
        }
    }

    fn frame(&mut self, lan: Lan, port: Port, frame: &Rc<[u8]>) {
        if port < self.nodes.len() {
            self.node_frame(lan, port, frame);
            return;
        }
        let client = port - self.nodes.len();
        // The last port is the spoofing host's, who does not listen.
        if client < CLIENTS
            && let Some(client) = self.clients.get_mut(lan * CLIENTS + client)
            && let Some(two) = client.receive(self.now, frame)
        {
            self.two_answers(two);
        }
    }

    fn ask(&mut self, number: usize) {
        if self.truth.is_spread {
            self.note_bare();
        }
        let (lan, port) = (number / CLIENTS, self.nodes.len() + number % CLIENTS);
        for at in 0..self.vips.len() {
            let frame = self.clients[number].ask(self.now, self.vips[at]);
            self.send(lan, port, &frame);
        }
        let at = self.now + client::pause(&mut self.chance);
        self.queue.plan(at, Event::Ask(number));
    }

    /// The port of the spoofing host, on every segment.
    pub(crate) fn spoofer(&self) -> Port {
        self.nodes.len() + CLIENTS
    }

    /// How late a thread of a node wakes that nothing holds up.
    pub(crate) fn latency(&mut self, node: usize) -> Ns {
        if self.nodes[node].slow_faults > 0 {
            return self.chance.exponential(STARVED);
        }
        // Now and then the scheduler has something better to do.
        if self.chance.hits(2) {
            self.chance.between(MS, 12 * MS)
        } else {
            10_000 + self.chance.exponential(30_000)
        }
    }
}

/// Hosts that ask, on each segment.
pub(crate) const CLIENTS: usize = 2;
/// The mean of what a thread of a starved node waits for a processor; up to sixteen times as long.
const STARVED: Ns = 20 * MS;
/// One hop through a switch, and the mean of what comes on top.
const FRAME: Ns = 20_000;
