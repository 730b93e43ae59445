//! Loads the object on older kernels and runs the table of frames there, in emulated machines.
//!
//! A machine gets the kernel suite as one program and prints what the suite prints. How a machine comes to be is
//! [`crate::machine`]'s business.

use crate::ebpf::{self, Object};
use crate::machine::{self, BOOKWORM, BULLSEYE, Console, Guest, Kernel, TRIXIE};
use crate::tools::{self, output, say};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The kernels beside the machine's own, which the kernel suite covers, and the tests that their test runs can do.
const KERNELS: [(Kernel, &str); 3] = [
    // Test runs of XDP take a link from 5.14 on.
    (BULLSEYE, "load:: frames::every_case_holds_at_tc"),
    (BOOKWORM, "load:: frames::"),
    (TRIXIE, "load:: frames::"),
];

/// Boots each kernel: what each is called, and why it failed if it did. One that the mirror does not have and that may
/// be missing is only spoken of.
pub fn verify() -> Vec<(String, Result<()>)> {
    let (object, suite) = match parts() {
        Ok(parts) => parts,
        Err(why) => return vec![("other kernels".to_owned(), Err(why))],
    };
    let results = machine::for_each(&KERNELS, |(kernel, filters)| {
        let name = format!("kernel {}", kernel.name);
        let guest = guest(&object, &suite, filters);
        match guest.and_then(|guest| kernel.boot(&guest)) {
            Ok(Some(console)) => Some((name, verdict(&console))),
            Ok(None) => None,
            Err(why) => Some((name, Err(why))),
        }
    });
    results.into_iter().flatten().collect()
}

fn parts() -> Result<(PathBuf, PathBuf)> {
    machine::prepare()?;
    Ok((ebpf::build(Object::Heliograph)?, suite_binary("kernel")?))
}

fn guest(object: &Path, suite: &Path, filters: &str) -> Result<Guest> {
    Ok(Guest {
        name: "verifier",
        programs: vec![
            (machine::program("ip")?, "bin/ip".to_owned()),
            (suite.to_owned(), "suite".to_owned()),
        ],
        files: vec![(object.to_owned(), "heliograph.o".to_owned())],
        modules: &["veth"],
        script: format!(
            "HELIOGRAPH_EBPF_OBJECT=/heliograph.o RUST_BACKTRACE=0 /suite --nocapture --test-threads=1 {filters} && echo {PASSED}"
        ),
    })
}

fn verdict(console: &Console) -> Result<()> {
    if !console.is_over || !console.has(PASSED) {
        return Err(console.failure());
    }
    let release = console.release();
    let lines = &console.lines;
    let result = lines.iter().find(|line| line.contains("test result"));
    let result = result.map_or("", |line| line.trim());
    say(&format!("kernel {release}: {result}"));
    // A machine that is seconds old has no deadline that ended ten minutes ago; this one's own kernel shows those.
    let left_out: BTreeSet<_> = lines
        .iter()
        .filter_map(|line| Some(line.split_once(LEFT_OUT)?.1.trim()))
        .collect();
    for case in left_out {
        say(&format!("kernel {release}: left out, too young: {case}"));
    }
    Ok(())
}

/// One of the system's suites as a program.
pub(crate) fn suite_binary(suite: &str) -> Result<PathBuf> {
    say(&format!("building the {suite} suite"));
    let mut build = tools::cargo();
    build.args(["test", "--quiet", "--no-run", "--package", "system-tests"]);
    build.args(["--test", suite, "--message-format", "json"]);
    let messages = output(&mut build)?;
    let mut programs = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| Some(message.get("executable")?.as_str()?.to_owned()));
    let last = programs.next_back();
    last.map(PathBuf::from).context("cargo named no program")
}

const PASSED: &str = "heliograph-passed";
/// What the suite prints before the name of a case that this machine cannot have.
const LEFT_OUT: &str = "left out on a machine that was up for too short:";
