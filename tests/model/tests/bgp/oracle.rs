//! The codec against `netgauze-bgp-pkt`, which shares no line with it.
//!
//! What we write it must read as what was meant, attribute by attribute. What peers said, damaged at random, both must count alike
//! wherever both find nothing wrong; the other one knows nothing of RFC 7606, so that there is nothing to compare where one complains.

use super::meaning::{address_type, announcement, offered, withdrawal};
use super::{Chance, streams};
use model_tests::bgp::contexts;
use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::iana::RouteRefreshSubcode;
use netgauze_bgp_pkt::notification::{BgpNotificationMessage, CeaseError};
use netgauze_bgp_pkt::open::BgpOpenMessage;
use netgauze_bgp_pkt::path_attribute::{MpReach, MpUnreach, PathAttributeValue};
use netgauze_bgp_pkt::route_refresh::BgpRouteRefreshMessage;
use netgauze_bgp_pkt::update::BgpUpdateMessage;
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;
use speaker_proto::bgp::wire::{
    self, Context, Frame, HEADER_BYTES, Kind, NextHop, Path, Reader, Refresh,
};
use speaker_proto::bgp::{
    Attributes, Capabilities, Community, Family, GracefulRestart, LargeCommunity, Message,
    Notification, Open, Prefix, RouterId,
};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Random sets of attributes and prefixes, and random OPENs.
const ROUNDS: usize = 400;
/// Messages of peers, damaged.
const DAMAGED: usize = 40_000;

/// What the other codec reads, or why it does not.
fn parse(bytes: &[u8], has_four_byte_as: bool) -> Result<BgpMessage, String> {
    let mut context = BgpParsingContext::default();
    context.set_asn4(has_four_byte_as);
    BgpMessage::parse(&mut SliceReader::new(bytes), &mut context).map_err(|why| why.to_string())
}

#[test]
fn what_is_announced_and_withdrawn_is_what_another_reads() {
    let mut chance = Chance(8092);
    for _ in 0..ROUNDS {
        let path = a_path(&mut chance);
        let attributes = attributes(&mut chance);
        let prefixes: BTreeSet<_> = (0..chance.below(600))
            .map(|_| prefix(&mut chance))
            .collect();
        let mut left = prefixes.iter().copied().peekable();
        let mut told = Vec::new();
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let count = wire::announce(&mut bytes, &path, &attributes, &mut left);
            if count == 0 {
                break;
            }
            let sent: Vec<_> = prefixes
                .iter()
                .copied()
                .skip(told.len())
                .take(count)
                .collect();
            let expected = announcement(&path, &attributes, &sent);
            let read = parse(&bytes, path.has_four_byte_as);
            assert_eq!(read, Ok(BgpMessage::Update(expected)), "{path:?}");
            told.extend(sent);
        }
        assert_eq!(told.len(), prefixes.len());
        withdrawn(&path, &prefixes);
    }
}

fn withdrawn(path: &Path, prefixes: &BTreeSet<Prefix>) {
    let mut left = prefixes.iter().copied().peekable();
    let mut told = 0;
    let mut bytes = Vec::new();
    while left.peek().is_some() {
        bytes.clear();
        let count = wire::withdraw(&mut bytes, path, &mut left);
        let sent: Vec<_> = prefixes.iter().copied().skip(told).take(count).collect();
        let expected = withdrawal(path, &sent);
        let read = parse(&bytes, path.has_four_byte_as);
        assert_eq!(read, Ok(BgpMessage::Update(expected)));
        told += count;
    }
    assert_eq!(told, prefixes.len());
}

fn a_path(chance: &mut Chance) -> Path {
    let address = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(chance.bits()));
    let link_local = Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(chance.bits()));
    Path {
        asn: match chance.is_heads() {
            true => 64512 + chance.bits() % 1000,
            false => 70_000 + chance.bits(),
        },
        is_ebgp: chance.is_heads(),
        has_four_byte_as: chance.is_heads(),
        next_hop: match chance.is_heads() {
            true => NextHop::V4(Ipv4Addr::from_bits(10 << 24 | chance.bits() >> 8)),
            false => NextHop::V6 {
                address,
                link_local: chance.is_heads().then_some(link_local),
            },
        },
    }
}

fn attributes(chance: &mut Chance) -> Attributes {
    let community = |chance: &mut Chance| Community(chance.bits());
    let large = |chance: &mut Chance| LargeCommunity(chance.bits(), chance.bits(), chance.bits());
    Attributes {
        local_pref: chance.bits(),
        med: chance.is_heads().then(|| chance.bits()),
        prepends: u8::try_from(chance.below(11)).unwrap(),
        communities: (0..chance.below(64)).map(|_| community(chance)).collect(),
        large_communities: (0..chance.below(64)).map(|_| large(chance)).collect(),
        link_bandwidth: chance.is_heads().then(|| u64::from(chance.bits()) << 8),
    }
}

