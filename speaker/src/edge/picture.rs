//! What the kernel's messages say of all links, and which of these may announce.
//!
//! Parsed as each message arrives. Rules of MetalLB's speaker ("interfaces"), plus one of
//! our own: a bond in mode balance-alb rewrites ARP replies itself and is refused.

use super::exclude::Exclude;
use super::links::Links;
use crate::netlink::Client;
use anyhow::{Context, Result};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use netlink_packet_route::link::{
    BondMode, InfoBond, InfoBridge, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo,
    LinkLayerType, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use speaker_core::{Link, LinkName};
use speaker_proto::Mac;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

/// All links and their link-local addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Picture {
    devices: BTreeMap<u32, Device>,
    /// Link-local addresses that can be used, by link.
    link_locals: BTreeSet<(u32, Ipv6Addr)>,
}

/// Asks the kernel for everything.
pub(super) fn take_picture(requests: &Client) -> Result<Picture> {
    let mut picture = Picture::default();
    let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    for request in [
        RouteNetlinkMessage::GetLink(LinkMessage::default()),
        addresses,
    ] {
        for message in requests.dump(request).context("failed to list the links")? {
            picture.take(&message);
        }
    }
    Ok(picture)
}

/// Index and name of every link of the calling thread's network namespace.
pub(super) fn names() -> Result<BTreeMap<u32, String>> {
    let picture = take_picture(&Client::open()?)?;
    Ok(picture
        .devices
        .into_iter()
        .map(|(ifindex, device)| (ifindex, device.name))
        .collect())
}

/// One link as its latest message has it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Device {
    name: String,
    flags: LinkFlags,
    /// `None` for anything but Ethernet.
    mac: Option<Mac>,
    /// What the hardware was made with: a link in a bond has another one there.
    permanent_mac: Option<Mac>,
    /// The index of the bridge, bond or VRF that it is a port of.
    controller: Option<u32>,
    is_vrf: bool,
    bond: Option<BondMode>,
    /// Whether netfilter sees what crosses it, if it is a bridge.
    is_filtered_bridge: Option<bool>,
    /// The link that a macvlan lies on.
    below: Option<u32>,
}

impl Picture {
    /// Takes one message in: a link or an address that came, changed or went.
    pub(super) fn take(&mut self, message: &RouteNetlinkMessage) {
        match message {
            RouteNetlinkMessage::NewLink(link) if is_of_the_link_itself(link) => {
                self.devices.insert(link.header.index, Device::from(link));
            }
            RouteNetlinkMessage::DelLink(link) if is_of_the_link_itself(link) => {
                let gone = link.header.index;
                self.devices.remove(&gone);
                self.link_locals.retain(|(ifindex, _)| *ifindex != gone);
            }
            RouteNetlinkMessage::NewAddress(address) => {
                if let Some((key, is_usable)) = link_local(address) {
                    match is_usable {
                        true => self.link_locals.insert(key),
                        false => self.link_locals.remove(&key),
                    };
                }
            }
            RouteNetlinkMessage::DelAddress(address) => {
                if let Some((key, _)) = link_local(address) {
                    self.link_locals.remove(&key);
                }
            }
            _ => {}
        }
    }

    /// The links by what they may do.
    pub(super) fn links(&self, exclude: &Exclude) -> Links {
        let mut links = Links::default();
        for (&ifindex, device) in &self.devices {
            if exclude.contains(&device.name) {
                continue;
            }
            let macs = [device.mac, device.permanent_mac].into_iter().flatten();
            links.macs.extend(macs.filter(is_of_one_station));
            let name = LinkName(device.name.as_str().into());
            if let Some(is_filtered) = device.is_filtered_bridge {
                links.bridges.insert(name.clone(), is_filtered);
            }
            match self.link(ifindex, device) {
                Ok(link) => {
                    links.announcing.insert(name, link);
                }
                Err(NotAnnouncing::ByNature) => {
                    if let Some(link) = self.in_vrf(ifindex, device) {
                        links.in_vrfs.insert(name.clone(), link);
                    }
                    links.others.insert(name);
                }
                Err(NotAnnouncing::Refused(why)) => {
                    links.refused.insert(name.clone(), why);
                    links.others.insert(name);
                }
            }
        }
        links
    }

    fn link(&self, ifindex: u32, device: &Device) -> Result<Link, NotAnnouncing> {
        let flags = device.flags;
        let Some(mac) = device.mac else {
            return Err(NotAnnouncing::ByNature);
        };
        if device.controller.is_some() || flags.intersects(LinkFlags::Noarp | LinkFlags::Loopback) {
            return Err(NotAnnouncing::ByNature);
        }
        if device.bond == Some(BondMode::BalanceAlb) {
            return Err(NotAnnouncing::Refused(
                "a bond in mode balance-alb rewrites ARP replies by itself; use another mode"
                    .to_owned(),
            ));
        }
        Ok(self.of(ifindex, device, mac))
    }

    /// A port of a VRF.
    fn in_vrf(&self, ifindex: u32, device: &Device) -> Option<Link> {
        let vrf = self.devices.get(&device.controller?)?;
        vrf.is_vrf.then_some(())?;
        Some(self.of(ifindex, device, device.mac?))
    }

