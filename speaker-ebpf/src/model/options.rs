//! What options of a VIP should make of a packet, told straight from the rules: answers are written anew from plain slices, with nothing
//! taken over from the code that rewrites frames in place.
//!
//! RFC 791, 8200, 792, 4443, 9293, 768.

use super::{Tables, VecFrame, run};
use crate::abi::options::Closed;
use crate::abi::{Addr, Opted, ServiceKey, VipKey};
use crate::logic::{Maps, Verdict};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

/// What is done by an option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deed {
    /// What becomes of the frame.
    pub verdict: Verdict,
    /// The frame afterwards, if it is sent.
    pub bytes: Option<Vec<u8>>,
    /// What is counted; `None`: there was no room for the answer.
    pub counted: Option<Opted>,
    /// What a token was asked of.
    pub token: Option<Opted>,
}

/// What should become of a frame by an option; `None`: nothing. One that the hook does not see as ours is none of its business.
pub fn deed(tables: &Tables, frame: &VecFrame) -> Option<Deed> {
    let bytes = &frame.bytes[..];
    let packet = Packet::read(bytes)?;
    let key = VipKey::new(Addr::from(packet.dst), frame.ifindex);
    let entry = tables.vips.get(&key).filter(|entry| entry.is_opted())?;
    let row = tables.options.get(&key)?;
    let own = tables.links.get(&frame.ifindex)?.mac().0;
    if bytes[..6] != own || !tables.is_held(entry) {
        return None;
    }
    let facts = Facts {
        tables,
        packet: &packet,
        own,
        bytes,
        room: frame.room as usize,
    };
    if row.is_echo() && packet.is_echo() && facts.may_answer() {
        return Some(facts.sent(Opted::Echoed, Some(facts.echo())));
    }
    if !matches!(packet.protocol, 6 | 17 | 132) {
        return None;
    }
    let port = [packet.rest[2], packet.rest[3]];
    let service = ServiceKey::new(key.addr(), packet.protocol, port);
    let Some(service) = tables.services.get(&service) else {
        return facts.closed(row.closed());
    };
    let is_limited = row.is_filtered() && service.sources != 0;
    let is_source = tables.is_source(service.sources, Addr::from(packet.src));
    (is_limited && !is_source).then_some(Deed::dropped(Opted::Refused))
}

impl Deed {
    const fn dropped(opted: Opted) -> Self {
        Self {
            verdict: Verdict::Drop,
            bytes: None,
            counted: Some(opted),
            token: None,
        }
    }

    /// Runs the logic on the frame, and panics if it does anything else.
    pub(super) fn run(self, before: Tables, frame: &mut VecFrame, tables: &mut Tables) -> Verdict {
        let verdict = run(frame, tables);
        assert_eq!(verdict, self.verdict, "{self:?}");
        if let Some(bytes) = &self.bytes {
            assert_eq!(frame.bytes, *bytes, "{:?}", self.counted);
        }
        let mut after = before;
        if let Some(token) = self.token {
            after.take_opted(token, after.now_ns);
        }
        match self.counted {
            Some(counted) => after.opted(counted),
            None => after.count(crate::abi::Global::NoRoom),
        }
        assert_eq!(*tables, after, "{:?}", self.counted);
        verdict
    }
}

struct Facts<'a> {
    tables: &'a Tables,
    packet: &'a Packet,
    own: [u8; 6],
    bytes: &'a [u8],
    room: usize,
}

