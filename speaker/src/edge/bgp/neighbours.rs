//! Which neighbours of a link are routers, as the kernel knows it from their neighbour advertisements (RFC 4861 §4.4, the flag R).
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

/// The link-local addresses of routers that are neighbours on this link, in the calling thread's network namespace.
///
/// # Errors
/// When the kernel does not list its neighbours.
pub(crate) fn neighbouring_routers(ifindex: u32) -> Result<BTreeSet<Ipv6Addr>> {
    let mut request = NeighbourMessage::default();
    request.header.family = AddressFamily::Inet6;

    let rows = Client::open()?.dump(RouteNetlinkMessage::GetNeighbour(request))?;
    Ok(rows.iter().filter_map(|row| router(row, ifindex)).collect())
}

fn router(row: &RouteNetlinkMessage, ifindex: u32) -> Option<Ipv6Addr> {
    let RouteNetlinkMessage::NewNeighbour(neighbour) = row else {
        return None;
    };
    let header = &neighbour.header;
    let is_there = !matches!(
        header.state,
        NeighbourState::Failed | NeighbourState::Incomplete | NeighbourState::None
    );
    if header.ifindex != ifindex || !is_there || !header.flags.contains(NeighbourFlags::Router) {
        return None;
    }
    let mut attributes = neighbour.attributes.iter();
    attributes.find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
            Some(*ip).filter(Ipv6Addr::is_unicast_link_local)
        }
        _ => None,
    })
}
