//! `speaker ctl doctor`: looks at this node and at its speaker, and says what is wrong.
//!
//! Gathers facts and prints what [`speaker_core::doctor`] makes of them; it judges nothing itself. It only reads. What belongs to a
//! network namespace is that of the calling thread.

mod gather;
mod links;
mod sockets;
#[cfg(test)]
mod tests;

use crate::ctl::{CtlArgs, Form};
use crate::settings::EXCLUSIONS;
use crate::settings::members::MemberArgs;
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use speaker_core::doctor::{Facts, Findings, examine};
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) use gather::gather;

/// What `speaker run` was given or will be; a running speaker knows some of it better.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// The bpf file system in which maps and links are pinned
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf")]
    pub(crate) bpffs: PathBuf,

    /// Links that never announce, as for `speaker run`
    #[arg(long, value_name = "FILE", default_value = EXCLUSIONS)]
    pub(crate) exclude_links: PathBuf,

    /// Port of /metrics
    #[arg(long, default_value_t = 9120)]
    pub(crate) port: u16,

    /// Port of /healthz and /readyz
    #[arg(long, value_name = "PORT", default_value_t = 17472)]
    pub(crate) health_probe_port: u16,

    #[command(flatten)]
    pub(crate) members: MemberArgs,
}

/// The answer for programs.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    found: &'a Findings,
    /// What it was made from.
    facts: &'a Facts,
}

/// Looks, prints, and says how the process is to end: 0, 1 for warnings, 2 for errors.
///
/// # Errors
/// When flags make no sense together.
pub(crate) fn run(args: &CtlArgs, wanted: &DoctorArgs) -> Result<ExitCode> {
    let facts = gather(args, wanted)?;
    let found = examine(&facts);
    print!("{}", text(&facts, &found, args.output)?);
    Ok(ExitCode::from(found.exit_code()))
}

/// The answer in a form.
pub(crate) fn text(facts: &Facts, found: &Findings, form: Form) -> Result<String> {
    let report = Report { found, facts };
    Ok(match form {
        Form::Table => found.to_string(),
        Form::Json => format!("{}\n", serde_json::to_string(&report)?),
        Form::Yaml => serde_norway::to_string(&report)?,
    })
}
