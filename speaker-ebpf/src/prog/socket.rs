//! The program that gives connections and datagrams for VIPs to registered sockets (`sk_lookup`, kernel 5.9).
//!
//! It is run in the network namespace that it is attached to, for whatever no connection is known of yet, and says "as ever" for all
//! that is for no registered port.

use super::maps::FILTER;
use aya_ebpf::bindings::{bpf_sk_lookup, sk_action::SK_PASS};
use aya_ebpf::btf_maps::{PerCpuArray, SockHash};
use aya_ebpf::macros::{btf_map, sk_lookup};
use aya_ebpf::programs::SkLookupContext;
use speaker_ebpf::abi::{self, Addr, Listening, SocketKey};
use speaker_ebpf::logic::socket_key;

#[btf_map(name = "hg_sockets")]
static SOCKETS: SockHash<SocketKey, { abi::SOCKETS.entries_max as usize }> = SockHash::new();

#[btf_map(name = "hg_listening")]
static LISTENING: PerCpuArray<u64, { abi::LISTENING.entries_max as usize }> = PerCpuArray::new();

/// Another program of the namespace may still choose a socket of its own after this one.
#[sk_lookup]
#[inline(always)]
fn heliograph_sk(ctx: SkLookupContext) -> u32 {
    if let Some(key) = asked_for(ctx.lookup) {
        give(ctx, &key);
    }
    SK_PASS
}

#[inline(always)]
fn give(ctx: SkLookupContext, key: &SocketKey) {
    if !may_know(&key.addr()) {
        return;
    }
    let listening = match SOCKETS.redirect_sk_lookup(ctx, key, REUSEPORT) {
        Ok(()) => Listening::Given,
        Err(NONE) => Listening::Nobody,
        Err(_) => Listening::Refused,
    };
    if let Some(count) = LISTENING.get_ptr_mut(listening as u32) {
        // SAFETY: this CPU's copy, and nothing else runs on this CPU until the program ends.
        unsafe { *count += 1 };
    }
}

/// Whether an address may be in the table; `false` is certain.
#[inline(always)]
pub(super) fn may_know(addr: &Addr) -> bool {
    let (word, mask) = addr.filter_bit();
    FILTER.get(word).is_some_and(|bits| bits & mask != 0)
}

#[inline(always)]
fn asked_for(lookup: *const bpf_sk_lookup) -> Option<SocketKey> {
    // SAFETY: the context is the kernel's own. Each field is read by itself and whole, as the verifier demands.
    unsafe {
        let family = (&raw const (*lookup).family).read_volatile();
        let protocol = (&raw const (*lookup).protocol).read_volatile();
        let v4 = (&raw const (*lookup).local_ip4).read_volatile();
        let v6 = [
            (&raw const (*lookup).local_ip6[0]).read_volatile(),
            (&raw const (*lookup).local_ip6[1]).read_volatile(),
            (&raw const (*lookup).local_ip6[2]).read_volatile(),
            (&raw const (*lookup).local_ip6[3]).read_volatile(),
        ];
        let port = (&raw const (*lookup).local_port).read_volatile();
        socket_key(family, v4, v6, port, protocol)
    }
}

/// `-ENOENT`.
const NONE: i32 = -2;
/// No flag: of sockets that share a port the kernel chooses one, as ever.
const REUSEPORT: u64 = 0;
