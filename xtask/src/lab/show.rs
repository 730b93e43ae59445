//! Waits for the VIPs, and shows a person who answers for what and that no stack did.

mod evidence;
mod picture;
pub(super) mod routed;
mod shares;

use super::Lab;
use super::client::ask;
use super::proxy::{Frontend, Protocol};
use super::speaker::Speaker;
use crate::tools;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// The VIPs that are served, each list as `address:port` words.
#[derive(Clone, Debug)]
pub(super) struct Vips {
    /// HTTP services.
    pub(super) http: String,
    /// Other services on TCP.
    pub(super) tcp: String,
    /// Services on UDP.
    pub(super) udp: String,
}

/// Waits until every service of the manifests has addresses and all of them answer; none after `interrupted`.
///
/// # Errors
/// When that takes too long, with what is missing and the speakers' last words.
pub(super) fn wait_until_served(
    lab: &mut Lab,
    mut interrupted: impl FnMut() -> bool,
) -> Result<Option<Vips>> {
    let until = Instant::now() + SERVED_MAX;
    while !interrupted() {
        lab.attend()?;
        lab.check_speakers()?;
        let frontends = lab.frontends()?;
        let client = lab.topology().asker();
        let silent = client.enter(|| frontends.iter().find(|frontend| ask(frontend).is_err()))?;
        if !frontends.is_empty() && silent.is_none() {
            return Ok(Some(vips(&frontends)));
        }
        if Instant::now() >= until {
            let missing = silent.map_or_else(
                || "no service has an address".to_owned(),
                |f| format!("{} does not answer at {}", f.service, f.address()),
            );
            bail!(
                "{missing} after {} s\n{}",
                SERVED_MAX.as_secs(),
                lab.speakers_say()
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(None)
}

fn vips(frontends: &[Frontend]) -> Vips {
    let words = |wanted: &dyn Fn(&Frontend) -> bool| {
        let words = frontends
            .iter()
            .filter(|f| wanted(f))
            .map(|f| f.address().to_string());
        words.collect::<Vec<_>>().join(" ")
    };
    Vips {
        http: words(&|f| f.is_http),
        tcp: words(&|f| !f.is_http && f.protocol == Protocol::Tcp),
        udp: words(&|f| f.protocol == Protocol::Udp),
    }
}

/// The whole show: answers, evidence, picture, and what to try next.
///
/// # Errors
/// When a VIP does not answer any more, or something other than the program answered.
pub(super) fn everything(lab: &Lab) -> Result<()> {
    let frontends = lab.frontends()?;
    let before = evidence::counters(lab)?;
    forget_neighbours(lab)?;
    out("\nThe client asks every VIP:\n");
    for frontend in &frontends {
        out(&format!("  {}", line(lab, frontend)?));
    }
    out("\nWho said where the VIPs are:\n");
    evidence::show(lab, &frontends, &before)?;
    picture::show(lab, &frontends)?;
    next(lab, &frontends);
    Ok(())
}

/// Prints a line. Whoever asked for it may have stopped reading, which must not take the lab down without care.
pub(super) fn out(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The client asks anew where each VIP is.
fn forget_neighbours(lab: &Lab) -> Result<()> {
    lab.topology().client.ip("neigh flush dev eth0")
}

/// One question and its answer; HTTP by `curl`, as anybody would.
fn line(lab: &Lab, frontend: &Frontend) -> Result<String> {
    let client = lab.topology().asker();
    let at = frontend.address();
    let service = &frontend.service;
    if frontend.is_http {
        let url = format!("http://{at}/");
        let answer = client.output("curl", &["-sS", "--max-time", "5", &url])?;
        return Ok(format!(
            "{:<22} curl {url:<30} {}",
            service,
            answer.trim_end()
        ));
    }
    let answer = client.enter(|| ask(frontend))?;
    let answer = answer.with_context(|| format!("no answer from {at}"))?;
    let question = format!("{}://{at}", frontend.protocol);
    Ok(format!("{service:<22}      {question:<30} {answer}"))
}

/// What to try, with the files or the kubectl that this lab has.
fn change(lab: &Lab, node: &str) -> String {
    match lab.kubectl() {
        Some(kubectl) if lab.options().is_operated => {
            let kubectl = short(&kubectl);
            format!(
                "{kubectl} -n metallb-system get metallbs,deployments,daemonsets,pods\n  \
                 {kubectl} -n metallb-system patch metallb metallb --type=merge -p '{{\"spec\":{{\"logLevel\":\"debug\"}}}}'   # one speaker after the other\n  \
                 {kubectl} -n metallb-system delete metallb metallb   # controller, speakers and all that they did go"
            )
        }
        Some(kubectl) => {
            let kubectl = short(&kubectl);
            format!(
                "{kubectl} get services -A   # and events, ipaddresspools, servicel2statuses, configurationstates\n  \
                 {kubectl} delete node {node}   # the others serve its VIPs"
            )
        }
        None => format!(
            "rm {}/node-{node}.yaml   # the others serve its VIPs",
            short(&lab.manifests())
        ),
    }
}

fn next(lab: &Lab, frontends: &[Frontend]) {
    let Some(first) = frontends.iter().find(|f| f.is_http).or(frontends.first()) else {
        return;
    };
    let (service, vip) = (&first.service, first.vip);
    let node = &lab.topology().nodes[0].name;
    let ctl = lab
        .speakers()
        .get(node)
        .map(Speaker::ctl_words)
        .unwrap_or_default();
    let client = lab.topology().client.path();
    out(&format!(
        "\nTo try next, in another terminal:\n\n  \
         {ctl} status   # also: plan, vips, links, maps, counters, watch\n  \
         {ctl} why {service}\n  \
         nsenter --net={client} curl http://{at}/\n  \
         nsenter --net={client} arping -c 3 -I eth0 {vip}\n  \
         bpftool map dump pinned {pins}/{table}   # and others in that folder\n  \
         bpftool prog show name heliograph_tc\n  \
         {change}\n  \
         tail -f {logs}/{node}.log\n\n\
         Ctrl-C here, or `cargo xtask lab down` there, takes everything away.",
        client = client.display(),
        at = first.address(),
        pins = lab.pins(node).display(),
        table = table(&lab.pins(node)),
        change = change(lab, node),
        logs = short(&lab.folder().join("log")),
    ));
}

/// The file of the table of VIPs; its name ends in the version of its layout.
fn table(pins: &Path) -> String {
    let pins = fs::read_dir(pins).into_iter().flatten().flatten();
    let mut names = pins.map(|pin| pin.file_name().to_string_lossy().into_owned());
    names
        .find(|name| name.starts_with("hg_vips"))
        .unwrap_or_default()
}

/// A path as it is typed from the root of the repository.
pub(super) fn short(path: &Path) -> String {
    path.strip_prefix(tools::root())
        .unwrap_or(path)
        .display()
        .to_string()
}

const SERVED_MAX: Duration = Duration::from_secs(30);
