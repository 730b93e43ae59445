//! Where packets of connections go, and whether they may: the promises of steering.
//!
//! The program's own word (what it counted a packet as) says only why it did something; whether that was right is read from the segment, the
//! nodes' tables of members, and where the connection was before. What `docs/steering.md` says is lost is no broken promise.

use crate::flow::{First, Flow, Packet, Seat, TURN};
use crate::kernel::Fate;
use crate::lan::Lan;
use crate::node::THREADS;
use crate::oracle::Promise;
use crate::queue::{Ns, S};
use crate::world::World;
use speaker_ebpf::abi::Steered;
use speaker_proto::Mac;
use std::rc::Rc;

impl World {
    /// A packet of a connection arrives at a node.
    pub(crate) fn node_packet(
        &mut self,
        (lan, node): (Lan, usize),
        own: Mac,
        packet: Packet,
        frame: &Rc<[u8]>,
    ) {
        if frame[..6] != own.0 {
            return;
        }
        let known = &mut self.nodes[node];
        let time = known.time(self.now);
        let may_speak = known.kernel.may_speak(time, lan, packet.vip);
        let (fate, how) = known.kernel.carry(time, lan, own, frame);
        let sender = self.sender(frame);
        let by = sender.unwrap_or(node);
        if packet.is_opening && sender.is_none() {
            let kernel = &self.nodes[node].kernel;
            let is_remembered = kernel.remembers(packet.port);
            if let Some(flow) = self.flows.open.get_mut(&packet.port) {
                flow.first = Some(First {
                    by,
                    how,
                    is_held: may_speak,
                    is_remembered,
                });
            }
        }
        let name = &self.nodes[node].name;
        self.tell(|| {
            format!(
                "{name} gets {packet:?} from {sender:?}: {how:?} {}",
                matches!(fate, Fate::Reply(_))
            )
        });
        match fate {
            Fate::Reply(on) => {
                if how.is_some() && !may_speak {
                    let name = &self.nodes[node].name;
                    let what = format!("{name} sends {packet:?} on, which it may not");
                    self.oracle.note(self.now, Promise::Rightful, what);
                }
                if let Some(flow) = self.flows.open.get_mut(&packet.port) {
                    flow.sent = how;
                }
                self.sent_on((lan, node), sender, packet, &on);
                self.send(lan, node, &on);
            }
            Fate::Dropped => self.coverage.see("a packet is dropped in the gap"),
            Fate::Passed => self.arrives((lan, node), by, how, packet),
        }
    }

    /// The node that a frame is from, if it is from one.
    fn sender(&self, frame: &[u8]) -> Option<usize> {
        let from = Mac(*frame.get(6..)?.first_chunk()?);
        self.nodes.iter().position(|node| node.has_mac(from))
    }

    /// A node sent a packet on: from no other node, unless it could not know it for one; and to one that was on the segment lately.
    fn sent_on(
        &mut self,
        (lan, node): (Lan, usize),
        sender: Option<usize>,
        packet: Packet,
        on: &[u8],
    ) {
        self.coverage.see("a packet is sent on");
        let known = &self.nodes[node];
        let from = sender.and_then(|sender| self.nodes[sender].mac_on(lan));
        if let Some(from) = from {
            let process = known.process.as_ref();
            let by_agent = process.is_some_and(|process| process.agent.macs().contains(&from));
            if by_agent || known.kernel.is_member(from) {
                let what = format!("{} sends on what {from} sent it: {packet:?}", known.name);
                self.oracle.note(self.now, Promise::Once, what);
            }
            self.coverage.see("a packet is sent on twice");
        }
        let to = on.first_chunk().copied().map(Mac);
        let to = to.and_then(|to| self.nodes.iter().position(|other| other.has_mac(to)));
        let Some(to) = to else {
            let what = format!("{} sends {packet:?} to nobody's address", known.name);
            self.oracle.note(self.now, Promise::Near, what);
            return;
        };
        let gap = self.flows.gaps.get(&(lan, node, to));
        let Some(since) = gap.and_then(|gap| gap.since) else {
            return;
        };
        // Whoever was held up, or has just begun, finds out later.
        let is_busy = known.process.as_ref().is_none_or(|process| {
            let is_held = THREADS.iter().any(|thread| !process.runs(*thread));
            is_held || known.slow_faults > 0
        });
        let from = since
            .max(self.oracle.started.get(&node).copied().unwrap_or_default())
            .max(self.oracle.released.get(&node).copied().unwrap_or_default());
        self.coverage
            .see("a packet is sent to who does not hear it");
        if !is_busy && self.now > from + UNHEARD_MAX {
            let (name, to) = (&known.name, &self.nodes[to].name);
            let what =
                format!("{name} sends {packet:?} on to {to}, which it has not heard since {since}");
            self.oracle.note(self.now, Promise::Near, what);
        }
    }

