//! What messages mean, in the words of `netgauze-bgp-pkt`.

use ipnet::{Ipv4Net, Ipv6Net};
use netgauze_bgp_pkt::capabilities as theirs;
use netgauze_bgp_pkt::capabilities::BgpCapability;
use netgauze_bgp_pkt::community as of_them;
use netgauze_bgp_pkt::nlri::{Ipv4Unicast, Ipv4UnicastAddress, Ipv6Unicast, Ipv6UnicastAddress};
use netgauze_bgp_pkt::open::BgpOpenMessageParameter;
use netgauze_bgp_pkt::path_attribute as path;
use netgauze_bgp_pkt::path_attribute::{
    AsPath, MpReach, MpUnreach, PathAttribute, PathAttributeValue,
};
use netgauze_bgp_pkt::update::BgpUpdateMessage;
use netgauze_iana::address_family::{AddressFamily, AddressType};
use speaker_proto::bgp::wire::{NextHop, Path};
use speaker_proto::bgp::{Attributes, Family, LargeCommunity, Open, Prefix};
use std::net::IpAddr;

/// What an announcement means, in the other codec's words.
pub(super) fn announcement(
    path: &Path,
    attributes: &Attributes,
    prefixes: &[Prefix],
) -> BgpUpdateMessage {
    let family = prefixes[0].family();
    let (v4, v6) = networks(prefixes);
    let rest = meant(path, attributes, family);
    let reach = match (family, path.next_hop) {
        (Family::V4, NextHop::V4(_)) => return BgpUpdateMessage::new([], rest, v4),
        (
            Family::V4,
            NextHop::V6 {
                address,
                link_local,
            },
        ) => MpReach::Ipv4Unicast {
            next_hop: IpAddr::V6(address),
            next_hop_local: link_local,
            nlri: v4.into(),
        },
        (Family::V6, next_hop) => {
            let (next_hop_global, next_hop_local) = match next_hop {
                NextHop::V4(ip) => (ip.to_ipv6_mapped(), None),
                NextHop::V6 {
                    address,
                    link_local,
                } => (address, link_local),
            };
            MpReach::Ipv6Unicast {
                next_hop_global,
                next_hop_local,
                nlri: v6.into(),
            }
        }
    };
    let reach = attribute([true, false, true], PathAttributeValue::MpReach(reach));
    let all: Vec<_> = std::iter::once(reach).chain(rest).collect();
    BgpUpdateMessage::new([], all, [])
}

/// What a withdrawal means.
pub(super) fn withdrawal(path: &Path, prefixes: &[Prefix]) -> BgpUpdateMessage {
    let (v4, v6) = networks(prefixes);
    let unreach = match (prefixes[0].family(), path.next_hop) {
        (Family::V4, NextHop::V4(_)) => return BgpUpdateMessage::new(v4, [], []),
        (Family::V4, NextHop::V6 { .. }) => MpUnreach::Ipv4Unicast { nlri: v4.into() },
        (Family::V6, _) => MpUnreach::Ipv6Unicast { nlri: v6.into() },
    };
    let unreach = attribute([true, false, true], PathAttributeValue::MpUnreach(unreach));
    BgpUpdateMessage::new([], [unreach], [])
}

fn networks(prefixes: &[Prefix]) -> (Vec<Ipv4UnicastAddress>, Vec<Ipv6UnicastAddress>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for prefix in prefixes {
        match prefix.address() {
            IpAddr::V4(ip) => {
                let net = Ipv4Net::new(ip, prefix.length()).unwrap();
                let net = Ipv4Unicast::from_net(net).unwrap();
                v4.push(Ipv4UnicastAddress::new_no_path_id(net));
            }
            IpAddr::V6(ip) => {
                let net = Ipv6Net::new(ip, prefix.length()).unwrap();
                let net = Ipv6Unicast::from_net(net).unwrap();
                v6.push(Ipv6UnicastAddress::new(None, net));
            }
        }
    }
    (v4, v6)
}

/// The attributes beside MP_REACH_NLRI.
fn meant(path: &Path, attributes: &Attributes, family: Family) -> Vec<PathAttribute> {
    let hops = match path.is_ebgp {
        true => usize::from(attributes.prepends) + 1,
        false => 0,
    };
    let old = u16::try_from(path.asn).unwrap_or(23456);
    let well_known = |value| attribute([false, true, false], value);
    let mut all = vec![
        well_known(PathAttributeValue::Origin(path::Origin::IGP)),
        well_known(PathAttributeValue::AsPath(as_path(path, old, hops))),
    ];
    if let (Family::V4, NextHop::V4(ip)) = (family, path.next_hop) {
        let value = PathAttributeValue::NextHop(path::NextHop::new(ip));
        all.push(well_known(value));
    }
    if let Some(med) = attributes.med {
        let value = path::MultiExitDiscriminator::new(med);
        let value = PathAttributeValue::MultiExitDiscriminator(value);
        all.push(attribute([true, false, false], value));
    }
    if !path.is_ebgp {
        let value = path::LocalPreference::new(attributes.local_pref);
        all.push(well_known(PathAttributeValue::LocalPreference(value)));
    }
    all.extend(communities(attributes, old));
    if !path.has_four_byte_as && path.asn > 65535 && hops > 0 {
        let value = path::As4Path::new([four_bytes(path.asn, hops)]);
        all.push(attribute(
            [true, true, false],
            PathAttributeValue::As4Path(value),
        ));
    }
    let large: Vec<_> = attributes.large_communities.iter().copied().collect();
    if !large.is_empty() {
        let is_long = large.len() * 12 > 255;
        let large: Vec<_> = large
            .into_iter()
            .map(|LargeCommunity(a, b, c)| of_them::LargeCommunity::new(a, b, c))
            .collect();
        let value = PathAttributeValue::LargeCommunities(path::LargeCommunities::new(large));
        all.push(attribute([true, true, is_long], value));
    }
    all
}

