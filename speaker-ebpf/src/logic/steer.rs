//! Which node a packet goes to whose VIP is spread over several.
//!
//! New flows go where the slot of the Maglev table says now, old ones where they were: TCP connections are remembered only where that is
//! in doubt, so that a flood of them pushes nothing out; datagrams always, for nothing tells their first from the others. Sent on
//! is only what came to a holder from outside the cluster: what a member sent stays, so that a packet goes one hop further at most,
//! whatever nodes believe of each other. When in doubt it is this node's stack's. How tables come about is none of its business.
//!
//! | TCP | the slot names one node | it names two, within the window | it names two, later |
//! |---|---|---|---|
//! | opening | that one | current, remembered | current |
//! | else, remembered | (not looked up) | the one it is remembered at | the one it is remembered at |
//! | else | that one | previous, remembered | current |
//!
//! A VIP that was not spread before has this node as the previous one of every slot. A slot may name one node twice, with a mark: another had
//! it in between, and what is remembered counts.
//!
//! Of a VIP whose packets routes bring, every node that announces one is such a holder, whether or not its speaker lives; the same rule keeps a
//! packet from going back and forth between two of them.
//!
//! A node that may not speak for a VIP any more (its deadline has passed, or another claims it) sends nothing on. For [`SILENCE_NS`] it drops
//! segments of connections that others have, which its stack would reset before their clients hear of the new holder.

use super::arrival::Arrival;
use super::{Maps, Memory, Verdict, encap};
use crate::abi::moves::HERE;
use crate::abi::steer::{FRAGMENTS_NS, OWN_NODE, SILENCE_NS};
use crate::abi::{
    Entry, MacAddr, Mode, ORPHAN_AFTER_NS, ShareKey, SteerValue, Steered, StreamKey, StreamValue,
    TargetKey, hash,
};
use crate::frame::Frame;
use crate::frame::flow::{Flow, Part};

/// What becomes of a packet for a VIP that is spread. Changed only if it is sent on.
#[inline(always)]
pub(super) fn verdict<F: Frame, M: Maps>(
    frame: &mut F,
    maps: &mut M,
    arrival: &Arrival<'_>,
    entry: &Entry,
    row: SteerValue,
) -> Verdict {
    let right = Right::find(maps, entry, arrival.now);
    let is_members = arrival.src == arrival.own || maps.member(&arrival.src).is_some();
    let owner = match right {
        Right::Lost => Err(Steered::NotHeld),
        Right::Lapsed if is_members => Err(Steered::NotHeld),
        Right::Held if is_members => Err(Steered::FromMember),
        Right::Lapsed | Right::Held => {
            let is_held = right == Right::Held;
            let spread = Spread {
                arrival,
                row,
                is_held,
            };
            spread.owner(frame, maps)
        }
    };
    let owner = match owner {
        Ok(owner) => owner,
        Err(why) => {
            maps.steered(why);
            return stopped(why);
        }
    };
    let share = ShareKey {
        slot: entry.slot(),
        node: owner.node,
    };
    if owner.mac == encap::FAR {
        return encap::send(frame, maps, arrival, &share);
    }
    if !maps.share(&share, frame.len()) {
        maps.steered(Steered::Uncounted);
    }
    // It has a hop to give, as was looked at before anything was remembered of it.
    if owner.is_here(arrival) || !arrival.send_on(frame, owner.mac) {
        maps.steered(Steered::Own);
        return Verdict::Next;
    }
    maps.steered(Steered::Sent);
    Verdict::Forward
}

/// Whether this node may speak for a VIP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// It has the VIP, or gives it away in order, and nobody else can have it by now; or routes bring its packets here, which may be so on many
    /// nodes.
    Held,
    /// It had until a moment ago.
    Lapsed,
    /// It has not.
    Lost,
}

