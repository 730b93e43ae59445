//! Ends by decision, graceful restart, refresh, and changes of settings.

use super::*;

const DIALLED: Side = Side::Dialled;

fn with_graceful(has_notification: bool) -> Settings {
    Settings {
        graceful_restart: Some(graceful(has_notification)),
        ..settings()
    }
}

/// One that is up and has told its peer, which keeps routes, or not.
fn told(settings: Settings, peer: Option<GracefulRestart>) -> One {
    let mut one = One::at(settings, State::OpenSent);
    let mut open = open();
    open.capabilities.graceful_restart = peer;
    open.capabilities.has_enhanced_refresh = true;
    one.hear_open(DIALLED, &open);
    one.hear_keepalive(DIALLED);
    let did = one.input(Input::Routes {
        routes: routes(2, 0),
        is_complete: true,
    });
    let said = |what| Did::Said(DIALLED, what);
    assert_eq!(did, [said("announce"), said("end"), said("end")]);
    one
}

fn keeps(has_notification: bool) -> Option<GracefulRestart> {
    Some(GracefulRestart {
        has_notification,
        seconds: 120,
        ..GracefulRestart::default()
    })
}

/// The bytes of UPDATEs that are sent from now on.
fn updates(one: &mut One, input: Input) -> Vec<Vec<u8>> {
    one.session.input(one.now, input);
    let mut updates = Vec::new();
    while let Some(output) = one.session.output() {
        if let Output::Send(_, bytes) = output
            && matches!(message(&bytes), Message::Update(_))
        {
            updates.push(bytes);
        }
    }
    updates
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn rfc4724_4_2_a_restart_leaves_a_peer_that_keeps_routes_without_a_word() {
    let mut one = told(with_graceful(false), keeps(false));
    let did = one.input(Input::Stop(Stop::Restart));
    assert_eq!(did, [Did::Closed(DIALLED), Did::Stopped]);
    assert_eq!(one.session.deadline(), None);
    assert_eq!(one.input(Input::Start), []);
}

#[test]
fn a_restart_drains_a_peer_that_keeps_nothing() {
    for (ours, theirs) in [(settings(), keeps(true)), (with_graceful(true), None)] {
        let mut one = told(ours, theirs);
        assert_eq!(
            one.input(Input::Stop(Stop::Restart)),
            [Did::Said(DIALLED, "announce")]
        );
        let did = one.pass(Span::s(7));
        assert_eq!(
            did,
            [
                Did::Said(DIALLED, "withdraw"),
                Did::Notified(DIALLED, 6, 4),
                Did::Closed(DIALLED),
                Did::Stopped
            ]
        );
    }
}

#[test]
fn rfc8326_4_a_drain_asks_for_other_ways_then_withdraws_then_ends() {
    let mut settings = settings();
    settings.drain_prepends = 2;
    let mut one = told(settings, None);
    let stop = Input::Stop(Stop::Drain("node drain".to_owned()));
    let announced = updates(&mut one, stop);
    let [announced] = &announced[..] else {
        panic!("one message: {announced:?}");
    };
    let community = [0xc0, 8, 4, 0xff, 0xff, 0, 0];
    let path = [2, 3, 0, 0, 0xfb, 0xf4, 0, 0, 0xfb, 0xf4, 0, 0, 0xfb, 0xf4];
    assert!(holds(announced, &community) && holds(announced, &path));
    let (at, why) = one.session.deadline().expect("it drains");
    assert!(at <= one.now + DRAIN_ANNOUNCE && why != "hold");

    assert_eq!(one.pass(Span::ms(4_999)), []);
    assert_eq!(one.pass(Span::ms(1)), [Did::Said(DIALLED, "withdraw")]);
    assert_eq!(one.status().prefixes, [0, 0]);
    assert_eq!(one.pass(Span::ms(1_999)), []);
    let did = one.pass(Span::ms(1));
    assert_eq!(
        did,
        [
            Did::Notified(DIALLED, 6, 2),
            Did::Closed(DIALLED),
            Did::Stopped
        ]
    );
    let (_, said) = one.status().last_sent.expect("it was said");
    assert_eq!(said.text().as_deref(), Some("node drain"));
}

#[test]
fn rfc8326_4_within_an_as_a_drain_lowers_the_preference() {
    let mut settings = settings();
    settings.peer_asn = PeerAsn::Internal;
    let mut one = One::at(settings, State::OpenSent);
    one.hear_open(
        DIALLED,
        &Open {
            asn: 64_500,
            ..open()
        },
    );
    one.hear_keepalive(DIALLED);
    let attributes = Attributes {
        local_pref: 100,
        communities: (0..63).map(crate::bgp::Community).collect(),
        ..Attributes::default()
    };
    let prefix = Prefix::of(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)), 32);
    let tell = |attributes| Input::Routes {
        routes: Arc::new(Routes::from([(prefix, Arc::new(attributes))])),
        is_complete: true,
    };
    let before = updates(&mut one, tell(attributes));
    assert!(holds(&before[0], &[0x40, 5, 4, 0, 0, 0, 100]));
    let after = updates(&mut one, Input::Stop(Stop::Drain(String::new())));
    assert!(holds(&after[0], &[0x40, 5, 4, 0, 0, 0, 0]));
    assert!(
        holds(&after[0], &[0xff, 0xff, 0, 0]),
        "it finds room among many"
    );
}

