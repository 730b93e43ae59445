//! What a packet belongs to: a connection or a flow of datagrams, the marks that it is known by, and the part that the packet has in it.
//!
//! Only TCP has connections here: a stack resets one that it does not know, and takes in everything else. UDP, UDP-Lite (RFC 3828) and
//! SCTP (RFC 9260) begin with two ports as well. IPv4 options are skipped (RFC 791 §3.1). Of IPv6's extension headers (RFC 8200 §4)
//! hop-by-hop options, routing, destination options and a fragment header are walked, four of forty bytes together at most; behind any
//! other one, and behind more, a packet is [`Part::Unclear`]. An ICMP error (RFC 792, RFC 4443 §2.1) belongs to what it speaks of.
//! Whether anybody wants to know that is none of its business.

use super::ip::{ICMPV6, IPV6_END, SRC_AT, v6_addr};
use super::{ETHER_BYTES, Frame};
use crate::abi::Addr;

/// What a packet belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// How it belongs there.
    pub part: Part,
    /// It does not belong there, but tells the VIP of an error that befell what does.
    pub is_error: bool,
    /// The client.
    pub client: Addr,
    /// The client's port and the VIP's, or of a later fragment its number, as they lie in the packet. Zero without either.
    pub word: u32,
    /// The protocol's number: of an error that of what it speaks of.
    pub protocol: u8,
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
    SegmentRest,
    /// It is of another protocol with ports, or an error about that.
    Datagram,
    /// A later fragment of a datagram: it has no ports.
    DatagramRest,
    /// It is of a protocol without ports.
    Portless,
    /// That cannot be read.
    Unclear,
}

/// The family of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What a packet to `vip` belongs to. Pulls everything that may be looked at.
#[inline(always)]
pub fn read<F: Frame>(frame: &mut F, vip: Addr, family: Family) -> Flow {
    if !pull(frame) {
        return UNCLEAR;
    }
    let flow = match family {
        Family::V4 => v4_flow(frame, vip),
        Family::V6 => v6_flow(frame, vip),
    };
    flow.unwrap_or(UNCLEAR)
}

#[inline(always)]
fn pull<F: Frame>(frame: &mut F) -> bool {
    let len = frame.len();
    frame.pull(if len > HEADERS_MAX { HEADERS_MAX } else { len })
}

#[inline(always)]
fn v4_flow<F: Frame>(frame: &F, vip: Addr) -> Option<Flow> {
    let packet = v4_packet(frame)?;
    if packet.protocol == ICMP && !packet.is_fragment() {
        let kind: u8 = frame.load(packet.at)?;
        if matches!(kind, UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM) {
            return v4_error(frame, packet.at + ERROR_BYTES, vip);
        }
    }
    packet.flow(frame)
}

#[inline(always)]
fn v6_flow<F: Frame>(frame: &F, vip: Addr) -> Option<Flow> {
    let packet = v6_packet(frame)?;
    if packet.protocol == ICMPV6
        && !packet.is_fragment()
        && frame.load::<u8>(packet.at)? < ERRORS_END
    {
        return v6_error(frame, packet.at + ERROR_BYTES, vip);
    }
    packet.flow(frame)
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
    fn flow<F: Frame>(&self, frame: &F) -> Option<Flow> {
        let (part, word) = match self.protocol {
            TCP if self.is_later => (Part::SegmentRest, self.ident),
            TCP => {
                let flags: u8 = frame.load(self.at + TCP_FLAGS_AT)?;
                let part = match flags & (SYN | ACK | RST) {
                    SYN => Part::Opening,
                    _ => Part::Segment,
                };
                (part, frame.load(self.at)?)
            }
            UDP | UDP_LITE | SCTP if self.is_later => (Part::DatagramRest, self.ident),
            UDP | UDP_LITE | SCTP => (Part::Datagram, frame.load(self.at)?),
            _ => (Part::Portless, 0),
        };
        Some(Flow {
            part,
            is_error: false,
            client: self.client,
            word,
            protocol: self.protocol,
            has_rest: self.has_more && !self.is_later,
            rest: self.ident,
        })
    }

    /// Reads the fragment header that comes next. Others behind it are part of what is in fragments: nobody looks there.
    #[inline(always)]
    fn fragment<F: Frame>(&mut self, frame: &F) -> Option<()> {
        let header = u64::from_be(frame.load(self.at)?);
        let fragment = (header >> 32) as u16;
        self.protocol = (header >> 56) as u8;
        self.at += FRAGMENT_BYTES;
        self.ident = (header as u32).to_be();
        self.has_more = fragment & V6_MORE != 0;
        self.is_later = fragment & V6_OFFSET != 0;
        Some(())
    }
}

