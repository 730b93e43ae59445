//! A router of another make beside the nodes: the other side of BGP sessions.
//!
//! Each make has its file; what is the same of all is a process in the router's namespace, which ends with the lab. Which sessions and
//! routes there should be is up to the tests.

pub mod bird;
pub mod exabgp;
pub mod frr;
pub mod gobgp;

use super::record::Process;
use super::{Lab, spawn};
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

/// A folder and the processes of a router; they end when it is dropped.
#[derive(Debug)]
pub(super) struct Daemons {
    folder: PathBuf,
    running: Vec<Child>,
}

impl Daemons {
    /// A folder of its own for a router, among the lab's.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn new(lab: &Lab, name: &str) -> Result<Self> {
        let folder = lab.folder().join(name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        Ok(Self {
            folder,
            running: Vec::new(),
        })
    }

    /// Where a file of the router is.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file of the router.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.file(name);
        fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
        Ok(file)
    }

    /// Starts one of its processes, which writes its words to `<name>.log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(&mut self, lab: &mut Lab, name: &str, command: &mut Command) -> Result<()> {
        let child = spawn(command, &self.file(&format!("{name}.log")))?;
        let process = Process::running(child.id(), name)?;
        self.running.push(child);
        lab.note(|record| record.processes.push(process))
    }

    /// Sends all of them a signal.
    fn signal(&mut self, signal: Signal) {
        for child in &mut self.running {
            if matches!(child.try_wait(), Ok(None))
                && let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
            {
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Stops all of them where they are, or lets them go on.
    pub(super) fn freeze(&mut self, is_frozen: bool) {
        self.signal(if is_frozen {
            Signal::STOP
        } else {
            Signal::CONT
        });
    }

    /// Ends all of them at once, as a crash would.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
        for mut child in self.running.drain(..) {
            let _ = child.wait();
        }
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        self.kill();
    }
}
