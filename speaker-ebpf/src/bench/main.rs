//! Kernel programs of the bench: generators of ARP requests and of packets, sinks that count what comes back, wrappers that restore a
//! frame before the program under test, and programs that do next to nothing, to subtract.
//!
//! It knows no table of the speaker: the program under test comes from the object that ships, by tail call.
//! Frames: RFC 826.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod raw;
#[cfg(target_arch = "bpf")]
mod wire;

#[cfg(target_arch = "bpf")]
mod programs {
    use crate::raw::{self, Packet};
    use crate::wire::{ANSWERS, CLIENT_MASK_AT, OTHERS, SENT, STAMPS_AT, TARGET_AT};
    use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX};
    use aya_ebpf::macros::{classifier, xdp};
    use aya_ebpf::programs::{TcContext, XdpContext};

    /// Writes the ordered request as the next client and sends it out of the link that it pretends to come from.
    #[xdp]
    fn bench_gen(ctx: XdpContext) -> u32 {
        let Some(order) = raw::order() else {
            return XDP_ABORTED;
        };
        let packet = Packet::from(&ctx);
        if !packet.write::<SENT_HALVES>(order) {
            return XDP_ABORTED;
        }
        let sequence = raw::count(SENT);
        let client = sequence as u32 & u32::from(order[CLIENT_MASK_AT]);
        for last_byte_of in [ETH_SOURCE, SENDER_MAC, SENDER_IP] {
            packet.store(last_byte_of, client as u8);
        }
        if order[STAMPS_AT] == 1 {
            raw::stamp(client, sequence);
        }
        XDP_TX
    }

    /// Writes the ordered packet as one of its next flow, which differ in their source ports, and sends it out like a request.
    #[xdp]
    fn bench_gen_flows(ctx: XdpContext) -> u32 {
        let Some(order) = raw::order() else {
            return XDP_ABORTED;
        };
        let packet = Packet::from(&ctx);
        if !packet.write::<SENT_HALVES>(order) {
            return XDP_ABORTED;
        }
        let flow = raw::count(SENT) as u32 & u32::from(order[CLIENT_MASK_AT]);
        packet.store(SOURCE_PORT, flow as u8);
        XDP_TX
    }

    /// Takes IPv4 packets to the ordered hardware address away and counts them; everything else passes.
    #[xdp]
    fn bench_sink_ip(ctx: XdpContext) -> u32 {
        let packet = Packet::from(&ctx);
        let (Some(order), Some(IPV4)) = (raw::order(), packet.load(ETHERTYPE)) else {
            return XDP_PASS;
        };
        if packet.load(DESTINATION_END) != Some(order[TARGET_AT]) {
            raw::count(OTHERS);
            return XDP_PASS;
        }
        raw::count(ANSWERS);
        XDP_DROP
    }

    /// Takes answers to the played clients away and counts them; everything else passes.
    #[xdp]
    fn bench_sink(ctx: XdpContext) -> u32 {
        let packet = Packet::from(&ctx);
        if packet.load(ETHERTYPE) != Some(ARP) {
            return XDP_PASS;
        }
        let (Some(order), Some(asker)) = (raw::order(), packet.load::<[u8; 4]>(TPA)) else {
            return XDP_PASS;
        };
        let (vip, clients) = ([order[19], order[20]], [order[14], order[15]]);
        let [a, b, c, client] = asker;
        let is_client =
            u16::from_ne_bytes([a, b]) == clients[0] && c == clients[1].to_ne_bytes()[0];
        let is_answer = packet.load(OPERATION) == Some(REPLY) && packet.load(SPA) == Some(vip);
        if !is_answer || !is_client {
            raw::count(OTHERS);
            return XDP_PASS;
        }
        raw::count(ANSWERS);
        if order[STAMPS_AT] == 1 {
            raw::sample(u32::from(client));
        }
        XDP_DROP
    }

    /// The cheapest end of a frame: what the generator alone costs.
    #[xdp]
    fn bench_drop(_ctx: XdpContext) -> u32 {
        XDP_DROP
    }

    /// The least that sends a packet on.
    #[xdp]
    fn bench_xdp_bounce(ctx: XdpContext) -> u32 {
        readdress(Packet::from(&ctx));
        XDP_TX
    }

    #[xdp]
    fn bench_xdp_empty(_ctx: XdpContext) -> u32 {
        XDP_PASS
    }

    #[xdp]
    fn bench_xdp_arp(ctx: XdpContext) -> u32 {
        if let Some(order) = raw::order() {
            Packet::from(&ctx).write::<ARP_HALVES>(order);
        }
        raw::go_on_xdp(&ctx);
        XDP_ABORTED
    }

    #[xdp]
    fn bench_xdp_ns(ctx: XdpContext) -> u32 {
        if let Some(order) = raw::order() {
            Packet::from(&ctx).write::<NS_HALVES>(order);
        }
        raw::go_on_xdp(&ctx);
        XDP_ABORTED
    }

    #[xdp]
    fn bench_xdp_ip(ctx: XdpContext) -> u32 {
        if let Some(order) = raw::order() {
            Packet::from(&ctx).write::<SENT_HALVES>(order);
        }
        raw::go_on_xdp(&ctx);
        XDP_ABORTED
    }

    /// The least that sends a packet on.
    #[classifier]
    fn bench_tc_bounce(ctx: TcContext) -> i32 {
        readdress(Packet::from(&ctx));
        raw::send_back(&ctx)
    }

    #[classifier]
    fn bench_tc_empty(_ctx: TcContext) -> i32 {
        NEXT
    }

    #[classifier]
    fn bench_tc_arp(ctx: TcContext) -> i32 {
        if let Some(order) = raw::order() {
            Packet::from(&ctx).write::<ARP_HALVES>(order);
        }
        raw::go_on_tc(&ctx);
        NOWHERE
    }

    #[classifier]
    fn bench_tc_ns(ctx: TcContext) -> i32 {
        if let Some(order) = raw::order() {
            Packet::from(&ctx).write::<NS_HALVES>(order);
        }
        raw::go_on_tc(&ctx);
        NOWHERE
    }

    #[classifier]
    fn bench_tc_ip(ctx: TcContext) -> i32 {
        if let Some(order) = raw::order() {
            Packet::from(&ctx).write::<SENT_HALVES>(order);
        }
        raw::go_on_tc(&ctx);
        NOWHERE
    }

    /// One reading of the boot clock.
    #[classifier]
    fn bench_tc_clock(_ctx: TcContext) -> i32 {
        seen(raw::boot_ns() != 0)
    }

    /// One hash lookup.
    #[classifier]
    fn bench_tc_hash(_ctx: TcContext) -> i32 {
        seen(raw::look_up() != 0)
    }

    /// One update of an LRU hash.
    #[classifier]
    fn bench_tc_lru(ctx: TcContext) -> i32 {
        seen(raw::remember(u64::from(ctx.len())))
    }

    /// One count in a per-CPU array.
    #[classifier]
    fn bench_tc_count(_ctx: TcContext) -> i32 {
        seen(raw::count(OTHERS) != 0)
    }

    /// Writes the ordered hardware address, as far as it differs from the node's.
    #[inline(always)]
    fn readdress(packet: Packet) {
        if let Some(order) = raw::order() {
            let [first, last] = order[TARGET_AT].to_ne_bytes();
            packet.store(DESTINATION_END, first);
            packet.store(DESTINATION_END + 1, last);
        }
    }

    /// Uses a result, so that it is computed.
    #[inline(always)]
    fn seen(good: bool) -> i32 {
        if good { NEXT } else { NOWHERE }
    }

    /// To the next program or the stack (TCX_NEXT, TC_ACT_UNSPEC).
    const NEXT: i32 = -1;
    /// No program under test: a verdict that none of ours returns.
    const NOWHERE: i32 = 99;

    /// Half words of an Ethernet frame with an ARP body.
    const ARP_HALVES: usize = 21;
    /// Half words of the shortest frame on a wire (60 bytes without check sum), which is what the generator sends, and what packets have that
    /// are sent on.
    const SENT_HALVES: usize = 30;
    /// Half words of a neighbour solicitation with one link-layer option.
    const NS_HALVES: usize = 43;

    const ARP: [u8; 2] = [0x08, 0x06];
    const IPV4: [u8; 2] = [0x08, 0x00];
    const REPLY: [u8; 2] = [0, 2];
    const ETHERTYPE: usize = 12;
    const OPERATION: usize = 20;
    const SPA: usize = 28;
    const TPA: usize = 38;
    /// The last two bytes of the destination's hardware address.
    const DESTINATION_END: usize = 4;
    /// Last bytes of fields.
    const ETH_SOURCE: usize = 11;
    const SENDER_MAC: usize = 27;
    const SENDER_IP: usize = 31;
    /// Of TCP or UDP in an IPv4 header without options.
    const SOURCE_PORT: usize = 35;
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel checks it before it lends its helpers.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {}
