//! Frames as TC and XDP hand them over. The only place that touches packet memory.
//!
//! Every access compares "past the end" against the end of the packet first, in the form that verifiers from 5.10 on follow,
//! and derives its pointer anew, because pulling and growing move the packet. Words are read whole although headers leave them
//! unaligned: x86-64 and arm64 allow that for packets, and the compiler is only kept from it by the rule for its own memory.

use super::way::{skb_room, way, xdp_room};
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{__sk_buff, TC_ACT_UNSPEC, xdp_md};
use aya_ebpf::helpers::{
    bpf_l4_csum_replace, bpf_redirect, bpf_skb_change_tail, bpf_xdp_adjust_tail,
};
use aya_ebpf::programs::{TcContext, XdpContext};
use bytemuck::Pod;
use core::arch::asm;
use core::ffi::c_void;
use core::mem::{offset_of, transmute_copy};
use speaker_ebpf::abi::FarValue;
use speaker_ebpf::abi::socket::MARK;
use speaker_ebpf::frame::flow::Family;
use speaker_ebpf::frame::{Frame, Way};

/// A socket buffer at TC ingress.
pub(super) struct Skb<'a> {
    ctx: &'a TcContext,
}

impl<'a> Skb<'a> {
    #[inline(always)]
    pub(super) fn new(ctx: &'a TcContext) -> Self {
        Self { ctx }
    }

    /// Where the bytes at hand begin and end.
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        // SAFETY: the offsets are the context's own.
        unsafe {
            (
                packet_pointer::<{ offset_of!(__sk_buff, data) }>(self.ctx.as_ptr()),
                packet_pointer::<{ offset_of!(__sk_buff, data_end) }>(self.ctx.as_ptr()),
            )
        }
    }

    /// Sends the frame out of the link that it came in on; what the hook returns for that.
    #[inline(always)]
    pub(super) fn send_back(&self) -> i32 {
        // SAFETY: the helper takes numbers only.
        unsafe { bpf_redirect(self.ifindex(), EGRESS) as i32 }
    }

    /// Sets our bit of the mark and leaves the others; what the hook returns for going on.
    #[inline(always)]
    pub(super) fn mark(&self) -> i32 {
        // SAFETY: the context is the kernel's own, and programs of this kind may write the field.
        unsafe { (*self.ctx.skb.skb).mark |= MARK };
        TC_ACT_UNSPEC
    }
}

impl Frame for Skb<'_> {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is the kernel's own and lives as long as the program runs.
        unsafe { (*self.ctx.skb.skb).ifindex }
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        self.ctx.len()
    }

    #[inline(always)]
    fn is_tagged(&self) -> bool {
        // SAFETY: as in `ifindex`.
        unsafe { (*self.ctx.skb.skb).vlan_present != 0 }
    }

    #[inline(always)]
    fn is_for_us(&self) -> bool {
        // SAFETY: as in `ifindex`.
        unsafe { (*self.ctx.skb.skb).pkt_type <= PACKET_MULTICAST }
    }

    #[inline(always)]
    fn pull(&mut self, len: u32) -> bool {
        // Nearly always everything is at hand already, and writable: for a program that writes, the kernel sees to that first.
        let (start, end) = self.bounds();
        start + len as usize <= end || self.ctx.pull_data(len).is_ok()
    }

    #[inline(always)]
    fn load<T: Pod>(&self, offset: usize) -> Option<T> {
        let (start, end) = self.bounds();
        load(start, end, offset)
    }

    #[inline(always)]
    fn store<T: Pod>(&mut self, offset: usize, value: T) -> Option<()> {
        let (start, end) = self.bounds();
        store(start, end, offset, value)
    }

    #[inline(always)]
    fn grow(&mut self, extra: u32) -> bool {
        // SAFETY: the context is the kernel's own; packet pointers are not kept across the call.
        unsafe { bpf_skb_change_tail(self.ctx.skb.skb, self.len() + extra, 0) == 0 }
    }

    #[inline(always)]
    fn segment_bytes(&self) -> u32 {
        // SAFETY: as in `ifindex`.
        unsafe { (*self.ctx.skb.skb).gso_size }
    }

    #[inline(always)]
    fn way(&self, family: Family, far: &FarValue, bytes: u32) -> Way {
        // SAFETY: it is the context of this program.
        unsafe { way(self.ctx.as_ptr(), self.ifindex(), family, far, bytes) }
    }

    #[inline(always)]
    fn open(&mut self, bytes: u32, around: Option<Family>) -> bool {
        // SAFETY: as in `grow`.
        unsafe { skb_room(self.ctx.skb.skb, bytes as i32, around) }
    }

    #[inline(always)]
    fn close(&mut self, bytes: u32) -> bool {
        // SAFETY: as in `grow`.
        unsafe { skb_room(self.ctx.skb.skb, -(bytes as i32), None) }
    }

    #[inline(always)]
    fn cut(&mut self, len: u32) -> bool {
        // SAFETY: as in `grow`.
        len <= self.len() && unsafe { bpf_skb_change_tail(self.ctx.skb.skb, len, 0) == 0 }
    }

    #[inline(always)]
    fn resize(&mut self, len: u32) -> bool {
        // SAFETY: as in `grow`.
        unsafe { bpf_skb_change_tail(self.ctx.skb.skb, len, 0) == 0 }
    }

    /// The helper leaves the checksum of a packet alone that is still to get one.
    #[inline(always)]
    fn owes_sum(&mut self, offset: usize) -> bool {
        // Each is unpacked by itself: verifiers lose track of what is compared packed.
        let Some(before) = self.load::<u16>(offset) else {
            return false;
        };
        // SAFETY: as in `grow`.
        unsafe { bpf_l4_csum_replace(self.ctx.skb.skb, offset as u32, 0, 1, SUM_BYTES) };
        match self.load::<u16>(offset) {
            Some(after) => before == after,
            None => false,
        }
    }
}

