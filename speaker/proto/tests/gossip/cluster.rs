//! A cluster of membership machines on a virtual clock: datagrams are late, lost, doubled and out of order, paths are cut one way or both,
//! nodes pause, die and come back in another boot. All chance comes from one seed.
//!
//! It drives the machines as the speaker does: what came is taken in before anything expires, a beat each 50 ms. Sealing is left
//! out; numbers, senders and boots are as the sealer would say. It knows nothing of what is held or why.

use speaker_proto::gossip::{Datagram, Gossip, Input, Output, Received, Start};
use speaker_proto::member::{HeldSet, HeldVersion, MemberLink, Profile, Roster, Standing};
use speaker_proto::pulse::PERIOD;
use speaker_proto::{Boot, Mac, Machine, NodeId, Span, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// What the network does to each datagram by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Net {
    /// The shortest way.
    pub(crate) delay: Span,
    /// What comes on top, exponential around this.
    pub(crate) jitter: Span,
    /// The share that is lost.
    pub(crate) loss: f64,
    /// The share that comes twice.
    pub(crate) twice: f64,
}

impl Net {
    /// A segment as measured: 0.15 ms and about as much again.
    pub(crate) const fn lan(loss: f64) -> Self {
        Self {
            delay: Span::from_ns(150_000),
            jitter: Span::from_ns(150_000),
            loss,
            twice: 0.0,
        }
    }
}

/// One node of the cluster.
pub(crate) struct Node {
    /// Its id.
    pub(crate) id: NodeId,
    /// Where it hears.
    pub(crate) address: SocketAddr,
    /// Its process, if it runs.
    pub(crate) gossip: Option<Gossip>,
    /// When its process last sent heartbeats.
    pub(crate) last_beat: Time,
    /// What it was told last.
    pub(crate) roster: Arc<Roster>,
    /// Messages for its deciding.
    pub(crate) told: Vec<(NodeId, Vec<u8>)>,
    /// What came of a promise.
    pub(crate) promised: Option<bool>,
    /// Addresses that it names before its own and that lead nowhere.
    pub(crate) dead_ends: Vec<SocketAddr>,
    /// Where it looks for others.
    pub(crate) seeds: BTreeSet<SocketAddr>,
    /// Datagrams and bytes of bodies that it sent, and its turns.
    pub(crate) work: Work,
    name: String,
    boot: Boot,
    next_beat: Time,
    wake: Time,
    paused: Option<Time>,
    waiting: VecDeque<Received>,
    /// Its clock began so long before, or after, the cluster's.
    ahead_ns: i64,
}

impl Node {
    /// The node's own clock.
    fn clock(&self, now: Time) -> Time {
        Time::from_ns(now.ns().saturating_add_signed(self.ahead_ns))
    }

    /// The cluster's time at a moment of the node's clock.
    fn cluster_time(&self, at: Time) -> Time {
        Time::from_ns(at.ns().saturating_add_signed(-self.ahead_ns))
    }
}

/// What a node did.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Work {
    /// Datagrams that were sent to where nobody is.
    pub(crate) astray: u64,
    /// Datagrams sent.
    pub(crate) sent: u64,
    /// Bytes of their bodies.
    pub(crate) bytes: u64,
    /// Turns for a timer.
    pub(crate) timers: u64,
    /// Datagrams that came.
    pub(crate) heard: u64,
}

/// A node found another dead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    /// Who.
    pub(crate) by: usize,
    /// Whom.
    pub(crate) of: usize,
    /// When.
    pub(crate) at: Time,
    /// From when on it takes its kernel to be silent.
    pub(crate) silent_at: Time,
    /// When the process had really sent its last heartbeats.
    pub(crate) last_beat: Time,
    /// It was really dead or paused.
    pub(crate) is_true: bool,
}

enum Event {
    Arrive(usize, Received),
    Wake(usize),
}

