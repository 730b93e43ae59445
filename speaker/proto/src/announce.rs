//! When to tell the network, unasked, where a VIP is.
//!
//! A fresh entry gets a burst and then a slow refresh, for as long as it is answered for; clients that asked before a
//! taking are told one by one. All frames share one budget, so that a node that takes hundreds of VIPs makes no storm;
//! first frames go before repeats, repeats before clients, clients before refreshes. Claims to single stations, which nobody else
//! hears, have a budget of their own. Knows nothing of sockets or of
//! frames' bytes. RFC 5227 §3, RFC 4861 §7.2.6; MetalLB's page on layer 2 mode, "failover".

mod single;

use crate::pace::{Budget, Pace};
use crate::{Epoch, Mac, Machine, Span, Time, Vip};
use single::SingleClaims;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

pub use single::{CLAIMS_PER_SECOND_MAX, CLAIMS_QUEUED_MAX};

/// Frames in any one second at most: [`BURST_FRAMES`] and those that accrue meanwhile.
pub const FRAMES_PER_SECOND_MAX: u64 = 200;
/// Frames at once after a quiet time: the first frames of 25 IPv4 VIPs without delay.
const BURST_FRAMES: u64 = 50;
/// Repeats of gratuitous ARP at 0.1, 0.5, 1, 2 and 4 s after the first.
const ARP_GAPS: [Span; 5] = [
    Span::ms(100),
    Span::ms(400),
    Span::ms(500),
    Span::ms(1000),
    Span::ms(2000),
];
/// RFC 4861 §7.2.6: three unsolicited advertisements at most, RetransTimer apart.
const NDP_GAPS: [Span; 2] = [Span::s(1), Span::s(1)];
/// Repeats after the burst: for switches and clients that forgot.
const REFRESH: Span = Span::s(60);
/// How long after a fresh entry its askers are looked up; the burst has told most of them by then.
const ASKERS_DELAY: Span = Span::ms(600);
/// RFC 5227 §2.4 (c): who means to keep an address defends it, but answers no flood with a flood.
pub const DEFEND_INTERVAL: Span = Span::s(10);
/// Clients waiting to be told at most; the kernel remembers no more.
pub const ASKERS_QUEUED_MAX: usize = 65_536;

/// A VIP on a link, by index.
pub type Place = (Vip, u32);

/// What is answered for in one place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Answered {
    /// The hardware address that answers carry.
    pub mac: Mac,
    /// Which taking it is.
    pub epoch: Epoch,
}

/// A client that is to be told where a VIP is now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Asker {
    /// The VIP that it asked for, and where.
    pub place: Place,
    /// Its address.
    pub client: IpAddr,
    /// Its hardware address.
    pub mac: Mac,
}

/// What happens to [`Announce`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Everything that this node answers for from now on. A place that is new, or whose taking or hardware address
    /// changed, is announced; one that is missing falls silent at once.
    Answers(BTreeMap<Place, Answered>),
    /// Hardware that is no member's claims what is answered for here: it is announced once, but not again within
    /// [`DEFEND_INTERVAL`].
    Contested(Place),
    /// A member contests these: what is answered for of them is announced as if it were new, but for the clients.
    Claim(BTreeSet<Vip>),
    /// These may be answered for by a kernel that nobody hears of (L5.4): each of its hardware addresses is sent one claim for
    /// whatever is answered for of them. A claim that still waits is not sent twice.
    ClaimTo(BTreeSet<Vip>, Vec<Mac>),
    /// The reply to [`Output::FindAskers`].
    Askers(Vec<Asker>),
}

/// What [`Announce`] wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send gratuitous ARP (request and reply form) or an unsolicited neighbour advertisement.
    Gratuitous(Place, Answered),
    /// Send one claim (gratuitous ARP or an unsolicited advertisement) in a frame to this station.
    ClaimTo(Place, Answered, Mac),
    /// Say with [`Input::Askers`] who asked for these.
    FindAskers(BTreeSet<Place>),
    /// Send one ordinary unicast question (ARP request or neighbour solicitation) from the VIP to the client.
    Tell(Asker, Answered),
}