impl Right {
    #[inline(always)]
    pub(super) fn find<M: Maps>(maps: &M, entry: &Entry, now: u64) -> Self {
        if entry.is_routed() {
            return Self::routed(maps.deadline(), now);
        }
        let deadline = match entry.deadline_ns() {
            0 => maps.deadline(),
            own => own,
        };
        let is_fenced = match entry.mode() {
            Some(Mode::Answer) => maps.is_fenced(entry.slot()),
            Some(Mode::Draining) => false,
            Some(Mode::Known | Mode::Passive) | None => return Self::Lost,
        };
        if now < deadline && !is_fenced {
            Self::Held
        } else if deadline != 0 && now < deadline.saturating_add(SILENCE_NS) {
            Self::Lapsed
        } else {
            Self::Lost
        }
    }

    /// Routers keep the routes of a speaker that is away, so that it goes on as it was left, until that was long ago.
    #[inline(always)]
    const fn routed(node_deadline: u64, now: u64) -> Self {
        if node_deadline == 0 || now < node_deadline.saturating_add(ORPHAN_AFTER_NS) {
            Self::Held
        } else {
            Self::Lost
        }
    }
}

#[inline(always)]
fn stopped(why: Steered) -> Verdict {
    match why {
        Steered::LostFragment | Steered::Silenced => Verdict::Drop,
        Steered::Sent
        | Steered::Own
        | Steered::FromMember
        | Steered::NotHeld
        | Steered::NoHops
        | Steered::Unclear
        | Steered::NoTarget
        | Steered::Uncounted => Verdict::Next,
    }
}

/// A packet and how its VIP is spread.
struct Spread<'a> {
    arrival: &'a Arrival<'a>,
    row: SteerValue,
    is_held: bool,
}

/// The node that gets a packet.
#[derive(Clone, Copy)]
struct Owner {
    node: u32,
    /// Its hardware address; [`HERE`]: it is this node; [`encap::FAR`]: it is on another segment.
    mac: MacAddr,
}

impl Owner {
    #[inline(always)]
    fn is_here(&self, arrival: &Arrival<'_>) -> bool {
        self.mac == HERE || self.mac == arrival.own
    }
}

