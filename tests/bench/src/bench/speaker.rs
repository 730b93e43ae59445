//! A speaker on the node of a [`Pair`], with one service whose VIP it answers for.
//!
//! It is run as a user runs it: a directory of manifests, its own folders, a bpf file system.

use crate::net::{NODE_IP, NODE_LINK, Pair, VIP};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The port of the service.
pub(crate) const PORT: u16 = 7007;

/// Folders and a bpf file system for one speaker after the other; gone when dropped.
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    /// Makes the folders, mounts the file system, and writes the manifests.
    pub(crate) fn create() -> Result<Self> {
        let root = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
        let home = Self { root };
        for folder in ["manifests", "run", "bpf"] {
            fs::create_dir_all(home.root.join(folder))
                .with_context(|| format!("failed to make {}", home.root.display()))?;
        }
        mount(&home.root.join("bpf"))?;
        let manifests = home.root.join("manifests").join("all.yaml");
        fs::write(&manifests, service())
            .with_context(|| format!("failed to write {}", manifests.display()))?;
        Ok(home)
    }

    /// A folder or a file in it.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        remove(&self.root);
    }
}

/// Removes what a killed bench has left behind.
pub(crate) fn sweep() -> Result<()> {
    for entry in fs::read_dir(std::env::temp_dir())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name
            .strip_prefix(PREFIX)
            .and_then(|pid| pid.parse::<u32>().ok())
        else {
            continue;
        };
        if !fs::exists(format!("/proc/{pid}"))? {
            remove(&entry.path());
        }
    }
    Ok(())
}

const PREFIX: &str = "heliograph-bench-";

fn mount(at: &Path) -> Result<()> {
    let mut mount = Command::new("mount");
    mount.args(["-t", "bpf", "none"]).arg(at);
    let output = mount.output().context("failed to run mount")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "failed to mount a bpf file system: {}",
        complaint.trim()
    );
    Ok(())
}

fn remove(root: &Path) {
    let _ = Command::new("umount")
        .arg("--lazy")
        .arg(root.join("bpf"))
        .output();
    let _ = fs::remove_dir_all(root);
}

/// A running speaker; killed when dropped.
pub(crate) struct Speaker {
    child: Child,
    log: PathBuf,
}

impl Speaker {
    /// Starts `binary` on the node.
    pub(crate) fn start(binary: &Path, home: &Home, pair: &Pair) -> Result<Self> {
        let log = home.root.join("log");
        let folder = |name: &str| home.root.join(name);
        let child = pair.node.run(|| {
            let out = fs::File::options().create(true).append(true).open(&log)?;
            let mut speaker = Command::new(binary);
            speaker.args([
                "run",
                "--node-name",
                NODE,
                "--port",
                "0",
                "--health-probe-port",
                "0",
            ]);
            speaker.arg("--manifests").arg(folder("manifests"));
            speaker.arg("--run-dir").arg(folder("run"));
            speaker.arg("--bpffs").arg(folder("bpf"));
            speaker.args(["--answer-rate", "0", "--insecure-gossip"]);
            speaker
                .stdin(Stdio::null())
                .stdout(out.try_clone()?)
                .stderr(out);
            let why = || {
                format!(
                    "failed to start {}: cargo xtask bench builds it",
                    binary.display()
                )
            };
            speaker.spawn().with_context(why)
        })?;
        Ok(Self { child, log })
    }

    /// Fails with the end of its log if it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            bail!(
                "the speaker ended with {status}:\n{}",
                lines[lines.len().saturating_sub(8)..].join("\n")
            );
        }
        Ok(())
    }

    /// SIGTERM, and waits until it is gone.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .context("failed to stop the speaker")?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(
                start.elapsed() < STOP_MAX,
                "the speaker did not stop within 10 s"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

const STOP_MAX: Duration = Duration::from_secs(10);

impl Drop for Speaker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const NODE: &str = "bench";

/// One node, one address, one UDP service whose endpoint is on the node.
fn service() -> String {
    format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: default}}
---
apiVersion: v1
kind: Node
metadata: {{name: {NODE}}}
status: {{addresses: [{{type: InternalIP, address: {NODE_IP}}}]}}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {{name: bench, namespace: metallb-system}}
spec: {{addresses: [{VIP}/32]}}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {{name: bench, namespace: metallb-system}}
spec: {{interfaces: [{NODE_LINK}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: default}}
spec:
  type: LoadBalancer
  ports: [{{port: {PORT}, protocol: UDP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: echo-1
  namespace: default
  labels: {{kubernetes.io/service-name: echo}}
addressType: IPv4
ports: [{{port: {PORT}, protocol: UDP}}]
endpoints:
  - addresses: [{NODE_IP}]
    nodeName: {NODE}
    conditions: {{ready: true}}
"
    )
}
