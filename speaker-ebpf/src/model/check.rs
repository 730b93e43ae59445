//! An independent reading of replies: plain slices, checksum by 16-bit words, nothing shared with the code that wrote them.
//!
//! RFC 826 for ARP, RFC 4861 §7.1.2 and §7.2.4 for advertisements.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::string::String;
use std::{format, vec::Vec};

/// A reply, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Ethernet destination.
    pub to: [u8; 6],
    /// Ethernet source.
    pub from: [u8; 6],
    /// The address that is answered for.
    pub vip: IpAddr,
    /// The address that is answered to.
    pub client: IpAddr,
    /// The hardware address that is given, if it is.
    pub mac: Option<[u8; 6]>,
    /// What kind of reply.
    pub kind: ReplyKind,
}

/// What only one of the protocols has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyKind {
    /// An ARP reply and the hardware address that it is addressed to.
    Arp {
        /// Target hardware address.
        target: [u8; 6],
    },
    /// An advertisement.
    Advertisement {
        /// The S flag.
        is_solicited: bool,
        /// The O flag.
        is_override: bool,
    },
}

/// Takes a reply apart; what is wrong with it otherwise.
pub fn parse_reply(frame: &[u8]) -> Result<Reply, String> {
    match frame.get(12..14) {
        Some([0x08, 0x06]) => arp(frame),
        Some([0x86, 0xdd]) => advertisement(frame),
        other => Err(format!("EtherType {other:?}")),
    }
}

fn arp(frame: &[u8]) -> Result<Reply, String> {
    let arp = frame.get(14..42).ok_or("an ARP frame that ends early")?;
    if arp[..8] != [0, 1, 8, 0, 6, 4, 0, 2] {
        return Err(format!("ARP header {:?}", &arp[..8]));
    }
    let reply = Reply {
        to: mac(&frame[0..6]),
        from: mac(&frame[6..12]),
        vip: v4(&arp[14..18]),
        client: v4(&arp[24..28]),
        mac: Some(mac(&arp[8..14])),
        kind: ReplyKind::Arp {
            target: mac(&arp[18..24]),
        },
    };
    if reply.mac != Some(reply.from) {
        return Err(format!("from {:?} but says {:?}", reply.from, reply.mac));
    }
    Ok(reply)
}

fn advertisement(frame: &[u8]) -> Result<Reply, String> {
    let ip = frame.get(14..54).ok_or("an IPv6 header that ends early")?;
    let payload = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
    let icmp = frame
        .get(54..54 + payload)
        .ok_or("a payload that ends early")?;
    if ip[0] >> 4 != 6 || ip[6] != 58 || ip[7] != 255 {
        return Err(format!("IPv6 header {:?}", &ip[..8]));
    }
    if icmp.len() < 24 || icmp[0] != 136 || icmp[1] != 0 {
        return Err(format!("no advertisement: {icmp:?}"));
    }
    let sum = checksum(&ip[8..24], &ip[24..40], icmp);
    if sum != 0 {
        return Err(format!("checksum off by {sum:#06x}"));
    }
    let vip = v6(&icmp[8..24]);
    if vip != v6(&ip[8..24]) {
        return Err(format!("from {} for {vip}", v6(&ip[8..24])));
    }
    let is_solicited = icmp[4] & 0x40 != 0;
    if ip[24] == 0xff && is_solicited {
        return Err("solicited, to a group".into());
    }
    if icmp[4] & 0x9f != 0 || icmp[5..8] != [0, 0, 0] {
        return Err(format!("flags {:?}", &icmp[4..8]));
    }
    Ok(Reply {
        to: mac(&frame[0..6]),
        from: mac(&frame[6..12]),
        vip,
        client: v6(&ip[24..40]),
        mac: target_link_address(&icmp[24..])?,
        kind: ReplyKind::Advertisement {
            is_solicited,
            is_override: icmp[4] & 0x20 != 0,
        },
    })
}

fn target_link_address(options: &[u8]) -> Result<Option<[u8; 6]>, String> {
    match options {
        [] => Ok(None),
        [2, 1, rest @ ..] if rest.len() == 6 => Ok(Some(mac(rest))),
        other => Err(format!("options {other:?}")),
    }
}

/// The Internet checksum of an ICMPv6 message with the checksum in it: 0 if that is right.
pub(super) fn checksum(src: &[u8], dst: &[u8], icmp: &[u8]) -> u16 {
    let length = (icmp.len() as u32).to_be_bytes();
    let parts: [&[u8]; 5] = [src, dst, &length, &[0, 0, 0, 58], icmp];
    let bytes: Vec<u8> = parts.concat();
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn mac(bytes: &[u8]) -> [u8; 6] {
    let mut mac = [0; 6];
    mac.copy_from_slice(bytes);
    mac
}

fn v4(bytes: &[u8]) -> IpAddr {
    let mut octets = [0; 4];
    octets.copy_from_slice(bytes);
    Ipv4Addr::from(octets).into()
}

fn v6(bytes: &[u8]) -> IpAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(bytes);
    Ipv6Addr::from(octets).into()
}
