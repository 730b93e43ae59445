//! The neighbours of a link, and which of them are routers, as the kernel knows it from their neighbour advertisements (RFC 4861 §4.4, the flag R).
//!
//! For peers on links that send no router advertisements. Knows nothing of who is dialled.

use crate::netlink::Client;
use anyhow::Result;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::collections::BTreeSet;
use std::net::Ipv6Addr;

/// Link-local addresses of neighbours.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Neighbours {
    pub(crate) routers: BTreeSet<Ipv6Addr>,
    /// That do not call themselves routers.
    pub(crate) others: BTreeSet<Ipv6Addr>,
}

/// The neighbours on this link, in the calling thread's network namespace.
///
/// # Errors
/// When the kernel does not list its neighbours.
pub(crate) fn neighbours(ifindex: u32) -> Result<Neighbours> {
    let mut request = NeighbourMessage::default();
    request.header.family = AddressFamily::Inet6;

    let rows = Client::open()?.dump(RouteNetlinkMessage::GetNeighbour(request))?;
    let mut found = Neighbours::default();
    for (address, is_router) in rows.iter().filter_map(|row| neighbour(row, ifindex)) {
        match is_router {
            true => found.routers.insert(address),
            false => found.others.insert(address),
        };
    }
    Ok(found)
}

/// One that is there, and whether it is a router.
fn neighbour(row: &RouteNetlinkMessage, ifindex: u32) -> Option<(Ipv6Addr, bool)> {
    let RouteNetlinkMessage::NewNeighbour(neighbour) = row else {
        return None;
    };
    let header = &neighbour.header;
    let is_there = !matches!(
        header.state,
        NeighbourState::Failed | NeighbourState::Incomplete | NeighbourState::None
    );
    if header.ifindex != ifindex || !is_there {
        return None;
    }
    let mut attributes = neighbour.attributes.iter();
    let address = attributes.find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
            Some(*ip).filter(Ipv6Addr::is_unicast_link_local)
        }
        _ => None,
    });
    Some((address?, header.flags.contains(NeighbourFlags::Router)))
}
