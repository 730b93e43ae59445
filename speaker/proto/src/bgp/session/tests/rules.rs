//! Timers: when a peer counts as dead, when it is tried again, and what it hears meanwhile.

use super::*;

fn seconds(span: Span) -> f64 {
    span.ns() as f64 / 1e9
}

/// How long a session waits now.
fn wait(one: &One) -> Span {
    let (at, _) = one.session.deadline().expect("it waits");
    at.since(one.now)
}

#[test]
fn rfc4271_6_5_a_peer_that_is_silent_for_the_hold_time_is_dead() {
    let mut pair = Pair::started(|_, settings| settings.hold_seconds = 9).up();
    pair.vanish(1);
    pair.pass(Span::s(5));
    assert_eq!(pair.status(0).state, State::Established);
    pair.pass(Span::s(4));
    let status = pair.status(0);
    assert_eq!(status.cause, Cause::Sent(Notification::new(4, 0)));
    assert_eq!(status.counters.dropped, 1);
}

#[test]
fn a_process_that_did_not_run_reads_before_it_takes_its_peer_for_dead() {
    let dead = [
        Did::Notified(Side::Dialled, 4, 0),
        Did::Closed(Side::Dialled),
    ];
    for has_spoken in [true, false] {
        let mut one = One::at(settings(), State::Established);
        one.now += Span::s(100);
        one.session.expire(one.now);
        assert_eq!(one.session.state(), State::Established);
        one.did();
        if has_spoken {
            one.hear_keepalive(Side::Dialled);
        }
        one.now += Span::s(1);
        one.session.expire(one.now);
        assert_eq!(one.did() == dead, !has_spoken);
    }
}

#[test]
fn rfc4271_8_2_2_a_peer_that_never_says_open_has_four_minutes() {
    let mut one = One::at(settings(), State::OpenSent);
    assert_eq!(one.pass(Span::ms(239_999)), []);
    let (why, did) = one.wake();
    assert_eq!(why, "hold");
    assert_eq!(
        did,
        [
            Did::Notified(Side::Dialled, 4, 0),
            Did::Closed(Side::Dialled)
        ]
    );
}

#[test]
fn rfc6608_3_a_message_out_of_place_is_answered_with_the_state_in_which_it_came() {
    for (state, subcode) in [
        (State::OpenSent, 1),
        (State::OpenConfirm, 2),
        (State::Established, 3),
    ] {
        let mut one = One::at(settings(), state);
        let did = if state == State::OpenSent {
            one.hear_keepalive(Side::Dialled)
        } else {
            one.hear_open(Side::Dialled, &open())
        };
        let expected = [
            Did::Notified(Side::Dialled, 5, subcode),
            Did::Closed(Side::Dialled),
        ];
        assert_eq!(did, expected, "{state:?}");
    }
}

#[test]
fn rfc4271_10_keepalives_are_jittered_and_never_closer_than_a_second() {
    for (hold, range) in [(30, 7.5..=10.0), (3, 1.0..=1.0)] {
        let mut settings = settings();
        settings.hold_seconds = hold;
        let mut one = One::at(settings, State::Established);
        let mut seen = Vec::new();
        for _ in 0..50 {
            let before = one.now;
            assert_eq!(one.wake().1, [Did::Said(Side::Dialled, "keepalive")]);
            seen.push(seconds(one.now.since(before)));
            one.hear_keepalive(Side::Dialled);
        }
        let is_right = |wait: &f64| range.contains(wait);
        assert!(seen.iter().all(is_right), "{hold}: {seen:?}");
    }
}

#[test]
fn rfc4271_4_2_without_a_hold_time_nothing_is_due() {
    let mut settings = settings();
    settings.hold_seconds = 0;
    let one = One::at(settings, State::Established);
    assert_eq!(one.session.deadline(), None);
}

