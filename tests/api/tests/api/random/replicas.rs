//! Two replicas of the real controller, one of which leads.

use crate::cluster::{CONTROLLER, speaker};
use api_tests::Double;
use serde_json::json;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The replicas of one controller.
pub(super) struct Replicas {
    running: Vec<Replica>,
    kubeconfig: PathBuf,
    class: Option<String>,
    logs: tempfile::TempDir,
    started: usize,
}

struct Replica {
    /// The name of its pod.
    pod: String,
    child: Child,
}

impl Replicas {
    pub(super) fn start(double: &Double, class: Option<&str>) -> Self {
        let mut replicas = Self {
            running: Vec::new(),
            kubeconfig: double.kubeconfig(CONTROLLER).unwrap(),
            class: class.map(str::to_owned),
            logs: tempfile::tempdir().unwrap(),
            started: 0,
        };
        replicas.complete();
        replicas
    }

    /// Starts what is missing of two.
    pub(super) fn complete(&mut self) {
        while self.running.len() < COUNT {
            let pod = format!("controller-{}", self.started);
            self.started += 1;
            let log = File::create(self.logs.path().join(&pod)).unwrap();
            let mut command = Command::new(speaker());
            command
                .args(["controller", "--namespace", "metallb-system"])
                .args(["--port", "0", "--health-probe-port", "0"])
                .args(["--webhook-mode", "disabled"])
                .args(["--log-level", "info", "--log-format", "json"])
                .args(["--pod-name", &pod, "--kubeconfig"])
                .arg(&self.kubeconfig)
                .args(self.class.iter().map(|class| format!("--lb-class={class}")))
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log);
            let child = command
                .spawn()
                .unwrap_or_else(|e| panic!("{}: {e}", speaker().display()));
            self.running.push(Replica { pod, child });
        }
    }

    /// Kills the one that leads at once, and lets the Lease look given back, as if its time were over.
    pub(super) fn kill_leader(&mut self, double: &Double) {
        let Some(mut leader) = self.take_leader(double) else {
            return;
        };
        leader.child.kill().unwrap();
        leader.child.wait().unwrap();
        release(double);
        self.complete();
    }

    /// Stops all as a kubelet does, and starts as many anew.
    pub(super) fn restart(&mut self) {
        for replica in &self.running {
            let pid = replica.child.id().to_string();
            let stopped = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
            assert!(stopped.success());
        }
        for mut replica in self.running.drain(..) {
            let deadline = Instant::now() + STOP_MAX;
            while replica.child.try_wait().unwrap().is_none() {
                assert!(Instant::now() < deadline, "{} does not stop", replica.pod);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        self.complete();
    }

    /// A replica that ended by itself, and how.
    pub(super) fn fallen(&mut self) -> Option<String> {
        let mut ended = self.running.iter_mut();
        ended.find_map(|replica| {
            let status = replica.child.try_wait().unwrap()?;
            Some(format!("{} ended: {status}", replica.pod))
        })
    }

    fn take_leader(&mut self, double: &Double) -> Option<Replica> {
        let lease = double.get(LEASE)?;
        let holder = lease["spec"]["holderIdentity"].as_str()?.to_owned();
        let is_leader = |replica: &Replica| holder.starts_with(&format!("{}_", replica.pod));
        let place = self.running.iter().position(is_leader)?;
        Some(self.running.remove(place))
    }

    /// The last lines of each log.
    pub(super) fn logs(&self) -> String {
        let mut text = String::new();
        for replica in &self.running {
            let log =
                std::fs::read_to_string(self.logs.path().join(&replica.pod)).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
            text += &format!("--- {}\n{}\n", replica.pod, last.join("\n"));
        }
        text
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        for replica in &mut self.running {
            let _gone_already = replica.child.kill();
            let _gone_already = replica.child.wait();
        }
    }
}

fn release(double: &Double) {
    let Some(mut lease) = double.get(LEASE) else {
        return;
    };
    lease["spec"]["holderIdentity"] = json!("");
    double.request("PUT", LEASE, "application/json", &lease);
}

const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/metallb-system/leases/heliograph-controller";
const COUNT: usize = 2;
const STOP_MAX: Duration = Duration::from_secs(10);
const LINES_SHOWN: usize = 25;
