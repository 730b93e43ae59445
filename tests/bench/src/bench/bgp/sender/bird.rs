//! BIRD 2: static routes from its configuration, which is written anew and read again for each change.

use super::super::peer::{ASN, SENDER_ASN};
use super::super::place::{Family, route};
use super::Sender;
use crate::process::Process;
use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::net::IpAddr;
use xtask::lab::net;

pub(super) fn prepare(sender: &Sender<'_>) -> Result<()> {
    sender.write("bird.conf", &configuration(sender, None)?)?;
    Ok(())
}

fn configuration(sender: &Sender<'_>, more: Option<IpAddr>) -> Result<String> {
    let (job, mut text) = (&sender.job, String::new());
    writeln!(text, "router id {};\nprotocol device {{}}", job.place.v4)?;
    if job.has_bfd {
        let link = &job.place.link;
        writeln!(
            text,
            "protocol bfd {{ interface \"{link}\" {{ interval 50 ms; multiplier 3; }}; }}"
        )?;
    }
    let channel = match job.family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    writeln!(text, "protocol static {{\n  {channel};")?;
    let routes = (0..job.routes).map(|number| route(number, job.family));
    for route in routes.chain(more) {
        writeln!(text, "  route {route}/{} blackhole;", job.family.bits())?;
    }
    text += "}\n";
    for (number, peer) in job.peers.iter().enumerate() {
        writeln!(
            text,
            "protocol bgp p{number} {{
  local {} as {SENDER_ASN};
  neighbor {peer} as {ASN};
  connect delay time 1; connect retry time 1; error wait time 1,2;
  graceful restart {};
  bfd {};
  {channel} {{ import none; export all; }};
}}",
            job.place.address(job.family),
            if job.has_graceful_restart {
                "on"
            } else {
                "aware"
            },
            if job.has_bfd { "on" } else { "off" },
        )?;
    }
    Ok(text)
}

pub(super) fn run(sender: &mut Sender<'_>) -> Result<()> {
    let routers = &sender.site.routers;
    let mut command = routers.command(&sender.job.place.netns, "usr/sbin/bird");
    command.arg("-f").arg("-c").arg(sender.file("bird.conf"));
    command.arg("-s").arg(sender.file("bird.ctl"));
    if sender.job.has_graceful_restart {
        command.arg("-R");
    }
    let process = Process::start(&mut command, &sender.file("bird.log"))?;
    sender.processes.push(process);
    Ok(())
}

pub(super) fn routes(sender: &Sender<'_>) -> Result<usize> {
    let said = ask(sender, "show route count")?;
    let words = said.lines().filter(|line| line.contains(" routes for "));
    let counts = words.filter_map(|line| {
        let word = line
            .split_whitespace()
            .find_map(|word| word.parse::<usize>().ok());
        word.filter(|count| *count > 0)
    });
    counts.max().context("no routes yet")
}

pub(super) fn change(sender: &Sender<'_>, route: IpAddr, is_there: bool) -> Result<()> {
    sender.write(
        "bird.conf",
        &configuration(sender, is_there.then_some(route))?,
    )?;
    let said = ask(sender, "configure")?;
    ensure!(said.contains("Reconfig"), "BIRD refuses it: {said}");
    Ok(())
}

pub(super) fn ask(sender: &Sender<'_>, command: &str) -> Result<String> {
    let routers = &sender.site.routers;
    let mut birdc = routers.command(&sender.job.place.netns, "usr/sbin/birdc");
    birdc.arg("-s").arg(sender.file("bird.ctl"));
    net::output(birdc.args(command.split(' ')))
}