/// In parts of the address space that are neither multicast nor broadcast, of which the other codec wants to know nothing.
fn prefix(chance: &mut Chance) -> Prefix {
    let length = u8::try_from(8 + chance.below(25)).unwrap();
    match chance.is_heads() {
        true => {
            let ip = Ipv4Addr::from_bits((1 << 24) + chance.bits() % (200 << 24));
            Prefix::of(ip.into(), length)
        }
        false => {
            let ip =
                0x2001_0db8 << 96 | u128::from(chance.bits()) << 64 | u128::from(chance.bits());
            Prefix::of(Ipv6Addr::from_bits(ip).into(), length * 4)
        }
    }
}

#[test]
fn an_open_is_what_another_reads() {
    let mut chance = Chance(5492);
    for _ in 0..ROUNDS {
        let open = an_open(&mut chance);
        let mut bytes = Vec::new();
        wire::open(&mut bytes, &open);
        let expected = BgpOpenMessage::new(
            u16::try_from(open.asn).unwrap_or(23456),
            open.hold_seconds,
            Ipv4Addr::from_bits(open.router_id.bits()),
            offered(&open),
        );
        assert_eq!(parse(&bytes, true), Ok(BgpMessage::Open(expected)));
    }
}

fn an_open(chance: &mut Chance) -> Open {
    let families = |chance: &mut Chance| {
        Family::ALL
            .into_iter()
            .filter(|_| chance.is_heads())
            .collect()
    };
    let restart = |chance: &mut Chance| GracefulRestart {
        is_restarting: chance.is_heads(),
        has_notification: chance.is_heads(),
        seconds: u16::try_from(chance.below(4096)).unwrap(),
        families: [
            (Family::V4, chance.is_heads()),
            (Family::V6, chance.is_heads()),
        ]
        .into(),
    };
    Open {
        asn: chance.bits() >> chance.below(20) | 1,
        hold_seconds: u16::try_from(3 + chance.below(60_000)).unwrap(),
        router_id: RouterId::new(Ipv4Addr::from_bits(chance.bits() | 1)).unwrap(),
        capabilities: Capabilities {
            families: families(chance),
            has_route_refresh: chance.is_heads(),
            has_enhanced_refresh: chance.is_heads(),
            has_four_byte_as: chance.is_heads(),
            has_v4_over_v6_next_hop: chance.is_heads(),
            graceful_restart: chance.is_heads().then(|| restart(chance)),
            others: BTreeSet::new(),
        },
    }
}

#[test]
fn what_else_is_said_is_what_another_reads() {
    let mut bytes = Vec::new();
    wire::keepalive(&mut bytes);
    assert_eq!(parse(&bytes, true), Ok(BgpMessage::KeepAlive));
    for family in Family::ALL {
        for (refresh, subtype) in [
            (Refresh::Request, RouteRefreshSubcode::NormalRequest),
            (Refresh::Begin, RouteRefreshSubcode::BeginningOfRouteRefresh),
            (Refresh::End, RouteRefreshSubcode::EndOfRouteRefresh),
        ] {
            bytes.clear();
            wire::route_refresh(&mut bytes, family, refresh);
            let expected = BgpRouteRefreshMessage::new(address_type(family), subtype);
            assert_eq!(parse(&bytes, true), Ok(BgpMessage::RouteRefresh(expected)));
        }
        bytes.clear();
        wire::end_of_rib(&mut bytes, family);
        let Ok(BgpMessage::Update(update)) = parse(&bytes, true) else {
            panic!("{family:?}");
        };
        assert_eq!(update.end_of_rib(), Some(address_type(family)));
    }
    bytes.clear();
    wire::notification(&mut bytes, &Notification::shutdown("drain"));
    let value = b"\x05drain".to_vec().into();
    let shutdown = BgpNotificationMessage::CeaseError(CeaseError::AdministrativeShutdown { value });
    assert_eq!(parse(&bytes, true), Ok(BgpMessage::Notification(shutdown)));
}

