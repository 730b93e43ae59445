//! What can be said of a session, for logs, metrics and the operator.

use super::Cause;
use crate::bgp::{Family, Notification, Open};
use crate::{Span, Time};
use std::collections::BTreeSet;

/// The states of RFC 4271 §8.2.2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// Not started, or waiting after an error.
    Idle,
    /// Dialling.
    Connect,
    /// Dialling failed; waits to dial again, or to be dialled.
    Active,
    /// Connected, OPEN sent.
    OpenSent,
    /// OPEN received and taken.
    OpenConfirm,
    /// Routes flow.
    Established,
}

impl State {
    /// All, in order.
    pub const ALL: [Self; 6] = [
        Self::Idle,
        Self::Connect,
        Self::Active,
        Self::OpenSent,
        Self::OpenConfirm,
        Self::Established,
    ];

    /// As the RFC writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Connect => "Connect",
            Self::Active => "Active",
            Self::OpenSent => "OpenSent",
            Self::OpenConfirm => "OpenConfirm",
            Self::Established => "Established",
        }
    }
}

/// What two OPENs led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Negotiated {
    /// The hold time: the lesser of both; zero: none.
    pub hold: Span,
    /// The time between two KEEPALIVEs, before jitter; zero: none are sent.
    pub keepalive: Span,
    /// The peer is in another AS.
    pub is_external: bool,
    /// AS numbers have four bytes in AS_PATH (RFC 6793).
    pub has_four_byte_as: bool,
    /// Families that both have.
    pub families: BTreeSet<Family>,
    /// IPv4 routes go with an IPv6 next hop (RFC 8950).
    pub has_v4_over_v6_next_hop: bool,
    /// Both have graceful restart (RFC 4724): the peer keeps routes over a restart.
    pub has_graceful_restart: bool,
    /// Both set N (RFC 8538): only a hard reset makes the peer drop routes.
    pub has_hard_reset: bool,
    /// The peer marks begin and end of a refresh, and so do we (RFC 7313).
    pub has_enhanced_refresh: bool,
}

/// What passed, since the session was configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Messages sent.
    pub sent: Messages,
    /// Messages received.
    pub received: Messages,
    /// Prefixes that the peer announced, by family.
    pub announced: [u64; 2],
    /// Prefixes that the peer withdrew, by family.
    pub withdrawn: [u64; 2],
    /// UPDATEs with an error that the session survived (RFC 7606).
    pub forgiven: u64,
    /// How often the session came up.
    pub established: u64,
    /// How often it went down again.
    pub dropped: u64,
    /// Connections that the peer opened and that were turned away.
    pub refused: u64,
}

/// Messages by type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Messages {
    /// OPEN.
    pub open: u64,
    /// UPDATE.
    pub update: u64,
    /// NOTIFICATION.
    pub notification: u64,
    /// KEEPALIVE.
    pub keepalive: u64,
    /// ROUTE-REFRESH.
    pub refresh: u64,
}

impl Messages {
    /// All of them.
    pub const fn total(self) -> u64 {
        self.open + self.update + self.notification + self.keepalive + self.refresh
    }
}

/// What can be said of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: Time,
    /// Why it is not up; of a session that is up, why it was not before.
    pub cause: Cause,
    /// How often this cause came in a row.
    pub cause_count: u64,
    /// When it dials next, where it waits.
    pub retry_at: Option<Time>,
    /// What the peer said of itself in the last OPEN that was taken.
    pub peer: Option<Open>,
    /// What was negotiated, while the session is up.
    pub negotiated: Option<Negotiated>,
    /// The last NOTIFICATION that was sent, and when.
    pub last_sent: Option<(Time, Notification)>,
    /// The last NOTIFICATION that was received, and when.
    pub last_received: Option<(Time, Notification)>,
    /// The last error in an UPDATE that the session survived.
    pub last_forgiven: Option<&'static str>,
    /// Prefixes that the peer was told and that stand, by family.
    pub prefixes: [u32; 2],
    /// The peer was told everything, up to now.
    pub is_in_sync: bool,
    /// Families that were negotiated but for which there is no next hop, so that nothing is announced in them.
    pub without_next_hop: BTreeSet<Family>,
    /// What passed.
    pub counters: Counters,
}