#[test]
fn rfc4271_8_1_1_a_session_that_fails_waits_longer_each_time() {
    let mut one = One::at(settings(), State::Established);
    let mut waits = Vec::new();
    for _ in 0..9 {
        one.hear_notification(Side::Dialled, 6, 8);
        assert_eq!(one.session.state(), State::Idle);
        waits.push(seconds(wait(&one)));
        one.wake();
        one.connect(Side::Dialled);
        one.hear_open(Side::Dialled, &open());
        one.hear_keepalive(Side::Dialled);
    }
    for (wait, full) in waits
        .iter()
        .zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0])
    {
        assert!((0.75 * full..=full).contains(wait), "{waits:?}");
    }
    assert_eq!(
        one.status().cause_count,
        9,
        "the cause is the same each time"
    );

    for _ in 0..3 {
        one.pass(Span::s(10));
        one.hear_keepalive(Side::Dialled);
    }
    one.hear_notification(Side::Dialled, 6, 8);
    assert!(seconds(wait(&one)) <= 1.0, "it had lived for a hold time");
}

#[test]
fn an_error_that_only_people_mend_is_not_tried_within_half_a_minute() {
    for (code, subcode) in [(6, 2), (2, 2)] {
        let mut one = One::at(settings(), State::OpenSent);
        one.hear_notification(Side::Dialled, code, subcode);
        assert_eq!(wait(&one), Span::s(30), "{code}/{subcode}");
    }
    let mut one = One::at(settings(), State::OpenSent);
    one.hear_open(
        Side::Dialled,
        &Open {
            asn: 64_500,
            ..open()
        },
    );
    assert_eq!(wait(&one), Span::s(30), "it is the same when we find it");
    one.wake();
    one.connect(Side::Dialled);
    one.hear_notification(Side::Dialled, 2, 6);
    assert!(seconds(wait(&one)) <= 2.0, "another error has its own wait");
}

#[test]
fn a_dial_that_fails_is_tried_often_at_first_and_then_at_growing_intervals() {
    let mut one = One::new(settings());
    one.input(Input::Start);
    let mut dials = 0;
    while one.now < Time::ms(10_000) {
        one.input(Input::ConnectFailed("refused".to_owned()));
        assert_eq!(one.session.state(), State::Active);
        one.wake();
        dials += 1;
    }
    assert!((50..=68).contains(&dials), "{dials} dials in ten seconds");
    for full in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
        one.input(Input::ConnectFailed("refused".to_owned()));
        let wait = seconds(wait(&one));
        assert!((0.75 * full..=full).contains(&wait), "{wait} for {full}");
        one.wake();
    }
}

#[test]
fn rfc5882_4_3_a_peer_that_bfd_has_up_is_dialled_at_once() {
    let mut one = One::new(settings());
    one.input(Input::Start);
    while one.now < Time::ms(100_000) {
        one.input(Input::ConnectFailed("no route".to_owned()));
        one.wake();
    }
    one.input(Input::ConnectFailed("no route".to_owned()));
    assert!(wait(&one) > Span::s(20), "it is dialled seldom");
    assert_eq!(one.input(Input::BfdUp), [Did::Connect]);
    // Nobody answered this dial, which was under way when the peer went and came again.
    let anew = [Did::Closed(Side::Dialled), Did::Connect];
    assert_eq!(one.input(Input::BfdUp), anew);
    one.connect(Side::Dialled);
    assert_eq!(one.input(Input::BfdUp), [], "it is connected");
}

#[test]
fn a_paused_peer_and_one_that_a_session_just_failed_with_are_not_dialled_for_bfd() {
    let mut paused = One::at(settings(), State::Active);
    paused.input(Input::Pause("later".to_owned()));
    assert_eq!(paused.input(Input::BfdUp), []);
    let mut failed = One::at(settings(), State::Established);
    failed.hear_notification(Side::Dialled, 6, 4);
    assert_eq!(failed.input(Input::BfdUp), []);
}

#[test]
fn a_connection_that_closes_before_open_goes_back_to_active() {
    let mut one = One::at(settings(), State::OpenSent);
    one.input(Input::Closed(Side::Dialled, "reset by peer".to_owned()));
    let status = one.status();
    assert_eq!(status.state, State::Active);
    assert_eq!(status.cause.to_string(), "connection closed: reset by peer");
    assert!(status.retry_at.is_some());
}

