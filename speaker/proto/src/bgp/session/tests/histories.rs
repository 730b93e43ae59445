//! Random histories: whatever happens, a session is never stuck, and when it is left alone it comes up and tells everything.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    Tell(usize, u32, u32),
    Reset(usize, bool),
    Pause(usize),
    Resume(usize),
    Listen(usize, bool),
    Read(usize, bool),
    Kill(usize),
    Bfd(usize),
    BfdUp(usize),
    Refresh(usize),
    Configure(usize, u8, u16, bool),
    Junk(usize, Vec<u8>),
}

fn event() -> impl Strategy<Value = Event> {
    let end = || 0..2_usize;
    prop_oneof![
        4 => (1..20_000_u64).prop_map(Event::Pass),
        2 => (end(), 0..3_000_u32, 0..900_u32).prop_map(|(end, v4, v6)| Event::Tell(end, v4, v6)),
        1 => (end(), any::<bool>()).prop_map(|(end, is_mine)| Event::Reset(end, is_mine)),
        1 => end().prop_map(Event::Pause),
        1 => end().prop_map(Event::Resume),
        1 => (end(), any::<bool>()).prop_map(|(end, is)| Event::Listen(end, is)),
        1 => (end(), any::<bool>()).prop_map(|(end, is)| Event::Read(end, is)),
        1 => end().prop_map(Event::Kill),
        1 => end().prop_map(Event::Bfd),
        1 => end().prop_map(Event::BfdUp),
        1 => end().prop_map(Event::Refresh),
        1 => (end(), 1..9_u8, 3..20_u16, any::<bool>())
            .prop_map(|(end, id, hold, is_graceful)| Event::Configure(end, id, hold, is_graceful)),
        1 => (end(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(end, junk)| Event::Junk(end, junk)),
    ]
}

/// Feeds a whole message to both connections of an end, as if the peer had said it.
fn hear(pair: &mut Pair, end: usize, bytes: &[u8]) {
    for side in [Side::Dialled, Side::Accepted] {
        pair.input(end, Input::Received(side, bytes.to_vec()));
    }
}

fn configured(end: usize, id: u8, hold: u16, is_graceful: bool) -> Settings {
    Settings {
        asn: 64_500 + end as u32,
        // Odd and even, so that the two are never the same.
        router_id: router_id(2 * id + end as u8),
        hold_seconds: hold,
        graceful_restart: is_graceful.then(|| graceful(true)),
        ..settings()
    }
}

/// What ran, and how it was configured, so that a new process is like the one before.
struct World {
    pair: Pair,
    settings: [Settings; 2],
    told: [[u32; 2]; 2],
}

impl World {
    fn new() -> Self {
        let settings = [0, 1].map(|end| configured(end, 1, 9, true));
        let first = settings.clone();
        Self {
            pair: Pair::started(|end, settings| *settings = first[end].clone()),
            settings,
            told: [[0; 2]; 2],
        }
    }

    fn tell(&mut self, end: usize) {
        let [v4, v6] = self.told[end];
        self.pair.tell(end, routes(v4, v6));
    }

    fn happen(&mut self, event: Event) {
        let pair = &mut self.pair;
        match event {
            Event::Pass(ms) => pair.pass(Span::ms(ms)),
            Event::Tell(end, v4, v6) => {
                self.told[end] = [v4, v6];
                self.tell(end);
            }
            Event::Reset(end, true) => pair.input(end, Input::Reset(Reset::Operator)),
            Event::Reset(end, false) => pair.input(end, Input::Reset(Reset::Transport)),
            Event::Pause(end) => pair.input(end, Input::Pause("a while".to_owned())),
            Event::Resume(end) => pair.input(end, Input::Resume),
            Event::Listen(end, is) => pair.ends[end].is_listening = is,
            Event::Read(end, is) => pair.ends[end].is_reading = is,
            Event::Kill(end) => {
                pair.kill(end);
                let again = Start {
                    now: pair.now,
                    is_restarting: true,
                    ..start(self.settings[end].clone())
                };
                pair.restart(end, again);
                self.tell(end);
            }
            Event::Bfd(end) => pair.input(
                end,
                Input::BfdDown {
                    is_peer_anew: false,
                    detection: Span::ms(900),
                },
            ),
            Event::BfdUp(end) => pair.input(end, Input::BfdUp),
            Event::Refresh(end) => {
                let mut bytes = Vec::new();
                wire::route_refresh(&mut bytes, Family::V4, wire::Refresh::Request);
                hear(pair, end, &bytes);
            }
            Event::Configure(end, id, hold, is_graceful) => {
                self.settings[end] = configured(end, id, hold, is_graceful);
                pair.input(end, Input::Settings(Box::new(self.settings[end].clone())));
            }
            Event::Junk(end, junk) => hear(pair, end, &junk),
        }
    }
}

/// Runs a history, leaves both alone, and says what is not as it should be.
fn run(events: Vec<Event>) -> Result<(), TestCaseError> {
    let mut world = World::new();
    for event in events {
        world.happen(event);
        for end in &world.pair.ends {
            let status = end.session.status();
            let is_waiting = status.cause != Cause::Paused;
            prop_assert!(
                !is_waiting || end.session.deadline().is_some(),
                "stuck: {status:?}"
            );
            prop_assert_eq!(status.state, end.session.state());
            prop_assert_eq!(
                status.negotiated.is_some(),
                status.state == State::Established
            );
        }
    }
    for end in 0..2 {
        world.happen(Event::Read(end, true));
        world.happen(Event::Listen(end, true));
        world.happen(Event::Resume(end));
    }
    // A patient wait, the longest wait, and the hold time of what was left half open.
    world.pair.pass(Span::s(400));
    prop_assert_eq!(world.pair.states(), [State::Established; 2]);
    for end in 0..2 {
        let status = world.pair.status(end);
        prop_assert_eq!(status.prefixes, world.told[end]);
        prop_assert!(status.is_in_sync);
        prop_assert_eq!(world.pair.unwritten(end), 0);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_two_that_are_left_alone_come_up_and_know_everything(
        events in prop::collection::vec(event(), 1..40),
    ) {
        run(events)?;
    }
}

/// What an end says on a connection that is being closed is nothing that its next connection begins with.
#[test]
fn last_words_to_a_killed_peer_are_not_heard_by_the_one_that_follows() {
    let events = vec![
        Event::Read(0, false),
        Event::Configure(0, 1, 3, false),
        Event::Read(1, false),
        Event::Reset(1, false),
        Event::Listen(1, false),
        Event::Reset(0, false),
        Event::Kill(1),
    ];
    run(events).expect("both come up");
}
