//! Whether anybody answers for a group of VIPs, found out before it is taken.
//!
//! Each VIP is asked for twice, [`GAP`] apart, on each link of its group, in the form that no cache learns from (RFC 5227 §2.1.1,
//! RFC 4862 §5.4.2). Whoever asked hears of the first answer at once, or that there was none once the second probes had their
//! time. **What could not be asked is never called unanswered**: then, and when too much is asked at once, nothing is said at
//! all, and whoever asked must ask again. The rules are L3.1 c, L3.3 and L5.2 of `docs/layer2.md`.
//!
//! Only [`Machine::expire`] says that nobody answered; its driver first hands over every answer that has come.
//!
//! It knows nothing of sockets or of frames' bytes, and does not listen to the probes of others: the kernel program drops requests for
//! what is in its table before anyone hears them.

use crate::announce::Place;
use crate::pace::{Lanes, Pace};
use crate::{GroupKey, Mac, Machine, Span, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Between the two probes for a VIP, and from the second until nobody is expected to answer any more.
pub const GAP: Span = Span::ms(50);
/// Probes to everybody on one link in any one second at most: a node that starts alone takes 200 VIPs in the first second.
pub const PROBES_PER_SECOND_MAX: u64 = 400;
/// Probes to everybody at once after a quiet time.
const BURST_PROBES: u64 = 100;
/// Groups whose probes to everybody are out at most. Few, so that those that came first are done first, and not all at the end.
pub const IN_FLIGHT_MAX: usize = 64;
/// Probes to single stations on one link in any one second at most. They burden nobody else, and 500 VIPs that were lost in a contest
/// are probed twice, five times a second.
pub const SINGLE_PROBES_PER_SECOND_MAX: u64 = 6000;
/// Probes to single stations at once after a quiet time.
const BURST_SINGLE_PROBES: u64 = 1000;
/// Groups whose probes to single stations are out at most.
pub const SINGLE_IN_FLIGHT_MAX: usize = 1024;
/// Groups that wait for their turn at most, to ask everybody or single stations: as many as the kernel's table has room for.
pub const WAITING_MAX: usize = 65_536;
/// A probe that could not be sent is tried again after this long.
const RETRY: Span = Span::ms(100);
/// After so many vain tries for one VIP on one link its group is given up.
pub const TRIES_MAX: u8 = 10;
/// Probes for a VIP on a link.
const PROBES: u8 = 2;

/// A group to be asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// The group. Asking for it again takes the place of the earlier asking, which is not answered any more. It keeps its turn, and
    /// probes that are out begin anew.
    pub group: GroupKey,
    /// The number of the asking.
    pub nonce: u64,
    /// Its VIPs on their links, with the hardware address of this node's link. None: nothing is said.
    pub places: BTreeMap<Place, Mac>,
    /// Whom to ask, and whose answer counts; `None`: everybody.
    pub only: Option<Mac>,
}

/// A probe to be sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Probe {
    /// Which group is asked for.
    pub group: GroupKey,
    /// The VIP, and the link to ask on.
    pub place: Place,
    /// The hardware address to ask from.
    pub from: Mac,
    /// Whom to ask; `None`: everybody.
    pub to: Option<Mac>,
}

/// What happens to [`Probes`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Find out.
    Ask(Ask),
    /// Somebody says that a VIP is where this hardware is.
    Heard(Place, Mac),
    /// The last [`Output::Send`] of this group and place could not be sent.
    Unsent(GroupKey, Place),
}

/// What [`Probes`] wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send a probe; if it cannot be sent, say so with [`Input::Unsent`].
    Send(Probe),
    /// What came of an asking.
    Probed {
        /// The group.
        group: GroupKey,
        /// The number of the asking.
        nonce: u64,
        /// Who answered first; `None`: nobody.
        answered: Option<Mac>,
    },
}

/// What became of askings so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Somebody answered.
    pub answered: u64,
    /// Nobody did.
    pub unanswered: u64,
    /// Given up, since probes could not be sent or there was no link to send them on.
    pub unsent: u64,
    /// Not taken, since too many waited.
    pub refused: u64,
}

/// The machine that asks.
#[derive(Debug)]
pub struct Probes {
    everybody: Line,
    single: Line,
}