#[test]
fn what_goes_while_a_drain_announces_is_withdrawn_at_once() {
    let mut one = told(settings(), None);
    one.input(Input::Stop(Stop::Drain(String::new())));
    let fewer = |count| Input::Routes {
        routes: routes(count, 0),
        is_complete: true,
    };
    assert_eq!(one.input(fewer(1)), [Did::Said(DIALLED, "withdraw")]);
    assert_eq!(one.pass(DRAIN_ANNOUNCE), [Did::Said(DIALLED, "withdraw")]);
    assert_eq!(one.input(fewer(2)), [], "and nothing comes back");
}

#[test]
fn a_drain_ends_with_its_connection() {
    let mut one = told(settings(), None);
    one.input(Input::Stop(Stop::Drain(String::new())));
    let did = one.input(Input::Closed(DIALLED, "reset".to_owned()));
    assert_eq!(did, [Did::Stopped]);
    assert_eq!(
        (one.session.deadline(), one.status().cause),
        (None, Cause::Stopped)
    );
}

#[test]
fn a_second_stop_replaces_the_first_and_a_drain_is_not_begun_anew() {
    let mut one = told(settings(), None);
    one.input(Input::Stop(Stop::Restart));
    one.pass(Span::s(4));
    assert_eq!(one.input(Input::Stop(Stop::Drain("bye".to_owned()))), []);
    assert_eq!(one.pass(Span::s(1)), [Did::Said(DIALLED, "withdraw")]);
    let did = one.input(Input::Stop(Stop::Deconfigured));
    assert_eq!(
        did,
        [
            Did::Notified(DIALLED, 6, 3),
            Did::Closed(DIALLED),
            Did::Stopped
        ]
    );
}

#[test]
fn rfc8538_3_where_both_said_n_an_end_that_is_meant_is_a_hard_reset() {
    let drain = Stop::Drain("node drain".to_owned());
    let ends: [(&str, Input, u8); 4] = [
        ("deconfigured", Input::Stop(Stop::Deconfigured), 3),
        ("drained", Input::Stop(drain), 2),
        ("paused", Input::Pause("later".to_owned()), 2),
        (
            "BFD",
            Input::BfdDown {
                is_peer_anew: false,
                detection: Span::ms(900),
            },
            10,
        ),
    ];
    for (what, end, subcode) in ends {
        for (ours, theirs, is_hard) in [
            (true, true, true),
            (true, false, false),
            (false, true, false),
        ] {
            let mut one = told(with_graceful(ours), keeps(theirs));
            one.input(end.clone());
            one.pass(DRAIN_ANNOUNCE + DRAIN_WITHDRAW);
            let (_, said) = one.status().last_sent.expect("it was said");
            let said_subcode = if is_hard { 9 } else { subcode };
            assert_eq!((said.code, said.subcode), (6, said_subcode), "{what}");
            let inner = said.inner().map(|inner| (inner.code, inner.subcode));
            assert_eq!(inner, is_hard.then_some((6, subcode)), "{what}");
        }
    }
    let mut one = told(with_graceful(true), keeps(true));
    one.input(Input::Reset(Reset::Operator));
    let (_, said) = one.status().last_sent.expect("it was said");
    assert_eq!(
        (said.code, said.subcode),
        (6, 4),
        "who comes back is waited for"
    );
}

