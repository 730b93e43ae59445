//! What should become of a packet that goes to a node on another segment, or came from one, told from the rules on plain slices.
//!
//! RFC 2003 and RFC 2473 for packets in packets, RFC 791 and RFC 1071 for checksums, RFC 1191 and RFC 8201 for what is too big. Nothing is
//! shared with the logic but the types of the tables.

use super::check::checksum;
use super::{Tables, VecFrame};
use crate::abi::{Addr, EndValue, FarValue, VipKey};
use core::net::IpAddr;
use std::vec::Vec;
use std::{format, string::String};

/// What should become of a packet for a node on another segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It leaves by this link.
    Wrapped(u32),
    /// Its sender is told this size, if it may be told anything.
    Told(u32),
    /// It is dropped, for nobody can be told.
    Untold,
    /// It is dropped, for there is no room for what its sender should be told.
    Spoilt,
    /// It stays: it is too big, and may be cut.
    Uncut,
    /// It stays: there is no route.
    NoWay,
    /// It stays: there is no room.
    NoRoom,
}

/// What should become of `frame`, for what it has of room and of a route.
pub fn fate(frame: &VecFrame) -> Fate {
    let bytes = &frame.bytes;
    let is_v4 = bytes[12] == 8;
    let [header, sure, least] = if is_v4 {
        [20, 1300, 576]
    } else {
        [40, 1320, 1280]
    };
    let size = size(frame);
    let most = match frame.route {
        None => return Fate::NoWay,
        Some((link, most)) if size + header <= most => {
            if frame.room >= header {
                return Fate::Wrapped(link);
            }
            if size <= 1280 {
                return Fate::NoRoom;
            }
            sure
        }
        Some((_, most)) => most,
    };
    if is_v4 && (bytes[20] & 0x5f != 0x40 || bytes[21] != 0) {
        return Fate::Uncut;
    }
    let told = most.saturating_sub(header);
    let quote = if is_v4 { 68 } else { 88 };
    if told < least {
        Fate::Untold
    } else if frame.room < header + 8 || bytes.len() < 14 + quote {
        Fate::Spoilt
    } else {
        Fate::Told(told)
    }
}

/// Bytes of the biggest packet on a wire that the frame becomes.
fn size(frame: &VecFrame) -> u32 {
    let bytes = &frame.bytes;
    let is_v4 = bytes[12] == 8;
    let number = |at: usize| u32::from(bytes[at]) * 256 + u32::from(bytes[at + 1]);
    let (whole, header, protocol) = if is_v4 {
        (number(16), usize::from(bytes[14] % 16) * 4, bytes[23])
    } else {
        (number(18) + 40, 40, bytes[20])
    };
    if frame.segment_bytes == 0 {
        return whole;
    }
    let words = bytes.get(14 + header + 12).map_or(5, |byte| byte / 16);
    let transport = if protocol == 6 {
        u32::from(words) * 4
    } else {
        8
    };
    header as u32 + transport + frame.segment_bytes
}

/// Compares what left with what it was before; what is wrong with it.
pub fn check_wrapped(before: &[u8], after: &[u8], far: &FarValue) -> Result<(), String> {
    let is_v4 = before[12] == 8;
    let header = if is_v4 { 20 } else { 40 };
    let mut inner = before[14..].to_vec();
    let (outer, rest) = after[14..].split_at(header);
    let [from, to] = [far.from, far.to].map(octets);
    if is_v4 {
        inner[8] -= 1;
        inner[10..12].copy_from_slice(&rest[10..12]);
        let length = u16::from_be_bytes([before[16], before[17]]).saturating_add(20);
        let [high, low] = length.to_be_bytes();
        let head = [0x45, before[15] & 0xfc, high, low, 0, 0, 0x40, 0, 64, 4];
        if outer[..10] != head || outer[12..16] != from[12..] || outer[16..] != to[12..] {
            return Err(format!("outer header {outer:02x?}"));
        }
        if ones(outer) != 0xffff
            || (ones(&before[14..34]) == 0xffff) != (ones(&rest[..20]) == 0xffff)
        {
            // Options are left out of both sums alike.
            return Err(format!("checksums of {outer:02x?} {:02x?}", &rest[..20]));
        }
    } else {
        inner[7] -= 1;
        let length = u16::from_be_bytes([before[18], before[19]]).saturating_add(40);
        let [high, low] = length.to_be_bytes();
        let head = [
            before[14],
            before[15] & 0xcf,
            before[16],
            before[17],
            high,
            low,
            41,
            64,
        ];
        if outer[..8] != head || outer[8..24] != from || outer[24..] != to {
            return Err(format!("outer header {outer:02x?}"));
        }
    }
    if after[..14] != before[..14] || rest != inner {
        return Err(format!("{before:02x?} became {after:02x?}"));
    }
    Ok(())
}