/// Groups that are asked for under one budget.
#[derive(Debug)]
struct Line {
    in_flight_max: usize,
    waiting: BTreeMap<GroupKey, Ask>,
    order: VecDeque<GroupKey>,
    flights: BTreeMap<GroupKey, Flight>,
    lanes: Lanes<(u64, GroupKey, Place)>,
    /// Of the flight that began last; earlier ones go first.
    number: u64,
    counts: Counts,
    outputs: VecDeque<Output>,
}

/// A group whose probes are out.
#[derive(Clone, Debug)]
struct Flight {
    ask: Ask,
    number: u64,
    probed: BTreeMap<Place, Probed>,
    /// Places that have not been asked for twice yet.
    left: BTreeSet<Place>,
    /// When nobody is expected to answer any more, once nothing is left.
    over: Time,
}

#[derive(Clone, Copy, Debug)]
struct Probed {
    sent: u8,
    failed: u8,
    /// When the next probe is due.
    due: Time,
}

impl Probes {
    /// Nothing is asked.
    pub const fn new() -> Self {
        let everybody = Pace::new(PROBES_PER_SECOND_MAX, BURST_PROBES);
        let single = Pace::new(SINGLE_PROBES_PER_SECOND_MAX, BURST_SINGLE_PROBES);
        Self {
            everybody: Line::new(everybody, IN_FLIGHT_MAX),
            single: Line::new(single, SINGLE_IN_FLIGHT_MAX),
        }
    }

    /// What became of askings so far.
    pub const fn counts(&self) -> Counts {
        let (a, b) = (self.everybody.counts, self.single.counts);
        Counts {
            answered: a.answered + b.answered,
            unanswered: a.unanswered + b.unanswered,
            unsent: a.unsent + b.unsent,
            refused: a.refused + b.refused,
        }
    }

    fn lines(&mut self) -> [&mut Line; 2] {
        [&mut self.everybody, &mut self.single]
    }
}

impl Line {
    const fn new(pace: Pace, in_flight_max: usize) -> Self {
        Self {
            in_flight_max,
            waiting: BTreeMap::new(),
            order: VecDeque::new(),
            flights: BTreeMap::new(),
            lanes: Lanes::new(pace),
            number: 0,
            counts: Counts {
                answered: 0,
                unanswered: 0,
                unsent: 0,
                refused: 0,
            },
            outputs: VecDeque::new(),
        }
    }

    fn ask(&mut self, now: Time, ask: Ask) {
        let group = ask.group;
        if self.end(group).is_some() {
            self.begin(now, ask);
        } else if self.waiting.contains_key(&group) {
            self.waiting.insert(group, ask);
        } else if self.waiting.len() < WAITING_MAX {
            self.waiting.insert(group, ask);
            self.order.push_back(group);
        } else {
            self.counts.refused += 1;
        }
    }

    /// The group is asked for in the other line from now on.
    fn forget(&mut self, group: GroupKey) {
        self.end(group);
        if self.waiting.remove(&group).is_some() {
            self.order.retain(|of| *of != group);
        }
    }

    /// Takes a group's probes back; its flight.
    fn end(&mut self, group: GroupKey) -> Option<Flight> {
        let flight = self.flights.remove(&group)?;
        for place in &flight.left {
            let due = flight.probed[place].due;
            self.lanes
                .remove(place.1, due, (flight.number, group, *place));
        }
        Some(flight)
    }

    fn answer(&mut self, group: GroupKey, answered: Option<Mac>) {
        let Some(Flight { ask, .. }) = self.end(group) else {
            return;
        };
        match answered {
            Some(_) => self.counts.answered += 1,
            None => self.counts.unanswered += 1,
        }
        self.outputs.push_back(Output::Probed {
            group,
            nonce: ask.nonce,
            answered,
        });
    }

    fn heard(&mut self, place: Place, mac: Mac) {
        let mut flights = self.flights.iter();
        let hit = flights.find(|(_, flight)| flight.ask.counts(place, mac));
        if let Some((&group, _)) = hit {
            self.answer(group, Some(mac));
        }
    }

    fn unsent(&mut self, now: Time, group: GroupKey, place: Place) {
        let Some(flight) = self.flights.get_mut(&group) else {
            return;
        };
        let Some(probed) = flight.probed.get_mut(&place) else {
            return;
        };
        if probed.failed + 1 == TRIES_MAX {
            self.end(group);
            self.counts.unsent += 1;
            return;
        }
        let key = (flight.number, group, place);
        self.lanes.remove(place.1, probed.due, key);
        *probed = Probed {
            sent: probed.sent.saturating_sub(1),
            failed: probed.failed + 1,
            due: now + RETRY,
        };
        flight.left.insert(place);
        self.lanes.insert(place.1, probed.due, key);
    }

