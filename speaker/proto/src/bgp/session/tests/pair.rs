//! Two sessions between which bytes go, without delay, on a virtual clock.

use super::*;

/// One end.
pub(super) struct End {
    pub(super) session: Session,
    /// Whether it takes connections.
    pub(super) is_listening: bool,
    /// Whether its process runs at all.
    pub(super) is_alive: bool,
    /// Whether it reads what comes.
    pub(super) is_reading: bool,
    /// The states it was in.
    pub(super) states: Vec<State>,
    /// Bytes that wait to be read, by connection.
    unread: BTreeMap<Side, Vec<u8>>,
    /// Bytes given and not written, because the other end does not read.
    pub(super) unwritten: usize,
    /// Dials.
    pub(super) dials: u32,
    pub(super) is_stopped: bool,
}

/// Both ends and what is between them.
pub(super) struct Pair {
    pub(super) now: Time,
    pub(super) ends: [End; 2],
    /// Which connections stand, by the end that dialled.
    stands: [bool; 2],
}

impl Pair {
    /// The first dials, the second takes connections.
    pub(super) fn new(first: Start, second: Start) -> Self {
        let end = |start, is_listening| End {
            session: Session::new(start),
            is_listening,
            is_alive: true,
            is_reading: true,
            states: Vec::new(),
            unread: BTreeMap::new(),
            unwritten: 0,
            dials: 0,
            is_stopped: false,
        };
        Self {
            now: Time::ms(0),
            ends: [end(first, false), end(second, true)],
            stands: [false; 2],
        }
    }

    /// Both with [`settings`], in two ASs, started.
    pub(super) fn started(change: impl Fn(usize, &mut Settings)) -> Self {
        let start = |number: usize| {
            let mut settings = settings();
            settings.asn += number as u32;
            settings.router_id = router_id(1 + number as u8);
            change(number, &mut settings);
            Start {
                seed: number as u64,
                ..super::start(settings)
            }
        };
        let mut pair = Self::new(start(0), start(1));
        pair.input(0, Input::Start);
        pair.input(1, Input::Start);
        pair
    }

    pub(super) fn states(&self) -> [State; 2] {
        [0, 1].map(|end| self.ends[end].session.state())
    }

    pub(super) fn status(&self, end: usize) -> Status {
        self.ends[end].session.status()
    }

    pub(super) fn input(&mut self, end: usize, input: Input) {
        self.ends[end].session.input(self.now, input);
        self.settle();
    }

