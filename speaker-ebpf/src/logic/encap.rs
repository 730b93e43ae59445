//! The way to a node on another segment: a packet of ours around the client's, taken off by the node that it is for.
//!
//! IPv4 in IPv4 (RFC 2003) and IPv6 in IPv6 (RFC 2473), without congestion marks in the outer header (RFC 6040 §4.3). What would be
//! too big is not cut: its sender is told (RFC 1191, RFC 8201). What comes out of such a packet is the stack's and is not sent on from
//! here; a stack whose service proxy does not want it may route it back to the holder, and so it has few hops left. Which node a packet is for is decided in [`super::steer`], who may send such packets in the tables.

use super::arrival::Arrival;
use super::{Maps, Verdict};
use crate::abi::{Addr, EndValue, FarKey, FarValue, MacAddr, ShareKey, Steered, Tunnelled};
use crate::frame::flow::Family;
use crate::frame::ip::{self, ICMPV6, Sum};
use crate::frame::{ETHER_BYTES, Ether, Frame, Way};

/// Stands for the hardware address of a node that is reached so: no node has it.
pub(super) const FAR: MacAddr = MacAddr::BROADCAST;

/// Whether a node has a row for packets of this family.
#[inline(always)]
pub(super) fn is_reached<M: Maps>(maps: &M, node: u32, family: Family) -> bool {
    maps.far(&key(node, family)).is_some()
}

#[inline(always)]
const fn key(node: u32, family: Family) -> FarKey {
    let family = match family {
        Family::V4 => 4,
        Family::V6 => 6,
    };
    FarKey { node, family }
}

/// Sends a packet that has a hop to give to the node that `share` names.
///
/// Its row is looked up anew for each use, rather than kept on the program's little stack.
#[inline(always)]
pub(super) fn send<F: Frame, M: Maps>(
    frame: &mut F,
    maps: &mut M,
    arrival: &Arrival<'_>,
    share: &ShareKey,
) -> Verdict {
    let family = arrival.family;
    let key = key(share.node, family);
    let outer = outer_bytes(family);
    let Some(packet) = Packet::read(frame, family) else {
        return stays(maps, Tunnelled::NoRoom);
    };
    let bytes = frame.len();
    let way = match maps.far(&key) {
        Some(far) => frame.way(family, far, packet.biggest + outer),
        None => Way::None,
    };
    let most = match way {
        Way::None => return stays(maps, Tunnelled::NoWay),
        Way::TooBig(most) => most,
        Way::Out(ifindex) if frame.open(outer, Some(family)) => {
            let far = maps.far(&key);
            if far
                .and_then(|far| packet.write(frame, family, far))
                .is_none()
            {
                return dropped(maps, Tunnelled::Lost);
            }
            if !maps.share(share, bytes) {
                maps.steered(Steered::Uncounted);
            }
            maps.steered(Steered::Sent);
            maps.tunnelled(Tunnelled::Wrapped);
            return Verdict::Depart(ifindex);
        }
        // Kernels before 5.12 do not look at sizes for a route, but let nothing grow beyond the link's.
        Way::Out(_) if packet.biggest > SURE_MTU => SURE_MTU + outer,
        Way::Out(_) => return stays(maps, Tunnelled::NoRoom),
    };
    if !packet.may_be_told {
        return stays(maps, Tunnelled::Uncut);
    }
    let told = most.saturating_sub(outer);
    if told < least(family) || !maps.take_token(share.slot, arrival.now) {
        return dropped(maps, Tunnelled::Untold);
    }
    let far = maps.far(&key);
    match far.and_then(|far| tell(frame, arrival, &far.from, told)) {
        Some(()) => {
            maps.tunnelled(Tunnelled::TooBig);
            Verdict::Reply
        }
        None => dropped(maps, Tunnelled::Lost),
    }
}

#[inline(always)]
fn stays<M: Maps>(maps: &mut M, why: Tunnelled) -> Verdict {
    maps.steered(Steered::NoTarget);
    maps.tunnelled(why);
    Verdict::Next
}

#[inline(always)]
fn dropped<M: Maps>(maps: &mut M, why: Tunnelled) -> Verdict {
    maps.tunnelled(why);
    Verdict::Drop
}

