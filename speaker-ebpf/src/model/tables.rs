//! The tables in ordered maps, with the sizes and the failures of the real ones where those can be seen.

use crate::abi::options::{OPTION_BURST_NS, OPTION_INTERVAL_NS, SET_BITS};
use crate::abi::steer::{CHUNK_SLOTS, MAGLEV_SLOTS, TABLE_CHUNKS, TABLES_MAX};
use crate::abi::{
    self, Addr, AskerKey, AskerValue, Bucket, Chunk, Claim, EndValue, Entry, FarKey, FarValue,
    FlowKey, FlowValue, Global, LinkValue, MacAddr, MacKey, MemberValue, Mode, MoveValue, Opted,
    OptedStats, OptionValue, Outcome, Passage, ServiceKey, ServiceValue, ShareKey, SlotStats,
    SourceKey, SteerValue, Steered, StreamKey, StreamValue, TargetKey, TargetValue, Traffic,
    Tunnelled, VipKey,
};
use crate::logic::{Maps, Memory, fill, refill};
use bytemuck::Zeroable;
use std::collections::{BTreeMap, BTreeSet};
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
    /// `SPREAD`.
    pub spread: BTreeMap<u16, SteerValue>,
    /// `MAGLEV`; absent is zero.
    pub maglev: BTreeMap<u32, Chunk>,
    /// `TARGETS`.
    pub targets: BTreeMap<TargetKey, TargetValue>,
    /// `STREAMS`.
    pub streams: BTreeMap<StreamKey, StreamValue>,
    /// `DATAGRAMS`.
    pub datagrams: BTreeMap<StreamKey, StreamValue>,
    /// `FRAGMENTS`.
    pub fragments: BTreeMap<StreamKey, StreamValue>,
    /// `SHARES`.
    pub shares: BTreeMap<ShareKey, Traffic>,
    /// `STEERED`; absent is 0.
    pub steered: BTreeMap<Steered, u64>,
    /// `FAR`.
    pub far: BTreeMap<FarKey, FarValue>,
    /// `ENDS`.
    pub ends: BTreeMap<Addr, EndValue>,
    /// `TUNNELLED`; absent is 0.
    pub tunnelled: BTreeMap<Tunnelled, u64>,
    /// `OPTIONS`.
    pub options: BTreeMap<VipKey, OptionValue>,
    /// `SERVICES`.
    pub services: BTreeMap<ServiceKey, ServiceValue>,
    /// Keys of `SOURCES`: the length of the prefix in bits, its set's among them.
    pub sources: BTreeSet<(u32, SourceKey)>,
    /// `OPTED`; absent is zero.
    pub opted: BTreeMap<Opted, OptedStats>,
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

    /// Whether this node may deal with the packets of an entry: it holds the VIP within its deadline and without a fence, or routes lead
    /// here on purpose, as a speaker said that was heard within ten minutes, or has only begun.
    pub(super) fn is_held(&self, entry: &Entry) -> bool {
        let last = self.node_deadline_ns;
        if entry.is_routed() {
            return last == 0 || u128::from(self.now_ns) < u128::from(last) + 600_000_000_000;
        }
        let deadline = match entry.deadline_ns() {
            0 => last,
            own => own,
        };
        let of = |words: &BTreeMap<u32, u64>| words.get(&entry.slot()).copied().unwrap_or_default();
        let may = match entry.mode() {
            Some(Mode::Answer) => of(&self.fence) == of(&self.cleared),
            Some(Mode::Draining) => true,
            Some(Mode::Known | Mode::Passive) | None => false,
        };
        may && self.now_ns < deadline
    }

    /// Says where the packets of a VIP go that is in the table.
    pub fn put_move(&mut self, key: VipKey, value: MoveValue) {
        self.moves.insert(key, value);
        if let Some(entry) = self.vips.get_mut(&key) {
            *entry = entry.moving(true);
        }
    }

    /// Says how the packets of a VIP are spread that is in the table, in a row that no other has: what comes to this node's address on its link.
    pub fn put_steering(&mut self, key: VipKey, value: SteerValue) {
        let link = self.links.get(&key.ifindex());
        let value = link.map_or(value, |link| value.sent_to(link.mac()));
        if let Some(entry) = self.vips.get_mut(&key) {
            let row = match entry.row() {
                0 => self.spread.keys().next_back().map_or(1, |last| last + 1),
                own => own,
            };
            *entry = entry.steered(row);
            self.spread.insert(row, value);
        }
    }

    /// Says what else is done with packets of a VIP that is in the table.
    pub fn put_options(&mut self, key: VipKey, value: OptionValue) {
        self.options.insert(key, value);
        if let Some(entry) = self.vips.get_mut(&key) {
            *entry = entry.opted(true);
        }
    }

    /// How often something was done by an option.
    pub fn by_option(&self, opted: Opted) -> u64 {
        self.opted.get(&opted).map_or(0, |stats| stats.count)
    }

    /// Fills a Maglev table slot by slot.
    pub fn put_table(&mut self, table: u32, bucket: impl Fn(u32) -> Bucket) {
        for chunk in 0..TABLE_CHUNKS {
            let mut value = Chunk::zeroed();
            for (slot, to) in (chunk * CHUNK_SLOTS..MAGLEV_SLOTS).zip(&mut value.buckets) {
                *to = bucket(slot);
            }
            self.maglev.insert(table * TABLE_CHUNKS + chunk, value);
        }
    }

    /// What is remembered of flows of one kind.
    pub const fn memory(&self, memory: Memory) -> &BTreeMap<StreamKey, StreamValue> {
        match memory {
            Memory::Streams => &self.streams,
            Memory::Datagrams => &self.datagrams,
            Memory::Fragments => &self.fragments,
        }
    }

    /// How often packets of VIPs that are spread went this way.
    pub fn way(&self, steered: Steered) -> u64 {
        self.steered.get(&steered).copied().unwrap_or_default()
    }

    /// How often packets to or from other segments went this way.
    pub fn passing(&self, tunnelled: Tunnelled) -> u64 {
        self.tunnelled.get(&tunnelled).copied().unwrap_or_default()
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
        make_room(&mut self.flows, key, abi::FLOWS_MAX, |value| value.at_ns);
        self.flows.insert(*key, *value);
    }

    fn passed(&mut self, passage: Passage) {
        *self.passages.entry(passage).or_default() += 1;
    }

    fn spread(&self, row: u16) -> Option<SteerValue> {
        self.spread.get(&row).copied()
    }

    fn bucket(&self, table: u32, slot: u32) -> Option<Bucket> {
        assert!(slot < MAGLEV_SLOTS, "a slot outside the tables");
        if table >= TABLES_MAX {
            return None;
        }
        let chunk = self
            .maglev
            .get(&(table * TABLE_CHUNKS + slot / CHUNK_SLOTS));
        let bucket = chunk.map(|chunk| chunk.buckets[(slot % CHUNK_SLOTS) as usize]);
        Some(bucket.unwrap_or_else(Bucket::zeroed))
    }

    fn target(&self, key: &TargetKey) -> Option<TargetValue> {
        self.targets.get(key).copied()
    }

    fn stream(&self, memory: Memory, key: &StreamKey) -> Option<StreamValue> {
        self.memory(memory).get(key).copied()
    }

    fn keep_stream(&mut self, memory: Memory, key: &StreamKey, value: &StreamValue) {
        let (streams, spec) = match memory {
            Memory::Streams => (&mut self.streams, abi::STREAMS),
            Memory::Datagrams => (&mut self.datagrams, abi::DATAGRAMS),
            Memory::Fragments => (&mut self.fragments, abi::FRAGMENTS),
        };
        make_room(streams, key, spec.entries_max, |value| value.seen_ns);
        streams.insert(*key, *value);
    }

    fn share(&mut self, key: &ShareKey, bytes: u32) -> bool {
        let is_full = self.shares.len() >= abi::SHARES.entries_max as usize;
        if is_full && !self.shares.contains_key(key) {
            return false;
        }
        let share = self.shares.entry(*key).or_insert_with(Traffic::zeroed);
        share.packets += 1;
        share.bytes += u64::from(bytes);
        true
    }

    fn steered(&mut self, steered: Steered) {
        *self.steered.entry(steered).or_default() += 1;
    }

    fn far(&self, key: &FarKey) -> Option<&FarValue> {
        self.far.get(key)
    }

    fn end(&self, addr: &Addr) -> EndValue {
        self.ends.get(addr).copied().unwrap_or_default()
    }

    fn tunnelled(&mut self, tunnelled: Tunnelled) {
        *self.tunnelled.entry(tunnelled).or_default() += 1;
    }

    fn options(&self, key: &VipKey) -> Option<OptionValue> {
        self.options.get(key).copied()
    }

    fn service(&self, key: &ServiceKey) -> Option<ServiceValue> {
        self.services.get(key).copied()
    }

    fn is_source(&self, set: u32, client: Addr) -> bool {
        let client = u128::from_be_bytes(client.bytes());
        self.sources.iter().any(|(bits, key)| {
            let bits = bits - SET_BITS;
            let differing = client ^ u128::from_be_bytes(key.addr.bytes());
            key.set == set && (bits == 0 || differing >> (128 - bits) == 0)
        })
    }

    fn take_opted(&mut self, opted: Opted, now: u64) -> bool {
        let stats = self.opted.entry(opted).or_default();
        let (credit, at) = (&mut stats.bucket_ns, &mut stats.bucket_at_ns);
        fill(credit, at, now, OPTION_INTERVAL_NS, OPTION_BURST_NS)
    }

    fn opted(&mut self, opted: Opted) {
        self.opted.entry(opted).or_default().count += 1;
    }
}

/// Takes the oldest row out of a full map that `key` is not in. The kernel's own choice is only nearly the oldest.
fn make_room<K: Ord + Copy, V>(
    map: &mut BTreeMap<K, V>,
    key: &K,
    entries_max: u32,
    seen_ns: impl Fn(&V) -> u64,
) {
    if map.len() < entries_max as usize || map.contains_key(key) {
        return;
    }
    let oldest = map.iter().min_by_key(|(_, value)| seen_ns(value));
    let oldest = oldest.map(|(key, _)| *key);
    oldest.map(|key| map.remove(&key));
}
