//! What a speaker costs when nothing happens: one that answers for a VIP, with the five observers that a node of any larger cluster has too, and
//! those that it observes.
//!
//! The others run in the client's namespace, each at an address of its own, and may announce nothing. Datagrams are sealed as they ship.

use super::Setting;
use super::speaker::Home;
use crate::figure::Figure;
use crate::net::{CLIENT_LINK, NODE_IP, Namespace, Pair};
use crate::process::Process;
use crate::sheet::Sheet;
use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The name of this bench.
pub(crate) const NAME: &str = "idle";

/// Measures.
pub(crate) fn run(setting: &Setting, sheet: &mut Sheet<'_>) -> Result<()> {
    let home = Home::create()?;
    let pair = Pair::create()?;
    let peers: Vec<(String, Ipv4Addr)> = (1..=PEERS)
        .map(|number| (format!("peer{number}"), Ipv4Addr::new(10, 85, 2, number)))
        .collect();
    let manifest = home.folder("manifests").join("peers.yaml");
    fs::write(&manifest, nodes(&peers))
        .with_context(|| format!("failed to write {}", manifest.display()))?;
    fs::write(home.folder("secretkey"), "YSBiZW5jaCB3aXRob3V0IHNlY3JldHM=")?;
    let mut running = Vec::new();
    for (name, address) in &peers {
        let with_mask = format!("{address}/16");
        let add = ["address", "add", &with_mask, "dev", CLIENT_LINK];
        pair.client.ip(&add)?;
        running.push(start(setting, &home, &pair.client, name, *address)?);
    }
    let mut watched = start(setting, &home, &pair.node, NODE, NODE_IP)?;
    wait_until_observed(setting, &home, &mut watched)?;
    sheet.extend(measure(setting, &watched)?)?;
    watched.check()?;
    running.iter_mut().try_for_each(Process::check)?;
    watched.stop()
}

fn measure(setting: &Setting, speaker: &Process) -> Result<Vec<Figure>> {
    thread::sleep(SETTLED);
    let span = if setting.is_quick { QUICK } else { SPAN };
    let of = || -> Result<_> { Ok((speaker.cpu_exact()?, speaker.waits()?, speaker.octets()?)) };
    let (start, before) = (Instant::now(), of()?);
    thread::sleep(span);
    let (cpu, waits, octets) = of()?;
    let seconds = start.elapsed().as_secs_f64();
    let share = (cpu - before.0).as_secs_f64() / seconds * 100.0;
    let figure = |what: &str, value, unit| Figure::new(NAME, what, value, unit);
    let each = |after: u64, before: u64| (after - before) as f64 / seconds;
    Ok(vec![
        figure("CPU", share, "% of one"),
        figure("times that a thread waited", each(waits, before.1), "1/s"),
        figure("sent", each(octets.sent, before.2.sent), "B/s"),
        figure("received", each(octets.received, before.2.received), "B/s"),
        figure("resident", speaker.memory()?, "MiB"),
    ])
}

fn start(
    setting: &Setting,
    home: &Home,
    at: &Namespace,
    name: &str,
    address: Ipv4Addr,
) -> Result<Process> {
    let mut command = Command::new(&setting.speaker);
    command.args(["run", "--node-name", name]);
    command.args(["--port", "0", "--health-probe-port", "0"]);
    command.args(["--ml-bindaddr", &address.to_string()]);
    command
        .arg("--ml-secret-key-path")
        .arg(home.folder("secretkey"));
    command.arg("--manifests").arg(home.folder("manifests"));
    command.arg("--run-dir").arg(home.folder("run"));
    command.arg("--bpffs").arg(home.folder("bpf"));
    let log = home.folder(&format!("{name}.log"));
    at.run(|| Process::start(&mut command, &log))
}

/// Waits until the speaker has all observers that it can have, and is settled.
fn wait_until_observed(setting: &Setting, home: &Home, watched: &mut Process) -> Result<()> {
    let until = Instant::now() + OBSERVED_MAX;
    loop {
        watched.check()?;
        let mut ask = Command::new(&setting.speaker);
        ask.args(["ctl", "--node", NODE, "--run-dir"]);
        ask.arg(home.folder("run")).args(["members", "-o", "json"]);
        let told = ask.output().context("failed to run the speaker")?;
        // Before the speaker listens there is nothing to be read.
        let told = serde_json::from_slice::<serde_json::Value>(&told.stdout).unwrap_or_default();
        if told["observers"] == PEERS && told["is_settled"] == true {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "no {PEERS} observers within {} s: {told}\n{}",
            OBSERVED_MAX.as_secs(),
            watched.said()
        );
        thread::sleep(Duration::from_millis(100));
    }
}

fn nodes(peers: &[(String, Ipv4Addr)]) -> String {
    let mut text = String::new();
    for (name, address) in peers {
        let _ = writeln!(
            text,
            "---
apiVersion: v1
kind: Node
metadata: {{name: {name}}}
status: {{addresses: [{{type: InternalIP, address: {address}}}]}}"
        );
    }
    text
}

/// As in the manifests of [`Home`].
const NODE: &str = "bench";
/// As many as a node has observers.
const PEERS: u8 = 5;
const OBSERVED_MAX: Duration = Duration::from_secs(30);
/// After a start more is sent than in quiet.
const SETTLED: Duration = Duration::from_secs(5);
const SPAN: Duration = Duration::from_secs(60);
const QUICK: Duration = Duration::from_secs(3);
