//! What two OPENs lead to, rule by rule.

use super::super::settings::Graceful;
use super::super::tests::{open, router_id, settings};
use super::*;

fn refused(settings: &Settings, peer: &Open) -> Option<(u8, u8, Vec<u8>)> {
    let Notification {
        code,
        subcode,
        data,
    } = negotiate(settings, peer).err()?;
    Some((code, subcode, data))
}

#[test]
fn rfc4271_6_2_a_peer_with_another_as_number_than_expected_is_refused() {
    for (expected, asn, is_taken) in [
        (PeerAsn::Number(64_501), 64_501, true),
        (PeerAsn::Number(64_501), 64_502, false),
        (PeerAsn::Number(4_200_000_000), 4_200_000_000, true),
        (PeerAsn::Internal, 64_500, true),
        (PeerAsn::Internal, 64_501, false),
        (PeerAsn::External, 64_501, true),
        (PeerAsn::External, 64_500, false),
    ] {
        let settings = Settings {
            peer_asn: expected,
            ..settings()
        };
        let peer = Open { asn, ..open() };
        let refusal = (!is_taken).then_some((2, 2, Vec::new()));
        assert_eq!(refused(&settings, &peer), refusal, "{expected:?} and {asn}");
    }
}

#[test]
fn rfc6286_2_2_our_own_identifier_is_refused_within_our_as_only() {
    let settings = Settings {
        peer_asn: PeerAsn::Number(64_500),
        ..settings()
    };
    let peer = Open {
        asn: 64_500,
        router_id: settings.router_id,
        ..open()
    };
    assert_eq!(refused(&settings, &peer), Some((2, 3, Vec::new())));
    let settings = Settings {
        peer_asn: PeerAsn::External,
        ..settings
    };
    let peer = Open {
        asn: 64_501,
        ..peer
    };
    assert_eq!(refused(&settings, &peer), None);
}

#[test]
fn rfc4271_4_2_the_lesser_hold_time_counts() {
    for (ours, theirs, hold) in [(90, 30, 30), (30, 90, 30), (0, 90, 0), (90, 0, 0)] {
        let settings = Settings {
            hold_seconds: ours,
            ..settings()
        };
        let peer = Open {
            hold_seconds: theirs,
            ..open()
        };
        let negotiated = negotiate(&settings, &peer).expect("it is taken");
        assert_eq!(negotiated.hold, Span::s(hold), "{ours} and {theirs}");
    }
}

#[test]
fn rfc4271_4_4_keepalives_go_each_third_of_the_hold_time_or_more_often_but_not_each_second() {
    for (configured, hold, keepalive) in [
        (30, 90, Span::s(30)),
        (60, 90, Span::s(30)),
        (10, 90, Span::s(10)),
        (30, 10, Span::from_ns(3_333_333_333)),
        (1, 3, Span::s(1)),
        (0, 90, Span::s(1)),
        (30, 0, Span::s(0)),
    ] {
        let settings = Settings {
            keepalive_seconds: configured,
            ..settings()
        };
        assert_eq!(super::keepalive(&settings, Span::s(hold)), keepalive);
    }
}

#[test]
fn rfc4760_8_families_are_those_of_both_and_a_peer_without_any_has_ipv4() {
    let v4 = BTreeSet::from([Family::V4]);
    let v6 = BTreeSet::from([Family::V6]);
    let both = BTreeSet::from(Family::ALL);
    for (ours, theirs, common) in [
        (&both, &both, Some(&both)),
        (&both, &v6, Some(&v6)),
        (&v4, &both, Some(&v4)),
        (&both, &BTreeSet::new(), Some(&v4)),
        (&v6, &BTreeSet::new(), None),
        (&v6, &v4, None),
    ] {
        let settings = Settings {
            families: ours.clone(),
            ..settings()
        };
        let mut peer = open();
        peer.capabilities.families = theirs.clone();
        let negotiated = negotiate(&settings, &peer);
        let families = negotiated.map(|negotiated| negotiated.families);
        assert_eq!(families.ok().as_ref(), common, "{ours:?} and {theirs:?}");
    }
}

#[test]
fn rfc5492_5_a_peer_without_our_family_is_told_which_capability_it_lacks() {
    let settings = Settings {
        families: BTreeSet::from([Family::V6]),
        ..settings()
    };
    let mut peer = open();
    peer.capabilities.families = BTreeSet::from([Family::V4]);
    assert_eq!(
        refused(&settings, &peer),
        Some((2, 7, vec![1, 4, 0, 2, 0, 1]))
    );
}

#[test]
fn what_only_one_side_has_is_not_negotiated() {
    let mut settings = settings();
    let mut peer = open();
    let theirs = GracefulRestart {
        has_notification: true,
        seconds: 120,
        ..GracefulRestart::default()
    };
    peer.capabilities.has_v4_over_v6_next_hop = true;
    peer.capabilities.has_enhanced_refresh = true;
    peer.capabilities.has_route_refresh = false;
    peer.capabilities.graceful_restart = Some(theirs);
    let negotiated = negotiate(&settings, &peer).expect("it is taken");
    assert!(!negotiated.has_v4_over_v6_next_hop && !negotiated.has_enhanced_refresh);
    assert!(!negotiated.has_graceful_restart && !negotiated.has_hard_reset);

    settings.has_v4_over_v6_next_hop = true;
    settings.graceful_restart = Some(Graceful {
        seconds: 120,
        has_notification: false,
    });
    let negotiated = negotiate(&settings, &peer).expect("it is taken");
    assert!(negotiated.has_v4_over_v6_next_hop && negotiated.has_graceful_restart);
    assert!(!negotiated.has_hard_reset, "we did not say N");
}

#[test]
fn rfc4724_3_we_say_whether_we_restarted_and_kept_forwarding() {
    let graceful = Graceful {
        seconds: 120,
        has_notification: true,
    };
    let settings = Settings {
        graceful_restart: Some(graceful),
        router_id: router_id(7),
        ..settings()
    };
    for is in [false, true] {
        let restarted = Restarted {
            is_restarting: is,
            kept_forwarding: is,
        };
        let said = ours(&settings, restarted).capabilities.graceful_restart;
        let said = said.expect("it is configured");
        assert_eq!((said.is_restarting, said.seconds), (is, 120));
        assert_eq!(said.families.into_values().collect::<Vec<_>>(), [is; 2]);
    }
}
