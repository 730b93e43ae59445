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
    /// Dials.
    pub(super) dials: u32,
    pub(super) is_stopped: bool,
}

/// Both ends and what is between them.
pub(super) struct Pair {
    pub(super) now: Time,
    pub(super) ends: [End; 2],
    /// Connections that at least one end still holds, the oldest first.
    wires: Vec<Wire>,
}

/// A connection, from the dial until both ends have closed it.
struct Wire {
    dialler: usize,
    /// Nobody listened.
    is_refused: bool,
    /// What each end makes of it.
    ends: [WireEnd; 2],
}

#[derive(Default)]
struct WireEnd {
    /// It was told that the connection stands.
    is_told: bool,
    has_closed: bool,
    /// Bytes that wait to be read here.
    unread: Vec<u8>,
}

impl Wire {
    fn side(&self, end: usize) -> Side {
        if end == self.dialler {
            Side::Dialled
        } else {
            Side::Accepted
        }
    }

    /// An end has closed it, or its kernel for it: what it has not read is lost.
    fn close(&mut self, end: usize) {
        let end = &mut self.ends[end];
        end.has_closed = true;
        end.unread.clear();
    }

    fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.has_closed)
    }
}

impl Pair {
    /// The first dials, the second takes connections.
    pub(super) fn new(first: Start, second: Start) -> Self {
        Self {
            now: Time::ms(0),
            ends: [End::new(first, false), End::new(second, true)],
            wires: Vec::new(),
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

    /// Bytes that an end gave and that the other has not read.
    pub(super) fn unwritten(&self, end: usize) -> usize {
        let held = self.wires.iter().filter(|wire| !wire.ends[end].has_closed);
        held.map(|wire| wire.ends[1 - end].unread.len()).sum()
    }

    pub(super) fn input(&mut self, end: usize, input: Input) {
        self.feed(end, input);
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
                    self.act(end);
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

    /// Hands in one thing and does, as a driver would, all that comes of it before the next.
    fn feed(&mut self, end: usize, input: Input) {
        if self.ends[end].is_alive {
            self.ends[end].session.input(self.now, input);
            self.act(end);
        }
    }

    fn act(&mut self, end: usize) {
        while let Some(output) = self.ends[end].session.output() {
            match output {
                Output::Connect => self.dial(end),
                Output::Send(side, bytes) => {
                    if let Some(wire) = self.wire(end, side) {
                        self.write(wire, end, bytes);
                    }
                }
                Output::Close(side) => {
                    if let Some(wire) = self.wire(end, side) {
                        self.wires[wire].close(end);
                    }
                }
                Output::Refuse(bytes) => {
                    let newest = self.wires.iter().rposition(|wire| {
                        wire.side(end) == Side::Accepted && wire.ends[end].is_told
                    });
                    let newest = newest.expect("one was accepted");
                    self.write(newest, end, bytes);
                    self.wires[newest].close(end);
                }
                Output::Changed(status) => self.ends[end].states.push(status.state),
                Output::Stopped => self.ends[end].is_stopped = true,
            }
        }
    }

    fn dial(&mut self, end: usize) {
        self.ends[end].dials += 1;
        let other = &self.ends[1 - end];
        self.wires.push(Wire {
            dialler: end,
            is_refused: !(other.is_listening && other.is_alive),
            ends: Default::default(),
        });
    }

    /// The connection that an end means by a side: the oldest that it holds. What it dialled it holds from the dial on.
    fn wire(&self, end: usize, side: Side) -> Option<usize> {
        self.wires.iter().position(|wire| {
            let own = &wire.ends[end];
            let is_held = own.is_told || side == Side::Dialled;
            wire.side(end) == side && is_held && !own.has_closed
        })
    }

    fn write(&mut self, wire: usize, end: usize, bytes: Vec<u8>) {
        assert!(bytes.len() <= wire::MESSAGE_BYTES_MAX);
        let other = &mut self.wires[wire].ends[1 - end];
        if !other.has_closed {
            other.unread.extend(bytes);
            assert!(other.unread.len() <= IN_FLIGHT_MAX + wire::MESSAGE_BYTES_MAX);
        }
    }

    /// Carries everything until nobody has anything to say.
    fn settle(&mut self) {
        for turn in 0.. {
            assert!(turn < 100_000, "they talk for ever");
            let places = (0..self.wires.len()).flat_map(|wire| [(wire, 0), (wire, 1)]);
            let due = { places }.find_map(|(wire, end)| Some((wire, end, self.due(wire, end)?)));
            let Some((wire, end, input)) = due else {
                return;
            };
            self.deliver(wire, end, input);
            self.wires.retain(|wire| !wire.is_over());
        }
    }

    /// What an end is to be told next of a connection. What was said is read before the end is seen.
    fn due(&self, wire: usize, end: usize) -> Option<Input> {
        let wire = &self.wires[wire];
        let (own, other) = (&wire.ends[end], &wire.ends[1 - end]);
        let side = wire.side(end);
        let is_deaf = !self.ends[end].is_alive || own.has_closed;
        match own.is_told {
            _ if is_deaf => None,
            false if wire.is_refused && side == Side::Accepted => None,
            false if wire.is_refused => Some(Input::ConnectFailed("refused".to_owned())),
            false => Some(Input::Connected {
                side,
                next_hops: hops(),
            }),
            true if other.has_closed && own.unread.is_empty() => {
                Some(Input::Closed(side, "closed by the peer".to_owned()))
            }
            true => {
                let reads = self.ends[end].is_reading || other.has_closed;
                let has_come = reads && !own.unread.is_empty();
                has_come.then(|| Input::Received(side, own.unread.clone()))
            }
        }
    }

    fn deliver(&mut self, wire: usize, end: usize, input: Input) {
        let held = &mut self.wires[wire];
        match &input {
            Input::Connected { .. } => held.ends[end].is_told = true,
            Input::ConnectFailed(_) => [0, 1].iter().for_each(|end| held.close(*end)),
            Input::Closed(..) => held.close(end),
            _ => held.ends[end].unread.clear(),
        }
        let other = 1 - end;
        if let Input::Received(_, bytes) = &input
            && !held.ends[other].has_closed
        {
            let written = Input::Written(held.side(other), bytes.len());
            self.feed(other, written);
        }
        self.feed(end, input);
    }

    /// The process of an end is killed: its kernel closes what it had.
    pub(super) fn kill(&mut self, end: usize) {
        self.ends[end].is_alive = false;
        for wire in &mut self.wires {
            wire.close(end);
        }
        self.settle();
    }

    /// Its node goes, and nobody closes anything.
    pub(super) fn vanish(&mut self, end: usize) {
        self.ends[end].is_alive = false;
    }

    /// A new process takes the place of a killed one.
    pub(super) fn restart(&mut self, end: usize, start: Start) {
        self.ends[end] = End::new(start, self.ends[end].is_listening);
        self.input(end, Input::Start);
    }
}

impl End {
    fn new(start: Start, is_listening: bool) -> Self {
        Self {
            session: Session::new(start),
            is_listening,
            is_alive: true,
            is_reading: true,
            states: Vec::new(),
            dials: 0,
            is_stopped: false,
        }
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
