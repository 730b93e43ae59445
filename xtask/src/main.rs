//! Every chore of the repository behind one command: `cargo xtask --help`.

use anyhow::Result;
use clap::{Parser, Subcommand};

fn main() -> Result<()> {
    match Cli::parse().command {
    }
}

/// Builds, tests and shows Heliograph.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {}