fn as_path(path: &Path, old: u16, hops: usize) -> AsPath {
    match (path.has_four_byte_as, hops) {
        (true, 0) => AsPath::as4_path_segments([]),
        (true, _) => AsPath::as4_path_segments([four_bytes(path.asn, hops)]),
        (false, 0) => AsPath::as2_path_segments([]),
        (false, _) => AsPath::as2_path_segments([path::As2PathSegment::new(
            path::AsPathSegmentType::AsSequence,
            vec![old; hops],
        )]),
    }
}

fn four_bytes(asn: u32, hops: usize) -> path::As4PathSegment {
    path::As4PathSegment::new(path::AsPathSegmentType::AsSequence, vec![asn; hops])
}

/// COMMUNITIES and the extended community.
fn communities(attributes: &Attributes, old: u16) -> Vec<PathAttribute> {
    let mut all = Vec::new();
    let standard: Vec<_> = attributes
        .communities
        .iter()
        .map(|c| of_them::Community::new(c.0))
        .collect();
    if !standard.is_empty() {
        let value = PathAttributeValue::Communities(path::Communities::new(standard));
        all.push(attribute([true, true, false], value));
    }
    if let Some(rate) = attributes.link_bandwidth {
        let value = of_them::NonTransitiveTwoOctetExtendedCommunity::LinkBandwidth {
            global_admin: old,
            local_admin: (rate as f32).to_bits(),
        };
        let value = [of_them::ExtendedCommunity::NonTransitiveTwoOctet(value)];
        let value = path::ExtendedCommunities::new(value);
        let value = PathAttributeValue::ExtendedCommunities(value);
        all.push(attribute([true, true, false], value));
    }
    all
}

/// An attribute with O, T and E.
fn attribute(
    [optional, transitive, is_long]: [bool; 3],
    value: PathAttributeValue,
) -> PathAttribute {
    PathAttribute::from(optional, transitive, false, is_long, value).unwrap()
}

/// The optional parameters of an OPEN.
pub(super) fn offered(open: &Open) -> Vec<BgpOpenMessageParameter> {
    let told = &open.capabilities;
    let mut all = Vec::new();
    for family in &told.families {
        let value = theirs::MultiProtocolExtensionsCapability::new(address_type(*family));
        all.push(BgpCapability::MultiProtocolExtensions(value));
    }
    all.extend(
        told.has_route_refresh
            .then_some(BgpCapability::RouteRefresh),
    );
    if told.has_v4_over_v6_next_hop {
        let value =
            theirs::ExtendedNextHopEncoding::new(AddressType::Ipv4Unicast, AddressFamily::IPv6);
        let value = theirs::ExtendedNextHopEncodingCapability::new([value]);
        all.push(BgpCapability::ExtendedNextHopEncoding(value));
    }
    if let Some(restart) = &told.graceful_restart {
        let families: Vec<_> = restart
            .families
            .iter()
            .map(|(family, is_kept)| {
                theirs::GracefulRestartAddressFamily::new(*is_kept, address_type(*family))
            })
            .collect();
        let (is_restarting, has_notification) = (restart.is_restarting, restart.has_notification);
        let value = theirs::GracefulRestartCapability::new(
            is_restarting,
            has_notification,
            restart.seconds,
            families,
        );
        all.push(BgpCapability::GracefulRestartCapability(value));
    }
    if told.has_four_byte_as {
        let value = theirs::FourOctetAsCapability::new(open.asn);
        all.push(BgpCapability::FourOctetAs(value));
    }
    all.extend(
        told.has_enhanced_refresh
            .then_some(BgpCapability::EnhancedRouteRefresh),
    );
    match all.is_empty() {
        true => Vec::new(),
        false => vec![BgpOpenMessageParameter::new_capabilities(all)],
    }
}

/// A family in its words.
pub(super) const fn address_type(family: Family) -> AddressType {
    match family {
        Family::V4 => AddressType::Ipv4Unicast,
        Family::V6 => AddressType::Ipv6Unicast,
    }
}
