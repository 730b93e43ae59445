//! What an operator asked for, in two steps: the command line as typed ([`args`]), and [`Settings`], which cannot
//! hold nonsense.
//!
//! Flags and environment have MetalLB's names wherever MetalLB has one, so that its manifests start this speaker
//! unchanged (<https://metallb.io/configuration/troubleshooting/> and its reference of flags). Resolving is pure: what stands in files comes in
//! as text. Knows nothing of what the rest of the process does with a setting.

pub(crate) mod args;
mod dashes;
mod inert;

#[cfg(test)]
mod tests;

use crate::dataplane::{AnswerRate, AttachMode, pin_dir};
use crate::edge::Exclude;
use crate::report::log::{Format, Level};
use anyhow::{Context, Result, ensure};
use args::RunArgs;
use speaker_core::election::Election;
use speaker_core::local::Rules;
use speaker_proto::{NodeName, Span};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Everything that `speaker run` was told, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The name of this node.
    pub(crate) node: NodeName,
    /// The directory of manifests.
    pub(crate) manifests: PathBuf,
    /// Sockets of this node: `<run-dir>/<node>`.
    pub(crate) run_dir: PathBuf,
    /// Pins of this node: `<bpffs>/heliograph/<node>`.
    pub(crate) pin_dir: PathBuf,
    /// Which hook the program goes to.
    pub(crate) attach: AttachMode,
    /// Answers per VIP, link and CPU.
    pub(crate) rate: AnswerRate,
    /// Where metrics are served; `None`: nowhere.
    pub(crate) metrics: Option<SocketAddr>,
    /// Where health is served; `None`: nowhere.
    pub(crate) health: Option<SocketAddr>,
    /// The least severe log line that is written.
    pub(crate) log_level: Level,
    /// How log lines look.
    pub(crate) log_format: Format,
    /// What decisions depend on.
    pub(crate) rules: Rules,
    /// Links that never announce.
    pub(crate) excluded: Exclude,
    /// Where configuration objects count.
    pub(crate) namespace: String,
    /// How long the kernel goes on answering after a stop.
    pub(crate) restart_grace: Span,
    /// Whether `arp_announce` is set to 2 on announcing links.
    pub(crate) sets_arp_announce: bool,
    /// What was given and has no effect, to be logged.
    pub(crate) notes: Vec<String>,
}

impl Settings {
    /// Checks what was typed. `exclusions` is the text of the file that `--exclude-links` names.
    fn resolve(args: RunArgs, exclusions: Option<&str>) -> Result<Self> {
        ensure!(
            args.port == 0 || args.port != args.health_probe_port,
            "--port and --health-probe-port are both {}: give each its own, or 0 to one of them",
            args.port
        );
        ensure!(
            !args.namespace.is_empty(),
            "--namespace is empty: name the namespace of the configuration"
        );
        let excluded = match exclusions {
            Some(text) => Exclude::from_yaml(text)
                .with_context(|| format!("failed to read {}", args.exclude_links.display()))?,
            None => Exclude::metallb_default(),
        };
        Ok(Self {
            run_dir: args.places.run_dir.join(args.node_name.as_str()),
            pin_dir: pin_dir(&args.places.bpffs, &args.node_name),
            node: args.node_name,
            manifests: args.manifests,
            attach: args.attach,
            rate: AnswerRate {
                per_second: args.answer_rate,
                burst: args.answer_burst,
            },
            metrics: loopback(args.port),
            health: loopback(args.health_probe_port),
            log_level: args.log_level,
            log_format: args.log_format,
            rules: Rules {
                election: args.election,
                class: Some(args.lb_class).filter(|class| !class.is_empty()),
                ignores_exclude_label: args.ignore_exclude_lb,
            },
            excluded,
            namespace: args.namespace,
            restart_grace: Span::s(args.restart_grace),
            sets_arp_announce: !args.no_arp_announce,
            notes: args.inert.notes(),
        })
    }

    /// Reads the files that the arguments name, then checks everything.
    pub(crate) fn read(args: RunArgs) -> Result<Self> {
        let text = exclusions(&args.exclude_links)?;
        Self::resolve(args, text.as_deref())
    }

    /// What matters of them to someone who looks at a running speaker.
    pub(crate) fn summary(&self) -> BTreeMap<&'static str, String> {
        let address = |address: Option<SocketAddr>| {
            address.map_or_else(|| "off".to_owned(), |address| address.to_string())
        };
        let rate = match self.rate.per_second {
            0 => "no limit".to_owned(),
            rate => format!("{rate}/s, burst {}", self.rate.burst),
        };
        BTreeMap::from([
            ("answer-rate", rate),
            ("attach", self.attach.to_string()),
            ("election", self.rules.election.to_string()),
            ("health", address(self.health)),
            (
                "lb-class",
                self.rules
                    .class
                    .clone()
                    .unwrap_or_else(|| "none".to_owned()),
            ),
            ("manifests", self.manifests.display().to_string()),
            ("metrics", address(self.metrics)),
            ("namespace", self.namespace.clone()),
            ("pins", self.pin_dir.display().to_string()),
            ("restart-grace", format!("{:?}", self.restart_grace)),
        ])
    }

    /// The socket on which `speaker ctl` finds this speaker.
    pub(crate) fn ctl_socket(&self) -> PathBuf {
        self.run_dir.join(CTL_SOCKET)
    }
}

/// The command line with MetalLB's single dashes turned into double ones.
pub(crate) fn command_line(typed: impl Iterator<Item = OsString>) -> Vec<OsString> {
    dashes::doubled(typed, &args::long_names())
}

/// The text of the exclusion file; the usual one may be missing, another one may not.
fn exclusions(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound && path == Path::new(EXCLUSIONS) => {
            Ok(None)
        }
        Err(error) => Err(error)
            .with_context(|| format!("failed to read {} (--exclude-links)", path.display())),
    }
}

/// In directory mode nothing listens beyond this machine.
fn loopback(port: u16) -> Option<SocketAddr> {
    (port != 0).then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn election(text: &str) -> Result<Election, String> {
    text.parse()
        .map_err(|error: speaker_core::election::UnknownElection| error.to_string())
}

/// Where the run directories of all nodes are.
pub(crate) const RUN_DIR: &str = "/run/heliograph";
/// The socket's name within a node's run directory.
pub(crate) const CTL_SOCKET: &str = "ctl.sock";
/// Where MetalLB's ConfigMap `metallb-excludel2` is mounted.
const EXCLUSIONS: &str = "/etc/metallb/excludel2.yaml";
