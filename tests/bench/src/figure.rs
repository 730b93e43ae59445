//! Figures: what a bench says, as a line in columns for people or of JSON for programs.
//!
//! A figure knows nothing of how it was measured; the ratio is always against something of the same run.

use serde::{Serialize, Serializer};
use std::fmt;

/// One measured value, what it is compared with, and what it should be.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Figure {
    /// The bench that measured it.
    pub(crate) bench: &'static str,
    /// What was measured.
    pub(crate) figure: String,
    /// The median of the runs; none where it could not be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<f64>,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// What the ratio compares it with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) against: Option<String>,
    /// This figure relative to the other one, in the direction that the aim is written in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    /// What it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aim: Option<Aim>,
    /// Whether it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) met: Option<bool>,
    /// Why it could not be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
}

/// A bound on the ratio, or on the value of a figure without one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Aim {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
}

impl Aim {
    fn is_met_by(self, number: f64) -> bool {
        match self {
            Self::AtLeast(bound) => number >= bound,
            Self::AtMost(bound) => number <= bound,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
            Self::AtMost(bound) => write!(f, "<= {bound}"),
        }
    }
}

impl Serialize for Aim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Figure {
    /// A figure that stands alone.
    pub(crate) fn new(
        bench: &'static str,
        figure: impl Into<String>,
        value: f64,
        unit: &'static str,
    ) -> Self {
        Self {
            bench,
            figure: figure.into(),
            value: Some(value),
            unit,
            against: None,
            ratio: None,
            aim: None,
            met: None,
            failed: None,
        }
    }

    /// One that could not be measured, and why, in one line.
    pub(crate) fn failed(bench: &'static str, figure: impl Into<String>, why: &str) -> Self {
        let lines: Vec<&str> = why.lines().map(str::trim).collect();
        Self {
            value: None,
            failed: Some(lines.join("; ")),
            ..Self::new(bench, figure, 0.0, "")
        }
    }

    /// The same figure as `ratio` times another one.
    pub(crate) fn against(mut self, other: impl Into<String>, ratio: f64) -> Self {
        self.against = Some(other.into());
        self.ratio = Some(ratio);
        self
    }

    /// The same figure with a bound on its ratio, or on its value where it has none.
    pub(crate) fn aim(mut self, aim: Aim) -> Self {
        self.aim = Some(aim);
        self.met = self.ratio.or(self.value).map(|it| aim.is_met_by(it));
        self
    }
}

/// Heads of the columns for people.
pub(crate) fn head() -> String {
    line(&HEADS.map(|(name, _)| name.to_owned()))
}

/// The figure in these columns. What is wider than its column pushes the rest aside: no row is held back for those after it.
pub(crate) fn row(figure: &Figure) -> String {
    let met = |met: bool| if met { "yes" } else { "NO" };
    let against = figure.failed.as_ref().or(figure.against.as_ref());
    line(&[
        figure.bench.to_owned(),
        figure.figure.clone(),
        figure.value.map_or_else(|| "failed".to_owned(), number),
        figure.unit.to_owned(),
        figure.ratio.map(|r| format!("{r:.2}")).unwrap_or_default(),
        against.cloned().unwrap_or_default(),
        figure.aim.map(|a| a.to_string()).unwrap_or_default(),
        figure.met.map(met).unwrap_or_default().to_owned(),
    ])
}

fn line(cells: &[String; HEADS.len()]) -> String {
    let padded = cells.iter().zip(HEADS).map(|(cell, (name, width))| {
        if matches!(name, "value" | "ratio") {
            format!("{cell:>width$}")
        } else {
            format!("{cell:<width$}")
        }
    });
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

const HEADS: [(&str, usize); 8] = [
    ("bench", 10),
    ("figure", 60),
    ("value", 9),
    ("unit", 12),
    ("ratio", 6),
    ("against", 60),
    ("aim", 8),
    ("met", 3),
];

/// Three digits are as many as these measurements carry.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// The middle one; of an even count the mean of the two in the middle.
///
/// # Panics
/// If there is none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty(), "a median needs a value");
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

/// The smallest value that at least `share` of the values do not exceed.
///
/// # Panics
/// If there is none.
pub(crate) fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    assert!(!values.is_empty(), "a percentile needs a value");
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_is_on_the_ratio_where_there_is_one() {
        let figure = Figure::new("b", "f", 100.0, "ns").against("other", 2.0);
        assert_eq!(figure.aim(Aim::AtMost(3.0)).met, Some(true));
        let figure = Figure::new("b", "f", 100.0, "ns");
        assert_eq!(figure.aim(Aim::AtMost(3.0)).met, Some(false));
    }

    #[test]
    fn a_line_of_json_has_no_empty_fields() {
        let figure = Figure::new("b", "f", 1.5, "ns").aim(Aim::AtLeast(1.0));
        let json = serde_json::to_string(&figure).unwrap();
        assert_eq!(
            json,
            r#"{"bench":"b","figure":"f","value":1.5,"unit":"ns","aim":">= 1","met":true}"#
        );
    }

    #[test]
    fn what_could_not_be_measured_says_why_in_a_line() {
        let figure = Figure::failed("b", "f", "it ended:\n  no memory");
        let json = serde_json::to_string(&figure).unwrap();
        assert_eq!(
            json,
            r#"{"bench":"b","figure":"f","unit":"","failed":"it ended:; no memory"}"#
        );
        let shown = row(&figure);
        let words: Vec<&str> = shown.split_whitespace().collect();
        assert_eq!(words, ["b", "f", "failed", "it", "ended:;", "no", "memory"]);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert_eq!(percentile(values.clone(), 0.99), 990.0);
        assert_eq!(percentile(values.clone(), 0.999), 999.0);
        assert_eq!(median(values), 500.5);
    }
}
