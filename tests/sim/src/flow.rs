//! Connections of clients: a bounded number each, as packets to where a client believes that the VIP is.
//!
//! A connection opens, talks, is silent for a while, talks on and ends. Nodes answer straight and in time: their answers are no frames here. A
//! packet that is lost is sent again at another turn. Where packets may end is [`crate::steer`]'s to judge.

use crate::chance::Chance;
use crate::queue::{MS, Ns, S};
use crate::world::{CLIENTS, World};
use speaker_ebpf::abi::Steered;
use speaker_ebpf::model::flow::FlowWire;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// All connections.
#[derive(Debug)]
pub(crate) struct Flows {
    /// They change nothing of what else happens by chance.
    pub(crate) chance: Chance,
    /// By the client's port, which no two have.
    pub(crate) open: BTreeMap<u16, Flow>,
    opened: u64,
    /// Between two nodes of a segment: when frames did not go through.
    pub(crate) gaps: BTreeMap<(usize, usize, usize), Gap>,
    /// When a node was last none of those that may have a VIP.
    pub(crate) outside: BTreeMap<(usize, IpAddr), Ns>,
    /// When a node's kernel last spread nothing of a VIP on a segment.
    pub(crate) bare: BTreeMap<(usize, usize, IpAddr), Ns>,
    /// Whose stack had a VIP on a segment before it was spread.
    pub(crate) stacks: BTreeSet<(usize, usize, IpAddr)>,
}

/// When frames did not go from one node to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    /// Since when they do not, if they do not now.
    pub(crate) since: Option<Ns>,
    /// When they last did not.
    pub(crate) last: Ns,
}

/// A connection.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    client: usize,
    /// What it is to.
    pub(crate) vip: IpAddr,
    /// Packets that are still to be said.
    left: u64,
    rests_until: Ns,
    /// How its opening came to a node.
    pub(crate) first: Option<First>,
    /// A packet of it went to another node than its opening did.
    pub(crate) has_moved: bool,
    /// As what its last packet was sent on, if one was.
    pub(crate) sent: Option<Steered>,
    /// Who has it.
    pub(crate) seat: Option<Seat>,
}

/// How an opening came to the node that attracts packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct First {
    /// That node.
    pub(crate) by: usize,
    /// What its program did; `None`: nothing of the sort, since the VIP was not spread there.
    pub(crate) how: Option<Steered>,
    /// It could say where packets go.
    pub(crate) is_held: bool,
    /// It is remembered there, since its slot has changed hands.
    pub(crate) is_remembered: bool,
}

/// The node that took a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    /// That node.
    pub(crate) end: usize,
    /// When.
    pub(crate) opened: Ns,
    /// How.
    pub(crate) first: First,
}

/// A packet of a connection, as it is on the segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Packet {
    /// The client's port.
    pub(crate) port: u16,
    /// What it is to.
    pub(crate) vip: IpAddr,
    /// It opens its connection.
    pub(crate) is_opening: bool,
    /// It ends it.
    pub(crate) is_last: bool,
}

/// A packet of a connection, if the frame is one.
pub(crate) fn read(frame: &[u8]) -> Option<Packet> {
    let (vip, transport) = match frame.get(12..14)? {
        [8, 0] if frame.get(23) == Some(&TCP) => {
            let vip = <[u8; 4]>::try_from(frame.get(30..34)?).ok()?;
            (IpAddr::from(vip), frame.get(34..)?)
        }
        [0x86, 0xdd] if frame.get(20) == Some(&TCP) => {
            let vip = <[u8; 16]>::try_from(frame.get(38..54)?).ok()?;
            (IpAddr::from(vip), frame.get(54..)?)
        }
        _ => return None,
    };
    let [high, low, ..] = *transport else {
        return None;
    };
    let flags = *transport.get(13)?;
    Some(Packet {
        port: u16::from_be_bytes([high, low]),
        vip,
        is_opening: flags & SYN != 0,
        is_last: flags & FIN != 0,
    })
}

impl Flows {
    /// None yet.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed ^ TALK),
            open: BTreeMap::new(),
            opened: 0,
            gaps: BTreeMap::new(),
            outside: BTreeMap::new(),
            bare: BTreeMap::new(),
            stacks: BTreeSet::new(),
        }
    }

    /// Notes that frames do not go from one node to another.
    pub(crate) fn gap(&mut self, between: (usize, usize, usize), now: Ns) -> &mut Gap {
        let gap = Gap {
            since: None,
            last: now,
        };
        let gap = self.gaps.entry(between).or_insert(gap);
        gap.last = now;
        gap
    }

    fn begin(&mut self, client: usize, vip: IpAddr) {
        let port = FIRST_PORT + (self.opened % PORTS) as u16;
        self.opened += 1;
        let left = self.chance.between(3, 60);
        self.open.insert(
            port,
            Flow {
                client,
                vip,
                left,
                rests_until: 0,
                first: None,
                has_moved: false,
                sent: None,
                seat: None,
            },
        );
    }

    /// One of a client's connections that is not silent now.
    fn choose(&mut self, now: Ns, client: usize) -> Option<u16> {
        let talking = self.open.iter();
        let talking = talking.filter(|(_, flow)| flow.client == client && flow.rests_until <= now);
        let talking: Vec<u16> = talking.map(|(port, _)| *port).collect();
        (!talking.is_empty()).then(|| self.chance.pick(&talking))
    }
}

