//! `cargo xtask lab`: the lab on the sample manifests, shown to a person or lent to a command.

use super::cluster::Binaries;
use super::rack::{self, Rack};
use super::{Lab, Options, chaos, down, net, show};
use crate::ebpf::{self, Object};
use crate::{kubectl, tools};
use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

/// A small cluster's network in namespaces of this machine, with a speaker on each of three nodes.
///
/// Makes a client, a switch and three nodes with pods behind them, puts a service proxy of nftables rules on the nodes,
/// starts a speaker on each from `deploy/samples`, shows who answers for which VIP, and stays up until Ctrl-C.
#[derive(Args, Debug)]
pub struct Request {
    #[command(subcommand)]
    action: Option<Action>,
    /// Run this in the client's namespace once the VIPs are served, take the lab down and end with its status.
    ///
    /// HELIOGRAPH_VIPS holds the addresses of the HTTP services with their ports (`192.0.2.100:80 [2001:db8::100]:80`),
    /// HELIOGRAPH_UDP and HELIOGRAPH_TCP those of the others.
    #[arg(long, value_name = "CMD", global = true)]
    exec: Option<String>,
    /// Use these manifests instead; nodes and pods must be those of the samples.
    #[arg(long, value_name = "DIR", global = true)]
    manifests: Option<PathBuf>,
    /// Make it a cluster: an API server's double and the controller at the switch, speakers that follow them, and a kubectl
    /// that works against it (target/lab/hg/kubectl).
    #[arg(long, global = true)]
    api: bool,
    /// As with --api, installed by the operator: from a MetalLB resource to pods, which the lab makes processes, and to answers. Whatever
    /// is done to the resource meanwhile has its effect; deleting it takes controller and speakers away.
    #[arg(long, global = true)]
    operator: bool,
    /// Add a router (FRR) that speaks BGP with every node, and a client behind it that reaches the VIPs of `deploy/samples-bgp` by its
    /// routes; --exec runs there.
    #[arg(long, global = true)]
    bgp: bool,
    /// Restart, drain and kill the speaker that answers and cut its node off, while clients ask without end; tell how long nobody answered, and end. With
    /// --bgp drain a node, kill a speaker and let a node die while traffic runs, and count what is lost. It fails when something happens
    /// that must not.
    #[arg(long, global = true, conflicts_with = "exec")]
    tour: bool,
    /// Show the commands that make the lab.
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Bring the lab up and keep it up until Ctrl-C (the default).
    Up,
    /// Take down the lab that is up, or what a crashed one has left.
    Down,
    Chaos(chaos::Request),
}

impl Request {
    /// Does it.
    ///
    /// # Errors
    /// When something is missing, does not come up, or does not go away.
    pub fn run(self) -> Result<ExitCode> {
        let mut options = Options::sample();
        options.backend = std::env::current_exe().context("failed to find the own binary")?;
        if let Some(manifests) = &self.manifests {
            options.manifests.clone_from(manifests);
        }
        net::show_commands(self.verbose);
        match &self.action {
            Some(Action::Down) => return take_down(&options),
            Some(Action::Chaos(chaos)) => return chaos.run(options),
            Some(Action::Up) | None if self.tour && !self.bgp => {
                let is_cluster = self.api || self.operator;
                ensure!(
                    !is_cluster,
                    "--tour goes without a cluster: leave --api and --operator out, or add --bgp"
                );
                return chaos::Request::tour().run(options);
            }
            Some(Action::Up) | None => build()?,
        }
        if self.bgp {
            options.has_router = true;
            if self.manifests.is_none() {
                options.manifests = tools::root().join("deploy/samples-bgp");
            }
        }
        options.is_operated = self.operator;
        if self.api || self.operator {
            options.cluster = Some(build_cluster()?);
        }
        self.show(options)
    }

