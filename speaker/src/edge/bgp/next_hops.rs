//! Which addresses routes of a connection are announced with: that of its own end, and of the other family one of the same link.

use crate::netlink::Client;
use anyhow::{Context, Result};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use speaker_proto::bgp::Prefix;
use speaker_proto::bgp::session::NextHops;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The next hops of a connection whose own end this is.
///
/// # Errors
/// When the kernel does not list its addresses.
pub(crate) fn next_hops(own: SocketAddr) -> Result<NextHops> {
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let rows = Client::open()?.dump(request);
    let rows = rows.context("failed to list the addresses")?;
    let addresses: Vec<(u32, IpAddr)> = rows.iter().filter_map(address).collect();
    Ok(choose(own, &addresses))
}

/// Whether an address lies in the prefix of one of this node's: a peer there is one hop away.
pub(crate) fn is_on_link(peer: IpAddr) -> bool {
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let rows = Client::open().and_then(|client| client.dump(request));
    // Without an answer it is taken for one that is further away, which asks for less.
    let rows = rows.unwrap_or_default();
    rows.iter().any(|row| {
        let length = match row {
            RouteNetlinkMessage::NewAddress(message) => message.header.prefix_len,
            _ => return false,
        };
        address(row).is_some_and(|(_, own)| Prefix::of(own, length).contains(peer))
    })
}

fn address(row: &RouteNetlinkMessage) -> Option<(u32, IpAddr)> {
    let RouteNetlinkMessage::NewAddress(message) = row else {
        return None;
    };
    let find = |is: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(is);
    // On a point-to-point link ADDRESS is the other end's, and LOCAL is there only with IPv4 or such a link.
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let ip = local.or_else(|| {
        find(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })?;
    Some((message.header.index, ip))
}

fn choose(own: SocketAddr, addresses: &[(u32, IpAddr)]) -> NextHops {
    let scope = match own {
        SocketAddr::V6(own) if own.scope_id() != 0 => Some(own.scope_id()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    };
    let own = own.ip().to_canonical();
    let of_own = || addresses.iter().find(|(_, ip)| *ip == own).map(|row| row.0);
    let link = scope.or_else(of_own);
    let there = || addresses.iter().filter(|row| Some(row.0) == link);
    let v4 = there().filter_map(|(_, ip)| match ip {
        IpAddr::V4(ip) if !ip.is_loopback() => Some(*ip),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    });
    let v6: Vec<Ipv6Addr> = there()
        .filter_map(|(_, ip)| match ip {
            IpAddr::V6(ip) if !ip.is_loopback() => Some(*ip),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        })
        .collect();
    let link_local = v6.iter().copied().filter(Ipv6Addr::is_unicast_link_local);
    let global = v6.iter().copied().filter(|ip| !ip.is_unicast_link_local());
    let link_local = link_local.min();
    match own {
        IpAddr::V4(own) => NextHops {
            v4: Some(own),
            v6: global.min().or(link_local),
            link_local,
        },
        IpAddr::V6(own) => NextHops {
            v4: v4.min(),
            // A peer on a link is told the link's global address where there is one: others can use that too.
            v6: if own.is_unicast_link_local() {
                global.min().or(Some(own))
            } else {
                Some(own)
            },
            link_local: if own.is_unicast_link_local() {
                Some(own)
            } else {
                link_local
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddrV6;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn check(own: SocketAddr, expected: [Option<&str>; 3]) {
        let addresses = [
            (1, ip("127.0.0.1")),
            (1, ip("::1")),
            (2, ip("fe80::2")),
            (2, ip("2001:db8::12")),
            (2, ip("2001:db8::11")),
            (2, ip("192.0.2.11")),
            (3, ip("10.0.0.1")),
            (3, ip("fe80::2")),
        ];
        let NextHops { v4, v6, link_local } = choose(own, &addresses);
        let got = [
            v4.map(IpAddr::from),
            v6.map(IpAddr::from),
            link_local.map(IpAddr::from),
        ];
        assert_eq!(got, expected.map(|text| text.map(ip)), "{own}");
    }

    #[test]
    fn the_other_family_is_that_of_the_same_link() {
        let of = |text| SocketAddr::new(ip(text), 40000);
        let all = [Some("192.0.2.11"), Some("2001:db8::11"), Some("fe80::2")];
        check(of("192.0.2.11"), all);
        check(
            of("2001:db8::12"),
            [Some("192.0.2.11"), Some("2001:db8::12"), Some("fe80::2")],
        );
        // A link without a global address has the link-local one.
        check(
            of("10.0.0.1"),
            [Some("10.0.0.1"), Some("fe80::2"), Some("fe80::2")],
        );
        check(of("127.0.0.1"), [Some("127.0.0.1"), None, None]);
    }

    #[test]
    fn an_unnumbered_session_names_the_addresses_of_its_link() {
        let own = |link| SocketAddrV6::new("fe80::2".parse().unwrap(), 179, 0, link).into();
        check(
            own(2),
            [Some("192.0.2.11"), Some("2001:db8::11"), Some("fe80::2")],
        );
        check(own(3), [Some("10.0.0.1"), Some("fe80::2"), Some("fe80::2")]);
    }
}
