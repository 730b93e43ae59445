//! What two BGP speakers say to each other, as values (RFC 4271 §4). Routes of the other side are counted, never kept, so an UPDATE is
//! no more than what became of it.

use super::route::{Family, RouterId};
use std::collections::{BTreeMap, BTreeSet};

/// One message as received, after its errors were judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Type 1.
    Open(Open),
    /// Type 2: what it did to the numbers that are kept of a peer.
    Update(Update),
    /// Type 3.
    Notification(Notification),
    /// Type 4.
    Keepalive,
    /// Type 5 (RFC 2918): send everything of this family again. `None`: there is nothing to send, because the family is not ours, or
    /// because it marks the beginning or end of what nobody here asked for (RFC 7313).
    RouteRefresh(Option<Family>),
}

/// OPEN (RFC 4271 §4.2) with its capabilities (RFC 5492).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Open {
    /// The AS number: of capability 65 where it is there (RFC 6793), else of the fixed field.
    pub asn: u32,
    /// The proposed hold time in seconds: 0, or at least 3.
    pub hold_seconds: u16,
    /// The BGP identifier.
    pub router_id: RouterId,
    /// What the speaker can do.
    pub capabilities: Capabilities,
}

/// What a speaker says that it can do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// Families by capability 1 (RFC 4760). None at all: IPv4 only, without multiprotocol extensions.
    pub families: BTreeSet<Family>,
    /// Capability 2, or 128 as some send it (RFC 2918).
    pub has_route_refresh: bool,
    /// Capability 70 (RFC 7313).
    pub has_enhanced_refresh: bool,
    /// Capability 65 (RFC 6793).
    pub has_four_byte_as: bool,
    /// Capability 5 (RFC 8950) for IPv4 unicast with an IPv6 next hop.
    pub has_v4_over_v6_next_hop: bool,
    /// Capability 64 (RFC 4724).
    pub graceful_restart: Option<GracefulRestart>,
    /// Codes of capabilities that mean nothing to us, for the operator.
    pub others: BTreeSet<u8>,
}

/// The graceful restart capability (RFC 4724 §3).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GracefulRestart {
    /// R: the speaker was started again.
    pub is_restarting: bool,
    /// N (RFC 8538 §2): NOTIFICATION and hold expiry keep routes too.
    pub has_notification: bool,
    /// For how long the other side is to keep routes: 0 to 4095 seconds.
    pub seconds: u16,
    /// Families, each with F: whether forwarding was preserved.
    pub families: BTreeMap<Family, bool>,
}

/// What an UPDATE did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Update {
    /// Prefixes announced, by family.
    pub announced: [u32; 2],
    /// Prefixes withdrawn, by family; those treated as withdrawn among them (RFC 7606 §2).
    pub withdrawn: [u32; 2],
    /// The family whose End-of-RIB this is (RFC 4724 §2).
    pub end_of_rib: Option<Family>,
    /// An attribute error that the session survives (RFC 7606), in words.
    pub forgiven: Option<&'static str>,
}

/// NOTIFICATION (RFC 4271 §4.5).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode; 0: unspecific.
    pub subcode: u8,
    /// What the error is about, at most 4,075 bytes.
    pub data: Vec<u8>,
}

impl Notification {
    /// One without data.
    pub const fn new(code: u8, subcode: u8) -> Self {
        Self {
            code,
            subcode,
            data: Vec::new(),
        }
    }
}
