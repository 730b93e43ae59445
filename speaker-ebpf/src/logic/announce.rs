//! Whether a neighbour request is answered, and what a claim of one of our VIPs does.
//!
//! A request for a VIP in the table is answered or dropped, never passed: no other part of this kernel may answer it. Claims
//! are counted, may raise the slot's fence, and always pass. After [`ORPHAN_AFTER_NS`] without an agent everything passes.

use super::{Maps, Verdict};
use crate::abi::{
    Addr, AskerKey, AskerValue, Claim, ClaimKind, Entry, Global, MacAddr, Mode, ORPHAN_AFTER_NS,
    Outcome, SLOTS_MAX, VipKey,
};
use crate::frame::Frame;
use crate::frame::arp::{ARP_BYTES, Arp, ArpKind};
use crate::frame::ndp::{HEAD_BYTES, Neighbour, Solicitation};

/// An ARP frame.
#[inline(always)]
pub(super) fn arp<F: Frame, M: Maps>(frame: &mut F, maps: &mut M) -> Verdict {
    maps.count(Global::Arp);
    if !pull(frame, maps, ARP_BYTES) {
        return Verdict::Next;
    }
    let Some(arp) = Arp::read(frame) else {
        return Verdict::Next;
    };
    match arp.kind() {
        ArpKind::Request => arp_request(frame, maps, &arp),
        ArpKind::Claim => arp_claim(frame, maps, &arp),
        ArpKind::Other => Verdict::Next,
        ArpKind::Malformed => {
            maps.count(Global::Malformed);
            Verdict::Next
        }
    }
}

/// A neighbour solicitation or advertisement.
#[inline(always)]
pub(super) fn ndp<F: Frame, M: Maps>(frame: &mut F, maps: &mut M) -> Verdict {
    maps.count(Global::Ndp);
    if !pull(frame, maps, HEAD_BYTES) {
        return Verdict::Next;
    }
    let Some(head) = Neighbour::read(frame) else {
        return Verdict::Next;
    };
    let Some(target) = head.target() else {
        return Verdict::Next;
    };
    let Some(known) = Known::find(maps, target, frame.ifindex()) else {
        return Verdict::Next;
    };
    if head.is_solicitation() {
        solicitation(frame, maps, &head, &known)
    } else {
        advertisement(frame, maps, &head, &known)
    }
}

/// Makes the fixed part of a neighbour frame loadable, or counts why not.
#[inline(always)]
fn pull<F: Frame, M: Maps>(frame: &mut F, maps: &mut M, bytes: u32) -> bool {
    if frame.len() < bytes {
        maps.count(Global::Malformed);
        return false;
    }
    let is_pulled = frame.pull(bytes);
    if !is_pulled {
        maps.count(Global::NoRoom);
    }
    is_pulled
}

#[inline(always)]
fn arp_request<F: Frame, M: Maps>(frame: &mut F, maps: &mut M, arp: &Arp) -> Verdict {
    let Some(known) = Known::find(maps, arp.target(), frame.ifindex()) else {
        return Verdict::Next;
    };
    let (to, from) = (arp.ether.dst, arp.sender_mac());
    if from == known.own || !(to == known.own || to.is_multicast()) {
        return Verdict::Next;
    }
    // RFC 826 has requests broadcast; revalidating ones come by unicast. No other group is spoken of anywhere.
    let is_addressed = to == known.own || to == MacAddr::BROADCAST;
    if !is_addressed || !arp.is_sender_usable() {
        return known.malformed(maps);
    }
    let outcome = known.judge(maps);
    if outcome != Outcome::Limited && arp.is_sender_addressable() {
        known.remember(maps, arp.sender(), from);
    }
    maps.bump(known.slot(), outcome);
    if outcome != Outcome::Answered {
        return Verdict::Drop;
    }
    written(maps, arp.reply(frame, known.own).is_some())
}

#[inline(always)]
fn arp_claim<F: Frame, M: Maps>(frame: &mut F, maps: &mut M, arp: &Arp) -> Verdict {
    let Some(known) = Known::find(maps, arp.sender(), frame.ifindex()) else {
        return Verdict::Next;
    };
    if !arp.is_sender_usable() || arp.ether.src.is_multicast() {
        return known.malformed(maps);
    }
    known.claimed(maps, arp.ether.src, arp.sender_mac())
}

#[inline(always)]
fn solicitation<F: Frame, M: Maps>(
    frame: &mut F,
    maps: &mut M,
    head: &Neighbour,
    known: &Known,
) -> Verdict {
    let (to, from) = (head.ether.dst, head.ether.src);
    if from == known.own || !(to == known.own || to.is_multicast()) {
        return Verdict::Next;
    }
    let Some(asked) = head.solicitation(frame) else {
        return known.malformed(maps);
    };
    if asked.client_mac == known.own {
        return Verdict::Next;
    }
    let outcome = known.judge(maps);
    if outcome != Outcome::Limited && asked.is_client_addressable() {
        known.remember(maps, asked.client, asked.client_mac);
    }
    if outcome != Outcome::Answered {
        maps.bump(known.slot(), outcome);
        return Verdict::Drop;
    }
    answer(frame, maps, head, known, &asked)
}

#[inline(always)]
fn answer<F: Frame, M: Maps>(
    frame: &mut F,
    maps: &mut M,
    head: &Neighbour,
    known: &Known,
    asked: &Solicitation,
) -> Verdict {
    let is_written = head.answer(frame, asked, known.own);
    if is_written {
        maps.bump(known.slot(), Outcome::Answered);
    }
    written(maps, is_written)
}

