//! Which other nodes are on the segments of this node's links: who answers there for the node's own address from the hardware
//! address that its speaker published.
//!
//! Frames are sent on only to nodes that are proved so: a link of the same name may be on another segment, where nobody would take them.
//! Every node is asked by unicast, so that the segment hears of it no more than two frames each time. Knows nothing of
//! sockets, or of what is sent on.

use crate::announce::Place;
use crate::pace::{Lanes, Pace};
use crate::{Mac, Machine, NodeId, Span, Time, Vip};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

/// How often a node is asked.
pub const INTERVAL: Span = Span::s(3);
/// How soon one that has not answered yet is asked again.
pub const RETRY: Span = Span::ms(200);
/// So often one that has not answered yet is asked that soon. The first account waits for that, and not for a time: a process that gets no processor
/// hears no answers either.
pub const RETRIES: u8 = 5;
/// An answer counts for so long.
pub const PROOF: Span = Span::s(10);
/// Questions on one link in any one second at most: a thousand nodes in three seconds.
pub const QUESTIONS_PER_SECOND_MAX: u64 = 400;
const BURST_QUESTIONS: u64 = 50;
/// Nodes on links that are asked at most; more than the tables have room for.
pub const NEIGHBOURS_MAX: usize = 2_048;

/// A node on a link of this one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Neighbour {
    /// The link's index.
    pub ifindex: u32,
    /// The node.
    pub node: NodeId,
}

/// Whom to ask for what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The hardware address of this node's link.
    pub from: Mac,
    /// The one that the node published.
    pub mac: Mac,
    /// The node's own addresses: one that it answers for is enough.
    pub addresses: Vec<IpAddr>,
}

/// Everybody who is asked.
pub type Targets = BTreeMap<Neighbour, Target>;

/// A question for a node's own address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// The address and the link.
    pub place: Place,
    /// The hardware address of this node's link.
    pub from: Mac,
    /// Whom it goes to.
    pub to: Mac,
}

/// What happens to [`Vicinity`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Everybody to be asked from now on. Who is as before keeps its proof.
    LookFor(Targets),
    /// Somebody says that an address is where this hardware is.
    Heard(Place, Mac),
}

/// What [`Vicinity`] wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Ask.
    Ask(Question),
    /// These are there; told when it changes, and first when everybody who is looked for answered, or had time to.
    Known(Arc<BTreeSet<Neighbour>>),
}

/// What was seen so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Questions.
    pub asked: u64,
    /// Answers.
    pub answered: u64,
    /// Nodes that stopped answering.
    pub lost: u64,
    /// Nodes that are not asked now, for want of room.
    pub left_out: u64,
}

/// The machine.
#[derive(Debug)]
pub struct Vicinity {
    states: BTreeMap<Neighbour, State>,
    by_place: BTreeMap<Place, Vec<Neighbour>>,
    lanes: Lanes<Neighbour>,
    /// Somebody was looked for; before that there is no account.
    is_used: bool,
    told: Option<Arc<BTreeSet<Neighbour>>>,
    counts: Counts,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Debug)]
struct State {
    target: Target,
    due: Time,
    answered: Option<Time>,
    tries: u8,
}

impl State {
    fn is_proved(&self, now: Time) -> bool {
        self.answered.is_some_and(|at| now < at + PROOF)
    }

    /// It answered, or had time to.
    fn is_clear(&self, now: Time) -> bool {
        self.is_proved(now) || self.tries > RETRIES
    }
}

impl Default for Vicinity {
    fn default() -> Self {
        Self::new()
    }
}

impl Vicinity {
    /// Nobody is asked.
    pub fn new() -> Self {
        Self {
            states: BTreeMap::new(),
            by_place: BTreeMap::new(),
            lanes: Lanes::new(Pace::new(QUESTIONS_PER_SECOND_MAX, BURST_QUESTIONS)),
            is_used: false,
            told: None,
            counts: Counts::default(),
            outputs: VecDeque::new(),
        }
    }

