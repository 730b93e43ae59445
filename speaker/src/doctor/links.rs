//! Links, addresses and default routes of this network namespace.

use super::gather::unseen;
use crate::dataplane::{Hooked, active_features, programs_on};
use crate::edge::{Exclude, links_now};
use crate::netlink::Client;
use anyhow::{Context, Result};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoBond, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use speaker_core::LinkName;
use speaker_core::doctor::Facts;
use speaker_core::doctor::facts::{DefaultRoute, LinkFacts, OwnAddress, ProgramFacts};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Adds them to `facts`, and which of the links may announce.
pub(super) fn gather(exclude: &Exclude, facts: &mut Facts) -> Result<()> {
    let netlink = Client::open()?;
    let rows = netlink
        .dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))
        .context("failed to list the links")?;
    let messages: Vec<LinkMessage> = rows
        .into_iter()
        .filter_map(|row| match row {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        })
        .collect();
    let names: BTreeMap<u32, String> = messages
        .iter()
        .map(|message| (message.header.index, name_of(message)))
        .collect();
    let known = links_now(exclude)?;
    for message in &messages {
        let name = name_of(message);
        let of_name = LinkName(name.as_str().into());
        let mut link = link_of(message, &names);
        link.announces = known.announcing.contains_key(&of_name);
        link.refused = known.refused.get(&of_name).cloned();
        if link.announces {
            link.features = active_features(message.header.index).unwrap_or_default();
            match programs_on(message.header.index, &name) {
                Ok(programs) => link.programs = programs.into_iter().map(program).collect(),
                Err(error) => unseen(facts, &format!("programs on {name}"), &error),
            }
        }
        facts.links.insert(name, link);
    }
    facts.addresses = addresses(&netlink, &names)?;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        facts.defaults.extend(defaults(&netlink, family, &names)?);
    }
    Ok(())
}

fn program(hooked: Hooked) -> ProgramFacts {
    ProgramFacts {
        hook: hooked.hook.to_owned(),
        name: hooked.name,
        is_ours: hooked.is_ours,
    }
}

fn name_of(message: &LinkMessage) -> String {
    let name = |attribute: &LinkAttribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    };
    message.attributes.iter().find_map(name).unwrap_or_default()
}

fn link_of(message: &LinkMessage, names: &BTreeMap<u32, String>) -> LinkFacts {
    let flags = message.header.flags;
    let mut link = LinkFacts {
        is_up: flags.contains(LinkFlags::Up),
        has_carrier: flags.contains(LinkFlags::LowerUp),
        has_multicast: flags.contains(LinkFlags::Multicast),
        ..LinkFacts::default()
    };
    // The index of a link in another namespace means nothing here.
    let is_elsewhere =
        |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::LinkNetNsId(_));
    let has_below_here = !message.attributes.iter().any(is_elsewhere);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.part_of = names.get(index).cloned(),
            LinkAttribute::Link(index) if has_below_here => link.below = names.get(index).cloned(),
            LinkAttribute::LinkInfo(infos) => infos.iter().for_each(|info| kind(info, &mut link)),
            _ => {}
        }
    }
    link
}

fn kind(info: &LinkInfo, link: &mut LinkFacts) {
    match info {
        LinkInfo::Kind(InfoKind::Other(name)) => link.kind.clone_from(name),
        LinkInfo::Kind(kind) => link.kind = kind.to_string(),
        LinkInfo::Data(InfoData::Bond(rows)) => {
            link.bond_mode = rows.iter().find_map(|row| match row {
                InfoBond::Mode(mode) => Some(mode.to_string()),
                _ => None,
            });
        }
        _ => {}
    }
}

fn addresses(netlink: &Client, names: &BTreeMap<u32, String>) -> Result<Vec<OwnAddress>> {
    let rows = netlink
        .dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))
        .context("failed to list the addresses")?;
    let address = |row: &RouteNetlinkMessage| {
        let RouteNetlinkMessage::NewAddress(message) = row else {
            return None;
        };
        // On a point-to-point link ADDRESS is the other end's.
        let attributes = message.attributes.iter();
        let local = attributes.clone().find_map(|attribute| match attribute {
            AddressAttribute::Local(ip) => Some(*ip),
            _ => None,
        });
        let other = attributes.clone().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        });
        Some(OwnAddress {
            ip: local.or(other)?,
            bits: message.header.prefix_len,
            link: names.get(&message.header.index)?.clone(),
        })
    };
    Ok(rows.iter().filter_map(address).collect())
}

fn defaults(
    netlink: &Client,
    family: AddressFamily,
    names: &BTreeMap<u32, String>,
) -> Result<Vec<DefaultRoute>> {
    let mut request = RouteMessage::default();
    request.header.address_family = family;
    let rows = netlink
        .dump(RouteNetlinkMessage::GetRoute(request))
        .context("failed to list the routes")?;
    let route = |row: &RouteNetlinkMessage| {
        let RouteNetlinkMessage::NewRoute(message) = row else {
            return None;
        };
        let header = &message.header;
        let is_default = header.destination_prefix_length == 0
            && header.table == RouteHeader::RT_TABLE_MAIN
            && header.kind == RouteType::Unicast;
        let attributes = message.attributes.iter();
        let link = attributes.clone().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => names.get(index).cloned(),
            _ => None,
        });
        let gateway = attributes.clone().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
            RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
            _ => None,
        });
        Some(DefaultRoute {
            is_v6: family == AddressFamily::Inet6,
            gateway,
            link: link.filter(|_| is_default)?,
        })
    };
    Ok(rows.iter().filter_map(route).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::link::BondMode;

    /// The machine of the tests may have no bonds.
    #[test]
    fn a_bond_says_how_it_spreads() {
        let mut message = LinkMessage::default();
        message.header.flags = LinkFlags::Up | LinkFlags::Multicast;
        message.attributes = vec![
            LinkAttribute::Mtu(1500),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Bond),
                LinkInfo::Data(InfoData::Bond(vec![InfoBond::Mode(BondMode::BalanceAlb)])),
            ]),
        ];
        let link = link_of(&message, &BTreeMap::new());
        assert_eq!(link.bond_mode.as_deref(), Some("balance-alb"));
        assert_eq!((link.kind.as_str(), link.mtu), ("bond", 1500));
        assert!(link.is_up && !link.has_carrier && link.has_multicast);
    }

    #[test]
    fn a_link_below_counts_in_this_namespace_only() {
        let names = BTreeMap::from([(2, "eth0".to_owned())]);
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::Link(2)];
        assert_eq!(link_of(&message, &names).below.as_deref(), Some("eth0"));
        message.attributes.push(LinkAttribute::LinkNetNsId(0));
        assert_eq!(link_of(&message, &names).below, None);
    }
}