impl Spread<'_> {
    /// Whose a packet is, or why it is nobody's but the stack's.
    #[inline(always)]
    fn owner<F: Frame, M: Maps>(&self, frame: &mut F, maps: &mut M) -> Result<Owner, Steered> {
        let mut flow = self.arrival.flow(frame);
        if !self.is_held {
            if flow.part != Part::Segment || flow.is_error {
                return Err(Steered::NotHeld);
            }
            // Nothing is remembered of it, as of an error.
            flow.is_error = true;
            return Err(match self.judge(maps, &flow) {
                Some(owner) if !owner.is_here(self.arrival) => Steered::Silenced,
                Some(_) | None => Steered::NotHeld,
            });
        }
        if flow.part != Part::Unclear && !self.arrival.has_hop(frame) {
            return Err(Steered::NoHops);
        }
        match flow.part {
            Part::Unclear => Err(Steered::Unclear),
            Part::SegmentRest | Part::DatagramRest => self.rest(maps, &flow),
            Part::Opening | Part::Segment | Part::Datagram | Part::Portless => {
                self.first(maps, &flow)
            }
        }
    }

    /// A later fragment, which follows its first.
    #[inline(always)]
    fn rest<M: Maps>(&self, maps: &M, flow: &Flow) -> Result<Owner, Steered> {
        let known = maps.stream(Memory::Fragments, &self.mark(flow, flow.word));
        known
            .filter(|known| self.arrival.now.saturating_sub(known.seen_ns) < FRAGMENTS_NS)
            .and_then(|known| self.reach(maps, known.node))
            .ok_or(Steered::LostFragment)
    }

    /// A whole packet, or the first of its fragments.
    #[inline(always)]
    fn first<M: Maps>(&self, maps: &mut M, flow: &Flow) -> Result<Owner, Steered> {
        let owner = self.judge(maps, flow);
        if flow.has_rest && flow.part != Part::Portless {
            // What the stack takes for want of a target it takes whole.
            let node = owner.map_or(OWN_NODE.into(), |owner| owner.node);
            self.keep(maps, Memory::Fragments, self.mark(flow, flow.rest), node);
        }
        owner.ok_or(Steered::NoTarget)
    }

    /// By what is remembered and the table; `None`: the node that it says cannot be reached.
    #[inline(always)]
    fn judge<M: Maps>(&self, maps: &mut M, flow: &Flow) -> Option<Owner> {
        let (ports, protocol) = if self.row.is_by_client() {
            (0, 0)
        } else {
            (flow.word, u32::from(flow.protocol))
        };
        let slot = hash::slot(flow.client, self.arrival.key.addr(), ports, protocol);
        let bucket = maps.bucket(self.row.table(), slot)?;
        let current = u32::from(bucket.current);
        let previous = u32::from(bucket.earlier());
        let is_two = bucket.is_in_doubt();
        let is_open = is_two && self.arrival.now < self.row.window_until_ns();
        let (memory, is_remembered) = match flow.part {
            Part::Datagram => (Memory::Datagrams, true),
            Part::Opening | Part::Segment => (Memory::Streams, is_two),
            Part::SegmentRest | Part::DatagramRest | Part::Portless | Part::Unclear => {
                return self.reach(maps, current);
            }
        };
        let mark = self.mark(flow, flow.word);
        let known = if is_remembered {
            maps.stream(memory, &mark)
        } else {
            None
        };
        // One whose node is gone is none.
        let owner = known.and_then(|known| self.reach(maps, known.node));
        let is_opening = flow.part == Part::Opening;
        let is_datagram = flow.part == Part::Datagram;
        let (owner, is_kept) = match owner {
            Some(owner) if !is_opening => (owner, true),
            Some(_) | None => {
                let is_older = is_open && !is_opening && !is_datagram;
                let node = if is_older { previous } else { current };
                // An opening is remembered only where others may be in doubt, or where an older one had the same mark.
                let is_replaced = is_opening && known.is_some();
                let owner = self.reach(maps, node)?;
                (owner, is_open || is_datagram || is_replaced)
            }
        };
        let is_fresh = known.is_some_and(|known| {
            known.node == owner.node && self.arrival.now.saturating_sub(known.seen_ns) < REFRESH_NS
        });
        if is_kept && !is_fresh && !flow.is_error {
            self.keep(maps, memory, mark, owner.node);
        }
        Some(owner)
    }

    #[inline(always)]
    fn reach<M: Maps>(&self, maps: &M, node: u32) -> Option<Owner> {
        if node == OWN_NODE.into() {
            return Some(Owner { node, mac: HERE });
        }
        let key = TargetKey {
            ifindex: self.arrival.key.ifindex(),
            node,
        };
        let mac = match maps.target(&key) {
            Some(target) => target.mac,
            None if self.is_far(maps, node) => encap::FAR,
            None => return None,
        };
        Some(Owner { node, mac })
    }

    #[inline(always)]
    fn is_far<M: Maps>(&self, maps: &M, node: u32) -> bool {
        self.row.is_beyond() && encap::is_reached(maps, node, self.arrival.family)
    }

    #[inline(always)]
    fn mark(&self, flow: &Flow, word: u32) -> StreamKey {
        StreamKey {
            client: flow.client,
            vip: *self.arrival.key,
            word,
            protocol: flow.protocol.into(),
        }
    }

    #[inline(always)]
    fn keep<M: Maps>(&self, maps: &mut M, memory: Memory, key: StreamKey, node: u32) {
        let value = StreamValue {
            seen_ns: self.arrival.now,
            node,
            pad: 0,
        };
        maps.keep_stream(memory, &key, &value);
    }
}

/// A flow that is seen all the time is written about once a second.
const REFRESH_NS: u64 = 1_000_000_000;