    /// Ends what is over.
    fn close(&mut self, now: Time) {
        let flights = self.flights.iter();
        let over: Vec<GroupKey> = flights
            .filter(|(_, flight)| flight.left.is_empty() && flight.over <= now)
            .map(|(group, _)| *group)
            .collect();
        for group in over {
            self.answer(group, None);
        }
    }

    /// Begins what there is room for, and sends what is due and within the budgets.
    fn go_on(&mut self, now: Time) {
        while self.flights.len() < self.in_flight_max
            && let Some(ask) = self.next_waiting()
        {
            self.begin(now, ask);
        }
        while let Some((_, group, place)) = self.lanes.next(now) {
            self.send(now, group, place);
        }
    }

    fn next_waiting(&mut self) -> Option<Ask> {
        let group = self.order.pop_front()?;
        self.waiting.remove(&group)
    }

    fn begin(&mut self, now: Time, ask: Ask) {
        if ask.places.is_empty() {
            self.counts.unsent += 1;
            return;
        }
        self.number += 1;
        let probed = Probed {
            sent: 0,
            failed: 0,
            due: now,
        };
        for &place in ask.places.keys() {
            let key = (self.number, ask.group, place);
            self.lanes.insert(place.1, now, key);
        }
        let flight = Flight {
            number: self.number,
            probed: ask.places.keys().map(|place| (*place, probed)).collect(),
            left: ask.places.keys().copied().collect(),
            over: now,
            ask,
        };
        self.flights.insert(flight.ask.group, flight);
    }

    fn send(&mut self, now: Time, group: GroupKey, place: Place) {
        let flight = self.flights.get_mut(&group);
        let flight = flight.expect("what waits in a lane belongs to a flight");
        let probed = flight.probed.get_mut(&place);
        let probed = probed.expect("a flight's probes are for its places");
        probed.sent += 1;
        probed.due = now + GAP;
        if probed.sent < PROBES {
            let key = (flight.number, group, place);
            self.lanes.insert(place.1, probed.due, key);
        } else {
            flight.left.remove(&place);
            flight.over = flight.over.max(probed.due);
        }
        self.outputs.push_back(Output::Send(Probe {
            group,
            place,
            from: flight.ask.places[&place],
            to: flight.ask.only,
        }));
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        let flights = self.flights.values();
        let over = flights
            .filter(|flight| flight.left.is_empty())
            .map(|flight| (flight.over, "nobody answered"));
        let probe = self.lanes.deadline().map(|due| (due, "probe"));
        over.chain(probe).min()
    }
}

impl Ask {
    /// Whether this claim is an answer. What this node's own links say is none.
    fn counts(&self, place: Place, mac: Mac) -> bool {
        self.places.contains_key(&place)
            && self.only.is_none_or(|only| only == mac)
            && !self.places.values().any(|own| *own == mac)
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine for Probes {
    type Input = Input;
    type Output = Output;

    fn input(&mut self, now: Time, input: Input) {
        match input {
            Input::Ask(ask) => {
                let (line, other) = match ask.only {
                    None => (&mut self.everybody, &mut self.single),
                    Some(_) => (&mut self.single, &mut self.everybody),
                };
                other.forget(ask.group);
                line.ask(now, ask);
            }
            Input::Heard(place, mac) => {
                for line in self.lines() {
                    line.heard(place, mac);
                }
            }
            Input::Unsent(group, place) => {
                for line in self.lines() {
                    line.unsent(now, group, place);
                }
            }
        }
        // Whoever reads late reads one answer after the other: the first must not end the asking that the second answers.
        for line in self.lines() {
            line.go_on(now);
        }
    }

    fn expire(&mut self, now: Time) {
        for line in self.lines() {
            line.close(now);
            line.go_on(now);
        }
    }

    fn output(&mut self) -> Option<Output> {
        let single = self.single.outputs.pop_front();
        single.or_else(|| self.everybody.outputs.pop_front())
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        let deadlines = [self.everybody.deadline(), self.single.deadline()];
        deadlines.into_iter().flatten().min()
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
