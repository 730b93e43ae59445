//! What becomes of a frame.
//!
//! One function for every hook and for the host's model: neighbour frames are judged in [`announce`], everything else goes on
//! to the stack and is counted if it is for a VIP, or to another node: because the VIP is spread ([`steer`], and over other segments
//! [`encap`]), or for a while because it moves ([`moves`]); or it is refused, answered or dropped by an option of the VIP ([`options`]). It
//! trusts the tables and knows nothing of who fills them.

mod announce;
mod arrival;
mod encap;
#[cfg(test)]
mod encap_tests;
mod moves;
#[cfg(test)]
mod moves_tests;
mod options;
#[cfg(test)]
mod options_tests;
mod socket;
mod steer;
#[cfg(test)]
mod steer_tests;
#[cfg(test)]
mod tests;

use crate::abi::{
    Addr, AskerKey, AskerValue, Bucket, Claim, EndValue, Entry, FarKey, FarValue, FlowKey,
    FlowValue, Global, LinkValue, MacAddr, MemberValue, MoveValue, Opted, OptionValue, Outcome,
    Passage, SLOTS_MAX, ServiceKey, ServiceValue, ShareKey, SlotStats, SteerValue, Steered,
    StreamKey, StreamValue, TargetKey, TargetValue, Tunnelled, VipKey,
};
use crate::frame::flow::Family;
use crate::frame::{ETHERTYPE_AT, Frame, ethertype, ip, ndp};
use arrival::Arrival;
pub use socket::key as socket_key;

/// Decides about a frame and, where the verdict is [`Verdict::Reply`], turns it into the reply.
#[inline(always)]
pub fn handle<F: Frame, M: Maps>(frame: &mut F, maps: &mut M) -> Verdict {
    if frame.is_tagged() || !frame.is_for_us() {
        return Verdict::Next;
    }
    let (destination, family) = match frame.load::<[u8; 2]>(ETHERTYPE_AT) {
        Some(ethertype::IPV4) => (ip::v4_destination(frame), Family::V4),
        Some(ethertype::IPV6) if is_neighbour(frame) => return announce::ndp(frame, maps),
        Some(ethertype::IPV6) => (ip::v6_destination(frame), Family::V6),
        Some(ethertype::ARP) => return announce::arp(frame, maps),
        Some(_) | None => return Verdict::Next,
    };
    match destination {
        Some(destination) => hand_over(frame, maps, destination, family),
        None => Verdict::Next,
    }
}

/// Whether an IPv6 packet is a solicitation or an advertisement.
#[inline(always)]
fn is_neighbour<F: Frame>(frame: &mut F) -> bool {
    ip::v6_next_header(frame) == Some(ip::ICMPV6)
        && matches!(
            ip::v6_first_byte(frame),
            Some(ndp::SOLICITATION | ndp::ADVERTISEMENT)
        )
}

/// Counts a packet for the stack, if it is for a VIP of this link; or sends it on, if that is spread or moves. What is for no VIP may be one of ours
/// around another. No address is both, and the verifier of no kernel would go through both ways for each frame.
#[inline(always)]
fn hand_over<F: Frame, M: Maps>(
    frame: &mut F,
    maps: &mut M,
    destination: Addr,
    family: Family,
) -> Verdict {
    let key = VipKey::new(destination, frame.ifindex());
    let known = maps.may_know(&destination).then(|| maps.vip(&key));
    let Some(entry) = known.flatten() else {
        encap::receive(frame, maps, destination, family);
        return Verdict::Next;
    };
    if entry.slot() >= SLOTS_MAX {
        maps.count(Global::BadEntry);
        return Verdict::Next;
    }
    let verdict = if entry.is_ordinary() {
        Verdict::Next
    } else {
        elsewhere(frame, maps, &key, &entry, family)
    };
    if verdict != Verdict::Next {
        return verdict;
    }
    maps.traffic(entry.slot(), frame.len());
    if entry.is_socketed() && socket::is_taken(maps, &entry) {
        Verdict::Mark
    } else {
        Verdict::Next
    }
}

/// What becomes of a packet for a VIP that is spread, moves, or has options, which come first. One that does both others is spread: both nodes of a move spread alike.
#[inline(always)]
fn elsewhere<F: Frame, M: Maps>(
    frame: &mut F,
    maps: &mut M,
    key: &VipKey,
    entry: &Entry,
    family: Family,
) -> Verdict {
    let row = if entry.is_steered() {
        maps.spread(entry.row())
    } else {
        None
    };
    let own = match row {
        Some(row) => Some(row.own()),
        None => maps.link(key.ifindex()).map(|link| link.mac()),
    };
    let Some(arrival) = Arrival::find(frame, maps, key, (family, own)) else {
        return Verdict::Next;
    };
    if entry.is_opted()
        && let Some(verdict) = options::verdict(frame, maps, &arrival, entry)
    {
        return verdict;
    }
    if let Some(row) = row {
        return steer::verdict(frame, maps, &arrival, entry, row);
    }
    if entry.is_moving() && moves::is_sent_on(frame, maps, &arrival) {
        Verdict::Forward
    } else {
        Verdict::Next
    }
}

