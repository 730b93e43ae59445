//! A cluster on a virtual clock: machines, a lossy network between them, kernels with deadlines, and an observer that sees every kernel.
//!
//! Membership is modelled simply: each node hears the heartbeats of each, holds one for dead that was not heard for 650 ms, and
//! knows held sets that are repeated until acknowledged. Deciding, applying and the network all take time of their own.

use super::super::*;
use crate::member::{Boot, HeldSet, Member, Profile, Standing};
use crate::{Machine, NodeName, Span, Time};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

pub(super) const DRAIN_WINDOW: Span = Span::s(3);
const PROMISE: Span = Span::ms(500);
const LATE: Span = Span::ms(650);

/// How the world behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// Datagrams lost, of a thousand.
    pub(super) loss: u64,
    /// Datagrams that take up to two seconds, of a thousand.
    pub(super) late: u64,
    /// The longest that the others take, in ms.
    pub(super) delay_ms: u64,
    /// The longest that a turn of deciding waits, in ms.
    pub(super) turn_ms: u64,
    /// The longest that applying takes, in ms.
    pub(super) apply_ms: u64,
}

pub(super) const CALM: Weather = Weather {
    loss: 0,
    late: 0,
    delay_ms: 1,
    turn_ms: 1,
    apply_ms: 2,
};

#[derive(Clone, Debug)]
enum Body {
    Heartbeat,
    Held(HeldVersion, Arc<HeldSet>),
    /// What is known of this boot's held sets, and the sender's own that this was known with.
    Ack(u64, HeldVersion, HeldVersion),
    Tell(Vec<u8>),
}

#[derive(Debug)]
enum Happens {
    Datagram {
        to: usize,
        from: usize,
        boot: u64,
        body: Body,
    },
    Beat(usize, u64),
    Turn(usize, u64),
    Published(usize, u64, HeldVersion, Arc<HeldSet>),
    Sent(usize, u64, NodeId, Vec<u8>),
    Applied(usize, u64, u64, BTreeMap<Vip, Epoch>),
    Probe(usize, u64, GroupKey, u64, Option<Mac>, u32, Option<Mac>),
}

/// What one node's gossip knows of another.
#[derive(Clone, Debug)]
struct Peer {
    boot: u64,
    heard: Time,
    set: Arc<HeldSet>,
    version: HeldVersion,
    acked: HeldVersion,
    /// Acknowledged with a held set that is not here yet.
    early: Option<(HeldVersion, HeldVersion)>,
}

#[derive(Debug)]
struct Process {
    holds: Holds,
    peers: BTreeMap<usize, Peer>,
    mine: (HeldVersion, Arc<HeldSet>),
    inbox: VecDeque<Input>,
    turn: Option<Time>,
    started: Time,
    is_settled: bool,
    is_rearming: Option<u64>,
    applied: u64,
    paused_until: Time,
}

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    boot: u64,
    process: Option<Process>,
    answers: BTreeMap<Vip, Epoch>,
    deadline: Time,
    wishes: Wishes,
    is_stale: bool,
}

/// The cluster.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Time,
    pub(super) nodes: Vec<Node>,
    pub(super) weather: Weather,
    pub(super) events: Vec<(usize, Event)>,
    pub(super) claims_to: Vec<(Time, usize, GroupKey, Vec<Mac>)>,
    pub(super) claims: Vec<(usize, GroupKey)>,
    pub(super) unfenced: Vec<(usize, GroupKey)>,
    pub(super) disarmed: Vec<(usize, Mac, Span)>,
    pub(super) unheard: Vec<(usize, GroupKey, NodeId)>,
    /// Node pairs, one way, whose datagrams are lost.
    pub(super) cut: BTreeSet<(usize, usize)>,
    /// A host that is no member and answers for these.
    pub(super) strangers: BTreeMap<Vip, Mac>,
    /// VIPs that two kernels answered for, and when; never, unless the network was cut.
    pub(super) doubles: Vec<(Time, Vip, Vec<usize>)>,
    queue: BTreeMap<(Time, u64), Happens>,
    count: u64,
    chance: u64,
}