    fn of(&self, ifindex: u32, device: &Device, mac: Mac) -> Link {
        let of_link = (ifindex, Ipv6Addr::UNSPECIFIED)..=(ifindex, Ipv6Addr::from([0xff; 16]));
        Link {
            ifindex,
            mac,
            is_up: device.flags.contains(LinkFlags::Up),
            has_carrier: device.flags.contains(LinkFlags::LowerUp),
            has_arp: device.flags.contains(LinkFlags::Broadcast),
            has_ndp: self.link_locals.range(of_link).next().is_some(),
            below: device.below,
        }
    }
}

/// Neither a group's address nor none at all, as a link without hardware has.
fn is_of_one_station(mac: &Mac) -> bool {
    mac.0[0] & 1 == 0 && mac.0 != [0; 6]
}

/// Why a link does not announce.
enum NotAnnouncing {
    /// Nobody expects it to.
    ByNature,
    /// Somebody might.
    Refused(String),
}

/// Bridges and wireless drivers send messages of other families and parts of the state under the same type.
fn is_of_the_link_itself(link: &LinkMessage) -> bool {
    let is_wireless_event =
        |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::Wireless(_));
    link.header.interface_family == AddressFamily::Unspec
        && !link.attributes.iter().any(is_wireless_event)
}

impl From<&LinkMessage> for Device {
    fn from(link: &LinkMessage) -> Self {
        let is_ethernet = link.header.link_layer_type == LinkLayerType::Ether;
        let mut device = Self {
            name: String::new(),
            flags: link.header.flags,
            mac: None,
            permanent_mac: None,
            controller: None,
            is_vrf: false,
            bond: None,
            is_filtered_bridge: None,
            below: below(link),
        };
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::IfName(name) => device.name.clone_from(name),
                LinkAttribute::Address(bytes) if is_ethernet => {
                    device.mac = bytes.as_slice().try_into().ok().map(Mac);
                }
                LinkAttribute::PermAddress(bytes) if is_ethernet => {
                    device.permanent_mac = bytes.as_slice().try_into().ok().map(Mac);
                }
                LinkAttribute::Controller(ifindex) => {
                    device.controller = Some(*ifindex).filter(|ifindex| *ifindex != 0);
                }
                LinkAttribute::LinkInfo(infos) => {
                    device.is_vrf = infos.contains(&LinkInfo::Kind(InfoKind::Vrf));
                    device.bond = infos.iter().find_map(bond_mode);
                    device.is_filtered_bridge = infos.iter().find_map(is_filtered);
                }
                _ => {}
            }
        }
        device
    }
}

/// The link that a macvlan of this namespace lies on. A VLAN device shares no frames with its own: they have a tag there.
fn below(link: &LinkMessage) -> Option<u32> {
    let has = |wanted: fn(&LinkAttribute) -> bool| link.attributes.iter().any(wanted);
    let is_macvlan = has(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.contains(&LinkInfo::Kind(InfoKind::MacVlan)),
        _ => false,
    });
    if !is_macvlan || has(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_))) {
        return None;
    }
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Link(ifindex) => Some(*ifindex),
            _ => None,
        })
}

fn bond_mode(info: &LinkInfo) -> Option<BondMode> {
    let LinkInfo::Data(InfoData::Bond(rows)) = info else {
        return None;
    };
    rows.iter().find_map(|row| match row {
        InfoBond::Mode(mode) => Some(*mode),
        _ => None,
    })
}

/// Of a bridge: whether netfilter sees the packets that cross it, by its own setting.
fn is_filtered(info: &LinkInfo) -> Option<bool> {
    let LinkInfo::Data(InfoData::Bridge(rows)) = info else {
        return None;
    };
    let is_on = |row: &InfoBridge| {
        matches!(
            row,
            InfoBridge::NfCallIpTables(true) | InfoBridge::NfCallIp6Tables(true)
        )
    };
    Some(rows.iter().any(is_on))
}

/// Link and address of a link-local address, and whether it may be used: not tentative (RFC 4862 §5.4) and no
/// duplicate. Optimistic ones may (RFC 4429).
fn link_local(message: &AddressMessage) -> Option<((u32, Ipv6Addr), bool)> {
    let address = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Address(IpAddr::V6(address)) => Some(*address),
            _ => None,
        })?;
    if !address.is_unicast_link_local() {
        return None;
    }
    let header = message.header.flags;
    let flags = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        });
    let has =
        |short, long| header.contains(short) || flags.is_some_and(|flags| flags.contains(long));
    let is_tentative = has(AddressHeaderFlags::Tentative, AddressFlags::Tentative);
    let is_optimistic = has(AddressHeaderFlags::Optimistic, AddressFlags::Optimistic);
    let is_duplicate = has(AddressHeaderFlags::Dadfailed, AddressFlags::Dadfailed);
    let is_usable = !is_duplicate && (!is_tentative || is_optimistic);
    Some(((message.header.index, address), is_usable))
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
