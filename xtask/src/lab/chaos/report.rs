//! From what the stations saw to a verdict, and the verdict for people and programs.

use super::departure::Dated;
use super::fault::{Fault, Moves, Two};
use super::frame::Mac;
use super::judge::{Answer, Seen, Sight, sights};
use super::picture::{Timeline, draw};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// One fault as it was done.
pub(super) struct Round {
    /// Who answered when it began.
    pub(super) holder: Mac,
    /// Nanoseconds: watched from, done, taken away, watched until.
    pub(super) moments: [u64; 4],
    /// By station, how its answers were dated.
    pub(super) dated: Vec<Dated>,
    /// Whose answers do not count.
    pub(super) strangers: BTreeSet<Mac>,
}

/// What became of it.
#[derive(Default)]
pub(super) struct Verdict {
    /// Rules that did not hold, in words.
    pub(super) broken: Vec<String>,
    /// From the fault to the holder's last answer while it lasted, if it fell silent; the latest at any station for any address.
    pub(super) silent: Option<Duration>,
    /// From the fault to another node's first answer; likewise.
    pub(super) taken: Option<Duration>,
    /// The longest time without an answer that any station had for any address, and in which two answered.
    pub(super) gap: Duration,
    pub(super) overlap: Option<Duration>,
    pub(super) dated: Dated,
    /// Who answered before, and at the end.
    pub(super) from: String,
    pub(super) to: String,
    pub(super) answers: usize,
    pub(super) asked: u64,
    pub(super) unsent: u64,
    pub(super) picture: String,
}

impl Verdict {
    pub(super) fn is_well(&self) -> bool {
        self.broken.is_empty()
    }
}

/// Judges what the stations saw.
pub(super) fn judge(
    fault: &Fault,
    round: &Round,
    vips: &[IpAddr],
    names: &BTreeMap<Mac, String>,
    seen: &[Seen],
) -> Verdict {
    let [begun, injected, healed, ended] = round.moments;
    let name = |mac: &Mac| names.get(mac).cloned().unwrap_or_else(|| mac.to_string());
    let mut verdict = Verdict {
        dated: Dated {
            waited: round
                .dated
                .iter()
                .map(|d| d.waited)
                .max()
                .unwrap_or_default(),
            unheard: round.dated.iter().map(|d| d.unheard).sum(),
        },
        from: name(&round.holder),
        to: "nobody".to_owned(),
        answers: seen.iter().map(|seen| seen.answers.len()).sum(),
        asked: seen.iter().map(|seen| seen.asked.sent).sum(),
        unsent: seen.iter().map(|seen| seen.asked.unsent).sum(),
        ..Verdict::default()
    };
    for seen in seen {
        let whole = sights(seen, vips, (begun, ended), &round.strangers);
        let during = sights(seen, vips, (injected, healed), &round.strangers);
        let after = sights(seen, vips, (healed, ended), &round.strangers);
        for vip in vips {
            let at = format!("{vip} as {} saw it", seen.station);
            verdict.overlap_of(fault, &whole[vip], &at, &name);
            verdict.moves_of(fault, round.holder, &during[vip], &at, &name);
            verdict.times_of(round, &during[vip]);
            verdict.end_of(&after[vip], ended, &at, &name);
            verdict.gap = verdict.gap.max(Duration::from_nanos(whole[vip].gap.0));
        }
    }
    let all: Vec<Answer> = seen
        .iter()
        .flat_map(|seen| &seen.answers)
        .copied()
        .collect();
    verdict.picture = draw(&Timeline {
        answers: &all,
        vips,
        span: (begun, ended),
        marks: &[(injected, '!'), (healed, '+')],
        names,
    });
    verdict
}

impl Verdict {
    fn overlap_of(
        &mut self,
        fault: &Fault,
        sight: &Sight,
        at: &str,
        name: &impl Fn(&Mac) -> String,
    ) {
        let Some(overlap) = sight.overlap else { return };
        self.overlap = self.overlap.max(Some(overlap.length()));
        let allowed = match fault.two {
            Two::Never => Duration::ZERO,
            Two::UntilFenced => FENCED_MAX,
            Two::UntilHeard => HEARD_MAX,
        };
        if overlap.length() > allowed || fault.two == Two::Never {
            let [one, two] = overlap.macs;
            let ms = overlap.length().as_secs_f64() * 1000.0;
            self.broken.push(format!(
                "two answered for {at}: {} and {}, for {ms:.1} ms",
                name(&one),
                name(&two)
            ));
        }
    }

    fn moves_of(
        &mut self,
        fault: &Fault,
        holder: Mac,
        sight: &Sight,
        at: &str,
        name: &impl Fn(&Mac) -> String,
    ) {
        let last = sight.spells.last().map(|spell| spell.mac);
        let other = sight.spells.iter().find(|spell| spell.mac != holder);
        match fault.moves {
            Moves::Must if last.is_none_or(|last| last == holder) => self
                .broken
                .push(format!("no other node came to answer for {at}")),
            Moves::MustNot if other.is_some() => {
                let other = other.map(|spell| name(&spell.mac)).unwrap_or_default();
                self.broken.push(format!("{other} came to answer for {at}"));
            }
            Moves::MustNot if last.is_none() => {
                self.broken.push(format!("nobody answered for {at}"));
            }
            Moves::Must | Moves::MustNot | Moves::May => {}
        }
    }

