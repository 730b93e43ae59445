//! `cargo xtask bench`: builds what is measured and the package that measures it, both as they ship, and runs it.
//!
//! What is measured, how, and what it should be, `tests/bench` alone knows; its results are in `docs/performance.md`.

use crate::ebpf::{self, Object};
use crate::tools::{self, say};
use anyhow::Result;
use clap::{Args, ValueEnum};
use std::path::Path;

/// Measure the figures of docs/performance.md, each as a ratio within one run.
///
/// Needs root. All traffic stays in network namespaces that are made for it. Measure on a machine that does nothing else.
#[derive(Args)]
pub struct Request {
    /// Only these benches, or parts of one, as in `bgp:bfd`; all of them without any.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// List the benches and run none.
    #[arg(long)]
    list: bool,
    /// A table, or one JSON object a line.
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    output: Form,
    /// Little of everything, to see that the benches `api`, `bgp`, `idle` and `plan` work; such figures mean nothing
    #[arg(long)]
    quick: bool,
    /// For how long the bench `bgp` captures BFD
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    capture: u64,
    /// Of the bench members: one cluster of so many nodes, 3 to 1,000, instead of all
    #[arg(long, value_name = "N")]
    nodes: Option<u16>,
    /// Of the bench members: for so many simulated minutes, 7 to 1,440
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Form {
    Table,
    Json,
}

impl Request {
    /// Builds and measures.
    ///
    /// # Errors
    /// If something cannot be installed, built or measured.
    pub fn run(&self) -> Result<()> {
        if !self.list {
            tools::ensure_packages(
                &["iproute2", "iperf3", "nftables", "tcpdump"],
                "the benches",
            )?;
            let object = ebpf::build(Object::Heliograph)?;
            let kit = ebpf::build(Object::Bench)?;
            say("building the speaker, the API's double and the benches in release mode");
            return self.measure(&object, &kit);
        }
        tools::run(cargo_run().arg("--list"))
    }

    fn measure(&self, object: &Path, kit: &Path) -> Result<()> {
        let packages = ["--package", "speaker", "--package", "api-tests"];
        tools::run(
            tools::cargo()
                .args(["build", "--quiet", "--release"])
                .args(packages),
        )?;
        let built = tools::target().join("release");
        let (speaker, double) = (built.join("speaker"), built.join("api-double"));
        let output = match self.output {
            Form::Table => "table",
            Form::Json => "json",
        };
        let mut bench = cargo_run();
        bench.args(["--output", output]);
        let paths = [
            ("--object", object),
            ("--kit", kit),
            ("--speaker", speaker.as_path()),
            ("--double", double.as_path()),
        ];
        for (option, path) in paths {
            bench.arg(option).arg(path);
        }
        bench.args(["--capture", &self.capture.to_string()]);
        if self.quick {
            bench.arg("--quick");
        }
        for (option, value) in [("--nodes", self.nodes), ("--minutes", self.minutes)] {
            bench.args(value.map(|value| format!("{option}={value}")));
        }
        tools::run(bench.args(&self.names))
    }
}

fn cargo_run() -> std::process::Command {
    let mut run = tools::cargo();
    run.args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "bench-tests",
        "--",
    ]);
    run
}
