//! Which address a service gets, as a pure function.
//!
//! MetalLB's rules: compat §2 in `docs/metallb.md`.

use crate::service::ServiceId;
use std::collections::BTreeMap;
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
}
