//! Whatever the other side says and whenever it says it: what must hold of every session.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Hear(Packet),
    Wait(u64),
    Input(Input),
}

fn packets() -> impl Strategy<Value = Packet> {
    let intervals = prop_oneof![Just(0u64), 0u64..100_000, 0u64..=u64::from(u32::MAX)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let numbers = (1u8.., 1u32..4, intervals.clone(), intervals);
    (0usize..4, flags, numbers).prop_map(|(state, flags, numbers)| {
        let (is_poll, is_final, is_demand) = flags;
        let (multiplier, mine, transmit, receive) = numbers;
        Packet {
            state: State::ALL[state],
            diagnostic: Diagnostic::NONE,
            is_poll,
            is_final,
            is_independent: false,
            is_demand,
            multiplier: NonZeroU8::new(multiplier).unwrap(),
            mine: number(mine),
            yours: Some(number(1)),
            transmit: Span::from_ns(transmit * 1000),
            receive: Span::from_ns(receive * 1000),
            echo: Span::ms(0),
        }
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let numbers = (0u64..70_000, 0u64..70_000, 1u8.., any::<bool>());
    let changes = numbers.prop_map(|(transmit, receive, multiplier, is_passive)| Settings {
        is_passive,
        ..settings(transmit, receive, multiplier)
    });
    prop_oneof![
        6 => packets().prop_map(Step::Hear),
        6 => (0u64..5_000).prop_map(Step::Wait),
        2 => changes.prop_map(|settings| Step::Input(Input::Settings(settings))),
        1 => (0u64..100_000).prop_map(|grace| Step::Input(Input::Stretch(Span::ms(grace)))),
        1 => Just(Step::Input(Input::AdminDown)),
    ]
}

proptest! {
    #[test]
    fn no_history_breaks_a_session(steps in prop::collection::vec(steps(), 0..60)) {
        let mut bench = Bench::new(settings(50, 50, 3));
        let mut asked = 0;
        for step in steps {
            let (sent, heard) = (bench.sent.len(), matches!(step, Step::Hear(_)));
            match step {
                Step::Hear(packet) => bench.hear(packet),
                Step::Wait(ms) => bench.run(Span::ms(ms)),
                Step::Input(input) => {
                    asked += usize::from(matches!(input, Input::Stretch(_)));
                    bench.input(input);
                }
            }
            bench.run(Span::ms(0));
            // A driver that waits for the deadline always waits.
            if let Some((due, why)) = bench.session.deadline() {
                prop_assert!(due > bench.now, "{}", why);
            }
            // A change of state, an answer, and one that was due.
            prop_assert!(!heard || bench.sent.len() - sent <= 3);
            for (_, packet) in &bench.sent[sent..] {
                prop_assert!(packet.state == State::Up || packet.transmit >= SLOW);
                prop_assert!(!(packet.is_poll && packet.is_final));
                prop_assert!(!packet.is_poll || packet.state == State::Up);
                prop_assert_eq!(Packet::decode(&packet.encode()).map(|read| read.state), Ok(packet.state));
            }
            let counts = bench.session.counts();
            let is_up = bench.session.state() == State::Up;
            prop_assert_eq!(counts.ups, counts.downs + u64::from(is_up));
            prop_assert_eq!(counts.sent, bench.sent.len() as u64);
            prop_assert!(bench.stretched.len() <= asked);
        }
    }
}
