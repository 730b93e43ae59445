//! Which states a group was seen in on a node, and which ways led from one to another.
//!
//! A history that never gets anywhere proves nothing: what is never covered is a failure of the simulator.

use speaker_core::agent::{self, Seen};
use speaker_core::plan::{Held, Hold};
use speaker_proto::hold::{self, Ground};
use std::collections::BTreeMap;
use std::fmt;

/// How often each way was taken.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coverage {
    /// From one state to another.
    pub ways: BTreeMap<(Hold, Hold), u64>,
    /// Faults that struck, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Whatever else is worth knowing: how often it happened.
    pub seen: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// Counts what changed between two looks at a node; the groups and states that are new.
    pub fn note(&mut self, before: &Held, after: &Held) -> Vec<Hold> {
        let of = |held: &Held, group| held.get(group).map_or(Hold::Free, |holding| holding.hold);
        let mut entered = Vec::new();
        let groups = before
            .keys()
            .chain(after.keys().filter(|g| !before.contains_key(g)));
        for group in groups {
            let (from, to) = (of(before, group), of(after, group));
            if from != to {
                *self.ways.entry((from, to)).or_default() += 1;
                entered.push(to);
            }
        }
        entered
    }

    /// Counts something.
    pub fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// Whether a fault of this name struck, or this was seen.
    pub fn has(&self, what: &str) -> bool {
        self.faults.contains_key(what) || self.seen.contains_key(what)
    }

    /// Counts what an agent told its operator.
    pub fn event(&mut self, event: &agent::Event) {
        let event = match event {
            agent::Event::Hold { event, .. } => event,
            agent::Event::Seen { seen, .. } => {
                return self.see(match seen {
                    Seen::Unanswered { is_certain: true } => "unanswered: passed over",
                    Seen::Unanswered { is_certain: false } => "unanswered: perhaps cut off",
                    Seen::KernelSilent => "unanswered: in its grace",
                    Seen::Answering => "answered again",
                    Seen::Stranger(_) => "a stranger answered for what is held",
                    Seen::Unheard => "told that it does not answer",
                });
            }
            _ => return,
        };
        self.see(match event {
            hold::Event::Taken { ground, .. } => match ground {
                Ground::Yielded => "taken: yielded",
                Ground::Dead => "taken: its holder is dead",
                Ground::Unheld => "taken: nobody held it",
                Ground::Adopted => "taken: adopted",
                Ground::Contest => "taken: after a contest",
                Ground::Refused => "taken back: refused",
            },
            hold::Event::Given { to: Some(_), .. } => "given",
            hold::Event::Given { to: None, .. } => "released",
            hold::Event::Disagree { .. } => "disagreed",
            hold::Event::Stranger { .. } => "a stranger answered",
            hold::Event::Contest { is_kept: true, .. } => "contest won",
            hold::Event::Contest { is_kept: false, .. } => "contest lost",
            hold::Event::Spoofed { .. } => "spoofed",
            hold::Event::MovesSpent { .. } => "moves spent",
        });
    }

    /// Adds what another history covered.
    pub fn add(&mut self, other: &Self) {
        for (way, count) in &other.ways {
            *self.ways.entry(*way).or_default() += count;
        }
        for (fault, count) in &other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        for (what, count) in &other.seen {
            *self.seen.entry(what).or_default() += count;
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((from, to), count) in &self.ways {
            writeln!(f, "  {from:?} -> {to:?}: {count}")?;
        }
        for (fault, count) in &self.faults {
            writeln!(f, "  fault {fault}: {count}")?;
        }
        for (what, count) in &self.seen {
            writeln!(f, "  {what}: {count}")?;
        }
        Ok(())
    }
}
