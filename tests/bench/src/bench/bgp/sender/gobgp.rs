//! GoBGP: told its peers by a file, and its routes by one more peer in its own namespace, which is the fastest way that it has.

use super::super::peer::{self, ASN, FEED_ASN, SENDER_ASN};
use super::super::place::{Family, route};
use super::Sender;
use crate::process::Process;
use anyhow::{Context, Result};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;
use xtask::lab::net;
use xtask::tools::within;

pub(super) fn prepare(sender: &Sender<'_>) -> Result<()> {
    let (job, mut text) = (&sender.job, String::new());
    let id = job.place.v4;
    writeln!(
        text,
        "[global.config]\n  as = {SENDER_ASN}\n  router-id = \"{id}\"\n  port = -1"
    )?;
    for peer in &job.peers {
        writeln!(
            text,
            "[[neighbors]]
  [neighbors.config]
    neighbor-address = \"{peer}\"
    peer-as = {ASN}
  [neighbors.timers.config]
    connect-retry = 5
    idle-hold-time-after-reset = 1
  [neighbors.transport.config]
    local-address = \"{}\"
  [neighbors.graceful-restart.config]
    enabled = {}
    restart-time = 120
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = \"{}-unicast\"
    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = {}",
            job.place.address(job.family),
            job.has_graceful_restart,
            words(job.family),
            job.has_graceful_restart,
        )?;
    }
    if job.routes > 1 {
        let feed = feed(job.family);
        writeln!(
            text,
            "[[neighbors]]
  [neighbors.config]
    neighbor-address = \"{feed}\"
    peer-as = {FEED_ASN}
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = \"{}-unicast\"",
            words(job.family),
        )?;
    }
    sender.write("gobgp.toml", &text).map(drop)
}

/// Where the peer is that has all routes.
const fn feed(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

const fn words(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

pub(super) fn run(sender: &mut Sender<'_>) -> Result<()> {
    let routers = &sender.site.routers;
    let mut command = routers.command(&sender.job.place.netns, "usr/bin/gobgpd");
    command.arg("-f").arg(sender.file("gobgp.toml"));
    command.args([
        "--api-hosts",
        &format!("127.0.0.1:{PORT}"),
        "--pprof-disable",
    ]);
    let process = Process::start(&mut command, &sender.file("gobgpd.log"))?;
    sender.processes.push(process);
    if sender.job.routes == 1 {
        within(STARTED_MAX, || gobgp(sender, "neighbor"))?;
        return change(sender, route(0, sender.job.family), true);
    }
    let listening = peer::listen(&sender.job.place.netns, &[feed(sender.job.family)])?;
    let mut session = listening[0].accept(|| sender.check())?;
    session.open_as(FEED_ASN)?;
    let next_hop = sender.job.peers.first().context("it has a peer")?;
    session.announce(sender.job.routes, sender.job.family, *next_hop)?;
    sender.feed = Some(session);
    Ok(())
}

pub(super) fn routes(sender: &Sender<'_>) -> Result<usize> {
    let said = gobgp(
        sender,
        &format!("global rib summary -a {}", words(sender.job.family)),
    )?;
    let count = said
        .split("Destination: ")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    count
        .and_then(|count| count.trim().parse().ok())
        .context("no summary")
}

pub(super) fn change(sender: &Sender<'_>, route: IpAddr, is_there: bool) -> Result<()> {
    let (family, bits) = (words(sender.job.family), sender.job.family.bits());
    let verb = if is_there { "add" } else { "del" };
    gobgp(
        sender,
        &format!("global rib {verb} {route}/{bits} -a {family}"),
    )
    .map(drop)
}

fn gobgp(sender: &Sender<'_>, words: &str) -> Result<String> {
    net::output(client(sender).args(words.split(' ')))
}

fn client(sender: &Sender<'_>) -> Command {
    let mut gobgp = sender
        .site
        .routers
        .command(&sender.job.place.netns, "usr/bin/gobgp");
    gobgp.args(["-p", PORT]);
    gobgp
}

/// In a namespace of its own everyone has the same.
const PORT: &str = "50051";
const STARTED_MAX: Duration = Duration::from_secs(20);
