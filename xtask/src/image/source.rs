//! What an image is made from: version, commit, and the moment that stands in it in place of the clock's.
//!
//! The moment is that of the commit, or what `SOURCE_DATE_EPOCH` says, as the reproducible builds project has it.

use crate::tools::{output, root};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::env;
use std::process::Command;

/// Where the bytes come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// That of the workspace.
    pub version: String,
    /// The commit, with `-dirty` where files differ from it.
    pub commit: String,
    /// Seconds since 1970.
    pub moment: u64,
}

impl Source {
    /// Of this tree, asked of git.
    ///
    /// # Errors
    /// When git knows nothing of it, or the environment names no moment.
    pub fn here() -> Result<Self> {
        let mut commit = git(&["rev-parse", "HEAD"])?;
        if !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty() {
            commit.push_str("-dirty");
        }
        let moment = match env::var("SOURCE_DATE_EPOCH") {
            Ok(moment) => moment,
            Err(_) => git(&["log", "-1", "--format=%ct"])?,
        };
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit,
            moment: moment
                .parse()
                .context("SOURCE_DATE_EPOCH is no number of seconds")?,
        })
    }

    /// The moment as RFC 3339 writes it.
    pub fn created(&self) -> String {
        let (days, seconds) = (self.moment / DAY, self.moment % DAY);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// The annotations of the OCI image specification, which are the labels too.
    pub fn annotations(&self) -> Value {
        json!({
            "org.opencontainers.image.created": self.created(),
            "org.opencontainers.image.description":
                "External addresses for Kubernetes services of type LoadBalancer, answered in the kernel",
            "org.opencontainers.image.documentation": REPOSITORY,
            "org.opencontainers.image.licenses": "Apache-2.0 AND (MIT OR GPL-2.0-only)",
            "org.opencontainers.image.revision": self.commit,
            "org.opencontainers.image.source": REPOSITORY,
            "org.opencontainers.image.title": "heliograph",
            "org.opencontainers.image.url": REPOSITORY,
            "org.opencontainers.image.version": self.version,
        })
    }
}

fn git(args: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    let said = output(git.current_dir(root()).args(args)).context(
        "an image says which commit it is of: make it in a clone that is yours, with git installed",
    )?;
    Ok(said.trim().to_owned())
}

/// Year, month and day of a day since 1970, in the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the leap day is the last of its year; 1970-01-01 is day 719,468 of that count.
    let days = days + 719_468;
    let (era, of_era) = (days / ERA, days % ERA);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // Five months have 153 days, from March and from August on.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = match month {
        0..10 => (month + 3, 0),
        late => (late - 9, 1),
    };
    (400 * era + year + next, month, day)
}

const DAY: u64 = 86_400;
/// Days of 400 years, after which the calendar repeats.
const ERA: u64 = 146_097;
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_dates() {
        for (moment, created) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            let source = Source {
                version: String::new(),
                commit: String::new(),
                moment,
            };
            assert_eq!(source.created(), created);
        }
    }
}