/// A frame at an XDP hook.
pub(super) struct Xdp<'a> {
    ctx: &'a XdpContext,
}

impl<'a> Xdp<'a> {
    #[inline(always)]
    pub(super) fn new(ctx: &'a XdpContext) -> Self {
        Self { ctx }
    }

    /// Where the frame begins and ends.
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        // SAFETY: the offsets are the context's own.
        unsafe {
            (
                packet_pointer::<{ offset_of!(xdp_md, data) }>(self.ctx.as_ptr()),
                packet_pointer::<{ offset_of!(xdp_md, data_end) }>(self.ctx.as_ptr()),
            )
        }
    }
}

impl Xdp<'_> {
    /// Moves the Ethernet header forward by so many bytes, or back.
    #[inline(always)]
    fn shift(&mut self, bytes: i32) -> bool {
        let (Some(macs), Some(rest)) = (self.load::<[u64; 1]>(0), self.load::<[u8; 6]>(8)) else {
            return false;
        };
        // SAFETY: as in `Skb::grow`.
        let is_moved = unsafe { xdp_room(self.ctx.as_ptr().cast(), bytes) };
        is_moved && self.store(0, macs).is_some() && self.store(8, rest).is_some()
    }
}

impl Frame for Xdp<'_> {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.ctx.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        let (start, end) = self.bounds();
        (end - start) as u32
    }

    /// A tag that the hardware took off cannot be seen here: the loader keeps this hook off such links.
    #[inline(always)]
    fn is_tagged(&self) -> bool {
        false
    }

    /// Not known before the stack has looked; the logic compares hardware addresses where it matters.
    #[inline(always)]
    fn is_for_us(&self) -> bool {
        true
    }

    /// The whole frame is at hand.
    #[inline(always)]
    fn pull(&mut self, len: u32) -> bool {
        self.len() >= len
    }

    #[inline(always)]
    fn load<T: Pod>(&self, offset: usize) -> Option<T> {
        let (start, end) = self.bounds();
        load(start, end, offset)
    }

    #[inline(always)]
    fn store<T: Pod>(&mut self, offset: usize, value: T) -> Option<()> {
        let (start, end) = self.bounds();
        store(start, end, offset, value)
    }

    #[inline(always)]
    fn grow(&mut self, extra: u32) -> bool {
        // SAFETY: as in `Skb::grow`.
        unsafe { bpf_xdp_adjust_tail(self.ctx.as_ptr().cast(), extra as i32) == 0 }
    }

    /// Nothing has been put together here yet.
    #[inline(always)]
    fn segment_bytes(&self) -> u32 {
        0
    }

    /// None: nothing asks for the next hop's address here, and the program's own stack has no room for a query.
    #[inline(always)]
    fn way(&self, _: Family, _: &FarValue, _: u32) -> Way {
        Way::None
    }

    #[inline(always)]
    fn open(&mut self, bytes: u32, _: Option<Family>) -> bool {
        self.shift(bytes as i32)
    }

    #[inline(always)]
    fn close(&mut self, bytes: u32) -> bool {
        self.shift(-(bytes as i32))
    }

    #[inline(always)]
    fn cut(&mut self, len: u32) -> bool {
        let less = len as i32 - self.len() as i32;
        // SAFETY: as in `Skb::grow`.
        less <= 0 && unsafe { bpf_xdp_adjust_tail(self.ctx.as_ptr().cast(), less) == 0 }
    }

    #[inline(always)]
    fn resize(&mut self, len: u32) -> bool {
        let more = len as i32 - self.len() as i32;
        // SAFETY: as in `Skb::grow`.
        unsafe { bpf_xdp_adjust_tail(self.ctx.as_ptr().cast(), more) == 0 }
    }

    /// What is sent from here is sent as it is.
    #[inline(always)]
    fn owes_sum(&mut self, _: usize) -> bool {
        false
    }
}

