//! Every chore of the repository behind one command: `cargo xtask --help`.

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::{bench, check, docs_run, ebpf, image, lab, release, sim, test};

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
        Command::DocsRun(request) => request.run().map(|()| ExitCode::SUCCESS),
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
    DocsRun(docs_run::Request),
    Image(image::Request),
    Lab(lab::command::Request),
    Release(release::Request),
    Sim(sim::Request),
    Test(test::Request),
    /// What a pod of the lab runs.
    #[command(hide = true)]
    LabBackend(lab::backend::Backend),
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;
    use std::fmt::Write;

    /// `UPDATE_EXPECT=1` writes the page anew.
    #[test]
    fn the_reference_of_the_chores_is_what_they_take() {
        let mut command = Cli::command().term_width(120);
        command.build();
        let mut page = String::from(HEAD);
        describe(&mut command, "cargo xtask", &mut page);
        let path = xtask::tools::root().join("docs/reference/xtask.md");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let stands = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            stands == page,
            "docs/reference/xtask.md is not what the code says; UPDATE_EXPECT=1 writes it, to be read before it is committed"
        );
    }

    fn describe(command: &mut clap::Command, path: &str, page: &mut String) {
        let help = command.render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        writeln!(
            page,
            "\n## {path}\n\n```text\n{}\n```",
            lines.join("\n").trim_end()
        )
        .unwrap();
        let subcommands = command.get_subcommands_mut();
        for sub in subcommands.filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            describe(sub, &path, page);
        }
    }

    const HEAD: &str = "# The chores of the repository

Made from their definition by a test; change that, not this page. What the suites are is in [contributing.md](../contributing.md).
";
}
