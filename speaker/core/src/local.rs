//! What this node knows of itself. What others must know of it travels otherwise: a node's own links gate what
//! it programs, never whom it elects.

use speaker_proto::{Mac, NodeName};
use std::collections::BTreeMap;
use std::fmt;

/// The name of a network interface.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkName(pub String);

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A network interface of this node that may announce (excluded and enslaved ones are not listed).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The kernel's index; unique while the link lives.
    pub ifindex: u32,
    /// The hardware address that answers carry.
    pub mac: Mac,
    /// Administratively up.
    pub is_up: bool,
    /// Has carrier.
    pub has_carrier: bool,
    /// The BROADCAST flag without NOARP: ARP makes sense on it.
    pub has_arp: bool,
    /// It has an IPv6 link-local address that is not tentative: NDP makes sense on it.
    pub has_ndp: bool,
}

impl Link {
    /// Whether frames can go in and out now.
    pub const fn is_usable(&self) -> bool {
        self.is_up && self.has_carrier
    }
}

/// What this node knows of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Local {
    /// Its name.
    pub node: NodeName,
    /// Its links that may announce, by name.
    pub links: BTreeMap<LinkName, Link>,
    /// Every other link name that exists (down, enslaved), so that "does not exist" can be told from "cannot be used".
    pub other_links: std::collections::BTreeSet<LinkName>,
}
