//! Answers that a host gives for a port or to a ping: a reset (RFC 9293 §3.10.7.1), "port unreachable" (RFC 792, RFC 4443 §3.1), an echo
//! reply (RFC 792, RFC 4443 §4.2). Whether one is due is none of its business.
//!
//! All are for plain packets, whose transport begins where IP's fixed header ends. A packet that was never on a wire may come without its
//! transport's checksum: whoever sends the frame then writes one at the same place, over whatever is there, and what stands there before must be
//! such that the result is right.

use super::flow::Family;
use super::ip::{DST_AT, ICMPV6, IPV6_END, Ipv6, SRC_AT, Sum};
use super::plain::{Plain, TCP, V4_TRANSPORT};
use super::{ETHER_BYTES, Ether, Frame};
use crate::abi::MacAddr;

/// What is answered to a segment for a port that is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reset {
    seq: u32,
    ack: u32,
    flags: u8,
}

impl Reset {
    /// For a segment that is none itself. `bytes` are those after the IP header.
    #[inline(always)]
    fn of<F: Frame>(frame: &F, at: usize, bytes: u16) -> Option<Self> {
        let seq = u32::from_be(frame.load(at + 4)?);
        let ack = u32::from_be(frame.load(at + 8)?);
        let [offset, flags]: [u8; 2] = frame.load(at + 12)?;
        if flags & ACK != 0 {
            return Some(Self {
                seq: ack,
                ack: 0,
                flags: RST,
            });
        }
        let header_bytes = u16::from(offset >> 4) * 4;
        let data_bytes = bytes.saturating_sub(header_bytes);
        let marks = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        Some(Self {
            seq: 0,
            ack: seq.wrapping_add(u32::from(data_bytes)).wrapping_add(marks),
            flags: RST | ACK,
        })
    }

    /// Writes the segment, and a checksum over it and `pseudo`.
    #[inline(always)]
    fn write<F: Frame>(
        &self,
        frame: &mut F,
        at: usize,
        ports: u32,
        pseudo: Sum,
        is_owed: bool,
    ) -> Option<()> {
        let last = u32::from_ne_bytes([0x50, self.flags, 0, 0]);
        let numbers = u64::from(self.seq.to_be()) | u64::from(self.ack.to_be()) << 32;
        let sum = pseudo.word(ports.into()).word(numbers).word(last.into());
        let sum = if is_owed {
            pseudo.folded()
        } else {
            sum.checksum()
        };
        frame.store(at, ports)?;
        frame.store(at + 4, self.seq.to_be())?;
        frame.store(at + 8, self.ack.to_be())?;
        frame.store(at + 12, last)?;
        frame.store(at + TCP_SUM, u32::from(sum))
    }
}

/// Whether a plain packet is a reset, or a TCP header that ends early: neither is ever answered.
#[inline(always)]
pub fn is_reset<F: Frame>(frame: &F, family: Family, packet: &Plain) -> bool {
    let at = match family {
        Family::V4 => V4_TRANSPORT,
        Family::V6 => IPV6_END,
    };
    let flags: Option<u8> = frame.load(at + 13);
    packet.protocol == TCP && flags.is_none_or(|flags| flags & RST != 0)
}

/// Turns a plain TCP packet into the reset that is due. `None`: none is, or there was no room; the frame may be changed then.
#[inline(always)]
pub fn reset<F: Frame>(frame: &mut F, family: Family, own: MacAddr) -> Option<()> {
    match family {
        Family::V4 => reset_v4(frame, own),
        Family::V6 => reset_v6(frame, own),
    }
}

#[inline(always)]
fn reset_v4<F: Frame>(frame: &mut F, own: MacAddr) -> Option<()> {
    let total = u16::from_be_bytes(frame.load(ETHER_BYTES + 2)?);
    let reset = Reset::of(frame, V4_TRANSPORT, total.saturating_sub(V4_BYTES))?;
    let ports = frame.load::<u32>(V4_TRANSPORT)?.rotate_left(16);
    let ends = Ends::read(frame)?;
    if !frame.resize((V4_TRANSPORT + TCP_BYTES) as u32) {
        return None;
    }
    let is_owed = frame.owes_sum(V4_TRANSPORT + TCP_SUM);
    ends.write(frame, own, TCP, TCP_BYTES as u16)?;
    let pseudo = ends
        .sum()
        .word(u32::from_ne_bytes([0, TCP, 0, TCP_BYTES as u8]).into());
    reset.write(frame, V4_TRANSPORT, ports, pseudo, is_owed)
}

