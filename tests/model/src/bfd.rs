//! Any history of one side of a BFD session: what the fuzz target and the replay of its corpus have in common.
//!
//! Bytes are steps, one after the other: a datagram of the other side, a wait, other settings, a stretch, an end. What must hold of every
//! session (RFC 5880 §6.8) is held against it after each.

use speaker_proto::bfd::{Input, Output, Packet, SLOW, Session, Settings, State};
use speaker_proto::{Machine, Span, Time};
use std::num::{NonZeroU8, NonZeroU32};

/// Plays the steps that `bytes` say, up to the one that is cut short.
pub fn exercise(bytes: &[u8]) {
    let settings = Settings::default();
    let mut side = Side {
        session: Session::new(Time::ms(0), MINE, settings, 7),
        now: Time::ms(0),
        sent: 0,
        asked: 0,
        answered: 0,
    };
    side.drain();
    let mut bytes = bytes;
    for _ in 0..STEPS_MAX {
        let Some(step) = Step::read(&mut bytes) else {
            break;
        };
        side.take(step);
    }
}

/// One thing that happens.
enum Step<'a> {
    Datagram(&'a [u8]),
    Wait(Span),
    Input(Input),
}

impl<'a> Step<'a> {
    fn read(bytes: &mut &'a [u8]) -> Option<Self> {
        let kind = take(bytes, 1)?[0];
        Some(match kind & 7 {
            // A length of its own, so that too short and too long ones come, too.
            0..=2 => {
                let length = take(bytes, 1)?[0] % DATAGRAM_BYTES_MAX;
                Self::Datagram(take(bytes, usize::from(length))?)
            }
            3..=5 => Self::Wait(Span::ms(u64::from(take(bytes, 1)?[0]) * 8)),
            6 => {
                let [transmit, receive, multiplier] = take(bytes, 3)?.try_into().ok()?;
                Self::Input(Input::Settings(Settings {
                    transmit: Span::ms(u64::from(transmit) * 4),
                    receive: Span::ms(u64::from(receive) * 4),
                    multiplier: NonZeroU8::new(multiplier).unwrap_or(NonZeroU8::MIN),
                    is_passive: kind & 8 != 0,
                    ..Settings::default()
                }))
            }
            _ if kind & 0xf8 == 0xf8 => Self::Input(Input::AdminDown),
            _ => Self::Input(Input::Stretch(Span::ms(u64::from(kind >> 3) * 2_000))),
        })
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// A session on a clock of its own, and what came of it.
struct Side {
    session: Session,
    now: Time,
    sent: u64,
    asked: usize,
    answered: usize,
}

impl Side {
    fn take(&mut self, step: Step<'_>) {
        let before = self.sent;
        match step {
            Step::Datagram(bytes) => {
                let read = Packet::decode(bytes);
                let ours = |packet: &Packet| packet.yours.is_none_or(|yours| yours == MINE);
                if let Some(packet) = read.ok().filter(ours) {
                    self.input(Input::Packet(packet));
                    // A change of state, an answer, and one that was due.
                    assert!(self.sent - before <= 3, "one packet is answered with many");
                }
            }
            Step::Wait(span) => self.wait(span),
            Step::Input(input) => {
                self.asked += usize::from(matches!(input, Input::Stretch(_)));
                self.input(input);
            }
        }
        self.wait(Span::ms(0));
        if let Some((due, why)) = self.session.deadline() {
            assert!(due > self.now, "a driver would spin: {why}");
        }
        let counts = self.session.counts();
        let is_up = u64::from(self.session.state() == State::Up);
        assert_eq!(counts.ups, counts.downs + is_up);
        assert_eq!(counts.sent, self.sent);
        assert!(
            self.answered <= self.asked,
            "a stretch is answered at most once"
        );
    }

    /// Lets timers fire when they are due, for so long.
    fn wait(&mut self, span: Span) {
        let until = self.now + span;
        while let Some((due, _)) = self.session.deadline().filter(|(due, _)| *due <= until) {
            self.now = self.now.max(due);
            self.session.expire(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn input(&mut self, input: Input) {
        self.session.input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.output() {
            match output {
                Output::Send(packet) => self.sends(&packet),
                Output::Stretched(_) => self.answered += 1,
                Output::Changed(_) | Output::Left => {}
            }
        }
    }

    fn sends(&mut self, packet: &Packet) {
        self.sent += 1;
        let is_up = packet.state == State::Up;
        assert!(
            is_up || packet.transmit >= SLOW,
            "who is not Up is slow: {packet:?}"
        );
        assert!(!(packet.is_poll && packet.is_final), "{packet:?}");
        assert!(!packet.is_poll || is_up, "{packet:?}");
        let read = Packet::decode(&packet.encode());
        assert_eq!(read.map(|read| read.state), Ok(packet.state));
    }
}

const MINE: NonZeroU32 = NonZeroU32::MIN;
/// A control packet has 24 bytes.
const DATAGRAM_BYTES_MAX: u8 = 40;
/// More are the same again.
const STEPS_MAX: usize = 256;