#[test]
fn rfc4724_2_end_of_rib_waits_until_the_routes_are_known() {
    let mut one = One::at(settings(), State::Established);
    let tell = |is_complete| Input::Routes {
        routes: routes(1, 0),
        is_complete,
    };
    let said = |what| Did::Said(DIALLED, what);
    assert_eq!(one.input(tell(false)), [said("announce")]);
    assert_eq!(one.pass(Span::s(5)), []);
    assert_eq!(one.input(tell(true)), [said("end"), said("end")]);
    assert_eq!(one.input(tell(true)), []);
}

#[test]
fn rfc4724_4_1_a_restart_is_said_in_the_first_session_only() {
    let flags = |one: &mut One| {
        let mut opens = Vec::new();
        while let Some(output) = one.session.output() {
            if let Output::Send(_, bytes) = output
                && let Message::Open(open) = message(&bytes)
            {
                opens.extend(open.capabilities.graceful_restart);
            }
        }
        let [said] = &opens[..] else {
            panic!("one OPEN: {opens:?}");
        };
        (said.is_restarting, said.families.values().all(|kept| *kept))
    };
    for kept_forwarding in [false, true] {
        let mut one = One::new(settings());
        one.session = Session::new(Start {
            is_restarting: true,
            kept_forwarding,
            ..start(with_graceful(false))
        });
        let mut seen = Vec::new();
        one.input(Input::Start);
        for has_come_up in [false, true, true] {
            let next_hops = hops();
            let connected = Input::Connected {
                side: DIALLED,
                next_hops,
            };
            one.session.input(one.now, connected);
            seen.push(flags(&mut one));
            if has_come_up {
                one.hear_open(DIALLED, &open());
                one.hear_keepalive(DIALLED);
            }
            one.input(Input::Reset(Reset::Transport));
        }
        let first = (true, kept_forwarding);
        assert_eq!(seen, [first, first, (false, true)]);
    }
}

#[test]
fn rfc7313_4_a_refresh_is_marked_for_a_peer_that_knows_marks() {
    let mut one = told(settings(), None);
    let ask = |one: &mut One, family| {
        one.hear(DIALLED, |bytes| {
            wire::route_refresh(bytes, family, wire::Refresh::Request);
        })
    };
    let said = |what| Did::Said(DIALLED, what);
    let marked = [said("refresh"), said("announce"), said("refresh")];
    assert_eq!(ask(&mut one, Family::V4), marked);
    assert_eq!(
        ask(&mut one, Family::V6),
        [said("refresh"), said("refresh")]
    );
    assert_eq!(one.status().counters.sent.refresh, 4);
}

#[test]
fn rfc2918_4_a_peer_without_marks_is_told_again_all_the_same() {
    let mut one = One::at(settings(), State::Established);
    one.input(Input::Routes {
        routes: routes(2, 0),
        is_complete: false,
    });
    let did = one.hear(DIALLED, |bytes| {
        for _ in 0..1_000 {
            wire::route_refresh(bytes, Family::V4, wire::Refresh::Request);
        }
    });
    let announce = Did::Said(DIALLED, "announce");
    assert_eq!(did, [announce], "asking often does not make more of it");
}