#[test]
fn rfc4486_4_a_peer_that_takes_no_connection_is_tried_less_often_and_may_dial_meanwhile() {
    let mut one = One::at(settings(), State::OpenSent);
    for full in [1.0, 2.0, 4.0, 8.0] {
        one.hear_notification(Side::Dialled, 6, 5);
        assert_eq!(one.session.state(), State::Active);
        let wait = seconds(wait(&one));
        assert!((0.75 * full..=full).contains(&wait), "{wait} for {full}");
        one.wake();
        one.connect(Side::Dialled);
    }
    one.hear_notification(Side::Dialled, 6, 5);
    let did = one.connect(Side::Accepted);
    assert_eq!(did, [Did::Said(Side::Accepted, "open")]);
}

#[test]
fn two_that_turn_each_other_away_are_not_at_odds_for_ever() {
    let mut pair = Pair::started(|_, _| ());
    for end in &mut pair.ends {
        end.is_listening = true;
    }
    for end in 0..2 {
        pair.input(end, Input::Reset(Reset::Operator));
    }
    pair.pass(Span::s(10));
    assert_eq!(pair.states(), [State::Established; 2]);
}

#[test]
fn a_peer_that_flaps_a_thousand_times_costs_little_and_is_there_in_the_end() {
    let mut pair = Pair::started(|_, _| ()).up();
    pair.tell(0, routes(100, 0));
    for flap in 0..1_000 {
        let dials = pair.ends[0].dials;
        pair.input(1, Input::Reset(Reset::Operator));
        pair.pass(Span::s(60));
        assert_eq!(pair.states(), [State::Established; 2], "flap {flap}");
        assert!(pair.ends[0].dials - dials <= 3, "flap {flap}");
    }
    let status = pair.status(0);
    assert_eq!(
        (status.counters.established, status.prefixes),
        (1_001, [100, 0])
    );
    assert_eq!(pair.status(1).counters.announced, [100 * 1_001, 0]);
}

#[test]
fn rfc9687_3_a_peer_that_reads_nothing_is_dead_in_the_end() {
    let mut pair = Pair::started(|_, settings| settings.hold_seconds = 0).up();
    pair.ends[1].is_reading = false;
    pair.tell(0, routes(100_000, 0));
    pair.pass(Span::s(479));
    assert_eq!(pair.status(0).state, State::Established);
    pair.pass(Span::s(1));
    assert_eq!(pair.status(0).cause, Cause::Sent(Notification::new(8, 0)));
}

#[test]
fn a_peer_that_reads_slowly_costs_only_what_it_did_not_read() {
    let mut pair = Pair::started(|_, _| ()).up();
    pair.ends[1].is_reading = false;
    pair.tell(0, routes(100_000, 0));
    pair.pass(Span::s(60));
    let unwritten = pair.unwritten(0);
    assert!(
        (IN_FLIGHT_MAX - 4096..=IN_FLIGHT_MAX).contains(&unwritten),
        "{unwritten}"
    );
    let told = pair.status(0).prefixes[0];
    assert!(told < 13_000, "{told}");

    pair.tell(0, routes(10, 0));
    pair.ends[1].is_reading = true;
    pair.pass(Span::s(1));
    let status = pair.status(1);
    assert_eq!(
        status.counters.announced,
        [told.into(), 0],
        "nothing was said in vain"
    );
    assert_eq!(status.counters.withdrawn, [u64::from(told) - 10, 0]);
}

#[test]
fn while_much_is_unread_no_keepalive_is_added() {
    let mut pair = Pair::started(|_, _| ()).up();
    pair.ends[1].is_reading = false;
    pair.tell(0, routes(100_000, 0));
    let before = pair.status(0).counters.sent.keepalive;
    pair.pass(Span::s(80));
    assert_eq!(pair.status(0).counters.sent.keepalive, before);
}

#[test]
fn rfc2545_3_routes_without_a_next_hop_are_not_announced_and_that_is_shown() {
    let mut one = One::at(settings(), State::Connect);
    let next_hops = NextHops { v6: None, ..hops() };
    one.input(Input::Connected {
        side: Side::Dialled,
        next_hops,
    });
    one.hear_open(Side::Dialled, &open());
    one.hear_keepalive(Side::Dialled);
    one.input(Input::Routes {
        routes: routes(3, 4),
        is_complete: true,
    });
    let status = one.status();
    assert_eq!(status.prefixes, [3, 0]);
    assert_eq!(status.without_next_hop, BTreeSet::from([Family::V6]));
    assert!(status.is_in_sync);
}
