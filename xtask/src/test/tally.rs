//! Counting what passed and what did not.

use crate::tools::say;
use anyhow::Result;
use std::fmt;
use std::ops::Add;
use std::process::ExitCode;

/// Tests counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Shown to hold.
    pub passed: u32,
    /// Shown not to hold, or not shown at all.
    pub failed: u32,
    /// Could not be looked at here, for a reason that is not this tree's and was said.
    pub skipped: u32,
}

impl Tally {
    /// Counts one thing that passes or fails, and says which.
    pub fn count(&mut self, what: &str, result: Result<()>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                say(&format!("ok      {what}"));
            }
            Err(why) => {
                self.failed += 1;
                say(&format!("FAILED  {what}: {why:#}"));
            }
        }
    }

    /// Counts one thing that could not be looked at, and says why: what is skipped in silence passes for what was seen.
    pub fn skip(&mut self, what: &str, why: &anyhow::Error) {
        self.skipped += 1;
        say(&format!("SKIPPED {what}, nothing was looked at: {why:#}"));
    }

    /// For the shell.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        match self.skipped {
            0 => Ok(()),
            skipped => write!(f, ", {skipped} skipped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_is_exact() {
        let mut tally = Tally {
            passed: 7,
            ..Tally::default()
        };
        assert_eq!(tally.to_string(), "7 passed, 0 failed");
        tally.skip("the weather", &anyhow::anyhow!("there is no window"));
        let twice = tally + tally;
        assert_eq!(twice.to_string(), "14 passed, 0 failed, 2 skipped");
    }
}