/// The machine that decides when gratuitous frames go out.
#[derive(Debug)]
pub struct Announce {
    places: BTreeMap<Place, State>,
    queue: BTreeSet<(Class, Time, Place)>,
    fresh: BTreeSet<Place>,
    fresh_due: Option<Time>,
    askers: VecDeque<Asker>,
    budget: Budget,
    claims: SingleClaims,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct State {
    answered: Answered,
    /// Frames that went out.
    sent: usize,
    due: Time,
    /// Not defended again before.
    defend_from: Time,
}

/// In order of urgency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Class {
    First,
    Repeat,
    Refresh,
}

impl Announce {
    /// Starts with nothing announced.
    pub fn new() -> Self {
        Self {
            places: BTreeMap::new(),
            queue: BTreeSet::new(),
            fresh: BTreeSet::new(),
            fresh_due: None,
            askers: VecDeque::new(),
            budget: Budget::new(Pace::new(FRAMES_PER_SECOND_MAX, BURST_FRAMES)),
            claims: SingleClaims::new(),
            outputs: VecDeque::new(),
        }
    }

    fn answers(&mut self, now: Time, answers: BTreeMap<Place, Answered>) {
        let gone: Vec<Place> = self
            .places
            .keys()
            .filter(|place| !answers.contains_key(place))
            .copied()
            .collect();
        for place in gone {
            self.forget(place);
        }
        for (place, answered) in answers {
            if self
                .places
                .get(&place)
                .is_none_or(|state| state.answered != answered)
            {
                self.start(now, place, answered);
            }
        }
    }

    fn start(&mut self, now: Time, place: Place, answered: Answered) {
        self.forget(place);
        let state = State {
            answered,
            sent: 0,
            due: now,
            defend_from: now,
        };
        self.queue.insert((state.class(place), now, place));
        self.places.insert(place, state);
        self.fresh.insert(place);
        self.fresh_due.get_or_insert(now + ASKERS_DELAY);
    }

    /// Claims to single stations that were left out, since too many waited.
    pub const fn claims_lost(&self) -> u64 {
        self.claims.lost()
    }

    /// What is answered for of a VIP.
    fn places_of(&self, vip: Vip) -> impl Iterator<Item = Place> + '_ {
        let places = self.places.range((vip, 0)..=(vip, u32::MAX));
        places.map(|(place, _)| *place)
    }

    /// Begins the burst again.
    fn claim(&mut self, now: Time, vip: Vip) {
        let places: Vec<Place> = self.places_of(vip).collect();
        for place in places {
            let Some(state) = self.places.get_mut(&place) else {
                continue;
            };
            self.queue.remove(&(state.class(place), state.due, place));
            state.sent = 0;
            state.due = now;
            self.queue.insert((state.class(place), now, place));
        }
    }

    fn claim_to(&mut self, vip: Vip, macs: &[Mac]) {
        let places: Vec<Place> = self.places_of(vip).collect();
        for place in places {
            for mac in macs {
                self.claims.add(place, *mac);
            }
        }
    }

    /// Announces at once and once, beside the place's own schedule.
    fn defend(&mut self, now: Time, place: Place) {
        let Some(state) = self.places.get_mut(&place) else {
            return;
        };
        if now < state.defend_from || !self.budget.take(now, frames(place)) {
            return;
        }
        state.defend_from = now + DEFEND_INTERVAL;
        self.outputs
            .push_back(Output::Gratuitous(place, state.answered));
    }

    fn forget(&mut self, place: Place) {
        if let Some(state) = self.places.remove(&place) {
            self.queue.remove(&(state.class(place), state.due, place));
        }
        self.fresh.remove(&place);
        self.askers.retain(|asker| asker.place != place);
        self.claims.forget(place);
    }

    /// Puts out everything that is due and within the budget.
    fn pump(&mut self, now: Time) {
        if self.fresh_due.is_some_and(|due| due <= now) {
            self.fresh_due = None;
            let fresh = std::mem::take(&mut self.fresh);
            if !fresh.is_empty() {
                self.outputs.push_back(Output::FindAskers(fresh));
            }
        }
        while let Some((place, mac)) = self.claims.next(now) {
            if let Some(state) = self.places.get(&place) {
                let claim = Output::ClaimTo(place, state.answered, mac);
                self.outputs.push_back(claim);
            }
        }
        while let Some(next) = self.next_due(now) {
            if !self.budget.take(now, next.frames()) {
                return;
            }
            match next {
                Next::Place(class, due, place) => self.send(now, class, due, place),
                Next::Asker(asker) => {
                    self.askers.pop_front();
                    if let Some(state) = self.places.get(&asker.place) {
                        self.outputs.push_back(Output::Tell(asker, state.answered));
                    }
                }
            }
        }
    }

    fn send(&mut self, now: Time, class: Class, due: Time, place: Place) {
        self.queue.remove(&(class, due, place));
        let Some(state) = self.places.get_mut(&place) else {
            return;
        };
        self.outputs
            .push_back(Output::Gratuitous(place, state.answered));
        let gap = gaps(place).get(state.sent).copied().unwrap_or(REFRESH);
        // Counted from when it went out, so that a delayed burst keeps its distances (RFC 4861 §7.2.6).
        *state = State {
            sent: state.sent + 1,
            due: now + gap,
            ..*state
        };
        self.queue.insert((state.class(place), state.due, place));
    }

    /// The most urgent thing that is due.
    fn next_due(&self, now: Time) -> Option<Next> {
        let of = |class| {
            self.first_of(class)
                .filter(|(_, due, _)| *due <= now)
                .map(|(class, due, place)| Next::Place(class, due, place))
        };
        let asker = || self.askers.front().copied().map(Next::Asker);
        of(Class::First)
            .or_else(|| of(Class::Repeat))
            .or_else(asker)
            .or_else(|| of(Class::Refresh))
    }

    fn first_of(&self, class: Class) -> Option<(Class, Time, Place)> {
        let from = (class, Time::default(), LOWEST_PLACE);
        self.queue
            .range(from..)
            .next()
            .copied()
            .filter(|(found, ..)| *found == class)
    }
}

