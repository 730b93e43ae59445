//! TCP throughput into the node with our program on its link and without: what everybody else's packets pay.
//!
//! One iperf3 stream between the two namespaces. The states take turns and each round is compared with itself, since a
//! virtual machine's throughput wanders more than what is looked for.

use super::Setting;
use super::stage::attach;
use crate::figure::{Aim, Figure, median};
use crate::hook::Hook;
use crate::net::{NODE_IP, Pair};
use crate::sheet::Sheet;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The name of this bench.
pub(crate) const NAME: &str = "throughput";

/// Measures.
pub(crate) fn run(setting: &Setting, sheet: &mut Sheet<'_>) -> Result<()> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let round: Result<Vec<f64>> = STATES
            .iter()
            .map(|&state| gigabits(setting, state))
            .collect();
        rounds.push(round?);
    }
    let off = |round: &Vec<f64>| round[0];
    sheet.add(&Figure::new(
        NAME,
        "no program",
        median(rounds.iter().map(off).collect()),
        "Gbit/s",
    ))?;
    for (at, hook) in STATES.iter().enumerate() {
        let Some(hook) = hook else { continue };
        let value = median(rounds.iter().map(|round| round[at]).collect());
        let ratio = median(rounds.iter().map(|round| round[at] / off(round)).collect());
        let figure = Figure::new(NAME, hook.to_string(), value, "Gbit/s");
        let figure = figure.against("no program", ratio);
        sheet.add(&match hook {
            Hook::Tc => figure.aim(Aim::AtLeast(0.98)),
            Hook::GenericXdp | Hook::NativeXdp => figure,
        })?;
    }
    Ok(())
}

const ROUNDS: usize = 7;

/// What is on the link; nothing at first.
const STATES: [Option<Hook>; 4] = [
    None,
    Some(Hook::Tc),
    Some(Hook::GenericXdp),
    Some(Hook::NativeXdp),
];

fn gigabits(setting: &Setting, state: Option<Hook>) -> Result<f64> {
    let pair = Pair::create()?;
    // With a VIP in its table that the stream is not for.
    let _subject = state.map(|hook| attach(setting, hook, &pair)).transpose()?;
    let mut server = pair.node.run(|| {
        let server = Command::new("iperf3")
            .args(["--server", "--one-off", "--bind", &NODE_IP.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        server.context("failed to start iperf3: install the package iperf3")
    })?;
    let result = pair.client.run(client);
    if result.is_err() {
        let _ = server.kill();
    }
    server.wait().context("failed to wait for iperf3")?;
    result
}

/// Sends for [`SECONDS`]; the first tenth of a second may find no server yet.
fn client() -> Result<f64> {
    for _ in 0..20 {
        let output = Command::new("iperf3")
            .args([
                "--client",
                &NODE_IP.to_string(),
                "--time",
                SECONDS,
                "--omit",
                "0",
                "--json",
            ])
            .output()
            .context("failed to start iperf3: install the package iperf3")?;
        let report: Value =
            serde_json::from_slice(&output.stdout).context("iperf3 spoke no JSON")?;
        if let Some(bits) = report["end"]["sum_received"]["bits_per_second"].as_f64() {
            ensure!(bits > 0.0, "iperf3 moved nothing");
            return Ok(bits / 1e9);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("iperf3 found no server")
}

const SECONDS: &str = "2";
