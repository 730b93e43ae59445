//! What traffic loses while a sender of routes is restarted or drained: a thousand datagrams a second through a router that learns by BGP
//! which node has the address.
//!
//! The router is FRR with the kernel's table under it, in the middle of as many nodes as a case has; on each runs an echo at the
//! address, and a sender of the make that is measured, which announces it.

use super::place::{Family, Place, Site, StopOnDrop, netns, progress, route};
use super::sender::{Job, Make, Sender};
use crate::net::Namespace;
use crate::process::Process;
use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::{Duration, Instant};
use xtask::lab::net;
use xtask::tools::within;

/// What is done to a sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Case {
    /// It is stopped and started again, alone, and both sides have graceful restart.
    GracefulRestart,
    /// It is stopped and started again, while another node announces the address too.
    Restart,
    /// It is asked to give way, while another node announces the address too.
    Drain,
}

impl Case {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::GracefulRestart => "restart, router with graceful restart",
            Self::Restart => "restart, another node announces too",
            Self::Drain => "drain, another node announces too",
        }
    }
}

/// What it came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) sent: usize,
    pub(super) lost: usize,
}

/// Measures one make in one case.
pub(super) fn measure(site: &Site<'_>, make: Make, case: Case) -> Result<Measured> {
    progress(&format!("{}: {}", make.name(), case.name()));
    let count = if case == Case::GracefulRestart { 1 } else { 2 };
    let net = Net::create(count)?;
    let router = Router::start(site, &net)?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for node in &net.nodes {
            node.echo(scope, &stop)?;
        }
        let mut senders = Vec::new();
        for node in &net.nodes {
            let job = Job {
                place: node.place.clone(),
                family: Family::V4,
                routes: 1,
                peers: vec![node.router.into()],
                has_bfd: false,
                has_graceful_restart: case == Case::GracefulRestart,
            };
            senders.push(Sender::start(site, make, job)?);
        }
        router.await_ways(count)?;
        let traffic = Traffic::open(&net.router)?;
        let sender = senders.first_mut().context("there is a node")?;
        let (sent, lost) = traffic.during(|| act(sender, case, &router))?;
        Ok(Measured { sent, lost })
    })
}

/// Does it, and waits until all is as before, or as it should be for good.
fn act(sender: &mut Sender<'_>, case: Case, router: &Router<'_>) -> Result<()> {
    std::thread::sleep(LEAD);
    match case {
        Case::GracefulRestart => {
            sender.restart()?;
            std::thread::sleep(AFTER);
            router.await_ways(1)?;
        }
        Case::Restart => {
            sender.restart()?;
            router.await_ways(2)?;
        }
        Case::Drain => {
            sender.drain()?;
            router.await_ways(1)?;
        }
    }
    std::thread::sleep(AFTER);
    sender.check()
}

/// A router's namespace and nodes', each on a link of its own.
struct Net {
    nodes: Vec<Node>,
    router: Namespace,
}

struct Node {
    namespace: Namespace,
    place: Place,
    /// The router's address on its link.
    router: Ipv4Addr,
}

impl Net {
    fn create(count: usize) -> Result<Self> {
        let router = Namespace::create("r")?;
        router.ip(&["address", "add", &format!("{CLIENT}/32"), "dev", "lo"])?;
        // By flow, so that one case's flows take all ways.
        netns(&router).sysctl(&[("ipv4.fib_multipath_hash_policy", "1")])?;
        let nodes = (1..=count as u8).map(|number| Node::create(&router, number));
        Ok(Self {
            nodes: nodes.collect::<Result<_>>()?,
            router,
        })
    }
}

impl Node {
    fn create(router: &Namespace, number: u8) -> Result<Self> {
        let namespace = Namespace::create(&format!("n{number}"))?;
        let end = format!("r{number}");
        let (near, far) = (
            Ipv4Addr::new(10, 86, number, 1),
            Ipv4Addr::new(10, 86, number, 2),
        );
        router.ip(&[
            "link",
            "add",
            &end,
            "type",
            "veth",
            "peer",
            "name",
            "s0",
            "netns",
            namespace.name(),
        ])?;
        for (at, link, address) in [(router, end.as_str(), near), (&namespace, "s0", far)] {
            at.ip(&["address", "add", &format!("{address}/24"), "dev", link])?;
            at.ip(&["link", "set", link, "up"])?;
        }
        let vip = format!("{}/32", route(0, Family::V4));
        namespace.ip(&["address", "add", &vip, "dev", "lo"])?;
        let client = format!("{CLIENT}/32");
        namespace.ip(&["route", "add", &client, "via", &near.to_string()])?;
        let place = Place {
            netns: netns(&namespace),
            v4: far,
            v6: Ipv6Addr::LOCALHOST,
            link: "s0".to_owned(),
        };
        Ok(Self {
            namespace,
            place,
            router: near,
        })
    }

    /// Sends back what comes to the address.
    fn echo<'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        stop: &'scope AtomicBool,
    ) -> Result<()> {
        let socket = self.namespace.run(|| Ok(UdpSocket::bind(vip())?))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        scope.spawn(move || {
            let mut datagram = [0; 64];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((count, from)) = socket.recv_from(&mut datagram) {
                    // One that cannot be sent is one that is lost.
                    let _ = socket.send_to(&datagram[..count], from);
                }
            }
        });
        Ok(())
    }
}

