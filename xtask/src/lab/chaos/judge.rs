//! What the answers of a whole fault say: who answered from when to when, for how long nobody did, and whether two did.
//!
//! Pure: it sees nothing but answers with their time stamps, and no fault may explain to it why two answered.

use super::frame::Mac;
use super::watch::Asked;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// One answer, or a claim that was not asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    /// Nanoseconds of the kernel's stamp.
    pub(super) at: u64,
    pub(super) vip: IpAddr,
    pub(super) mac: Mac,
    /// Whom its frame is for.
    pub(super) to: Mac,
}

/// What a station asked and was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) station: String,
    pub(super) answers: Vec<Answer>,
    pub(super) asked: Asked,
}

/// What one station saw of one VIP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sight {
    /// Who answered, in order of time; neighbours in it differ.
    pub(super) spells: Vec<Spell>,
    /// The longest time without an answer in the asked time, and when it began.
    pub(super) gap: (u64, u64),
    /// The longest time in which two answered; none when one had ended before the next began.
    pub(super) overlap: Option<Overlap>,
}

/// Answers of one, from the first to the last before another's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Spell {
    pub(super) mac: Mac,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) answers: usize,
}

/// Two that answered for one VIP at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Overlap {
    /// Who answered before it, and whose answers came in between.
    pub(super) macs: [Mac; 2],
    pub(super) from: u64,
    pub(super) until: u64,
}

impl Overlap {
    pub(super) fn length(self) -> Duration {
        Duration::from_nanos(self.until - self.from)
    }
}

/// What a station saw of each VIP between two moments. Answers of `strangers`, whom the fault itself let speak, do not count.
pub(super) fn sights(
    seen: &Seen,
    vips: &[IpAddr],
    (from, until): (u64, u64),
    strangers: &BTreeSet<Mac>,
) -> BTreeMap<IpAddr, Sight> {
    let sight = |vip: &IpAddr| {
        let mut own: Vec<Answer> = seen
            .answers
            .iter()
            .filter(|a| a.vip == *vip && (from..=until).contains(&a.at))
            .filter(|a| !strangers.contains(&a.mac))
            .copied()
            .collect();
        own.sort_by_key(|answer| answer.at);
        (*vip, of(&own, &seen.asked.turns, from, until))
    };
    vips.iter().map(sight).collect()
}

fn of(answers: &[Answer], asked: &[u64], from: u64, until: u64) -> Sight {
    let mut spells: Vec<Spell> = Vec::new();
    let mut gap = (0, from);
    let mut before = from;
    for answer in answers {
        gap = gap.max_by_length(before, answer.at);
        before = answer.at;
        match spells.last_mut().filter(|spell| spell.mac == answer.mac) {
            Some(spell) => {
                spell.last = answer.at;
                spell.answers += 1;
            }
            None => spells.push(Spell {
                mac: answer.mac,
                first: answer.at,
                last: answer.at,
                answers: 1,
            }),
        }
    }
    gap = gap.max_by_length(before, until);
    let two = overlaps(&spells, asked).into_iter();
    Sight {
        overlap: two.max_by_key(|overlap| overlap.length()),
        spells,
        gap,
    }
}

trait Longest {
    fn max_by_length(self, from: u64, until: u64) -> Self;
}

impl Longest for (u64, u64) {
    fn max_by_length(self, from: u64, until: u64) -> Self {
        let length = until.saturating_sub(from);
        if length > self.0 {
            (length, from)
        } else {
            self
        }
    }
}

/// Stretches in which two answered, in order. Whoever answers again and did not fall silent before never gave the VIP away: the other's answers
/// in between were a second's.
fn overlaps(spells: &[Spell], asked: &[u64]) -> Vec<Overlap> {
    let mut found: Vec<Overlap> = Vec::new();
    for (i, spell) in spells.iter().enumerate() {
        let Some(left) = spells[..i].iter().rposition(|s| s.mac == spell.mac) else {
            continue;
        };
        if fell_silent(asked, spells[left].last, spell.first) {
            continue;
        }
        let other = spells[left + 1];
        match found
            .last_mut()
            .filter(|known| known.until + RETURN_MIN > other.first)
        {
            Some(known) => known.until = spell.first,
            None => found.push(Overlap {
                macs: [spells[left].mac, other.mac],
                from: other.first,
                until: spell.first,
            }),
        }
    }
    found
}

/// Whether one that answered before and after was silent in between: for long enough, and though it was asked. A busy machine may not let the
/// station ask, and then nobody's silence means anything.
fn fell_silent(asked: &[u64], last: u64, first: u64) -> bool {
    let until = |at| asked.partition_point(|turn| *turn < at);
    first - last >= RETURN_MIN && until(first) - until(last) >= RETURN_QUESTIONS_MIN
}

