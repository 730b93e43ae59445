//! What the kernel says of this process (proc_pid_status(5), proc_pid_stat(5)).

use anyhow::{Context, Result};
use std::fs;

/// Sizes and times of the process.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Process {
    pub(super) resident_bytes: i64,
    pub(super) virtual_bytes: i64,
    pub(super) threads: i64,
    pub(super) open_fds: i64,
    pub(super) cpu_s: f64,
}

impl Process {
    /// This process, now.
    pub(super) fn read() -> Result<Self> {
        let status =
            fs::read_to_string("/proc/self/status").context("failed to read /proc/self/status")?;
        let stat =
            fs::read_to_string("/proc/self/stat").context("failed to read /proc/self/stat")?;
        let fds = fs::read_dir("/proc/self/fd")
            .context("failed to list /proc/self/fd")?
            .count();
        Ok(Self::parse(
            &status,
            &stat,
            i64::try_from(fds).unwrap_or(i64::MAX),
        ))
    }

    /// What cannot be found is 0.
    fn parse(status: &str, stat: &str, open_fds: i64) -> Self {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            number
                .and_then(|number| number.parse::<i64>().ok())
                .unwrap_or_default()
        };
        // The name in the second field may hold anything, so counting starts after its parenthesis.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = |at: usize| {
            let field = after_name.split_whitespace().nth(at);
            field
                .and_then(|field| field.parse::<f64>().ok())
                .unwrap_or_default()
        };
        Self {
            resident_bytes: field("VmRSS:") * 1024,
            virtual_bytes: field("VmSize:") * 1024,
            threads: field("Threads:"),
            open_fds,
            cpu_s: (ticks(UTIME) + ticks(STIME)) / TICKS_PER_S,
        }
    }
}

const UTIME: usize = 11; // field 14 of proc_pid_stat(5), of which 2 come before
const STIME: usize = 12;
const TICKS_PER_S: f64 = 100.0; // USER_HZ, part of the kernel's interface to user space

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let status = "Name:\tx\nVmSize:\t  2048 kB\nVmRSS:\t     512 kB\nThreads:\t7\n";
        let stat = "1 (a) b) S 0 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 7 0 5 6 7";
        let process = Process::parse(status, stat, 9);
        let expected = Process {
            resident_bytes: 512 << 10,
            virtual_bytes: 2 << 20,
            threads: 7,
            open_fds: 9,
            cpu_s: 2.0,
        };
        assert_eq!(process, expected);
    }

    #[test]
    fn this_process_takes_memory() {
        let process = Process::read().unwrap();
        assert!(
            process.resident_bytes > 0 && process.threads > 0 && process.open_fds > 0,
            "{process:?}"
        );
    }
}