    /// When the holder was last heard, and when another first.
    fn times_of(&mut self, round: &Round, sight: &Sight) {
        let [_, injected, healed, _] = round.moments;
        let since = |at: u64| Duration::from_nanos(at.saturating_sub(injected));
        let mut own = sight.spells.iter().filter(|s| s.mac == round.holder);
        let last = own.next_back().map_or(injected, |spell| spell.last);
        if healed.saturating_sub(last) > SILENT_MIN {
            self.silent = self.silent.max(Some(since(last)));
        }
        let other = sight.spells.iter().find(|s| s.mac != round.holder);
        self.taken = self.taken.max(other.map(|spell| since(spell.first)));
    }

    fn end_of(&mut self, sight: &Sight, ended: u64, at: &str, name: &impl Fn(&Mac) -> String) {
        match sight.spells.last() {
            Some(spell) if ended.saturating_sub(spell.last) < ANSWERED_AT_END => {
                self.to = name(&spell.mac);
            }
            Some(_) | None => self
                .broken
                .push(format!("nobody answers for {at} when all is over")),
        }
    }
}

/// Shows one fault.
pub(super) fn show(round: u32, fault: &Fault, verdict: &Verdict, is_json: bool) {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    if is_json {
        let line = serde_json::json!({
            "round": round,
            "fault": fault.name,
            "well": verdict.is_well(),
            "broken": verdict.broken,
            "from": verdict.from,
            "to": verdict.to,
            "silent_ms": verdict.silent.map(ms),
            "taken_ms": verdict.taken.map(ms),
            "gap_ms": ms(verdict.gap),
            "two_ms": verdict.overlap.map(ms),
            "waited_ms": ms(verdict.dated.waited),
            "undated": verdict.dated.unheard,
            "asked": verdict.asked,
            "unsent": verdict.unsent,
            "answers": verdict.answers,
        });
        println!("{line}");
        return;
    }
    println!("\n{}: {}", fault.name, fault.about);
    print!("{}", verdict.picture);
    let two = match verdict.overlap {
        Some(overlap) => format!("two answered for {:.1} ms", ms(overlap)),
        None => "never two".to_owned(),
    };
    println!(
        "  {} -> {}, longest without an answer {:.0} ms, {two}; {} questions, {} answers, on their way for {:.1} ms at most",
        verdict.from,
        verdict.to,
        ms(verdict.gap),
        verdict.asked,
        verdict.answers,
        ms(verdict.dated.waited)
    );
    for broken in &verdict.broken {
        println!("  BROKEN: {broken}");
    }
}

/// L5.2: a claim silences at the very frame, and who takes claims at once. Where the one that is silenced has precedence, it claims again as soon as
/// it has been told, and at the latest after 300 ms nobody's fence is up that was not confirmed.
const FENCED_MAX: Duration = Duration::from_millis(300);
/// L5.5, where claims are lost: the one who took claims by unicast each 200 ms (L5.4), and five of them are never lost in a row.
const HEARD_MAX: Duration = Duration::from_millis(1_200);
/// Nanoseconds.
const ANSWERED_AT_END: u64 = 500_000_000;
/// Who is not heard for so long before the fault is over fell silent.
const SILENT_MIN: u64 = 200_000_000;

#[cfg(test)]
mod tests {
    use super::super::judge::Spell;
    use super::*;

    const HOLDER: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
    const HEIR: Mac = Mac([2, 0, 0, 0, 0, 0xb]);
    const MS: u64 = 1_000_000;

    fn times(spells: &[(Mac, u64, u64)]) -> (Option<u128>, Option<u128>) {
        let round = Round {
            holder: HOLDER,
            moments: [0, 1000 * MS, 4000 * MS, 7000 * MS],
            dated: Vec::new(),
            strangers: BTreeSet::new(),
        };
        let spell = |(mac, first, last): &(Mac, u64, u64)| Spell {
            mac: *mac,
            first: first * MS,
            last: last * MS,
            answers: 2,
        };
        let sight = Sight {
            spells: spells.iter().map(spell).collect(),
            gap: (0, 0),
            overlap: None,
        };
        let mut verdict = Verdict::default();
        verdict.times_of(&round, &sight);
        let ms = |span: Option<Duration>| span.map(|span| span.as_millis());
        (ms(verdict.silent), ms(verdict.taken))
    }

    #[test]
    fn a_holder_that_answers_on_is_not_silent_and_one_that_never_did_was_at_once() {
        assert_eq!(times(&[(HOLDER, 1000, 3999)]), (None, None));
        assert_eq!(times(&[]), (Some(0), None));
    }

    #[test]
    fn silence_and_taking_are_timed_from_the_fault() {
        let followed = [(HOLDER, 1000, 1480), (HEIR, 1660, 3999)];
        assert_eq!(times(&followed), (Some(480), Some(660)));
        let back = [
            (HOLDER, 1000, 1480),
            (HEIR, 1660, 3000),
            (HOLDER, 3100, 3999),
        ];
        assert_eq!(times(&back), (None, Some(660)));
    }
}