    /// What was seen so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    fn look_for(&mut self, now: Time, targets: Targets) {
        let mut old = std::mem::take(&mut self.states);
        self.by_place.clear();
        self.counts.left_out = targets.len().saturating_sub(NEIGHBOURS_MAX) as u64;
        for (key, target) in targets.into_iter().take(NEIGHBOURS_MAX) {
            for address in &target.addresses {
                let place = (Vip(*address), key.ifindex);
                self.by_place.entry(place).or_default().push(key);
            }
            let state = match old.remove(&key) {
                Some(state) if state.target == target => state,
                before => {
                    if let Some(before) = before {
                        self.lanes.remove(key.ifindex, before.due, key);
                    }
                    self.lanes.insert(key.ifindex, now, key);
                    State {
                        target,
                        due: now,
                        answered: None,
                        tries: 0,
                    }
                }
            };
            self.states.insert(key, state);
        }
        for (key, gone) in old {
            self.lanes.remove(key.ifindex, gone.due, key);
        }
        self.is_used = true;
        self.account(now);
    }

    fn heard(&mut self, now: Time, place: Place, mac: Mac) {
        let neighbours = self.by_place.get(&place).into_iter().flatten();
        for key in neighbours {
            let state = self.states.get_mut(key);
            let state = state.expect("a place belongs to neighbours that are asked");
            if state.target.mac == mac {
                self.counts.answered += 1;
                if !state.is_proved(now) {
                    self.lanes.remove(key.ifindex, state.due, *key);
                    state.due = now + INTERVAL;
                    self.lanes.insert(key.ifindex, state.due, *key);
                }
                state.answered = Some(now);
                state.tries = 0;
            }
        }
        self.account(now);
    }

    fn pump(&mut self, now: Time) {
        while let Some(key) = self.lanes.next(now) {
            let state = self.states.get_mut(&key);
            let state = state.expect("what waits in a lane is asked");
            let is_urgent = !state.is_proved(now) && state.tries < RETRIES;
            state.tries = state.tries.saturating_add(1);
            state.due = now + if is_urgent { RETRY } else { INTERVAL };
            self.lanes.insert(key.ifindex, state.due, key);
            for address in &state.target.addresses {
                self.counts.asked += 1;
                self.outputs.push_back(Output::Ask(Question {
                    place: (Vip(*address), key.ifindex),
                    from: state.target.from,
                    to: state.target.mac,
                }));
            }
        }
    }

    /// Tells who is there, if that is news and there was time to learn it.
    fn account(&mut self, now: Time) {
        let proved = self.states.iter().filter(|(_, state)| state.is_proved(now));
        let proved: BTreeSet<Neighbour> = proved.map(|(key, _)| *key).collect();
        let is_ready = || self.states.values().all(|state| state.is_clear(now));
        if self.told.is_none() && !(self.is_used && is_ready()) {
            return;
        }
        if self.told.as_deref() == Some(&proved) {
            return;
        }
        let told = self.told.iter().flat_map(|told| told.iter());
        let lost = told.filter(|key| self.states.contains_key(key) && !proved.contains(key));
        self.counts.lost += lost.count() as u64;
        let proved = Arc::new(proved);
        self.told = Some(Arc::clone(&proved));
        self.outputs.push_back(Output::Known(proved));
    }

    /// When the first of the proofs that were told of runs out.
    fn runs_out(&self) -> Option<Time> {
        let told = self.told.iter().flat_map(|told| told.iter());
        let answered = told.filter_map(|key| self.states.get(key)?.answered);
        answered.min().map(|at| at + PROOF)
    }
}

impl Machine for Vicinity {
    type Input = Input;
    type Output = Output;

    fn input(&mut self, now: Time, input: Input) {
        match input {
            Input::LookFor(targets) => self.look_for(now, targets),
            Input::Heard(place, mac) => self.heard(now, place, mac),
        }
        self.pump(now);
    }

    fn expire(&mut self, now: Time) {
        self.pump(now);
        self.account(now);
    }

    fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        let all = [
            self.lanes.deadline().map(|due| (due, "question")),
            self.runs_out().map(|due| (due, "proof")),
        ];
        all.into_iter().flatten().min_by_key(|(due, _)| *due)
    }
}

#[cfg(test)]
#[path = "vicinity_tests.rs"]
mod tests;
