//! What is announced: prefixes and the attributes that each peer is told with them.
//!
//! Attributes that depend on the session (ORIGIN, AS_PATH, NEXT_HOP, whether LOCAL_PREF is sent at all) are not here: the session
//! adds them when it encodes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// An address family; always unicast (SAFI 1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// IPv4 unicast, AFI 1.
    V4,
    /// IPv6 unicast, AFI 2.
    V6,
}

impl Family {
    /// Both, in the order in which they are announced.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The bits of an address.
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// As operators write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }
}

/// An address prefix without bits beyond its length. Ordered by family, then address, then length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix of `length` bits in which `ip` lies; a length beyond the family's bits means all of them.
    pub fn of(ip: IpAddr, length: u8) -> Self {
        let length = length.min(Family::of(ip).bits());
        let address = match ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        };
        Self { address, length }
    }

    /// Its first address.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// Its length in bits.
    pub const fn length(self) -> u8 {
        self.length
    }

    /// Its family.
    pub const fn family(self) -> Family {
        Family::of(self.address)
    }

    /// Whether an address lies in it.
    pub fn contains(self, ip: IpAddr) -> bool {
        Family::of(ip) == self.family() && Self::of(ip, self.length) == self
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// A community (RFC 1997), 32 bits: written as two numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Community(pub u32);

impl Community {
    /// GRACEFUL_SHUTDOWN (RFC 8326 §4): the route is about to go.
    pub const GRACEFUL_SHUTDOWN: Self = Self::of(65535, 0);

    /// The community `high:low`.
    pub const fn of(high: u16, low: u16) -> Self {
        Self((high as u32) << 16 | low as u32)
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// A large community (RFC 8092): global administrator and two numbers of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LargeCommunity(pub u32, pub u32, pub u32);

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "large:{}:{}:{}", self.0, self.1, self.2)
    }
}

/// What a peer is told of a prefix beside how to get there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Attributes {
    /// LOCAL_PREF, sent within one AS only (RFC 4271 §5.1.5).
    pub local_pref: u32,
    /// MULTI_EXIT_DISC (RFC 4271 §5.1.4); `None`: not sent.
    pub med: Option<u32>,
    /// How often the own AS number is put in front once more; towards other ASs only. At most 10.
    pub prepends: u8,
    /// COMMUNITIES, at most 63.
    pub communities: BTreeSet<Community>,
    /// LARGE_COMMUNITY, at most 63.
    pub large_communities: BTreeSet<LargeCommunity>,
    /// The link bandwidth extended community in bytes a second (draft-ietf-idr-link-bandwidth); `None`: not sent.
    pub link_bandwidth: Option<u64>,
}

impl fmt::Display for Attributes {
    /// In one line, as operators and tests read it: what is not said is left out, but for LOCAL_PREF.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "local-pref {}", self.local_pref)?;
        if let Some(med) = self.med {
            write!(f, ", med {med}")?;
        }
        if self.prepends > 0 {
            write!(f, ", prepend {}", self.prepends)?;
        }
        if let Some(bytes) = self.link_bandwidth {
            write!(f, ", link-bandwidth {bytes}")?;
        }
        if !(self.communities.is_empty() && self.large_communities.is_empty()) {
            f.write_str(", communities")?;
        }
        for community in &self.communities {
            write!(f, " {community}")?;
        }
        for community in &self.large_communities {
            write!(f, " {community}")?;
        }
        Ok(())
    }
}

/// The routes of one peer. Attributes are shared among prefixes and peers, so that a table costs little more than its prefixes.
pub type Routes = BTreeMap<Prefix, Arc<Attributes>>;

/// A BGP identifier (RFC 6286 §2.1): 32 bits, not zero, written as an IPv4 address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RouterId(std::num::NonZeroU32);

impl RouterId {
    /// `None` for 0.0.0.0.
    pub fn new(ip: Ipv4Addr) -> Option<Self> {
        std::num::NonZeroU32::new(ip.to_bits()).map(Self)
    }

    /// As 32 bits in host order, which is how two of them compare (RFC 4271 §6.8).
    pub const fn bits(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv4Addr::from_bits(self.bits()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("the tests write addresses")
    }

    #[test]
    fn a_prefix_has_no_bits_beyond_its_length() {
        assert_eq!(Prefix::of(ip("192.0.2.77"), 24).to_string(), "192.0.2.0/24");
        assert_eq!(Prefix::of(ip("192.0.2.77"), 0).to_string(), "0.0.0.0/0");
        assert_eq!(
            Prefix::of(ip("192.0.2.77"), 99).to_string(),
            "192.0.2.77/32"
        );
        assert_eq!(
            Prefix::of(ip("2001:db8::1:2"), 112).to_string(),
            "2001:db8::1:0/112"
        );
        assert_eq!(Prefix::of(ip("2001:db8::1"), 0).to_string(), "::/0");
    }

    #[test]
    fn a_prefix_contains_what_lies_in_it_and_nothing_of_the_other_family() {
        let prefix = Prefix::of(ip("192.0.2.0"), 24);
        assert!(prefix.contains(ip("192.0.2.255")));
        assert!(!prefix.contains(ip("192.0.3.0")));
        assert!(!Prefix::of(ip("0.0.0.0"), 0).contains(ip("::1")));
    }

    #[test]
    fn attributes_are_told_in_one_line_and_what_is_not_said_is_left_out() {
        assert_eq!(Attributes::default().to_string(), "local-pref 0");
        let attributes = Attributes {
            local_pref: 100,
            med: Some(0),
            prepends: 2,
            communities: BTreeSet::from([Community::of(65535, 65281), Community::of(1, 2)]),
            large_communities: BTreeSet::from([LargeCommunity(1, 2, 3)]),
            link_bandwidth: Some(125),
        };
        assert_eq!(
            attributes.to_string(),
            "local-pref 100, med 0, prepend 2, link-bandwidth 125, communities 1:2 65535:65281 large:1:2:3"
        );
    }

    #[test]
    fn the_graceful_shutdown_community_is_that_of_rfc_8326() {
        assert_eq!(Community::GRACEFUL_SHUTDOWN.0, 0xffff_0000);
        assert_eq!(Community::GRACEFUL_SHUTDOWN.to_string(), "65535:0");
    }

    #[test]
    fn rfc6286_2_1_a_router_id_is_not_zero() {
        assert_eq!(RouterId::new(Ipv4Addr::UNSPECIFIED), None);
        let id = RouterId::new(Ipv4Addr::new(10, 0, 0, 1)).expect("not zero");
        assert_eq!(
            (id.bits(), id.to_string().as_str()),
            (0x0a00_0001, "10.0.0.1")
        );
    }
}