#[inline(always)]
fn reset_v6<F: Frame>(frame: &mut F, own: MacAddr) -> Option<()> {
    let ip = Ipv6::read(frame)?;
    let reset = Reset::of(frame, IPV6_END, ip.payload_bytes)?;
    let ports = frame.load::<u32>(IPV6_END)?.rotate_left(16);
    if !frame.resize((IPV6_END + TCP_BYTES) as u32) {
        return None;
    }
    let is_owed = frame.owes_sum(IPV6_END + TCP_SUM);
    turn_v6(frame, &ip, own, TCP, TCP_BYTES as u16)?;
    let words = ((TCP_BYTES as u64) << 32 | TCP as u64).to_be();
    let pseudo = Sum::default().address(ip.src).address(ip.dst).word(words);
    reset.write(frame, IPV6_END, ports, pseudo, is_owed)
}

/// Turns a plain UDP packet into "port unreachable", with its IP header and the eight bytes behind it. `None`: as for [`reset`].
#[inline(always)]
pub fn unreachable<F: Frame>(frame: &mut F, family: Family, own: MacAddr) -> Option<()> {
    match family {
        Family::V4 => unreachable_v4(frame, own),
        Family::V6 => unreachable_v6(frame, own),
    }
}

#[inline(always)]
fn unreachable_v4<F: Frame>(frame: &mut F, own: MacAddr) -> Option<()> {
    let head: [u64; 2] = frame.load(ETHER_BYTES)?;
    let dst: u32 = frame.load(ETHER_BYTES + 16)?;
    let udp: u64 = frame.load(V4_TRANSPORT)?;
    let ends = Ends::read(frame)?;
    if !frame.resize((V4_TRANSPORT + ERROR_BYTES + 28) as u32) {
        return None;
    }
    ends.write(frame, own, ICMP, ERROR_BYTES as u16 + 28)?;
    let kind = u32::from_ne_bytes([3, 3, 0, 0]);
    let sum = Sum::default().word(kind.into()).address(head);
    let sum = sum.word(dst.into()).word(udp).checksum();
    let [low, high] = sum.to_ne_bytes();
    frame.store(V4_TRANSPORT, u32::from_ne_bytes([3, 3, low, high]))?;
    // Whoever owes a checksum writes it into these: over a message whose sum is right it is another zero.
    frame.store(V4_TRANSPORT + 4, 0_u32)?;
    let quote = V4_TRANSPORT + ERROR_BYTES;
    frame.store(quote, head)?;
    frame.store(quote + 16, dst)?;
    frame.store(quote + 20, udp)
}

#[inline(always)]
fn unreachable_v6<F: Frame>(frame: &mut F, own: MacAddr) -> Option<()> {
    let ip = Ipv6::read(frame)?;
    let head: u64 = frame.load(ETHER_BYTES)?;
    let udp: u64 = frame.load(IPV6_END)?;
    if !frame.resize((IPV6_END + ERROR_BYTES + 48) as u32) {
        return None;
    }
    let is_owed = frame.owes_sum(IPV6_END + UDP_SUM);
    let bytes = ERROR_BYTES as u16 + 48;
    turn_v6(frame, &ip, own, ICMPV6, bytes)?;
    let pseudo = Sum::default().address(ip.src).address(ip.dst).icmpv6(bytes);
    let kind = u32::from_ne_bytes([1, 4, 0, 0]);
    let sum = pseudo.word(kind.into()).word(head);
    let sum = sum.address(ip.src).address(ip.dst).word(udp).checksum();
    let [low, high] = sum.to_ne_bytes();
    frame.store(IPV6_END, u32::from_ne_bytes([1, 4, low, high]))?;
    // As for IPv4, where the pseudo-header is no part of the sum.
    let [low, high] = if is_owed { pseudo.folded() } else { 0 }.to_ne_bytes();
    frame.store(IPV6_END + 4, u32::from_ne_bytes([0, 0, low, high]))?;
    let quote = IPV6_END + ERROR_BYTES;
    frame.store(quote, head)?;
    frame.store(quote + 8, ip.src)?;
    frame.store(quote + 24, ip.dst)?;
    frame.store(quote + 40, udp)
}