    /// A node's stack gets a packet: it takes a connection that opens, and knows its own.
    fn arrives(
        &mut self,
        (lan, node): (Lan, usize),
        by: usize,
        how: Option<Steered>,
        packet: Packet,
    ) {
        let now = self.now;
        let Some(flow) = self.flows.open.get_mut(&packet.port) else {
            return;
        };
        let Some(seat) = flow.seat else {
            if let (true, Some(first)) = (packet.is_opening, flow.first) {
                flow.seat = Some(Seat {
                    end: node,
                    opened: now,
                    first,
                });
            }
            return;
        };
        flow.has_moved |= by != seat.first.by;
        if seat.end == node {
            self.kept(by, seat);
            self.heard_out(packet);
            return;
        }
        let flow = flow.clone();
        // The word of the node that attracted it.
        let how = if by == node { how } else { flow.sent };
        self.flows.open.remove(&packet.port);
        match self.may_be_lost(packet.port, (&flow, seat), (lan, by), how) {
            Some(why) => self.coverage.see(why),
            None => {
                let name = |node: usize| &self.nodes[node].name;
                let what = format!(
                    "a connection to {} from port {} that {} has since {} ms, by {}, comes to {} by {}: {how:?}, {:?}",
                    flow.vip,
                    packet.port,
                    name(seat.end),
                    seat.opened / crate::queue::MS,
                    name(seat.first.by),
                    name(node),
                    name(by),
                    seat.first
                );
                self.oracle.note(self.now, Promise::Kept, what);
            }
        }
    }

    /// Counts what keeping a connection took.
    fn kept(&mut self, by: usize, seat: Seat) {
        let is_moved = by != seat.first.by;
        let (is_far, is_remembered) = (by != seat.end, seat.first.is_remembered);
        self.coverage.see(match (is_moved, is_far, is_remembered) {
            (false, false, _) => "a connection is its holder's",
            (false, true, false) => "a connection is kept by its slot",
            (false, true, true) => "a connection is kept by what is remembered",
            (true, false, _) => "a connection's node took the VIP",
            (true, true, _) => "a connection is kept over a move",
        });
        if self.truth.excluded[seat.end] {
            self.coverage.see("a connection outlives its node's share");
        }
    }

    /// Why a connection may end otherwise than it should, by `docs/steering.md`; `None`: it may not.
    fn may_be_lost(
        &self,
        port: u16,
        (flow, seat): (&Flow, Seat),
        (lan, by): (Lan, usize),
        how: Option<Steered>,
    ) -> Option<&'static str> {
        let Seat { end, first, .. } = seat;
        let is_moved = flow.has_moved;
        let is_in_doubt = first.is_remembered || self.nodes[by].kernel.remembers(port);
        let gap = self.flows.gaps.get(&(lan, by, end));
        if !first.is_held || !matches!(first.how, Some(Steered::Own | Steered::Sent) | None) {
            return Some("lost: it was opened in a gap");
        }
        if how == Some(Steered::NotHeld) || how.is_none() && !self.has_spread(lan, by, flow) {
            return Some("lost: its packet came to who does not have the VIP");
        }
        if gap.is_some_and(|gap| self.now < gap.last + FORGOTTEN) {
            return Some("lost: its node was not on the segment");
        }
        if is_moved && (is_in_doubt || first.how.is_none()) {
            return Some("lost: another took the VIP, which does not remember it");
        }
        if is_moved && self.flows.stacks.contains(&(lan, by, flow.vip)) {
            return Some("lost: another took the VIP, whose stack had it before it was spread");
        }
        if !self.follows(lan, by, flow, seat) {
            return Some("lost: who took the VIP did not follow whose it was");
        }
        None
    }

    /// Whether a node knows whose a connection's slot was: since its kernel has spread the VIP ever since, or since its speaker has followed that, as
    /// it does after its beginning if it may have the VIP.
    fn follows(&self, lan: Lan, node: usize, flow: &Flow, seat: Seat) -> bool {
        let Seat { opened, first, .. } = seat;
        let bare = self.flows.bare.get(&(lan, node, flow.vip));
        let is_kept = node == first.by
            && !flow.has_moved
            && bare.is_none_or(|bare| *bare + 2 * TURN < opened);
        let started = self.oracle.started.get(&node).copied();
        let outside = self.flows.outside.get(&(node, flow.vip)).copied();
        let began = started.max(outside).unwrap_or_default();
        is_kept || began + FOUND < opened
    }

    /// Whether a node has a row by which a connection's VIP is spread.
    fn has_spread(&self, lan: Lan, node: usize, flow: &Flow) -> bool {
        self.nodes[node].kernel.is_spread(lan, flow.vip)
    }
}

/// A proof lasts ten seconds, and then a turn of two threads.
const UNHEARD_MAX: Ns = 12 * S;
/// As long as a question that was not answered may cost a node its proof.
const FORGOTTEN: Ns = 13 * S;
/// From its start on until a speaker follows what changes: it meets the others, and then has ten seconds to find out who there is.
const FOUND: Ns = 14 * S;
