//! A history before it happens: which cluster, and which faults.
//!
//! Everything follows from the seed; a history can be told again without some of its faults, which is how a failing one is shrunk.

use crate::chance::Chance;
use crate::plant::Plant;
use crate::queue::{MS, Ns, S};
use crate::truth::{Edit, Truth};
use speaker_core::plan::Hold;
use speaker_proto::Span;
use std::fmt;
use std::net::IpAddr;

/// A cluster and what befalls it.
#[derive(Clone, Debug)]
pub struct History {
    /// Everything follows from it.
    pub seed: u64,
    /// Nodes, 3 to 7.
    pub nodes: usize,
    /// What the objects say at first.
    pub truth: Truth,
    /// When each node's speaker starts.
    pub starts: Vec<Ns>,
    /// By node, nanoseconds that its clock gains in a millisecond.
    pub gains: Vec<i64>,
    /// How long a process that stops asks its observers to wait.
    pub grace: Span,
    /// A rule that its nodes break.
    pub plant: Option<Plant>,
    /// When it is judged, if not once all faults are over.
    pub judged: Option<Ns>,
    /// In the end a node is not heard any more, rather than dies.
    pub ends_mute: bool,
    /// What befalls it, by place.
    pub faults: Vec<Fault>,
}

/// Something that goes wrong for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// When it begins.
    pub begins: Begins,
    /// How long it lasts, in nanoseconds.
    pub lasts: Ns,
}

/// When a fault begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begins {
    /// At a true time.
    At(Ns),
    /// When a group comes into this state on a node, the `nth` time after `from`, and so much later; by `latest` in any case.
    On {
        /// The state.
        state: Hold,
        /// Counted from 0.
        nth: u8,
        /// How much later.
        delay: Ns,
        /// Not before.
        from: Ns,
        /// By then in any case.
        latest: Ns,
        /// The fault is at the node itself; else at the next one.
        is_own: bool,
    },
}

/// What goes wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// SIGSTOP, and SIGCONT at the end.
    Stop(usize),
    /// SIGSTOP between sending the heartbeats and writing the deadline.
    Tear(usize),
    /// The pulse's thread hangs.
    HangPulse(usize),
    /// The deciding thread hangs.
    HangDecide(usize),
    /// The workers hang: no gratuitous frames, no probes.
    HangWork(usize),
    /// SIGKILL; another process at the end.
    Kill(usize),
    /// A clean stop that keeps its VIPs; another process at the end.
    Restart(usize),
    /// Gossip from each of the first to each of the second is lost.
    CutGossip(Nodes, Nodes),
    /// Of a thousand datagrams, this many are lost.
    Loss(u64),
    /// Datagrams come twice and late.
    Jumble,
    /// These nodes are on another side of the segment.
    CutSegment(Nodes),
    /// Of a thousand frames, this many are lost.
    FrameLoss(u64),
    /// The switch passes on no gratuitous frame.
    FilterGratuitous,
    /// A node gives away what it holds, and takes again at the end.
    Drain(usize),
    /// A node's link has no carrier: neither frames nor gossip.
    Carrier(usize),
    /// A node hears of changes this much later.
    SlowApi(usize),
    /// A node has no API server.
    NoApi(usize),
    /// An object is edited.
    Edit(Edit),
    /// A host claims a VIP with a node's hardware address, so many times a second.
    Spoof(IpAddr, usize, u64),
    /// A node's ring of claims loses all of them.
    LoseClaims(usize),
    /// A direction of a node's link is dead though its carrier stays: frames, and gossip too where the last is set.
    OneWay(usize, Way, bool),
    /// A node's link on the second segment has no carrier.
    SecondCarrier(usize),
    /// These nodes are on another side of the second segment.
    SecondCut(Nodes),
    /// A direction of a node's link on the second segment is dead.
    SecondOneWay(usize, Way),
    /// A node's threads wait long for a processor.
    Slow(usize),
    /// A clean stop; another process at the end, whose messages have grown.
    Upgrade(usize),
    /// A restart into a protocol that the others do not understand, and at the end back into theirs.
    Version(usize),
}

