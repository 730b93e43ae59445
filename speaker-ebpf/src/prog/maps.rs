//! The maps of the object, exactly as `speaker_ebpf::abi` lays them out. The only place that touches map memory.
//!
//! Keys and values carry their own types into BTF, so that `bpftool map dump` prints fields and not bytes.

use super::socket::may_know;
use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_NOEXIST};
use aya_ebpf::btf_maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::btf_map;
use core::arch::asm;
use speaker_ebpf::abi::options::{OPTION_BURST_NS, OPTION_INTERVAL_NS, SET_BITS};
use speaker_ebpf::abi::steer::{CHUNK_SLOTS, TABLE_CHUNKS, TABLES_MAX};
use speaker_ebpf::abi::{
    self, Addr, AskerKey, AskerValue, Bucket, Chunk, Claim, EndValue, Entry, FarKey, FarValue,
    FlowKey, FlowValue, Global, LinkValue, MacAddr, MacKey, MemberValue, MoveValue, NodeValue,
    Opted, OptedStats, OptionValue, Outcome, Passage, ServiceKey, ServiceValue, ShareKey,
    SlotStats, SourceKey, SteerValue, Steered, StreamKey, StreamValue, TargetKey, TargetValue,
    Traffic, Tunnelled, VipKey,
};
use speaker_ebpf::logic::{Maps, Memory, fill, refill};

#[btf_map(name = "hg_vips")]
static VIPS: HashMap<VipKey, Entry, { abi::VIPS.entries_max as usize }> = HashMap::new();

#[btf_map(name = "hg_filter")]
pub(super) static FILTER: Array<u64, { abi::FILTER.entries_max as usize }> = Array::new();

#[btf_map(name = "hg_node")]
static NODE: Array<NodeValue, { abi::NODE.entries_max as usize }, { BPF_F_MMAPABLE as usize }> =
    Array::new();

#[btf_map(name = "hg_fence")]
static FENCE: Array<u64, { abi::FENCE.entries_max as usize }> = Array::new();

#[btf_map(name = "hg_cleared")]
static CLEARED: Array<u64, { abi::CLEARED.entries_max as usize }> = Array::new();

#[btf_map(name = "hg_links")]
static LINKS: HashMap<u32, LinkValue, { abi::LINKS.entries_max as usize }> = HashMap::new();

#[btf_map(name = "hg_members")]
static MEMBERS: HashMap<MacKey, MemberValue, { abi::MEMBERS.entries_max as usize }> =
    HashMap::new();

#[btf_map(name = "hg_askers")]
static ASKERS: LruHashMap<AskerKey, AskerValue, { abi::ASKERS.entries_max as usize }> =
    LruHashMap::new();

#[btf_map(name = "hg_stats")]
static STATS: PerCpuHashMap<
    u32,
    SlotStats,
    { abi::STATS.entries_max as usize },
    { BPF_F_NO_PREALLOC as usize },
> = PerCpuHashMap::new();

#[btf_map(name = "hg_traffic")]
static TRAFFIC: PerCpuArray<Traffic, { abi::TRAFFIC.entries_max as usize }> = PerCpuArray::new();

#[btf_map(name = "hg_globals")]
static GLOBALS: PerCpuArray<u64, { abi::GLOBALS.entries_max as usize }> = PerCpuArray::new();

#[btf_map(name = "hg_claims")]
static CLAIMS: RingBuf<(), { abi::CLAIMS.entries_max as usize }> = RingBuf::new();

#[btf_map(name = "hg_moves")]
static MOVES: HashMap<
    VipKey,
    MoveValue,
    { abi::MOVES.entries_max as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map(name = "hg_flows")]
static FLOWS: LruHashMap<FlowKey, FlowValue, { abi::FLOWS.entries_max as usize }> =
    LruHashMap::new();

#[btf_map(name = "hg_passages")]
static PASSAGES: PerCpuArray<u64, { abi::PASSAGES.entries_max as usize }> = PerCpuArray::new();

#[btf_map(name = "hg_spread")]
static SPREAD: Array<SteerValue, { abi::SPREAD.entries_max as usize }> = Array::new();

#[btf_map(name = "hg_maglev")]
static MAGLEV: Array<Chunk, { abi::MAGLEV.entries_max as usize }> = Array::new();

#[btf_map(name = "hg_targets")]
static TARGETS: HashMap<TargetKey, TargetValue, { abi::TARGETS.entries_max as usize }> =
    HashMap::new();

#[btf_map(name = "hg_streams")]
static STREAMS: LruHashMap<StreamKey, StreamValue, { abi::STREAMS.entries_max as usize }> =
    LruHashMap::new();