    fn show(self, options: Options) -> Result<ExitCode> {
        let mut signals =
            Signals::new([SIGHUP, SIGINT, SIGTERM]).context("failed to catch signals")?;
        tools::say("making a client, a switch, three nodes, their pods; starting the speakers");
        let mut lab = Lab::without_speakers(options)?;
        let rack = self.bgp.then(|| Rack::start(&mut lab)).transpose()?;
        lab.start_speakers()?;
        let vips = show::wait_until_served(&mut lab, || signals.pending().next().is_some())?;
        let Some(vips) = vips else {
            lab.down()?;
            return Ok(ExitCode::from(INTERRUPTED));
        };
        if let Some(rack) = &rack {
            rack.settle(&lab)?;
        }
        if let Some(command) = self.exec {
            let status = exec(&lab, &command, &vips, &mut signals);
            lab.down()?;
            return status.map(code);
        }
        match &rack {
            Some(rack) => show::routed::everything(&lab, rack)?,
            None => show::everything(&lab)?,
        }
        let code = match &rack {
            Some(rack) if self.tour => {
                let interrupted = || signals.pending().next().is_some();
                let is_well = rack::tour(&mut lab, rack, interrupted)?;
                is_well.map_or(INTERRUPTED, |is_well| u8::from(!is_well))
            }
            Some(_) | None => {
                // A cluster's own parts go on with their work.
                while signals.pending().next().is_none() {
                    lab.attend()?;
                    std::thread::sleep(TURN);
                }
                0
            }
        };
        tools::say("taking the lab down");
        lab.down()?;
        tools::say("the lab is gone");
        Ok(ExitCode::from(code))
    }
}

fn take_down(options: &Options) -> Result<ExitCode> {
    let mut was_up = false;
    for options in chaos::labs(options, chaos::LABS_MAX) {
        was_up |= down(&options)?;
    }
    tools::say(if was_up {
        "the lab is gone"
    } else {
        "there is no lab"
    });
    Ok(ExitCode::SUCCESS)
}

/// Runs the command in the asking client's namespace to its end.
fn exec(lab: &Lab, command: &str, vips: &show::Vips, signals: &mut Signals) -> Result<ExitStatus> {
    let mut child = lab
        .topology()
        .asker()
        .command("sh")
        .args(["-c", command])
        .env("HELIOGRAPH_VIPS", &vips.http)
        .env("HELIOGRAPH_TCP", &vips.tcp)
        .env("HELIOGRAPH_UDP", &vips.udp)
        .spawn()
        .context("failed to run the command")?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if signals.pending().next().is_some() {
            return end(&mut child);
        }
        std::thread::sleep(POLL);
    }
}

/// After Ctrl-C the terminal has told the command too; `lab down` tells only us.
fn end(child: &mut Child) -> Result<ExitStatus> {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let until = Instant::now() + KIND;
    while Instant::now() < until {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(POLL);
    }
    child.kill()?;
    Ok(child.wait()?)
}

/// As a shell would give it on.
fn code(status: ExitStatus) -> ExitCode {
    let number = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(number.and_then(|n| u8::try_from(n).ok()).unwrap_or(1))
}

/// Installs what the lab needs, and builds what it runs.
///
/// # Errors
/// When something is missing and cannot be had, with the command that would get it.
pub fn build() -> Result<()> {
    tools::ensure_packages(PACKAGES, "the lab")?;
    ebpf::build(Object::Heliograph)?;
    tools::say("building the speaker");
    tools::run(tools::cargo().args(["build", "--quiet", "--package", "speaker"]))
}

/// Installs and builds what a lab that is a cluster runs besides.
///
/// # Errors
/// When kubectl cannot be had or the double not be built.
pub fn build_cluster() -> Result<Binaries> {
    let kubectl = kubectl::ensure()?;
    tools::say("building the API server's double");
    tools::run(tools::cargo().args(["build", "--quiet", "--package", "api-tests", "--bins"]))?;
    Ok(Binaries {
        double: tools::target().join("debug/api-double"),
        kubectl,
    })
}

/// Namespaces and links, the service proxy, a client's tools, and what a person wants to look with.
const PACKAGES: &[&str] = &[
    "bpftool",
    "curl",
    "ethtool",
    "iproute2",
    "iputils-arping",
    "iputils-ping",
    "mount",
    "ndisc6",
    "nftables",
    "tcpdump",
    "util-linux",
];
const TURN: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(20);
const KIND: Duration = Duration::from_secs(3);
const INTERRUPTED: u8 = 130;