/// The tables as the program sees them.
pub trait Maps {
    /// BOOTTIME nanoseconds.
    fn now(&self) -> u64;
    /// Whether `addr` may be in the table; `false` is certain.
    fn may_know(&self, addr: &Addr) -> bool;
    /// The entry of a VIP on a link.
    fn vip(&self, key: &VipKey) -> Option<Entry>;
    /// The node-wide deadline, 0 if never armed.
    fn deadline(&self) -> u64;
    /// Whether the slot's fence is up (`FENCE` differs from `CLEARED`).
    fn is_fenced(&self, slot: u32) -> bool;
    /// Raises the slot's fence; the new generation.
    fn fence(&mut self, slot: u32) -> u64;
    /// The slot's fence generation as it is.
    fn fence_gen(&self, slot: u32) -> u64;
    /// What answers on a link carry; `None`: the link does not announce.
    fn link(&self, ifindex: u32) -> Option<LinkValue>;
    /// The member that owns a hardware address.
    fn member(&self, mac: &MacAddr) -> Option<MemberValue>;
    /// Takes one token of the slot's bucket at `now`; `false`: above the limit.
    fn take_token(&mut self, slot: u32, now: u64) -> bool;
    /// Counts an outcome of a slot.
    fn bump(&mut self, slot: u32, outcome: Outcome);
    /// Counts what belongs to no slot.
    fn count(&mut self, global: Global);
    /// Counts a frame handed to the stack for a VIP.
    fn traffic(&mut self, slot: u32, bytes: u32);
    /// Remembers who asked.
    fn remember(&mut self, key: &AskerKey, value: &AskerValue);
    /// Tells the agent of a claim.
    fn claim(&mut self, claim: &Claim);
    /// Where the packets of a VIP go that moves.
    fn moving(&self, key: &VipKey) -> Option<MoveValue>;
    /// Whose connection it is, if that was remembered.
    fn flow(&self, key: &FlowKey) -> Option<FlowValue>;
    /// Remembers whose connection it is.
    fn keep_flow(&mut self, key: &FlowKey, value: &FlowValue);
    /// Counts a packet of a VIP that moves.
    fn passed(&mut self, passage: Passage);
    /// How packets of VIPs are spread whose entries name this row; `None` of 0.
    fn spread(&self, row: u16) -> Option<SteerValue>;
    /// A slot of a Maglev table; `None`: there is no such table.
    fn bucket(&self, table: u32, slot: u32) -> Option<Bucket>;
    /// Where a node is on a link.
    fn target(&self, key: &TargetKey) -> Option<TargetValue>;
    /// Whose a flow is, if that was remembered.
    fn stream(&self, memory: Memory, key: &StreamKey) -> Option<StreamValue>;
    /// Remembers whose a flow is.
    fn keep_stream(&mut self, memory: Memory, key: &StreamKey, value: &StreamValue);
    /// Counts a packet for a node; `false`: there is no row for that, and none can be made.
    fn share(&mut self, key: &ShareKey, bytes: u32) -> bool;
    /// Counts a packet of a VIP that is spread.
    fn steered(&mut self, steered: Steered);
    /// Where a node on another segment is reached.
    fn far(&self, key: &FarKey) -> Option<&FarValue>;
    /// What an address may be to a packet in another one; nothing, of one that is not in the table.
    fn end(&self, addr: &Addr) -> EndValue;
    /// Counts a packet that goes to another segment, or came from one.
    fn tunnelled(&mut self, tunnelled: Tunnelled);
    /// What else is done with packets of a VIP.
    fn options(&self, key: &VipKey) -> Option<OptionValue>;
    /// A port of a VIP, if a service has it.
    fn service(&self, key: &ServiceKey) -> Option<ServiceValue>;
    /// Whether a set of sources has this one.
    fn is_source(&self, set: u32, client: Addr) -> bool;
    /// Takes one token at `now` of what is sent by this option; `false`: above the limit.
    fn take_opted(&mut self, opted: Opted, now: u64) -> bool;
    /// Counts what was done by an option.
    fn opted(&mut self, opted: Opted);
}

/// Where flows of VIPs that are spread are remembered: each in a map of its own, so that none pushes out another kind's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Memory {
    /// TCP connections.
    Streams,
    /// Flows of datagrams.
    Datagrams,
    /// Packets in fragments.
    Fragments,
}

/// What the hook does with the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// On to the next program or the stack, untouched.
    Next,
    /// On to the next program or the stack, marked with [`crate::abi::socket::MARK`]: it is for a socket of this node.
    Mark,
    /// Gone.
    Drop,
    /// Rewritten in place: back out of the link it came in on.
    Reply,
    /// Readdressed to another node, out of the link it came in on.
    Forward,
    /// Put into a packet to another node, which leaves by the link with this index.
    Depart(u32),
}

/// Fills the bucket in `stats` up to `now`, `burst` at most, and takes `interval` out of it if it can; all in nanoseconds
/// of credit. A slot that never answered has a full bucket.
#[inline(always)]
pub fn refill(stats: &mut SlotStats, now: u64, interval: u64, burst: u64) -> bool {
    fill(
        &mut stats.bucket_ns,
        &mut stats.bucket_at_ns,
        now,
        interval,
        burst,
    )
}

/// As [`refill`], for a bucket that stands anywhere.
#[inline(always)]
pub fn fill(credit_ns: &mut u64, at_ns: &mut u64, now: u64, interval: u64, burst: u64) -> bool {
    // Another CPU's clock may be a little behind: that is no time at all.
    let elapsed = now.saturating_sub(*at_ns);
    let credit = credit_ns.saturating_add(elapsed).min(burst);
    *at_ns = now;
    let is_enough = credit >= interval;
    *credit_ns = if is_enough { credit - interval } else { credit };
    is_enough
}
