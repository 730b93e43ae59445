//! Path attributes (RFC 4271 §4.3, §5): their numbers, how one is told from the next, and those of an announcement as bytes.

use super::bytes::Bytes;
use super::open::AS_TRANS;
use super::pack::{NextHop, Path};
use crate::bgp::route::{Attributes, Family, LargeCommunity};

pub(super) const ORIGIN: u8 = 1;
pub(super) const AS_PATH: u8 = 2;
pub(super) const NEXT_HOP: u8 = 3;
pub(super) const MULTI_EXIT_DISC: u8 = 4;
pub(super) const LOCAL_PREF: u8 = 5;
pub(super) const ATOMIC_AGGREGATE: u8 = 6;
pub(super) const AGGREGATOR: u8 = 7;
/// RFC 1997.
pub(super) const COMMUNITIES: u8 = 8;
/// RFC 4456 §8, as the next.
pub(super) const ORIGINATOR_ID: u8 = 9;
pub(super) const CLUSTER_LIST: u8 = 10;
/// RFC 4760 §3, as the next.
pub(super) const MP_REACH_NLRI: u8 = 14;
pub(super) const MP_UNREACH_NLRI: u8 = 15;
/// RFC 4360 §2.
pub(super) const EXTENDED_COMMUNITIES: u8 = 16;
/// RFC 6793 §3, as the next.
pub(super) const AS4_PATH: u8 = 17;
pub(super) const AS4_AGGREGATOR: u8 = 18;
/// RFC 5701 §2.
pub(super) const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
/// RFC 8092 §3.
pub(super) const LARGE_COMMUNITY: u8 = 32;
/// RFC 9234 §5.
pub(super) const ONLY_TO_CUSTOMER: u8 = 35;

/// O: not every speaker knows it.
pub(super) const OPTIONAL: u8 = 0x80;
/// T: it goes on to others.
pub(super) const TRANSITIVE: u8 = 0x40;
/// E: its length has two bytes.
pub(super) const EXTENDED_LENGTH: u8 = 0x10;

/// AS_PATH: the segment that is in order.
const AS_SEQUENCE: u8 = 2;
/// The highest number of prepends; [`Attributes::prepends`] promises no more.
const PREPENDS_MAX: u8 = 10;
/// The highest number of communities of each kind; [`Attributes`] promises no more.
const COMMUNITIES_MAX: usize = 63;

/// One attribute as received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    pub(super) flags: u8,
    pub(super) code: u8,
    pub(super) value: &'a [u8],
    /// All of it.
    pub(super) bytes: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The first attribute of those that are left; `None` if it runs beyond their end (RFC 7606 §4).
    pub(super) fn next(left: &mut Bytes<'a>) -> Option<Self> {
        let Bytes(begin) = *left;
        let (flags, code) = (left.u8()?, left.u8()?);
        let value = match flags & EXTENDED_LENGTH {
            0 => left.behind_u8()?,
            _ => left.behind_u16()?,
        };
        let bytes = begin.get(..begin.len() - left.0.len())?;
        Some(Self {
            flags,
            code,
            value: value.0,
            bytes,
        })
    }
}