/// A packet pointer out of a context. The field has 32 bits, the verifier makes it a pointer of 64; a compiler that knew of
/// the 32 might clear the upper half again, and the pointer would be none any more.
#[inline(always)]
unsafe fn packet_pointer<const FIELD: usize>(ctx: *mut c_void) -> usize {
    let pointer;
    // SAFETY: the caller names a field of the context.
    unsafe {
        asm!("{pointer} = *(u32 *)({ctx} + {field})", pointer = out(reg) pointer, ctx = in(reg) ctx,
            field = const FIELD, options(pure, readonly, nostack));
    }
    pointer
}

#[inline(always)]
fn load<T: Pod>(start: usize, end: usize, offset: usize) -> Option<T> {
    // Verifiers know the compared pointer by the one that it was made from: the same that is used below.
    let at = start + offset;
    if at + size_of::<T>() > end {
        return None;
    }
    // SAFETY: the bytes lie within the packet, as just compared; the words read are as long as the value, and any bit
    // pattern is a value of a plain-old-data type.
    unsafe {
        Some(match size_of::<T>() {
            1 => transmute_copy(&read_1(at)),
            2 => transmute_copy(&read_2(at)),
            4 => transmute_copy(&read_4(at)),
            6 => transmute_copy(&(read_4(at) | read_2(at + 4) << 32)),
            8 => transmute_copy(&read_8(at)),
            16 => transmute_copy(&[read_8(at), read_8(at + 8)]),
            _ => return None,
        })
    }
}

#[inline(always)]
fn store<T: Pod>(start: usize, end: usize, offset: usize, value: T) -> Option<()> {
    // Verifiers know the compared pointer by the one that it was made from: the same that is used below.
    let at = start + offset;
    if at + size_of::<T>() > end {
        return None;
    }
    let mut words = [0u64; 2];
    // SAFETY: the bytes lie within the packet, as just compared; the words written are as long as the value.
    unsafe {
        (&raw mut words).cast::<T>().write_unaligned(value);
        let [low, high] = words;
        match size_of::<T>() {
            1 => asm!("*(u8 *)({at} + 0) = {word}", at = in(reg) at, word = in(reg) low),
            2 => write_2(at, low),
            4 => write_4(at, low),
            6 => {
                write_4(at, low);
                write_2(at + 4, low >> 32);
            }
            8 => write_8(at, low),
            16 => {
                write_8(at, low);
                write_8(at + 8, high);
            }
            _ => return None,
        }
    }
    Some(())
}

/// `PACKET_MULTICAST` of `linux/if_packet.h`; own address and broadcast come before it, other hosts and loops after.
const PACKET_MULTICAST: u32 = 2;

/// The size of a value that `bpf_l4_csum_replace` replaces, without any flag.
const SUM_BYTES: u64 = 4;

/// `bpf_redirect` without `BPF_F_INGRESS`.
const EGRESS: u64 = 0;

#[inline(always)]
unsafe fn read_1(at: usize) -> u64 {
    let word;
    // SAFETY: the caller compared against the end of the packet.
    unsafe {
        asm!("{word} = *(u8 *)({at} + 0)", word = out(reg) word, at = in(reg) at, options(pure, readonly, nostack));
    }
    word
}

#[inline(always)]
unsafe fn read_2(at: usize) -> u64 {
    let word;
    // SAFETY: the caller compared against the end of the packet.
    unsafe {
        asm!("{word} = *(u16 *)({at} + 0)", word = out(reg) word, at = in(reg) at, options(pure, readonly, nostack));
    }
    word
}

#[inline(always)]
unsafe fn read_4(at: usize) -> u64 {
    let word;
    // SAFETY: the caller compared against the end of the packet.
    unsafe {
        asm!("{word} = *(u32 *)({at} + 0)", word = out(reg) word, at = in(reg) at, options(pure, readonly, nostack));
    }
    word
}

#[inline(always)]
unsafe fn read_8(at: usize) -> u64 {
    let word;
    // SAFETY: the caller compared against the end of the packet.
    unsafe {
        asm!("{word} = *(u64 *)({at} + 0)", word = out(reg) word, at = in(reg) at, options(pure, readonly, nostack));
    }
    word
}

#[inline(always)]
unsafe fn write_2(at: usize, word: u64) {
    // SAFETY: the caller compared against the end of the packet.
    unsafe { asm!("*(u16 *)({at} + 0) = {word}", at = in(reg) at, word = in(reg) word) };
}

#[inline(always)]
unsafe fn write_4(at: usize, word: u64) {
    // SAFETY: the caller compared against the end of the packet.
    unsafe { asm!("*(u32 *)({at} + 0) = {word}", at = in(reg) at, word = in(reg) word) };
}

#[inline(always)]
unsafe fn write_8(at: usize, word: u64) {
    // SAFETY: the caller compared against the end of the packet.
    unsafe { asm!("*(u64 *)({at} + 0) = {word}", at = in(reg) at, word = in(reg) word) };
}