#[inline(always)]
const fn outer_bytes(family: Family) -> u32 {
    match family {
        Family::V4 => V4_BYTES as u32,
        Family::V6 => V6_BYTES as u32,
    }
}

/// No sender is told of less: it need not believe that (RFC 791 §3.2, RFC 8200 §5).
#[inline(always)]
const fn least(family: Family) -> u32 {
    match family {
        Family::V4 => 576,
        Family::V6 => SURE_MTU,
    }
}

/// What the outer header says of the inner one.
#[derive(Clone, Copy)]
struct Packet {
    /// The first four bytes of it: of IPv6 with its traffic class and its flow label.
    first: [u8; 4],
    /// What its length says.
    length: u32,
    /// Bytes of the biggest packet that it becomes on a wire.
    biggest: u32,
    /// Its sender takes to be told that it is too big.
    may_be_told: bool,
}

impl Packet {
    #[inline(always)]
    fn read<F: Frame>(frame: &F, family: Family) -> Option<Self> {
        let first: [u8; 4] = frame.load::<u32>(ETHER_BYTES)?.to_ne_bytes();
        let (length, header, protocol, may_be_told) = match family {
            Family::V4 => {
                let fragment = u16::from_be(frame.load(ETHER_BYTES + 6)?);
                let length = u32::from(u16::from_be_bytes([first[2], first[3]]));
                (
                    length,
                    usize::from(first[0] & 0xf) * 4,
                    frame.load(ETHER_BYTES + 9)?,
                    fragment & (V4_WHOLE | V4_OFFSET) == V4_WHOLE,
                )
            }
            Family::V6 => {
                let length = u32::from(u16::from_be(frame.load(ETHER_BYTES + 4)?));
                (length, V6_BYTES, frame.load(ETHER_BYTES + 6)?, true)
            }
        };
        let biggest = match (frame.segment_bytes(), family) {
            (0, Family::V4) => length,
            (0, Family::V6) => length + V6_BYTES as u32,
            (payload, _) => payload + (header + transport(frame, header, protocol)) as u32,
        };
        Some(Self {
            first,
            length,
            biggest,
            may_be_told,
        })
    }

    /// Into the room that was made before the packet; the packet gives a hop.
    #[inline(always)]
    fn write<F: Frame>(&self, frame: &mut F, family: Family, far: &FarValue) -> Option<()> {
        match family {
            Family::V4 => {
                // RFC 2003 §3.1, and whole: what is too big does not get here.
                let length = (self.length + V4_BYTES as u32).min(0xffff) as u16;
                v4(
                    frame,
                    self.first[1] & DSCP,
                    length,
                    IPIP,
                    [&far.from, &far.to],
                )?;
                ip::v4_hop_at(frame, ETHER_BYTES + V4_BYTES)
            }
            Family::V6 => {
                let length = (self.length + V6_BYTES as u32).min(0xffff) as u16;
                let [version, class, low, lower] = self.first;
                let first = [version, class & !V6_MARKS, low, lower];
                v6(frame, first, length, IPV6, [&far.from, &far.to])?;
                ip::v6_hop_at(frame, ETHER_BYTES + V6_BYTES)
            }
        }
    }
}

/// Bytes of a transport header; eight where that is not TCP.
#[inline(always)]
fn transport<F: Frame>(frame: &F, header: usize, protocol: u8) -> usize {
    if protocol != TCP {
        return 8;
    }
    let offset: Option<u8> = frame.load(ETHER_BYTES + header + 12);
    usize::from(offset.unwrap_or(5 << 4) >> 4) * 4
}

/// An IPv4 header without options, of a packet that may not be cut.
#[inline(always)]
fn v4<F: Frame>(
    frame: &mut F,
    service: u8,
    length: u16,
    protocol: u8,
    [from, to]: [&Addr; 2],
) -> Option<()> {
    let [high, low] = length.to_be_bytes();
    let first = u64::from_ne_bytes([0x45, service, high, low, 0, 0, 0x40, 0]);
    let [a, b, c, d] = from.v4_part().to_ne_bytes();
    let second = |[high, low]: [u8; 2]| u64::from_ne_bytes([HOPS, protocol, high, low, a, b, c, d]);
    let to = to.v4_part();
    let sum = Sum::default().word(first).word(second([0, 0]));
    let sum = sum.word(u64::from(to)).checksum();
    frame.store(ETHER_BYTES, first)?;
    frame.store(ETHER_BYTES + 8, second(sum.to_ne_bytes()))?;
    frame.store(ETHER_BYTES + 16, to)
}