/// The cluster.
pub(crate) struct Cluster {
    /// Now.
    pub(crate) now: Time,
    /// What the network does.
    pub(crate) net: Net,
    /// The nodes.
    pub(crate) nodes: Vec<Node>,
    /// Verdicts so far.
    pub(crate) verdicts: Vec<Verdict>,
    /// Paths that take nothing: from, to.
    pub(crate) cuts: BTreeSet<(usize, usize)>,
    /// Everything that was sent, while this is on.
    pub(crate) recording: Option<Vec<(usize, Received)>>,
    events: BTreeMap<(Time, u64), Event>,
    by_address: BTreeMap<SocketAddr, usize>,
    by_id: BTreeMap<NodeId, usize>,
    sequence: u64,
    chance: u64,
}

impl Cluster {
    /// A network without nodes.
    pub(crate) fn new(seed: u64, net: Net) -> Self {
        Self {
            now: Time::ms(1_000_000),
            net,
            nodes: Vec::new(),
            verdicts: Vec::new(),
            cuts: BTreeSet::new(),
            recording: None,
            events: BTreeMap::new(),
            by_address: BTreeMap::new(),
            by_id: BTreeMap::new(),
            sequence: 0,
            chance: seed,
        }
    }

    /// So many nodes that know each other's addresses, started and joined.
    pub(crate) fn settled(seed: u64, net: Net, count: usize) -> Self {
        let mut cluster = Self::new(seed, net);
        for _ in 0..count {
            cluster.add();
        }
        let all: BTreeSet<SocketAddr> = cluster.nodes.iter().map(|node| node.address).collect();
        for at in 0..count {
            let own = cluster.nodes[at].address;
            cluster.nodes[at].seeds = all.iter().copied().filter(|seed| *seed != own).collect();
            cluster.start(at);
        }
        cluster.run(Span::s(5));
        cluster
    }

    /// A node that does not run yet.
    pub(crate) fn add(&mut self) -> usize {
        let at = self.nodes.len();
        let name = format!("node-{at}");
        let id = NodeId(mix(at as u64 + 1));
        self.by_id.insert(id, at);
        self.add_as(id, name)
    }

    /// A node that takes the name of another one.
    pub(crate) fn add_twin(&mut self, of: usize) -> usize {
        self.add_as(self.nodes[of].id, self.nodes[of].name.clone())
    }

