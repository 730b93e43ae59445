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
pub(super) struct Verdict {
    /// Rules that did not hold, in words.
    broken: Vec<String>,
    /// The longest time without an answer that any station had for any address, and in which two answered.
    gap: Duration,
    overlap: Option<Duration>,
    dated: Dated,
    /// Who answered before, and at the end.
    from: String,
    to: String,
    answers: usize,
    asked: u64,
    unsent: u64,
    picture: String,
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
        broken: Vec::new(),
        gap: Duration::ZERO,
        overlap: None,
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
        picture: String::new(),
    };
    for seen in seen {
        let whole = sights(seen, vips, (begun, ended), &round.strangers);
        let during = sights(seen, vips, (injected, healed), &round.strangers);
        let after = sights(seen, vips, (healed, ended), &round.strangers);
        for vip in vips {
            let at = format!("{vip} as {} saw it", seen.station);
            verdict.overlap_of(fault, &whole[vip], &at, &name);
            verdict.moves_of(fault, round.holder, &during[vip], &at, &name);
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

/// All verdicts of a run.
#[derive(Default)]
pub(super) struct Tally {
    done: usize,
    broken: usize,
    /// The longest time without an answer in each run of a fault.
    gaps: BTreeMap<&'static str, Vec<Duration>>,
}

impl Tally {
    pub(super) fn count(&mut self, fault: &Fault, verdict: &Verdict) {
        self.done += 1;
        self.broken += usize::from(!verdict.is_well());
        self.gaps.entry(fault.name).or_default().push(verdict.gap);
    }

    pub(super) fn is_well(&self) -> bool {
        self.broken == 0
    }

    /// The distribution of each fault that was done more than once, and the last line.
    pub(super) fn show(&mut self, is_json: bool) {
        for (fault, gaps) in self.gaps.iter_mut().filter(|(_, gaps)| gaps.len() > 1) {
            gaps.sort_unstable();
            let ms = |percent| at(gaps, percent).as_secs_f64() * 1000.0;
            let [p50, p99, most] = [ms(50), ms(99), ms(100)];
            let runs = gaps.len();
            if is_json {
                let line = serde_json::json!({
                    "fault": fault, "runs": runs, "gap_ms": {"p50": p50, "p99": p99, "max": most},
                });
                println!("{line}");
            } else {
                println!(
                    "{fault:<12} {runs} runs, longest without an answer: p50 {p50:.0} ms, p99 {p99:.0} ms, max {most:.0} ms"
                );
            }
        }
        let (done, broken) = (self.done, self.broken);
        if is_json {
            println!("{}", serde_json::json!({ "done": done, "broken": broken }));
        } else {
            println!("\n{done} faults, {broken} of them broke a rule");
        }
    }
}

/// The smallest of sorted values that so many percent do not exceed.
fn at(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// L5.2: a claim silences at the very frame, and who takes claims at once. Where the one that is silenced has precedence, it claims again as soon as
/// it has been told, and at the latest after 300 ms nobody's fence is up that was not confirmed.
const FENCED_MAX: Duration = Duration::from_millis(300);
/// Nanoseconds.
const ANSWERED_AT_END: u64 = 500_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let sorted: Vec<Duration> = (1..=300).map(Duration::from_millis).collect();
        assert_eq!(at(&sorted, 50).as_millis(), 150);
        assert_eq!(at(&sorted, 99).as_millis(), 297);
        assert_eq!(at(&sorted, 100).as_millis(), 300);
        assert_eq!(at(&sorted[..1], 50).as_millis(), 1);
        assert_eq!(at(&[], 99), Duration::ZERO);
    }
}