/// An IPv6 header, with what follows.
#[inline(always)]
fn v6<F: Frame>(
    frame: &mut F,
    first: [u8; 4],
    length: u16,
    next: u8,
    [from, to]: [&Addr; 2],
) -> Option<()> {
    let ([a, b, c, d], [high, low]) = (first, length.to_be_bytes());
    let word = u64::from_ne_bytes([a, b, c, d, high, low, next, HOPS]);
    frame.store(ETHER_BYTES, word)?;
    frame.store(ETHER_BYTES + 8, from.words())?;
    frame.store(ETHER_BYTES + 24, to.words())
}

/// Turns a packet into word to its sender that `told` bytes are the most. `None`: it is spoilt.
#[inline(always)]
fn tell<F: Frame>(frame: &mut F, arrival: &Arrival<'_>, from: &Addr, told: u32) -> Option<()> {
    match arrival.family {
        Family::V4 => v4_tell(frame, from, told)?,
        Family::V6 => v6_tell(frame, from, told)?,
    }
    let ether = Ether {
        dst: arrival.src,
        src: arrival.own,
    };
    ether.write(frame)
}

/// RFC 792 with the next hop's MTU of RFC 1191 §4, and what it speaks of up to eight bytes behind the longest header.
#[inline(always)]
fn v4_tell<F: Frame>(frame: &mut F, from: &Addr, told: u32) -> Option<()> {
    let to = Addr::v4_word(frame.load(ETHER_BYTES + 12)?);
    let head = V4_BYTES + ICMP_BYTES;
    let is_room = frame.cut((ETHER_BYTES + V4_QUOTE) as u32) && frame.open(head as u32, None);
    if !is_room {
        return None;
    }
    let at = ETHER_BYTES + V4_BYTES;
    let [.., high, low] = told.to_be_bytes();
    let message = |[a, b]: [u8; 2]| u64::from_ne_bytes([3, 4, a, b, 0, 0, high, low]);
    let mut sum = Sum::default().word(message([0, 0]));
    for word in 0..V4_QUOTE / 8 {
        sum = sum.word(frame.load(at + ICMP_BYTES + word * 8)?);
    }
    let rest: u32 = frame.load(at + ICMP_BYTES + V4_QUOTE - 4)?;
    let sum = sum.word(u64::from(rest)).checksum();
    v4(frame, CONTROL, (head + V4_QUOTE) as u16, ICMP, [from, &to])?;
    frame.store(at, message(sum.to_ne_bytes()))
}

/// RFC 4443 §3.2, with as much of the packet as has its ports for certain.
#[inline(always)]
fn v6_tell<F: Frame>(frame: &mut F, from: &Addr, told: u32) -> Option<()> {
    let to = Addr::v6_words(frame.load(ETHER_BYTES + 8)?);
    let head = V6_BYTES + ICMP_BYTES;
    let is_room = frame.cut((ETHER_BYTES + V6_QUOTE) as u32) && frame.open(head as u32, None);
    if !is_room {
        return None;
    }
    let at = ETHER_BYTES + V6_BYTES;
    let payload = (ICMP_BYTES + V6_QUOTE) as u16;
    let [e, f, g, h] = told.to_be_bytes();
    let message = |[a, b]: [u8; 2]| u64::from_ne_bytes([2, 0, a, b, e, f, g, h]);
    let mut sum = Sum::default().address(from.words()).address(to.words());
    sum = sum.icmpv6(payload).word(message([0, 0]));
    for word in 0..V6_QUOTE / 8 {
        sum = sum.word(frame.load(at + ICMP_BYTES + word * 8)?);
    }
    v6(frame, [0x60, 0, 0, 0], payload, ICMPV6, [from, &to])?;
    frame.store(at, message(sum.checksum().to_ne_bytes()))
}

