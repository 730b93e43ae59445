//! What makes a lab a cluster: an API server's double, the controller, and kubectl, for `cargo xtask lab --api`.
//!
//! The double and the controller live in a namespace of their own at the switch, as a control plane does. Manifests get
//! in as they do anywhere, by kubectl. The service proxy, which knows files alone, follows a mirror of services and
//! slices. Knows nothing of what a speaker does with any of it.

use super::net::{self, Netns};
use super::record::Process;
use super::topology::CONTROL_V4;
use crate::tools;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
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
            .args(["--service", WEBHOOKS]);
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

    /// Says where a node is, as its kubelet would: applying a manifest leaves statuses alone.
    ///
    /// # Errors
    /// With kubectl's own words.
    pub(super) fn locate(&self, node: &str, number: u8) -> Result<()> {
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
        self.mirror = Some(Mirror::start(&self.control, &folder)?);
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

/// Services and slices, written to a file whenever they change; stops when dropped.
#[derive(Debug)]
struct Mirror {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Mirror {
    fn start(control: &Netns, folder: &Path) -> Result<Self> {
        let (control, file) = (control.clone(), folder.join("objects.yaml"));
        let mut written = reflect(&control, &file, "")?;
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || follow(&control, &file, &mut written, &stopped));
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed by the thread itself.
            drop(thread.join());
        }
    }
}

fn follow(control: &Netns, file: &Path, written: &mut String, stopped: &Receiver<()>) {
    while stopped.recv_timeout(TURN) == Err(RecvTimeoutError::Timeout) {
        match reflect(control, file, written) {
            Ok(text) => *written = text,
            Err(error) => tools::say(&format!("mirror of services: {error:#}")),
        }
    }
}

/// Writes what is there if it is not what was written last.
fn reflect(control: &Netns, file: &Path, written: &str) -> Result<String> {
    let mut text = String::new();
    for (kind, path) in MIRRORED {
        let mut list = get(control, PROXY_PORT, path)?;
        let items = list["items"].as_array_mut().map(std::mem::take);
        for mut item in items.unwrap_or_default() {
            item["kind"] = kind.into();
            text += &format!("---\n{item}\n");
        }
    }
    if text != written {
        let new = file.with_extension("new");
        write(&new, &text)?;
        fs::rename(&new, file).with_context(|| format!("failed to write {}", file.display()))?;
    }
    Ok(text)
}

/// The answer to a question at a port of the control plane: of the administrator's by `kubectl proxy`. HTTP/1.0, so that it ends with the connection.
fn get(control: &Netns, port: u16, path: &str) -> Result<Value> {
    let text = control.enter(|| -> Result<String> {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&at, ANSWER_MAX)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })??;
    let (head, body) = text.split_once("\r\n\r\n").context("no HTTP answer")?;
    let line = head.lines().next().unwrap_or_default();
    ensure!(line.contains(" 200 "), "GET {path}: {line}: {body}");
    Ok(serde_json::from_str(body).unwrap_or(Value::Null))
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

const NAMESPACE: &str = "metallb-system";
/// The service accounts, whose tokens are their names.
const ACCOUNTS: [&str; 2] = ["controller", "speaker"];
const ADMIN: &str = "admin";
/// What the controller's process and log go by.
const CONTROLLER: &str = "controller";
const API_PORT: u16 = 6443;
const HEALTH_PORT: u16 = 17472; // the controller's, as MetalLB's
const PROXY_PORT: u16 = 8001; // kubectl's own default
/// The webhooks' Service, and where the controller serves them.
const WEBHOOKS: &str = "metallb-webhook-service.metallb-system=127.0.0.1:9443";
const MIRRORED: [(&str, &str); 2] = [
    ("Service", "/api/v1/services"),
    ("EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices"),
];
const TURN: Duration = Duration::from_millis(200);
const ANSWER_MAX: Duration = Duration::from_secs(5);
const READY_MAX: Duration = Duration::from_secs(20);
const LOG_LINES: usize = 30;
