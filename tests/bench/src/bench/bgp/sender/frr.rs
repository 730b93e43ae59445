//! FRR: zebra, bgpd and bfdd, as MetalLB's FRR mode has them, with a `network` line for each route as it writes them.

use super::super::peer::{ASN, SENDER_ASN};
use super::super::place::Family;
use super::super::place::route;
use super::Sender;
use crate::process::Process;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fmt::Write;
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;
use xtask::lab::net;
use xtask::lab::router::frr::VTYSH;
use xtask::tools::within;

pub(super) fn prepare(sender: &Sender<'_>) -> Result<()> {
    sender.write("zebra.conf", "")?;
    sender.write("bfdd.conf", BFDD)?;
    sender.write("vtysh.conf", VTYSH)?;
    sender.write("bgpd.conf", &bgpd(sender)?)?;
    Ok(())
}

fn bgpd(sender: &Sender<'_>) -> Result<String> {
    let (job, mut text) = (&sender.job, String::new());
    writeln!(
        text,
        "router bgp {SENDER_ASN}\n bgp router-id {}",
        job.place.v4
    )?;
    text += " no bgp ebgp-requires-policy\n no bgp network import-check\n no bgp default ipv4-unicast\n";
    if job.has_graceful_restart {
        text += " bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n";
    }
    for peer in &job.peers {
        writeln!(
            text,
            " neighbor {peer} remote-as {ASN}\n neighbor {peer} timers connect 1"
        )?;
        if job.has_bfd {
            writeln!(
                text,
                " neighbor {peer} bfd\n neighbor {peer} bfd profile fast"
            )?;
        }
    }
    writeln!(text, " address-family {} unicast", words(job.family))?;
    for number in 0..job.routes {
        writeln!(
            text,
            "  network {}/{}",
            route(number, job.family),
            job.family.bits()
        )?;
    }
    for peer in &job.peers {
        writeln!(text, "  neighbor {peer} activate")?;
    }
    Ok(text)
}

const fn words(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

pub(super) fn run(sender: &mut Sender<'_>) -> Result<()> {
    daemon(sender, "zebra")?;
    let socket = sender.file("zserv.api");
    // The others look for it once, and then only after seconds.
    within(STARTED_MAX, || {
        ensure!(socket.exists(), "zebra is not up");
        Ok(())
    })?;
    daemon(sender, "bfdd")?;
    daemon(sender, "bgpd")
}

fn daemon(sender: &mut Sender<'_>, name: &str) -> Result<()> {
    let (routers, folder) = (&sender.site.routers, &sender.folder);
    let program = format!("usr/lib/frr/{name}");
    let mut command = routers.command(&sender.job.place.netns, &program);
    command.arg("-f").arg(folder.join(format!("{name}.conf")));
    command.arg("-i").arg(folder.join(format!("{name}.pid")));
    command.arg("-z").arg(folder.join("zserv.api"));
    command.arg("--vty_socket").arg(folder);
    command.arg("--scriptdir").arg(folder);
    command
        .arg("--moduledir")
        .arg(routers.libraries().join("frr/modules"));
    command.args(["-u", "root", "-g", "root", "-A", "127.0.0.1", "-P", "0"]);
    if name == "bfdd" {
        command.arg("--bfdctl").arg(folder.join("bfdd.sock"));
    }
    let process = Process::start(&mut command, &folder.join(format!("{name}.log")))?;
    sender.processes.push(process);
    Ok(())
}

pub(super) fn routes(sender: &Sender<'_>) -> Result<usize> {
    let ask = format!(
        "show bgp {} unicast statistics json",
        words(sender.job.family)
    );
    let seen: Value = serde_json::from_str(&vtysh(sender, &[&ask])?)?;
    let counted = &seen[format!("{}Unicast", words(sender.job.family))][0];
    let count = counted["totalPrefixes"].as_u64();
    Ok(count.context("no totalPrefixes")? as usize)
}

pub(super) fn change(sender: &Sender<'_>, route: IpAddr, is_there: bool) -> Result<()> {
    let router = format!("router bgp {SENDER_ASN}");
    let family = format!("address-family {} unicast", words(sender.job.family));
    let no = if is_there { "" } else { "no " };
    let network = format!("{no}network {route}/{}", sender.job.family.bits());
    let said = vtysh(sender, &["configure terminal", &router, &family, &network])?;
    ensure!(!said.contains('%'), "FRR refuses it: {said}");
    Ok(())
}

fn vtysh(sender: &Sender<'_>, commands: &[&str]) -> Result<String> {
    let routers = &sender.site.routers;
    let mut command: Command = routers.command(&sender.job.place.netns, "usr/bin/vtysh");
    command.arg("--vty_socket").arg(&sender.folder);
    command.arg("--config_dir").arg(&sender.folder);
    for line in commands {
        command.args(["-c", line]);
    }
    net::output(&mut command)
}

const BFDD: &str =
    "bfd\n profile fast\n  receive-interval 50\n  transmit-interval 50\n  detect-multiplier 3\n";
const STARTED_MAX: Duration = Duration::from_secs(20);