/// Appends all attributes of an announcement but MP_REACH_NLRI, in the order of their types. At most 1,120 bytes, so that there is room
/// for prefixes.
pub(super) fn write_all(out: &mut Vec<u8>, path: &Path, attributes: &Attributes, family: Family) {
    const IGP: u8 = 0;
    const WELL_KNOWN: u8 = TRANSITIVE;
    write(out, WELL_KNOWN, ORIGIN, [[IGP]]);
    let hops = hops(path, attributes);
    if path.has_four_byte_as {
        write_path(out, WELL_KNOWN, AS_PATH, path.asn.to_be_bytes(), hops);
    } else {
        write_path(out, WELL_KNOWN, AS_PATH, two_byte_as(path.asn), hops);
    }
    if let (Family::V4, NextHop::V4(ip)) = (family, path.next_hop) {
        write(out, WELL_KNOWN, NEXT_HOP, [ip.octets()]);
    }
    let med = attributes.med.map(u32::to_be_bytes);
    write(out, OPTIONAL, MULTI_EXIT_DISC, med);
    // RFC 4271 §5.1.5: within one AS only.
    let local_pref = (!path.is_ebgp).then(|| attributes.local_pref.to_be_bytes());
    write(out, WELL_KNOWN, LOCAL_PREF, local_pref);
    let communities = attributes.communities.iter().take(COMMUNITIES_MAX);
    let communities = communities.map(|community| community.0.to_be_bytes());
    write(out, OPTIONAL | TRANSITIVE, COMMUNITIES, communities);
    let rate = attributes.link_bandwidth;
    let rate = rate.map(|rate| link_bandwidth(path.asn, rate));
    write(out, OPTIONAL | TRANSITIVE, EXTENDED_COMMUNITIES, rate);
    // RFC 6793 §4.2.2: only beside an AS_PATH with AS_TRANS in it.
    if !path.has_four_byte_as && u16::try_from(path.asn).is_err() && hops > 0 {
        let asn = path.asn.to_be_bytes();
        write_path(out, OPTIONAL | TRANSITIVE, AS4_PATH, asn, hops);
    }
    let large = attributes.large_communities.iter().take(COMMUNITIES_MAX);
    let large = large.map(large_community);
    write(out, OPTIONAL | TRANSITIVE, LARGE_COMMUNITY, large);
}

/// Appends an attribute whose value is made of parts of one size. Without a part there is no attribute.
fn write<const N: usize>(
    out: &mut Vec<u8>,
    flags: u8,
    code: u8,
    parts: impl IntoIterator<Item = [u8; N]>,
) {
    let begin = out.len();
    // The longer form is kept where it is needed only: some receivers take the other for malformed.
    out.extend([flags, code, 0]);
    out.extend(parts.into_iter().flatten());
    let count = out.len() - begin - 3;
    match u8::try_from(count) {
        Ok(0) => out.truncate(begin),
        Ok(count) => out[begin + 2] = count,
        Err(_) => {
            let count = u16::try_from(count).expect("no attribute has more than 756 bytes");
            let [high, low] = count.to_be_bytes();
            out[begin] |= EXTENDED_LENGTH;
            out[begin + 2] = high;
            out.insert(begin + 3, low);
        }
    }
}

/// Appends a path in which one AS stands so often. That of no AS is an attribute without a value (RFC 4271 §5.1.2).
fn write_path<const N: usize>(out: &mut Vec<u8>, flags: u8, code: u8, asn: [u8; N], hops: u8) {
    out.extend([flags, code]);
    if hops == 0 {
        out.push(0);
        return;
    }
    let bytes = u8::try_from(N).expect("an AS number has two or four bytes");
    out.extend([2 + hops * bytes, AS_SEQUENCE, hops]);
    out.extend(std::iter::repeat_n(asn, hops.into()).flatten());
}

/// How often the own AS stands in the path: not at all within it (RFC 4271 §5.1.2).
fn hops(path: &Path, attributes: &Attributes) -> u8 {
    match path.is_ebgp {
        true => 1 + attributes.prepends.min(PREPENDS_MAX),
        false => 0,
    }
}

fn two_byte_as(asn: u32) -> [u8; 2] {
    u16::try_from(asn).unwrap_or(AS_TRANS).to_be_bytes()
}

/// Of the type 0x40 04, which goes no further than to the peer: an AS number of two bytes and a rate as a float.
fn link_bandwidth(asn: u32, bytes_per_second: u64) -> [u8; 8] {
    let [high, low] = two_byte_as(asn);
    let [a, b, c, d] = (bytes_per_second as f32).to_be_bytes();
    [0x40, 0x04, high, low, a, b, c, d]
}

fn large_community(community: &LargeCommunity) -> [u8; 12] {
    let LargeCommunity(global, first, second) = *community;
    let mut bytes = [0; 12];
    let fields = [global, first, second].map(u32::to_be_bytes);
    bytes.copy_from_slice(fields.as_flattened());
    bytes
}