/// Takes a packet for one of our VIPs out of the one that a member sent it in. Everything else is as if we were not here: others use
/// such packets too. In any case it is for the stack as it is then.
#[inline(always)]
pub(super) fn receive<F: Frame, M: Maps>(
    frame: &mut F,
    maps: &mut M,
    destination: Addr,
    family: Family,
) {
    let Some((from, inner)) = around(frame, family) else {
        return;
    };
    if !maps.end(&inner).is(EndValue::SERVED) {
        return;
    }
    if !maps.end(&from).is(EndValue::MEMBER) || !maps.end(&destination).is(EndValue::OWN) {
        maps.tunnelled(Tunnelled::Stranger);
        return;
    }
    if !frame.close(outer_bytes(family)) {
        maps.tunnelled(Tunnelled::NoRoom);
        return;
    }
    // A frame that ends in the middle of the header is the stack's to judge.
    let _ = match family {
        Family::V4 => ip::v4_limit(frame, INSIDE_HOPS),
        Family::V6 => ip::v6_limit(frame, INSIDE_HOPS),
    };
    maps.tunnelled(Tunnelled::Unwrapped);
}

/// Who sent a packet with another of its family in it, and whom the inner one is for; `None`: it is no such packet.
#[inline(always)]
fn around<F: Frame>(frame: &mut F, family: Family) -> Option<(Addr, Addr)> {
    let outer = outer_bytes(family) as usize;
    let next: u8 = match family {
        Family::V4 => frame.load(ETHER_BYTES + 9)?,
        Family::V6 => frame.load(ETHER_BYTES + 6)?,
    };
    let wanted = match family {
        Family::V4 => IPIP,
        Family::V6 => IPV6,
    };
    if next != wanted || !frame.pull((ETHER_BYTES + 2 * outer) as u32) {
        return None;
    }
    let inner = ETHER_BYTES + outer;
    let [version]: [u8; 1] = frame.load(inner)?;
    match family {
        Family::V4 => {
            let [first]: [u8; 1] = frame.load(ETHER_BYTES)?;
            let fragment = u16::from_be(frame.load(ETHER_BYTES + 6)?);
            let is_plain = first == 0x45 && fragment & (V4_MORE | V4_OFFSET) == 0;
            let from = Addr::v4_word(frame.load(ETHER_BYTES + 12)?);
            let to = Addr::v4_word(frame.load(inner + 16)?);
            (is_plain && version >> 4 == 4).then_some((from, to))
        }
        Family::V6 => {
            let from = ip::v6_addr(frame.load(ETHER_BYTES + 8)?)?;
            let to = ip::v6_addr(frame.load(inner + 24)?)?;
            (version >> 4 == 6).then_some((from, to))
        }
    }
}

const V4_BYTES: usize = 20;
const V6_BYTES: usize = 40;
const ICMP_BYTES: usize = 8;
/// Of a packet that is too big so much comes back: the longest header and eight bytes.
const V4_QUOTE: usize = 68;
/// Of IPv6 the header, as many bytes of extensions as are walked, and eight bytes.
const V6_QUOTE: usize = 88;
/// Every link carries packets of IPv6 of so many bytes (RFC 8200 §5), and all but the oddest those of IPv4.
const SURE_MTU: u32 = 1280;
/// Hops to an endpoint at most, from the node whose service proxy chooses it. What nobody there wants, a packet to a closed port, may be
/// routed back to the holder, who would send it here again: it dies after three rounds instead of twenty.
const INSIDE_HOPS: u8 = 8;
/// What Linux sends its own with.
const HOPS: u8 = 64;
const IPIP: u8 = 4;
const IPV6: u8 = 41;
const ICMP: u8 = 1;
const TCP: u8 = 6;
/// The class of service without marks of congestion (RFC 2474, RFC 3168).
const DSCP: u8 = 0xfc;
/// The marks of congestion in the second byte of IPv6.
const V6_MARKS: u8 = 0x30;
/// RFC 1812 §4.3.2.5: internetwork control.
const CONTROL: u8 = 0xc0;
const V4_WHOLE: u16 = 0x4000;
const V4_MORE: u16 = 0x2000;
const V4_OFFSET: u16 = 0x1fff;
