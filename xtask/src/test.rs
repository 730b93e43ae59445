//! `cargo xtask test`: every suite in order, what each counted, and one line for all.
//!
//! A suite counts its own tests; this reads the counts, adds a failure where a suite ended badly without one, and treats
//! an ignored test as failed: what was not run was not shown. What the suites test it does not know.

mod course;
mod follow;
mod suite;
mod tally;

pub use tally::Tally;

use anyhow::Result;
use clap::{Args, ValueEnum};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use suite::{SUITES, Suite};

/// Run the test suites; the last line is `N passed, N failed`.
///
/// Everything that is missing is installed after saying so. Suites that touch the kernel need root, or the capabilities
/// that docs/contributing.md lists.
#[derive(Args)]
pub struct Request {
    /// Only these suites; all of them without any.
    #[arg(value_name = "SUITE", value_parser = suite_named)]
    suites: Vec<&'static Suite>,
    /// List the suites and run none.
    #[arg(long)]
    list: bool,
    /// A table and a closing line, or one JSON object a line.
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Form {
    Text,
    Json,
}

impl Request {
    /// Runs the suites, whatever becomes of each, and says how they ended.
    ///
    /// # Errors
    /// Never, today; the signature is that of every subcommand.
    pub fn run(&self) -> Result<ExitCode> {
        if self.list {
            for Suite { name, about, .. } in SUITES {
                println!("{name:<12} {about}");
            }
            return Ok(ExitCode::SUCCESS);
        }
        let suites = match self.suites.as_slice() {
            [] => SUITES.iter().collect(),
            some => some.to_vec(),
        };
        let results = course::run(&suites, self.output);
        let tally = results
            .iter()
            .fold(Tally::default(), |sum, result| sum + result.tally);
        match self.output {
            Form::Text => close(&results, tally),
            Form::Json => println!(
                "{{\"passed\":{},\"failed\":{},\"skipped\":{}}}",
                tally.passed, tally.failed, tally.skipped
            ),
        }
        Ok(tally.exit_code())
    }
}

/// How a suite ended.
struct Ended {
    name: &'static str,
    tally: Tally,
    took: Duration,
}

impl Ended {
    fn new(name: &'static str, tally: Tally, begun: Instant) -> Self {
        Self {
            name,
            tally,
            took: begun.elapsed(),
        }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "suite": self.name,
            "passed": self.tally.passed,
            "failed": self.tally.failed,
            "skipped": self.tally.skipped,
            "seconds": self.took.as_secs_f64(),
        })
    }
}

fn close(results: &[Ended], tally: Tally) {
    println!(
        "\n{:<12} {:>7} {:>7} {:>8} {:>9}",
        "suite", "passed", "failed", "skipped", "seconds"
    );
    for Ended { name, tally, took } in results {
        let Tally {
            passed,
            failed,
            skipped,
        } = tally;
        println!(
            "{name:<12} {passed:>7} {failed:>7} {skipped:>8} {:>9.1}",
            took.as_secs_f64()
        );
    }
    println!("\n{tally}");
}

fn suite_named(name: &str) -> Result<&'static Suite, String> {
    let names = || {
        SUITES
            .iter()
            .map(|suite| suite.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let found = SUITES.iter().find(|suite| suite.name == name);
    found.ok_or_else(|| format!("there is no such suite; there are: {}", names()))
}
