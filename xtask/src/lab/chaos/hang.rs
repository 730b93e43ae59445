//! Faults of the holder's process: threads that hang, and memory that is not to be had.
//!
//! Threads are stopped with ptrace, so that the speaker itself has no means of hanging.

use super::fault::{Heal, Target, nothing};
use crate::tools;
use anyhow::{Context, Result, ensure};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};

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

/// Puts the process into a group of its own that may have hardly any more memory than nothing: what it has already is not counted there, every page
/// that it wants from now on is.
pub(super) fn no_memory(target: &mut Target<'_>) -> Result<Heal> {
    let Some((root, limit)) = controller() else {
        tools::say(
            "memory: this machine has no memory controller at the usual places; nothing was done",
        );
        return Ok(nothing());
    };
    let group = root.join(format!("{}-chaos", target.lab.options().prefix));
    if !group.exists() {
        fs::create_dir(&group).with_context(|| format!("failed to make {}", group.display()))?;
    }
    fs::write(group.join(limit), LIMIT_BYTES).context("failed to set the limit")?;
    let holder = target.holder.clone();
    let pid = target.lab.speaker(&holder)?.id().to_string();
    fs::write(group.join("cgroup.procs"), &pid).context("failed to move the speaker")?;
    Ok(Box::new(move |lab| {
        // It may have been killed for want of memory: then it is started again, as its kubelet would.
        if lab.speaker(&holder)?.check().is_ok() {
            fs::write(root.join("cgroup.procs"), &pid)
                .context("failed to move the speaker back")?;
        } else {
            lab.start_speaker(&holder)?;
            lab.speaker(&holder)?.wait_until_ready()?;
        }
        fs::remove_dir(&group).with_context(|| format!("failed to remove {}", group.display()))
    }))
}

/// Where groups are made, and the name of the limit; of either version of control groups.
fn controller() -> Option<(PathBuf, &'static str)> {
    let places = [
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max"),
    ];
    let is_there = |root: &str| {
        let controllers = fs::read_to_string(Path::new(root).join("cgroup.subtree_control"));
        Path::new(root).join("memory.limit_in_bytes").exists()
            || controllers.is_ok_and(|names| names.split_whitespace().any(|name| name == "memory"))
    };
    let place = places.into_iter().find(|(root, _)| is_there(root));
    place.map(|(root, limit)| (root.into(), limit))
}

const LIMIT_BYTES: &str = "262144";
