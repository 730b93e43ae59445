//! TCP throughput into the node with our program on its link and without: what everybody else's packets pay.
//!
//! One iperf3 stream between the two namespaces. The states take turns and each round is compared with itself, since a
//! virtual machine's throughput wanders more than what is looked for.

use super::Setting;
use super::stage::attach_tc;
use crate::figure::{Aim, Figure, median};
use crate::net::{NODE_IP, NODE_LINK, Pair, VIP};
use crate::object::Subject;
use crate::raw;
use crate::sheet::Sheet;
use anyhow::{Context, Result, bail, ensure};
use aya::programs::XdpMode;
use serde_json::Value;
use speaker_ebpf::abi::{Addr, Entry, Mode};
use std::net::IpAddr;
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
    for (at, state) in STATES.iter().enumerate().skip(1) {
        let value = median(rounds.iter().map(|round| round[at]).collect());
        let ratio = median(rounds.iter().map(|round| round[at] / off(round)).collect());
        let figure = Figure::new(NAME, state.name(), value, "Gbit/s").against("no program", ratio);
        sheet.add(&match state {
            State::Tc => figure.aim(Aim::AtLeast(0.98)),
            State::Off | State::GenericXdp | State::NativeXdp => figure,
        })?;
    }
    Ok(())
}

const ROUNDS: usize = 7;

/// What is on the link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Off,
    Tc,
    GenericXdp,
    NativeXdp,
}

const STATES: [State; 4] = [State::Off, State::Tc, State::GenericXdp, State::NativeXdp];

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Off => "no program",
            Self::Tc => "TC",
            Self::GenericXdp => "generic XDP",
            Self::NativeXdp => "native XDP",
        }
    }
}

fn gigabits(setting: &Setting, state: State) -> Result<f64> {
    let pair = Pair::create()?;
    let _subject = attach(setting, state, &pair)?;
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

/// The program on the link, with a VIP in its table that the stream is not for.
fn attach(setting: &Setting, state: State, pair: &Pair) -> Result<Option<Subject>> {
    if state == State::Off {
        return Ok(None);
    }
    let mut subject = Subject::load(&setting.object, 0)?;
    pair.node.run(|| {
        let ifindex = raw::ifindex(NODE_LINK)?;
        subject.link(ifindex)?;
        subject.put(
            Addr::from(IpAddr::V4(VIP)),
            ifindex,
            Entry::new(Mode::Answer, 1, 0),
        )?;
        match state {
            State::Off => {}
            State::Tc => attach_tc(subject.tc()?)?,
            State::GenericXdp => {
                subject.xdp()?.attach(NODE_LINK, XdpMode::Skb)?;
            }
            State::NativeXdp => {
                subject.xdp()?.attach(NODE_LINK, XdpMode::Driver)?;
            }
        }
        Ok(())
    })?;
    Ok(Some(subject))
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
