//! Raw access of the bench's programs: their maps, and packet bytes behind one bounds check.

use crate::wire::{Order, SAMPLES_MAX};
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray};
use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, bpf_ktime_get_ns, bpf_redirect};
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::{TcContext, XdpContext};

#[btf_map]
static HB_ORDER: Array<Order, 1> = Array::new();
#[btf_map]
static HB_COUNTS: PerCpuArray<u64, 3> = PerCpuArray::new();
#[btf_map]
static HB_STAMPS: Array<Stamp, 256> = Array::new();
#[btf_map]
static HB_SAMPLES: Array<u64, { SAMPLES_MAX as usize }> = Array::new();
#[btf_map]
static HB_TC_NEXT: ProgramArray<1> = ProgramArray::new();
#[btf_map]
static HB_XDP_NEXT: ProgramArray<1> = ProgramArray::new();
#[btf_map]
static HB_HASH: HashMap<[u8; 20], [u64; 3], 65536> = HashMap::new();
#[btf_map]
static HB_LRU: LruHashMap<[u8; 36], [u64; 2], 65536> = LruHashMap::new();

/// When a client asked last.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Stamp {
    /// Number of the request, from 1 on.
    sequence: u64,
    /// MONOTONIC nanoseconds.
    at_ns: u64,
}

/// First and last-plus-one byte of a packet.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    start: usize,
    end: usize,
}

impl From<&XdpContext> for Packet {
    #[inline(always)]
    fn from(ctx: &XdpContext) -> Self {
        Self {
            start: ctx.data(),
            end: ctx.data_end(),
        }
    }
}

impl From<&TcContext> for Packet {
    #[inline(always)]
    fn from(ctx: &TcContext) -> Self {
        Self {
            start: ctx.data(),
            end: ctx.data_end(),
        }
    }
}

impl Packet {
    /// The value at `offset`; `None` past the end.
    #[inline(always)]
    pub(crate) fn load<T: Copy>(self, offset: usize) -> Option<T> {
        if self.start + offset + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: the line above bounds the access; the verifier checks the same.
        Some(unsafe { core::ptr::read_unaligned((self.start + offset) as *const T) })
    }

    /// Overwrites the byte at `offset`; nothing happens past the end.
    #[inline(always)]
    pub(crate) fn store(self, offset: usize, byte: u8) {
        if self.start + offset < self.end {
            // SAFETY: the line above bounds the access; the verifier checks the same.
            unsafe { *((self.start + offset) as *mut u8) = byte };
        }
    }

    /// Overwrites the first `N` half words; whether the packet was long enough.
    #[inline(always)]
    pub(crate) fn write<const N: usize>(self, frame: &Order) -> bool {
        if self.start + 2 * N > self.end {
            return false;
        }
        let to = self.start as *mut u16;
        for (at, half) in frame.iter().take(N).enumerate() {
            // SAFETY: `at < N`, and N half words fit as checked above; packets start at even addresses.
            unsafe { core::ptr::write_volatile(to.add(at), *half) };
        }
        true
    }
}

/// What to send.
#[inline(always)]
pub(crate) fn order() -> Option<&'static Order> {
    HB_ORDER.get(0)
}

/// Adds one to this CPU's counter; its new value.
#[inline(always)]
pub(crate) fn count(index: u32) -> u64 {
    let Some(counter) = HB_COUNTS.get_ptr_mut(index) else {
        return 0;
    };
    // SAFETY: a per-CPU value is this program's alone while it runs.
    unsafe {
        *counter += 1;
        *counter
    }
}

/// Notes that `client` asked now.
#[inline(always)]
pub(crate) fn stamp(client: u32, sequence: u64) {
    let Some(stamp) = HB_STAMPS.get_ptr_mut(client) else {
        return;
    };
    // SAFETY: one generator writes the stamps; a torn one is a wrong sample, not a wrong access.
    unsafe {
        *stamp = Stamp {
            sequence,
            at_ns: bpf_ktime_get_ns(),
        }
    };
}

/// Notes that `client` was answered now.
#[inline(always)]
pub(crate) fn sample(client: u32) {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let Some(stamp) = HB_STAMPS.get(client) else {
        return;
    };
    let at = stamp.sequence as u32 & (SAMPLES_MAX - 1);
    if let Some(sample) = HB_SAMPLES.get_ptr_mut(at) {
        // SAFETY: a single word of an array element, which lives as long as the map.
        unsafe { *sample = now - stamp.at_ns };
    }
}

/// On to the program under test; comes back only if there is none.
#[inline(always)]
pub(crate) fn go_on_tc(ctx: &TcContext) {
    // SAFETY: a tail call leaves nothing behind that would have to be dropped.
    unsafe { HB_TC_NEXT.tail_call(ctx, 0) };
}

/// On to the program under test; comes back only if there is none.
#[inline(always)]
pub(crate) fn go_on_xdp(ctx: &XdpContext) {
    // SAFETY: a tail call leaves nothing behind that would have to be dropped.
    unsafe { HB_XDP_NEXT.tail_call(ctx, 0) };
}

/// Out of the link that it came in on.
#[inline(always)]
pub(crate) fn send_back(ctx: &TcContext) -> i32 {
    // SAFETY: the context is the kernel's own, and the helper takes numbers.
    unsafe { bpf_redirect((*ctx.skb.skb).ifindex, 0) as i32 }
}

/// BOOTTIME nanoseconds.
#[inline(always)]
pub(crate) fn boot_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// One lookup in a hash with a key and value like those of a VIP.
#[inline(always)]
pub(crate) fn look_up() -> u64 {
    HB_HASH.get_ptr([7; 20]).map_or(0, |value| {
        // SAFETY: elements are never removed while the programs run.
        unsafe { (*value)[0] }
    })
}

/// One update of an LRU hash with a key and value like those of an asker.
#[inline(always)]
pub(crate) fn remember(value: u64) -> bool {
    HB_LRU.insert([7; 36], [value; 2], 0).is_ok()
}
