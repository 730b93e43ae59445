//! What made other implementations flap: each once, so that it never makes ours.

use super::*;

#[test]
fn a_peer_that_made_its_session_anew_is_known_as_such() {
    // FRR makes its session a second time once BGP is established.
    let mut bench = Bench::up(settings(50, 50, 3));
    let anew = Packet {
        mine: number(78),
        yours: None,
        ..bench.packet(State::Down)
    };
    bench.hear(anew);
    let down = *bench.changes.last().unwrap();
    assert_eq!((down.state, down.is_new_peer), (State::Down, true));
    bench.hear(anew);
    bench.hear(Packet {
        mine: number(78),
        ..bench.packet(State::Up)
    });
    let up = *bench.changes.last().unwrap();
    assert_eq!((up.state, up.is_new_peer), (State::Up, true));
    bench.hear(Packet {
        mine: number(78),
        ..bench.packet(State::Down)
    });
    assert!(
        !bench.changes.last().unwrap().is_new_peer,
        "a plain failure"
    );
}

#[test]
fn a_shorter_interval_that_the_peer_can_take_is_used_at_once() {
    // Else the peer times out between its request and our next slow packet.
    let mut bench = Bench::up(settings(50, 50, 3));
    let slow = Packet {
        receive: Span::s(10),
        ..bench.packet(State::Up)
    };
    bench.hear(slow);
    bench.run_beside(Span::s(2), Span::ms(40), slow);
    bench.sent.clear();
    bench.hear(Packet {
        is_poll: true,
        ..bench.packet(State::Up)
    });
    bench.run(Span::ms(1));
    let periodic = bench.sent.iter().filter(|(_, packet)| !packet.is_final);
    assert_eq!(periodic.count(), 1, "the interval has passed already");
}

#[test]
fn a_peer_that_is_still_slow_after_the_handshake_is_not_timed_out() {
    // It says one second in the packet that brings us Up, and 50 ms only in the next.
    let mut bench = Bench::new(settings(50, 50, 3));
    bench.hear(Packet {
        transmit: SLOW,
        ..bench.packet(State::Init)
    });
    bench.run(Span::ms(2_999));
    assert_eq!(bench.session.state(), State::Up);
}

#[test]
fn a_peer_with_defaults_of_its_own_is_followed() {
    // Asked for 300 ms, it sends and takes every 2 s.
    let mut bench = Bench::up(settings(300, 300, 3));
    let told = Packet {
        transmit: Span::s(2),
        receive: Span::s(2),
        ..bench.packet(State::Up)
    };
    bench.hear(told);
    bench.sent.clear();
    bench.run_beside(Span::s(60), Span::s(2), told);
    assert_eq!(bench.session.counts().downs, 0);
    assert!(bench.gaps().iter().all(|gap| *gap >= Span::ms(1500)));
}

#[test]
fn a_process_that_was_held_up_gives_the_detection_time_again_once() {
    let mut bench = Bench::up(settings(50, 50, 3));
    bench.now += Span::ms(250);
    bench.run(Span::ms(0));
    assert_eq!(bench.session.state(), State::Up);
    assert_eq!(bench.session.counts().late, 1);
    bench.run(Span::ms(149));
    assert_eq!(bench.session.state(), State::Up);
    bench.now += Span::ms(250);
    bench.run(Span::ms(0));
    assert_eq!(bench.session.state(), State::Down, "but not twice");
    assert_eq!(bench.session.counts().late, 1);
}

#[test]
fn being_a_little_late_changes_nothing() {
    let mut bench = Bench::up(settings(50, 50, 3));
    bench.now += Span::ms(150 + 75);
    bench.run(Span::ms(0));
    assert_eq!(bench.session.state(), State::Down);
    assert_eq!(bench.session.counts().late, 0);
}

#[test]
fn a_process_that_was_held_up_sends_one_packet_and_no_burst() {
    let mut bench = Bench::up(settings(50, 50, 3));
    bench.now += Span::ms(140);
    bench.hear(bench.packet(State::Up));
    bench.run(Span::ms(0));
    assert_eq!(bench.sent.len(), 1);
}

#[test]
fn a_session_that_never_was_up_has_not_gone_down() {
    let mut bench = Bench::new(settings(50, 50, 3));
    bench.hear(bench.packet(State::Down));
    bench.run(Span::s(10));
    assert_eq!(bench.session.state(), State::Down);
    assert_eq!(bench.session.counts().downs, 0);
}

#[test]
fn settings_that_are_the_same_send_nothing() {
    let mut bench = Bench::up(settings(50, 50, 3));
    bench.input(Input::Settings(settings(50, 50, 3)));
    assert_eq!(bench.sent, []);
    assert_eq!(bench.changes.last().unwrap().state, State::Up);
}

#[test]
fn a_flood_of_packets_is_answered_packet_by_packet_at_most() {
    let mut bench = Bench::new(settings(50, 50, 3));
    bench.sent.clear();
    for round in 0..1000 {
        let state = State::ALL[round % 4];
        bench.hear(Packet {
            is_poll: round % 3 == 0,
            ..bench.packet(state)
        });
    }
    assert!(bench.sent.len() <= 2000, "{}", bench.sent.len());
}
