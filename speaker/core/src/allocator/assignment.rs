//! What services hold: addresses, and the terms on which they share them.

use crate::service::{Protocol, ServiceId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The addresses that services hold.
pub type Assignments = BTreeMap<ServiceId, Assignment>;

/// What one service holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// One or two addresses, in the order of the status.
    pub ips: Vec<IpAddr>,
    /// The pool they came from.
    pub pool: String,
    /// On which terms it shares them; `None` for a service that does not share. Of two services that can no longer
    /// share, the one whose terms changed leaves.
    pub sharing: Option<Sharing>,
}

/// The terms on which a service shares its addresses (`allow-shared-ip`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Sharing {
    /// The key, never empty; only services with the same one share.
    pub key: String,
    /// Which pods serve it, if only nodes with such pods may announce it (policy Local); else empty.
    pub backend: String,
    /// The ports that it takes.
    pub ports: BTreeSet<Port>,
}

/// A port of an address.
pub type Port = (Protocol, u16);