#[btf_map(name = "hg_datagrams")]
static DATAGRAMS: LruHashMap<StreamKey, StreamValue, { abi::DATAGRAMS.entries_max as usize }> =
    LruHashMap::new();

#[btf_map(name = "hg_fragments")]
static FRAGMENTS: LruHashMap<StreamKey, StreamValue, { abi::FRAGMENTS.entries_max as usize }> =
    LruHashMap::new();

#[btf_map(name = "hg_shares")]
static SHARES: PerCpuHashMap<
    ShareKey,
    Traffic,
    { abi::SHARES.entries_max as usize },
    { BPF_F_NO_PREALLOC as usize },
> = PerCpuHashMap::new();

#[btf_map(name = "hg_steered")]
static STEERED: PerCpuArray<u64, { abi::STEERED.entries_max as usize }> = PerCpuArray::new();

#[btf_map(name = "hg_far")]
static FAR: HashMap<FarKey, FarValue, { abi::FAR.entries_max as usize }> = HashMap::new();

#[btf_map(name = "hg_ends")]
static ENDS: HashMap<
    Addr,
    EndValue,
    { abi::ENDS.entries_max as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map(name = "hg_tunnelled")]
static TUNNELLED: PerCpuArray<u64, { abi::TUNNELLED.entries_max as usize }> = PerCpuArray::new();
#[btf_map(name = "hg_options")]
static OPTIONS: HashMap<
    VipKey,
    OptionValue,
    { abi::OPTIONS.entries_max as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map(name = "hg_services")]
static SERVICES: HashMap<
    ServiceKey,
    ServiceValue,
    { abi::SERVICES.entries_max as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map(name = "hg_sources")]
static SOURCES: LpmTrie<SourceKey, u32, { abi::SOURCES.entries_max as usize }> = LpmTrie::new();

#[btf_map(name = "hg_opted")]
static OPTED: PerCpuArray<OptedStats, { abi::OPTED.entries_max as usize }> = PerCpuArray::new();

/// Nanoseconds of credit that an answer costs; the loader may set it, and 0 lifts the limit.
#[unsafe(no_mangle)]
static ANSWER_INTERVAL_NS: Constant = Constant(abi::ANSWER_INTERVAL_NS);

/// Nanoseconds of credit at most; the loader may set it.
#[unsafe(no_mangle)]
static ANSWER_BURST_NS: Constant = Constant(abi::ANSWER_BURST_NS);

/// A value that the loader may replace. aya's own type has a union whose name kernels refuse in BTF.
#[repr(transparent)]
struct Constant(u64);

impl Constant {
    #[inline(always)]
    fn load(&self) -> u64 {
        // SAFETY: a valid reference; volatile, since what is loaded may differ from what was compiled.
        unsafe { (&raw const self.0).read_volatile() }
    }
}

/// The kernel's tables, for the length of one frame.
pub(super) struct Kernel {
    /// This CPU's counters of the slot that the frame is about, once they were looked for.
    stats: *mut SlotStats,
    slot: u32,
}

impl Kernel {
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self {
            stats: core::ptr::null_mut(),
            slot: 0,
        }
    }

    /// This CPU's counters of a slot, made on first use; null if memory is short.
    #[inline(always)]
    fn stats(&mut self, slot: u32) -> *mut SlotStats {
        if self.stats.is_null() || self.slot != slot {
            self.stats = stats(slot);
            self.slot = slot;
        }
        self.stats
    }
}