    fn add_as(&mut self, id: NodeId, name: String) -> usize {
        let at = self.nodes.len();
        let [.., c, d] = u32::try_from(at).expect("few nodes").to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(10, 0, c, d), 7946));
        self.by_address.insert(address, at);
        self.nodes.push(Node {
            id,
            address,
            gossip: None,
            last_beat: Time::default(),
            roster: Arc::default(),
            told: Vec::new(),
            promised: None,
            dead_ends: Vec::new(),
            seeds: BTreeSet::new(),
            work: Work::default(),
            name,
            boot: Boot::default(),
            next_beat: self.now,
            wake: self.now,
            paused: None,
            waiting: VecDeque::new(),
            ahead_ns: (at as i64 % 7 - 3) * 100_000_000_000,
        });
        at
    }

    /// What node `at` says of itself.
    pub(crate) fn profile(&self, at: usize) -> Profile {
        let mac = Mac([2, 0, 0, 0, (at >> 8) as u8, at as u8]);
        Profile {
            addresses: [&self.nodes[at].dead_ends[..], &[self.nodes[at].address]].concat(),
            links: vec![MemberLink {
                name: "eth0".into(),
                mac,
                has_arp: true,
                has_ndp: true,
            }],
            macs: vec![mac],
            rules: 1,
            version: "1.0.0".to_owned(),
            ..Profile::of(self.nodes[at].name.parse().expect("a node name"))
        }
    }

    /// Starts the node's process in a new boot, which holds nothing.
    pub(crate) fn start(&mut self, at: usize) {
        self.start_holding(at, HeldSet::new());
    }

    /// Starts the node's process in a new boot, whose kernel was found to hold something.
    pub(crate) fn start_holding(&mut self, at: usize, held: HeldSet) {
        let boot = Boot(
            [self.random(), self.random()]
                .map(u64::to_be_bytes)
                .concat()[..]
                .try_into()
                .expect("16 bytes"),
        );
        let profile = Arc::new(self.profile(at));
        let seed = self.random();
        let phase = Span::from_ns(self.random() % PERIOD.ns());
        let node = &mut self.nodes[at];
        node.boot = boot;
        node.paused = None;
        node.waiting.clear();
        node.roster = Arc::default();
        node.next_beat = self.now + phase;
        node.gossip = Some(Gossip::new(Start {
            me: node.id,
            boot,
            profile,
            held: Arc::new(held),
            seed,
            now: node.clock(self.now),
        }));
        let seeds = node.seeds.clone();
        self.input(at, Input::Seeds(seeds));
    }

    /// The machine boots again: its clock begins far behind where it was.
    pub(crate) fn reboot(&mut self, at: usize) {
        self.kill(at);
        self.nodes[at].ahead_ns =
            1_000_000_000 - i64::try_from(self.now.ns()).expect("not for long");
        self.start(at);
    }

    /// The process and its kernel are gone.
    pub(crate) fn kill(&mut self, at: usize) {
        self.nodes[at].gossip = None;
    }

    /// The process does nothing for a while; what comes waits in its socket.
    pub(crate) fn pause(&mut self, at: usize, span: Span) {
        let until = self.now + span;
        self.nodes[at].paused = Some(until);
        self.schedule(until, Event::Wake(at));
    }

    /// Nothing passes between these, or those, in either direction.
    pub(crate) fn part(&mut self, these: &[usize], those: &[usize]) {
        for a in these {
            for b in those {
                self.cuts.extend([(*a, *b), (*b, *a)]);
            }
        }
    }

    /// Gives the node's machine something.
    pub(crate) fn input(&mut self, at: usize, input: Input) {
        let node = &mut self.nodes[at];
        let now = node.clock(self.now);
        let Some(gossip) = &mut node.gossip else {
            return;
        };
        gossip.input(now, input);
        self.drain(at);
    }

    /// The node holds something else.
    pub(crate) fn publish(&mut self, at: usize, version: u64, held: HeldSet) {
        self.input(at, Input::Held(HeldVersion(version), Arc::new(held)));
    }

    /// Puts a datagram before a node, as an attacker would.
    pub(crate) fn inject(&mut self, to: usize, received: Received) {
        self.schedule(self.now, Event::Arrive(to, received));
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, span: Span) {
        let end = self.now + span;
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= end
        {
            self.now = entry.key().0;
            match entry.remove() {
                Event::Arrive(to, received) => self.arrive(to, received),
                Event::Wake(at) => self.wake(at),
            }
        }
        self.now = end;
    }

    /// Lets time pass until something holds; panics if it does not within `most`.
    pub(crate) fn run_until(
        &mut self,
        most: Span,
        what: &str,
        holds: impl Fn(&Self) -> bool,
    ) -> Span {
        let begun = self.now;
        while !holds(self) {
            assert!(self.now.since(begun) <= most, "not within {most:?}: {what}");
            self.run(Span::ms(1));
        }
        self.now.since(begun)
    }

    /// How `at` sees `other`.
    pub(crate) fn standing(&self, at: usize, other: usize) -> Option<Standing> {
        let member = self.nodes[at].roster.members.get(&self.nodes[other].id)?;
        Some(member.standing)
    }

    /// Whether every running node holds every other running one alive.
    pub(crate) fn is_whole(&self) -> bool {
        let running = || (0..self.nodes.len()).filter(|at| self.nodes[*at].gossip.is_some());
        running().all(|a| running().all(|b| a == b || self.standing(a, b) == Some(Standing::Alive)))
    }

    /// A number by chance.
    pub(crate) fn random(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.chance)
    }

    /// A share of one by chance, never 0.
    pub(crate) fn share(&mut self) -> f64 {
        ((self.random() >> 11) as f64 + 1.0) / (1u64 << 53) as f64
    }

    fn arrive(&mut self, to: usize, received: Received) {
        let node = &mut self.nodes[to];
        if node.paused.is_some() {
            if node.waiting.len() < SOCKET_MAX {
                node.waiting.push_back(received);
            }
            return;
        }
        node.work.heard += 1;
        self.input(to, Input::Received(received));
    }

    fn wake(&mut self, at: usize) {
        let now = self.now;
        if self.nodes[at].paused.is_some_and(|until| until > now) {
            return;
        }
        let was_paused = self.nodes[at].paused.take().is_some();
        while let Some(received) = self.nodes[at].waiting.pop_front() {
            self.input(at, Input::Received(received));
        }
        let node = &mut self.nodes[at];
        if !was_paused && node.wake != now {
            return;
        }
        let clock = node.clock(now);
        let Some(gossip) = &mut node.gossip else {
            return;
        };
        node.work.timers += 1;
        gossip.expire(clock);
        if node.next_beat <= now {
            gossip.input(clock, Input::Beat);
            node.next_beat = now + PERIOD;
            node.last_beat = now;
        }
        self.drain(at);
    }

    fn drain(&mut self, at: usize) {
        while let Some(output) = self.nodes[at].gossip.as_mut().and_then(Gossip::output) {
            match output {
                Output::Send(datagram) => self.send(at, datagram),
                Output::Roster(roster) => self.see(at, roster),
                Output::Told(from, message) => self.nodes[at].told.push((from, message)),
                Output::Promised(is_kept) => self.nodes[at].promised = Some(is_kept),
            }
        }
        let node = &mut self.nodes[at];
        let Some(gossip) = &node.gossip else {
            return;
        };
        let deadline = gossip.deadline();
        let deadline = deadline.map(|(at, _)| node.cluster_time(at).max(self.now));
        let wake = deadline.into_iter().chain([node.next_beat]).min();
        let wake = wake.expect("a beat is always due");
        if wake != node.wake || wake == self.now {
            node.wake = wake;
            self.schedule(wake, Event::Wake(at));
        }
    }

    fn send(&mut self, at: usize, datagram: Datagram) {
        let node = &mut self.nodes[at];
        node.work.sent += 1;
        node.work.bytes += datagram.body.len() as u64;
        let received = Received {
            from: node.address,
            sender: node.id,
            boot: node.boot,
            number: datagram.number,
            key: 0,
            body: datagram.body,
        };
        let Some(&to) = self.by_address.get(&datagram.to) else {
            node.work.astray += 1;
            return;
        };
        if let Some(recording) = &mut self.recording {
            recording.push((to, received.clone()));
        }
        if self.cuts.contains(&(at, to)) {
            return;
        }
        let copies = 1 + usize::from(self.net.twice > 0.0 && self.share() <= self.net.twice);
        for _ in 0..copies {
            if self.net.loss > 0.0 && self.share() <= self.net.loss {
                continue;
            }
            let jitter = -self.share().ln() * self.net.jitter.ns() as f64;
            let delay = Span::from_ns(self.net.delay.ns() + jitter as u64);
            self.schedule(self.now + delay, Event::Arrive(to, received.clone()));
        }
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    fn see(&mut self, at: usize, roster: Arc<Roster>) {
        let before = std::mem::replace(&mut self.nodes[at].roster, roster);
        let roster = Arc::clone(&self.nodes[at].roster);
        for (id, member) in &roster.members {
            let old = before.members.get(id);
            if old.is_some_and(|old| Arc::ptr_eq(old, member)) {
                continue;
            }
            let was_alive = old.is_none_or(|old| old.is_alive());
            if let (Standing::Dead { silent_at }, true, Some(&of)) =
                (member.standing, was_alive, self.by_id.get(id))
            {
                let subject = &self.nodes[of];
                self.verdicts.push(Verdict {
                    by: at,
                    of,
                    at: self.now,
                    silent_at: self.nodes[at].cluster_time(silent_at),
                    last_beat: subject.last_beat,
                    is_true: subject.gossip.is_none() || subject.paused.is_some(),
                });
            }
        }
    }
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Datagrams that a socket of a process that does not read keeps.
const SOCKET_MAX: usize = 500;