impl Default for Announce {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine for Announce {
    type Input = Input;
    type Output = Output;

    fn input(&mut self, now: Time, input: Input) {
        match input {
            Input::Answers(answers) => self.answers(now, answers),
            Input::Contested(place) => self.defend(now, place),
            Input::Claim(vips) => vips.into_iter().for_each(|vip| self.claim(now, vip)),
            Input::ClaimTo(vips, macs) => {
                vips.into_iter().for_each(|vip| self.claim_to(vip, &macs));
            }
            Input::Askers(askers) => {
                let room = ASKERS_QUEUED_MAX.saturating_sub(self.askers.len());
                let known = askers
                    .into_iter()
                    .filter(|asker| self.places.contains_key(&asker.place));
                let known: Vec<Asker> = known.take(room).collect();
                self.askers.extend(known);
            }
        }
        self.pump(now);
    }

    fn expire(&mut self, now: Time) {
        self.pump(now);
    }

    fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        // What is most urgent by then decides how many frames must fit: the most that any needs.
        let ready = self.budget.ready(FRAMES_MAX);
        let places = [Class::First, Class::Repeat, Class::Refresh]
            .into_iter()
            .filter_map(|class| self.first_of(class))
            .map(|(_, due, _)| (due.max(ready), "gratuitous frame"));
        let askers = self.askers.front().map(|_| (ready, "asker"));
        let fresh = self.fresh_due.map(|due| (due, "look for askers"));
        let claims = self.claims.deadline();
        let claims = claims.map(|due| (due, "claim to a station"));
        places.chain(askers).chain(fresh).chain(claims).min()
    }
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Place(Class, Time, Place),
    Asker(Asker),
}

impl Next {
    fn frames(&self) -> u64 {
        match self {
            Self::Place(_, _, place) => frames(*place),
            Self::Asker(_) => 1,
        }
    }
}

impl State {
    fn class(&self, place: Place) -> Class {
        match self.sent {
            0 => Class::First,
            sent if sent <= gaps(place).len() => Class::Repeat,
            _ => Class::Refresh,
        }
    }
}

/// Frames of one announcement.
fn frames((Vip(ip), _): Place) -> u64 {
    if ip.is_ipv4() { FRAMES_MAX } else { 1 }
}

fn gaps((Vip(ip), _): Place) -> &'static [Span] {
    if ip.is_ipv4() { &ARP_GAPS } else { &NDP_GAPS }
}

/// Frames of the largest announcement: gratuitous ARP in both forms.
const FRAMES_MAX: u64 = 2;
const LOWEST_PLACE: Place = (Vip(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)), 0);

#[cfg(test)]
#[path = "announce_tests.rs"]
mod tests;
