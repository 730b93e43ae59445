//! The API server's double as a process, filled with a cluster, and the log of what was asked of it.

use super::super::Setting;
use super::super::speaker::Home;
use crate::http::{Call, Client, Trust, send_all};
use crate::net::{CLIENT_IP, Namespace};
use crate::process::Process;
use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A running double and connections to it.
pub(in crate::bench) struct ApiDouble {
    process: Process,
    /// As many connections as the controller has requests under way.
    clients: Vec<Client>,
    /// For who shares its namespace.
    pub(super) kubeconfig: PathBuf,
    /// For who reaches it over the link.
    pub(in crate::bench) kubeconfig_far: PathBuf,
    /// Entries of the log that were read.
    read: usize,
}

/// One request as the double's log has it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Entry {
    /// As roles name it.
    pub(super) verb: String,
    /// Without the query.
    pub(super) path: String,
    /// 0 as long as there is no answer.
    pub(super) code: u16,
    /// When the answer was ready, in microseconds since the double began.
    pub(super) micros: u64,
}

impl ApiDouble {
    /// Starts one in a namespace, with a young cluster.
    pub(in crate::bench) fn start(
        setting: &Setting,
        home: &Home,
        namespace: &Namespace,
    ) -> Result<Self> {
        let own = home.folder("double.kubeconfig");
        let mut command = Command::new(&setting.double);
        command.args(["--listen", "0.0.0.0:0", "--kubeconfig"]);
        command.arg(&own);
        let log = home.folder("double.log");
        let mut process = namespace.run(|| Process::start(&mut command, &log))?;
        let port = wait_for(START_MAX, "the double to listen", || {
            process.check()?;
            let said = process.said();
            let port = said
                .lines()
                .find_map(|line| line.rsplit_once(':')?.1.parse::<u16>().ok());
            Ok(port)
        })?;
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&own)?)?;
        let mut config_for = |name: &str, host: Ipv4Addr| -> Result<PathBuf> {
            let cluster = &mut config["clusters"][0]["cluster"];
            cluster["server"] = json!(format!("https://{host}:{port}"));
            cluster["tls-server-name"] = json!("localhost");
            let path = home.folder(name);
            fs::write(&path, config.to_string())?;
            Ok(path)
        };
        let kubeconfig = config_for("near.kubeconfig", Ipv4Addr::LOCALHOST)?;
        let kubeconfig_far = config_for("far.kubeconfig", CLIENT_IP)?;
        let authority = config["clusters"][0]["cluster"]["certificate-authority-data"].as_str();
        let authority = STANDARD.decode(authority.context("the double has no authority")?)?;
        let trust = Trust::new(&authority, "localhost")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let clients = namespace.run(|| {
            (0..CONNECTIONS)
                .map(|_| Client::connect(address, &trust))
                .collect()
        })?;
        Ok(Self {
            process,
            clients,
            kubeconfig,
            kubeconfig_far,
            read: 0,
        })
    }

    /// Makes objects; each answer must be a success.
    pub(in crate::bench) fn make(
        &mut self,
        collection: &str,
        objects: impl Iterator<Item = Value>,
    ) -> Result<()> {
        let call = |object: Value| vec![Call::send("POST", collection, &object)];
        let calls: Vec<_> = objects.map(call).collect();
        self.send_all(&calls)
    }

    /// Sends groups of calls over all connections at once.
    pub(super) fn send_all(&mut self, groups: &[Vec<Call>]) -> Result<()> {
        send_all(&mut self.clients, groups)
    }

    /// Sends one call whose answer must be a success.
    pub(in crate::bench) fn ask(&mut self, call: &Call) -> Result<Value> {
        Ok(serde_json::from_slice(&self.text(call)?)?)
    }

    /// The same, as it was sent.
    pub(in crate::bench) fn text(&mut self, call: &Call) -> Result<Vec<u8>> {
        self.clients[0].ask(call)
    }

    /// What was asked since the last time, in the order of arrival. What has no answer yet is left for the next time.
    pub(super) fn entries(&mut self) -> Result<Vec<Entry>> {
        let path = format!("/double/requests?after={}", self.read);
        let mut entries: Vec<Entry> = serde_json::from_slice(&self.text(&Call::get(path))?)?;
        let answered = entries.iter().position(|entry| entry.code == 0);
        entries.truncate(answered.unwrap_or(entries.len()));
        self.read += entries.len();
        Ok(entries)
    }

    /// Now, by the double's clock; everything before it is left out of [`Self::entries`].
    pub(super) fn mark(&mut self) -> Result<u64> {
        self.text(&Call::get("/readyz"))?;
        let entries = self.entries()?;
        let mut marks = entries.iter().rev();
        let mark = marks.find(|entry| entry.path == "/readyz");
        Ok(mark.context("the double logs nothing")?.micros)
    }

    /// Everything that is asked until nothing came for a while.
    pub(super) fn entries_until_quiet(&mut self, quiet: Duration) -> Result<Vec<Entry>> {
        let (start, mut last) = (Instant::now(), Instant::now());
        let mut all = Vec::new();
        while last.elapsed() < quiet {
            ensure!(start.elapsed() < QUIET_MAX, "requests do not end");
            std::thread::sleep(POLL);
            let mut entries = self.entries()?;
            // Leases are renewed for ever.
            entries.retain(|entry| !entry.path.contains("/leases"));
            if !entries.is_empty() {
                last = Instant::now();
            }
            all.extend(entries);
        }
        Ok(all)
    }

    /// CPU time that it has used.
    pub(super) fn cpu(&self) -> Result<Duration> {
        self.process.cpu()
    }
}

/// Waits until there is something; `what` is for whoever reads why it failed.
pub(super) fn wait_for<T>(
    at_most: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        ensure!(
            start.elapsed() < at_most,
            "waited {at_most:?} in vain for {what}"
        );
        std::thread::sleep(POLL);
    }
}

/// As many as the controller has writes of statuses under way.
pub(super) const CONNECTIONS: usize = 8;
const POLL: Duration = Duration::from_millis(20);
const START_MAX: Duration = Duration::from_secs(20);
const QUIET_MAX: Duration = Duration::from_secs(180);