/// Who lost a VIP has it back no sooner: without a gift two probes go unanswered for 100 ms first (L3.1 c), and no holder gives to a node
/// that failed before that was sound for five seconds (L1.1).
const RETURN_MIN: u64 = 100_000_000;
/// So many questions without an answer are a silence. One or two may be lost.
const RETURN_QUESTIONS_MIN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);

    fn vip() -> IpAddr {
        "192.0.2.100".parse().expect("an address")
    }

    /// Answers every millisecond, of each from one moment to another.
    fn answers(of: &[(Mac, u64, u64)]) -> Vec<Answer> {
        let spells = of.iter().map(|(mac, from, until)| {
            (*from..*until).map(|ms| Answer {
                at: ms * MS + u64::from(mac.0[5]),
                vip: vip(),
                mac: *mac,
                to: Mac([2, 0, 0, 0, 0, 1]),
            })
        });
        spells.flatten().collect()
    }

    fn sight(of: &[(Mac, u64, u64)], strangers: &[Mac]) -> Sight {
        asked_each(1, of, strangers)
    }

    /// The same of a station that asked only each so many milliseconds.
    fn asked_each(ms: u64, of: &[(Mac, u64, u64)], strangers: &[Mac]) -> Sight {
        let strangers = strangers.iter().copied().collect();
        let seen = Seen {
            station: "client".to_owned(),
            answers: answers(of),
            asked: Asked {
                turns: (0..1000 / ms).map(|turn| turn * ms * MS).collect(),
                ..Asked::default()
            },
        };
        let all = sights(&seen, &[vip()], (0, 1000 * MS), &strangers);
        all[&vip()].clone()
    }

    #[test]
    fn one_after_the_other_is_no_overlap_and_the_gap_is_what_lay_between() {
        let sight = sight(&[(A, 0, 300), (B, 500, 1000)], &[]);
        assert_eq!(sight.overlap, None);
        assert_eq!(sight.gap.0 / MS, 201);
        assert_eq!(sight.spells.len(), 2);
    }

    #[test]
    fn a_planted_second_answerer_is_found_with_both_addresses_and_for_how_long() {
        let sight = sight(&[(A, 0, 1000), (B, 300, 500)], &[]);
        let overlap = sight.overlap.expect("two answered");
        assert_eq!(BTreeSet::from(overlap.macs), BTreeSet::from([A, B]));
        assert_eq!(overlap.length().as_millis(), 199);
    }

    #[test]
    fn a_single_answer_of_a_second_is_found() {
        let sight = sight(&[(A, 0, 1000), (B, 300, 301)], &[]);
        assert!(sight.overlap.is_some());
    }

    #[test]
    fn a_late_answer_of_the_one_before_is_found() {
        let sight = sight(&[(A, 0, 400), (B, 380, 1000)], &[]);
        let overlap = sight.overlap.expect("two answered");
        assert!((18..=19).contains(&overlap.length().as_millis()));
    }

    #[test]
    fn one_late_answer_is_found_however_little_later_it_is() {
        let sight = sight(&[(A, 0, 401), (B, 400, 1000)], &[]);
        assert!(sight.overlap.is_none(), "A's last is before B's first");
        let sight = self::sight(&[(A, 0, 402), (B, 400, 1000)], &[]);
        assert!(sight.overlap.is_some());
    }

    #[test]
    fn a_pause_of_the_station_is_nobodys_silence() {
        let both = [(A, 0, 1), (B, 50, 51), (A, 150, 151), (B, 200, 201)];
        assert!(asked_each(50, &both, &[]).overlap.is_some());
        assert!(asked_each(1, &both, &[]).overlap.is_none());
    }

    #[test]
    fn a_vip_that_comes_back_after_a_silence_is_no_overlap() {
        let sight = sight(&[(A, 0, 300), (B, 400, 600), (A, 700, 1000)], &[]);
        assert_eq!(sight.overlap, None);
        assert_eq!(sight.spells.len(), 3);
    }

    #[test]
    fn whom_the_fault_lets_speak_does_not_count() {
        let sight = sight(&[(A, 0, 1000), (B, 300, 500)], &[B]);
        assert_eq!(sight.overlap, None);
        assert_eq!(sight.spells.len(), 1);
    }

    #[test]
    fn nobody_at_all_is_one_gap() {
        let sight = sight(&[], &[]);
        assert_eq!((sight.gap, sight.spells.len()), ((1000 * MS, 0), 0));
    }
}