pub(super) fn id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

pub(super) fn name(node: usize) -> NodeName {
    format!("n{node}").parse().unwrap()
}

pub(super) fn mac(node: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, node as u8 + 1])
}

pub(super) fn vip(n: u8) -> Vip {
    Vip(IpAddr::from([192, 0, 2, n]))
}

pub(super) fn key(n: u8) -> GroupKey {
    GroupKey(vip(n).0)
}

/// Node 0 goes before node 1, and so on, for every VIP.
pub(super) fn by_number(_: GroupKey, name: &NodeName) -> [u8; 32] {
    [name.as_str()[1..].parse().unwrap(); 32]
}

pub(super) fn wish(owner: Option<usize>, vips: &[u8]) -> Wish {
    Wish {
        owner: owner.map(id),
        vips: vips.iter().map(|n| vip(*n)).collect(),
        is_forced: false,
        is_candidate: true,
        can_answer: true,
        silent: BTreeSet::new(),
    }
}

impl World {
    /// `nodes` nodes that start at once, with chance from `seed`.
    pub(super) fn new(nodes: usize, weather: Weather, seed: u64) -> Self {
        let mut world = Self {
            now: Time::ms(100_000),
            nodes: Vec::new(),
            weather,
            events: Vec::new(),
            claims_to: Vec::new(),
            claims: Vec::new(),
            unfenced: Vec::new(),
            disarmed: Vec::new(),
            unheard: Vec::new(),
            cut: BTreeSet::new(),
            strangers: BTreeMap::new(),
            doubles: Vec::new(),
            queue: BTreeMap::new(),
            count: 0,
            chance: seed | 1,
        };
        for node in 0..nodes {
            world.nodes.push(Node {
                boot: 0,
                process: None,
                answers: BTreeMap::new(),
                deadline: Time::default(),
                wishes: Wishes::default(),
                is_stale: false,
            });
            world.start(node);
        }
        world
    }