/// Turns a plain ping into its reply. A checksum that was wrong stays wrong. `None`: the frame ends too early.
#[inline(always)]
pub fn echo<F: Frame>(frame: &mut F, family: Family, own: MacAddr) -> Option<()> {
    let at = match family {
        Family::V4 => V4_TRANSPORT,
        Family::V6 => IPV6_END,
    };
    let [kind, code, low, high]: [u8; 4] = frame.load::<u32>(at)?.to_ne_bytes();
    let reply = match family {
        Family::V4 => 0,
        Family::V6 => kind + 1,
    };
    let [low, high] = replaced([low, high], [kind, code], [reply, code]);
    match family {
        Family::V4 => {
            let ends = Ends::read(frame)?;
            let [hops, protocol, sum_low, sum_high] =
                frame.load::<u32>(ETHER_BYTES + 8)?.to_ne_bytes();
            let [sum_low, sum_high] =
                replaced([sum_low, sum_high], [hops, protocol], [HOPS, protocol]);
            let word = u32::from_ne_bytes([HOPS, protocol, sum_low, sum_high]);
            frame.store(ETHER_BYTES + 8, word)?;
            ends.turn(frame, own)?;
        }
        Family::V6 => {
            let ip = Ipv6::read(frame)?;
            frame.store(ETHER_BYTES + 7, HOPS)?;
            frame.store(SRC_AT, ip.dst)?;
            frame.store(DST_AT, ip.src)?;
            turn(frame, own)?;
        }
    }
    frame.store(at, u32::from_ne_bytes([reply, code, low, high]))
}

/// A checksum after two bytes that it covers became others (RFC 1624 §3), all as they lie in memory.
#[inline(always)]
fn replaced(sum: [u8; 2], old: [u8; 2], new: [u8; 2]) -> [u8; 2] {
    let word = |bytes| u64::from(u16::from_ne_bytes(bytes));
    let rest = Sum::default().word(!word(sum) & 0xffff);
    let sum = rest.word(!word(old) & 0xffff).word(word(new));
    sum.checksum().to_ne_bytes()
}

/// Source and destination of an IPv4 packet, as they lie in memory.
struct Ends {
    src: u32,
    dst: u32,
}

impl Ends {
    #[inline(always)]
    fn read<F: Frame>(frame: &F) -> Option<Self> {
        Some(Self {
            src: frame.load(ETHER_BYTES + 12)?,
            dst: frame.load(ETHER_BYTES + 16)?,
        })
    }

    #[inline(always)]
    fn sum(&self) -> Sum {
        Sum::default().word(u64::from(self.src) | u64::from(self.dst) << 32)
    }

    /// The other way round, in the frame as well.
    #[inline(always)]
    fn turn<F: Frame>(&self, frame: &mut F, own: MacAddr) -> Option<()> {
        frame.store(ETHER_BYTES + 12, self.dst)?;
        frame.store(ETHER_BYTES + 16, self.src)?;
        turn(frame, own)
    }

    /// A header for an answer of so many bytes.
    #[inline(always)]
    fn write<F: Frame>(&self, frame: &mut F, own: MacAddr, protocol: u8, bytes: u16) -> Option<()> {
        let [high, low] = (V4_BYTES + bytes).to_be_bytes();
        // Not to be taken apart, so that it needs no number of its own (RFC 6864 §4).
        let first = u64::from_ne_bytes([0x45, 0, high, low, 0, 0, 0x40, 0]);
        let hops = u32::from_ne_bytes([HOPS, protocol, 0, 0]);
        let sum = self.sum().word(first).word(hops.into()).checksum();
        let [low, high] = sum.to_ne_bytes();
        frame.store(ETHER_BYTES, first)?;
        let word = u32::from_ne_bytes([HOPS, protocol, low, high]);
        frame.store(ETHER_BYTES + 8, word)?;
        self.turn(frame, own)
    }
}

/// An IPv6 header for an answer of so many bytes to a packet.
#[inline(always)]
fn turn_v6<F: Frame>(
    frame: &mut F,
    ip: &Ipv6,
    own: MacAddr,
    next_header: u8,
    payload_bytes: u16,
) -> Option<()> {
    let answer = Ipv6 {
        version: 6,
        payload_bytes,
        next_header,
        hop_limit: HOPS,
        src: ip.dst,
        dst: ip.src,
    };
    answer.write(frame)?;
    turn(frame, own)
}

/// Back to whom the frame came from.
#[inline(always)]
fn turn<F: Frame>(frame: &mut F, own: MacAddr) -> Option<()> {
    let dst = frame.load(6)?;
    Ether { dst, src: own }.write(frame)
}

/// Hops that an answer may make (RFC 1122 §3.2.1.7 names 64).
const HOPS: u8 = 64;
const V4_BYTES: u16 = 20;
const TCP_BYTES: usize = 20;
/// Where the checksum is in TCP and UDP.
const TCP_SUM: usize = 16;
const UDP_SUM: usize = 6;
const ICMP: u8 = 1;
/// Type, code, checksum and four bytes that are not used.
const ERROR_BYTES: usize = 8;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