/// Compares what its sender is told of a packet that is too big with the packet; what is wrong with it.
pub fn check_told(before: &[u8], after: &[u8], from: Addr, told: u32) -> Result<(), String> {
    let is_v4 = before[12] == 8;
    let macs = [&before[6..12], &before[..6], &before[12..14]].concat();
    let (header, quote) = if is_v4 { (20, 68) } else { (40, 88) };
    let (packet, from) = (&after[14..], octets(from));
    if after[..14] != macs || packet.len() != header + 8 + quote {
        return Err(format!("{after:02x?}"));
    }
    let (ip, icmp) = packet.split_at(header);
    let told = told.to_be_bytes();
    let is_sound = if is_v4 {
        ip[..10] == [0x45, 0xc0, 0, 96, 0, 0, 0x40, 0, 64, 1]
            && ones(ip) == 0xffff
            && ip[12..16] == from[12..]
            && ip[16..20] == before[26..30]
            && icmp[..2] == [3, 4]
            && icmp[4..8] == [0, 0, told[2], told[3]]
            && ones(icmp) == 0xffff
    } else {
        ip[..8] == [0x60, 0, 0, 0, 0, 96, 58, 64]
            && ip[8..24] == from
            && ip[24..40] == before[22..38]
            && icmp[..2] == [2, 0]
            && icmp[4..8] == told
            && checksum(&ip[8..24], &ip[24..40], icmp) == 0
    };
    match is_sound && icmp[8..] == before[14..14 + quote] {
        true => Ok(()),
        false => Err(format!("{before:02x?} was answered by {after:02x?}")),
    }
}

/// What a frame should become that may be a packet for a VIP in one to this node: `None` if it is none, `Some(None)` if
/// it is, and nobody may send it. What is for a VIP of the link is none.
pub fn taken_out(tables: &Tables, link: u32, bytes: &[u8]) -> Option<Option<Vec<u8>>> {
    let is_v4 = match bytes.get(12..14)? {
        [8, 0] => true,
        [0x86, 0xdd] => false,
        _ => return None,
    };
    let header = if is_v4 { 20 } else { 40 };
    let (outer, inner) = bytes.get(14..14 + 2 * header)?.split_at(header);
    let is_around = if is_v4 {
        outer[0] == 0x45 && outer[6] & 0x3f == 0 && outer[7] == 0 && outer[9] == 4
    } else {
        outer[6] == 41
    };
    if !is_around || inner[0] / 16 != if is_v4 { 4 } else { 6 } {
        return None;
    }
    let address = |bytes: &[u8]| {
        let address = match <[u8; 16]>::try_from(bytes) {
            Ok(octets) => IpAddr::from(octets),
            Err(_) => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        };
        let is_mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        (!is_mapped).then_some(Addr::from(address))
    };
    let half = if is_v4 { 16 } else { 24 };
    let [from, to, vip] = [
        &outer[half - (header - half)..half],
        &outer[half..],
        &inner[half..],
    ];
    let [from, to, vip] = [address(from)?, address(to)?, address(vip)?];
    let is = |addr: Addr, end: EndValue| tables.ends.get(&addr).is_some_and(|value| value.is(end));
    let is_vip = tables.vips.contains_key(&VipKey::new(to, link));
    if is_vip || !is(vip, EndValue::SERVED) {
        return None;
    }
    let is_ours = is(from, EndValue::MEMBER) && is(to, EndValue::OWN);
    Some(is_ours.then(|| limited([&bytes[..14], &bytes[14 + header..]].concat())))
}

/// With eight hops left at most, and the checksum as sound as before.
fn limited(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[12] != 8 {
        frame[21] = frame[21].min(8);
        return frame;
    }
    let less = u32::from(frame[22].saturating_sub(8)) * 256;
    frame[22] = frame[22].min(8);
    if less > 0 {
        let sum = u32::from(u16::from_be_bytes([frame[24], frame[25]])) + less;
        let sum = (sum % 0x1_0000 + sum / 0x1_0000) as u16;
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

fn octets(addr: Addr) -> [u8; 16] {
    addr.bytes()
}

/// The sum of words of sixteen bits, carries added back.
fn ones(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = sum % 0x1_0000 + sum / 0x1_0000;
    }
    sum as u16
}
