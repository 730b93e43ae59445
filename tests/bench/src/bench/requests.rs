//! Requests a second that clients get of one VIP, served by one node or by several.
//!
//! What bounds a VIP of layer 2 is the link of the node that holds it. This is a lab of three nodes with a speaker each and a service proxy, and each
//! node's link is slowed to the same rate, so that the links are the bottleneck and not this machine's CPUs. Clients fetch answers of
//! [`ANSWER_BYTES`], each by a connection of its own; policy is Local, so that a node serves by its own pod.

use super::Setting;
use super::steering::NAME;
use crate::figure::{Aim, Figure};
use crate::sheet::Sheet;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use xtask::lab::net::Netns;
use xtask::lab::{Lab, Options};

/// Measures.
pub(super) fn measure(setting: &Setting, sheet: &mut Sheet<'_>) -> Result<()> {
    let span = if setting.is_quick { QUICK } else { SPAN };
    let stack = Case {
        is_spread: false,
        nodes: NODES,
    };
    let title = |case: Case, took: &Served| {
        format!(
            "{}, requests of {} KiB, links of {RATE}",
            case.name(),
            ANSWER_BYTES >> 10
        ) + &format!(", served by {}", took.len())
    };
    let own = run(setting, stack, span)?;
    let base = rate(&own, span);
    sheet.add(&Figure::new(NAME, title(stack, &own), base, "requests/s"))?;
    for nodes in 1..=NODES {
        let case = Case {
            is_spread: true,
            nodes,
        };
        let served = run(setting, case, span)?;
        let value = rate(&served, span);
        let figure = Figure::new(NAME, title(case, &served), value, "requests/s");
        // A tenth is left for what is not even among so few clients.
        let aim = Aim::AtLeast(0.9 * f64::from(nodes));
        sheet.add(&figure.against(stack.name(), value / base).aim(aim))?;
    }
    Ok(())
}

/// How a VIP is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Case {
    is_spread: bool,
    /// Nodes with an endpoint.
    nodes: u8,
}

impl Case {
    fn name(self) -> String {
        let way = if self.is_spread { "spread" } else { "stack" };
        format!("{way}, endpoints on {}", self.nodes)
    }
}

/// Answers by the node that gave them.
type Served = BTreeMap<String, u64>;

fn rate(served: &Served, span: Duration) -> f64 {
    served.values().sum::<u64>() as f64 / span.as_secs_f64()
}

fn run(setting: &Setting, case: Case, span: Duration) -> Result<Served> {
    let manifests = std::env::temp_dir().join(format!("{NAME}-{}", std::process::id()));
    write(&manifests, case)?;
    let options = Options {
        // One that was killed is taken down by the next.
        prefix: PREFIX.to_owned(),
        manifests: manifests.clone(),
        speaker: setting.speaker.clone(),
        bpffs: Path::new("/sys/fs/bpf").join(PREFIX),
        run_dir: Path::new("/run").join(PREFIX),
        nodes: NODES,
        ..Options::sample()
    };
    let lab = Lab::up(options);
    fs::remove_dir_all(&manifests)?;
    let lab = lab?;
    let served = load(&lab, case, span);
    lab.down()?;
    served
}

fn load(lab: &Lab, case: Case, span: Duration) -> Result<Served> {
    let client = lab.topology().asker();
    let serving = if case.is_spread {
        usize::from(case.nodes)
    } else {
        1
    };
    let start = Instant::now();
    // All serve, and a spread that has just begun asks no node any more whether it is there.
    while fetch(client, SEEN)?.len() != serving || start.elapsed() < SETTLED {
        let seen = fetch(client, SEEN)?;
        ensure!(
            start.elapsed() < SERVED_MAX,
            "{}: {seen:?} serve",
            case.name()
        );
    }
    for node in &lab.topology().nodes {
        let mut tc = node.netns.command("tc");
        tc.args([
            "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", RATE, "burst", "16kb", "latency",
            "20ms",
        ]);
        xtask::lab::net::run(&mut tc)?;
    }
    fetch(client, WARM_UP)?;
    fetch(client, span)
}

/// Answers that [`CLIENTS`] get within so long, each asking again at once.
fn fetch(client: &Netns, span: Duration) -> Result<Served> {
    let end = Instant::now() + span;
    let one = || {
        client.enter(|| {
            let mut served = Served::new();
            while Instant::now() < end {
                // A connection that is lost while tables change is one that was not served.
                if let Ok(node) = ask() {
                    *served.entry(node).or_default() += 1;
                }
            }
            served
        })
    };
    let all = thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one)).collect();
        let ends = threads.into_iter().map(|thread| thread.join());
        ends.map(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<Vec<_>>>()
    })?;
    let mut sum = Served::new();
    for (node, count) in all.into_iter().flatten() {
        *sum.entry(node).or_default() += count;
    }
    Ok(sum)
}

/// Asks once; the node that served.
fn ask() -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((VIP, 80)), ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    write!(
        stream,
        "GET /{ANSWER_BYTES} HTTP/1.1\r\nHost: bench\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.len() > ANSWER_BYTES, "an answer that is too short");
    let node = answer.split_once(" node=").context("no node answers")?.1;
    Ok(node.split(' ').next().unwrap_or_default().to_owned())
}

fn write(folder: &Path, case: Case) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let steering = if case.is_spread { "spread" } else { "stack" };
    let mut text = format!(
        "apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {{name: lan, namespace: metallb-system}}
spec: {{addresses: [{VIP}/32]}}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {{name: lan, namespace: metallb-system, annotations: {{heliograph.io/steering: {steering}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: default}}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  clusterIPs: [10.96.0.10]
  ports: [{{name: http, port: 80, protocol: TCP, appProtocol: http}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, namespace: default, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints:
"
    );
    for node in 1..=case.nodes {
        text += &format!(
            "  - {{addresses: [10.244.{node}.11], nodeName: n{node}, conditions: {{ready: true}}}}\n"
        );
    }
    for node in 1..=NODES {
        text += &format!(
            "---
apiVersion: v1
kind: Node
metadata: {{name: n{node}, labels: {{kubernetes.io/hostname: n{node}}}}}
status: {{addresses: [{{type: InternalIP, address: 192.0.2.1{node}}}]}}
"
        );
    }
    let file = folder.join("all.yaml");
    fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))
}

const NODES: u8 = 3;
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const PREFIX: &str = "hgbench";
/// What each node can send.
const RATE: &str = "40mbit";
const ANSWER_BYTES: usize = 32 << 10;
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// So many that each of three links has something to carry nearly all the time: with n requests under way among k links, of which each takes
/// what chance gives it, n in n + k - 1 are.
const CLIENTS: usize = 60;
const SPAN: Duration = Duration::from_secs(5);
const QUICK: Duration = Duration::from_millis(500);
const WARM_UP: Duration = Duration::from_millis(500);
const SEEN: Duration = Duration::from_millis(200);
const SETTLED: Duration = Duration::from_secs(3);
const SERVED_MAX: Duration = Duration::from_secs(60);