#[test]
fn updates_are_counted_alike_and_only_known_reasons_are_one_side_s_alone() {
    let (contexts, messages) = (contexts(), messages());
    let mut chance = Chance(2026);
    let mut compared = 0;
    for _ in 0..DAMAGED {
        let context = &contexts[chance.below(contexts.len())];
        let mut bytes = messages[chance.below(messages.len())].clone();
        for _ in 0..chance.below(3) {
            let at = HEADER_BYTES + chance.below(bytes.len() - HEADER_BYTES);
            bytes[at] = chance.bits() as u8;
        }
        let theirs = parse(&bytes, context.has_four_byte_as);
        match (ours(&bytes, context), theirs) {
            (Ok(ours), Ok(BgpMessage::Update(theirs))) => {
                assert_eq!(ours, counts(&theirs), "{bytes:?} {theirs:?}");
                compared += 1;
            }
            (Ok(_), Err(why)) => {
                let is_known = ONLY_THEIRS.iter().any(|known| why.contains(known));
                assert!(is_known, "{why}: {bytes:?}");
            }
            (Err(why), Ok(_)) => {
                let is_known = ONLY_OURS.iter().any(|known| why == *known);
                assert!(is_known, "{why}: {bytes:?}");
            }
            (Err(_), Err(_)) => (),
            (Ok(_), Ok(other)) => panic!("{other:?}"),
        }
    }
    assert!(compared > DAMAGED / 20, "only {compared} were compared");
}

/// What we complain of alone: rules for messages as a whole, which the other codec leaves to its users, and three attributes.
const ONLY_OURS: &[&str] = &[
    "3/1", // Prefixes that stand twice, or have no attributes that can be trusted.
    "3/2", // An unknown attribute that is well-known.
    "3/9", // A next hop of another length, which it counts as prefixes.
    "an attribute stands twice",
    "AS_PATH is missing",
    "NEXT_HOP is missing",
    "ORIGIN is missing",
    "AS4_AGGREGATOR has wrong flags",
    "ONLY_TO_CUSTOMER is malformed",
    "ORIGINATOR_ID is malformed",
];

/// What it complains of alone.
const ONLY_THEIRS: &[&str] = &[
    // Prefixes are counted here, not judged.
    "is not a valid IPv4 unicast network",
    // Attributes and families of which nothing is known here.
    "in AIGP",
    "in BGP-LS",
    "in segment identifier",
    "MPLS VPN",
    "labeled next hop",
    "unknown address family",
    "unknown subsequent address family",
    // Passed over from a peer in another AS, or, of AS4_PATH, from one that can do without.
    "in AS path",
    "in cluster list",
    "in local preference",
    "in originator",
    // Flags of those, and the partial bit, which RFC 7606 §3.c leaves out.
    "malformed path attribute",
];

/// Single UPDATEs of the corpus.
fn messages() -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for (_, stream) in streams() {
        let mut reader = Reader::new();
        let mut left = stream.as_slice();
        while let Ok(Some(frame)) = reader.take(&mut left) {
            let is_update = frame.kind() == Kind::Update;
            messages.extend(is_update.then(|| frame.bytes().to_vec()));
        }
    }
    messages
}

/// What an UPDATE announces and withdraws; or what there is to complain of.
fn ours(bytes: &[u8], context: &Context) -> Result<[[u32; 2]; 2], String> {
    let frame = Frame::of(bytes).unwrap().unwrap();
    match wire::decode(frame, context) {
        Ok(Message::Update(update)) => match update.forgiven {
            None => Ok([update.announced, update.withdrawn]),
            Some(why) => Err(why.to_owned()),
        },
        Err(Notification { code, subcode, .. }) => Err(format!("{code}/{subcode}")),
        Ok(other) => panic!("{other:?}"),
    }
}

/// The same as the other codec has it.
fn counts(update: &BgpUpdateMessage) -> [[u32; 2]; 2] {
    let mut announced = [update.nlri().len(), 0];
    let mut withdrawn = [update.withdraw_routes().len(), 0];
    for attribute in update.path_attributes() {
        match attribute.value() {
            PathAttributeValue::MpReach(MpReach::Ipv4Unicast { nlri, .. }) => {
                announced[0] += nlri.len();
            }
            PathAttributeValue::MpReach(MpReach::Ipv6Unicast { nlri, .. }) => {
                announced[1] += nlri.len();
            }
            PathAttributeValue::MpUnreach(MpUnreach::Ipv4Unicast { nlri }) => {
                withdrawn[0] += nlri.len();
            }
            PathAttributeValue::MpUnreach(MpUnreach::Ipv6Unicast { nlri }) => {
                withdrawn[1] += nlri.len();
            }
            _ => (),
        }
    }
    [announced, withdrawn].map(|counts| counts.map(|count| u32::try_from(count).unwrap()))
}
