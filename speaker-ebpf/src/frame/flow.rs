//! What a packet belongs to, as far as a VIP that moves asks: whether a node could tell it from others by its memory of a
//! connection, and the mark by which it would.
//!
//! Only TCP has connections here: a stack resets one that it does not know, and takes in everything else. IPv4 options are
//! skipped (RFC 791 §3.1). Of IPv6's extension headers (RFC 8200 §4) a fragment header that comes first is understood; behind any other
//! one a packet is [`Part::Unclear`]. An ICMP error (RFC 792, RFC 4443 §2.1) belongs to what it speaks of.

use super::ip::{ICMPV6, IPV6_END, SRC_AT, v6_addr};
use super::{ETHER_BYTES, Frame};
use crate::abi::Addr;

/// What a packet belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// How it belongs there.
    pub part: Part,
    /// The client.
    pub client: Addr,
    /// The client's port and the VIP's, or of a later fragment its number, as they lie in the packet.
    pub word: u32,
    /// It is the first of several fragments.
    pub has_rest: bool,
    /// Their number.
    pub rest: u32,
}

/// How a packet belongs to its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// It opens a TCP connection.
    Opening,
    /// It belongs to a TCP connection that is open, or is an error about one.
    Segment,
    /// A later fragment of a TCP segment: it has no ports.
    Fragment,
    /// It belongs to no connection.
    Unbound,
    /// That cannot be read.
    Unclear,
}

/// Makes everything that may be looked at loadable.
#[inline(always)]
pub fn pull<F: Frame>(frame: &mut F) -> bool {
    let len = frame.len();
    frame.pull(if len > HEADERS_MAX { HEADERS_MAX } else { len })
}

/// What an IPv4 packet to `vip` belongs to.
#[inline(always)]
pub fn v4<F: Frame>(frame: &F, vip: Addr) -> Flow {
    v4_flow(frame, vip).unwrap_or(UNCLEAR)
}

/// What an IPv6 packet to `vip` belongs to.
#[inline(always)]
pub fn v6<F: Frame>(frame: &F, vip: Addr) -> Flow {
    v6_flow(frame, vip).unwrap_or(UNCLEAR)
}

#[inline(always)]
fn v4_flow<F: Frame>(frame: &F, vip: Addr) -> Option<Flow> {
    let packet = v4_packet(frame)?;
    match packet.protocol {
        TCP => packet.segment(frame),
        ICMP if !packet.is_fragment() => match frame.load::<u8>(packet.at)? {
            UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM => v4_error(frame, &packet, vip),
            _ => Some(packet.flow(Part::Unbound, 0)),
        },
        _ => Some(packet.flow(Part::Unbound, 0)),
    }
}

#[inline(always)]
fn v6_flow<F: Frame>(frame: &F, vip: Addr) -> Option<Flow> {
    let packet = v6_packet(frame)?;
    match packet.protocol {
        TCP => packet.segment(frame),
        ICMPV6 if !packet.is_fragment() && frame.load::<u8>(packet.at)? < ERRORS_END => {
            v6_error(frame, &packet, vip)
        }
        _ => Some(packet.flow(Part::Unbound, 0)),
    }
}

/// Where a packet's transport begins, and which part of a datagram it is.
struct Packet {
    protocol: u8,
    at: usize,
    client: Addr,
    ident: u32,
    has_more: bool,
    is_later: bool,
}

impl Packet {
    #[inline(always)]
    const fn is_fragment(&self) -> bool {
        self.has_more || self.is_later
    }

    #[inline(always)]
    const fn flow(&self, part: Part, word: u32) -> Flow {
        Flow {
            part,
            client: self.client,
            word,
            has_rest: self.has_more && !self.is_later,
            rest: self.ident,
        }
    }

    /// A TCP segment, or a fragment of one.
    #[inline(always)]
    fn segment<F: Frame>(&self, frame: &F) -> Option<Flow> {
        if self.is_later {
            return Some(self.flow(Part::Fragment, self.ident));
        }
        let ports = frame.load(self.at)?;
        let flags: u8 = frame.load(self.at + TCP_FLAGS_AT)?;
        let part = match flags & (SYN | ACK | RST) {
            SYN => Part::Opening,
            _ => Part::Segment,
        };
        Some(self.flow(part, ports))
    }

    /// An error about a segment that went to `client` from the VIP: its ports are the other way round.
    #[inline(always)]
    fn error(&self, client: Addr, ports: u32) -> Flow {
        Flow {
            client,
            ..self.flow(Part::Segment, ports.rotate_left(16))
        }
    }
}

