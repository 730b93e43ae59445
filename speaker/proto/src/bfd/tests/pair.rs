//! Two sessions and the wires between them, on a virtual clock.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

struct Pair {
    sides: [Option<Session>; 2],
    now: Time,
    /// What is under way: when it comes, a number, to whom.
    wires: BTreeMap<(Time, u64), (usize, Packet)>,
    number: u64,
    delay: Span,
    /// Of a thousand packets so many are lost, by wire.
    loss: [u64; 2],
    chance: u64,
    changes: Vec<(Time, usize, Change)>,
    sent: [u64; 2],
    stretched: Option<Saved>,
}

impl Pair {
    fn new(settings: [Settings; 2]) -> Self {
        let now = Time::s(1);
        let session =
            |side: usize| Session::new(now, number(1 + side as u32), settings[side], side as u64);
        Self {
            sides: [Some(session(0)), Some(session(1))],
            now,
            wires: BTreeMap::new(),
            number: 0,
            delay: Span::ms(2),
            loss: [0, 0],
            chance: 1,
            changes: Vec::new(),
            sent: [0, 0],
            stretched: None,
        }
    }

    fn up(settings: [Settings; 2]) -> Self {
        let mut pair = Self::new(settings);
        pair.run(Span::s(3));
        assert_eq!(pair.states(), [Some(State::Up); 2]);
        pair
    }

    fn states(&self) -> [Option<State>; 2] {
        [0, 1].map(|side| self.sides[side].as_ref().map(Session::state))
    }

    fn side(&self, side: usize) -> &Session {
        self.sides[side].as_ref().expect("it lives")
    }

    fn input(&mut self, side: usize, input: Input) {
        if let Some(session) = &mut self.sides[side] {
            session.input(self.now, input);
        }
        self.drain(side);
    }

    fn drain(&mut self, side: usize) {
        while let Some(output) = self.sides[side].as_mut().and_then(Session::output) {
            match output {
                Output::Send(packet) => self.send(side, packet),
                Output::Changed(change) => self.changes.push((self.now, side, change)),
                Output::Stretched(saved) => self.stretched = saved,
                Output::Left => self.sides[side] = None,
            }
        }
    }

    fn send(&mut self, side: usize, packet: Packet) {
        self.sent[side] += 1;
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let is_lost = (self.chance >> 33) % 1000 < self.loss[side];
        if !is_lost {
            self.number += 1;
            let at = self.now + self.delay;
            self.wires.insert((at, self.number), (1 - side, packet));
        }
    }

    fn run(&mut self, span: Span) {
        let until = self.now + span;
        loop {
            let arrival = self.wires.keys().next().map(|(at, _)| *at);
            let timers = self
                .sides
                .iter()
                .flatten()
                .filter_map(|side| side.deadline());
            let next = timers.map(|(at, _)| at).chain(arrival).min();
            let Some(next) = next.filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(next);
            while let Some(first) = self
                .wires
                .first_entry()
                .filter(|first| first.key().0 <= self.now)
            {
                let (to, packet) = first.remove();
                self.input(to, Input::Packet(packet));
            }
            for side in 0..2 {
                if let Some(session) = &mut self.sides[side] {
                    session.expire(self.now);
                }
                self.drain(side);
            }
        }
        self.now = until;
    }

    fn downs(&self) -> u64 {
        self.sides
            .iter()
            .flatten()
            .map(|side| side.counts().downs)
            .sum()
    }
}

#[test]
fn two_sides_come_up_within_two_seconds_and_stay_up() {
    for (a, b) in [
        (settings(50, 50, 3), settings(50, 50, 3)),
        (settings(10, 10, 3), settings(300, 300, 3)),
        (settings(50, 300, 3), settings(1000, 20, 2)),
        (settings(50, 50, 1), settings(50, 50, 1)),
        (settings(5000, 5000, 2), settings(50, 50, 3)),
    ] {
        let mut pair = Pair::up([a, b]);
        pair.run(Span::s(600));
        assert_eq!(pair.downs(), 0, "{a:?} {b:?}");
        for side in 0..2 {
            let intervals = pair
                .side(1 - side)
                .settings()
                .receive
                .max(pair.side(side).settings().transmit);
            assert_eq!(pair.side(side).interval(), Some(intervals));
        }
    }
}

#[test]
fn one_passive_side_comes_up_and_two_do_not() {
    let passive = Settings {
        is_passive: true,
        ..settings(50, 50, 3)
    };
    Pair::up([passive, settings(50, 50, 3)]);
    let mut both = Pair::new([passive, passive]);
    both.run(Span::s(60));
    assert_eq!(both.sent, [0, 0]);
}

#[test]
fn a_side_that_dies_is_missed_after_the_detection_time() {
    for (transmit, receive, multiplier) in [(50, 50, 3), (300, 300, 3), (20, 100, 5)] {
        let settings = settings(transmit, receive, multiplier);
        let mut pair = Pair::up([settings, settings]);
        pair.sides[1] = None;
        let died = pair.now;
        pair.run(Span::s(10));
        let (at, side, change) = *pair.changes.last().unwrap();
        assert_eq!((side, change.state), (0, State::Down));
        assert_eq!(change.diagnostic, Diagnostic::TIMED_OUT);
        let detection = settings.detection();
        assert!(
            at.since(died) <= detection + pair.delay,
            "{:?}",
            at.since(died)
        );
        let packet_interval = Span::ms(transmit.max(receive));
        assert!(
            at.since(died) + packet_interval >= detection,
            "{:?}",
            at.since(died)
        );
    }
}

impl std::ops::Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::from_ns(self.ns() + other.ns())
    }
}

