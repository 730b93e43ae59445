//! `cargo xtask sim`: histories of the simulated cluster, as many as asked for or for as long as there is time.
//!
//! What a history is, and what must hold in it, `tests/sim` alone knows (`docs/simulator.md`).

use crate::tools;
use anyhow::Result;
use clap::Args;

/// Simulate a cluster under faults; each history comes from its seed.
#[derive(Args)]
pub struct Request {
    /// The first seed; the others follow it. Alone with --replay: the history to see.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// How many histories.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    histories: u64,
    /// For so many hours instead.
    #[arg(long, value_name = "HOURS", conflicts_with = "histories")]
    hours: Option<f64>,
    /// Tell the one history of the seed aloud, with all its faults or those given by their places, as a failure prints them.
    #[arg(long, value_name = "FAULTS", num_args = 0..=1, default_missing_value = "")]
    replay: Option<String>,
}

impl Request {
    /// Builds the simulator and runs it.
    ///
    /// # Errors
    /// If it cannot be built, or a promise was broken.
    pub fn run(&self) -> Result<()> {
        let mut test = tools::cargo();
        test.args([
            "test",
            "--quiet",
            "--locked",
            "--profile",
            "sim",
            "-p",
            "sim",
        ]);
        test.args(["no_history_breaks_a_promise", "--", "--nocapture"]);
        match (&self.replay, self.hours) {
            (Some(faults), _) => {
                test.env("SIM_SEED", self.seed.to_string());
                if !faults.is_empty() {
                    test.env("SIM_FAULTS", faults);
                }
            }
            (None, Some(hours)) => {
                let seconds = (hours * 3600.0).max(1.0) as u64;
                test.env("SIM_SECONDS", seconds.to_string());
                test.env("SIM_HISTORIES", u64::MAX.to_string());
            }
            (None, None) => {
                test.env("SIM_HISTORIES", self.histories.to_string());
            }
        }
        test.env("SIM_FIRST", self.seed.to_string());
        tools::run(&mut test)
    }
}