/// A direction of a link, seen from its node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// What the node sends.
    Out,
    /// What is sent to it.
    In,
}

/// A set of nodes by their bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nodes(pub u8);

impl Nodes {
    /// Whether a node is in it.
    pub const fn has(self, node: usize) -> bool {
        self.0 >> node & 1 == 1
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries((0..8).filter(|node| self.has(*node)))
            .finish()
    }
}

impl History {
    /// The history of a seed.
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let nodes = chance.pick(&[3, 3, 3, 4, 4, 5, 5, 6, 7]);
        let truth = Truth::new(nodes, &mut chance);
        let together = chance.hits(500);
        let start = |chance: &mut Chance| {
            let spread = if together { 20 * MS } else { 3 * S };
            chance.below(spread)
        };
        let starts = (0..nodes).map(|_| start(&mut chance)).collect();
        // Crystals are within 100 ppm; a guest's clock may be far worse.
        let gain = |chance: &mut Chance| chance.between(0, 2001) as i64 - 1000;
        let gains = (0..nodes).map(|_| gain(&mut chance)).collect();
        let mut history = Self {
            seed,
            nodes,
            truth,
            starts,
            gains,
            grace: chance.pick(&[Span::ms(1500), Span::s(10)]),
            plant: None,
            judged: None,
            ends_mute: seed % 3 == 1,
            faults: Vec::new(),
        };
        history.faults = history.choose(&mut chance);
        history.spread();
        if Chance::new(seed ^ STEERING).hits(STEERED) {
            history.steer();
        }
        history
    }

    /// Has the packets of all VIPs spread, and connections of clients with that.
    pub fn steer(&mut self) {
        self.truth.is_spread = true;
    }

    /// The same history with these of its faults only.
    pub fn keeping(&self, kept: &[usize]) -> Self {
        let faults = kept.iter().filter_map(|at| self.faults.get(*at));
        Self {
            faults: faults.cloned().collect(),
            ..self.clone()
        }
    }

    /// Five to eight faults: the second begins while the first lasts, and half of the histories aim at states.
    fn choose(&self, chance: &mut Chance) -> Vec<Fault> {
        let is_aimed = chance.hits(500);
        let count = chance.between(5, 9);
        let mut faults: Vec<Fault> = Vec::new();
        for number in 0..count {
            let lasts = chance.pick(&[100, 300, 450, 600, 800, 1200, 2000, 4000]) * MS;
            let lasts = lasts + chance.below(lasts / 2);
            let at = match faults.first() {
                Some(Fault {
                    begins: Begins::At(at),
                    lasts,
                    ..
                }) if number == 1 => at + chance.below(*lasts),
                Some(_) | None => chance.between(2500 * MS, 10 * S),
            };
            let is_aimed = is_aimed && number >= 2 && chance.hits(800);
            let begins = if is_aimed {
                Begins::On {
                    state: chance.pick(&[
                        Hold::Asking,
                        Hold::Preparing,
                        Hold::Preparing,
                        Hold::Draining,
                        Hold::Draining,
                        Hold::Contested,
                        Hold::Holding,
                        Hold::Lapsed,
                    ]),
                    nth: chance.below(2) as u8,
                    delay: chance.pick(&[0, 1, 10, 60, 300]) * MS + chance.below(5 * MS),
                    from: 2500 * MS,
                    latest: at,
                    is_own: chance.hits(500),
                }
            } else {
                Begins::At(at)
            };
            faults.push(Fault {
                kind: self.kind(chance),
                begins,
                lasts,
            });
        }
        self.replace(&mut faults);
        faults
    }

    /// Puts a fault of a later kind in place of another in half of the histories. They have chances of their own, so that the other half
    /// stays what it was before there were such.
    fn replace(&self, faults: &mut [Fault]) {
        let mut chance = Chance::new(self.seed ^ LATER);
        if chance.hits(500) {
            return;
        }
        let at = chance.index(faults.len());
        let node = chance.index(self.nodes);
        faults[at].kind = match chance.below(8) {
            0..=2 => {
                let way = chance.pick(&[Way::Out, Way::In]);
                Kind::OneWay(node, way, chance.hits(300))
            }
            3 | 4 => Kind::Slow(node),
            5 | 6 => Kind::Upgrade(node),
            _ => Kind::Version(node),
        };
    }

    /// Gives it a second segment, and faults there, in three of ten histories. That has chances of its own, too.
    fn spread(&mut self) {
        let mut chance = Chance::new(self.seed ^ SECOND);
        if !chance.hits(300) {
            return;
        }
        self.truth.spread(&mut chance);
        for _ in 0..2 {
            let at = chance.index(self.faults.len());
            let node = chance.index(self.nodes);
            self.faults[at].kind = match chance.below(4) {
                0 | 1 => Kind::SecondCarrier(node),
                2 => Kind::SecondCut(self.some(&mut chance)),
                _ => Kind::SecondOneWay(node, chance.pick(&[Way::Out, Way::In])),
            };
        }
    }

    fn kind(&self, chance: &mut Chance) -> Kind {
        let node = chance.index(self.nodes);
        match chance.below(29) {
            0 | 1 => Kind::Stop(node),
            2 => Kind::Tear(node),
            3 => Kind::HangPulse(node),
            4 | 5 => Kind::HangDecide(node),
            6 => Kind::HangWork(node),
            7 | 8 => Kind::Kill(node),
            9 | 10 => Kind::Restart(node),
            11 | 12 => {
                let (from, to) = (self.some(chance), self.some(chance));
                Kind::CutGossip(from, to)
            }
            13 => {
                let side = self.some(chance);
                Kind::CutSegment(side)
            }
            14 => Kind::Loss(chance.pick(&[10, 50, 300])),
            15 => Kind::Jumble,
            16 => Kind::FrameLoss(chance.pick(&[10, 50, 300])),
            17 => Kind::FilterGratuitous,
            18 => Kind::Carrier(node),
            19 => Kind::SlowApi(node),
            20 => Kind::NoApi(node),
            21..=24 => Kind::Edit(self.edit(chance)),
            25 => {
                let vips = self.truth.vips();
                Kind::Spoof(chance.pick(&vips), node, chance.pick(&[1, 10, 1000]))
            }
            26 => Kind::LoseClaims(node),
            _ => Kind::Drain(node),
        }
    }

    fn edit(&self, chance: &mut Chance) -> Edit {
        match chance.below(4) {
            0 => Edit::Exclude(chance.index(self.nodes)),
            1 => {
                let list = self.list(chance);
                Edit::Advertise(chance.hits(700).then_some(list))
            }
            2 => {
                let service = chance.index(self.truth.services.len());
                Edit::Endpoints(service, self.list(chance))
            }
            _ => Edit::Service(chance.index(self.truth.services.len())),
        }
    }

    fn list(&self, chance: &mut Chance) -> Vec<usize> {
        let some = self.some(chance);
        (0..self.nodes).filter(|node| some.has(*node)).collect()
    }

    /// Some nodes, not none and not all.
    fn some(&self, chance: &mut Chance) -> Nodes {
        Nodes(chance.between(1, (1 << self.nodes) - 1) as u8)
    }
}

