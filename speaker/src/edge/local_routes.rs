//! Having the kernel take packets for VIPs as its own that no interface has.
//!
//! The program marks packets that sockets of this node are to serve. One rule for each family leads what is marked to a routing table
//! of ours, and a local route there for each VIP takes it in. Nothing else is changed by that: the kernel answers no neighbour for a VIP,
//! and no packet that is not marked sees the table. Rules and routes carry our protocol number, and only those are ever
//! removed. Knows nothing of who marks, nor why.

use crate::netlink::Client;
use anyhow::{Context, Result};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

/// The rules and routes of this node.
pub(crate) struct LocalRoutes {
    netlink: Client,
    mark: u32,
}

impl LocalRoutes {
    /// For packets with this bit in their mark, in the calling thread's network namespace.
    pub(crate) fn open(mark: u32) -> Result<Self> {
        Ok(Self {
            netlink: Client::open()?,
            mark,
        })
    }

    /// Makes the kernel take marked packets for exactly these addresses. May be called as often as one likes; what others took away is
    /// put back.
    pub(crate) fn sync(&self, wanted: &BTreeSet<IpAddr>) -> Result<()> {
        for is_v4 in [true, false] {
            let of_family = wanted.iter().copied();
            let of_family: BTreeSet<IpAddr> =
                of_family.filter(|ip| ip.is_ipv4() == is_v4).collect();
            self.sync_routes(is_v4, &of_family)
                .context("failed to keep the local routes of VIPs")?;
            self.sync_rule(is_v4, !of_family.is_empty())
                .context("failed to keep the rule for marked packets")?;
        }
        Ok(())
    }

    fn sync_routes(&self, is_v4: bool, wanted: &BTreeSet<IpAddr>) -> Result<()> {
        let have = self.routes(is_v4)?;
        for ip in wanted.difference(&have) {
            let add = RouteNetlinkMessage::NewRoute(route(*ip));
            already(self.netlink.change(add, NLM_F_CREATE | NLM_F_EXCL))?;
        }
        for ip in have.difference(wanted) {
            gone(
                self.netlink
                    .change(RouteNetlinkMessage::DelRoute(route(*ip)), 0),
            )?;
        }
        Ok(())
    }

    fn sync_rule(&self, is_v4: bool, is_wanted: bool) -> Result<()> {
        let rule = rule(family(is_v4), self.mark);
        match (is_wanted, self.has_rule(is_v4)?) {
            (true, false) => {
                let add = RouteNetlinkMessage::NewRule(rule);
                already(self.netlink.change(add, NLM_F_CREATE | NLM_F_EXCL))?;
            }
            (false, true) => gone(self.netlink.change(RouteNetlinkMessage::DelRule(rule), 0))?,
            (true, true) | (false, false) => {}
        }
        Ok(())
    }

    /// The addresses that have a route of ours.
    fn routes(&self, is_v4: bool) -> Result<BTreeSet<IpAddr>> {
        let mut request = RouteMessage::default();
        request.header.address_family = family(is_v4);
        let rows = self.netlink.dump(RouteNetlinkMessage::GetRoute(request))?;
        Ok(rows.iter().filter_map(our_route).collect())
    }

    fn has_rule(&self, is_v4: bool) -> Result<bool> {
        let mut request = RuleMessage::default();
        request.header.family = family(is_v4);
        let rows = self.netlink.dump(RouteNetlinkMessage::GetRule(request))?;
        Ok(rows.iter().any(|row| match row {
            RouteNetlinkMessage::NewRule(rule) => {
                let has = |attribute| rule.attributes.contains(&attribute);
                has(RuleAttribute::Protocol(PROTOCOL)) && has(RuleAttribute::Table(TABLE))
            }
            _ => false,
        }))
    }
}

/// Removes the rules and routes of ours in the calling thread's network namespace; the addresses that had one.
pub(crate) fn clean(mark: u32) -> Result<Vec<IpAddr>> {
    let routes = LocalRoutes::open(mark)?;
    let mut removed = routes.routes(true)?;
    removed.extend(routes.routes(false)?);
    routes.sync(&BTreeSet::new())?;
    Ok(removed.into_iter().collect())
}

fn our_route(row: &RouteNetlinkMessage) -> Option<IpAddr> {
    let RouteNetlinkMessage::NewRoute(route) = row else {
        return None;
    };
    let is_ours = route.header.protocol == PROTOCOL
        && route.attributes.contains(&RouteAttribute::Table(TABLE));
    let address = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
            _ => None,
        })?;
    is_ours.then_some(address)
}

fn route(ip: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(ip.is_ipv4());
    message.header.protocol = PROTOCOL;
    message.header.scope = RouteScope::Host;
    message.header.kind = RouteType::Local;
    let (bits, destination) = match ip {
        IpAddr::V4(ip) => (32, RouteAddress::Inet(ip)),
        IpAddr::V6(ip) => (128, RouteAddress::Inet6(ip)),
    };
    message.header.destination_prefix_length = bits;
    message.attributes = vec![
        RouteAttribute::Table(TABLE),
        RouteAttribute::Destination(destination),
        RouteAttribute::Oif(LOOPBACK),
    ];
    message
}

fn rule(family: AddressFamily, mark: u32) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family;
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Priority(PRIORITY),
        RuleAttribute::FwMark(mark),
        RuleAttribute::FwMask(mark),
        RuleAttribute::Table(TABLE),
        RuleAttribute::Protocol(PROTOCOL),
    ];
    message
}

const fn family(is_v4: bool) -> AddressFamily {
    if is_v4 {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

fn already(added: io::Result<()>) -> io::Result<()> {
    match added {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        added => added,
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(()),
        removed => removed,
    }
}

/// Ours among routing tables: "HG".
const TABLE: u32 = 0x4847;
/// Before the rules of other software, which mean packets that they marked themselves; after the one for local addresses.
const PRIORITY: u32 = 72;
/// Marks what is ours; 72 is no routing daemon's number.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(72);
/// The loopback device is the first of every network namespace.
const LOOPBACK: u32 = 1;
