//! The tables in ordered maps, with the sizes and the failures of the real ones where those can be seen.

use crate::abi::{
    self, Addr, AskerKey, AskerValue, Claim, Entry, FlowKey, FlowValue, Global, LinkValue, MacAddr,
    MacKey, MemberValue, MoveValue, Outcome, Passage, SlotStats, Traffic, VipKey,
};
use crate::logic::{Maps, refill};
use bytemuck::Zeroable;
use std::collections::BTreeMap;
use std::vec::Vec;

/// Everything the program reads and writes, for one CPU.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tables {
    /// BOOTTIME nanoseconds that the program sees.
    pub now_ns: u64,
    /// How many answers a slot may give.
    pub limit: Limit,
    /// `VIPS`.
    pub vips: BTreeMap<VipKey, Entry>,
    /// The words of `FILTER` that are not zero.
    pub filter: BTreeMap<u32, u64>,
    /// `NODE`.
    pub node_deadline_ns: u64,
    /// `FENCE`; absent is 0.
    pub fence: BTreeMap<u32, u64>,
    /// `CLEARED`; absent is 0.
    pub cleared: BTreeMap<u32, u64>,
    /// `LINKS`.
    pub links: BTreeMap<u32, LinkValue>,
    /// `MEMBERS`.
    pub members: BTreeMap<MacKey, MemberValue>,
    /// `ASKERS`.
    pub askers: BTreeMap<AskerKey, AskerValue>,
    /// `STATS`.
    pub stats: BTreeMap<u32, SlotStats>,
    /// `TRAFFIC`; absent is zero.
    pub traffic: BTreeMap<u32, Traffic>,
    /// `GLOBALS`; absent is 0.
    pub globals: BTreeMap<Global, u64>,
    /// What is in `CLAIMS`, oldest first.
    pub claims: Vec<Claim>,
    /// `MOVES`.
    pub moves: BTreeMap<VipKey, MoveValue>,
    /// `FLOWS`.
    pub flows: BTreeMap<FlowKey, FlowValue>,
    /// `PASSAGES`; absent is 0.
    pub passages: BTreeMap<Passage, u64>,
}

/// The constants of the token bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Nanoseconds of credit that an answer costs; 0 lifts the limit.
    pub interval_ns: u64,
    /// Nanoseconds of credit at most.
    pub burst_ns: u64,
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            interval_ns: abi::ANSWER_INTERVAL_NS,
            burst_ns: abi::ANSWER_BURST_NS,
        }
    }
}

impl Tables {
    /// Puts a VIP into the table and the filter.
    pub fn put_vip(&mut self, key: VipKey, entry: Entry) {
        let (word, mask) = key.addr().filter_bit();
        *self.filter.entry(word).or_default() |= mask;
        self.vips.insert(key, entry);
    }

    /// Says where the packets of a VIP go that is in the table.
    pub fn put_move(&mut self, key: VipKey, value: MoveValue) {
        self.moves.insert(key, value);
        if let Some(entry) = self.vips.get_mut(&key) {
            *entry = entry.moving(true);
        }
    }

    /// The count of an outcome of a slot.
    pub fn outcome(&self, slot: u32, outcome: Outcome) -> u64 {
        self.stats.get(&slot).map_or(0, |stats| stats.of(outcome))
    }

    /// A count that belongs to no slot.
    pub fn global(&self, global: Global) -> u64 {
        self.globals.get(&global).copied().unwrap_or_default()
    }

    /// How often packets of VIPs that move went this way.
    pub fn passage(&self, passage: Passage) -> u64 {
        self.passages.get(&passage).copied().unwrap_or_default()
    }

    fn slot(&mut self, slot: u32) -> &mut SlotStats {
        self.stats.entry(slot).or_insert_with(SlotStats::zeroed)
    }
}

/// Each record of the real ring has a header of eight bytes and is padded to a multiple of eight.
const CLAIMS_MAX: usize = abi::CLAIMS_BYTES as usize / (size_of::<Claim>() + 8);

impl Maps for Tables {
    fn now(&self) -> u64 {
        self.now_ns
    }

    fn may_know(&self, addr: &Addr) -> bool {
        let (word, mask) = addr.filter_bit();
        assert!(word < abi::FILTER_WORDS, "a bit outside the filter");
        self.filter.get(&word).is_some_and(|bits| bits & mask != 0)
    }

    fn vip(&self, key: &VipKey) -> Option<Entry> {
        self.vips.get(key).copied()
    }

    fn deadline(&self) -> u64 {
        self.node_deadline_ns
    }

    fn is_fenced(&self, slot: u32) -> bool {
        self.fence_gen(slot) != self.cleared.get(&slot).copied().unwrap_or_default()
    }

    fn fence(&mut self, slot: u32) -> u64 {
        let generation = self.fence.entry(slot).or_default();
        *generation = generation.wrapping_add(1);
        *generation
    }

    fn fence_gen(&self, slot: u32) -> u64 {
        self.fence.get(&slot).copied().unwrap_or_default()
    }

    fn link(&self, ifindex: u32) -> Option<LinkValue> {
        self.links.get(&ifindex).copied()
    }

    fn member(&self, mac: &MacAddr) -> Option<MemberValue> {
        self.members.get(&MacKey::new(*mac)).copied()
    }

    fn take_token(&mut self, slot: u32, now: u64) -> bool {
        let Limit {
            interval_ns,
            burst_ns,
        } = self.limit;
        interval_ns == 0 || refill(self.slot(slot), now, interval_ns, burst_ns)
    }

    fn bump(&mut self, slot: u32, outcome: Outcome) {
        assert!(slot < abi::SLOTS_MAX, "a slot outside the tables");
        *self.slot(slot).counter(outcome) += 1;
    }

    fn count(&mut self, global: Global) {
        *self.globals.entry(global).or_default() += 1;
    }

    fn traffic(&mut self, slot: u32, bytes: u32) {
        assert!(slot < abi::SLOTS_MAX, "a slot outside the tables");
        let traffic = self.traffic.entry(slot).or_insert_with(Traffic::zeroed);
        traffic.packets += 1;
        traffic.bytes += u64::from(bytes);
    }

    fn remember(&mut self, key: &AskerKey, value: &AskerValue) {
        self.askers.insert(*key, *value);
    }

    fn claim(&mut self, claim: &Claim) {
        if self.claims.len() < CLAIMS_MAX {
            self.claims.push(*claim);
        } else {
            self.count(Global::RingFull);
        }
    }

    fn moving(&self, key: &VipKey) -> Option<MoveValue> {
        self.moves.get(key).copied()
    }

    fn flow(&self, key: &FlowKey) -> Option<FlowValue> {
        self.flows.get(key).copied()
    }

    fn keep_flow(&mut self, key: &FlowKey, value: &FlowValue) {
        let is_full = self.flows.len() >= abi::FLOWS_MAX as usize;
        if is_full && !self.flows.contains_key(key) {
            // The kernel's own choice is only nearly the oldest.
            let oldest = self.flows.iter().min_by_key(|(_, value)| value.at_ns);
            let oldest = oldest.map(|(key, _)| *key);
            oldest.map(|key| self.flows.remove(&key));
        }
        self.flows.insert(*key, *value);
    }

    fn passed(&mut self, passage: Passage) {
        *self.passages.entry(passage).or_default() += 1;
    }
}
