//! The kernel: what it can do, and what it lets us do.

use super::facts::{BpfFsState, Facts};
use super::{Check, Findings, Severity};

pub(super) fn examine(facts: &Facts, found: &mut Findings) {
    version(facts, found);
    let kernel = &facts.kernel;
    if !kernel.has_types {
        found.add(
            Severity::Warning,
            Check::KernelTypes,
            "",
            "there is no /sys/kernel/btf/vmlinux",
            "take a kernel that was built with CONFIG_DEBUG_INFO_BTF=y",
        );
    }
    if facts.sysctl("net/core/bpf_jit_enable") == Some(0) {
        found.add(
            Severity::Warning,
            Check::Jit,
            "",
            "net.core.bpf_jit_enable is 0",
            "sysctl -w net/core/bpf_jit_enable=1",
        );
    }
    for (capability, what_for) in &kernel.lacking {
        let seen = format!("this process lacks it; it is there to {what_for}");
        let remedy = "run it as root, or add it to the container's securityContext.capabilities";
        found.add(
            Severity::Error,
            Check::Capabilities,
            capability,
            seen,
            remedy,
        );
    }
    bpf_fs(facts, found);
    clocks(facts, found);
    kept(facts, found);
    conntrack(facts, found);
}

fn version(facts: &Facts, found: &mut Findings) {
    let release = &facts.kernel.release;
    let seen = format!("it is {release}");
    match version_of(release) {
        None => {}
        Some(version) if version < OLDEST => found.add(
            Severity::Error,
            Check::KernelVersion,
            "",
            seen,
            "take a kernel of 5.10 or later",
        ),
        Some(version) if version < WITH_TCX => found.add(
            Severity::Note,
            Check::KernelVersion,
            "",
            format!("{seen}: the program goes to clsact, where others can put theirs before it"),
            "nothing, or a kernel of 6.6 or later",
        ),
        Some(_) => {}
    }
}

/// Major and minor number of `6.1.0-13-amd64`.
fn version_of(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse().ok());
    Some((next()?, next()?))
}

fn bpf_fs(facts: &Facts, found: &mut Findings) {
    let place = &facts.kernel.bpffs;
    let (seen, remedy) = match facts.kernel.bpffs_state {
        BpfFsState::Usable => return,
        BpfFsState::Absent => (
            "no bpf file system is mounted there",
            format!("mount -t bpf bpf {place}"),
        ),
        BpfFsState::ReadOnly => (
            "the bpf file system there is mounted read-only",
            format!("mount -o remount,rw {place}"),
        ),
    };
    found.add(Severity::Error, Check::BpfFs, place, seen, remedy);
}

fn clocks(facts: &Facts, found: &mut Findings) {
    if let Some(source) = &facts.kernel.clock_source
        && SLOW_CLOCKS.contains(&source.as_str())
    {
        found.add(
            Severity::Warning,
            Check::ClockSource,
            "",
            format!("time is read from {source}"),
            "find out in `dmesg` why the kernel distrusts the processor's clock (tsc)",
        );
    }
    if facts.kernel.wall_s < WALL_MIN_S {
        found.add(
            Severity::Error,
            Check::WallClock,
            "",
            format!(
                "it says {} seconds since 1970, which is before this was written",
                facts.kernel.wall_s
            ),
            "set the clock: chronyc makestep, or timedatectl set-ntp true",
        );
    }
}

fn kept(facts: &Facts, found: &mut Findings) {
    if facts.kernel.is_clock_kept == Some(false) {
        // No more than a note: a machine's host may set its clock behind the kernel's back.
        found.add(
            Severity::Note,
            Check::ClockUnkept,
            "",
            "the kernel calls the clock unsynchronised (adjtimex)",
            "run chrony, systemd-timesyncd or ptp4l on the node, unless its host keeps the clock",
        );
    }
}

fn conntrack(facts: &Facts, found: &mut Findings) {
    let (Some(count), Some(max)) = (
        facts.sysctl("net/netfilter/nf_conntrack_count"),
        facts.sysctl("net/netfilter/nf_conntrack_max"),
    ) else {
        return;
    };
    // A table without a bound says 0.
    if max > 0 && count.saturating_mul(10) >= max.saturating_mul(9) {
        found.add(
            Severity::Warning,
            Check::Conntrack,
            "",
            format!("{count} connections of {max} at most"),
            format!(
                "sysctl -w net/netfilter/nf_conntrack_max={}",
                max.saturating_mul(2)
            ),
        );
    }
}

/// Ring buffers, CAP_BPF, BOOTTIME and frames that grow came with 5.8, the rest with 5.10.
const OLDEST: (u32, u32) = (5, 10);
const WITH_TCX: (u32, u32) = (6, 6);
/// Reads of a device in place of a register.
const SLOW_CLOCKS: [&str; 3] = ["hpet", "acpi_pm", "jiffies"];
/// The beginning of 2026.
const WALL_MIN_S: i64 = 1_767_225_600;