#[test]
fn a_wire_that_fails_one_way_takes_both_sides_down_and_heals() {
    let mut pair = Pair::up([settings(50, 50, 3), settings(50, 50, 3)]);
    pair.loss[0] = 1000;
    pair.run(Span::s(5));
    assert_eq!(pair.states(), [Some(State::Init), Some(State::Down)]);
    let diagnostics: Vec<_> = pair
        .changes
        .iter()
        .rev()
        .map(|(_, side, change)| (*side, change.diagnostic))
        .collect();
    assert!(diagnostics.contains(&(1, Diagnostic::TIMED_OUT)));
    assert!(diagnostics.contains(&(0, Diagnostic::NEIGHBOUR_DOWN)));
    pair.loss[0] = 0;
    pair.run(Span::s(3));
    assert_eq!(pair.states(), [Some(State::Up); 2]);
    assert_eq!(pair.downs(), 2, "once each");
}

#[test]
fn live_changes_of_all_timers_never_take_a_session_down() {
    let mut pair = Pair::up([settings(50, 50, 3), settings(50, 50, 3)]);
    let steps = [
        settings(1000, 50, 3),
        settings(10, 2000, 3),
        settings(2000, 10, 2),
        settings(10, 10, 10),
        settings(60_000, 60_000, 2),
        settings(50, 50, 3),
    ];
    for (at, step) in steps.into_iter().enumerate() {
        pair.input(at % 2, Input::Settings(step));
        // The next change comes while the last is asked for, or long after.
        pair.run(Span::ms([3, 700, 9_000][at % 3]));
    }
    pair.run(Span::s(200));
    assert_eq!(pair.downs(), 0);
    assert_eq!(
        pair.side(1).interval(),
        Some(Span::s(60)),
        "what side 0 takes"
    );
}

#[test]
fn admin_down_is_no_failure_and_not_forgotten_in_a_lossy_net() {
    let mut pair = Pair::up([settings(50, 50, 3), settings(50, 50, 3)]);
    pair.input(0, Input::AdminDown);
    pair.run(Span::s(4));
    assert!(pair.sides[0].is_none(), "it left");
    let (_, side, change) = *pair.changes.last().unwrap();
    assert_eq!(
        (side, change.state, change.peer),
        (1, State::Down, State::AdminDown)
    );
}

#[test]
fn a_restart_within_the_grace_is_not_noticed() {
    let both = settings(50, 50, 3);
    let mut pair = Pair::up([both, both]);
    pair.input(0, Input::Stretch(Span::s(20)));
    pair.run(Span::ms(200));
    let saved = pair.stretched.expect("answered");
    pair.sides[0] = None;
    pair.run(Span::s(19));
    assert_eq!(pair.side(1).state(), State::Up);
    pair.sides[0] = Session::resume(pair.now, saved, both, 9);
    pair.drain(0);
    pair.run(Span::s(10));
    assert_eq!(pair.downs(), 0);
    assert_eq!(pair.side(1).detection(), Span::ms(150), "as before");
    assert_eq!(pair.states(), [Some(State::Up); 2]);
}

#[test]
fn a_restart_without_a_stretch_is_a_new_session() {
    let both = settings(50, 50, 3);
    let mut pair = Pair::up([both, both]);
    pair.sides[0] = Some(Session::new(pair.now, number(9), both, 3));
    pair.run(Span::s(3));
    assert_eq!(pair.states(), [Some(State::Up); 2]);
    let down = pair
        .changes
        .iter()
        .find(|(_, side, change)| *side == 1 && change.state == State::Down);
    assert!(down.expect("it noticed").2.is_new_peer);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One lost packet of three is borne; what is lost beyond takes the session down, and it comes back.
    #[test]
    fn sides_meet_again_whatever_was_lost_and_changed(
        seed: u64,
        loss in 0u64..900,
        steps in prop::collection::vec((0usize..2, 10u64..2000, 10u64..2000, 2u8..6, 0u64..5000), 0..12),
    ) {
        let mut pair = Pair::new([settings(50, 50, 3), settings(300, 300, 3)]);
        pair.chance = seed;
        pair.loss = [loss, loss];
        for (side, transmit, receive, multiplier, wait) in steps {
            pair.input(side, Input::Settings(settings(transmit, receive, multiplier)));
            pair.run(Span::ms(wait));
        }
        pair.loss = [0, 0];
        pair.run(Span::s(20));
        prop_assert_eq!(pair.states(), [Some(State::Up); 2]);
        let downs = pair.downs();
        pair.run(Span::s(60));
        prop_assert_eq!(pair.downs(), downs, "without loss nothing flaps");
        for side in 0..2 {
            let (own, other) = (pair.side(side), pair.side(1 - side));
            prop_assert!(own.counts().ups >= own.counts().downs);
            let interval = own.settings().transmit.max(other.settings().receive);
            prop_assert_eq!(own.interval(), Some(interval));
            let detection = other.interval().unwrap().ns() * u64::from(other.settings().multiplier.get());
            prop_assert_eq!(own.detection().ns(), detection);
        }
    }

    /// Live changes without loss never take a session down, whenever they come.
    #[test]
    fn changes_alone_never_flap(
        delay in 0u64..40,
        steps in prop::collection::vec((0usize..2, 10u64..3000, 10u64..3000, 2u8..6, 0u64..4000), 0..20),
    ) {
        let mut pair = Pair::up([settings(100, 100, 3), settings(300, 300, 3)]);
        pair.delay = Span::ms(delay);
        for (side, transmit, receive, multiplier, wait) in steps {
            // A round trip must fit into the detection time.
            let settings = settings(transmit.max(50), receive.max(50), multiplier.max(3));
            pair.input(side, Input::Settings(settings));
            pair.run(Span::ms(wait));
        }
        pair.run(Span::s(30));
        prop_assert_eq!(pair.downs(), 0);
    }
}
