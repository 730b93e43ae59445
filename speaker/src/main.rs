//! Heliograph's one binary.
//!
//! Parses the command line and hands over; it decides nothing.

mod api;
mod cleanup;
mod completion;
mod controller;
mod ctl;
mod dataplane;
mod doctor;
mod drive;
mod edge;
mod leader;
mod memory;
mod netlink;
mod operator;
mod privileges;
#[cfg(test)]
mod reference_tests;
mod replica;
mod report;
mod run;
mod settings;
mod source;
mod support;
#[cfg(test)]
mod testnet;
mod tls;
mod webhook;

use anyhow::Result;
use clap::Parser;
use settings::Settings;
use settings::args::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    memory::give_back_at_once();
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("no other provider is linked");
    let cli = Cli::parse_from(settings::command_line(std::env::args_os()));
    match obey(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("speaker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn obey(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run(args) => {
            let settings = Settings::read(*args)?;
            let _log =
                report::log::init(settings.log_level, settings.log_format, drive::clock::wall)?;
            for note in &settings.notes {
                tracing::info!(op = "startup", "{note}");
            }
            run::run(settings)?;
        }
        Command::Controller(args) => {
            let settings = controller::Settings::read(*args)?;
            let _log =
                report::log::init(settings.log_level, settings.log_format, drive::clock::wall)?;
            for note in &settings.notes {
                tracing::info!(op = "startup", "{note}");
            }
            controller::run(settings)?;
        }
        Command::Operator(args) => {
            let settings = operator::Settings::read(*args)?;
            let _log =
                report::log::init(settings.log_level, settings.log_format, drive::clock::wall)?;
            for note in &settings.notes {
                tracing::info!(op = "startup", "{note}");
            }
            operator::run(settings)?;
        }
        Command::Ctl(args) => return ctl::run(&args),
        Command::Cleanup(args) => cleanup::run(&args)?,
        Command::Completion(args) => completion::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
