//! Which links of the kernel's picture may announce.

use super::*;
use netlink_packet_route::address::AddressHeader;
use netlink_packet_route::link::LinkHeader;

const UP: LinkFlags = LinkFlags::Up
    .union(LinkFlags::LowerUp)
    .union(LinkFlags::Broadcast);

fn link(ifindex: u32, name: &str, flags: LinkFlags, more: &[LinkAttribute]) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header = LinkHeader {
        index: ifindex,
        flags,
        link_layer_type: LinkLayerType::Ether,
        ..LinkHeader::default()
    };
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, ifindex as u8]),
    ];
    message.attributes.extend_from_slice(more);
    message
}

fn address(ifindex: u32, text: &str, flags: AddressHeaderFlags) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        index: ifindex,
        flags,
        ..AddressHeader::default()
    };
    message.attributes = vec![AddressAttribute::Address(text.parse().unwrap())];
    message
}

fn picture(links: &[LinkMessage]) -> Picture {
    let mut picture = Picture::default();
    for link in links {
        picture.take(&RouteNetlinkMessage::NewLink(link.clone()));
    }
    picture
}

fn seen(picture: &Picture) -> Links {
    picture.links(&Exclude::metallb_default())
}

fn names<'a>(names: impl IntoIterator<Item = &'a LinkName>) -> Vec<&'a str> {
    names.into_iter().map(|name| &*name.0).collect()
}

#[test]
fn metallb_3_3_excluded_links_are_not_even_known() {
    let links = seen(&picture(&[
        link(1, "lo", UP, &[]),
        link(2, "eth0", UP, &[]),
        link(3, "veth9", UP, &[]),
    ]));
    assert_eq!(names(links.announcing.keys()), ["eth0"]);
    assert!(links.others.is_empty());
}

#[test]
fn metallb_3_3_enslaved_links_and_those_without_arp_are_known_and_do_not_announce() {
    let enslaved = link(2, "eth0", UP, &[LinkAttribute::Controller(9)]);
    let without_arp = link(3, "wg0", UP | LinkFlags::Noarp, &[]);
    let mut infiniband = link(4, "ib0", UP, &[]);
    infiniband.header.link_layer_type = LinkLayerType::Infiniband;
    let links = seen(&picture(&[enslaved, without_arp, infiniband]));
    assert!(links.announcing.is_empty());
    assert_eq!(names(&links.others), ["eth0", "ib0", "wg0"]);
    assert!(links.refused.is_empty());
}

#[test]
fn a_port_of_a_vrf_announces_nothing_and_may_have_a_router() {
    let vrf = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vrf)]);
    let port = |name, of| link(2, name, UP, &[LinkAttribute::Controller(of)]);
    let links = seen(&picture(&[
        link(9, "red", UP | LinkFlags::Noarp, &[vrf]),
        port("eth0", 9),
    ]));
    assert_eq!(names(links.in_vrfs.keys()), ["eth0"]);
    assert_eq!(names(&links.others), ["eth0", "red"]);
    assert!(links.announcing.is_empty());
    let bridged = seen(&picture(&[link(9, "br0", UP, &[]), port("eth0", 9)]));
    assert!(bridged.in_vrfs.is_empty());
}

#[test]
fn a_link_that_goes_down_or_loses_carrier_stays_listed() {
    let link = |flags| {
        seen(&picture(&[link(2, "eth0", flags, &[])]))
            .announcing
            .remove(&LinkName("eth0".into()))
            .unwrap()
    };
    assert!(link(UP).is_usable());
    assert!(!link(UP - LinkFlags::LowerUp).has_carrier);
    assert!(!link(LinkFlags::Broadcast).is_up);
    assert!(
        !link(UP - LinkFlags::Broadcast).has_arp,
        "point to point: no ARP"
    );
}

#[test]
fn leaving_a_bridge_does_not_delete_the_link() {
    let mut picture = picture(&[link(2, "eth0", UP, &[LinkAttribute::Controller(9)])]);
    let mut left = link(2, "eth0", UP, &[]);
    left.header.interface_family = AddressFamily::Bridge;
    picture.take(&RouteNetlinkMessage::DelLink(left));
    assert_eq!(names(&seen(&picture).others), ["eth0"]);
    picture.take(&RouteNetlinkMessage::NewLink(link(2, "eth0", UP, &[])));
    assert_eq!(names(seen(&picture).announcing.keys()), ["eth0"]);
}

