//! Entry points: one per hook, both with the same logic. Verdicts become the hook's own return values here.
//!
//! Each is one function to the kernel: the macros wrap them, and a call between the two would cost every packet of the machine
//! some ten nanoseconds.

use super::ctx::{Skb, Xdp};
use super::maps::Kernel;
use super::way::send_out;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use speaker_ebpf::logic::{Verdict, handle};

/// TC ingress, by TCX or clsact: `TC_ACT_UNSPEC` is `TCX_NEXT`, so that programs behind this one run.
#[classifier]
#[inline(always)]
fn heliograph_tc(ctx: TcContext) -> i32 {
    let mut frame = Skb::new(&ctx);
    match handle(&mut frame, &mut Kernel::new()) {
        Verdict::Next => TC_ACT_UNSPEC,
        Verdict::Mark => frame.mark(),
        Verdict::Drop => TC_ACT_SHOT,
        Verdict::Reply | Verdict::Forward => frame.send_back(),
        Verdict::Depart(ifindex) => send_out(ifindex),
    }
}

/// XDP, native or generic.
#[xdp]
#[inline(always)]
fn heliograph_xdp(ctx: XdpContext) -> u32 {
    match handle(&mut Xdp::new(&ctx), &mut Kernel::new()) {
        // There is no mark before the stack: the loader says that these links cannot.
        Verdict::Next | Verdict::Mark => XDP_PASS,
        Verdict::Drop => XDP_DROP,
        // What departs from here does so by the link that it came in on.
        Verdict::Reply | Verdict::Forward | Verdict::Depart(_) => XDP_TX,
    }
}
