//! Each rule of the RFC by itself.

use super::*;

#[test]
fn rfc5880_6_8_6_every_state_meets_every_state() {
    use State::{AdminDown, Down, Init, Up};
    let table = [
        //            hears AdminDown, Down, Init, Up
        (AdminDown, [AdminDown, AdminDown, AdminDown, AdminDown]),
        (Down, [Down, Init, Up, Down]),
        (Init, [Down, Init, Up, Up]),
        (Up, [Down, Down, Up, Up]),
    ];
    for (state, after) in table {
        for (peer, after) in State::ALL.into_iter().zip(after) {
            let mut bench = Bench::new(Settings::default());
            match state {
                AdminDown => bench.input(Input::AdminDown),
                Down => {}
                Init => bench.hear(bench.packet(Down)),
                Up => bench.bring_up(),
            }
            assert_eq!(bench.session.state(), state);
            bench.changes.clear();
            bench.hear(bench.packet(peer));
            assert_eq!(bench.session.state(), after, "{state} hears {peer}");
            assert_eq!(bench.changes.len(), usize::from(state != after));
            if state != Down && after == Down {
                assert_eq!(bench.session.diagnostic(), Diagnostic::NEIGHBOUR_DOWN);
            }
        }
    }
}

#[test]
fn rfc5880_6_8_1_the_first_packet_says_what_is_known_and_no_more() {
    let bench = Bench::new(settings(50, 60, 3));
    let expected = Packet {
        state: State::Down,
        yours: None,
        mine: number(1),
        transmit: SLOW,
        receive: Span::ms(60),
        ..bench.packet(State::Down)
    };
    assert_eq!(bench.sent, [(Time::s(100), expected)], "at once");
}

#[test]
fn rfc5880_6_8_3_who_is_not_up_sends_at_most_once_a_second() {
    for state in [None, Some(State::Down), Some(State::AdminDown)] {
        let mut bench = Bench::new(settings(10, 10, 3));
        if let Some(state) = state {
            bench.hear(bench.packet(state));
        }
        bench.sent.truncate(1);
        let told = bench.packet(State::AdminDown);
        bench.run_beside(Span::s(60), Span::ms(25), told);
        assert!(
            (60..=80).contains(&bench.sent.len()),
            "{}",
            bench.sent.len()
        );
        assert!(bench.sent.iter().all(|(_, packet)| packet.transmit >= SLOW));
    }
}

#[test]
fn rfc5880_6_8_3_a_slow_setting_stays_slow() {
    let mut bench = Bench::new(settings(5000, 300, 3));
    bench.run(Span::s(60));
    assert!(bench.gaps().iter().all(|gap| *gap >= Span::ms(3750)));
}

#[test]
fn rfc5880_6_8_7_packets_go_at_what_both_want() {
    for (ours, theirs, expected) in [(50, 300, 300), (300, 50, 300), (50, 50, 50)] {
        let mut bench = Bench::up(settings(ours, 50, 3));
        let told = Packet {
            receive: Span::ms(theirs),
            ..bench.packet(State::Up)
        };
        bench.hear(told);
        bench.run_beside(Span::s(30), Span::ms(20), told);
        let mean = 30_000 / bench.sent.len() as u64;
        // Jitter makes it seven eighths on average.
        assert!(
            mean.abs_diff(expected * 7 / 8) <= expected / 25,
            "{mean} ms instead of {expected}"
        );
    }
}

#[test]
fn rfc5880_6_8_7_jitter_stays_in_range_and_is_used() {
    for (multiplier, permille_max) in [(3, 1000), (2, 1000), (1, 900)] {
        let mut bench = Bench::up(settings(100, 100, multiplier));
        let told = Packet {
            multiplier: NonZeroU8::MAX,
            ..bench.packet(State::Up)
        };
        bench.hear(told);
        bench.sent.clear();
        bench.run(Span::s(20));
        let gaps = bench.gaps();
        let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        let bounds = Span::ms(75)..=Span::from_ns(permille_max * 100_000);
        assert!(bounds.contains(least) && bounds.contains(most));
        assert!(*least < Span::ms(77) && most.ns() > (permille_max - 20) * 100_000);
    }
}

