//! Two connections with one peer (RFC 4271 §6.8, RFC 6286 §2.3, RFC 4724 §5).

use super::*;

const DIALLED: Side = Side::Dialled;
const ACCEPTED: Side = Side::Accepted;

/// One whose dial stands and that accepted a connection, with no OPEN on either.
fn with_two(own_id: u8) -> One {
    let mut settings = settings();
    settings.router_id = router_id(own_id);
    let mut one = One::at(settings, State::OpenSent);
    assert_eq!(one.connect(ACCEPTED), [Did::Said(ACCEPTED, "open")]);
    one
}

#[test]
fn rfc4271_6_8_the_second_open_decides_by_identifier_whichever_came_first() {
    for (own_id, first) in [(1, DIALLED), (1, ACCEPTED), (9, DIALLED), (9, ACCEPTED)] {
        let mut one = with_two(own_id);
        let second = if first == DIALLED { ACCEPTED } else { DIALLED };
        assert_eq!(
            one.hear_open(first, &open()),
            [Did::Said(first, "keepalive")]
        );
        let did = one.hear_open(second, &open());
        let (stays, goes) = if own_id > 2 {
            (DIALLED, ACCEPTED)
        } else {
            (ACCEPTED, DIALLED)
        };
        let mut expected = vec![Did::Notified(goes, 6, 7), Did::Closed(goes)];
        if stays == second {
            expected.push(Did::Said(stays, "keepalive"));
        }
        assert_eq!(did, expected, "{own_id} {first:?}");
        one.hear_keepalive(stays);
        assert_eq!(one.session.state(), State::Established);
    }
}

#[test]
fn a_connection_that_comes_up_ends_the_other_and_a_dial() {
    let mut one = with_two(1);
    one.hear_open(ACCEPTED, &open());
    let did = one.hear_keepalive(ACCEPTED);
    assert_eq!(did, [Did::Notified(DIALLED, 6, 7), Did::Closed(DIALLED)]);

    let mut one = One::at(settings(), State::Connect);
    one.connect(ACCEPTED);
    one.hear_open(ACCEPTED, &open());
    assert_eq!(one.hear_keepalive(ACCEPTED), [Did::Closed(DIALLED)]);
    assert_eq!(
        one.session.deadline().map(|(_, why)| why),
        Some("keepalive")
    );
}

#[test]
fn when_one_of_two_connections_breaks_the_other_goes_on() {
    for side in [DIALLED, ACCEPTED] {
        let mut one = with_two(1);
        one.input(Input::Closed(side, "reset".to_owned()));
        assert_eq!(one.session.state(), State::OpenSent);
        let other = if side == DIALLED { ACCEPTED } else { DIALLED };
        one.hear_open(other, &open());
        one.hear_keepalive(other);
        assert_eq!(one.session.state(), State::Established);
    }
}

#[test]
fn of_two_accepted_connections_the_later_counts() {
    let mut one = One::at(settings(), State::Active);
    one.connect(ACCEPTED);
    let did = one.connect(ACCEPTED);
    assert_eq!(
        did,
        [
            Did::Notified(ACCEPTED, 6, 7),
            Did::Closed(ACCEPTED),
            Did::Said(ACCEPTED, "open")
        ]
    );
}

#[test]
fn two_that_both_dial_and_listen_end_with_one_connection() {
    let mut pair = Pair::started(|_, _| ());
    for end in &mut pair.ends {
        end.is_listening = true;
    }
    for _ in 0..20 {
        pair.input(0, Input::Reset(Reset::Transport));
        pair.input(1, Input::Reset(Reset::Transport));
        pair.pass(Span::s(60));
        assert_eq!(pair.states(), [State::Established; 2]);
    }
    let dropped = pair.status(0).counters.dropped;
    pair.pass(Span::s(600));
    assert_eq!(pair.status(0).counters.dropped, dropped);
}

#[test]
fn rfc4724_5_a_peer_that_restarts_gracefully_may_connect_anew_beside_its_old_connection() {
    let mut settings = settings();
    settings.graceful_restart = Some(graceful(false));
    let mut peer = open();
    peer.capabilities.graceful_restart = Some(GracefulRestart::default());
    let mut one = One::at(settings, State::OpenSent);
    one.hear_open(DIALLED, &peer);
    one.hear_keepalive(DIALLED);
    assert_eq!(
        one.connect(ACCEPTED),
        [Did::Refused(6, 7)],
        "both had dialled, and this dial came late"
    );
    one.pass(Span::s(11));
    assert_eq!(
        one.connect(ACCEPTED),
        [Did::Closed(DIALLED), Did::Said(ACCEPTED, "open")]
    );
    assert_eq!(one.session.state(), State::OpenSent);
    assert_eq!(one.status().counters.dropped, 1);
}

#[test]
fn rfc4271_6_8_beside_a_session_that_is_up_another_connection_is_refused() {
    let mut one = One::at(settings(), State::Established);
    one.pass(Span::s(11));
    assert_eq!(one.connect(ACCEPTED), [Did::Refused(6, 7)]);
    let status = one.status();
    assert_eq!(
        (status.state, status.counters.refused),
        (State::Established, 1)
    );
}