fn vip() -> SocketAddr {
    SocketAddr::new(route(0, Family::V4), 7007)
}

/// FRR between client and nodes.
struct Router<'a> {
    site: &'a Site<'a>,
    netns: net::Netns,
    folder: std::path::PathBuf,
    _processes: Vec<Process>,
}

impl<'a> Router<'a> {
    fn start(site: &'a Site<'a>, net: &Net) -> Result<Self> {
        let mut router = Self {
            site,
            netns: netns(&net.router),
            folder: site.folder()?,
            _processes: Vec::new(),
        };
        let mut bgpd = format!(
            "router bgp {}\n bgp router-id {CLIENT}\n no bgp ebgp-requires-policy\n",
            super::peer::ASN
        );
        for node in &net.nodes {
            let (address, asn) = (node.place.v4, super::peer::SENDER_ASN);
            writeln!(
                bgpd,
                " neighbor {address} remote-as {asn}\n neighbor {address} timers connect 1"
            )?;
        }
        for (name, configuration) in [("zebra", ""), ("bgpd", &bgpd)] {
            let process = router.daemon(name, configuration)?;
            router._processes.push(process);
            let socket = router.folder.join("zserv.api");
            within(STARTED_MAX, || {
                ensure!(socket.exists(), "the router's zebra is not up");
                Ok(())
            })?;
        }
        Ok(router)
    }

    fn daemon(&self, name: &str, configuration: &str) -> Result<Process> {
        let (routers, folder) = (&self.site.routers, &self.folder);
        let file = folder.join(format!("{name}.conf"));
        std::fs::write(&file, configuration)?;
        let mut command = routers.command(&self.netns, &format!("usr/lib/frr/{name}"));
        command.arg("-f").arg(file);
        command.arg("-i").arg(folder.join(format!("{name}.pid")));
        command.arg("-z").arg(folder.join("zserv.api"));
        command.arg("--vty_socket").arg(folder);
        command.arg("--scriptdir").arg(folder);
        command
            .arg("--moduledir")
            .arg(routers.libraries().join("frr/modules"));
        command.args(["-u", "root", "-g", "root", "-A", "127.0.0.1", "-P", "0"]);
        Process::start(&mut command, &folder.join(format!("{name}.log")))
    }

    /// Waits until the kernel's table has so many ways to the address.
    fn await_ways(&self, count: usize) -> Result<()> {
        let vip = route(0, Family::V4).to_string();
        within(WAYS_MAX, || {
            let shown = self.netns.output("ip", &["route", "show", &vip])?;
            let ways = shown.matches("via ").count();
            ensure!(
                ways == count,
                "the router has {ways} ways to the address, not {count}: {shown}"
            );
            Ok(())
        })
    }
}

/// Flows from the router's own address.
struct Traffic(Vec<UdpSocket>);

impl Traffic {
    fn open(router: &Namespace) -> Result<Self> {
        router.run(|| {
            let flows = (0..FLOWS).map(|_| {
                let flow = UdpSocket::bind((IpAddr::V4(CLIENT), 0))?;
                flow.connect(vip())?;
                flow.set_nonblocking(true)?;
                Ok(flow)
            });
            flows.collect::<Result<_>>().map(Self)
        })
    }

    /// Sends while `act` runs: how many were sent, and how many of them never came back.
    fn during(&self, act: impl FnOnce() -> Result<()>) -> Result<(usize, usize)> {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let running = scope.spawn(|| self.run(&stop));
            let done = {
                let _stop = StopOnDrop(&stop);
                act()
            };
            match running.join() {
                Ok(counted) => done.map(|()| counted),
                Err(_) => bail!("a thread of the bench panicked"),
            }
        })
    }

    fn run(&self, stop: &AtomicBool) -> (usize, usize) {
        let (start, mut sent, mut back) = (Instant::now(), 0_usize, 0_usize);
        let mut flows = self.0.iter().cycle();
        while !stop.load(Ordering::Relaxed) {
            let Some(flow) = flows.next() else { break };
            back += answers(flow);
            let number = (sent as u32).to_be_bytes();
            // An error may tell of an earlier datagram, in place of sending this one.
            let _ = flow.send(&number).or_else(|_| flow.send(&number));
            sent += 1;
            let due = INTERVAL * sent as u32;
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        std::thread::sleep(LATE);
        back += self.0.iter().map(answers).sum::<usize>();
        (sent, sent.saturating_sub(back))
    }
}

/// How many have come back on a flow since it was last looked at.
fn answers(flow: &UdpSocket) -> usize {
    let mut datagram = [0; 64];
    std::iter::from_fn(|| flow.recv(&mut datagram).ok()).count()
}

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 86, 0, 1);
const FLOWS: usize = 16;
const INTERVAL: Duration = Duration::from_millis(1);
/// Before anything is done.
const LEAD: Duration = Duration::from_secs(1);
/// After all is over.
const AFTER: Duration = Duration::from_secs(2);
const LATE: Duration = Duration::from_secs(1);
const WAYS_MAX: Duration = Duration::from_secs(60);
const STARTED_MAX: Duration = Duration::from_secs(20);