/// What went from the VIP to `client`, with its ports at `ports_at`, the other way round, and came back in an error.
#[inline(always)]
fn error<F: Frame>(frame: &F, client: Addr, protocol: u8, ports_at: usize) -> Option<Flow> {
    let part = match protocol {
        TCP => Part::Segment,
        UDP | UDP_LITE | SCTP => Part::Datagram,
        _ => Part::Portless,
    };
    let word = if part == Part::Portless {
        0
    } else {
        frame.load::<u32>(ports_at)?.rotate_left(16)
    };
    Some(Flow {
        part,
        is_error: true,
        client,
        word,
        protocol,
        has_rest: false,
        rest: 0,
    })
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

/// An error that brings back the packet at `inner`; `None` if the VIP never sent that, or it is no beginning of anything.
#[inline(always)]
fn v4_error<F: Frame>(frame: &F, inner: usize, vip: Addr) -> Option<Flow> {
    let header_bytes = v4_header_bytes(frame, inner)?;
    let is_from_vip = Addr::v4_word(frame.load(inner + 12)?) == vip;
    let fragment = u16::from_be_bytes(frame.load(inner + 6)?);
    if !is_from_vip || fragment & V4_OFFSET != 0 {
        return None;
    }
    let client = Addr::v4_word(frame.load(inner + 16)?);
    let protocol = frame.load(inner + 9)?;
    error(frame, client, protocol, inner + header_bytes)
}

/// `None`: not what an IPv6 header looks like, or a header follows that is not understood.
#[inline(always)]
fn v6_packet<F: Frame>(frame: &F) -> Option<Packet> {
    let mut packet = Packet {
        protocol: frame.load(ETHER_BYTES + 6)?,
        at: IPV6_END,
        client: v6_addr(frame.load(SRC_AT)?)?,
        ident: 0,
        has_more: false,
        is_later: false,
    };
    for _ in 0..EXTENSIONS_MAX {
        match packet.protocol {
            HOP_BY_HOP | ROUTING | DESTINATION => {
                // RFC 8200 §4.3: the length is in units of eight bytes, the first of which does not count.
                let [next, length]: [u8; 2] = frame.load(packet.at)?;
                packet.protocol = next;
                packet.at += usize::from(length) * 8 + 8;
            }
            FRAGMENT => {
                packet.fragment(frame)?;
                break;
            }
            _ => break,
        }
        if packet.at > EXTENSIONS_END {
            return None;
        }
    }
    (packet.at <= EXTENSIONS_END && !is_extension(packet.protocol)).then_some(packet)
}

/// As for IPv4. Of extension headers a fragment header alone is understood: what a VIP sends has no others.
#[inline(always)]
fn v6_error<F: Frame>(frame: &F, inner: usize, vip: Addr) -> Option<Flow> {
    let is_from_vip = v6_addr(frame.load(inner + 8)?)? == vip;
    let client = v6_addr(frame.load(inner + 24)?)?;
    let mut protocol: u8 = frame.load(inner + 6)?;
    let mut ports_at = inner + V6_BYTES;
    if protocol == FRAGMENT {
        let header = u64::from_be(frame.load(ports_at)?);
        if (header >> 32) as u16 & V6_OFFSET != 0 {
            return None;
        }
        protocol = (header >> 56) as u8;
        ports_at += FRAGMENT_BYTES;
    }
    if !is_from_vip || is_extension(protocol) {
        return None;
    }
    error(frame, client, protocol, ports_at)
}

/// Whether this next header means that another one follows (RFC 7045 §4).
#[inline(always)]
const fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION | 51 | 135 | 139 | 140
    )
}

const UNCLEAR: Flow = Flow {
    part: Part::Unclear,
    is_error: false,
    client: Addr::v6([0; 16]),
    word: 0,
    protocol: 0,
    has_rest: false,
    rest: 0,
};

/// Ethernet, the longest IPv4 header, eight bytes of ICMP, again the longest header, and ports; or for IPv6 forty bytes of headers and
/// as many of extensions, an error, forty bytes of headers and a fragment header, and ports.
const HEADERS_MAX: u32 = 14 + 80 + 8 + 48 + 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;
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
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
/// Extension headers that are walked.
const EXTENSIONS_MAX: u32 = 4;
/// Where they end at the latest: as many bytes as IPv4 has room for in options.
const EXTENSIONS_END: usize = IPV6_END + 40;
const FRAGMENT_BYTES: usize = 8;
const V6_MORE: u16 = 1;
const V6_OFFSET: u16 = 0xfff8;
