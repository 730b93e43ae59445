//! Network interfaces of this node.

use speaker_proto::Mac;
use std::fmt;
use std::sync::Arc;

/// The name of a network interface. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkName(pub Arc<str>);

impl From<&str> for LinkName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for LinkName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

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
    /// Index of the link below it whose frames it shares, as a macvlan's: what that one drops never gets here.
    pub below: Option<u32>,
}

impl Link {
    /// Whether frames can go in and out now.
    pub const fn is_usable(&self) -> bool {
        self.is_up && self.has_carrier
    }
}
