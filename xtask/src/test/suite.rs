//! The suites and what each runs. How its words become numbers is up to [`super::follow`].

use super::Tally;
use super::follow::{Sink, follow};
use crate::{check, ebpf, fuzz, lab, other, tools, verifier, vlan};
use anyhow::Result;
use clap::ValueEnum;

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
    /// It talks to other BGP and BFD speakers, so they must be installed.
    needs_routers: bool,
    /// It runs another version beside this one.
    needs_other: bool,
    /// What it leaves of the processors, and whether it minds others.
    pub(super) pace: Pace,
}

/// How a suite gets on with others at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// It wants the machine for itself.
    Alone,
    /// It mostly waits, and what it runs goes before whatever is idle.
    Waits,
    /// It needs nothing but processor time, and judges nothing by the clock.
    Computes,
}

/// How a suite is run.
#[derive(Debug)]
enum Work {
    Check,
    /// `cargo test` with these arguments.
    Cargo(&'static [&'static str]),
    /// `cargo test` of the packet logic, watched, and the fuzz targets.
    Sanitizer,
    /// The kernel suite in emulated machines.
    Verifier,
    /// The speaker on VLAN devices in emulated machines.
    Vlan,
}

/// All of them, the quickest answers first.
pub(super) const SUITES: &[Suite] = &[
    Suite {
        name: "check",
        about: "format, lints, house rules, alerts, dependencies, commands in documents",
        work: Work::Check,
        needs_speaker: true,
        needs_routers: false,
        needs_other: false,
        pace: Pace::Alone,
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
        needs_routers: true,
        needs_other: false,
        pace: Pace::Alone,
    },
    Suite {
        name: "model",
        about: "manifests in, plan out; allocation; parsers against their corpora",
        work: Work::Cargo(&["-p", "model-tests"]),
        needs_speaker: false,
        needs_routers: false,
        needs_other: false,
        pace: Pace::Alone,
    },
    Suite {
        name: "sim",
        about: "histories of a simulated cluster under faults, and planted defects that it must notice",
        work: Work::Cargo(&["--profile", "sim", "-p", "sim"]),
        needs_speaker: false,
        needs_routers: false,
        needs_other: false,
        pace: Pace::Computes,
    },
    Suite {
        name: "api",
        about: "an API server's double against recordings, kubectl and our programs against it",
        work: Work::Cargo(&["-p", "api-tests"]),
        needs_speaker: true,
        needs_routers: false,
        needs_other: false,
        pace: Pace::Alone,
    },
    Suite {
        name: "ebpf-asan",
        about: "the packet logic, and what parses what others send, under a sanitizer; each fuzz target for some seconds",
        work: Work::Sanitizer,
        needs_speaker: false,
        needs_routers: false,
        needs_other: false,
        pace: Pace::Computes,
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
        needs_routers: false,
        needs_other: false,
        pace: Pace::Alone,
    },
    Suite {
        name: "verifier",
        about: "verifiers and test runs of Debian's older kernels, emulated",
        work: Work::Verifier,
        needs_speaker: false,
        needs_routers: false,
        needs_other: false,
        pace: Pace::Alone,
    },
    Suite {
        name: "vlan",
        about: "the speaker on VLAN devices, with TCX and without, emulated",
        work: Work::Vlan,
        needs_speaker: true,
        needs_routers: false,
        needs_other: false,
        pace: Pace::Alone,
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
            "--skip=interop::",
        ]),
        needs_speaker: true,
        needs_routers: false,
        needs_other: true,
        pace: Pace::Waits,
    },
    Suite {
        name: "interop",
        about: "BGP and BFD with routers of other makes in the lab",
        work: Work::Cargo(&[
            "-p",
            "system-tests",
            "--test",
            "lab",
            "--",
            "--test-threads=1",
            "interop::",
        ]),
        needs_speaker: true,
        // The lab takes its own apart and installs none.
        needs_routers: false,
        needs_other: false,
        pace: Pace::Waits,
    },
];

/// Other BGP and BFD speakers, of which tests start their own in namespaces; no service of theirs is needed.
const ROUTERS: &[&str] = &["bird2", "exabgp", "frr", "gobgpd"];

/// Builds what the suites share, so that a failure to build is told once and first.
pub(super) fn prepare(suites: &[&Suite]) -> Result<()> {
    if suites.iter().any(|suite| suite.needs_other) {
        other::ensure()?;
    }
    if suites.iter().any(|suite| suite.needs_speaker) {
        lab::command::build()?;
    }
    if suites.iter().any(|suite| suite.needs_routers) {
        tools::ensure_packages(ROUTERS, "talking to other BGP and BFD speakers")?;
    }
    Ok(())
}

impl Suite {
    /// Runs it; what it prints goes to `sink`.
    pub(super) fn run(&self, sink: Sink) -> Tally {
        let mut tally = Tally::default();
        match self.work {
            Work::Check => return check::run(check::Step::value_variants()),
            Work::Cargo(arguments) => {
                let mut cargo = tools::cargo();
                cargo
                    .args(["test", "--quiet", "--no-fail-fast", "--locked"])
                    .args(arguments);
                // It was built, or told that it cannot be, when the suites were prepared.
                if self.needs_other
                    && let Ok(Some(other)) = other::ensure()
                {
                    cargo.env(other::VARIABLE, other);
                }
                follow(&mut tally, self.name, &mut cargo, sink);
            }
            Work::Verifier => {
                for (kernel, result) in verifier::verify() {
                    tally.count(&kernel, result);
                }
            }
            Work::Vlan => {
                for (check, result) in vlan::test() {
                    tally.count(&check, result);
                }
            }
            Work::Sanitizer => {
                let mut tests = ebpf::sanitized_tests();
                follow(&mut tally, self.name, &mut tests, sink);
                for (target, result) in fuzz::fuzz() {
                    tally.count(&target, result);
                }
            }
        }
        tally
    }
}