impl Facts<'_> {
    fn closed(&self, closed: Closed) -> Option<Deed> {
        match closed {
            Closed::Pass => return None,
            Closed::Drop => return Some(Deed::dropped(Opted::Closed)),
            Closed::Reject => {}
        }
        let packet = self.packet;
        let is_answered = match packet.protocol {
            6 => packet.rest.get(13).is_some_and(|flags| flags & 4 == 0),
            17 => true,
            _ => false,
        };
        if !is_answered || !self.may_answer() {
            return Some(Deed::dropped(Opted::Closed));
        }
        let answer = match packet.protocol {
            6 => Some(self.reset()),
            _ => packet.rest.get(..8).map(|udp| self.unreachable(udp)),
        };
        Some(self.sent(Opted::Rejected, answer))
    }

    /// An answer goes out, if there is a token and room for it.
    fn sent(&self, opted: Opted, answer: Option<Vec<u8>>) -> Deed {
        let mut tables = self.tables.clone();
        let token = Some(opted);
        if !tables.take_opted(opted, tables.now_ns) {
            return Deed {
                token,
                ..Deed::dropped(Opted::Limited)
            };
        }
        let fits = |answer: &Vec<u8>| answer.len() <= self.bytes.len() + self.room;
        let bytes = answer.filter(fits);
        Deed {
            verdict: if bytes.is_some() {
                Verdict::Reply
            } else {
                Verdict::Drop
            },
            counted: bytes.is_some().then_some(opted),
            bytes,
            token,
        }
    }

    fn may_answer(&self) -> bool {
        let is_one = match self.packet.src {
            IpAddr::V4(src) => {
                let [net, ..] = src.octets();
                !src.is_loopback() && !src.is_multicast() && net != 0 && net < 240
            }
            IpAddr::V6(src) => !src.is_loopback() && !src.is_multicast() && !src.is_unspecified(),
        };
        is_one && self.packet.src != self.packet.dst && self.bytes[6].is_multiple_of(2)
    }

    fn reset(&self) -> Vec<u8> {
        let rest = &self.packet.rest;
        let number =
            |at: usize| u32::from_be_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let flags = rest[13];
        let header = usize::from(rest[12] / 16) * 4;
        let data = self.packet.bytes.saturating_sub(header) as u32;
        let marks = u32::from(flags & 1 != 0) + u32::from(flags & 2 != 0);
        let (seq, ack, flags) = match flags & 0x10 != 0 {
            true => (number(8), 0, 4),
            false => (0, number(4).wrapping_add(data).wrapping_add(marks), 0x14),
        };
        let mut segment = [&rest[2..4], &rest[..2]].concat();
        segment.extend(seq.to_be_bytes());
        segment.extend(ack.to_be_bytes());
        segment.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
        self.answer(6, segment, 16, true)
    }

    fn unreachable(&self, udp: &[u8]) -> Vec<u8> {
        let (protocol, kind, header) = match self.packet.src {
            IpAddr::V4(_) => (1, [3, 3], 20),
            IpAddr::V6(_) => (58, [1, 4], 40),
        };
        let quote = &self.bytes[14..14 + header];
        let message = [&kind[..], &[0; 6], quote, udp].concat();
        self.answer(protocol, message, 2, self.packet.src.is_ipv6())
    }

    /// The ping itself but for what a reply differs in.
    fn echo(&self) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        bytes[..6].copy_from_slice(&self.bytes[6..12]);
        bytes[6..12].copy_from_slice(&self.own);
        let (from, length, kind, at) = match self.packet.src {
            IpAddr::V4(_) => (26, 4, 0, 34),
            IpAddr::V6(_) => (22, 16, 129, 54),
        };
        let (src, dst) = (from..from + length, from + length..from + 2 * length);
        bytes[src.clone()].copy_from_slice(&self.bytes[dst.clone()]);
        bytes[dst].copy_from_slice(&self.bytes[src]);
        let hops_at = if length == 4 { 22 } else { 21 };
        bytes[hops_at] = 64;
        bytes[at] = kind;
        if length == 4 {
            mend(&mut bytes, 24, (self.bytes[22], 64));
        }
        mend(&mut bytes, at + 2, (self.bytes[at], kind));
        bytes
    }

    /// A packet back to whom it came from, with a checksum at an offset in its payload.
    fn answer(
        &self,
        protocol: u8,
        mut payload: Vec<u8>,
        sum_at: usize,
        has_pseudo: bool,
    ) -> Vec<u8> {
        let length = payload.len() as u16;
        let mut bytes = [&self.bytes[6..12], &self.own[..], &self.bytes[12..14]].concat();
        let (src, dst) = match (self.packet.src, self.packet.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mut header = std::vec![0x45, 0];
                header.extend((length + 20).to_be_bytes());
                header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
                header.extend(dst.octets());
                header.extend(src.octets());
                let sum = ones(&header);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                bytes.extend(header);
                (src.octets().to_vec(), dst.octets().to_vec())
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                bytes.extend([0x60, 0, 0, 0]);
                bytes.extend(length.to_be_bytes());
                bytes.extend([protocol, 64]);
                bytes.extend(dst.octets());
                bytes.extend(src.octets());
                (src.octets().to_vec(), dst.octets().to_vec())
            }
            (src, dst) => panic!("from {src} to {dst}"),
        };
        let [high, low] = length.to_be_bytes();
        let pseudo = [&src[..], &dst, &[0, protocol, high, low]].concat();
        let covered = if has_pseudo { &pseudo[..] } else { &[] };
        let sum = ones(&[covered, &payload].concat());
        payload[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(payload);
        bytes
    }
}