    fn random(&mut self, below: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 11) % below.max(1)
    }

    fn within(&mut self, ms: u64) -> Span {
        Span::from_ns(self.random(ms * 1_000_000) + 10_000)
    }

    fn after(&mut self, span: Span, what: Happens) {
        self.count += 1;
        self.queue.insert((self.now + span, self.count), what);
    }

    /// The speaker of a node starts, and adopts what it finds.
    pub(super) fn start(&mut self, node: usize) {
        if self.nodes[node].process.is_some() {
            return;
        }
        let now = self.now;
        let nonce = self.random(u64::MAX);
        let n = &mut self.nodes[node];
        n.boot += 1;
        let is_armed = now < n.deadline;
        if is_armed {
            n.deadline = n.deadline.min(now + PROMISE);
        }
        let holds = Holds::new(Start {
            me: id(node),
            name: name(node),
            adopted: n.answers.clone(),
            is_armed,
            drain_window: DRAIN_WINDOW,
            rank: by_number,
            nonce,
        });
        let (version, set) = holds.published();
        let mut process = Process {
            mine: (version, set.clone()),
            holds,
            peers: BTreeMap::new(),
            inbox: VecDeque::new(),
            turn: None,
            started: now,
            is_settled: false,
            is_rearming: None,
            applied: 0,
            paused_until: now,
        };
        if n.is_stale {
            process.inbox.push_back(Input::Stale(true));
        }
        process.inbox.push_back(Input::Wishes(n.wishes.clone()));
        if !is_armed {
            process.inbox.push_back(Input::Lapsed);
        }
        n.process = Some(process);
        let boot = n.boot;
        self.after(Span::ms(0), Happens::Beat(node, boot));
        self.wake(node);
    }

    /// The speaker of a node is killed; its kernel goes on until the deadline.
    pub(super) fn crash(&mut self, node: usize) {
        self.nodes[node].process = None;
    }

    /// The whole machine dies.
    pub(super) fn power_off(&mut self, node: usize) {
        self.crash(node);
        self.nodes[node].deadline = Time::default();
    }

    /// The process stands still for a while.
    pub(super) fn pause(&mut self, node: usize, ms: u64) {
        let until = self.now + Span::ms(ms);
        if let Some(process) = &mut self.nodes[node].process {
            process.paused_until = until;
        }
    }

    /// What one node's election says, from now on.
    pub(super) fn wish_at(&mut self, node: usize, wishes: &[(GroupKey, Wish)]) {
        let wishes: Wishes = wishes.iter().cloned().collect();
        self.nodes[node].wishes = wishes.clone();
        self.put(node, Input::Wishes(wishes));
    }

    /// Every node's election says the same at once.
    pub(super) fn wish(&mut self, wishes: &[(GroupKey, Wish)]) {
        for node in 0..self.nodes.len() {
            self.wish_at(node, wishes);
        }
    }

    pub(super) fn stale(&mut self, node: usize, is_stale: bool) {
        self.nodes[node].is_stale = is_stale;
        self.put(node, Input::Stale(is_stale));
    }

    /// Something for a node's machine, behind what already waits.
    pub(super) fn put(&mut self, node: usize, input: Input) {
        if let Some(process) = &mut self.nodes[node].process {
            process.inbox.push_back(input);
            self.wake(node);
        }
    }

    fn wake(&mut self, node: usize) {
        let wait = self.within(self.weather.turn_ms);
        self.turn_at(node, self.now + wait);
    }

    fn turn_at(&mut self, node: usize, at: Time) {
        let boot = self.nodes[node].boot;
        let now = self.now;
        let Some(process) = &mut self.nodes[node].process else {
            return;
        };
        let at = at.max(process.paused_until);
        if process.turn.is_none_or(|turn| at < turn) {
            process.turn = Some(at);
            self.after(at.since(now), Happens::Turn(node, boot));
        }
    }

    fn send(&mut self, from: usize, to: usize, body: Body) {
        let is_lost = self.random(1000) < self.weather.loss;
        if is_lost || self.cut.contains(&(from, to)) {
            return;
        }
        let boot = self.nodes[from].boot;
        let is_late = self.random(1000) < self.weather.late;
        let delay = self.within(if is_late {
            2_000
        } else {
            self.weather.delay_ms
        });
        self.after(
            delay,
            Happens::Datagram {
                to,
                from,
                boot,
                body,
            },
        );
    }

    /// Lets `ms` milliseconds pass.
    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now + Span::ms(ms);
        while let Some(first) = self.queue.first_entry() {
            let ((at, _), _) = (first.key(), ());
            if *at > end {
                break;
            }
            self.now = *at;
            let what = first.remove();
            self.happen(what);
            self.look();
        }
        self.now = end;
    }

    fn look(&mut self) {
        let mut answering: BTreeMap<Vip, Vec<usize>> = BTreeMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            if self.now < node.deadline {
                for vip in node.answers.keys() {
                    answering.entry(*vip).or_default().push(at);
                }
            }
        }
        for (vip, nodes) in answering {
            if nodes.len() > 1 {
                self.doubles.push((self.now, vip, nodes));
            }
        }
    }

    fn is_running(&self, node: usize, boot: u64) -> bool {
        self.nodes[node].boot == boot && self.nodes[node].process.is_some()
    }

    fn happen(&mut self, what: Happens) {
        let node = match &what {
            Happens::Datagram { to, .. } => Some((*to, self.nodes[*to].boot)),
            Happens::Beat(node, boot)
            | Happens::Turn(node, boot)
            | Happens::Published(node, boot, ..)
            | Happens::Sent(node, boot, ..)
            | Happens::Probe(node, boot, ..)
            | Happens::Applied(node, boot, ..) => Some((*node, *boot)),
        };
        let Some((node, boot)) = node.filter(|(node, boot)| self.is_running(*node, *boot)) else {
            return;
        };
        let until = self.process(node).paused_until;
        if self.now < until {
            let wait = until.since(self.now);
            self.after(wait, what);
            return;
        }
        match what {
            Happens::Datagram {
                from, boot, body, ..
            } => self.receive(node, from, boot, body),
            Happens::Beat(..) => self.beat(node, boot),
            Happens::Turn(..) => self.turn(node),
            Happens::Published(_, _, version, set) => {
                self.process(node).mine = (version, set);
                self.repeat_held(node);
            }
            Happens::Sent(_, _, to, payload) => {
                let to = usize::try_from(to.0).unwrap() - 1;
                self.send(node, to, Body::Tell(payload));
            }
            Happens::Applied(_, _, version, answers) => self.applied(node, version, answers),
            Happens::Probe(_, _, group, nonce, only, sent, answered) => {
                self.probe(node, (group, nonce, only), sent, answered);
            }
        }
    }

    fn process(&mut self, node: usize) -> &mut Process {
        self.nodes[node].process.as_mut().unwrap()
    }

    fn beat(&mut self, node: usize, boot: u64) {
        let now = self.now;
        self.after(Span::ms(50), Happens::Beat(node, boot));
        for to in (0..self.nodes.len()).filter(|to| *to != node) {
            self.send(node, to, Body::Heartbeat);
        }
        let is_armed = self.process(node).holds.is_armed;
        let n = &mut self.nodes[node];
        if is_armed && now < n.deadline {
            n.deadline = n.deadline.max(now + PROMISE);
        } else if is_armed {
            // Whatever waits is decided before that is heard of.
            self.put(node, Input::Lapsed);
        }
        self.repeat_held(node);
        self.update(node);
    }

    fn repeat_held(&mut self, node: usize) {
        let (version, set) = self.process(node).mine.clone();
        for to in (0..self.nodes.len()).filter(|to| *to != node) {
            let peers = &self.process(node).peers;
            let acked = peers
                .get(&to)
                .map(|peer| peer.acked.max(peer.early.map_or(peer.acked, |e| e.0)));
            if acked.is_none_or(|acked| acked < version) {
                self.send(node, to, Body::Held(version, set.clone()));
            }
        }
    }

    fn receive(&mut self, node: usize, from: usize, boot: u64, body: Body) {
        let now = self.now;
        let mine = self.nodes[node].boot;
        let process = self.nodes[node].process.as_mut().unwrap();
        let peer = process.peers.entry(from).or_insert_with(|| Peer {
            boot,
            heard: now,
            set: Arc::default(),
            version: HeldVersion(0),
            acked: HeldVersion(0),
            early: None,
        });
        if boot < peer.boot {
            return;
        }
        if boot > peer.boot {
            peer.boot = boot;
            peer.version = HeldVersion(0);
            peer.acked = HeldVersion(0);
            peer.early = None;
        }
        peer.heard = now;
        let mut ack = None;
        let mut told = None;
        match body {
            Body::Heartbeat => {}
            Body::Held(version, set) => {
                if version > peer.version {
                    peer.version = version;
                    peer.set = set;
                }
                ack = Some(peer.version);
            }
            Body::Ack(acked, version, theirs) if acked == mine => {
                peer.early = peer.early.max(Some((version, theirs)));
            }
            // It was meant for the process before this one.
            Body::Ack(..) => {}
            Body::Tell(payload) => told = Some(Input::Told(id(from), payload)),
        }
        if let Some((version, theirs)) = peer.early
            && theirs <= peer.version
        {
            peer.acked = peer.acked.max(version);
        }
        // What is known now is in the inbox before the acknowledgement is on its way.
        self.update(node);
        if let Some(told) = told {
            self.put(node, told);
        }
        if let Some(version) = ack {
            let mine = self.process(node).mine.0;
            self.send(node, from, Body::Ack(boot, version, mine));
        }
    }

    /// Hands the machine what its gossip knows, if that is new.
    fn update(&mut self, node: usize) {
        let roster = self.roster(node);
        let process = self.process(node);
        let last = process.inbox.iter().rev().find_map(|input| match input {
            Input::Roster(roster) => Some(roster.clone()),
            _ => None,
        });
        let last = last.unwrap_or_else(|| Arc::new(process.holds.others.roster().clone()));
        if *last != roster {
            // Members that did not change are the same, as gossip leaves them.
            let mut roster = roster;
            for (id, member) in &mut roster.members {
                if let Some(old) = last.members.get(id).filter(|old| *old == member) {
                    *member = old.clone();
                }
            }
            self.put(node, Input::Roster(Arc::new(roster)));
        }
    }

    fn roster(&mut self, node: usize) -> Roster {
        let now = self.now;
        let count = self.nodes.len();
        let stale: Vec<bool> = self.nodes.iter().map(|n| n.is_stale).collect();
        let process = self.process(node);
        let is_known = |at: &usize| {
            let peer = process.peers.get(at);
            peer.is_some_and(|peer| peer.version > HeldVersion(0) || now.since(peer.heard) > LATE)
        };
        process.is_settled |= process.started + Span::ms(1500) <= now
            || (0..count).filter(|at| *at != node).all(|at| is_known(&at));
        let members = process.peers.iter().map(|(at, peer)| {
            let standing = match now.since(peer.heard) {
                age if age <= LATE => Standing::Alive,
                _ => Standing::Dead {
                    silent_at: peer.heard + PROMISE + Span::ms(100),
                },
            };
            let mut boot = Boot::default();
            boot.0[..8].copy_from_slice(&peer.boot.to_be_bytes());
            let member = Member {
                boot,
                profile: Arc::new(profile(*at, stale[*at])),
                standing,
                held: peer.set.clone(),
                held_version: peer.version,
                acked: peer.acked,
                is_reachable: now.since(peer.heard) <= Span::ms(200),
                is_in_grace: false,
                has_met: true,
            };
            (id(*at), Arc::new(member))
        });
        Roster {
            members: members.collect(),
            is_settled: process.is_settled,
            is_name_taken: false,
        }
    }

    fn turn(&mut self, node: usize) {
        let now = self.now;
        let process = self.process(node);
        if process.turn.is_none_or(|at| at > now) {
            return;
        }
        process.turn = None;
        while let Some(input) = self.process(node).inbox.pop_front() {
            let is_lapse = matches!(input, Input::Lapsed);
            let process = self.process(node);
            process.holds.input(now, input);
            let version = process.holds.version();
            if is_lapse {
                process.is_rearming = Some(version);
            }
            self.outputs(node);
            if is_lapse {
                self.apply(node);
            }
        }
        self.process(node).holds.expire(now);
        self.outputs(node);
        if let Some((at, _)) = self.process(node).holds.deadline() {
            self.turn_at(node, at.max(now + Span::from_ns(1000)));
        }
    }

    fn outputs(&mut self, node: usize) {
        let boot = self.nodes[node].boot;
        while let Some(output) = self.process(node).holds.output() {
            // The channel between the threads is quick and keeps the order.
            let channel = Span::from_ns(50_000);
            match output {
                Output::Tell(to, payload) => {
                    self.after(channel, Happens::Sent(node, boot, to, payload));
                }
                Output::Publish(version, set) => {
                    self.after(channel, Happens::Published(node, boot, version, set));
                }
                Output::Changed => self.apply(node),
                Output::Probe { group, nonce, only } => {
                    self.after(
                        Span::ms(1),
                        Happens::Probe(node, boot, group, nonce, only, 0, None),
                    );
                }
                Output::Unfence(group) => self.unfenced.push((node, group)),
                Output::Claim(group) => self.claims.push((node, group)),
                Output::ClaimTo(group, macs) => {
                    self.claims_to.push((self.now, node, group, macs));
                }
                Output::Disarm(mac, span) => self.disarmed.push((node, mac, span)),
                Output::Unheard(group, by) => self.unheard.push((node, group, by)),
                Output::Event(event) => self.events.push((node, event)),
            }
        }
    }

    fn apply(&mut self, node: usize) {
        let boot = self.nodes[node].boot;
        let process = self.process(node);
        let version = process.holds.version();
        let mut answers = BTreeMap::new();
        for (key, holding) in process.holds.held() {
            if holding.hold == Hold::Holding {
                let vips = &process.holds.groups[key].vips;
                answers.extend(vips.iter().map(|vip| (*vip, holding.epoch)));
            }
        }
        let wait = self.within(self.weather.apply_ms);
        self.after(wait, Happens::Applied(node, boot, version, answers));
    }

    fn applied(&mut self, node: usize, version: u64, answers: BTreeMap<Vip, Epoch>) {
        // An older plan that ends later was never begun: one thread applies.
        if version < self.process(node).applied {
            return;
        }
        self.process(node).applied = version;
        let is_held = self.process(node).holds.version() == version;
        let now = self.now;
        self.nodes[node].answers = answers;
        self.put(node, Input::Applied(version));
        let process = self.process(node);
        if process.is_rearming.is_some_and(|from| from <= version) && is_held {
            process.is_rearming = None;
            self.nodes[node].deadline = now + PROMISE;
            self.put(node, Input::Armed);
        }
    }

    fn probe(
        &mut self,
        node: usize,
        what: (GroupKey, u64, Option<Mac>),
        sent: u32,
        mut answered: Option<Mac>,
    ) {
        let (group, nonce, only) = what;
        let boot = self.nodes[node].boot;
        if sent == 2 {
            self.put(
                node,
                Input::Probed {
                    group,
                    nonce,
                    answered,
                },
            );
            return;
        }
        let vips = self.process(node).holds.groups.get(&group);
        let vips = vips.map(|group| group.vips.clone()).unwrap_or_default();
        for at in (0..self.nodes.len()).filter(|at| *at != node) {
            let is_asked = only.is_none_or(|only| only == mac(at));
            let other = &self.nodes[at];
            let is_answered = vips.iter().any(|vip| other.answers.contains_key(vip));
            let is_lost = self.random(1000) < self.weather.loss;
            if is_asked && is_answered && self.now < self.nodes[at].deadline && !is_lost {
                answered = Some(mac(at));
            }
        }
        let stranger = vips.iter().find_map(|vip| self.strangers.get(vip));
        answered = answered.or(stranger.copied());
        let next = Happens::Probe(node, boot, group, nonce, only, sent + 1, answered);
        self.after(Span::ms(50), next);
    }

    /// The nodes whose kernels answer for a VIP now.
    pub(super) fn answering(&self, n: u8) -> Vec<usize> {
        let nodes = self.nodes.iter().enumerate();
        let answering = nodes
            .filter(|(_, node)| self.now < node.deadline && node.answers.contains_key(&vip(n)));
        answering.map(|(at, _)| at).collect()
    }

    pub(super) fn hold(&self, node: usize, n: u8) -> Hold {
        let process = self.nodes[node].process.as_ref().unwrap();
        let holding = process.holds.held().get(&key(n));
        holding.map_or(Hold::Free, |holding| holding.hold)
    }

    /// Whose the packets of a VIP are, as a node sees it.
    pub(super) fn passing(&self, node: usize, n: u8) -> Option<Passing> {
        let process = self.nodes[node].process.as_ref().unwrap();
        process.holds.passing().get(&vip(n)).copied()
    }

    /// Runs until a VIP is answered by this node, at most `ms`; returns how long that took.
    pub(super) fn until_answered(&mut self, node: usize, n: u8, ms: u64) -> u64 {
        for passed in 0..ms {
            if self.answering(n) == [node] {
                return passed;
            }
            self.run(1);
        }
        panic!(
            "{n} is answered by {:?}, not by {node}, after {ms} ms: {:?}",
            self.answering(n),
            self.states()
        );
    }

    /// What the machines say, for messages of failed tests.
    pub(super) fn states(&self) -> Vec<String> {
        let processes = self.nodes.iter().map(|node| node.process.as_ref());
        let texts = processes.map(|process| match process {
            Some(process) => format!("{:#?} {:?}", process.holds.groups, process.mine),
            None => "down".to_owned(),
        });
        texts.collect()
    }

    /// The grounds of all takings so far.
    pub(super) fn taken(&self) -> Vec<(usize, Ground)> {
        let taken = self.events.iter().filter_map(|(node, event)| match event {
            Event::Taken { ground, .. } => Some((*node, *ground)),
            _ => None,
        });
        taken.collect()
    }
}

fn profile(node: usize, is_stale: bool) -> Profile {
    Profile {
        macs: vec![mac(node)],
        is_stale,
        ..Profile::of(name(node))
    }
}
