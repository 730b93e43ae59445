//! The suites: what each runs, and how its own words become numbers.

use crate::tools::{self, say};
use crate::{check, ebpf, lab, verifier};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::fmt;
use std::io::{BufRead, BufReader, Write, stderr, stdout};
use std::ops::Add;
use std::process::{Command, ExitCode, Stdio};

/// A suite that `cargo xtask test` can run.
#[derive(Debug)]
pub(super) struct Suite {
    /// As it is asked for.
    pub(super) name: &'static str,
    /// What it shows.
    pub(super) about: &'static str,
    work: Work,
    /// It runs the speaker, so it must be built.
    needs_speaker: bool,
}

/// How a suite is run.
#[derive(Debug)]
enum Work {
    Check,
    /// `cargo test` with these arguments.
    Cargo(&'static [&'static str]),
    /// `cargo test` of the packet logic, watched.
    Sanitizer,
    /// The kernel suite in emulated machines.
    Verifier,
}

/// All of them, the quickest answers first.
pub(super) const SUITES: &[Suite] = &[
    Suite {
        name: "check",
        about: "format, lints, house rules, dependencies, commands in documents",
        work: Work::Check,
        needs_speaker: true,
    },
    Suite {
        name: "unit",
        about: "codecs, machines, parsers, planner, shell and chores, beside their code",
        work: Work::Cargo(&[
            "-p",
            "speaker-ebpf",
            "-p",
            "speaker-proto",
            "-p",
            "speaker-core",
            "-p",
            "speaker",
            "-p",
            "xtask",
            "-p",
            "bench-tests",
        ]),
        needs_speaker: true,
    },
    Suite {
        name: "model",
        about: "manifests in, plan out; allocation; parsers against their corpora",
        work: Work::Cargo(&["-p", "model-tests"]),
        needs_speaker: false,
    },
    Suite {
        name: "ebpf-asan",
        about: "the packet logic under a sanitizer",
        work: Work::Sanitizer,
        needs_speaker: false,
    },
    Suite {
        name: "kernel",
        about: "this machine's verifier, frames in and out, by test run and across namespaces",
        work: Work::Cargo(&[
            "-p",
            "system-tests",
            "--test",
            "kernel",
            "--",
            "--test-threads=1",
        ]),
        needs_speaker: true,
    },
    Suite {
        name: "verifier",
        about: "verifiers and test runs of Debian's older kernels, emulated",
        work: Work::Verifier,
        needs_speaker: false,
    },
    Suite {
        name: "lab",
        about: "from manifests to HTTP answers between namespaces",
        work: Work::Cargo(&[
            "-p",
            "system-tests",
            "--test",
            "lab",
            "--",
            "--test-threads=1",
        ]),
        needs_speaker: true,
    },
];

/// Builds what the suites share, so that a failure to build is told once and first.
pub(super) fn prepare(suites: &[&Suite]) -> Result<()> {
    if suites.iter().any(|suite| suite.needs_speaker) {
        lab::command::build()?;
    }
    Ok(())
}

impl Suite {
    /// Runs it; what it prints goes to standard output if `is_shown` there, else to standard error.
    pub(super) fn run(&self, is_shown: bool) -> Tally {
        let mut tally = Tally::default();
        match self.work {
            Work::Check => return check::run(check::Step::value_variants()),
            Work::Cargo(arguments) => {
                let mut cargo = tools::cargo();
                cargo
                    .args(["test", "--quiet", "--no-fail-fast", "--locked"])
                    .args(arguments);
                tally.follow(self.name, &mut cargo, is_shown);
            }
            Work::Verifier => {
                for (kernel, result) in verifier::verify() {
                    tally.count(&kernel, result);
                }
            }
            Work::Sanitizer => tally.follow(self.name, &mut ebpf::sanitized_tests(), is_shown),
        }
        tally
    }
}

/// Tests counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Shown to hold.
    pub passed: u32,
    /// Shown not to hold, or not shown at all.
    pub failed: u32,
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

    /// For the shell.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// Runs a test command to its end and adds what it counted.
    fn follow(&mut self, name: &str, command: &mut Command, is_shown: bool) {
        let before = *self;
        let result = self.read(command, is_shown);
        let counted = self.passed + self.failed > before.passed + before.failed;
        match result {
            Err(why) => self.count(name, Err(why)),
            Ok(true) if !counted => self.count(name, Err(anyhow::anyhow!("it ran no test"))),
            Ok(false) if self.failed == before.failed => {
                self.count(name, Err(anyhow::anyhow!("it ended badly")));
            }
            Ok(_) => {}
        }
    }

    /// Whether the command ended well.
    fn read(&mut self, command: &mut Command, is_shown: bool) -> Result<bool> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start cargo")?;
        let Some(out) = child.stdout.take() else {
            bail!("cargo's output was not piped")
        };
        let mut lines = BufReader::new(out);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            if is_shown {
                stdout().write_all(&line)?
            } else {
                stderr().write_all(&line)?
            }
            if let Some(counted) = result_line(&String::from_utf8_lossy(&line)) {
                *self = *self + counted;
            }
            line.clear();
        }
        Ok(child.wait()?.success())
    }
}

/// Reads `test result: ok. 3 passed; 0 failed; 0 ignored; …`. An ignored test counts as failed.
fn result_line(line: &str) -> Option<Tally> {
    let (_, counts) = line
        .trim()
        .strip_prefix("test result: ")?
        .split_once(". ")?;
    let count = |what: &str| -> Option<u32> {
        let part = counts.split("; ").find(|part| part.ends_with(what))?;
        part.split(' ').next()?.parse().ok()
    };
    let (passed, failed, ignored) = (count(" passed")?, count(" failed")?, count(" ignored")?);
    Some(Tally {
        passed,
        failed: failed + ignored,
    })
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_a_test_binary_are_read_and_ignored_tests_fail() {
        let line = "test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 1 filtered out; finished in 0.1s\n";
        assert_eq!(
            result_line(line),
            Some(Tally {
                passed: 12,
                failed: 2
            })
        );
        let line = "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(
            result_line(line),
            Some(Tally {
                passed: 3,
                failed: 1
            })
        );
        assert_eq!(result_line("running 3 tests"), None);
    }

    fn followed(script: &str) -> Tally {
        let mut tally = Tally::default();
        tally.follow("planted", Command::new("sh").args(["-c", script]), false);
        tally
    }

    #[test]
    fn a_suite_that_ends_badly_or_runs_nothing_has_failed() {
        let ok = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured'";
        assert_eq!(
            followed(ok),
            Tally {
                passed: 2,
                failed: 0
            }
        );
        assert_eq!(
            followed(&format!("{ok}; exit 1")),
            Tally {
                passed: 2,
                failed: 1
            }
        );
        assert_eq!(
            followed("true"),
            Tally {
                passed: 0,
                failed: 1
            }
        );
    }

    #[test]
    fn the_closing_line_is_exact() {
        assert_eq!(
            Tally {
                passed: 7,
                failed: 0
            }
            .to_string(),
            "7 passed, 0 failed"
        );
    }
}
