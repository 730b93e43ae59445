//! What an operator asked for, in two steps: the command line as typed ([`args`]), and [`Settings`], which cannot
//! hold nonsense.
//!
//! Flags and environment have MetalLB's names wherever MetalLB has one, so that its manifests start this speaker
//! unchanged (<https://metallb.io/configuration/troubleshooting/> and its reference of flags). Resolving is pure: what stands in files comes in
//! as text. Knows nothing of what the rest of the process does with a setting.

pub(crate) mod args;
mod dashes;
mod inert;
pub(crate) mod members;
pub(crate) mod shared;

#[cfg(test)]
mod tests;

use crate::api::Access;
use crate::dataplane::{AnswerRate, AttachMode, pin_dir};
use crate::edge::Exclude;
use crate::report::log::{Format, Level};
use crate::report::secure::Secure;
use crate::tls::Options;
use anyhow::{Context, Result, anyhow, ensure};
use args::{Places, RunArgs};
use members::MemberSettings;
use speaker_core::election::{Election, Placement};
use speaker_core::local::Rules;
use speaker_core::peering::BgpType;
use speaker_proto::{NodeName, Span};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

/// Everything that `speaker run` was told, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The name of this node.
    pub(crate) node: NodeName,
    /// Where objects come from.
    pub(crate) origin: Origin,
    /// Where all nodes of this machine keep theirs.
    pub(crate) places: Places,
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
    /// Where what BGP objects leave out comes from.
    pub(crate) bgp_type: BgpType,
    /// Links that never announce.
    pub(crate) excluded: Exclude,
    /// The port of TCP on which BGP peers may dial; `None`: they are dialled only.
    pub(crate) bgp_listen_port: Option<NonZeroU16>,
    /// Where configuration objects count.
    pub(crate) namespace: String,
    /// How long the kernel goes on answering after a stop.
    pub(crate) restart_grace: Span,
    /// How long the flows of a VIP that was given away may go on here.
    pub(crate) drain_window: Span,
    /// How it meets other speakers.
    pub(crate) members: MemberSettings,
    /// Whether `arp_announce` is set to 2 on announcing links.
    pub(crate) sets_arp_announce: bool,
    /// What was given and has no effect, to be logged.
    pub(crate) notes: Vec<String>,
}

/// Where objects come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// A directory of manifests.
    Directory(PathBuf),
    /// An API server.
    Cluster(Cluster),
}

/// What a speaker in a cluster was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cluster {
    /// How to reach the API server.
    pub(crate) access: Access,
    /// The pod of this process; `None`: it runs in none.
    pub(crate) pod: Option<String>,
    /// Where the last good objects are kept.
    pub(crate) state_dir: PathBuf,
    /// How metrics are served.
    pub(crate) secure: Secure,
}

/// Texts of files that settings come from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Files {
    /// The one that `--exclude-links` names.
    exclusions: Option<String>,
    /// The namespace of the pod, beside its service account's token.
    namespace: Option<String>,
}

impl Settings {
    /// Checks what was typed, with the texts of the files that count.
    fn resolve(args: RunArgs, files: &Files) -> Result<Self> {
        let port = args.port.unwrap_or(match args.manifests {
            Some(_) => 7472,
            None => 9120,
        });
        ensure!(
            port == 0 || port != args.health_probe_port,
            "--port and --health-probe-port are both {port}: give each its own, or 0 to one of them"
        );
        let namespace = namespace(&args, files)?;
        let excluded = exclude(&args.exclude_links, files.exclusions.as_deref())?;
        let run_dir = args.places.run_dir.join(args.node_name.as_str());
        let (origin, mut notes) = origin(&args, &run_dir)?;
        let (members, of_members) = MemberSettings::read(&args.members)?;
        notes.extend(of_members);
        notes.extend(args.inert.notes());
        Ok(Self {
            run_dir,
            pin_dir: pin_dir(&args.places.bpffs, &args.node_name),
            places: args.places,
            node: args.node_name,
            attach: args.attach,
            rate: AnswerRate {
                per_second: args.answer_rate,
                burst: args.answer_burst,
            },
            metrics: match &origin {
                Origin::Directory(_) => loopback(port),
                // In a cluster scrapers come from elsewhere.
                Origin::Cluster(_) => shared::everywhere(port),
            },
            health: loopback(args.health_probe_port),
            log_level: args.shared.log.log_level,
            log_format: args.shared.log.log_format,
            rules: Rules {
                election: args.election,
                placement: args.placement,
                class: args.shared.class(),
                ignores_exclude_label: args.ignore_exclude_lb,
            },
            bgp_type: args.bgp_type,
            bgp_listen_port: NonZeroU16::new(args.bgp_listen_port),
            excluded,
            namespace,
            restart_grace: Span::s(args.restart_grace),
            drain_window: Span::s(args.drain_window),
            members,
            sets_arp_announce: !args.no_arp_announce,
            origin,
            notes,
        })
    }

