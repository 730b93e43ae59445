//! Every chore of the repository behind one command: `cargo xtask --help`.

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::{bench, check, ebpf, image, lab, release, sim, test};

fn main() -> ExitCode {
    match obey(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn obey(command: Command) -> Result<ExitCode> {
    match command {
        Command::Bench(request) => request.run().map(|()| ExitCode::SUCCESS),
        Command::BuildEbpf(request) => request.run().map(|()| ExitCode::SUCCESS),
        Command::Check(request) => request.run(),
        Command::Image(request) => request.run().map(|()| ExitCode::SUCCESS),
        Command::Lab(request) => request.run(),
        Command::Release(request) => request.run().map(|()| ExitCode::SUCCESS),
        Command::Sim(request) => request.run().map(|()| ExitCode::SUCCESS),
        Command::Test(request) => request.run(),
        Command::LabBackend(backend) => backend.serve().map(|()| ExitCode::SUCCESS),
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
enum Command {
    Bench(bench::Request),
    BuildEbpf(ebpf::BuildEbpf),
    Check(check::Request),
    Image(image::Request),
    Lab(lab::command::Request),
    Release(release::Request),
    Sim(sim::Request),
    Test(test::Request),
    /// What a pod of the lab runs.
    #[command(hide = true)]
    LabBackend(lab::backend::Backend),
}
