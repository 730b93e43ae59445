//! `speaker ctl`: asking a running speaker what it does and why.
//!
//! [`Server`] answers on a Unix socket in the node's run directory, [`client`] asks. One line of JSON goes in, one comes
//! out; `watch` goes on. Answers are made from a [`Snapshot`] of what the deciding thread knows and a [`Sight`] of
//! what the kernel holds, so that the two can be compared. Asking changes nothing; what can be told is to drain, to pause a BGP session, and which sockets serve VIPs.

mod client;
mod event;
mod order;
mod peers;
mod server;
mod show;
mod snapshot;
mod socket;
mod table;
mod version;
mod wire;

#[cfg(test)]
mod tests;

use self::socket::SocketOrder;
use crate::doctor::{self, DoctorArgs};
use crate::support::{self, SupportArgs};
use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use speaker_proto::NodeName;
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) use client::{answer, facts, socket};
pub(crate) use event::{Event, Kind, draining, name_taken};
pub(crate) use order::{PeerOrder, PeerOrders};
pub(crate) use peers::{
    BfdSessionSight, BfdSideSight, BfdSight, BgpPeerSight, BgpSight, NegotiatedSight, Said,
};
pub(crate) use server::{DrainOrders, Orders, Server, States};
pub(crate) use show::drain::{Progress, announced};
pub(crate) use snapshot::{ApiState, MemberSight, MembersSight, Snapshot};
pub(crate) use socket::{SocketOrders, SocketSight, SocketWish};

/// Flags of `speaker ctl`.
#[derive(Args, Debug)]
pub(crate) struct CtlArgs {
    /// Which node's speaker to ask; may be left out where only one runs
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) node: Option<NodeName>,

    /// Directory of control sockets
    #[arg(long, value_name = "DIR", default_value = crate::settings::RUN_DIR, global = true)]
    pub(crate) run_dir: PathBuf,

    /// Socket to ask, whatever its place
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "node")]
    pub(crate) socket: Option<PathBuf>,

    /// Form of the answer
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "FORM",
        global = true
    )]
    pub(crate) output: Form,

    /// What to do.
    #[command(subcommand)]
    pub(crate) errand: Errand,
}

/// What `speaker ctl` is wanted for.
#[derive(Subcommand, Debug)]
pub(crate) enum Errand {
    #[command(flatten)]
    Ask(Question),
    /// The version of this program, and of the speaker that runs here, if one does
    Version,
    /// What is wrong with this node, why that matters and what would mend it; with or without a running speaker. Ends with 1
    /// for warnings, 2 for errors
    Doctor(Box<DoctorArgs>),
    /// Put what somebody needs who is asked for help into one archive, without secrets; with or without a running speaker
    Support(Box<SupportArgs>),
}

/// Does it; how the process is to end.
///
/// # Errors
/// When no speaker can be asked, or it says why it does not answer.
pub(crate) fn run(args: &CtlArgs) -> Result<ExitCode> {
    match &args.errand {
        Errand::Ask(question) => client::run(args, question).map(|()| ExitCode::SUCCESS),
        Errand::Version => version::run(args).map(|()| ExitCode::SUCCESS),
        Errand::Doctor(wanted) => doctor::run(args, wanted),
        Errand::Support(wanted) => support::run(args, wanted),
    }
}

/// How an answer is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Form {
    /// Tables for people.
    #[default]
    Table,
    /// One JSON object on one line (`watch`: one per event).
    Json,
    /// YAML (`watch`: one document per event).
    Yaml,
}

/// What can be asked.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Question {
    /// How the speaker is: what it announces, its settings, and everything that is wrong
    Status,
    /// What should be true of this node
    Plan,
    /// Why a service is announced here or not, and what would change that
    Why {
        /// The service, as namespace/name
        #[arg(value_name = "NAMESPACE/NAME")]
        service: String,
    },
    /// Every VIP in the kernel's table, and who uses it
    Vips,
    /// Links that may announce, and where the program is
    Links,
    /// The other speakers, and whether they are heard
    Members,
    /// BGP peers: whether there is a session, and why not
    #[command(args_conflicts_with_subcommands = true)]
    Bgp {
        /// All there is to say of this one
        #[arg(value_name = "PEER")]
        peer: Option<String>,
        /// What is to become of its session.
        #[command(subcommand)]
        order: Option<PeerOrder>,
    },
    /// BFD sessions with BGP peers: whether they are up, and why not
    Bfd {
        /// All there is to say of this one, by its name or address
        #[arg(value_name = "PEER")]
        peer: Option<String>,
    },
    /// The routes that BGP peers are told
    Routes {
        /// Those of this one
        #[arg(value_name = "PEER")]
        peer: Option<String>,
    },
    /// VIPs whose packets are spread over nodes, and what each node got
    Steer {
        /// This one
        #[arg(value_name = "VIP")]
        vip: Option<String>,
    },
    /// Flows that are remembered because the table alone does not say whose they are; a sample of them
    Flows(FlowsWanted),
    /// Sockets of a proxy on this node that serve VIPs
    Socket {
        /// What is to become of them.
        #[command(subcommand)]
        order: SocketOrder,
    },
    /// The pinned maps
    Maps,
    /// What became of every frame, by VIP
    Counters,
    /// What `doctor` wants to know of the speaker
    #[command(skip)]
    Facts,
    /// The page of metrics, for `support`
    #[command(skip)]
    Metrics,
    /// The objects in force, without secrets, for `support`
    #[command(skip)]
    Objects,
    /// Changes as they happen
    Watch,
    /// Give everything to other nodes and take nothing, until told otherwise or started anew
    Drain {
        /// Take part again
        #[arg(long, conflicts_with = "wait")]
        undo: bool,
        /// Wait until nothing is held and the connections have had their time (--drain-window), and tell how far that is
        #[arg(long)]
        wait: bool,
    },
}

/// Which flows are wanted.
#[derive(Args, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct FlowsWanted {
    /// Only those to this VIP
    #[arg(value_name = "VIP")]
    pub(crate) vip: Option<String>,

    /// Only those that this node has
    #[arg(long, value_name = "NAME")]
    pub(crate) to: Option<String>,

    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: u32,
}
