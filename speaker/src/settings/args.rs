//! The command line as typed: one definition gives parsing, `--help` and the environment.
//!
//! Checks one argument at a time; what depends on two of them is [`super::Settings`]'.

use super::inert::Inert;
use super::members::MemberArgs;
use super::shared::Shared;
use super::{EXCLUSIONS, RUN_DIR, election, placement};
use crate::api::Access;
use crate::cleanup::CleanupArgs;
use crate::completion::CompletionArgs;
use crate::controller::ControllerArgs;
use crate::ctl::CtlArgs;
use crate::dataplane::{AnswerRate, AttachMode};
use crate::operator::OperatorArgs;
use crate::tls::TlsArgs;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use speaker_core::election::{Election, Placement};
use speaker_core::peering::BgpType;
use speaker_proto::NodeName;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Heliograph: external addresses for Kubernetes LoadBalancer services, answered in the kernel.
#[derive(Parser, Debug)]
#[command(
    name = "speaker",
    version = env!("HELIOGRAPH_VERSION"),
    max_term_width = 100,
    disable_help_subcommand = true,
    args_override_self = true,
    after_help = "MetalLB's flags and environment are understood, with one dash or two."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the binary can be asked to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Announce services from this node: those of the cluster, or of a directory of manifests
    Run(Box<RunArgs>),
    /// Give the load balancers of a Kubernetes cluster their addresses
    Controller(Box<ControllerArgs>),
    /// Install controller and speakers in a Kubernetes cluster as its MetalLB resource asks for
    Operator(Box<OperatorArgs>),
    /// Ask a running speaker what it does and why
    Ctl(CtlArgs),
    /// Take back what speakers that are gone left in the kernel
    Cleanup(CleanupArgs),
    /// Print the script by which a shell completes this command line
    Completion(CompletionArgs),
}

/// Flags of `speaker run`.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Directory of Kubernetes manifests (*.yaml, *.yml, *.json) in place of an API server; every change takes effect
    /// at once
    #[arg(long, value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) access: Access,

    /// Where the last good objects of the API server are kept for a start while it cannot be reached, closed to all but
    /// root. Default: state in this node's run directory
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,

    /// Name of this node, as its Node object has it
    #[arg(long, value_name = "NAME", env = "METALLB_NODE_NAME")]
    pub(crate) node_name: NodeName,

    #[command(flatten)]
    pub(crate) places: Places,

    /// Where the program hooks in: auto, tc, tcx, clsact, xdp-native or xdp-generic. XDP falls back to TC, TC from
    /// TCX (kernel 6.6) to clsact; `speaker ctl links` says what was tried and why
    #[arg(long, value_name = "HOOK", default_value_t = AttachMode::default())]
    pub(crate) attach: AttachMode,

    /// Port of /metrics; 0 turns it off. Default: 9120 by HTTPS; with --manifests 7472 by HTTP, on 127.0.0.1 only
    #[arg(long)]
    pub(crate) port: Option<u16>,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    /// Port of /healthz and /readyz on 127.0.0.1; 0 turns it off
    #[arg(long, value_name = "PORT", default_value_t = 17472)]
    pub(crate) health_probe_port: u16,

    /// Order of candidates: sha256 as in MetalLB, or xxh3, cheaper with thousands of nodes. The same on every node
    #[arg(long, value_name = "ORDER", default_value_t, value_parser = election)]
    pub(crate) election: Election,

    /// Which candidate a VIP is on: first in the order as in MetalLB, sticky (its holder while that is one), or even (as
    /// sticky, but no node above its share). The same on every node
    #[arg(long, value_name = "WHERE", default_value_t, value_parser = placement)]
    pub(crate) placement: Placement,

    /// Which speaker of MetalLB's fills in what a BGPPeer or BGPAdvertisement leaves out: native (hold time 90 s, LOCAL_PREF
    /// 0), frr or frr-k8s (180 s, 100)
    #[arg(long, value_name = "TYPE", env = "METALLB_BGP_TYPE", default_value_t)]
    pub(crate) bgp_type: BgpType,

    /// TCP port on which BGP peers may dial this node as well; 0: they are dialled only. A port below 1024 needs the
    /// capability CAP_NET_BIND_SERVICE
    #[arg(
        long,
        value_name = "PORT",
        env = "HELIOGRAPH_BGP_LISTEN_PORT",
        default_value_t = 0
    )]
    pub(crate) bgp_listen_port: u16,

    /// Links that never announce, in the form of MetalLB's excludel2.yaml. If the usual file is missing, MetalLB's
    /// default list counts
    #[arg(long, value_name = "FILE", default_value = EXCLUSIONS)]
    pub(crate) exclude_links: PathBuf,

    /// Let nodes announce that carry the label node.kubernetes.io/exclude-from-external-load-balancers
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
          value_parser = BoolishValueParser::new(), action = ArgAction::Set, value_name = "BOOL")]
    pub(crate) ignore_exclude_lb: bool,

    /// Namespace in which pools and advertisements count. Default: the pod's own, or metallb-system
    #[arg(long, value_name = "NAMESPACE", env = "METALLB_NAMESPACE")]
    pub(crate) namespace: Option<String>,

    /// ARP and NDP answers per second for a VIP on a link and CPU; 0 lifts the limit
    #[arg(long, value_name = "N", default_value_t = AnswerRate::default().per_second)]
    pub(crate) answer_rate: u32,

    /// Answers at once for a VIP that was not asked for in a while
    #[arg(long, value_name = "N", default_value_t = AnswerRate::default().burst)]
    pub(crate) answer_burst: u32,

    /// How long the kernel goes on answering after SIGTERM, for the next process to take over (0 to 60 s)
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=60))]
    pub(crate) restart_grace: u64,

    /// Seconds for which flows of a VIP that was given away may go on here
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) drain_window: u64,

    /// Leave arp_announce of announcing links as it is (else it is set to 2, so that an IPVS node never asks with a
    /// VIP as its own address)
    #[arg(long)]
    pub(crate) no_arp_announce: bool,

    #[command(flatten)]
    pub(crate) members: MemberArgs,

    #[command(flatten)]
    pub(crate) shared: Shared,

    #[command(flatten)]
    pub(crate) inert: Inert,
}

/// Where a speaker keeps what others find it by.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Places {
    /// Directory of control sockets, one folder per node in it
    #[arg(long, value_name = "DIR", default_value = RUN_DIR)]
    pub(crate) run_dir: PathBuf,

    /// The bpf file system in which maps and links are pinned
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf")]
    pub(crate) bpffs: PathBuf,
}

/// The long name of every flag of every subcommand.
pub(super) fn long_names() -> BTreeSet<String> {
    let cli = Cli::command();
    let flags = cli.get_subcommands().flat_map(clap::Command::get_arguments);
    let names = flags.filter_map(|arg| arg.get_long()).map(str::to_owned);
    names.chain(["help".to_owned()]).collect()
}