    /// Reads the files that the arguments name, then checks everything.
    pub(crate) fn read(args: RunArgs) -> Result<Self> {
        let files = Files {
            exclusions: exclusions(&args.exclude_links)?,
            namespace: shared::own_namespace(),
        };
        Self::resolve(args, &files)
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
            ("bgp-type", self.bgp_type.to_string()),
            ("election", self.rules.election.to_string()),
            ("placement", self.rules.placement.to_string()),
            ("health", address(self.health)),
            (
                "lb-class",
                self.rules
                    .class
                    .clone()
                    .unwrap_or_else(|| "none".to_owned()),
            ),
            ("members", self.members.summary()),
            ("metrics", address(self.metrics)),
            ("namespace", self.namespace.clone()),
            ("objects", self.origin.to_string()),
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

/// The links that never announce, by a file's name.
pub(crate) fn excluded(path: &Path) -> Result<Exclude> {
    exclude(path, exclusions(path)?.as_deref())
}

fn exclude(path: &Path, text: Option<&str>) -> Result<Exclude> {
    match text {
        Some(text) => {
            Exclude::from_yaml(text).with_context(|| format!("failed to read {}", path.display()))
        }
        None => Ok(Exclude::metallb_default()),
    }
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

/// The namespace of the configuration.
fn namespace(args: &RunArgs, files: &Files) -> Result<String> {
    let own = match args.manifests {
        Some(_) => None,
        None => files.namespace.as_deref().map(str::trim),
    };
    let namespace = shared::namespace(args.namespace.as_deref(), own);
    speaker_core::names::check_label_name(&namespace)
        .map_err(|why| anyhow!("--namespace: {why}"))?;
    Ok(namespace)
}

/// Where objects come from, and what was given and means nothing there.
fn origin(args: &RunArgs, run_dir: &Path) -> Result<(Origin, Vec<String>)> {
    let tls = Options::read(&args.tls)?;
    let Some(manifests) = &args.manifests else {
        let state_dir = args.state_dir.clone();
        let cluster = Cluster {
            access: args.access.clone(),
            pod: args.shared.pod(),
            state_dir: state_dir.unwrap_or_else(|| run_dir.join("state")),
            secure: Secure::new(tls, &args.shared.metrics_cert_dir, args.node_name.as_str()),
        };
        let notes = cluster.secure.options.notes.clone();
        return Ok((Origin::Cluster(cluster), notes));
    };
    let given = [
        ("--kubeconfig", args.access.kubeconfig.is_some()),
        ("--api-server", args.access.api_server.is_some()),
        ("--pod-name", !args.shared.pod_name.is_empty()),
        ("--state-dir", args.state_dir.is_some()),
    ];
    let plain = [
        ("--tls-min-version", !args.tls.tls_min_version.is_empty()),
        (
            "--tls-cipher-suites",
            !args.tls.tls_cipher_suites.is_empty(),
        ),
        (
            "--tls-curve-preferences",
            !args.tls.tls_curve_preferences.is_empty(),
        ),
        (
            "--metrics-cert-dir",
            !args.shared.metrics_cert_dir.is_empty(),
        ),
    ];
    let note = |flags: &[(&str, bool)], why: &str| -> Vec<String> {
        let inert = flags.iter().filter(|(_, is_given)| *is_given);
        inert
            .map(|(flag, _)| format!("{flag} has no effect: {why}"))
            .collect()
    };
    let mut notes = note(&given, "objects come from --manifests");
    notes.extend(note(
        &plain,
        "with --manifests metrics are plain HTTP on loopback",
    ));
    Ok((Origin::Directory(manifests.clone()), notes))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => write!(f, "manifests in {}", dir.display()),
            Self::Cluster(cluster) => {
                f.write_str("API server")?;
                if let Some(url) = &cluster.access.api_server {
                    write!(f, " at {url}")?;
                }
                if let Some(file) = &cluster.access.kubeconfig {
                    write!(f, " by {}", file.display())?;
                }
                Ok(())
            }
        }
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

fn placement(text: &str) -> Result<Placement, String> {
    text.parse()
        .map_err(|error: speaker_core::election::UnknownPlacement| error.to_string())
}

/// Where the run directories of all nodes are.
pub(crate) const RUN_DIR: &str = "/run/heliograph";
/// The socket's name within a node's run directory.
pub(crate) const CTL_SOCKET: &str = "ctl.sock";
/// Where MetalLB's ConfigMap `metallb-excludel2` is mounted.
pub(crate) const EXCLUSIONS: &str = "/etc/metallb/excludel2.yaml";
