//! `speaker ctl doctor`: looks at this node and at its speaker, and says what is wrong.
//!
//! Gathers facts and prints what [`speaker_core::doctor`] makes of them; it judges nothing itself. It only reads. What belongs to a
//! network namespace is that of the calling thread.

mod gather;
mod links;
mod migrate;
pub(crate) mod rights;
mod sockets;
#[cfg(test)]
mod tests;

use crate::api::Access;
use crate::ctl::{CtlArgs, Form};
use crate::settings::EXCLUSIONS;
use crate::settings::members::MemberArgs;
use crate::settings::shared::{namespace, own_namespace};
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use speaker_core::doctor::{Facts, Findings, examine};
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) use gather::gather;

/// Flags of `speaker ctl doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) look: LookArgs,

    /// Look at a cluster in place of this node: what stands in the way of taking MetalLB's place there
    #[arg(long)]
    pub(crate) migrate: bool,

    /// Where speakers are, and for --migrate MetalLB. Default: the pod's own, or metallb-system
    #[arg(long, value_name = "NAMESPACE", env = "METALLB_NAMESPACE")]
    pub(crate) namespace: Option<String>,

    #[command(flatten)]
    pub(crate) access: Access,
}

/// What `speaker run` was given or will be; a running speaker knows some of it better.
#[derive(Args, Debug)]
pub(crate) struct LookArgs {
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
/// When flags make no sense together, or there is no way to the API server that is to be asked.
pub(crate) fn run(args: &CtlArgs, wanted: &DoctorArgs) -> Result<ExitCode> {
    let typed = wanted.namespace.as_deref();
    let facts = match wanted.migrate {
        true => migrate::gather(
            &wanted.access,
            &namespace(typed, own_namespace().as_deref()),
        )?,
        false => {
            let mut facts = gather(args, &wanted.look)?;
            rights::gather(&wanted.access, typed, &mut facts);
            facts
        }
    };
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
