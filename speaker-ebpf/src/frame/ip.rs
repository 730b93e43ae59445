//! IPv4 and IPv6 headers as far as the program needs them, and the Internet checksum (RFC 1071).
//!
//! It looks at destinations and hops only: what a packet belongs to is read in [`super::flow`], and only of VIPs that move or are spread.

use super::{ETHER_BYTES, Frame};
use crate::abi::Addr;
use bytemuck::Pod;

/// Next header of ICMPv6.
pub const ICMPV6: u8 = 58;

/// An IPv6 header, without extension headers (RFC 8200 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv6 {
    /// Six, if it is one.
    pub version: u8,
    /// Bytes after this header.
    pub payload_bytes: u16,
    /// What follows.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Source, as it lies in memory.
    pub src: [u64; 2],
    /// Destination, as it lies in memory.
    pub dst: [u64; 2],
}

impl Ipv6 {
    /// From a frame of [`IPV6_END`] bytes or more.
    #[inline(always)]
    pub fn read<F: Frame>(frame: &F) -> Option<Self> {
        let first = u64::from_be(frame.load(ETHER_BYTES)?);
        Some(Self {
            version: (first >> 60) as u8,
            payload_bytes: (first >> 16) as u16,
            next_header: (first >> 8) as u8,
            hop_limit: first as u8,
            src: frame.load(SRC_AT)?,
            dst: frame.load(DST_AT)?,
        })
    }

    /// Over the header in a frame, with neither traffic class nor flow label.
    #[inline(always)]
    pub fn write<F: Frame>(&self, frame: &mut F) -> Option<()> {
        let first = u64::from(self.version) << 60
            | u64::from(self.payload_bytes) << 16
            | u64::from(self.next_header) << 8
            | u64::from(self.hop_limit);
        frame.store(ETHER_BYTES, first.to_be())?;
        frame.store(SRC_AT, self.src)?;
        frame.store(DST_AT, self.dst)
    }
}

/// Where the IPv6 header ends in a frame.
pub const IPV6_END: usize = DST_AT + 16;

pub(super) const SRC_AT: usize = ETHER_BYTES + 8;
pub(super) const DST_AT: usize = SRC_AT + 16;

/// The destination of an IPv4 packet; `None` if the frame ends before it.
#[inline(always)]
pub fn v4_destination<F: Frame>(frame: &mut F) -> Option<Addr> {
    load_pulling(frame, ETHER_BYTES + 16).map(Addr::v4_word)
}

/// The destination of an IPv6 packet; `None` if the frame ends before it, or if it is none that a packet may have.
#[inline(always)]
pub fn v6_destination<F: Frame>(frame: &mut F) -> Option<Addr> {
    v6_addr(load_pulling(frame, DST_AT)?)
}

/// An IPv6 address off the wire as the tables have it. `None` for IPv4-mapped ones: the tables mean IPv4 by those, and on a
/// wire they have no place.
#[inline(always)]
pub fn v6_addr(words: [u64; 2]) -> Option<Addr> {
    let is_mapped = words[0] == 0 && u64::from_be(words[1]) >> 32 == 0xffff;
    (!is_mapped).then(|| Addr::v6_words(words))
}

/// The next header of an IPv6 packet; `None` if the frame ends before it.
#[inline(always)]
pub fn v6_next_header<F: Frame>(frame: &mut F) -> Option<u8> {
    load_pulling(frame, ETHER_BYTES + 6)
}

/// The first byte after the IPv6 header; `None` if the frame ends before it.
#[inline(always)]
pub fn v6_first_byte<F: Frame>(frame: &mut F) -> Option<u8> {
    load_pulling(frame, IPV6_END)
}

/// Whether an IPv4 packet has a hop to give.
#[inline(always)]
pub fn v4_has_hop<F: Frame>(frame: &F) -> bool {
    frame.load(ETHER_BYTES + 8).and_then(fewer).is_some()
}

/// Whether an IPv6 packet has a hop to give.
#[inline(always)]
pub fn v6_has_hop<F: Frame>(frame: &F) -> bool {
    frame.load(ETHER_BYTES + 7).and_then(fewer).is_some()
}

/// Takes one hop from an IPv4 packet, and corrects the checksum of its header; `None`: it has none to give.
#[inline(always)]
pub fn v4_hop<F: Frame>(frame: &mut F) -> Option<()> {
    v4_hop_at(frame, ETHER_BYTES)
}

