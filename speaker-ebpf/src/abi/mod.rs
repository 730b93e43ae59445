//! The layout of every map: names, versions, keys and values.
//!
//! All types are plain old data in the byte order given by their accessors: addresses and MACs in network
//! order, everything else in the machine's own. A map's layout version is part of the path it is
//! pinned at; a change of key, value or meaning raises it.

pub mod count;
pub mod encap;
pub mod hash;
pub mod l2;
pub mod moves;
pub mod options;
pub mod socket;
pub mod steer;

pub use count::{Global, Outcome, Passage, SlotStats, Traffic};
pub use encap::{EndValue, FarKey, FarValue, Tunnelled};
pub use l2::{
    Addr, AskerKey, AskerValue, Claim, ClaimKind, Entry, LinkValue, MacAddr, MacKey, MemberValue,
    Mode, NodeValue, VipKey,
};
pub use moves::{FlowKey, FlowKind, FlowValue, MoveValue};
pub use options::{Opted, OptedStats, OptionValue, ServiceKey, ServiceValue, SourceKey};
pub use socket::{Listening, SocketKey};
pub use steer::{
    Bucket, Chunk, ShareKey, SteerValue, Steered, StreamKey, StreamValue, TargetKey, TargetValue,
};

/// One map of the object: how it is called in the kernel and which layout it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// Kernel name, at most 15 bytes, so that `bpftool map show` prints it whole.
    pub name: &'static str,
    /// Layout version; part of the pin's file name (`<name>_v<layout>`).
    pub layout: u32,
    /// Entries at most.
    pub entries_max: u32,
}

/// A slot is a (VIP, link) pair; fences and counters are kept per slot.
pub const SLOTS_MAX: u32 = 65_536;

/// Words of 64 bits in the address filter (`FILTER`).
pub const FILTER_WORDS: u32 = 1024;

/// Members' hardware addresses: 1,000 nodes with bonds and VLANs.
pub const MEMBERS_MAX: u32 = 8_192;

/// Announcing links of one node.
pub const LINKS_MAX: u32 = 1_024;

/// Clients remembered for the unicast round after a takeover; least recently used go first.
pub const ASKERS_MAX: u32 = 65_536;

/// Connections remembered while their VIP moves; least recently used go first. Two thousand new ones a second throughout the
/// 30 s that a move takes.
pub const FLOWS_MAX: u32 = 65_536;

/// Bytes of the claims ring; a full ring loses a hint, never a fence.
pub const CLAIMS_BYTES: u32 = 65_536;