#[inline(always)]
fn advertisement<F: Frame, M: Maps>(
    frame: &mut F,
    maps: &mut M,
    head: &Neighbour,
    known: &Known,
) -> Verdict {
    match head.claimed_mac(frame) {
        Some(mac) => known.claimed(maps, head.ether.src, mac),
        None => known.malformed(maps),
    }
}

/// The verdict once a reply was to be written: where that failed the request is still nobody else's to answer.
#[inline(always)]
fn written<M: Maps>(maps: &mut M, is_written: bool) -> Verdict {
    if is_written {
        return Verdict::Reply;
    }
    maps.count(Global::NoRoom);
    Verdict::Drop
}

/// A VIP of the table that a frame is about, and the facts that every decision needs.
struct Known {
    key: VipKey,
    entry: Entry,
    mode: Mode,
    own: MacAddr,
    now: u64,
    node_deadline: u64,
}

impl Known {
    /// The VIP at `addr` on a link; `None` means hands off: it is not in the table, nobody answers
    /// for it, or the table can no longer be trusted.
    #[inline(always)]
    fn find<M: Maps>(maps: &mut M, addr: Addr, ifindex: u32) -> Option<Self> {
        if !maps.may_know(&addr) {
            return None;
        }
        let key = VipKey::new(addr, ifindex);
        let entry = maps.vip(&key)?;
        let mode = entry.mode().filter(|_| entry.slot() < SLOTS_MAX);
        let Some(mode) = mode else {
            maps.count(Global::BadEntry);
            return None;
        };
        if mode == Mode::Passive {
            return None;
        }
        let own = maps.link(ifindex)?.mac();
        let now = maps.now();
        let node_deadline = maps.deadline();
        if node_deadline != 0 && now >= node_deadline.saturating_add(ORPHAN_AFTER_NS) {
            maps.count(Global::Orphaned);
            return None;
        }
        Some(Self {
            key,
            entry,
            mode,
            own,
            now,
            node_deadline,
        })
    }

    #[inline(always)]
    fn slot(&self) -> u32 {
        self.entry.slot()
    }

    /// What a sound request gets. Takes a token if nothing else speaks against an answer.
    #[inline(always)]
    fn judge<M: Maps>(&self, maps: &mut M) -> Outcome {
        match self.mode {
            Mode::Known | Mode::Passive => Outcome::NotOwner,
            Mode::Draining => Outcome::Draining,
            Mode::Answer if self.now >= self.deadline() => Outcome::Lapsed,
            Mode::Answer if maps.is_fenced(self.slot()) => Outcome::Fenced,
            Mode::Answer if !maps.take_token(self.slot(), self.now) => Outcome::Limited,
            Mode::Answer => Outcome::Answered,
        }
    }

    /// BOOTTIME nanoseconds; a node that was never armed has lapsed.
    #[inline(always)]
    fn deadline(&self) -> u64 {
        match self.entry.deadline_ns() {
            0 => self.node_deadline,
            own => own,
        }
    }

    /// Remembers who asked. A flood above the token bucket is left out by the callers, for it would push everyone else out.
    #[inline(always)]
    fn remember<M: Maps>(&self, maps: &mut M, client: Addr, mac: MacAddr) {
        let key = AskerKey {
            vip: self.key,
            client,
        };
        let value = AskerValue {
            seen_ns: self.now,
            mac,
            pad: [0; 2],
        };
        maps.remember(&key, &value);
    }

    #[inline(always)]
    fn malformed<M: Maps>(&self, maps: &mut M) -> Verdict {
        maps.count(Global::Malformed);
        maps.bump(self.slot(), Outcome::Malformed);
        Verdict::Next
    }

    /// Somebody says where this VIP is: `src` sent the frame, `mac` is what it says.
    #[inline(always)]
    fn claimed<M: Maps>(&self, maps: &mut M, src: MacAddr, mac: MacAddr) -> Verdict {
        if mac == self.own {
            return Verdict::Next;
        }
        let kind = self.claimant(maps, src, mac);
        let (outcome, fences) = match kind {
            ClaimKind::Member => (Outcome::Claimed, self.mode == Mode::Answer),
            ClaimKind::Foreign => (Outcome::Foreign, false),
            ClaimKind::Spoofed => (Outcome::Spoofed, false),
        };
        maps.bump(self.slot(), outcome);
        let fence_gen = if fences {
            maps.fence(self.slot())
        } else {
            maps.fence_gen(self.slot())
        };
        maps.claim(&Claim {
            at_ns: self.now,
            fence_gen,
            vip: self.key,
            slot: self.slot(),
            mac,
            kind: kind as u8,
            pad: 0,
        });
        Verdict::Next
    }

    /// A member only if both addresses are the same member's, so that a stranger cannot fence by writing a member's address
    /// into one of them.
    #[inline(always)]
    fn claimant<M: Maps>(&self, maps: &M, src: MacAddr, mac: MacAddr) -> ClaimKind {
        let by_mac = maps.member(&mac);
        if src == mac {
            return match by_mac {
                Some(member) if member.disarmed_until_ns > self.now => ClaimKind::Spoofed,
                Some(_) => ClaimKind::Member,
                None => ClaimKind::Foreign,
            };
        }
        if by_mac.is_some() || src == self.own || maps.member(&src).is_some() {
            ClaimKind::Spoofed
        } else {
            ClaimKind::Foreign
        }
    }
}