impl Maps for Kernel {
    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: the helper takes nothing and returns a number.
        unsafe { bpf_ktime_get_boot_ns() }
    }

    #[inline(always)]
    fn may_know(&self, addr: &Addr) -> bool {
        may_know(addr)
    }

    #[inline(always)]
    fn vip(&self, key: &VipKey) -> Option<Entry> {
        // SAFETY: the value is copied at once; an update by the agent replaces the element as a whole.
        unsafe { VIPS.get(key).copied() }
    }

    #[inline(always)]
    fn deadline(&self) -> u64 {
        let Some(node) = NODE.get_ptr(0) else {
            return 0;
        };
        // SAFETY: the element exists as long as the map; the agent writes the word through its memory mapping, so it is
        // read once and as a whole.
        unsafe { (&raw const (*node).deadline_ns).read_volatile() }
    }

    #[inline(always)]
    fn is_fenced(&self, slot: u32) -> bool {
        let cleared = CLEARED.get_ptr(slot).map_or(0, read);
        self.fence_gen(slot) != cleared
    }

    #[inline(always)]
    fn fence(&mut self, slot: u32) -> u64 {
        if let Some(generation) = FENCE.get_ptr_mut(slot) {
            // SAFETY: the element exists as long as the map. This is the one atomic instruction that kernels before 5.12
            // have, and the compiler offers none for targets without compare-and-swap.
            unsafe {
                asm!("lock *(u64 *)({word} + 0) += {one}", word = in(reg) generation, one = in(reg) 1u64)
            };
        }
        self.fence_gen(slot)
    }

    #[inline(always)]
    fn fence_gen(&self, slot: u32) -> u64 {
        FENCE.get_ptr(slot).map_or(0, read)
    }

    #[inline(always)]
    fn link(&self, ifindex: u32) -> Option<LinkValue> {
        // SAFETY: as in `vip`.
        unsafe { LINKS.get(ifindex).copied() }
    }

    #[inline(always)]
    fn member(&self, mac: &MacAddr) -> Option<MemberValue> {
        // SAFETY: as in `vip`.
        unsafe { MEMBERS.get(MacKey::new(*mac)).copied() }
    }

    #[inline(always)]
    fn take_token(&mut self, slot: u32, now: u64) -> bool {
        let (interval, burst) = (ANSWER_INTERVAL_NS.load(), ANSWER_BURST_NS.load());
        if interval == 0 {
            return true;
        }
        // SAFETY: this CPU's copy, and nothing else runs on this CPU until the program ends.
        let Some(stats) = (unsafe { self.stats(slot).as_mut() }) else {
            return false;
        };
        refill(stats, now, interval, burst)
    }

    #[inline(always)]
    fn bump(&mut self, slot: u32, outcome: Outcome) {
        // SAFETY: as in `take_token`.
        if let Some(stats) = unsafe { self.stats(slot).as_mut() } {
            *stats.counter(outcome) += 1;
        }
    }

    #[inline(always)]
    fn count(&mut self, global: Global) {
        if let Some(count) = GLOBALS.get_ptr_mut(global as u32) {
            // SAFETY: as in `take_token`.
            unsafe { *count += 1 };
        }
    }

    #[inline(always)]
    fn traffic(&mut self, slot: u32, bytes: u32) {
        if let Some(traffic) = TRAFFIC.get_ptr_mut(slot) {
            add(traffic, bytes);
        }
    }

    #[inline(always)]
    fn remember(&mut self, key: &AskerKey, value: &AskerValue) {
        if let Some(known) = ASKERS.get_ptr_mut(key) {
            // SAFETY: the element stays an asker's even if it is recycled at this moment; then one time stamp is wrong.
            let known = unsafe { &mut *known };
            if known.mac == value.mac {
                known.seen_ns = value.seen_ns;
                return;
            }
        }
        // A full table makes room by itself. Where it cannot, one client learns of a takeover later.
        let _ = ASKERS.insert(key, value, 0);
    }

    #[inline(always)]
    fn claim(&mut self, claim: &Claim) {
        if CLAIMS.output_untyped::<Claim>(claim, 0).is_err() {
            self.count(Global::RingFull);
        }
    }

    #[inline(always)]
    fn moving(&self, key: &VipKey) -> Option<MoveValue> {
        // SAFETY: as in `vip`.
        unsafe { MOVES.get(key).copied() }
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<FlowValue> {
        // SAFETY: the element stays a connection's even if it is recycled at this moment; then one packet goes astray.
        unsafe { FLOWS.get(key).copied() }
    }

    #[inline(always)]
    fn keep_flow(&mut self, key: &FlowKey, value: &FlowValue) {
        // As for askers. A connection that is not remembered is treated as an old one.
        let _ = FLOWS.insert(key, value, 0);
    }

    #[inline(always)]
    fn passed(&mut self, passage: Passage) {
        if let Some(count) = PASSAGES.get_ptr_mut(passage as u32) {
            // SAFETY: as in `take_token`.
            unsafe { *count += 1 };
        }
    }

    #[inline(always)]
    fn spread(&self, row: u16) -> Option<SteerValue> {
        // A row is not written while an entry names it.
        (row != 0).then(|| SPREAD.get(u32::from(row)).copied())?
    }

    #[inline(always)]
    fn bucket(&self, table: u32, slot: u32) -> Option<Bucket> {
        if table >= TABLES_MAX {
            return None;
        }
        let chunk = MAGLEV.get(table * TABLE_CHUNKS + slot / CHUNK_SLOTS)?;
        // The remainder keeps the verifier, and the compiler's check of the index, content. A table is not written while it is used.
        Some(chunk.buckets[(slot % CHUNK_SLOTS) as usize])
    }

    #[inline(always)]
    fn target(&self, key: &TargetKey) -> Option<TargetValue> {
        // SAFETY: as in `vip`.
        unsafe { TARGETS.get(key).copied() }
    }

    #[inline(always)]
    fn stream(&self, memory: Memory, key: &StreamKey) -> Option<StreamValue> {
        // SAFETY: as in `flow`.
        unsafe {
            match memory {
                Memory::Streams => STREAMS.get(key).copied(),
                Memory::Datagrams => DATAGRAMS.get(key).copied(),
                Memory::Fragments => FRAGMENTS.get(key).copied(),
            }
        }
    }

    #[inline(always)]
    fn keep_stream(&mut self, memory: Memory, key: &StreamKey, value: &StreamValue) {
        // As for askers. A flow that is not remembered goes where the table says.
        let _ = match memory {
            Memory::Streams => STREAMS.insert(key, value, 0),
            Memory::Datagrams => DATAGRAMS.insert(key, value, 0),
            Memory::Fragments => FRAGMENTS.insert(key, value, 0),
        };
    }

    #[inline(always)]
    fn share(&mut self, key: &ShareKey, bytes: u32) -> bool {
        if let Some(share) = SHARES.get_ptr_mut(key) {
            add(share, bytes);
            return true;
        }
        // Another CPU may have made the row meanwhile: the values are per CPU, so nothing of its is lost.
        let zero: Traffic = bytemuck::Zeroable::zeroed();
        let _ = SHARES.insert(key, zero, u64::from(BPF_NOEXIST));
        let Some(share) = SHARES.get_ptr_mut(key) else {
            return false;
        };
        add(share, bytes);
        true
    }

    #[inline(always)]
    fn steered(&mut self, steered: Steered) {
        if let Some(count) = STEERED.get_ptr_mut(steered as u32) {
            // SAFETY: as in `take_token`.
            unsafe { *count += 1 };
        }
    }

    #[inline(always)]
    fn far(&self, key: &FarKey) -> Option<&FarValue> {
        // SAFETY: the element stays a node's even if it is recycled at this moment; then one packet goes astray.
        unsafe { FAR.get(key) }
    }

    #[inline(always)]
    fn end(&self, addr: &Addr) -> EndValue {
        // SAFETY: as in `vip`.
        unsafe { ENDS.get(addr).copied().unwrap_or_default() }
    }

    #[inline(always)]
    fn tunnelled(&mut self, tunnelled: Tunnelled) {
        if let Some(count) = TUNNELLED.get_ptr_mut(tunnelled as u32) {
            // SAFETY: as in `take_token`.
            unsafe { *count += 1 };
        }
    }

    #[inline(always)]
    fn options(&self, key: &VipKey) -> Option<OptionValue> {
        // SAFETY: as in `vip`.
        unsafe { OPTIONS.get(key).copied() }
    }

    #[inline(always)]
    fn service(&self, key: &ServiceKey) -> Option<ServiceValue> {
        // SAFETY: as in `vip`.
        unsafe { SERVICES.get(key).copied() }
    }

    #[inline(always)]
    fn is_source(&self, set: u32, client: Addr) -> bool {
        let key = SourceKey { set, addr: client };
        SOURCES.get(&Key::new(SET_BITS + 128, key)).is_some()
    }

    #[inline(always)]
    fn take_opted(&mut self, opted: Opted, now: u64) -> bool {
        let Some(stats) = OPTED.get_ptr_mut(opted as u32) else {
            return false;
        };
        // SAFETY: as in `take_token`.
        let stats = unsafe { &mut *stats };
        let (credit, at) = (&mut stats.bucket_ns, &mut stats.bucket_at_ns);
        fill(credit, at, now, OPTION_INTERVAL_NS, OPTION_BURST_NS)
    }

    #[inline(always)]
    fn opted(&mut self, opted: Opted) {
        if let Some(stats) = OPTED.get_ptr_mut(opted as u32) {
            // SAFETY: as in `take_token`.
            unsafe { (*stats).count += 1 };
        }
    }
}

/// Counts a frame in an element of this CPU's.
#[inline(always)]
fn add(traffic: *mut Traffic, bytes: u32) {
    // SAFETY: the element is of this CPU, and nothing else runs on it until the program ends.
    unsafe {
        (*traffic).packets += 1;
        (*traffic).bytes += u64::from(bytes);
    }
}

#[inline(always)]
fn stats(slot: u32) -> *mut SlotStats {
    if let Some(stats) = STATS.get_ptr_mut(slot) {
        return stats;
    }
    let zero: SlotStats = bytemuck::Zeroable::zeroed();
    let _ = STATS.insert(slot, zero, u64::from(BPF_NOEXIST));
    STATS.get_ptr_mut(slot).unwrap_or_default()
}

#[inline(always)]
fn read(word: *const u64) -> u64 {
    // SAFETY: an element of an array map exists as long as the map; aligned words are read as a whole.
    unsafe { word.read_volatile() }
}