#[test]
fn rfc5882_4_3_bfd_ends_a_session_but_for_a_peer_that_makes_its_bfd_session_twice() {
    let down = |is_peer_anew| Input::BfdDown {
        is_peer_anew,
        detection: Span::ms(900),
    };
    let ended = [Did::Notified(DIALLED, 6, 10), Did::Closed(DIALLED)];
    let mut one = told(settings(), None);
    assert_eq!(one.input(down(false)), ended);

    let mut one = told(settings(), None);
    one.pass(Span::ms(1_799));
    assert_eq!(one.input(down(true)), []);
    one.pass(Span::ms(1));
    assert_eq!(one.input(down(true)), ended);
    assert!(one.status().retry_at.is_some(), "BGP does not wait for BFD");
}

#[test]
fn a_paused_session_stays_down_until_it_is_resumed() {
    let mut one = told(settings(), None);
    one.input(Input::Pause("maintenance".to_owned()));
    let status = one.status();
    assert_eq!((status.state, status.cause), (State::Idle, Cause::Paused));
    assert_eq!(one.pass(Span::s(3600)), []);
    assert_eq!(one.input(Input::Reset(Reset::Operator)), []);
    assert_eq!(one.connect(Side::Accepted), [Did::Refused(6, 5)]);
    assert_eq!(one.input(Input::Resume), [Did::Connect]);
}

#[test]
fn rfc4486_4_a_change_of_settings_ends_a_session_only_where_it_must_and_says_so() {
    type Change = (&'static str, fn(&mut Settings));
    let anew: [Change; 7] = [
        ("own AS number", |s| s.asn = 1),
        ("peer AS number", |s| s.peer_asn = PeerAsn::Number(64_501)),
        ("router id", |s| s.router_id = router_id(3)),
        ("hold time", |s| s.hold_seconds = 60),
        ("address families", |s| {
            s.families = BTreeSet::from([Family::V4])
        }),
        ("extended next hop", |s| s.has_v4_over_v6_next_hop = true),
        ("graceful restart", |s| {
            s.graceful_restart = Some(graceful(false))
        }),
    ];
    for (what, change) in anew {
        let mut one = told(settings(), None);
        let mut changed = settings();
        change(&mut changed);
        let did = one.input(Input::Settings(Box::new(changed)));
        let expected = [
            Did::Notified(DIALLED, 6, 6),
            Did::Closed(DIALLED),
            Did::Connect,
        ];
        assert_eq!(did, expected, "{what}");
        assert_eq!(one.status().cause, Cause::Reset(what));
    }
    let live: [fn(&mut Settings); 3] = [
        |s| s.keepalive_seconds = 5,
        |s| s.connect_retry = Span::s(1),
        |s| s.drain_prepends = 3,
    ];
    for change in live {
        let mut one = told(settings(), None);
        let mut changed = settings();
        change(&mut changed);
        assert_eq!(one.input(Input::Settings(Box::new(changed))), []);
        assert_eq!(one.session.state(), State::Established);
    }
}

#[test]
fn a_shorter_keepalive_time_counts_at_once() {
    let mut one = told(settings(), None);
    let mut changed = settings();
    changed.keepalive_seconds = 2;
    one.input(Input::Settings(Box::new(changed)));
    assert_eq!(one.pass(Span::s(2)), [Did::Said(DIALLED, "keepalive")]);
    let negotiated = one.status().negotiated.expect("it is up");
    assert_eq!(negotiated.keepalive, Span::s(2));
}

#[test]
fn a_process_that_is_killed_is_back_with_its_routes() {
    let mut pair =
        Pair::started(|_, settings| settings.graceful_restart = Some(graceful(false))).up();
    pair.tell(0, routes(50, 50));
    pair.kill(0);
    assert_eq!(
        pair.status(1).cause.to_string(),
        "connection closed: closed by the peer"
    );
    pair.pass(Span::s(2));
    let mut again = start(with_graceful(false));
    again.now = pair.now;
    again.is_restarting = true;
    pair.restart(0, again);
    pair.tell(0, routes(50, 50));
    pair.pass(Span::s(5));
    let status = pair.status(1);
    assert_eq!(status.counters.announced, [100, 100]);
    let peer = status
        .peer
        .and_then(|peer| peer.capabilities.graceful_restart);
    assert!(peer.is_some_and(|peer| peer.is_restarting));
}