impl World {
    /// A client's turn: one packet.
    pub(crate) fn flow_turn(&mut self, number: usize) {
        self.note_gaps();
        self.note_bare();
        let pause = TURN + self.flows.chance.below(TURN);
        self.queue
            .plan(self.now + pause, crate::world::Event::Flow(number));
        let (lan, port) = (number / CLIENTS, self.nodes.len() + number % CLIENTS);
        let open = self.flows.open.values();
        if open.filter(|flow| flow.client == number).count() < FLOWS_MAX {
            let vips = self.vips.iter().copied();
            let vips = vips.filter(|vip| self.clients[number].believes(*vip).is_some());
            let vips: Vec<IpAddr> = vips
                .filter(|vip| self.truth.lans_of(*vip).contains(&lan))
                .collect();
            if !vips.is_empty() {
                let vip = self.flows.chance.pick(&vips);
                self.flows.begin(number, vip);
                self.coverage.see("a connection opens");
            }
        }
        let Some(chosen) = self.flows.choose(self.now, number) else {
            return;
        };
        let rest = self.flows.chance.hits(SILENCES);
        let until = self.now + S + self.flows.chance.below(6 * S);
        let flow = self.flows.open.get_mut(&chosen);
        let flow = flow.expect("what was chosen is open");
        if rest && flow.seat.is_some() {
            flow.rests_until = until;
        }
        let flags = match (flow.seat, flow.left) {
            (None, _) => SYN,
            (Some(_), 0) => FIN | ACK,
            (Some(_), _) => PSH | ACK,
        };
        let vip = flow.vip;
        if let Some(frame) = self.clients[number].packet(vip, chosen, flags) {
            self.send(lan, port, &frame);
        }
    }

    /// A packet came to the node that has its connection.
    pub(crate) fn heard_out(&mut self, packet: Packet) {
        if packet.is_last {
            self.flows.open.remove(&packet.port);
            self.coverage.see("a connection ends well");
        } else if let Some(flow) = self.flows.open.get_mut(&packet.port) {
            flow.left = flow.left.saturating_sub(1);
        }
    }

    /// Notes who may not have which VIP, before and after that may change.
    pub(crate) fn note_outside(&mut self) {
        if !self.truth.is_spread {
            return;
        }
        for at in 0..self.vips.len() {
            let vip = self.vips[at];
            let may = self.candidates(vip);
            let outside = (0..self.nodes.len()).filter(|node| !may.contains(node));
            let outside = outside.map(|node| ((node, vip), self.now));
            self.flows.outside.extend(outside);
        }
    }

    /// Looks which kernels spread nothing of which VIPs.
    pub(crate) fn note_bare(&mut self) {
        for at in 0..self.vips.len() {
            let vip = self.vips[at];
            for lan in self.truth.lans_of(vip) {
                for node in 0..self.nodes.len() {
                    if !self.nodes[node].kernel.is_spread(lan, vip) {
                        self.flows.bare.insert((lan, node, vip), self.now);
                        let known = &self.nodes[node];
                        if known.kernel.may_speak(known.time(self.now), lan, vip) {
                            self.flows.stacks.insert((lan, node, vip));
                        }
                    }
                }
            }
        }
    }

    /// Looks between which nodes frames do not go through.
    fn note_gaps(&mut self) {
        let (nodes, now) = (self.nodes.len(), self.now);
        for lan in 0..self.segments.len() {
            let segment = &self.segments[lan];
            let pairs = (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b)));
            for (a, b) in pairs.filter(|(a, b)| a != b) {
                let is_through = segment.joins(a, b) && segment.is_heard(a) && segment.is_heard(b);
                if !is_through {
                    let gap = self.flows.gap((lan, a, b), now);
                    gap.since.get_or_insert(now);
                } else if let Some(gap) = self.flows.gaps.get_mut(&(lan, a, b)) {
                    gap.since = None;
                }
            }
        }
    }
}

/// The frame of a packet: flags and ends.
pub(crate) fn frame(
    (to, from): ([u8; 6], [u8; 6]),
    ends: (SocketAddr, SocketAddr),
    flags: u8,
) -> Vec<u8> {
    let wire = FlowWire::syn(to, (from, ends.0), ends.1);
    wire.with(|wire| wire.flags = flags).bytes()
}

/// Where a frame says that an address is, to a host that learns from all that it hears: RFC 826 of any ARP packet, RFC 4861 §7.2.3 and 7.2.5.
pub(crate) fn learnt(frame: &[u8]) -> Option<(IpAddr, [u8; 6])> {
    let at = |at: usize| <[u8; 6]>::try_from(frame.get(at..at + 6)?).ok();
    match frame.get(12..14)? {
        [8, 6] => {
            let ip = Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(28..32)?).ok()?);
            (!ip.is_unspecified()).then_some((ip.into(), at(22)?))
        }
        [0x86, 0xdd] => {
            let (ip, option) = match frame.get(54)? {
                135 => (frame.get(22..38)?, 1),
                136 => (frame.get(62..78)?, 2),
                _ => return None,
            };
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?);
            let has_option = frame.get(78..80) == Some(&[option, 1]);
            (has_option && !ip.is_unspecified()).then_some((ip.into(), at(80)?))
        }
        _ => None,
    }
}

const TCP: u8 = 6;
const FIN: u8 = 1;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;
/// Connections of a client at a time.
const FLOWS_MAX: usize = 6;
/// From one packet of a client to the next, and the mean of what comes on top twice.
pub(crate) const TURN: Ns = 60 * MS;
/// After so many of a thousand packets a connection is silent for a while.
const SILENCES: u64 = 80;
/// So that connections do not go together with what else is chosen.
const TALK: u64 = 0x7a1c;
/// No other frame has such a number where packets of connections have their port.
const FIRST_PORT: u16 = 40_000;
const PORTS: u64 = 20_000;
