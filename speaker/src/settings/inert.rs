//! Flags and environment of MetalLB's speaker that mean nothing here, taken and noted instead of refused.
//!
//! From the reference of flags of MetalLB 0.15; a deployment that sets them must start unchanged.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use std::ffi::OsString;

/// The inert flags that were given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Inert(Vec<String>);

/// A flag without effect.
struct Flag {
    name: &'static str,
    env: Option<&'static str>,
    /// Whether it is a Go boolean, which takes its value after `=` only.
    is_switch: bool,
    why: &'static str,
}

impl Inert {
    /// What to log about them.
    pub(super) fn notes(self) -> Vec<String> {
        self.0
    }

    fn take(&mut self, matches: &ArgMatches) {
        for flag in &FLAGS {
            let how = match matches.value_source(flag.name) {
                Some(ValueSource::CommandLine) => format!("--{}", flag.name),
                Some(ValueSource::EnvVariable) => flag.env.unwrap_or(flag.name).to_owned(),
                Some(_) | None => continue,
            };
            self.0.push(format!("{how} has no effect: {}", flag.why));
        }
    }
}

impl Args for Inert {
    fn augment_args(command: Command) -> Command {
        FLAGS.iter().fold(command, |command, flag| {
            let arg = Arg::new(flag.name)
                .long(flag.name)
                .hide(true)
                .value_parser(clap::value_parser!(OsString))
                .num_args(if flag.is_switch { 0..=1 } else { 1..=1 })
                .require_equals(flag.is_switch);
            command.arg(match flag.env {
                Some(env) => arg.env(env),
                None => arg,
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Inert {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut inert = Self::default();
        inert.take(matches);
        Ok(inert)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.take(matches);
        Ok(())
    }
}

const fn value(name: &'static str, env: Option<&'static str>, why: &'static str) -> Flag {
    Flag {
        name,
        env,
        is_switch: false,
        why,
    }
}

const fn switch(name: &'static str, why: &'static str) -> Flag {
    Flag {
        name,
        env: None,
        is_switch: true,
        why,
    }
}

const SEEDS: &str = "speakers find each other by the Node objects";
const TIMING: &str = "how soon a dead node is noticed does not depend on it";
const NO_FRR: &str = "it speaks BGP itself, without FRR";

const FLAGS: [Flag; 9] = [
    value(
        "host",
        Some("METALLB_HOST"),
        "MetalLB does not use it either",
    ),
    value("pprof-bind-address", None, "there is no Go profiler"),
    value("ml-labels", Some("METALLB_ML_LABELS"), SEEDS),
    switch("ml-wan-config", TIMING),
    value(
        "bgp-debounce-timeout",
        Some("METALLB_BGP_DEBOUNCE_TIMEOUT"),
        "changes reach BGP peers at once",
    ),
    value("frr-config-file", Some("FRR_CONFIG_FILE"), NO_FRR),
    value(
        "frr-reloader-pid-file",
        Some("FRR_RELOADER_PID_FILE"),
        NO_FRR,
    ),
    value("frrk8s-namespace", Some("FRRK8S_NAMESPACE"), NO_FRR),
    switch("frrk8s-secret-passthrough", NO_FRR),
];
