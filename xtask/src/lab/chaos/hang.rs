//! Faults of the holder's process: threads that hang.
//!
//! Threads are stopped with ptrace, so that the speaker itself has no means of hanging.

use super::fault::{Heal, Target};
use anyhow::{Context, Result, ensure};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::fs;

/// Stops the threads whose names begin so. To be healed by the thread that did it.
pub(super) fn threads(target: &mut Target<'_>, name: &str) -> Result<Heal> {
    let pid = target.lab.speaker(&target.holder)?.id();
    let mut hung = Hung(Vec::new());
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path();
        if fs::read_to_string(path.join("comm"))?.starts_with(name) {
            let id = path.file_name().and_then(|id| id.to_str()?.parse().ok());
            hung.stop(Pid::from_raw(id.context("a thread's folder is no number")?))?;
        }
    }
    ensure!(!hung.0.is_empty(), "no thread of {pid} is called {name}");
    Ok(Box::new(move |_| {
        drop(hung);
        Ok(())
    }))
}

/// Stopped threads, which go on when this is dropped.
struct Hung(Vec<Pid>);

impl Hung {
    fn stop(&mut self, thread: Pid) -> Result<()> {
        ptrace::seize(thread, ptrace::Options::empty()).context("failed to trace a thread")?;
        self.0.push(thread);
        ptrace::interrupt(thread).context("failed to stop a thread")?;
        waitpid(thread, Some(WaitPidFlag::__WALL)).context("failed to wait for a thread")?;
        Ok(())
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        for thread in &self.0 {
            // One that ended meanwhile is as free as can be.
            let _ = ptrace::detach(*thread, None);
        }
    }
}
