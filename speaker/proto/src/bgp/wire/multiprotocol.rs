//! Families as numbers, lists of prefixes, and the two attributes that carry those of any family (RFC 4760 §3, §4; RFC 8950 §3).
//! Prefixes are counted, not kept.

use super::bytes::Bytes;
use crate::bgp::route::Family;

/// SAFI 1.
pub(super) const UNICAST: u8 = 1;

/// The address family identifier of a family.
pub(super) const fn afi(family: Family) -> u16 {
    match family {
        Family::V4 => 1,
        Family::V6 => 2,
    }
}

/// The family of two numbers; `None` for those that are not ours.
pub(super) const fn family(afi: u16, safi: u8) -> Option<Family> {
    match (afi, safi) {
        (1, UNICAST) => Some(Family::V4),
        (2, UNICAST) => Some(Family::V6),
        _ => None,
    }
}

/// How many prefixes a list has; `None` if one is longer than an address, or the list ends within one (RFC 7606 §5.3).
pub(super) fn count(list: &[u8], family: Family) -> Option<u32> {
    let mut list = Bytes(list);
    let mut count = 0;
    while !list.is_empty() {
        let bits = list.u8().filter(|bits| *bits <= family.bits())?;
        list.take(usize::from(bits.div_ceil(8)))?;
        count += 1;
    }
    Some(count)
}

/// What a multiprotocol attribute is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Listed {
    /// `None`: not one of ours, and not looked at.
    pub(super) family: Option<Family>,
    /// Prefixes; of a family that is not ours, whether there is any.
    pub(super) count: u32,
}

impl Listed {
    /// Prefixes of a classic field.
    pub(super) const fn classic(count: u32) -> Self {
        Self {
            family: Some(Family::V4),
            count,
        }
    }
}

/// MP_REACH_NLRI; `None` if it is malformed.
pub(super) fn reach(value: &[u8]) -> Option<Listed> {
    let mut value = Bytes(value);
    let family = family(value.u16()?, value.u8()?);
    let next_hop = value.behind_u8()?;
    let _reserved = value.u8()?;
    // RFC 7606 §7.11: behind a next hop of another length the list of prefixes cannot be found.
    let is_next_hop = match family {
        Some(Family::V4) => matches!(next_hop.0.len(), 4 | 16 | 32),
        Some(Family::V6) => matches!(next_hop.0.len(), 16 | 32),
        None => true,
    };
    is_next_hop.then(|| listed(family, value.0))?
}

/// MP_UNREACH_NLRI; `None` if it is malformed.
pub(super) fn unreach(value: &[u8]) -> Option<Listed> {
    let mut value = Bytes(value);
    let family = family(value.u16()?, value.u8()?);
    listed(family, value.0)
}

fn listed(family: Option<Family>, list: &[u8]) -> Option<Listed> {
    let count = match family {
        Some(family) => count(list, family)?,
        None => u32::from(!list.is_empty()),
    };
    Some(Listed { family, count })
}