/// (address, ifindex) to entry; hash of [`VipKey`] to [`Entry`].
pub const VIPS: MapSpec = MapSpec {
    name: "hg_vips",
    layout: 1,
    entries_max: SLOTS_MAX,
};
/// Bitmap of announced addresses, asked before any lookup; array of `u64` words.
pub const FILTER: MapSpec = MapSpec {
    name: "hg_filter",
    layout: 1,
    entries_max: FILTER_WORDS,
};
/// The node-wide deadline; array with the one element [`NodeValue`], memory-mapped by the agent.
pub const NODE: MapSpec = MapSpec {
    name: "hg_node",
    layout: 1,
    entries_max: 1,
};
/// Fence generation per slot, incremented by the program only; array of `u64`.
pub const FENCE: MapSpec = MapSpec {
    name: "hg_fence",
    layout: 1,
    entries_max: SLOTS_MAX,
};
/// Cleared generation per slot, written by the agent only; array of `u64`. Fenced iff it differs from `FENCE`.
pub const CLEARED: MapSpec = MapSpec {
    name: "hg_cleared",
    layout: 1,
    entries_max: SLOTS_MAX,
};
/// ifindex (`u32`) to [`LinkValue`]; hash.
pub const LINKS: MapSpec = MapSpec {
    name: "hg_links",
    layout: 1,
    entries_max: LINKS_MAX,
};
/// [`MacKey`] to [`MemberValue`]; hash.
pub const MEMBERS: MapSpec = MapSpec {
    name: "hg_members",
    layout: 1,
    entries_max: MEMBERS_MAX,
};
/// [`AskerKey`] to [`AskerValue`]; LRU hash, written by the program only.
pub const ASKERS: MapSpec = MapSpec {
    name: "hg_askers",
    layout: 1,
    entries_max: ASKERS_MAX,
};
/// Slot (`u32`) to [`SlotStats`]; per-CPU hash without preallocation, so that memory follows the slots in use.
pub const STATS: MapSpec = MapSpec {
    name: "hg_stats",
    layout: 1,
    entries_max: SLOTS_MAX,
};
/// Slot to [`Traffic`]; per-CPU array.
pub const TRAFFIC: MapSpec = MapSpec {
    name: "hg_traffic",
    layout: 1,
    entries_max: SLOTS_MAX,
};
/// [`Global`] (as `u32`) to a `u64` count; per-CPU array.
pub const GLOBALS: MapSpec = MapSpec {
    name: "hg_globals",
    layout: 1,
    entries_max: Global::ALL.len() as u32,
};
/// [`Claim`]s of our VIPs by others; ring buffer. A hint: fences and counters are the truth.
pub const CLAIMS: MapSpec = MapSpec {
    name: "hg_claims",
    layout: 1,
    entries_max: CLAIMS_BYTES,
};
/// [`VipKey`] to [`MoveValue`]; hash without preallocation, for it is empty but for half a minute after a move.
pub const MOVES: MapSpec = MapSpec {
    name: "hg_moves",
    layout: 1,
    entries_max: SLOTS_MAX,
};
/// [`FlowKey`] to [`FlowValue`]; LRU hash, written by the program only.
pub const FLOWS: MapSpec = MapSpec {
    name: "hg_flows",
    layout: 1,
    entries_max: FLOWS_MAX,
};
/// [`Passage`] (as `u32`) to a `u64` count; per-CPU array.
pub const PASSAGES: MapSpec = MapSpec {
    name: "hg_passages",
    layout: 1,
    entries_max: Passage::ALL.len() as u32,
};

/// Row (an [`Entry`] names it) to [`SteerValue`]; array, of which element 0 is nobody's.
pub const SPREAD: MapSpec = MapSpec {
    name: "hg_spread",
    layout: 1,
    entries_max: steer::ROWS_MAX + 1,
};
/// Maglev tables; array of [`Chunk`].
pub const MAGLEV: MapSpec = MapSpec {
    name: "hg_maglev",
    layout: 1,
    entries_max: steer::TABLES_MAX * steer::TABLE_CHUNKS,
};
/// [`TargetKey`] to [`TargetValue`]; hash.
pub const TARGETS: MapSpec = MapSpec {
    name: "hg_targets",
    layout: 1,
    entries_max: steer::TARGET_ROWS_MAX,
};
/// [`StreamKey`] to [`StreamValue`], TCP connections; LRU hash, written by the program only.
pub const STREAMS: MapSpec = MapSpec {
    name: "hg_streams",
    layout: 1,
    entries_max: steer::STREAMS_MAX,
};
/// [`StreamKey`] to [`StreamValue`], flows of datagrams; LRU hash, written by the program only.
pub const DATAGRAMS: MapSpec = MapSpec {
    name: "hg_datagrams",
    layout: 1,
    entries_max: steer::DATAGRAMS_MAX,
};
/// [`StreamKey`] to [`StreamValue`], packets in fragments; LRU hash, written by the program only.
pub const FRAGMENTS: MapSpec = MapSpec {
    name: "hg_fragments",
    layout: 1,
    entries_max: steer::FRAGMENTS_MAX,
};
/// [`ShareKey`] to [`Traffic`]; per-CPU hash without preallocation, whose rows the program makes.
pub const SHARES: MapSpec = MapSpec {
    name: "hg_shares",
    layout: 1,
    entries_max: steer::SHARES_MAX,
};
/// [`Steered`] (as `u32`) to a `u64` count; per-CPU array.
pub const STEERED: MapSpec = MapSpec {
    name: "hg_steered",
    layout: 1,
    entries_max: Steered::ALL.len() as u32,
};

