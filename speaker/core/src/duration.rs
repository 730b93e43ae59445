//! Durations as Kubernetes' objects have them: the text of Go's `time.Duration`, such as `1h30m`, `300ms`, `-1.5s`.
//!
//! Rules: ParseDuration and Duration.String of Go's package `time`. 64 bits of nanoseconds with a sign.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A span of time with a sign, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Span(i64);

impl Span {
    /// So many nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// In nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds, cut towards zero.
    pub const fn seconds(self) -> i64 {
        self.0 / NANOS_PER_SECOND
    }

    /// Without the sign's half: what is below zero is zero.
    pub fn at_least_zero(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no duration such as 90s, 1m30s or 300ms"))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn parse(text: &str) -> Option<i64> {
    let (is_negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum: i128 = 0;
    while !rest.is_empty() {
        let (part, left) = part(rest)?;
        sum = sum.checked_add(part)?;
        if sum > 1 << 63 {
            return None;
        }
        rest = left;
    }
    i64::try_from(if is_negative { -sum } else { sum }).ok()
}

/// One number with its unit, in nanoseconds, and what follows it.
fn part(text: &str) -> Option<(i128, &str)> {
    let digits_end = |text: &str| {
        text.bytes()
            .position(|b| !b.is_ascii_digit())
            .unwrap_or(text.len())
    };
    let (whole, rest) = text.split_at(digits_end(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits_end(rest)),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let unit_end = rest
        .bytes()
        .position(|b| b == b'.' || b.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let unit = UNITS.iter().find(|(name, _)| *name == unit)?.1;
    let whole: i128 = match whole {
        "" => 0,
        digits => u64::from_str(digits).ok()?.into(),
    };
    Some((whole * unit + scaled(fraction, unit), rest))
}

/// The fraction `0.DIGITS` of a unit, cut to whole nanoseconds.
fn scaled(digits: &str, unit: i128) -> i128 {
    let mut digits = &digits[..digits.len().min(FRACTION_DIGITS_MAX)];
    digits = digits.trim_end_matches('0');
    let number: i128 = digits.parse().unwrap_or(0);
    number * unit / 10_i128.pow(u32::try_from(digits.len()).unwrap_or(0))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", decimal(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(nanos, 1_000_000)),
            1_000_000_000.. => {
                let second = NANOS_PER_SECOND.unsigned_abs();
                let (minutes, rest) = (nanos / (60 * second), nanos % (60 * second));
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write!(f, "{}s", decimal(rest, second))
            }
        }
    }
}

/// `nanos` in units of `unit` nanoseconds, without zeros at the end.
fn decimal(nanos: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", nanos / unit, nanos % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Both of the characters that look like a small mu are known to Go.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

const FRACTION_DIGITS_MAX: usize = 18; // more than an hour has of nanoseconds

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_read_as_go_reads_it() {
        let good = [
            ("0", 0),
            ("-0", 0),
            ("90s", 90_000_000_000),
            ("+1m30s", 90_000_000_000),
            ("1h0m1.5s", 3_601_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("-300ms", -300_000_000),
            ("1.9999999999s", 1_999_999_999),
            ("1us2µs3μs", 6_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ];
        for (text, nanos) in good {
            assert_eq!(text.parse(), Ok(Span(nanos)), "{text}");
        }
        let bad = [
            "",
            "-",
            ".",
            "s",
            ".s",
            "3",
            "1d",
            "soon",
            "1 s",
            "1s ",
            "1.2.3s",
            "9223372036854775808ns",
            "9223372036854775808h",
            "--1s",
        ];
        for text in bad {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn text_is_written_as_go_writes_it() {
        let written = [
            (0, "0s"),
            (1, "1ns"),
            (-1_500, "-1.5µs"),
            (300_000_000, "300ms"),
            (2_999_000_000, "2.999s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ];
        for (nanos, text) in written {
            assert_eq!(Span(nanos).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(nanos: i64) {
            prop_assert_eq!(Span(nanos).to_string().parse(), Ok(Span(nanos)));
        }

        #[test]
        fn no_text_makes_it_fall(text in "[-+.0-9a-zµ ]{0,30}") {
            let _ = text.parse::<Span>();
        }
    }
}
