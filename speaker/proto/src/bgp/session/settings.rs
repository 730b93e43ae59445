//! How one peer is configured, and which changes of that a session survives.
//!
//! Knows nothing of addresses, passwords and devices: those are the driver's, which asks for [`super::Reset::Transport`] where they change.

use crate::Span;
use crate::bgp::{Family, RouterId};
use std::collections::BTreeSet;

/// Which AS number the peer must say (RFC 4271 §6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerAsn {
    /// This one.
    Number(u32),
    /// The same as ours.
    Internal,
    /// Any other than ours.
    External,
}

/// Graceful restart as this side offers it (RFC 4724).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Graceful {
    /// For how long the peer is asked to keep routes: at most 4,095 seconds.
    pub seconds: u16,
    /// N (RFC 8538): NOTIFICATION and hold expiry keep routes too. Only where BFD finds a dead node, else its routes stay too long.
    pub has_notification: bool,
}

/// How one peer is configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The AS number that this peer sees, in OPEN and in AS_PATH: `localASN` where that is set, else `myASN`. Not 0, not 23456.
    pub asn: u32,
    /// The peer's.
    pub peer_asn: PeerAsn,
    /// Our BGP identifier.
    pub router_id: RouterId,
    /// The hold time that we propose, in seconds: 0 (none), or at least 3.
    pub hold_seconds: u16,
    /// Between two KEEPALIVEs, in seconds; a third of the negotiated hold time where that is less.
    pub keepalive_seconds: u16,
    /// The longest wait between two tries to connect; shorter ones come before.
    pub connect_retry: Span,
    /// Families that we offer.
    pub families: BTreeSet<Family>,
    /// We offer IPv4 routes with IPv6 next hops (RFC 8950).
    pub has_v4_over_v6_next_hop: bool,
    /// Graceful restart, where it is wanted.
    pub graceful_restart: Option<Graceful>,
    /// While draining, our AS number is put in front so many times more, towards other ASs.
    pub drain_prepends: u8,
}

/// [`Settings::connect_retry`] where nothing is configured: what FRR does; RFC 4271 §10 suggests 120 s.
pub const CONNECT_RETRY: Span = Span::s(30);

impl Settings {
    /// What of `new` cannot be taken by a session that stands: it was said in OPEN. `None`: all can.
    pub fn needs_new_session(&self, new: &Self) -> Option<&'static str> {
        let changes = [
            (self.asn != new.asn, "own AS number"),
            (self.peer_asn != new.peer_asn, "peer AS number"),
            (self.router_id != new.router_id, "router id"),
            (self.hold_seconds != new.hold_seconds, "hold time"),
            (self.families != new.families, "address families"),
            (
                self.has_v4_over_v6_next_hop != new.has_v4_over_v6_next_hop,
                "extended next hop",
            ),
            (
                self.graceful_restart != new.graceful_restart,
                "graceful restart",
            ),
        ];
        changes.iter().find_map(|(is, what)| is.then_some(*what))
    }
}
