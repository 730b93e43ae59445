//! One side of one session (RFC 5880 §6.8): three-way handshake, detection, transmission, Poll, and being taken over by a next process.
//!
//! The driver takes in everything that has come before it lets timers fire, or it finds late what was only read late. It knows neither
//! addresses nor TTL: the driver gives it the packets of its session.

use super::events::{ANSWER_MAX, Change, Counts, GRACE_MAX, Input, Output, Saved};
use super::packet::Packet;
use super::peer::Peer;
use super::timers::{Intervals, Timers};
use super::{Diagnostic, INTERVAL_MIN, SLOW, Settings, State, times};
use crate::{Machine, Span, Time};
use std::collections::VecDeque;
use std::num::{NonZeroU8, NonZeroU32};

/// One side of one session.
#[derive(Clone, Debug)]
pub struct Session {
    settings: Settings,
    mine: NonZeroU32,
    state: State,
    diagnostic: Diagnostic,
    timers: Timers,
    peer: Peer,
    /// From when the detection time counts. `None`: nothing was heard for one.
    heard: Option<Time>,
    /// It counts from when we woke, and not from a packet.
    is_given_again: bool,
    /// From when the interval to the next packet counts, and how much of it is waited, in thousandths.
    sent: Time,
    jitter: u64,
    chance: u64,
    /// With whom it was last Up.
    met: Option<NonZeroU32>,
    stretch: Option<Stretch>,
    /// Until when AdminDown is told.
    leaves: Option<Time>,
    counts: Counts,
    outputs: VecDeque<Output>,
}

/// Sending seldom on purpose.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    transmit: Span,
    /// When it was first asked for; `None`: it was answered.
    asked: Option<Time>,
}

impl Session {
    /// A session that is Down and sends its first packet at once, unless it is passive. `mine` must be by chance and no other session's;
    /// `chance` spreads packets over time.
    pub const fn new(now: Time, mine: NonZeroU32, settings: Settings, chance: u64) -> Self {
        let told = Intervals {
            transmit: SLOW,
            receive: INTERVAL_MIN,
        };
        let mut session = Self {
            settings,
            mine,
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            timers: Timers::new(told),
            peer: Peer::UNHEARD,
            heard: None,
            is_given_again: false,
            sent: now,
            jitter: 0,
            chance,
            met: None,
            stretch: None,
            leaves: None,
            counts: Counts {
                received: 0,
                sent: 0,
                ups: 0,
                downs: 0,
                late: 0,
            },
            outputs: VecDeque::new(),
        };
        session.timers = Timers::new(session.wanted());
        session
    }

    /// Goes on with the session of the last process, Up, and asks for the ordinary intervals again. `None`: it is too late for that.
    pub fn resume(now: Time, saved: Saved, settings: Settings, chance: u64) -> Option<Self> {
        if now >= saved.until {
            return None;
        }
        let mut session = Self::new(now, saved.mine, settings, chance);
        session.peer = saved.peer;
        session.heard = Some(now);
        session.timers = Timers::new(Intervals {
            transmit: saved.transmit,
            receive: saved.receive,
        });
        session.enter(now, State::Up, Diagnostic::NONE);
        Some(session)
    }

    /// Our discriminator.
    pub const fn discriminator(&self) -> NonZeroU32 {
        self.mine
    }

    /// The state.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Why it last went down.
    pub const fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// What the other side last said.
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What it should be like.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What came of it so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// How long the other side may be silent (RFC 5880 §6.8.4): *its* multiplier times the slower of what we take and it sends.
    pub fn detection(&self) -> Span {
        let interval = self.timers.in_force().receive.max(self.peer.transmit);
        times(interval, self.peer.multiplier.get())
    }

    /// Between our packets, before jitter; `None`: there are no periodic ones now.
    pub fn interval(&self) -> Option<Span> {
        let both_up = self.state == State::Up && self.peer.state == State::Up;
        // RFC 5880 §6.6.
        let is_unwanted = self.peer.is_demand && both_up && !self.timers.is_asking();
        // RFC 5880 §6.8.7.
        if self.must_wait() || is_unwanted || self.peer.receive == Span::from_ns(0) {
            return None;
        }
        Some(self.timers.in_force().transmit.max(self.peer.receive))
    }

    /// Whether the other side has to begin (RFC 5880 §6.1, §6.8.7).
    const fn must_wait(&self) -> bool {
        self.settings.is_passive && self.peer.discriminator.is_none()
    }