impl Fault {
    /// The latest true time at which it begins.
    pub const fn latest(&self) -> Ns {
        match self.begins {
            Begins::At(at) => at,
            Begins::On { latest, delay, .. } => latest + delay,
        }
    }
}

impl Kind {
    /// Its name, for counting.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stop(_) => "stop",
            Self::Tear(_) => "tear",
            Self::HangPulse(_) => "hang pulse",
            Self::HangDecide(_) => "hang decide",
            Self::HangWork(_) => "hang work",
            Self::Kill(_) => "kill",
            Self::Restart(_) => "restart",
            Self::CutGossip(..) => "cut gossip",
            Self::Loss(_) => "loss",
            Self::Jumble => "jumble",
            Self::CutSegment(_) => "cut segment",
            Self::FrameLoss(_) => "frame loss",
            Self::FilterGratuitous => "filter gratuitous",
            Self::Carrier(_) => "carrier",
            Self::SlowApi(_) => "slow API",
            Self::NoApi(_) => "no API",
            Self::Drain(_) => "drain",
            Self::Edit(_) => "edit",
            Self::Spoof(..) => "spoof",
            Self::LoseClaims(_) => "lose claims",
            Self::OneWay(..) => "one way",
            Self::SecondCarrier(_) => "second carrier",
            Self::SecondCut(_) => "second cut",
            Self::SecondOneWay(..) => "second one way",
            Self::Slow(_) => "slow",
            Self::Upgrade(_) => "upgrade",
            Self::Version(_) => "version",
        }
    }

    /// Whether frames may be lost by it, or read late.
    pub const fn blurs(&self) -> bool {
        match self {
            Self::FrameLoss(_)
            | Self::CutSegment(_)
            | Self::OneWay(..)
            | Self::SecondCarrier(_)
            | Self::SecondCut(_)
            | Self::SecondOneWay(..)
            | Self::Slow(_)
            | Self::HangWork(_)
            | Self::HangPulse(_)
            | Self::HangDecide(_)
            | Self::Stop(_)
            | Self::Tear(_) => true,
            Self::Kill(_)
            | Self::Restart(_)
            | Self::CutGossip(..)
            | Self::Loss(_)
            | Self::Jumble
            | Self::FilterGratuitous
            | Self::Carrier(_)
            | Self::SlowApi(_)
            | Self::NoApi(_)
            | Self::Drain(_)
            | Self::Edit(_)
            | Self::Spoof(..)
            | Self::LoseClaims(_)
            | Self::Upgrade(_)
            | Self::Version(_) => false,
        }
    }

    /// The same at another node, where it is at one.
    pub fn at(&self, other: usize) -> Self {
        match self {
            Self::Stop(_) => Self::Stop(other),
            Self::Tear(_) => Self::Tear(other),
            Self::HangPulse(_) => Self::HangPulse(other),
            Self::HangDecide(_) => Self::HangDecide(other),
            Self::HangWork(_) => Self::HangWork(other),
            Self::Kill(_) => Self::Kill(other),
            Self::Restart(_) => Self::Restart(other),
            Self::Carrier(_) => Self::Carrier(other),
            Self::Drain(_) => Self::Drain(other),
            Self::SlowApi(_) => Self::SlowApi(other),
            Self::NoApi(_) => Self::NoApi(other),
            Self::LoseClaims(_) => Self::LoseClaims(other),
            Self::OneWay(_, way, is_gossip) => Self::OneWay(other, *way, *is_gossip),
            Self::SecondCarrier(_) => Self::SecondCarrier(other),
            Self::SecondOneWay(_, way) => Self::SecondOneWay(other, *way),
            Self::Slow(_) => Self::Slow(other),
            Self::Upgrade(_) => Self::Upgrade(other),
            Self::Version(_) => Self::Version(other),
            Self::CutGossip(..)
            | Self::Loss(_)
            | Self::Jumble
            | Self::CutSegment(_)
            | Self::SecondCut(_)
            | Self::FrameLoss(_)
            | Self::FilterGratuitous
            | Self::Edit(_)
            | Self::Spoof(..) => self.clone(),
        }
    }
}

/// So that later kinds of faults do not go together with what else is chosen.
const LATER: u64 = 0x1a7e;
const SECOND: u64 = 0x5ec0;
const STEERING: u64 = 0x57ee;
/// Of a thousand histories, in so many packets are spread.
const STEERED: u64 = 50;
