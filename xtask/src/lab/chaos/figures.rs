//! What many runs of the faults came to: for each fault how soon its holder was silent, how soon another answered, for how long nobody did, and
//! for how long two.
//!
//! Pure but for the file that the table goes to. Which rules hold is [`super::report`]'s; here they are only counted.

use super::fault::Fault;
use super::report::Verdict;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The runs of every fault so far.
#[derive(Default)]
pub(super) struct Figures {
    by_fault: BTreeMap<&'static str, Runs>,
}

/// The runs of one fault.
#[derive(Default)]
struct Runs {
    done: usize,
    broken: usize,
    not_done: usize,
    /// From the fault to the holder's last answer, where it fell silent.
    silent: Vec<Duration>,
    /// From the fault to the first answer of another node, where one came to answer.
    taken: Vec<Duration>,
    /// The longest time without an answer.
    gaps: Vec<Duration>,
    /// The longest time in which two answered, where two did.
    two: Vec<Duration>,
}

impl Figures {
    pub(super) fn count(&mut self, fault: &Fault, verdict: &Verdict) {
        let runs = self.by_fault.entry(fault.name).or_default();
        runs.done += 1;
        runs.broken += usize::from(!verdict.is_well());
        runs.silent.extend(verdict.silent);
        runs.taken.extend(verdict.taken);
        runs.gaps.push(verdict.gap);
        runs.two.extend(verdict.overlap);
        for spans in [
            &mut runs.silent,
            &mut runs.taken,
            &mut runs.gaps,
            &mut runs.two,
        ] {
            spans.sort_unstable();
        }
    }

    /// The fault could not be done, or what it left was not to be watched.
    pub(super) fn count_not_done(&mut self, fault: &Fault) {
        self.by_fault.entry(fault.name).or_default().not_done += 1;
    }

    /// Whether every fault was done each time, and no rule was broken.
    pub(super) fn is_well(&self) -> bool {
        let mut runs = self.by_fault.values();
        runs.all(|runs| runs.broken + runs.not_done == 0)
    }

    /// Writes them to a file as a table of Markdown, in place of what it held.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, to: &Path) -> Result<()> {
        fs::write(to, self.table()).with_context(|| format!("failed to write {}", to.display()))
    }

    fn table(&self) -> String {
        let mut table = String::from(HEAD);
        for (fault, runs) in &self.by_fault {
            let [silent, taken, gaps, two] =
                [&runs.silent, &runs.taken, &runs.gaps, &runs.two].map(|s| cell(s));
            let _ = writeln!(
                table,
                "| {fault} | {} | {} | {} | {silent} | {taken} | {gaps} | {} | {two} |",
                runs.done,
                runs.broken,
                runs.not_done,
                runs.two.len()
            );
        }
        table
    }

    /// The distribution of each fault that was done more than once, and the last line.
    pub(super) fn show(&self, is_json: bool) {
        for (fault, runs) in self.by_fault.iter().filter(|(_, runs)| runs.done > 1) {
            if is_json {
                println!("{}", runs.json(fault));
            } else {
                println!(
                    "{fault:<14} {} runs, longest without an answer: {}",
                    runs.done,
                    words(&runs.gaps)
                );
            }
        }
        let sum = |of: fn(&Runs) -> usize| self.by_fault.values().map(of).sum::<usize>();
        let (done, broken) = (sum(|runs| runs.done), sum(|runs| runs.broken));
        let not_done = sum(|runs| runs.not_done);
        if is_json {
            let line = json!({ "done": done, "broken": broken, "not_done": not_done });
            println!("{line}");
        } else {
            println!(
                "\n{done} faults, {broken} of them broke a rule, {not_done} could not be done"
            );
        }
    }
}

impl Runs {
    fn json(&self, fault: &str) -> Value {
        let of = |spans: &[Duration]| {
            let [p50, p99, most] = PERCENTS.map(|percent| ms(at(spans, percent)));
            json!({ "runs": spans.len(), "p50": p50, "p99": p99, "max": most })
        };
        json!({
            "fault": fault, "runs": self.done, "broken": self.broken, "not_done": self.not_done,
            "silent_ms": of(&self.silent), "taken_ms": of(&self.taken), "gap_ms": of(&self.gaps), "two_ms": of(&self.two),
        })
    }
}

/// Percentiles for the table; nothing where nothing was seen.
fn cell(sorted: &[Duration]) -> String {
    if sorted.is_empty() {
        return String::new();
    }
    let cells = PERCENTS.map(|percent| round(at(sorted, percent)));
    cells.join(", ")
}

fn words(sorted: &[Duration]) -> String {
    let [p50, p99, most] = PERCENTS.map(|percent| round(at(sorted, percent)));
    format!("p50 {p50} ms, p99 {p99} ms, max {most} ms")
}

/// Whole milliseconds, but for what is shorter than ten.
fn round(span: Duration) -> String {
    let ms = ms(span);
    if ms < 10.0 {
        format!("{ms:.1}")
    } else {
        format!("{ms:.0}")
    }
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

/// The smallest of sorted values that so many percent do not exceed.
fn at(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

const PERCENTS: [usize; 3] = [50, 99, 100];
/// Milliseconds: p50, p99, max.
const HEAD: &str = "\
| fault | runs | broke a rule | not done | the holder's last answer after it: p50, p99, max (ms) | another's first: p50, p99, max | nobody \
answered for: p50, p99, max | two answered in | for: p50, p99, max |
|---|---|---|---|---|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::super::fault::FAULTS;
    use super::*;

    fn span(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let sorted: Vec<Duration> = (1..=300).map(span).collect();
        assert_eq!(at(&sorted, 50), span(150));
        assert_eq!(at(&sorted, 99), span(297));
        assert_eq!(at(&sorted, 100), span(300));
        assert_eq!(at(&sorted[..1], 50), span(1));
        assert_eq!(at(&[], 99), Duration::ZERO);
    }

    #[test]
    fn a_table_has_a_row_for_each_fault_and_no_value_for_what_was_not_seen() {
        let mut figures = Figures::default();
        for ms in [660, 640, 650] {
            let verdict = Verdict {
                silent: Some(span(480)),
                taken: Some(span(ms)),
                gap: span(ms - 480),
                ..Verdict::default()
            };
            figures.count(&FAULTS[0], &verdict);
        }
        figures.count_not_done(&FAULTS[1]);
        let table = figures.table();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| kill | 3 | 0 | 0 | 480, 480, 480 | 650, 660, 660 | 170, 180, 180 | 0 |  |",
                "| stop | 0 | 0 | 1 |  |  |  | 0 |  |",
            ]
        );
        assert!(!figures.is_well());
    }

    #[test]
    fn what_broke_a_rule_is_counted_and_how_long_two_answered() {
        let mut figures = Figures::default();
        let verdict = Verdict {
            broken: vec!["two answered".to_owned()],
            overlap: Some(span(3)),
            ..Verdict::default()
        };
        figures.count(&FAULTS[0], &verdict);
        assert!(figures.table().contains("| kill | 1 | 1 | 0 |"));
        assert!(figures.table().ends_with("| 1 | 3.0, 3.0, 3.0 |\n"));
    }
}
