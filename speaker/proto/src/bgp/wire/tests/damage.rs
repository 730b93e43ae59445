//! Messages that were damaged: whatever the bytes, there is an answer and no panic.

use super::*;
use crate::bgp::message::{Capabilities, GracefulRestart, Open};
use crate::bgp::route::{Attributes, Community, LargeCommunity, RouterId};
use std::net::Ipv4Addr;

/// How often a message is damaged.
const TIMES: u32 = 100_000;

/// Chance from a seed, as the linear congruence of Knuth's MMIX.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

/// One message of each kind, with all that ours may have.
fn messages() -> Vec<Vec<u8>> {
    let attributes = Attributes {
        local_pref: 100,
        med: Some(5),
        prepends: 2,
        communities: [Community::of(1, 2), Community::GRACEFUL_SHUTDOWN].into(),
        large_communities: [LargeCommunity(1, 2, 3)].into(),
        link_bandwidth: Some(1_000_000),
    };
    let mut messages = Vec::new();
    for (next_hop, is_ebgp, has_four_byte_as) in [
        (packing::V4, true, true),
        (packing::GLOBAL, false, true),
        (packing::BOTH, true, false),
    ] {
        let path = Path {
            asn: 70_000,
            is_ebgp,
            has_four_byte_as,
            next_hop,
        };
        for family in Family::ALL {
            let all = packing::prefixes(family, 28, 5);
            let mut out = Vec::new();
            announce(
                &mut out,
                &path,
                &attributes,
                &mut all.iter().copied().peekable(),
            );
            messages.push(std::mem::take(&mut out));
            withdraw(&mut out, &path, &mut all.into_iter().peekable());
            messages.push(out);
        }
    }
    messages.push(an_open());
    for family in Family::ALL {
        let mut out = Vec::new();
        end_of_rib(&mut out, family);
        messages.push(std::mem::take(&mut out));
        route_refresh(&mut out, family, Refresh::Begin);
        messages.push(out);
    }
    let mut out = Vec::new();
    notification(&mut out, &Notification::shutdown("node drain").hard());
    messages.push(out);
    messages
}

fn an_open() -> Vec<u8> {
    let open = Open {
        asn: 70_000,
        hold_seconds: 90,
        router_id: RouterId::new(Ipv4Addr::new(10, 0, 0, 1)).unwrap(),
        capabilities: Capabilities {
            families: BTreeSet::from(Family::ALL),
            has_route_refresh: true,
            has_enhanced_refresh: true,
            has_four_byte_as: true,
            has_v4_over_v6_next_hop: true,
            graceful_restart: Some(GracefulRestart {
                families: [(Family::V4, true), (Family::V6, false)].into(),
                ..GracefulRestart::default()
            }),
            others: BTreeSet::new(),
        },
    };
    let mut out = Vec::new();
    super::open(&mut out, &open);
    out
}

/// Changes, cuts, doubles or adds bytes behind the header, and writes the length that results into it.
fn damage(message: &mut Vec<u8>, chance: &mut Chance) {
    for _ in 0..=chance.below(3) {
        let at = HEADER_BYTES + chance.below(message.len() - HEADER_BYTES);
        let byte = u8::try_from(chance.below(256)).unwrap();
        match chance.below(6) {
            0 => message.truncate(at),
            1 => message.insert(at.min(message.len()), byte),
            2 => message.extend_from_within(at.min(message.len())..),
            _ => {
                if let Some(there) = message.get_mut(at) {
                    *there = byte;
                }
            }
        }
    }
    let count = u16::try_from(message.len()).unwrap();
    message[16..18].copy_from_slice(&count.to_be_bytes());
}

#[test]
fn a_message_damaged_at_random_makes_no_reader_panic() {
    let messages = messages();
    let contexts = [true, false].map(|is_new| Context {
        has_four_byte_as: is_new,
        is_ebgp: is_new,
        ..context()
    });
    let mut chance = Chance(7606);
    let (mut read_well, mut forgiven, mut ended) = (0, 0, 0);
    for _ in 0..TIMES {
        let mut message = messages[chance.below(messages.len())].clone();
        damage(&mut message, &mut chance);
        let context = &contexts[chance.below(2)];
        match read_whole(&message, context) {
            Ok(Message::Update(update)) if update.forgiven.is_some() => forgiven += 1,
            Ok(_) => read_well += 1,
            Err(told) => {
                assert!(matches!(told.code, 1 | 2 | 3 | 7), "{told:?}");
                let mut out = Vec::new();
                notification(&mut out, &told);
                assert!(read_whole(&out, context).is_ok());
                ended += 1;
            }
        }
    }
    // All three happen often, so that each part of the reader was reached.
    let least = [read_well, forgiven, ended].into_iter().min();
    assert!(least > Some(TIMES / 20), "{read_well} {forgiven} {ended}");
}

#[test]
fn a_stream_damaged_at_random_is_read_to_its_end_or_its_first_error() {
    let stream = messages().concat();
    let mut chance = Chance(4271);
    for _ in 0..TIMES / 50 {
        let mut stream = stream.clone();
        for _ in 0..=chance.below(4) {
            let at = chance.below(stream.len());
            stream[at] = u8::try_from(chance.below(256)).unwrap();
        }
        let mut reader = Reader::new();
        let mut left = stream.as_slice();
        let mut read = 0;
        while let Ok(Some(frame)) = reader.take(&mut left) {
            read += frame.bytes().len();
            drop(decode(frame, &context()));
        }
        assert!(read + left.len() <= stream.len());
    }
}