#[test]
fn a_rename_a_new_address_and_a_deletion_are_seen() {
    let mut picture = picture(&[link(2, "eth0", UP, &[])]);
    let mut renamed = link(2, "lan0", UP, &[]);
    renamed.attributes[1] = LinkAttribute::Address(vec![2, 2, 2, 2, 2, 2]);
    picture.take(&RouteNetlinkMessage::NewLink(renamed.clone()));
    let links = seen(&picture);
    assert_eq!(names(links.announcing.keys()), ["lan0"]);
    assert_eq!(links.announcing[&LinkName("lan0".into())].mac, Mac([2; 6]));
    picture.take(&RouteNetlinkMessage::DelLink(renamed));
    assert_eq!(seen(&picture), Links::default());
}

#[test]
fn rfc4862_5_4_ndp_waits_until_the_link_local_address_is_no_longer_tentative() {
    let mut picture = picture(&[link(2, "eth0", UP, &[])]);
    let has_ndp = |picture: &Picture| seen(picture).announcing[&LinkName("eth0".into())].has_ndp;
    let new = |text, flags| RouteNetlinkMessage::NewAddress(address(2, text, flags));
    picture.take(&new("2001:db8::1", AddressHeaderFlags::Permanent));
    assert!(!has_ndp(&picture), "a global address is not enough");
    picture.take(&new("fe80::1", AddressHeaderFlags::Tentative));
    assert!(!has_ndp(&picture));
    picture.take(&new("fe80::1", AddressHeaderFlags::Permanent));
    assert!(has_ndp(&picture));
    picture.take(&new("fe80::1", AddressHeaderFlags::Dadfailed));
    assert!(!has_ndp(&picture), "another node has it");
    picture.take(&new(
        "fe80::2",
        AddressHeaderFlags::Tentative | AddressHeaderFlags::Optimistic,
    ));
    assert!(has_ndp(&picture));
    let gone = address(2, "fe80::2", AddressHeaderFlags::empty());
    picture.take(&RouteNetlinkMessage::DelAddress(gone));
    assert!(!has_ndp(&picture));
}

#[test]
fn l1_1_a_bond_that_rewrites_arp_replies_is_refused_with_the_reason() {
    let bond = |mode| {
        let info = vec![
            LinkInfo::Kind(InfoKind::Bond),
            LinkInfo::Data(InfoData::Bond(vec![InfoBond::Mode(mode)])),
        ];
        seen(&picture(&[link(
            2,
            "bond0",
            UP,
            &[LinkAttribute::LinkInfo(info)],
        )]))
    };
    let links = bond(BondMode::BalanceAlb);
    assert!(links.refused[&LinkName("bond0".into())].contains("balance-alb"));
    assert_eq!(names(&links.others), ["bond0"]);
    assert_eq!(
        names(bond(BondMode::ActiveBackup).announcing.keys()),
        ["bond0"]
    );
}

#[test]
fn a_macvlan_names_the_link_below_it_and_a_vlan_does_not() {
    let on_eth0 = |kind| {
        let info = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]);
        vec![info, LinkAttribute::Link(2)]
    };
    let mut elsewhere = on_eth0(InfoKind::MacVlan);
    elsewhere.push(LinkAttribute::LinkNetNsId(0));
    let links = seen(&picture(&[
        link(3, "mac0", UP, &on_eth0(InfoKind::MacVlan)),
        link(4, "eth0.7", UP, &on_eth0(InfoKind::Vlan)),
        link(5, "eth1", UP, &elsewhere),
    ]));
    let below: Vec<_> = links.announcing.values().map(|link| link.below).collect();
    assert_eq!(below, [None, None, Some(2)]);
}

#[test]
fn every_hardware_address_that_frames_may_carry_is_known() {
    let mac = |last: u8| Mac([2, 0, 0, 0, 0, last]);
    let permanent = LinkAttribute::PermAddress(mac(0x92).0.to_vec());
    let group = LinkAttribute::Address(vec![1, 0, 0x5e, 0, 0, 1]);
    let links = seen(&picture(&[
        link(1, "bond0", UP, &[]),
        link(2, "eth0", UP, &[LinkAttribute::Controller(1), permanent]),
        link(3, "bond0.5", UP, &[]),
        link(4, "eth1", UP, &[LinkAttribute::Address(vec![0; 6])]),
        link(5, "eth2", UP, &[group]),
        link(6, "veth1", UP, &[]),
    ]));
    assert_eq!(links.macs, [mac(1), mac(2), mac(3), mac(0x92)].into());
}