    pub(super) fn tell(&mut self, end: usize, routes: Arc<Routes>) {
        self.input(
            end,
            Input::Routes {
                routes,
                is_complete: true,
            },
        );
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, span: Span) {
        let until = self.now + span;
        while let Some(at) = self.next().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            for end in 0..2 {
                if self.ends[end].is_alive {
                    self.ends[end].session.expire(self.now);
                }
            }
            self.settle();
        }
        self.now = until;
        self.settle();
    }

    /// Lets time pass until both are up.
    pub(super) fn up(mut self) -> Self {
        self.pass(Span::s(1));
        assert_eq!(self.states(), [State::Established; 2]);
        self
    }

    fn next(&self) -> Option<Time> {
        let alive = self.ends.iter().filter(|end| end.is_alive);
        let deadlines = alive.filter_map(|end| end.session.deadline());
        deadlines.map(|(at, _)| at).min()
    }

    /// Carries everything until nobody has anything to say.
    fn settle(&mut self) {
        for turn in 0.. {
            assert!(turn < 100_000, "they talk for ever");
            let mut is_quiet = true;
            for end in 0..2 {
                while let Some(output) = self.ends[end].session.output() {
                    is_quiet = false;
                    self.act(end, output);
                }
                is_quiet &= !self.read(end);
            }
            if is_quiet {
                return;
            }
        }
    }

    fn act(&mut self, end: usize, output: Output) {
        let other = 1 - end;
        match output {
            Output::Connect => {
                self.ends[end].dials += 1;
                if !(self.ends[other].is_listening && self.ends[other].is_alive) {
                    self.feed(end, Input::ConnectFailed("refused".to_owned()));
                    return;
                }
                self.stands[end] = true;
                let next_hops = hops();
                self.feed(
                    end,
                    Input::Connected {
                        side: Side::Dialled,
                        next_hops,
                    },
                );
                self.feed(
                    other,
                    Input::Connected {
                        side: Side::Accepted,
                        next_hops,
                    },
                );
            }
            Output::Send(side, bytes) => {
                assert!(bytes.len() <= wire::MESSAGE_BYTES_MAX);
                self.ends[end].unwritten += bytes.len();
                assert!(self.ends[end].unwritten <= IN_FLIGHT_MAX + wire::MESSAGE_BYTES_MAX);
                let mirrored = mirrored(side);
                self.ends[other]
                    .unread
                    .entry(mirrored)
                    .or_default()
                    .extend(bytes);
            }
            Output::Close(side) => self.close(end, side),
            Output::Refuse(_) => self.close(end, Side::Accepted),
            Output::Changed(status) => self.ends[end].states.push(status.state),
            Output::Stopped => self.ends[end].is_stopped = true,
        }
    }

    /// What was said before is read before the end is seen.
    fn close(&mut self, end: usize, side: Side) {
        let dialler = dialler(end, side);
        if !std::mem::take(&mut self.stands[dialler]) {
            return;
        }
        let (other, mirrored) = (1 - end, mirrored(side));
        if let Some(bytes) = self.ends[other].unread.remove(&mirrored) {
            self.feed(other, Input::Received(mirrored, bytes));
        }
        self.ends[end].unread.remove(&side);
        self.ends[end].unwritten = 0;
        self.ends[other].unwritten = 0;
        self.feed(
            other,
            Input::Closed(mirrored, "closed by the peer".to_owned()),
        );
    }

    fn read(&mut self, end: usize) -> bool {
        if !(self.ends[end].is_alive && self.ends[end].is_reading) {
            return false;
        }
        let Some((side, bytes)) = self.ends[end].unread.pop_first() else {
            return false;
        };
        let other = 1 - end;
        self.ends[other].unwritten = self.ends[other].unwritten.saturating_sub(bytes.len());
        self.feed(other, Input::Written(mirrored(side), bytes.len()));
        self.feed(end, Input::Received(side, bytes));
        true
    }

    fn feed(&mut self, end: usize, input: Input) {
        if self.ends[end].is_alive {
            self.ends[end].session.input(self.now, input);
        }
    }

    /// The process of an end is killed: its kernel closes what it had.
    pub(super) fn kill(&mut self, end: usize) {
        self.ends[end].is_alive = false;
        self.ends[end].unread.clear();
        for side in [Side::Dialled, Side::Accepted] {
            self.close(end, side);
        }
        self.settle();
    }

    /// Its node goes, and nobody closes anything.
    pub(super) fn vanish(&mut self, end: usize) {
        self.ends[end].is_alive = false;
    }

    /// A new process takes the place of a killed one.
    pub(super) fn restart(&mut self, end: usize, start: Start) {
        let is_listening = self.ends[end].is_listening;
        let fresh = Self::new(start.clone(), start);
        let [_, new] = fresh.ends;
        self.ends[end] = new;
        self.ends[end].is_listening = is_listening;
        self.input(end, Input::Start);
    }
}

fn dialler(end: usize, side: Side) -> usize {
    match side {
        Side::Dialled => end,
        Side::Accepted => 1 - end,
    }
}

fn mirrored(side: Side) -> Side {
    match side {
        Side::Dialled => Side::Accepted,
        Side::Accepted => Side::Dialled,
    }
}

#[test]
fn two_sessions_meet_tell_and_withdraw() {
    let mut pair = Pair::started(|_, _| ()).up();
    pair.tell(0, routes(1_000, 500));
    let status = pair.status(1);
    assert_eq!(status.counters.announced, [1_000, 500]);
    assert_eq!(status.counters.withdrawn, [0, 0]);
    assert_eq!(pair.status(0).prefixes, [1_000, 500]);
    // 810 and 237 prefixes fit into one message; two more say that this was all.
    assert_eq!(status.counters.received.update, 2 + 3 + 2);

    pair.tell(0, routes(998, 0));
    assert_eq!(pair.status(1).counters.withdrawn, [2, 500]);
    assert_eq!(pair.status(0).prefixes, [998, 0]);
    assert_eq!(pair.status(0).counters.established, 1);
}

#[test]
fn a_session_that_comes_up_later_gets_what_there_is() {
    let mut pair = Pair::started(|_, _| ());
    pair.ends[1].is_listening = false;
    pair.pass(Span::s(60));
    pair.tell(0, routes(10, 10));
    pair.ends[1].is_listening = true;
    pair.pass(CONNECT_RETRY);
    assert_eq!(pair.status(1).counters.announced, [10, 10]);
    pair.kill(0);
    let mut again = start(settings());
    again.now = pair.now;
    pair.restart(0, again);
    pair.tell(0, routes(10, 10));
    pair.pass(Span::s(90));
    assert_eq!(pair.status(1).counters.announced, [20, 20]);
}

#[test]
fn a_session_lives_for_ever_on_keepalives() {
    let mut pair = Pair::started(|_, _| ()).up();
    pair.pass(Span::s(24 * 3600));
    for end in 0..2 {
        let status = pair.status(end);
        assert_eq!(
            (status.counters.established, status.counters.dropped),
            (1, 0)
        );
        let keepalives = status.counters.sent.keepalive;
        assert!((2880..=3842).contains(&keepalives), "{keepalives} in a day");
    }
}
