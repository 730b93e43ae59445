//! Another process as `/proc` shows it: its CPU time, its memory, and what its network namespace sent and received.

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running program whose output goes to a file; killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

/// What a network namespace sent and received so far, as IP counts it: headers and repetitions included, frames of others than
/// IP not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Octets {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

impl Process {
    /// Starts it in the namespace that the calling thread is in.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let out = File::create(log).with_context(|| format!("failed to make {}", log.display()))?;
        command.stdin(Stdio::null());
        command.stdout(out.try_clone()?).stderr(out);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .spawn()
            .with_context(|| format!("failed to start {program}: cargo xtask bench builds it"))?;
        let log = log.to_owned();
        Ok(Self { child, log })
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails with the end of its output if it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(8)..].join("\n");
            bail!("{} ended with {status}:\n{last}", self.log.display());
        }
        Ok(())
    }

    /// SIGTERM, and waits until it is gone.
    pub(crate) fn stop(self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.ended()
    }

    /// Waits until it is gone.
    pub(crate) fn ended(mut self) -> Result<()> {
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(
                start.elapsed() < STOP_MAX,
                "{} did not stop within 20 s",
                self.log.display()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// CPU time of all its threads, in user and kernel mode; the kernel counts in hundredths of a second.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let text = self.proc("stat")?;
        // The name in parentheses may hold spaces.
        let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = rest.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// CPU time of all its threads that still run, to the nanosecond.
    pub(crate) fn cpu_exact(&self) -> Result<Duration> {
        let folder = format!("/proc/{}/task", self.child.id());
        let mut used = 0;
        for task in fs::read_dir(&folder).with_context(|| format!("failed to list {folder}"))? {
            // A thread that ended meanwhile is not listed any more.
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            let word = text.split_whitespace().next();
            used += word.and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(used))
    }

    /// How often its threads that still run have waited for something.
    pub(crate) fn waits(&self) -> Result<u64> {
        let folder = format!("/proc/{}/task", self.child.id());
        let mut waits = 0;
        for task in fs::read_dir(&folder).with_context(|| format!("failed to list {folder}"))? {
            // A thread that ended meanwhile is not listed any more.
            let text = fs::read_to_string(task?.path().join("status")).unwrap_or_default();
            let mut lines = text.lines();
            let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            waits += line.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(waits)
    }

    /// Memory in use, in MiB.
    pub(crate) fn memory(&self) -> Result<f64> {
        self.status("VmRSS:")
    }

    /// The most that it ever was.
    pub(crate) fn memory_peak(&self) -> Result<f64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> Result<f64> {
        let text = self.proc("status")?;
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next());
        let kib: f64 = kib.context("no such field")?.parse()?;
        Ok(kib / 1024.0)
    }

    /// What its network namespace sent and received.
    pub(crate) fn octets(&self) -> Result<Octets> {
        let text = self.proc("net/netstat")?;
        let mut lines = text.lines().filter(|line| line.starts_with("IpExt:"));
        let (names, values) = lines.next().zip(lines.next()).context("no IpExt")?;
        let find = |wanted: &str| {
            let mut pairs = names.split(' ').zip(values.split(' '));
            let found = pairs.find(|(name, _)| *name == wanted);
            found.and_then(|(_, value)| value.parse().ok())
        };
        Ok(Octets {
            received: find("InOctets").context("no InOctets")?,
            sent: find("OutOctets").context("no OutOctets")?,
        })
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of this process.
pub(crate) fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

const STOP_MAX: Duration = Duration::from_secs(20);
