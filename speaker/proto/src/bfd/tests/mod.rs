//! The session against the RFC: single rules by a script, both sides on a virtual clock, and what made others flap.

mod flaps;
mod pair;
mod random;
mod rules;

use super::*;
use crate::{Machine, Time};
use std::num::NonZeroU32;

/// A session with what it said so far; the test is its other side.
struct Bench {
    session: Session,
    now: Time,
    sent: Vec<(Time, Packet)>,
    changes: Vec<Change>,
    stretched: Vec<Option<Saved>>,
    has_left: bool,
}

/// The other side's discriminator.
const PEER: u32 = 77;

fn settings(transmit: u64, receive: u64, multiplier: u8) -> Settings {
    Settings {
        transmit: Span::ms(transmit),
        receive: Span::ms(receive),
        multiplier: NonZeroU8::new(multiplier).unwrap(),
        ..Settings::default()
    }
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

impl Bench {
    fn new(settings: Settings) -> Self {
        Self::of(Session::new(Time::s(100), number(1), settings, 7))
    }

    fn of(session: Session) -> Self {
        let mut bench = Self {
            session,
            now: Time::s(100),
            sent: Vec::new(),
            changes: Vec::new(),
            stretched: Vec::new(),
            has_left: false,
        };
        bench.drain();
        bench.run(Span::ms(0));
        bench
    }

    /// One that is Up with a peer of the same settings, whose Poll is answered.
    fn up(settings: Settings) -> Self {
        let mut bench = Self::new(settings);
        bench.bring_up();
        bench
    }

    fn bring_up(&mut self) {
        self.hear(self.packet(State::Init));
        self.hear(Packet {
            is_final: true,
            ..self.packet(State::Up)
        });
        assert_eq!(self.session.state(), State::Up);
        self.sent.clear();
    }

    /// What the peer says, as if set like us.
    fn packet(&self, state: State) -> Packet {
        let settings = self.session.settings();
        Packet {
            state,
            diagnostic: Diagnostic::NONE,
            is_poll: false,
            is_final: false,
            is_independent: false,
            is_demand: false,
            multiplier: settings.multiplier,
            mine: number(PEER),
            yours: Some(self.session.discriminator()),
            transmit: settings.transmit,
            receive: settings.receive,
            echo: Span::ms(0),
        }
    }

    fn hear(&mut self, packet: Packet) {
        self.input(Input::Packet(packet));
    }

    fn input(&mut self, input: Input) {
        self.session.input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.output() {
            match output {
                Output::Send(packet) => self.sent.push((self.now, packet)),
                Output::Changed(change) => self.changes.push(change),
                Output::Stretched(saved) => self.stretched.push(saved),
                Output::Left => self.has_left = true,
            }
        }
    }

    /// Lets timers fire exactly when they are due, for so long.
    fn run(&mut self, span: Span) {
        let until = self.now + span;
        while let Some((due, _)) = self.session.deadline().filter(|(due, _)| *due <= until) {
            self.now = self.now.max(due);
            self.session.expire(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// The same, while the peer says this every `every`.
    fn run_beside(&mut self, span: Span, every: Span, packet: Packet) {
        let until = self.now + span;
        while self.now < until {
            self.run(every);
            self.hear(packet);
        }
    }

    fn last(&self) -> Packet {
        self.sent.last().expect("something was sent").1
    }

    /// Between the packets that were sent.
    fn gaps(&self) -> Vec<Span> {
        let pairs = self.sent.windows(2);
        pairs.map(|pair| pair[1].0.since(pair[0].0)).collect()
    }
}

impl Time {
    const fn s(s: u64) -> Self {
        Self::ms(s * 1000)
    }
}
