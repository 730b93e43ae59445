//! `cargo xtask check`: format, lints, house rules, alerts and dependencies, each as one step that passes or fails. One may be skipped.
//!
//! What the rules are is in [`crate::tidy`]; this runs them and the tools, and adds up.

use crate::advisories::{self, Outcome};
use crate::alerts;
use crate::ebpf::{self, Object};
use crate::packages;
use crate::test::Tally;
use crate::tidy::{self, Finding, Help, RATCHET, Tree};
use crate::tools::{self, output, root, say};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use std::process::{Command, ExitCode};

/// Check format, lints, house rules, alerts and dependencies.
///
/// Ends with one line `N passed, N failed`; each step and each house rule counts as one.
#[derive(Args)]
pub struct Request {
    /// Only these steps; all of them without any.
    #[arg(value_name = "STEP")]
    steps: Vec<Step>,
}

impl Request {
    /// Runs the steps and says how they ended.
    ///
    /// # Errors
    /// When a tool cannot be run at all.
    pub fn run(&self) -> Result<ExitCode> {
        let steps = match self.steps.as_slice() {
            [] => Step::value_variants(),
            some => some,
        };
        let tally = run(steps);
        println!("{tally}");
        Ok(tally.exit_code())
    }
}

/// The parts of a check, in the order they run: what fails fastest comes first.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum Step {
    /// The formatter would change nothing.
    Fmt,
    /// The house rules hold.
    Tidy,
    /// Alerts fire when they should, and promtool reads every query of the dashboard.
    Alerts,
    /// Licences, sources and versions of dependencies, and which crate may link which.
    Deny,
    /// Known faults of dependencies, by RustSec's database; skipped, and counted so, where that cannot be had.
    Advisories,
    /// No warning of clippy, on the host's code and the kernel's.
    Clippy,
    /// Commands and flags in documents exist.
    Commands,
}

/// Runs every step, whatever becomes of the others.
pub fn run(steps: &[Step]) -> Tally {
    let mut tally = Tally::default();
    for step in steps {
        match step {
            Step::Fmt => tally.count("fmt", fmt()),
            Step::Tidy => tidy(&mut tally),
            Step::Alerts => tally.count("alerts", alerts::check()),
            Step::Deny => tally.count("deny", deny()),
            Step::Advisories => match advisories::look() {
                Ok(Outcome::Looked(findings)) => tally.count("advisories", none(findings)),
                Ok(Outcome::Skipped(why)) => tally.skip("advisories", &why),
                Err(why) => tally.count("advisories", Err(why)),
            },
            Step::Clippy => {
                tally.count("clippy", clippy());
                tally.count("clippy of the kernel object", clippy_of_kernel());
            }
            Step::Commands => tally.count("commands in documents", commands()),
        }
    }
    tally
}

fn fmt() -> Result<()> {
    tools::run(tools::cargo().args(["fmt", "--all", "--", "--check"]))
}

fn tidy(tally: &mut Tally) {
    let tree = match Tree::read(&root()) {
        Ok(tree) => tree,
        Err(why) => return tally.count("tidy", Err(why)),
    };
    for rule in tidy::RULES {
        tally.count(rule.name, none((rule.find)(&tree)));
    }
    tally.count("the ratchet only falls", ratchet());
}

/// Compares the ratchet with those of the last two commits, where there is a history.
fn ratchet() -> Result<()> {
    let now =
        std::fs::read_to_string(root().join(RATCHET)).context("failed to read the ratchet")?;
    let mut findings = Vec::new();
    for commit in ["HEAD", "HEAD^"] {
        let mut show = Command::new("git");
        show.current_dir(root())
            .args(["show", &format!("{commit}:{RATCHET}")]);
        if let Ok(before) = output(&mut show) {
            findings.extend(tidy::rises(&before, &now));
        }
    }
    none(findings)
}

fn deny() -> Result<()> {
    let mut metadata = tools::cargo();
    metadata.args(["metadata", "--format-version", "1", "--locked"]);
    none(tidy::dependencies(&packages::parse(&output(
        &mut metadata,
    )?)?))
}

fn clippy() -> Result<()> {
    ebpf::build(Object::Heliograph)?;
    let mut clippy = tools::cargo();
    clippy.args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--locked",
    ]);
    tools::run(clippy.args(["--", "--deny", "warnings"]))
}

/// The kernel's code is compiled for its own target only, with the rest of the machine's flags left out.
fn clippy_of_kernel() -> Result<()> {
    tools::rust_src()?;
    let mut clippy = tools::cargo();
    clippy
        .args([
            "clippy",
            "--quiet",
            "--package",
            "speaker-ebpf",
            "--bins",
            "--locked",
        ])
        .args([
            "--target",
            "bpfel-unknown-none",
            "-Zbuild-std=core",
            "--target-dir",
        ])
        .arg(tools::target().join("bpf"))
        .args(["--", "--deny", "warnings"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "RUSTFLAGS",
            format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
        );
    tools::run(&mut clippy)
}

fn commands() -> Result<()> {
    ebpf::build(Object::Heliograph)?;
    tools::run(tools::cargo().args(["build", "--quiet", "--package", "speaker", "--locked"]))?;
    none(tidy::commands_exist(&Tree::read(&root())?, &mut RealHelp)?)
}

/// Help from the programs as they were just built.
struct RealHelp;

impl Help for RealHelp {
    fn help(&mut self, program: &str, path: &[String]) -> Result<String> {
        let binary = match program {
            "xtask" => std::env::current_exe().context("this program has no path")?,
            name => tools::target().join("debug").join(name),
        };
        output(Command::new(binary).args(path).arg("--help"))
    }
}

/// Shows the findings; any is a failure.
fn none(findings: Vec<Finding>) -> Result<()> {
    for finding in &findings {
        say(&finding.to_string());
    }
    match findings.len() {
        0 => Ok(()),
        count => bail!("{count} found"),
    }
}
