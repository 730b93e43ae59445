//! Routes into UPDATE messages, as many to each as 4,096 bytes hold (RFC 4271 §4.3).
//!
//! Prefixes that share their attributes are given as an iterator; one call fills one message and leaves the rest in the iterator. The
//! order of the attributes is that of their types, but MP_REACH_NLRI comes first (RFC 7606 §5.1), so that a receiver finds the
//! prefixes whatever is wrong behind it.

use super::attribute::{self, EXTENDED_LENGTH, MP_REACH_NLRI, MP_UNREACH_NLRI, OPTIONAL};
use super::encode::{message, put_u16};
use super::multiprotocol::{UNICAST, afi};
use super::{Kind, MESSAGE_BYTES_MAX};
use crate::bgp::route::{Attributes, Family, Prefix};
use std::iter::Peekable;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where packets for a prefix are to be sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NextHop {
    /// IPv4 prefixes stand in the classic fields of the message. IPv6 prefixes are announced with the address mapped into IPv6.
    V4(Ipv4Addr),
    /// All prefixes stand in MP_REACH_NLRI, those of IPv4 too (RFC 8950 §3).
    V6 {
        /// The global address, or a link-local one where there is no other.
        address: Ipv6Addr,
        /// The link-local address beside it, where the peer is on the same link (RFC 2545 §3).
        link_local: Option<Ipv6Addr>,
    },
}

/// What the session adds to each route that it announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// The AS number in AS_PATH: the one by which the peer knows this side.
    pub asn: u32,
    /// The peer is in another AS. If not, AS_PATH is empty and LOCAL_PREF is sent.
    pub is_ebgp: bool,
    /// Both sides sent capability 65; if not, an AS number above 65,535 goes as AS_TRANS, with AS4_PATH beside it (RFC 6793 §4.2.2).
    pub has_four_byte_as: bool,
    /// Where to.
    pub next_hop: NextHop,
}

/// Appends one UPDATE that announces prefixes from the front of `prefixes`, as many as fit and are of the first one's family. Says how
/// many; where there is none, nothing is appended.
///
/// Of communities and prepends only as many are sent as [`Attributes`] may have.
pub fn announce(
    out: &mut Vec<u8>,
    path: &Path,
    attributes: &Attributes,
    prefixes: &mut Peekable<impl Iterator<Item = Prefix>>,
) -> usize {
    let Some(first) = prefixes.peek() else {
        return 0;
    };
    let family = first.family();
    let end = out.len() + MESSAGE_BYTES_MAX;
    message(out, Kind::Update, |out| {
        out.extend([0; 4]);
        let begin = out.len();
        attribute::write_all(out, path, attributes, family);
        match (family, path.next_hop) {
            (Family::V4, NextHop::V4(_)) => {
                let count = out.len() - begin;
                put_u16(out, begin - 2, count);
                fill(out, end, family, prefixes)
            }
            (Family::V4 | Family::V6, next_hop) => {
                let rest = out.len() - begin;
                let count = put_reach(out, end, family, next_hop, prefixes);
                let all = out.len() - begin;
                put_u16(out, begin - 2, all);
                out[begin..].rotate_left(rest);
                count
            }
        }
    })
}

/// Appends one UPDATE that withdraws prefixes from the front of `prefixes`, as many as fit and are of the first one's family, in the
/// fields in which `path` announces them. Says how many; where there is none, nothing is appended.
pub fn withdraw(
    out: &mut Vec<u8>,
    path: &Path,
    prefixes: &mut Peekable<impl Iterator<Item = Prefix>>,
) -> usize {
    let Some(first) = prefixes.peek() else {
        return 0;
    };
    let family = first.family();
    let end = out.len() + MESSAGE_BYTES_MAX;
    message(out, Kind::Update, |out| {
        out.extend([0; 2]);
        let begin = out.len();
        match (family, path.next_hop) {
            (Family::V4, NextHop::V4(_)) => {
                // Two bytes at the end: no attributes.
                let count = fill(out, end - 2, family, prefixes);
                let bytes = out.len() - begin;
                put_u16(out, begin - 2, bytes);
                out.extend([0; 2]);
                count
            }
            (Family::V4 | Family::V6, _) => {
                out.extend([0; 2]);
                let count = put_unreach(out, end, family, prefixes);
                let bytes = out.len() - begin - 2;
                put_u16(out, begin, bytes);
                count
            }
        }
    })
}

/// Appends prefixes of a family while they fit below `end`.
fn fill(
    out: &mut Vec<u8>,
    end: usize,
    family: Family,
    prefixes: &mut Peekable<impl Iterator<Item = Prefix>>,
) -> usize {
    let mut count = 0;
    while let Some(prefix) = prefixes.next_if(|prefix| {
        let bytes = 1 + usize::from(prefix.length().div_ceil(8));
        prefix.family() == family && out.len() + bytes <= end
    }) {
        let bytes = usize::from(prefix.length().div_ceil(8));
        out.push(prefix.length());
        match prefix.address() {
            IpAddr::V4(ip) => out.extend(&ip.octets()[..bytes]),
            IpAddr::V6(ip) => out.extend(&ip.octets()[..bytes]),
        }
        count += 1;
    }
    count
}

fn put_reach(
    out: &mut Vec<u8>,
    end: usize,
    family: Family,
    next_hop: NextHop,
    prefixes: &mut Peekable<impl Iterator<Item = Prefix>>,
) -> usize {
    multiprotocol(out, MP_REACH_NLRI, family, |out| {
        match next_hop {
            NextHop::V4(ip) => {
                out.push(16);
                out.extend(ip.to_ipv6_mapped().octets());
            }
            NextHop::V6 {
                address,
                link_local,
            } => {
                out.push(if link_local.is_some() { 32 } else { 16 });
                out.extend(address.octets());
                out.extend(link_local.iter().flat_map(Ipv6Addr::octets));
            }
        }
        // A reserved byte.
        out.push(0);
        fill(out, end, family, prefixes)
    })
}

fn put_unreach(
    out: &mut Vec<u8>,
    end: usize,
    family: Family,
    prefixes: &mut Peekable<impl Iterator<Item = Prefix>>,
) -> usize {
    multiprotocol(out, MP_UNREACH_NLRI, family, |out| {
        fill(out, end, family, prefixes)
    })
}

/// Appends an attribute of two bytes of length, which is known only when `write` has appended what follows the family.
fn multiprotocol(
    out: &mut Vec<u8>,
    code: u8,
    family: Family,
    write: impl FnOnce(&mut Vec<u8>) -> usize,
) -> usize {
    out.extend([OPTIONAL | EXTENDED_LENGTH, code, 0, 0]);
    let begin = out.len();
    out.extend(afi(family).to_be_bytes());
    out.push(UNICAST);
    let written = write(out);
    let count = out.len() - begin;
    put_u16(out, begin - 2, count);
    written
}
