//! What makes a lab a cluster: an API server's double, the controller, and kubectl, for `cargo xtask lab --api`.
//!
//! The double and the controller live in a namespace of their own at the switch, as a control plane does. Manifests get
//! in as they do anywhere, by kubectl. The service proxy, which knows files alone, follows a mirror of services and
//! slices. Knows nothing of what a speaker does with any of it.

use super::http::{get, send};
use super::kubelet::Pod;
use super::mirror::Mirror;
use super::net::{self, Netns};
use super::record::Process;
use super::topology::CONTROL_V4;
use crate::tools;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The binaries of a cluster.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The API server's double.
    pub double: PathBuf,
    /// A real kubectl.
    pub kubectl: PathBuf,
}

/// A running control plane.
#[derive(Debug)]
pub(super) struct Cluster {
    folder: PathBuf,
    control: Netns,
    children: Vec<(Child, String)>,
    mirror: Option<Mirror>,
}

impl Cluster {
    /// Starts the double in `control` and brings our custom resources and manifests in, then those of `manifests`.
    ///
    /// # Errors
    /// When something is missing or does not come up, with the last lines of its log.
    pub(super) fn start(binaries: &Binaries, control: &Netns, folder: &Path) -> Result<Self> {
        let mut cluster = Self {
            folder: folder.to_owned(),
            control: control.clone(),
            children: Vec::new(),
            mirror: None,
        };
        ensure!(
            binaries.double.exists(),
            "{} is missing: `cargo build -p api-tests`",
            binaries.double.display()
        );
        let account = |name: &str| format!("{name},system:serviceaccount:{NAMESPACE}:{name}\n");
        let tokens: String = ACCOUNTS.map(account).concat();
        write(&folder.join("tokens"), &tokens)?;
        let mut double = control.command(&binaries.double);
        double
            .args(["--listen", &api().to_string()])
            .arg("--crds")
            .arg(tools::root().join("deploy/crds"))
            .arg("--token-file")
            .arg(folder.join("tokens"))
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig(ADMIN))
            .args(["--service", WEBHOOKS])
            .args(["--service", OPERATOR_WEBHOOK]);
        cluster.spawn(&mut double, "api-double")?;
        cluster.write_access(binaries)?;
        // Plain HTTP for the mirror, where nobody else gets at it.
        let mut proxy = control.command(&binaries.kubectl);
        proxy
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig(ADMIN))
            .args(["proxy", "--port", &PROXY_PORT.to_string()]);
        cluster.spawn(&mut proxy, "kubectl-proxy")?;
        cluster.wait(PROXY_PORT, "the API server's double")?;
        Ok(cluster)
    }

    /// Starts the controller, once the manifests of an installation are in.
    ///
    /// # Errors
    /// When it does not become ready, with the last lines of its log.
    pub(super) fn start_controller(&mut self, speaker: &Path) -> Result<()> {
        let mut controller = self.control.command(speaker);
        controller
            .args(["controller", "--namespace", NAMESPACE])
            .args(["--pod-name", "controller-lab", "--deployment", "controller"])
            .arg("--kubeconfig")
            .arg(self.kubeconfig("controller"));
        self.spawn(&mut controller, CONTROLLER)?;
        self.wait(HEALTH_PORT, "the controller")
    }

    /// Starts what the pod of a Deployment runs, with these flags besides.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start_pod(
        &mut self,
        binary: &Path,
        account: &str,
        pod: &Pod,
        flags: &[&str],
    ) -> Result<()> {
        let mut command = self.control.command(binary);
        command.args(&pod.args).args(flags).envs(pod.env.clone());
        command.arg("--kubeconfig").arg(self.kubeconfig(account));
        self.spawn(&mut command, &pod.name)
    }

    /// Whether what the pod of that name runs does so still.
    ///
    /// # Errors
    /// When it cannot be asked after.
    pub(super) fn has_pod(&mut self, name: &str) -> Result<bool> {
        let mut children = self.children.iter_mut();
        let Some((child, _)) = children.find(|(_, what)| what == name) else {
            return Ok(false);
        };
        Ok(child.try_wait()?.is_none())
    }

    /// Ends what the pod of that name runs, in order.
    ///
    /// # Errors
    /// When it does not end.
    pub(super) fn end_pod(&mut self, name: &str) -> Result<()> {
        let Some(at) = self.children.iter().position(|(_, what)| what == name) else {
            return Ok(());
        };
        let (mut child, what) = self.children.remove(at);
        if let Ok(process) = Process::running(child.id(), what) {
            process.end()?;
        }
        child.wait().context("failed to wait for a pod")?;
        Ok(())
    }

    /// Whether something of the control plane says at that port that it is ready.
    pub(super) fn is_ready(&self, port: u16) -> bool {
        get(&self.control, port, "/readyz").is_ok()
    }

    /// An object, or a list, as the administrator sees it; none if it is not there.
    ///
    /// # Errors
    /// When the API server does not tell.
    pub(super) fn object(&self, path: &str) -> Result<Option<Value>> {
        match send(&self.control, PROXY_PORT, "GET", path, "")? {
            (200, body) => Ok(Some(serde_json::from_str(&body)?)),
            (404, _) => Ok(None),
            (code, body) => bail!("GET {path}: {code} {body}"),
        }
    }

    /// Changes something as the cluster's own parts do. That it is there already, or not any more, is well.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(super) fn change(&self, method: &str, path: &str, body: &Value) -> Result<()> {
        let (code, answer) = send(&self.control, PROXY_PORT, method, path, &body.to_string())?;
        ensure!(
            (200..300).contains(&code) || code == 404 || code == 409,
            "{method} {path}: {code} {answer}"
        );
        Ok(())
    }

    /// Ends the controller at once, as a crash would.
    ///
    /// # Errors
    /// When none runs, or it cannot be ended.
    pub(super) fn kill_controller(&mut self) -> Result<()> {
        let at = self
            .children
            .iter()
            .position(|(_, what)| what == CONTROLLER);
        let (mut child, _) = self.children.remove(at.context("no controller runs")?);
        child.kill().context("failed to end the controller")?;
        child.wait().context("failed to wait for the controller")?;
        Ok(())
    }

    /// Applies a file or a folder as a user would.
    ///
    /// # Errors
    /// With kubectl's own words.
    pub(super) fn apply(&self, path: &Path) -> Result<()> {
        let mut kubectl = Command::new(self.kubectl());
        kubectl
            .args(["apply", "--server-side", "--validate=false", "-f"])
            .arg(path);
        net::run(&mut kubectl)
    }

    /// Says what a node is and where, as its kubelet would: applying a manifest leaves statuses alone.
    ///
    /// # Errors
    /// With kubectl's own words.
    pub(super) fn locate(&self, node: &str, number: u8) -> Result<()> {
        let labels = json!({"metadata": {"labels": {"kubernetes.io/os": "linux"}}});
        self.change("PATCH", &format!("/api/v1/nodes/{node}"), &labels)?;
        let status = format!(
            r#"{{"status":{{"addresses":[{{"type":"InternalIP","address":"192.0.2.{0}"}},{{"type":"InternalIP","address":"2001:db8::{0}"}}]}}}}"#,
            10 + number
        );
        let mut kubectl = Command::new(self.kubectl());
        kubectl.args(["patch", "node", node, "--subresource=status"]);
        net::run(kubectl.args(["--type=merge", "-p", &status]))
    }

    /// Keeps a folder of services and slices as they are, for whoever reads files.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(super) fn mirror(&mut self) -> Result<PathBuf> {
        let folder = self.objects();
        fs::create_dir_all(&folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        self.mirror = Some(Mirror::start(&self.control, PROXY_PORT, &folder)?);
        Ok(folder)
    }

    /// The folder that [`Cluster::mirror`] keeps.
    pub(super) fn objects(&self) -> PathBuf {
        self.folder.join("mirror")
    }

    /// How somebody gets in: the administrator or one of the accounts.
    pub(super) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.folder.join(format!("{user}.kubeconfig"))
    }

    /// The command that works as kubectl from outside of the namespace.
    pub(super) fn kubectl(&self) -> PathBuf {
        self.folder.join("kubectl")
    }

    /// The processes, for the record.
    pub(super) fn processes(&self) -> Result<Vec<Process>> {
        let children = self.children.iter();
        children
            .map(|(child, what)| Process::running(child.id(), what.clone()))
            .collect()
    }

    /// Whether everything still runs.
    ///
    /// # Errors
    /// When a part has ended, with the last lines of its log.
    pub(super) fn check(&mut self) -> Result<()> {
        for (child, what) in &mut self.children {
            if let Some(status) = child.try_wait()? {
                let tail = tail(&self.folder.join("log").join(format!("{what}.log")));
                bail!("the {what} ended with {status}:\n{tail}");
            }
        }
        Ok(())
    }

    /// Ends everything.
    ///
    /// # Errors
    /// When a part cannot be ended.
    pub(super) fn stop(&mut self) -> Result<()> {
        self.mirror = None;
        for (mut child, what) in self.children.drain(..).rev() {
            child
                .kill()
                .and_then(|()| child.wait())
                .with_context(|| format!("failed to end the {what}"))?;
        }
        Ok(())
    }

    /// Kubeconfigs of the accounts, made from the administrator's, and the command by which kubectl is used from outside.
    fn write_access(&mut self, binaries: &Binaries) -> Result<()> {
        let until = Instant::now() + READY_MAX;
        while !self.kubeconfig(ADMIN).exists() {
            self.check()?;
            ensure!(
                Instant::now() < until,
                "the API server's double wrote no kubeconfig"
            );
            std::thread::sleep(TURN);
        }
        let text = fs::read_to_string(self.kubeconfig(ADMIN))?;
        for account in ACCOUNTS {
            let mut config: Value = serde_json::from_str(&text)
                .context("failed to read the administrator's kubeconfig")?;
            config["users"][0]["user"] = json!({"token": account});
            write(&self.kubeconfig(account), &config.to_string())?;
        }
        let script = format!(
            "#!/bin/sh\nexec nsenter --net={} -- {} --kubeconfig {} \"$@\"\n",
            self.control.path().display(),
            binaries.kubectl.display(),
            self.kubeconfig(ADMIN).display()
        );
        write(&self.kubectl(), &script)?;
        fs::set_permissions(self.kubectl(), Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn spawn(&mut self, command: &mut Command, what: &str) -> Result<()> {
        let log = self.folder.join("log").join(format!("{what}.log"));
        let child = super::spawn(command, &log)?;
        self.children.push((child, what.to_owned()));
        Ok(())
    }

    /// Waits until what serves at `port` says that it is ready.
    fn wait(&mut self, port: u16, what: &str) -> Result<()> {
        let until = Instant::now() + READY_MAX;
        while let Err(error) = get(&self.control, port, "/readyz") {
            self.check()?;
            if Instant::now() >= until {
                return Err(error.context(format!("{what} did not come up")));
            }
            std::thread::sleep(TURN);
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tools::say(&format!("{error:#}"));
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

fn api() -> SocketAddr {
    SocketAddr::from((CONTROL_V4, API_PORT))
}

pub(super) const NAMESPACE: &str = "metallb-system";
/// The service accounts, whose tokens are their names.
const ACCOUNTS: [&str; 3] = ["controller", "speaker", "metallb-operator"];
const ADMIN: &str = "admin";
/// What the controller's process and log go by.
const CONTROLLER: &str = "controller";
const API_PORT: u16 = 6443;
const HEALTH_PORT: u16 = 17472; // the controller's, as MetalLB's
const PROXY_PORT: u16 = 8001; // kubectl's own default
/// The webhooks' Service, and where the controller serves them.
const WEBHOOKS: &str = "metallb-webhook-service.metallb-system=127.0.0.1:9443";
/// The operator's, which shares the address with the controller here and so has another port.
const OPERATOR_WEBHOOK: &str = "metallb-operator-webhook-service.metallb-system=127.0.0.1:9444";
const TURN: Duration = Duration::from_millis(200);
const READY_MAX: Duration = Duration::from_secs(60); // usually one or two, but a machine may have much to do
const LOG_LINES: usize = 30;