#[test]
fn rfc5880_6_8_7_who_can_take_nothing_is_sent_nothing() {
    let mut bench = Bench::up(settings(50, 50, 3));
    let told = Packet {
        receive: Span::ms(0),
        ..bench.packet(State::Up)
    };
    bench.hear(told);
    bench.run_beside(Span::s(5), Span::ms(20), told);
    assert_eq!(bench.sent, []);
    bench.hear(Packet {
        is_poll: true,
        ..told
    });
    assert!(bench.last().is_final, "but an answer");
}

#[test]
fn rfc5880_6_8_7_a_poll_is_answered_at_once_in_every_state_and_beside_the_schedule() {
    for state in [State::Down, State::AdminDown, State::Init] {
        let mut bench = Bench::new(settings(50, 50, 3));
        let told = bench.packet(state);
        bench.hear(told);
        let due = bench.session.deadline();
        bench.hear(Packet {
            is_poll: true,
            ..told
        });
        assert!(bench.last().is_final && !bench.last().is_poll);
        assert_eq!(bench.sent.last().unwrap().0, bench.now);
        let next = |due: Option<(Time, &'static str)>| due.map(|(at, _)| at);
        assert_eq!(next(bench.session.deadline()), next(due));
    }
}

#[test]
fn rfc5880_6_8_4_the_other_sides_multiplier_and_the_slower_interval_make_the_detection_time() {
    for (transmit, multiplier, expected) in [(200, 5, 1000), (50, 5, 500), (100, 1, 100)] {
        let mut bench = Bench::up(settings(50, 100, 3));
        bench.hear(Packet {
            transmit: Span::ms(transmit),
            multiplier: NonZeroU8::new(multiplier).unwrap(),
            ..bench.packet(State::Up)
        });
        assert_eq!(bench.session.detection(), Span::ms(expected));
        bench.run(Span::ms(expected - 1));
        assert_eq!(bench.session.state(), State::Up);
        bench.run(Span::ms(1));
        assert_eq!(bench.session.state(), State::Down);
        assert_eq!(bench.last().diagnostic, Diagnostic::TIMED_OUT);
        assert_eq!(bench.last().yours, None, "who is gone is forgotten (6.8.1)");
        assert_eq!(bench.session.counts().downs, 1);
    }
}

#[test]
fn rfc5880_6_8_18_the_other_side_is_remembered_for_a_detection_time_in_down_too() {
    let mut bench = Bench::up(settings(300, 300, 3));
    bench.hear(bench.packet(State::Down));
    bench.run(Span::ms(899));
    assert_eq!(bench.session.peer().discriminator, Some(number(PEER)));
    bench.run(Span::ms(1));
    assert_eq!(bench.session.peer().discriminator, None);
    assert_eq!(bench.session.diagnostic(), Diagnostic::NEIGHBOUR_DOWN);
}

#[test]
fn rfc5880_6_8_3_a_longer_interval_of_ours_waits_for_the_answer() {
    let mut bench = Bench::up(settings(50, 50, 3));
    let told = bench.packet(State::Up);
    bench.input(Input::Settings(settings(400, 50, 3)));
    assert!(bench.last().is_poll && bench.last().transmit == Span::ms(400));
    bench.run_beside(Span::s(1), Span::ms(40), told);
    assert!(bench.sent.iter().all(|(_, packet)| packet.is_poll));
    assert!(bench.gaps().iter().all(|gap| *gap <= Span::ms(50)));
    bench.hear(Packet {
        is_final: true,
        ..told
    });
    bench.sent.clear();
    bench.run_beside(Span::s(4), Span::ms(40), told);
    assert!(bench.sent.iter().all(|(_, packet)| !packet.is_poll));
    let gaps = bench.gaps();
    assert!(gaps.iter().all(|gap| *gap >= Span::ms(300)), "{gaps:?}");
}

#[test]
fn rfc5880_6_8_3_a_shorter_detection_time_waits_for_the_answer() {
    let mut bench = Bench::up(settings(50, 300, 3));
    let told = Packet {
        transmit: Span::ms(50),
        ..bench.packet(State::Up)
    };
    bench.hear(told);
    bench.input(Input::Settings(settings(50, 50, 3)));
    assert_eq!(bench.last().receive, Span::ms(50));
    assert_eq!(bench.session.detection(), Span::ms(900));
    bench.hear(Packet {
        is_final: true,
        ..told
    });
    assert_eq!(bench.session.detection(), Span::ms(150));
}

#[test]
fn rfc5880_6_8_12_another_multiplier_is_told_without_a_poll() {
    let mut bench = Bench::up(settings(300, 300, 3));
    bench.input(Input::Settings(settings(300, 300, 5)));
    assert_eq!(bench.last().multiplier.get(), 5);
    assert!(!bench.last().is_poll);
}

#[test]
fn rfc5880_6_5_a_session_that_comes_up_polls_until_it_is_answered() {
    let mut bench = Bench::new(settings(50, 50, 3));
    bench.hear(bench.packet(State::Init));
    assert!(bench.last().is_poll && bench.last().state == State::Up);
    let told = bench.packet(State::Up);
    bench.run_beside(Span::ms(500), Span::ms(40), told);
    assert!(bench.last().is_poll);
    bench.hear(Packet {
        is_final: true,
        ..told
    });
    bench.run_beside(Span::ms(100), Span::ms(40), told);
    assert!(!bench.last().is_poll);
}

#[test]
fn rfc5880_6_6_demand_is_honoured_only_while_both_are_up() {
    let mut bench = Bench::up(settings(50, 50, 3));
    let told = Packet {
        is_demand: true,
        ..bench.packet(State::Up)
    };
    bench.hear(told);
    bench.run_beside(Span::s(2), Span::ms(40), told);
    assert_eq!(bench.sent, []);
    bench.input(Input::Settings(settings(60, 50, 3)));
    bench.run_beside(Span::ms(200), Span::ms(40), told);
    assert!(
        bench.sent.len() >= 3 && bench.last().is_poll,
        "a Poll goes on"
    );
    bench.run(Span::ms(150));
    assert_eq!(bench.session.state(), State::Down);
    bench.sent.clear();
    bench.run(Span::s(3));
    assert!(bench.sent.len() >= 3, "and who is Down is told");
}

#[test]
fn rfc5880_6_1_a_passive_side_is_silent_until_it_hears() {
    let mut bench = Bench::new(Settings {
        is_passive: true,
        ..settings(50, 50, 3)
    });
    bench.run(Span::s(10));
    assert_eq!(bench.sent, []);
    assert_eq!(bench.session.deadline(), None);
    bench.hear(bench.packet(State::Down));
    assert_eq!(bench.last().state, State::Init);
    bench.bring_up();
    bench.run(Span::ms(150));
    assert_eq!(bench.session.state(), State::Down);
    bench.sent.clear();
    bench.run(Span::s(10));
    assert_eq!(bench.sent, [], "nobody is there again");
}

#[test]
fn rfc5880_6_8_16_admin_down_is_told_for_a_detection_time_and_twice() {
    for (multiplier, least) in [(3, Span::s(1)), (50, Span::ms(2500))] {
        let mut bench = Bench::up(settings(50, 50, multiplier));
        let begun = bench.now;
        bench.input(Input::AdminDown);
        assert_eq!(bench.last().diagnostic, Diagnostic::ADMIN_DOWN);
        bench.run(Span::from_ns(least.ns() - 1));
        assert!(!bench.has_left);
        bench.run(Span::s(1));
        assert!(bench.has_left);
        let told = bench
            .sent
            .iter()
            .filter(|(at, packet)| packet.state == State::AdminDown && at.since(begun) <= least);
        assert!(told.count() >= 2);
    }
}

#[test]
fn who_is_admin_down_stays_so_and_answers_nobody() {
    let mut bench = Bench::up(settings(50, 50, 3));
    bench.input(Input::AdminDown);
    bench.sent.clear();
    bench.hear(Packet {
        is_poll: true,
        ..bench.packet(State::Up)
    });
    assert_eq!(bench.sent, []);
    bench.input(Input::AdminDown);
    bench.run(Span::s(2));
    assert!(bench.has_left, "once is enough");
}

#[test]
fn a_passive_side_that_nobody_met_leaves_at_once() {
    let mut bench = Bench::new(Settings {
        is_passive: true,
        ..settings(50, 50, 3)
    });
    bench.input(Input::AdminDown);
    bench.run(Span::ms(0));
    assert!(bench.has_left && bench.sent.is_empty());
}

#[test]
fn rfc5882_3_2_admin_down_of_the_other_side_is_told_as_such() {
    let mut bench = Bench::up(settings(50, 50, 3));
    bench.hear(bench.packet(State::AdminDown));
    let change = bench.changes.last().unwrap();
    assert_eq!((change.state, change.peer), (State::Down, State::AdminDown));
}

#[test]
fn a_stretched_session_sends_seldom_once_that_is_known_and_is_handed_over() {
    let mut bench = Bench::up(settings(50, 50, 3));
    let asked = bench.now;
    bench.input(Input::Stretch(Span::s(20)));
    assert!(bench.last().is_poll && bench.stretched.is_empty());
    let told = bench.packet(State::Up);
    bench.run_beside(Span::ms(80), Span::ms(40), told);
    bench.hear(Packet {
        is_final: true,
        ..told
    });
    let [Some(saved)] = bench.stretched[..] else {
        panic!("{:?}", bench.stretched);
    };
    assert!(saved.transmit.ns() * 3 >= Span::s(20).ns());
    assert!(saved.until >= asked + Span::s(20) && saved.until < asked + Span::s(21));
    assert_eq!(
        (saved.mine, saved.peer.discriminator),
        (number(1), Some(number(PEER)))
    );

    let resumed = Session::resume(bench.now + Span::s(10), saved, settings(50, 50, 3), 1).unwrap();
    let mut next = Bench {
        now: bench.now + Span::s(10),
        session: resumed,
        ..Bench::new(Settings::default())
    };
    next.sent.clear();
    next.drain();
    assert_eq!(next.session.state(), State::Up);
    let first = next.last();
    assert!(first.is_poll && first.state == State::Up && first.transmit == Span::ms(50));
    assert_eq!((first.mine, first.yours), (number(1), Some(number(PEER))));
    assert_eq!(next.changes[0].state, State::Up);
    next.run(Span::ms(150));
    assert_eq!(next.session.state(), State::Down, "detection is as ever");
}

#[test]
fn a_stretch_is_bounded_and_needs_an_answer_and_a_session() {
    let mut bench = Bench::up(settings(50, 50, 3));
    bench.input(Input::Stretch(Span::s(3600)));
    assert_eq!(bench.last().transmit, Span::s(10));
    let told = bench.packet(State::Up);
    bench.run_beside(ANSWER_MAX + Span::ms(50), Span::ms(40), told);
    assert_eq!(bench.stretched, [None]);
    assert_eq!(bench.last().transmit, Span::ms(50), "as before");

    let mut down = Bench::new(settings(50, 50, 3));
    down.input(Input::Stretch(Span::s(10)));
    assert_eq!(down.stretched, [None]);

    let mut lost = Bench::up(settings(50, 50, 3));
    lost.input(Input::Stretch(Span::s(10)));
    lost.hear(lost.packet(State::Down));
    assert_eq!(lost.stretched, [None]);
}

#[test]
fn a_session_is_not_gone_on_with_after_its_time() {
    let mut bench = Bench::up(settings(50, 50, 3));
    bench.input(Input::Stretch(Span::s(20)));
    bench.hear(Packet {
        is_final: true,
        ..bench.packet(State::Up)
    });
    let saved = bench.stretched[0].unwrap();
    assert!(Session::resume(saved.until, saved, settings(50, 50, 3), 1).is_none());
}

#[test]
fn what_is_slow_enough_for_the_grace_need_not_be_asked() {
    let mut bench = Bench::up(settings(5000, 300, 3));
    bench.input(Input::Stretch(Span::s(10)));
    let [Some(saved)] = bench.stretched[..] else {
        panic!("{:?}", bench.stretched);
    };
    assert_eq!(saved.transmit, Span::s(5));
}
