//! A speaker process on a node of the lab, and questions to it over its command line.

use super::kubelet::Pod;
use super::topology::Node;
use super::{net, show};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A started speaker.
#[derive(Debug)]
pub struct Speaker {
    node: String,
    binary: PathBuf,
    run_dir: PathBuf,
    log: PathBuf,
    child: Child,
}

/// Where a speaker has its objects from.
pub(super) enum Source {
    /// A folder of manifests.
    Manifests(PathBuf),
    /// The API server that this kubeconfig names.
    Cluster(PathBuf),
}

/// The file of the secret that all speakers of a lab share, beside their logs; made where it is missing.
fn secret(log: &Path) -> Result<PathBuf> {
    let file = log.with_file_name("secretkey");
    if !file.exists() {
        fs::write(&file, "bm9ib2R5IGVsc2Ugc2hhcmVzIGl0")?;
    }
    Ok(file)
}

/// What it is started with.
pub(super) struct Start<'a> {
    pub(super) binary: &'a Path,
    pub(super) node: &'a Node,
    pub(super) source: Source,
    pub(super) run_dir: &'a Path,
    pub(super) bpffs: &'a Path,
    pub(super) log: &'a Path,
    pub(super) flags: &'a [&'a str],
    /// The pod whose container it is.
    pub(super) pod: Option<&'a Pod>,
}

impl Speaker {
    pub(super) fn start(start: &Start<'_>) -> Result<Self> {
        let binary = start.binary;
        ensure!(
            binary.exists(),
            "{} is missing: `cargo build -p speaker`",
            binary.display()
        );
        let mut command = start.node.netns.command(binary);
        match start.pod {
            Some(pod) => command.args(&pod.args).envs(pod.env.clone()),
            None => command
                .args(["run", "--node-name", &start.node.name])
                .env("METALLB_ML_SECRET_KEY_PATH", secret(start.log)?),
        };
        match &start.source {
            Source::Manifests(folder) => command.arg("--manifests").arg(folder),
            Source::Cluster(kubeconfig) => command.arg("--kubeconfig").arg(kubeconfig),
        };
        command.arg("--run-dir").arg(start.run_dir);
        command.arg("--bpffs").arg(start.bpffs);
        command.args(start.flags);
        Ok(Self {
            node: start.node.name.clone(),
            binary: binary.to_owned(),
            run_dir: start.run_dir.to_owned(),
            log: start.log.to_owned(),
            child: super::spawn(&mut command, start.log)?,
        })
    }

    /// Its pid.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it answers on its control socket.
    ///
    /// # Errors
    /// When it ends or takes too long, with the last lines of its log.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let until = Instant::now() + READY_MAX;
        loop {
            self.check()?;
            let Err(error) = self.ctl(&["status"]) else {
                return Ok(());
            };
            if Instant::now() >= until {
                let tail = self.log_tail();
                return Err(error.context(format!(
                    "the speaker of {} did not come up within {} s:\n{tail}",
                    self.node,
                    READY_MAX.as_secs()
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When it has ended, with the last lines of its log.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let tail = self.log_tail();
            bail!("the speaker of {} ended with {status}:\n{tail}", self.node);
        }
        Ok(())
    }

    /// What `speaker ctl` prints for these words.
    ///
    /// # Errors
    /// When it ends badly, with what it said.
    pub fn ctl(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.binary);
        command
            .args(["ctl", "--node", &self.node, "--run-dir"])
            .arg(&self.run_dir);
        net::output(command.args(words))
    }

    /// What `speaker ctl … -o json` says.
    ///
    /// # Errors
    /// When it ends badly or says something else.
    pub fn ctl_json(&self, words: &[&str]) -> Result<Value> {
        let words: Vec<&str> = words.iter().copied().chain(["-o", "json"]).collect();
        let text = self.ctl(&words)?;
        serde_json::from_str(&text).with_context(|| format!("ctl {words:?} is not JSON: {text}"))
    }

    /// The beginning of a `speaker ctl` command for this speaker.
    pub fn ctl_words(&self) -> String {
        let mut words = format!("{} ctl --node {}", show::short(&self.binary), self.node);
        if self.run_dir != Path::new(super::place::RUN_DIR) {
            words += &format!(" --run-dir {}", self.run_dir.display());
        }
        words
    }

    /// How many neighbour requests its program has answered.
    ///
    /// # Errors
    /// When the counters cannot be had.
    pub fn answered(&self) -> Result<u64> {
        let counters = self.ctl_json(&["counters"])?;
        Ok(sum(&counters, "answered"))
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(LOG_LINES);
        lines[from..]
            .iter()
            .map(|line| format!("    {line}\n"))
            .collect()
    }

    /// Asks it to end; [`Speaker::stop`] waits for it.
    pub(super) fn ask_to_stop(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        // A child that was waited for has no pid any more that would be its own.
        if matches!(self.child.try_wait(), Ok(None))
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it in order, or by force when it takes too long; how it ended.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn stop(&mut self) -> Result<std::process::ExitStatus> {
        self.end(STOP_MAX)
    }

    /// The same with other patience.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn end(&mut self, patience: Duration) -> Result<std::process::ExitStatus> {
        self.ask_to_stop();
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// Ends it at once, as a crash would.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

/// The sum of the numbers under this key, wherever it is.
fn sum(value: &Value, key: &str) -> u64 {
    match value {
        Value::Object(fields) => {
            let own = fields.get(key).and_then(Value::as_u64);
            own.unwrap_or_else(|| fields.values().map(|field| sum(field, key)).sum())
        }
        Value::Array(items) => items.iter().map(|item| sum(item, key)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// What only keeps a test from waiting for ever: some seconds where the machine has nothing else to do.
const READY_MAX: Duration = Duration::from_secs(60);
/// Likewise; a clean stop takes less than two seconds then.
const STOP_MAX: Duration = Duration::from_secs(20);
const LOG_LINES: usize = 30;
