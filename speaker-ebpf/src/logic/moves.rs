//! Where a packet goes whose VIP moves from one node to another.
//!
//! The rule is L6.2 of `docs/layer2.md`: new connections are the new holder's, old ones stay where they are, whichever of the two
//! the client still sends to. Only TCP knows old from new. What a member sent is never sent on, so that a packet goes one hop further at
//! most, whatever two nodes believe of each other. When in doubt it is this node's stack's.

use super::Maps;
use super::arrival::Arrival;
use crate::abi::moves::HERE;
use crate::abi::{FlowKey, FlowKind, FlowValue, MacAddr, MoveValue, Passage};
use crate::frame::Frame;
use crate::frame::flow::{Flow, Part};

/// Whether a packet was readdressed to another node; if not, nothing of it was changed and the stack takes it.
#[inline(always)]
pub(super) fn is_sent_on<F: Frame, M: Maps>(
    frame: &mut F,
    maps: &mut M,
    arrival: &Arrival<'_>,
) -> bool {
    let Some(row) = maps.moving(arrival.key) else {
        return false;
    };
    if arrival.now >= row.until_ns() || arrival.now >= maps.deadline() {
        maps.passed(Passage::TooLate);
        return false;
    }
    let flow = arrival.flow(frame);
    let (passage, to) = Window { arrival, row }.judge(maps, &flow);
    let passage = match passage {
        Passage::Forwarded | Passage::Returned if !arrival.send_on(frame, to) => Passage::NoHops,
        other => other,
    };
    maps.passed(passage);
    matches!(passage, Passage::Forwarded | Passage::Returned)
}

/// A packet and the move that it came in.
struct Window<'a> {
    arrival: &'a Arrival<'a>,
    row: MoveValue,
}

impl Window<'_> {
    /// Whose a packet is, and how it gets there.
    #[inline(always)]
    fn judge<M: Maps>(&self, maps: &mut M, flow: &Flow) -> (Passage, MacAddr) {
        if flow.part == Part::Unclear {
            return (Passage::Unclear, HERE);
        }
        if self.is_from_member(maps) {
            self.take_in(maps, flow);
            return (Passage::FromMember, HERE);
        }
        let to = self.owner(maps, flow);
        if to == HERE || to == self.arrival.own {
            return (Passage::Kept, HERE);
        }
        if flow.has_rest && matches!(flow.part, Part::Opening | Part::Segment) {
            self.remember(maps, FlowKind::Fragments, flow, flow.rest, to);
        }
        let is_old = flow.part != Part::Opening && to == self.row.old() && to != self.row.fresh();
        let passage = if is_old {
            Passage::Returned
        } else {
            Passage::Forwarded
        };
        (passage, to)
    }

    #[inline(always)]
    fn is_from_member<M: Maps>(&self, maps: &M) -> bool {
        self.arrival.src == self.arrival.own
            || self.arrival.src == self.row.fresh()
            || self.arrival.src == self.row.old()
            || maps.member(&self.arrival.src).is_some()
    }

    /// What the former holder sent here belongs here, and so does what begins here: that has to be known when the client sends here
    /// by itself.
    #[inline(always)]
    fn take_in<M: Maps>(&self, maps: &mut M, flow: &Flow) {
        let is_ours = match flow.part {
            Part::Opening => true,
            Part::Segment => self.arrival.src == self.row.old(),
            Part::SegmentRest
            | Part::Datagram
            | Part::DatagramRest
            | Part::Portless
            | Part::Unclear => false,
        };
        if is_ours && self.remembered(maps, FlowKind::Connection, flow) != Some(HERE) {
            self.remember(maps, FlowKind::Connection, flow, flow.word, HERE);
        }
    }

    #[inline(always)]
    fn owner<M: Maps>(&self, maps: &mut M, flow: &Flow) -> MacAddr {
        let kind = match flow.part {
            // Nothing is lost with these: any stack takes them in.
            Part::Datagram | Part::DatagramRest | Part::Portless => return self.row.fresh(),
            Part::Unclear => return HERE,
            Part::SegmentRest => FlowKind::Fragments,
            Part::Opening | Part::Segment => FlowKind::Connection,
        };
        if let Some(owner) = self.remembered(maps, kind, flow) {
            return owner;
        }
        match flow.part {
            Part::Opening => {
                let owner = self.row.fresh();
                self.remember(maps, kind, flow, flow.word, owner);
                owner
            }
            Part::Segment => self.row.old(),
            Part::SegmentRest
            | Part::Datagram
            | Part::DatagramRest
            | Part::Portless
            | Part::Unclear => HERE,
        }
    }

    /// Whose it is, if that was decided during this move and that node is still one of ours.
    #[inline(always)]
    fn remembered<M: Maps>(&self, maps: &M, kind: FlowKind, flow: &Flow) -> Option<MacAddr> {
        let key = FlowKey::new(kind, flow.client, *self.arrival.key, flow.word);
        let value = maps.flow(&key)?;
        let mac = value.mac;
        let is_known = mac == HERE
            || mac == self.row.fresh()
            || mac == self.row.old()
            || maps.member(&mac).is_some();
        (value.at_ns >= self.row.since_ns() && is_known).then_some(mac)
    }

    #[inline(always)]
    fn remember<M: Maps>(
        &self,
        maps: &mut M,
        kind: FlowKind,
        flow: &Flow,
        word: u32,
        owner: MacAddr,
    ) {
        let key = FlowKey::new(kind, flow.client, *self.arrival.key, word);
        let value = FlowValue {
            at_ns: self.arrival.now,
            mac: owner,
            pad: [0; 2],
        };
        maps.keep_flow(&key, &value);
    }
}