/// The same for one that begins at an offset.
#[inline(always)]
pub fn v4_hop_at<F: Frame>(frame: &mut F, at: usize) -> Option<()> {
    let [hops, protocol, high, low] = frame.load::<u32>(at + 8)?.to_ne_bytes();
    let hops = fewer(hops)?;
    // RFC 1624 §3, for a word that is less by 0x0100. The complement is more by as much; it never becomes all ones where it was not.
    let sum = u32::from(u16::from_be_bytes([high, low])) + 0x0100;
    let [high, low] = ((sum + (sum >= 0xffff) as u32) as u16).to_be_bytes();
    let word = u32::from_ne_bytes([hops, protocol, high, low]);
    frame.store(at + 8, word)
}

/// Leaves an IPv4 packet at most so many hops, and corrects the checksum of its header; `None`: the frame ends before it.
#[inline(always)]
pub fn v4_limit<F: Frame>(frame: &mut F, most: u8) -> Option<()> {
    let [hops, protocol, high, low] = frame.load::<u32>(ETHER_BYTES + 8)?.to_ne_bytes();
    if hops <= most {
        return Some(());
    }
    // RFC 1624 §3: the complement of the sum gains as much as the word loses.
    let sum = u32::from(u16::from_be_bytes([high, low])) + (u32::from(hops - most) << 8);
    let sum = (sum & 0xffff) + (sum >> 16);
    let [high, low] = (sum as u16).to_be_bytes();
    let word = u32::from_ne_bytes([most, protocol, high, low]);
    frame.store(ETHER_BYTES + 8, word)
}

/// Leaves an IPv6 packet at most so many hops; `None`: the frame ends before it.
#[inline(always)]
pub fn v6_limit<F: Frame>(frame: &mut F, most: u8) -> Option<()> {
    let hops: u8 = frame.load(ETHER_BYTES + 7)?;
    if hops <= most {
        return Some(());
    }
    frame.store(ETHER_BYTES + 7, most)
}

/// Takes one hop from an IPv6 packet; `None`: it has none to give.
#[inline(always)]
pub fn v6_hop<F: Frame>(frame: &mut F) -> Option<()> {
    v6_hop_at(frame, ETHER_BYTES)
}

/// The same for one that begins at an offset.
#[inline(always)]
pub fn v6_hop_at<F: Frame>(frame: &mut F, at: usize) -> Option<()> {
    let hops = fewer(frame.load(at + 7)?)?;
    frame.store(at + 7, hops)
}

/// RFC 1812 §5.3.1: what would arrive with none left is not sent on.
#[inline(always)]
const fn fewer(hops: u8) -> Option<u8> {
    if hops > 1 { Some(hops - 1) } else { None }
}

/// Loads, and pulls only if that fails: headers are at hand in all but a few drivers, so that packets which are not ours
/// cost no pull.
#[inline(always)]
fn load_pulling<F: Frame, T: Pod>(frame: &mut F, offset: usize) -> Option<T> {
    if let Some(value) = frame.load(offset) {
        return Some(value);
    }
    if !frame.pull((offset + size_of::<T>()) as u32) {
        return None;
    }
    frame.load(offset)
}

/// A running Internet checksum. The sum does not depend on byte order, so words are added as they lie in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds a word of eight bytes that lies at an even distance from the start.
    #[inline(always)]
    pub const fn word(self, word: u64) -> Self {
        // Two halves of 32 bits leave 32 bits for carries: enough for four thousand million words.
        Self(self.0 + (word & 0xffff_ffff) + (word >> 32))
    }

    /// Adds sixteen bytes.
    #[inline(always)]
    pub const fn address(self, words: [u64; 2]) -> Self {
        self.word(words[0]).word(words[1])
    }

    /// Adds the rest of the pseudo-header of ICMPv6 (RFC 8200 §8.1).
    #[inline(always)]
    pub const fn icmpv6(self, payload_bytes: u16) -> Self {
        self.word((((payload_bytes as u64) << 32) | ICMPV6 as u64).to_be())
    }

    /// The sum folded to sixteen bits, as it lies in memory: all ones if the checksum among the bytes was right.
    #[inline(always)]
    pub const fn folded(self) -> u16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        sum as u16
    }

    /// The checksum to store where zero was added, as it lies in memory.
    #[inline(always)]
    pub const fn checksum(self) -> u16 {
        !self.folded()
    }
}
