//! One speaker of a cluster: what it asks, receives and keeps, in quiet and while endpoints change.
//!
//! It is on one end of a link and the API server's double on the other, so that what IP counts there is what a node's network
//! carries.

use super::super::Setting;
use super::super::speaker::Home;
use super::controller::{Controller, fill};
use super::double::{ApiDouble, Entry};
use super::objects::{self, ADVERTISEMENTS, SIZE, SLICES};
use crate::http::Call;
use crate::net::Pair;
use crate::process::Process;
use anyhow::{Result, ensure};
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};

/// What a speaker takes.
pub(super) struct Measured {
    pub(super) memory: f64,
    pub(super) memory_peak: f64,
    /// MiB of JSON in lists of what it follows.
    pub(super) held: f64,
    pub(super) quiet: Traffic,
    pub(super) busy: Traffic,
    /// Bytes a second of JSON in the objects that changed.
    pub(super) changed: f64,
}

/// Per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traffic {
    pub(super) requests: f64,
    /// Of those, what changes something.
    pub(super) writes: f64,
    pub(super) received: f64,
    pub(super) sent: f64,
    /// Share of one CPU.
    pub(super) cpu: f64,
}

/// Measures once.
pub(super) fn measure(setting: &Setting, home: &Home, pair: &Pair) -> Result<Measured> {
    let mut double = ApiDouble::start(setting, home, &pair.client)?;
    fill(&mut double)?;
    let advertisement = json!({"apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
        "metadata": {"name": "all", "namespace": "metallb-system"}, "spec": {}});
    double.make(ADVERTISEMENTS, std::iter::once(advertisement))?;
    let namespace = &pair.client;
    let (controller, _) = Controller {
        setting,
        home,
        namespace,
        number: 100,
    }
    .start(&mut double)?;
    double.entries_until_quiet(SETTLED)?;
    controller.stop()?;
    let speaker = start(setting, home, pair, &double)?;
    double.entries_until_quiet(SETTLED)?;
    let mut held = 0;
    for path in ["/api/v1/services", SLICES, objects::NODES] {
        held += double.text(&Call::get(path))?.len();
    }
    let (memory, memory_peak) = (speaker.memory()?, speaker.memory_peak()?);
    double.mark()?;
    let quiet = traffic(&mut double, &speaker, |_| {
        std::thread::sleep(SPAN);
        Ok(())
    })?;
    let mut changed = 0;
    let busy = traffic(&mut double, &speaker, |double| {
        changed = change(double)?;
        Ok(())
    })?;
    speaker.stop()?;
    Ok(Measured {
        memory,
        memory_peak,
        held: held as f64 / f64::from(1 << 20),
        quiet,
        busy,
        changed: changed as f64 / SPAN.as_secs_f64(),
    })
}

fn start(setting: &Setting, home: &Home, pair: &Pair, double: &ApiDouble) -> Result<Process> {
    let mut command = Command::new(&setting.speaker);
    command.args([
        "run",
        "--node-name",
        "node-0000",
        "--port",
        "0",
        "--health-probe-port",
        "0",
        "--insecure-gossip",
    ]);
    command
        .args(["--namespace", "metallb-system", "--kubeconfig"])
        .arg(&double.kubeconfig_far);
    command.arg("--run-dir").arg(home.folder("run"));
    command.arg("--bpffs").arg(home.folder("bpf"));
    let log = home.folder("speaker.log");
    pair.node.run(|| Process::start(&mut command, &log))
}

/// What the speaker asks and its node carries while `work` runs for [`SPAN`], and a moment longer until it has come to rest.
fn traffic(
    double: &mut ApiDouble,
    speaker: &Process,
    work: impl FnOnce(&mut ApiDouble) -> Result<()>,
) -> Result<Traffic> {
    let (octets, cpu, start) = (speaker.octets()?, speaker.cpu()?, Instant::now());
    work(double)?;
    let took = start.elapsed();
    ensure!(
        took < SPAN.mul_f64(1.1),
        "the machine is too slow: {took:?} in place of {SPAN:?}"
    );
    let entries = double.entries_until_quiet(Duration::from_secs(1))?;
    let after = speaker.octets()?;
    let per_second = |count: u64| count as f64 / SPAN.as_secs_f64();
    let own: Vec<&Entry> = entries.iter().filter(|entry| !is_of_bench(entry)).collect();
    let writes = own
        .iter()
        .filter(|entry| !matches!(&*entry.verb, "get" | "list" | "watch"));
    Ok(Traffic {
        requests: per_second(own.len() as u64),
        writes: per_second(writes.count() as u64),
        received: per_second(after.received - octets.received),
        sent: per_second(after.sent - octets.sent),
        cpu: (speaker.cpu()? - cpu).as_secs_f64() / SPAN.as_secs_f64(),
    })
}

/// Speakers never write slices.
fn is_of_bench(entry: &Entry) -> bool {
    entry.verb == "patch" && entry.path.starts_with(SLICES)
}

/// One endpoint after the other becomes unready at an even pace; bytes of the objects that changed.
fn change(double: &mut ApiDouble) -> Result<usize> {
    let start = Instant::now();
    let mut bytes = 0;
    for number in 0..CHANGES {
        let due = SPAN * number / CHANGES;
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        bytes += double
            .text(&objects::slice_change(
                number as usize % SIZE.services,
                false,
            ))?
            .len();
    }
    std::thread::sleep(SPAN.saturating_sub(start.elapsed()));
    Ok(bytes)
}

const SPAN: Duration = Duration::from_secs(10);
const CHANGES: u32 = 1_000; // 100 a second
/// Longer than anything that comes in its own time after a start.
const SETTLED: Duration = Duration::from_secs(4);
