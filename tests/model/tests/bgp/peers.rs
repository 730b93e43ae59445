//! What FRR, BIRD, GoBGP and ExaBGP of Debian 12 said in a session, recorded from the wire: from OPEN to the end of it.

use super::streams;
use model_tests::bgp::{contexts, read};
use speaker_proto::bgp::RouterId;
use speaker_proto::bgp::{
    Capabilities, Family, GracefulRestart, Message, Notification, Open, Update,
};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// What a recorded peer said; it was in another AS, and so were we.
fn said(peer: &str) -> Vec<Message> {
    let (_, stream) = streams()
        .into_iter()
        .find(|(name, _)| name == peer)
        .unwrap();
    let [context, ..] = contexts();
    let said = read(&stream, usize::MAX, &context);
    said.into_iter().map(|message| message.unwrap()).collect()
}

/// AS 64513 with 192.0.2.1.
fn open(hold_seconds: u16, capabilities: Capabilities) -> Message {
    Message::Open(Open {
        asn: 64513,
        hold_seconds,
        router_id: RouterId::new(Ipv4Addr::new(192, 0, 2, 1)).unwrap(),
        capabilities,
    })
}

/// What all of them can do.
fn capabilities(graceful_restart: GracefulRestart, others: &[u8]) -> Capabilities {
    Capabilities {
        families: BTreeSet::from(Family::ALL),
        has_route_refresh: true,
        has_four_byte_as: true,
        graceful_restart: Some(graceful_restart),
        others: others.iter().copied().collect(),
        ..Capabilities::default()
    }
}

fn seconds(seconds: u16) -> GracefulRestart {
    GracefulRestart {
        seconds,
        ..GracefulRestart::default()
    }
}

fn announced(announced: [u32; 2]) -> Message {
    Message::Update(Update {
        announced,
        ..Update::default()
    })
}

fn withdrawn(withdrawn: [u32; 2]) -> Message {
    Message::Update(Update {
        withdrawn,
        ..Update::default()
    })
}

fn end_of_rib(family: Family) -> Message {
    Message::Update(Update {
        end_of_rib: Some(family),
        ..Update::default()
    })
}

const MAINTENANCE: &str = "planned maintenance";

#[test]
fn frr_is_understood() {
    let restart = GracefulRestart {
        is_restarting: true,
        has_notification: true,
        families: [(Family::V4, false), (Family::V6, false)].into(),
        ..seconds(120)
    };
    let capabilities = Capabilities {
        has_enhanced_refresh: true,
        has_v4_over_v6_next_hop: false,
        // Extended messages, add-path, long-lived graceful restart, host name.
        ..capabilities(restart, &[6, 69, 71, 73])
    };
    let expected = [
        open(180, capabilities),
        Message::Keepalive,
        announced([1, 0]),
        announced([0, 1]),
        end_of_rib(Family::V4),
        end_of_rib(Family::V6),
        announced([1, 0]),
        withdrawn([1, 0]),
        withdrawn([0, 1]),
        Message::Notification(Notification::shutdown(MAINTENANCE)),
    ];
    assert_eq!(said("frr-8.4.4"), expected);
}

#[test]
fn bird_is_understood() {
    let restart = GracefulRestart {
        families: [(Family::V4, false), (Family::V6, false)].into(),
        ..seconds(120)
    };
    let capabilities = Capabilities {
        has_enhanced_refresh: true,
        ..capabilities(restart, &[71])
    };
    let expected = [
        open(240, capabilities),
        Message::Keepalive,
        announced([2, 0]),
        announced([1, 0]),
        end_of_rib(Family::V4),
        announced([0, 2]),
        end_of_rib(Family::V6),
        Message::Notification(Notification::shutdown(MAINTENANCE)),
    ];
    assert_eq!(said("bird-2.0.12"), expected);
}

#[test]
fn gobgp_is_understood() {
    let restart = GracefulRestart {
        families: [(Family::V4, false), (Family::V6, false)].into(),
        ..seconds(120)
    };
    let capabilities = Capabilities {
        has_v4_over_v6_next_hop: true,
        ..capabilities(restart, &[73])
    };
    let expected = [
        open(90, capabilities),
        Message::Keepalive,
        announced([1, 0]),
        announced([1, 0]),
        end_of_rib(Family::V4),
        announced([0, 1]),
        end_of_rib(Family::V6),
        withdrawn([1, 0]),
        withdrawn([0, 1]),
        Message::Notification(Notification::new(6, 2)),
    ];
    assert_eq!(said("gobgp-3.10.0"), expected);
}

#[test]
fn exabgp_is_understood() {
    let restart = GracefulRestart {
        is_restarting: true,
        families: [(Family::V4, true), (Family::V6, true)].into(),
        ..seconds(120)
    };
    let capabilities = Capabilities {
        has_enhanced_refresh: true,
        // Extended messages.
        ..capabilities(restart, &[6])
    };
    let expected = [
        open(180, capabilities),
        Message::Keepalive,
        announced([1, 0]),
        announced([0, 1]),
        end_of_rib(Family::V4),
        end_of_rib(Family::V6),
    ];
    assert_eq!(said("exabgp-4.2.21"), expected);
}
