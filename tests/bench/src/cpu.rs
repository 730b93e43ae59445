//! CPUs: which one a thread runs on, how much of them was used, and keeping them busy.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Keeps the calling thread on `cpu`.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("failed to stay on CPU {cpu}"))
}

/// How many CPUs are online.
pub(crate) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The CPU that is furthest from the generator's (which is 0); 0 itself on a machine with one.
pub(crate) fn other() -> usize {
    count() - 1
}

/// CPU time that this process and the kernel's packet threads have used, over all CPUs.
///
/// Packets that are handled at the end of a system call count for the thread that called. Others' load does not count.
pub(crate) fn used() -> Result<Duration> {
    let own = clock_gettime(ClockId::ProcessCPUTime);
    let mut used = Duration::new(own.tv_sec as u64, own.tv_nsec as u32);
    for pid in ksoftirqd()? {
        let path = format!("/proc/{pid}/schedstat");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        let ns = text
            .split_whitespace()
            .next()
            .and_then(|ns| ns.parse().ok());
        used += Duration::from_nanos(ns.with_context(|| format!("{path} has no time in it"))?);
    }
    Ok(used)
}

fn ksoftirqd() -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("failed to list /proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // A process that ended meanwhile has no name any more.
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name.starts_with("ksoftirqd/") {
            found.push(pid);
        }
    }
    Ok(found)
}

/// One spinning thread on each CPU until dropped.
pub(crate) struct Spinners {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Spinners {
    /// Starts them.
    pub(crate) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..count()).map(|cpu| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                // A spinner that may run anywhere still keeps every CPU busy.
                let _ = pin(cpu);
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        });
        let threads = threads.collect();
        Self { stop, threads }
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