/// [`FarKey`] to [`FarValue`]; hash.
pub const FAR: MapSpec = MapSpec {
    name: "hg_far",
    layout: 1,
    entries_max: encap::FAR_MAX,
};
/// [`Addr`] to [`EndValue`]; hash without preallocation, for most clusters send nothing to other segments.
pub const ENDS: MapSpec = MapSpec {
    name: "hg_ends",
    layout: 1,
    entries_max: encap::ENDS_MAX,
};
/// [`Tunnelled`] (as `u32`) to a `u64` count; per-CPU array.
pub const TUNNELLED: MapSpec = MapSpec {
    name: "hg_tunnelled",
    layout: 1,
    entries_max: Tunnelled::ALL.len() as u32,
};
/// [`SocketKey`] to a socket of a service proxy; hash of sockets. The kernel removes those that are closed.
pub const SOCKETS: MapSpec = MapSpec {
    name: "hg_sockets",
    layout: 1,
    entries_max: socket::SOCKETS_MAX,
};
/// [`Listening`] (as `u32`) to a `u64` count; per-CPU array.
pub const LISTENING: MapSpec = MapSpec {
    name: "hg_listening",
    layout: 1,
    entries_max: Listening::ALL.len() as u32,
};

/// [`VipKey`] to [`OptionValue`]; hash without preallocation, for most VIPs have none.
pub const OPTIONS: MapSpec = MapSpec {
    name: "hg_options",
    layout: 1,
    entries_max: options::OPTED_MAX,
};
/// [`ServiceKey`] to [`ServiceValue`]: the ports that services of VIPs with options have; hash without preallocation.
pub const SERVICES: MapSpec = MapSpec {
    name: "hg_services",
    layout: 1,
    entries_max: options::SERVICES_MAX,
};
/// Length of a prefix in bits and [`SourceKey`] to a `u32` of no meaning: the sources that sets have; longest-prefix-match trie.
pub const SOURCES: MapSpec = MapSpec {
    name: "hg_sources",
    layout: 1,
    entries_max: options::SOURCES_MAX,
};
/// [`Opted`] (as `u32`) to [`OptedStats`]; per-CPU array.
pub const OPTED: MapSpec = MapSpec {
    name: "hg_opted",
    layout: 1,
    entries_max: Opted::ALL.len() as u32,
};

/// Every map of the object.
pub const MAPS: [MapSpec; 32] = [
    VIPS, FILTER, NODE, FENCE, CLEARED, LINKS, MEMBERS, ASKERS, STATS, TRAFFIC, GLOBALS, CLAIMS,
    MOVES, FLOWS, PASSAGES, SPREAD, MAGLEV, TARGETS, STREAMS, DATAGRAMS, FRAGMENTS, SHARES,
    STEERED, OPTIONS, SERVICES, SOURCES, OPTED, SOCKETS, LISTENING, FAR, ENDS, TUNNELLED,
];

/// Nanoseconds of credit that one answer costs: 1,000 answers a second per slot and CPU.
pub const ANSWER_INTERVAL_NS: u64 = 1_000_000;

/// Nanoseconds of credit that a slot saves up at most: a burst of 2,000 answers.
pub const ANSWER_BURST_NS: u64 = 2_000 * ANSWER_INTERVAL_NS;

/// After this long past the node-wide deadline every verdict is `Next`: a program that outlived its agent
/// blacks nothing out. Nanoseconds.
pub const ORPHAN_AFTER_NS: u64 = 600 * 1_000_000_000;