/// `None`: not what an IPv4 header looks like.
#[inline(always)]
fn v4_packet<F: Frame>(frame: &F) -> Option<Packet> {
    let header_bytes = v4_header_bytes(frame, ETHER_BYTES)?;
    let [ident_high, ident_low, fragment_high, fragment_low]: [u8; 4] =
        frame.load::<u32>(ETHER_BYTES + 4)?.to_ne_bytes();
    let fragment = u16::from_be_bytes([fragment_high, fragment_low]);
    Some(Packet {
        protocol: frame.load(ETHER_BYTES + 9)?,
        at: ETHER_BYTES + header_bytes,
        client: Addr::v4_word(frame.load(ETHER_BYTES + 12)?),
        ident: u32::from_ne_bytes([ident_high, ident_low, 0, 0]),
        has_more: fragment & V4_MORE != 0,
        is_later: fragment & V4_OFFSET != 0,
    })
}

/// Bytes of the IPv4 header at an offset, options included.
#[inline(always)]
fn v4_header_bytes<F: Frame>(frame: &F, at: usize) -> Option<usize> {
    let first: u8 = frame.load(at)?;
    let bytes = usize::from(first & 0xf) * 4;
    (first >> 4 == 4 && bytes >= V4_BYTES).then_some(bytes)
}

/// The packet that an ICMP error brings back begins eight bytes after it.
#[inline(always)]
fn v4_error<F: Frame>(frame: &F, packet: &Packet, vip: Addr) -> Option<Flow> {
    let inner = packet.at + ERROR_BYTES;
    let header_bytes = v4_header_bytes(frame, inner)?;
    let is_from_vip = Addr::v4_word(frame.load(inner + 12)?) == vip;
    let fragment = u16::from_be_bytes(frame.load(inner + 6)?);
    if !is_from_vip || fragment & V4_OFFSET != 0 {
        return None;
    }
    if frame.load::<u8>(inner + 9)? != TCP {
        return Some(packet.flow(Part::Unbound, 0));
    }
    let client = Addr::v4_word(frame.load(inner + 16)?);
    Some(packet.error(client, frame.load(inner + header_bytes)?))
}

/// `None`: not what an IPv6 header looks like, or a header follows that is not understood.
#[inline(always)]
fn v6_packet<F: Frame>(frame: &F) -> Option<Packet> {
    let client = v6_addr(frame.load(SRC_AT)?)?;
    let mut packet = Packet {
        protocol: frame.load(ETHER_BYTES + 6)?,
        at: IPV6_END,
        client,
        ident: 0,
        has_more: false,
        is_later: false,
    };
    if packet.protocol == FRAGMENT {
        let header = u64::from_be(frame.load(IPV6_END)?);
        let fragment = (header >> 32) as u16;
        packet.protocol = (header >> 56) as u8;
        packet.at = IPV6_END + FRAGMENT_BYTES;
        packet.ident = (header as u32).to_be();
        packet.has_more = fragment & V6_MORE != 0;
        packet.is_later = fragment & V6_OFFSET != 0;
    }
    (!is_extension(packet.protocol)).then_some(packet)
}

#[inline(always)]
fn v6_error<F: Frame>(frame: &F, packet: &Packet, vip: Addr) -> Option<Flow> {
    let inner = packet.at + ERROR_BYTES;
    let is_from_vip = v6_addr(frame.load(inner + 8)?)? == vip;
    let protocol: u8 = frame.load(inner + 6)?;
    if !is_from_vip || is_extension(protocol) {
        return None;
    }
    if protocol != TCP {
        return Some(packet.flow(Part::Unbound, 0));
    }
    let client = v6_addr(frame.load(inner + 24)?)?;
    Some(packet.error(client, frame.load(inner + V6_BYTES)?))
}

/// Whether this next header means that another one follows (RFC 7045 §4).
#[inline(always)]
const fn is_extension(next_header: u8) -> bool {
    matches!(next_header, 0 | 43 | FRAGMENT | 51 | 60 | 135 | 139 | 140)
}

const UNCLEAR: Flow = Flow {
    part: Part::Unclear,
    client: Addr::v6([0; 16]),
    word: 0,
    has_rest: false,
    rest: 0,
};

/// Ethernet, the longest IPv4 header, eight bytes of ICMP, again the longest header, and ports.
const HEADERS_MAX: u32 = 14 + 60 + 8 + 60 + 4;
const TCP: u8 = 6;
const TCP_FLAGS_AT: usize = 13;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const ICMP: u8 = 1;
const UNREACHABLE: u8 = 3;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;
/// ICMPv6 messages below are errors.
const ERRORS_END: u8 = 128;
const ERROR_BYTES: usize = 8;
const V4_BYTES: usize = 20;
const V4_MORE: u16 = 0x2000;
const V4_OFFSET: u16 = 0x1fff;
const V6_BYTES: usize = 40;
const FRAGMENT: u8 = 44;
const FRAGMENT_BYTES: usize = 8;
const V6_MORE: u16 = 1;
const V6_OFFSET: u16 = 0xfff8;
