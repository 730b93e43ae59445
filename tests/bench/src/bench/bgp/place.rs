//! Where senders of routes are and where their peers: the node's and the client's end of a [`Pair`], with as many addresses as a bench
//! has peers.
//!
//! Which routes there are follows from their number alone, so that a sender and a peer need not tell each other.

use super::super::Setting;
use super::super::speaker::Home;
use crate::net::{CLIENT_LINK, NODE_IP, NODE_LINK, Namespace, Pair};
use anyhow::{Context, Result};
use std::cell::Cell;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use xtask::lab::net::Netns;
use xtask::routers::Routers;

/// A family of routes, and of the session that carries them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// A route's length.
    pub(super) const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// All that the parts of this bench share.
pub(super) struct Site<'a> {
    pub(super) setting: &'a Setting,
    pub(super) routers: Routers,
    pub(super) home: Home,
    pub(super) pair: Pair,
    folders: Cell<usize>,
}

/// The end at which one sender runs.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) netns: Netns,
    pub(super) v4: Ipv4Addr,
    pub(super) v6: Ipv6Addr,
    /// The link to the peers.
    pub(super) link: String,
}

impl Place {
    /// The address that sessions of a family are spoken from.
    pub(super) fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }
}

impl<'a> Site<'a> {
    /// Makes the namespaces and unpacks the routers.
    pub(super) fn create(setting: &'a Setting) -> Result<Self> {
        let site = Self {
            setting,
            routers: Routers::ensure()?,
            home: Home::create()?,
            pair: Pair::create()?,
            folders: Cell::new(0),
        };
        for (namespace, link, address) in [
            (&site.pair.client, CLIENT_LINK, CLIENT_V6),
            (&site.pair.node, NODE_LINK, NODE_V6),
        ] {
            let address = format!("{address}/64");
            namespace.ip(&["address", "add", &address, "dev", link, "nodad"])?;
        }
        for number in 0..PEERS_MAX {
            for (family, length) in [(Family::V4, "16"), (Family::V6, "64")] {
                let address = format!("{}/{length}", peer(number, family));
                let nodad: &[&str] = if family == Family::V6 {
                    &["nodad"]
                } else {
                    &[]
                };
                let add = ["address", "add", &address, "dev", CLIENT_LINK];
                site.pair.client.ip(&[&add, nodad].concat())?;
            }
        }
        Ok(site)
    }

    /// Where a sender runs.
    pub(super) fn place(&self) -> Place {
        Place {
            netns: netns(&self.pair.node),
            v4: NODE_IP,
            v6: NODE_V6,
            link: NODE_LINK.to_owned(),
        }
    }

    /// An empty folder of its own.
    pub(super) fn folder(&self) -> Result<PathBuf> {
        self.folders.set(self.folders.get() + 1);
        let folder = self.home.folder(&format!("bgp-{}", self.folders.get()));
        fs::create_dir_all(&folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        Ok(folder)
    }
}

/// A namespace of the bench for what the chores have to run in one.
pub(super) fn netns(namespace: &Namespace) -> Netns {
    Netns::named(namespace.name())
}

/// The address of a peer by number.
pub(super) fn peer(number: usize, family: Family) -> IpAddr {
    let low = u8::try_from(number + 1).expect("there are fewer than 200 peers");
    match family {
        Family::V4 => Ipv4Addr::new(10, 85, 2, low).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0x85, 0, 0, 0, 0, 2, low.into()).into(),
    }
}

/// The address of a route by number, counted from zero.
pub(super) fn route(number: usize, family: Family) -> IpAddr {
    let host = number as u32 + 1;
    match family {
        Family::V4 => Ipv4Addr::from_bits(ROUTES_V4.to_bits() + host).into(),
        Family::V6 => Ipv6Addr::from_bits(ROUTES_V6.to_bits() + u128::from(host)).into(),
    }
}

/// The number of an IPv4 route.
pub(super) fn number_of(route: Ipv4Addr) -> Option<usize> {
    let host = route.to_bits().checked_sub(ROUTES_V4.to_bits() + 1)?;
    usize::try_from(host).ok()
}

/// Tells who waits how far it is.
pub(super) fn progress(what: &str) {
    eprintln!("  {what}");
}

/// Ends a thread's work when it goes out of scope.
pub(super) struct StopOnDrop<'a>(pub(super) &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// As many peers as the largest part has.
pub(super) const PEERS_MAX: usize = 100;
/// The pools that routes are of.
pub(super) const POOLS: [&str; 2] = ["100.64.0.0/10", "2001:db8:64::/96"];
const ROUTES_V4: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
const ROUTES_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0, 0);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x85, 0, 0, 0, 0, 0, 1);
const NODE_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x85, 0, 0, 0, 0, 0, 2);