    /// What is to be told in this state.
    const fn wanted(&self) -> Intervals {
        let transmit = match self.stretch {
            Some(stretch) => stretch.transmit.ns(),
            None => self.settings.transmit.ns(),
        };
        // RFC 5880 §6.8.3: who is not Up is slow.
        let transmit_min = match self.state {
            State::AdminDown | State::Down | State::Init => SLOW.ns(),
            State::Up => INTERVAL_MIN.ns(),
        };
        Intervals {
            transmit: Span::from_ns(longer(transmit, transmit_min)),
            receive: Span::from_ns(longer(self.settings.receive.ns(), INTERVAL_MIN.ns())),
        }
    }

    fn hear(&mut self, now: Time, packet: Packet) {
        self.counts.received += 1;
        self.peer = Peer::of(&packet);
        self.heard = Some(now);
        self.is_given_again = false;
        if packet.is_final {
            self.timers.answered(now);
            self.stretched();
        }
        // RFC 5880 §6.8.6: who is AdminDown goes no further.
        if self.state == State::AdminDown {
            return;
        }
        let state = self.state.after(packet.state);
        if state != self.state {
            self.enter(now, state, Diagnostic::NEIGHBOUR_DOWN);
        }
        if packet.is_poll {
            // RFC 5880 §6.8.7: at once, beside the schedule.
            self.say(false, true);
        }
    }

    /// The state is another; `why` counts if it is a lower one.
    fn enter(&mut self, now: Time, state: State, why: Diagnostic) {
        let was_up = self.state == State::Up;
        self.state = state;
        let is_new_peer = self.met.is_some()
            && self
                .peer
                .discriminator
                .is_some_and(|_| self.met != self.peer.discriminator);
        match state {
            State::Up => {
                self.diagnostic = Diagnostic::NONE;
                self.counts.ups += 1;
                self.met = self.peer.discriminator;
                if !self.timers.tell(now, self.wanted()) {
                    self.timers.ask(now);
                }
            }
            State::AdminDown | State::Down => {
                self.diagnostic = why;
                self.counts.downs += u64::from(was_up);
                self.unstretch();
                self.timers = Timers::new(self.wanted());
            }
            State::Init => {}
        }
        self.outputs.push_back(Output::Changed(Change {
            state,
            diagnostic: self.diagnostic,
            peer: self.peer.state,
            is_new_peer,
        }));
        // RFC 5880 §6.8.7: a change is told between the periodic packets.
        self.transmit(now);
    }

    /// Nothing came for a detection time.
    fn miss(&mut self, now: Time, deadline: Time) {
        let late = now.since(deadline).ns();
        let is_alive = matches!(self.state, State::Init | State::Up);
        // We stood still ourselves: what came meanwhile may have been lost with us.
        if is_alive && !self.is_given_again && late > self.detection().ns() / 2 {
            self.counts.late += 1;
            self.is_given_again = true;
            self.heard = Some(now);
            return;
        }
        // RFC 5880 §6.8.1, §6.8.18: until now, also in Down, the other side was remembered.
        self.peer = Peer::UNHEARD;
        self.heard = None;
        if is_alive {
            self.enter(now, State::Down, Diagnostic::TIMED_OUT);
        }
    }

    fn set(&mut self, now: Time, settings: Settings) {
        let multiplier = self.settings.multiplier;
        self.settings = settings;
        if self.state != State::Up {
            self.timers = Timers::new(self.wanted());
        // RFC 5880 §6.8.12: another multiplier needs no Poll, but is told at once.
        } else if self.timers.tell(now, self.wanted()) || multiplier != settings.multiplier {
            self.transmit(now);
        }
    }

    fn leave(&mut self, now: Time) {
        if self.leaves.is_some() {
            return;
        }
        // So that it is told at least twice: one packet may be lost.
        let telling = if self.must_wait() {
            Span::from_ns(0)
        } else {
            self.heard.map_or(SLOW, |_| self.detection().max(SLOW))
        };
        self.leaves = Some(now + telling);
        self.enter(now, State::AdminDown, Diagnostic::ADMIN_DOWN);
    }

    fn stretch(&mut self, now: Time, grace: Span) {
        if self.state != State::Up {
            self.outputs.push_back(Output::Stretched(None));
            return;
        }
        let multiplier = u64::from(self.settings.multiplier.get());
        let transmit = Span::from_ns(grace.min(GRACE_MAX).ns().div_ceil(multiplier));
        self.stretch = Some(Stretch {
            transmit: transmit.max(self.timers.told().transmit),
            asked: Some(now),
        });
        if self.timers.tell(now, self.wanted()) {
            self.transmit(now);
        }
        self.stretched();
    }

