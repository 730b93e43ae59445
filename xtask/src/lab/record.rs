//! What a lab has put on the machine, written down before it is done, so that it can be undone after a crash too.
//!
//! Undoing touches nothing that is not in the record, and a process only when it is still the one that was started: a
//! pid alone may be somebody else's by now.

use super::net::{self, NETNS_DIR, Netns};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Everything to undo; a lab of an older build may have written fewer fields.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub(super) struct Record {
    /// The process that keeps the lab up.
    pub(super) owner: Option<Process>,
    /// Names of namespaces.
    pub(super) namespaces: Vec<String>,
    /// Backends and speakers.
    pub(super) processes: Vec<Process>,
    /// Folders that did not exist before: pins, sockets.
    pub(super) folders: Vec<PathBuf>,
    /// Parents of those that did not exist either; they go when nobody else uses them.
    pub(super) parents: Vec<PathBuf>,
    /// Where a bpffs was mounted; it goes when nobody else uses it.
    pub(super) mounted: Option<PathBuf>,
    /// Whether the folder of namespace handles was not there before.
    pub(super) made_netns_dir: bool,
}

/// A process and the moment of its start, which together name it for as long as the machine runs.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(super) struct Process {
    pid: i32,
    /// Clock ticks from boot to its start.
    started: u64,
    /// What it is, for people.
    what: String,
}

impl Process {
    /// The running process of that pid.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn running(pid: u32, what: impl Into<String>) -> Result<Self> {
        let pid = i32::try_from(pid).context("a pid beyond the kernel's range")?;
        let started = started(pid).with_context(|| format!("process {pid} has ended"))?;
        let what = what.into();
        Ok(Self { pid, started, what })
    }

    /// Whether it still runs; a zombie does not.
    pub(super) fn is_alive(&self) -> bool {
        started(self.pid) == Some(self.started)
    }

    /// Sends a signal if it still runs.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.is_alive()) {
            // It may end in between, which is as good.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for its end. Whether it came in time.
    pub(super) fn wait(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }

    /// Ends it, in kindness first.
    pub(super) fn end(&self) -> Result<()> {
        self.signal(Signal::TERM);
        if self.wait(KIND) {
            return Ok(());
        }
        self.signal(Signal::KILL);
        if !self.wait(KIND) {
            bail!("{self} does not end");
        }
        Ok(())
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (pid {})", self.what, self.pid)
    }
}

/// Field 22 of `/proc/<pid>/stat`; none when the process is not there or only waits to be reaped.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses and may hold anything.
    let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18)?.parse().ok())?
}

impl Record {
    /// Reads a record; none is none.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub(super) fn load(path: &Path) -> Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .with_context(|| format!("failed to read {}", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
        }
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let draft = path.with_extension("draft");
        let text = serde_json::to_string_pretty(self).context("failed to encode the record")?;
        fs::write(&draft, text)
            .and_then(|()| fs::rename(&draft, path))
            .with_context(|| format!("failed to write {}", path.display()))
    }

    /// Undoes all of it, in reverse, going on after a failure.
    ///
    /// # Errors
    /// With everything that would not go.
    pub(super) fn undo(&self) -> Result<()> {
        let mut faults = Vec::new();
        let mut attempt = |result: Result<()>| {
            if let Err(error) = result {
                faults.push(format!("{error:#}"));
            }
        };
        for process in &self.processes {
            process.signal(Signal::TERM);
        }
        for process in &self.processes {
            attempt(process.end());
        }
        for name in self.namespaces.iter().rev() {
            attempt(Netns::named(name).delete());
        }
        for folder in self.folders.iter().rev() {
            attempt(remove(folder));
        }
        for parent in self.parents.iter().rev() {
            // Another's folder in it is what keeps it.
            let _ = fs::remove_dir(parent);
        }
        if let Some(at) = self.mounted.as_deref().filter(|at| is_unused_bpffs(at)) {
            attempt(net::run(Command::new("umount").arg(at)));
        }
        if self.made_netns_dir {
            remove_netns_dir();
        }
        if faults.is_empty() {
            return Ok(());
        }
        bail!("the lab is not all gone:\n  {}", faults.join("\n  "))
    }
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether a bpffs has nothing but what every new one has, the kernel's own `maps.debug` and `progs.debug`.
fn is_unused_bpffs(at: &Path) -> bool {
    let is_own = |path: PathBuf| path.extension().is_some_and(|e| e == "debug");
    super::place::is_in_bpffs(at).unwrap_or(false)
        && fs::read_dir(at).is_ok_and(|all| all.flatten().all(|entry| is_own(entry.path())))
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// `ip netns` has mounted the folder on itself; somebody else's namespaces keep it.
fn remove_netns_dir() {
    for _ in 0..NETNS_MOUNTS_MAX {
        if !is_empty(Path::new(NETNS_DIR)) || fs::remove_dir(NETNS_DIR).is_ok() {
            return;
        }
        if net::run(Command::new("umount").arg(NETNS_DIR)).is_err() {
            return;
        }
    }
}

const NETNS_MOUNTS_MAX: usize = 8;
const POLL: Duration = Duration::from_millis(10);
const KIND: Duration = Duration::from_secs(5); // the speaker's clean stop takes less than two

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn a_pid_used_again_is_not_ours() {
        let mut process = Process::running(std::process::id(), "this test").unwrap();
        assert!(process.is_alive());
        process.started += 1;
        assert!(!process.is_alive());
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
        if let Ok(process) = Process::running(child.id(), "true") {
            assert!(process.wait(KIND));
        }
        child.wait().unwrap();
    }
}