/// The Internet checksum of bytes in which it is zero.
fn ones(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or_default();
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    !folded(words.sum())
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Corrects a checksum for the byte before a byte that stayed, which became another.
fn mend(bytes: &mut [u8], at: usize, (old, new): (u8, u8)) {
    let sum = u32::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    let without = (0xffff - sum) + (0xffff - (u32::from(old) << 8));
    let sum = !folded(without + (u32::from(new) << 8));
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// A packet without anything between its IP header and its transport.
struct Packet {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    /// What follows the IP header, up to the end of the frame: four bytes at least.
    rest: Vec<u8>,
    /// How much that should be.
    bytes: usize,
}

impl Packet {
    /// `None`: it is not plain, ends too early, or is neighbour discovery.
    fn read(frame: &[u8]) -> Option<Self> {
        match frame.get(12..14)? {
            [8, 0] => {
                let header = frame.get(14..34)?;
                let fragment = u16::from_be_bytes([header[6], header[7]]);
                if header[0] != 0x45 || fragment % 0x4000 != 0 {
                    return None;
                }
                let of = |at: usize| {
                    Some(Ipv4Addr::from(
                        <[u8; 4]>::try_from(&header[at..at + 4]).ok()?,
                    ))
                };
                let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
                Self {
                    src: of(12)?.into(),
                    dst: of(16)?.into(),
                    protocol: header[9],
                    rest: frame[34..].to_vec(),
                    bytes: total.saturating_sub(20),
                }
                .whole()
            }
            [0x86, 0xdd] => {
                let header = frame.get(14..54)?;
                if header[0] / 16 != 6 {
                    return None;
                }
                let of = |at: usize| {
                    let octets = <[u8; 16]>::try_from(&header[at..at + 16]).ok()?;
                    let address = Ipv6Addr::from(octets);
                    address.to_ipv4_mapped().is_none().then_some(address)
                };
                Self {
                    src: of(8)?.into(),
                    dst: of(24)?.into(),
                    protocol: header[6],
                    rest: frame[54..].to_vec(),
                    bytes: usize::from(u16::from_be_bytes([header[4], header[5]])),
                }
                .whole()
            }
            _ => None,
        }
    }

    fn whole(self) -> Option<Self> {
        let is_neighbours = self.protocol == 58
            && self.dst.is_ipv6()
            && matches!(self.rest.first(), Some(135 | 136));
        (self.rest.len() >= 4 && !is_neighbours).then_some(self)
    }

    fn is_echo(&self) -> bool {
        match self.src {
            IpAddr::V4(_) => self.protocol == 1 && self.rest[..2] == [8, 0],
            IpAddr::V6(_) => self.protocol == 58 && self.rest[..2] == [128, 0],
        }
    }
}