    /// Says so if the other side knows of it.
    fn stretched(&mut self) {
        if !self.timers.is_settled() {
            return;
        }
        let Some(asked) = self
            .stretch
            .as_mut()
            .and_then(|stretch| stretch.asked.take())
        else {
            return;
        };
        let Intervals { transmit, receive } = self.timers.told();
        let patience = times(
            transmit.max(self.peer.receive),
            self.settings.multiplier.get(),
        );
        self.outputs.push_back(Output::Stretched(Some(Saved {
            mine: self.mine,
            peer: self.peer,
            transmit,
            receive,
            // The last packet that it heard for certain is one after the asking began.
            until: asked + patience,
        })));
    }

    /// Ends what was not answered, and sends as often as before.
    fn unstretch(&mut self) {
        if self
            .stretch
            .take()
            .is_some_and(|stretch| stretch.asked.is_some())
        {
            self.outputs.push_back(Output::Stretched(None));
        }
    }

    /// Sends a packet, from which the next interval counts.
    fn transmit(&mut self, now: Time) {
        if self.must_wait() {
            return;
        }
        self.say(self.timers.is_asking(), false);
        self.sent = now;
        // RFC 5880 §6.8.7: up to a quarter less, and at least a tenth where one lost packet is one too many.
        let permille_max = if self.settings.multiplier == NonZeroU8::MIN {
            900
        } else {
            1000
        };
        self.jitter = JITTER_MIN + self.draw() % (permille_max - JITTER_MIN + 1);
    }

    fn say(&mut self, is_poll: bool, is_final: bool) {
        self.counts.sent += 1;
        let Intervals { transmit, receive } = self.timers.told();
        self.outputs.push_back(Output::Send(Packet {
            state: self.state,
            diagnostic: self.diagnostic,
            is_poll,
            is_final,
            is_independent: false,
            is_demand: false,
            multiplier: self.settings.multiplier,
            mine: self.mine,
            yours: self.peer.discriminator,
            transmit,
            receive,
            echo: Span::from_ns(0),
        }));
    }

    fn draw(&mut self) -> u64 {
        // The numbers of Steele, Lea and Flood's generator of 2014; what comes of them only has to be spread.
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.chance ^ self.chance >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 31
    }

    fn next_packet(&self) -> Option<Time> {
        let interval = self.interval()?.ns();
        Some(self.sent + Span::from_ns(interval.saturating_mul(self.jitter) / 1000))
    }

    fn detected(&self) -> Option<Time> {
        Some(self.heard? + self.detection())
    }

    /// When an unanswered stretch is given up.
    fn unanswered(&self) -> Option<Time> {
        Some(self.stretch?.asked? + ANSWER_MAX)
    }
}

const fn longer(a: u64, b: u64) -> u64 {
    if a > b { a } else { b }
}

impl Machine for Session {
    type Input = Input;
    type Output = Output;

    fn input(&mut self, now: Time, input: Input) {
        match input {
            Input::Packet(packet) => self.hear(now, packet),
            Input::Settings(settings) => self.set(now, settings),
            Input::AdminDown => self.leave(now),
            Input::Stretch(grace) => self.stretch(now, grace),
        }
    }

    fn expire(&mut self, now: Time) {
        if let Some(deadline) = self.detected().filter(|at| *at <= now) {
            self.miss(now, deadline);
        }
        if self.unanswered().is_some_and(|at| at <= now) {
            self.unstretch();
            self.set(now, self.settings);
        }
        self.timers.expire(now);
        if self.next_packet().is_some_and(|at| at <= now) {
            self.transmit(now);
        }
        if self.leaves.is_some_and(|at| at <= now) {
            self.leaves = None;
            self.outputs.push_back(Output::Left);
        }
    }

    fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        let deadlines = [
            (self.detected(), "nothing heard"),
            (self.next_packet(), "the next packet"),
            (self.timers.deadline(), "the next Poll"),
            (self.unanswered(), "no answer to a stretch"),
            (self.leaves, "told long enough"),
        ];
        let deadlines = deadlines.into_iter();
        deadlines.filter_map(|(at, what)| Some((at?, what))).min()
    }
}

/// The least of an interval that is waited, in thousandths.
const JITTER_MIN: u64 = 750;
