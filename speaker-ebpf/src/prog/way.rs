//! Routes out of this node as the kernel has them, at TC, and the room for headers around a packet at both hooks.

use aya_ebpf::bindings::{__sk_buff, bpf_fib_lookup as FibLookup, xdp_md};
use aya_ebpf::helpers::{
    bpf_fib_lookup, bpf_redirect_neigh, bpf_skb_adjust_room, bpf_xdp_adjust_head,
};
use core::ffi::c_void;
use speaker_ebpf::abi::{Addr, FarValue};
use speaker_ebpf::frame::Way;
use speaker_ebpf::frame::flow::Family;

/// `struct bpf_fib_lookup`, without its unions: what goes in, and what comes out in its place.
#[repr(C)]
#[derive(Clone, Copy)]
struct Query {
    family: u8,
    protocol: u8,
    ports: [u16; 2],
    /// Bytes of the packet; if that is too much, of the biggest one, which kernels before 5.12 do not say.
    bytes: u16,
    ifindex: u32,
    class: u32,
    from: Addr,
    to: Addr,
    tag: u32,
    /// Hardware addresses, which nobody here needs.
    macs: [u32; 3],
}

const _: () = assert!(size_of::<Query>() == size_of::<FibLookup>());

/// Where a packet goes that came in on a link and is passed on, if the kernel makes the Ethernet header and asks for the next hop's address.
///
/// # Safety
/// `ctx` is the context of the program that runs.
#[inline(always)]
pub(super) unsafe fn way(
    ctx: *mut c_void,
    ifindex: u32,
    family: Family,
    far: &FarValue,
    bytes: u32,
) -> Way {
    let (number, from, to) = match family {
        Family::V4 => (AF_INET, first_word(far.from), first_word(far.to)),
        Family::V6 => (AF_INET6, far.from, far.to),
    };
    let mut query = Query {
        family: number,
        protocol: 0,
        ports: [0; 2],
        bytes: if bytes > 0xffff { 0xffff } else { bytes as u16 },
        ifindex,
        class: 0,
        from,
        to,
        tag: 0,
        macs: [0; 3],
    };
    let at = (&raw mut query).cast::<FibLookup>();
    // SAFETY: the caller gives the context; the rest is of the size and the form that the kernel wants.
    match unsafe { bpf_fib_lookup(ctx, at, size_of::<Query>() as i32, 0) } {
        SUCCESS | NO_NEIGHBOUR => Way::Out(query.ifindex),
        TOO_BIG => {
            let most = u32::from(query.bytes);
            Way::TooBig(if most < bytes { most } else { SURE_BYTES })
        }
        _ => Way::None,
    }
}

/// An IPv4 address where the kernel looks for it: in the first of four words.
#[inline(always)]
fn first_word(addr: Addr) -> Addr {
    Addr::v6_words([u64::from(addr.v4_part()), 0])
}

/// Sends a packet of ours out of a link, to the next hop of its destination; what TC returns for that.
#[inline(always)]
pub(super) fn send_out(ifindex: u32) -> i32 {
    // SAFETY: without parameters the kernel looks for the next hop itself.
    unsafe { bpf_redirect_neigh(ifindex, core::ptr::null_mut(), 0, 0) as i32 }
}

/// Room behind the Ethernet header, or less of it if `bytes` is negative.
///
/// # Safety
/// `skb` is the context of the program that runs; packet pointers are not kept.
#[inline(always)]
pub(super) unsafe fn skb_room(skb: *mut __sk_buff, bytes: i32, around: Option<Family>) -> bool {
    let around = match around {
        Some(Family::V4) => ENCAP_V4,
        Some(Family::V6) => ENCAP_V6,
        None => 0,
    };
    // What GRO put together is taken apart again into what it was: whether that is too big was looked at before.
    // SAFETY: as above.
    unsafe { bpf_skb_adjust_room(skb, bytes, BEHIND_MAC, FIXED_SEGMENTS | around) == 0 }
}

/// Room before the frame, or less of it if `bytes` is negative.
///
/// # Safety
/// `xdp` is the context of the program that runs; packet pointers are not kept.
#[inline(always)]
pub(super) unsafe fn xdp_room(xdp: *mut xdp_md, bytes: i32) -> bool {
    // SAFETY: as above.
    unsafe { bpf_xdp_adjust_head(xdp, -bytes) == 0 }
}

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `BPF_FIB_LKUP_RET_SUCCESS`.
const SUCCESS: i64 = 0;
/// `BPF_FIB_LKUP_RET_NO_NEIGH`.
const NO_NEIGHBOUR: i64 = 7;
/// `BPF_FIB_LKUP_RET_FRAG_NEEDED`.
const TOO_BIG: i64 = 8;
/// Where a kernel does not say how much would be right, this always is: IPv6's least (RFC 8200 §5) and a header around it.
const SURE_BYTES: u32 = 1280 + 40;
/// `BPF_ADJ_ROOM_MAC`.
const BEHIND_MAC: u32 = 1;
/// `BPF_F_ADJ_ROOM_FIXED_GSO`.
const FIXED_SEGMENTS: u64 = 1;
/// `BPF_F_ADJ_ROOM_ENCAP_L3_IPV4`.
const ENCAP_V4: u64 = 2;
/// `BPF_F_ADJ_ROOM_ENCAP_L3_IPV6`.
const ENCAP_V6: u64 = 4;
