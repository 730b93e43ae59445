//! Runs the speaker on VLAN devices and in a VRF, in emulated machines: not every kernel that this is developed on has them.
//!
//! Debian 13's kernel attaches by TCX; Debian 12's has none, so the same checks show the clsact way, from the speaker's start to
//! its cleanup. What is checked stands in `tests/system/tests/vlan/`; a machine gets that suite as one program, with the speaker and
//! the tools that ask. How a machine comes to be is [`crate::machine`]'s business.

use crate::machine::{self, BOOKWORM, Console, Guest, Kernel, TRIXIE};
use crate::tools::{self, say, target};
use crate::verifier::suite_binary;
use anyhow::{Result, anyhow};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Boots each kernel: every check by the kernel's name and its own, and why it failed if it did.
pub fn test() -> Vec<(String, Result<()>)> {
    let parts = parts();
    let (suite, programs) = match parts {
        Ok(parts) => parts,
        Err(why) => return vec![("vlan machines".to_owned(), Err(why))],
    };
    let results = machine::for_each(&KERNELS, |kernel| on(kernel, &suite, &programs));
    results.into_iter().flatten().collect()
}

fn parts() -> Result<(PathBuf, Vec<(PathBuf, String)>)> {
    machine::prepare()?;
    let packages = [
        "iputils-arping",
        "ndisc6",
        "tcpdump",
        "ethtool",
        "nftables",
        "util-linux",
        "bird2",
    ];
    tools::ensure_packages(&packages, "asking for neighbours in a VLAN, and a router")?;
    let mut programs = vec![(target().join("debug/speaker"), "bin/speaker".to_owned())];
    for tool in TOOLS {
        programs.push((machine::program(tool)?, format!("usr/bin/{tool}")));
    }
    Ok((suite_binary("vlan")?, programs))
}

fn on(kernel: &Kernel, suite: &Path, programs: &[(PathBuf, String)]) -> Vec<(String, Result<()>)> {
    let name = format!("kernel {}", kernel.name);
    let mut programs = programs.to_vec();
    programs.push((suite.to_owned(), "suite".to_owned()));
    let guest = Guest {
        name: "vlan",
        programs,
        files: Vec::new(),
        modules: &MODULES,
        script: format!(
            "mount -t bpf bpf /sys/fs/bpf; ip link set lo up\n\
             mkdir -p /etc; echo root:x:0:0::/:/bin/sh > /etc/passwd\n\
             export PATH=/usr/bin:$PATH HELIOGRAPH_SPEAKER=/bin/speaker RUST_BACKTRACE=0\n\
             /suite --show-output --test-threads=1; echo {ENDED}"
        ),
    };
    let begun = Instant::now();
    match kernel.boot(&guest) {
        Ok(Some(console)) => {
            say(&format!(
                "kernel {}: {:.0} s from boot to end",
                console.release(),
                begun.elapsed().as_secs_f64()
            ));
            results(&name, &console)
        }
        Ok(None) => Vec::new(),
        Err(why) => vec![(name, Err(why))],
    }
}

/// Every check that the console tells of; one failure more if the machine did not come to its end, or told of none.
fn results(kernel: &str, console: &Console) -> Vec<(String, Result<()>)> {
    let lines = &console.lines;
    for said in lines.iter().filter_map(|line| line.split_once(TOLD)) {
        say(&format!("kernel {}: {}", console.release(), said.1));
    }
    let mut results: Vec<_> = lines
        .iter()
        .filter_map(|line| verdict(line))
        .map(|(check, verdict)| {
            let result = (verdict == "ok").then_some(());
            let result = result.ok_or_else(|| anyhow!("{verdict}\n{}", why(lines, check)));
            (format!("{kernel}: {check}"), result)
        })
        .collect();
    if results.is_empty() || !console.is_over || !console.has(ENDED) {
        results.push((kernel.to_owned(), Err(console.failure())));
    }
    results
}

/// `test NAME ... ok` or anything else in the place of `ok`.
fn verdict(line: &str) -> Option<(&str, &str)> {
    line.trim().strip_prefix("test ")?.split_once(" ... ")
}

/// What a check that failed left on the console.
fn why(lines: &[String], check: &str) -> String {
    let heading = format!("---- {check} stdout ----");
    let told = lines.iter().skip_while(|line| line.trim() != heading);
    let told: Vec<_> = told
        .skip(1)
        .take_while(|line| !line.starts_with("---- ") && line.trim() != "failures:")
        .map(String::as_str)
        .collect();
    told.join("\n").trim().to_owned()
}

const KERNELS: [Kernel; 2] = [BOOKWORM, TRIXIE];
/// Each after those that it needs. `sch_ingress` and `cls_bpf` are what clsact is made of, the rest is for the service proxy.
const MODULES: [&str; 27] = [
    "llc",
    "stp",
    "garp",
    "mrp",
    "8021q",
    "bridge",
    "veth",
    "vrf",
    "sch_ingress",
    "cls_bpf",
    "libcrc32c",
    "nfnetlink",
    "nf_tables",
    "nf_defrag_ipv4",
    "nf_defrag_ipv6",
    "nf_conntrack",
    "nf_nat",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
    "nft_ct",
    "nft_numgen",
    "nf_reject_ipv4",
    "nf_reject_ipv6",
    "nft_reject",
    "nft_reject_ipv4",
    "nft_reject_ipv6",
];
/// Those of which busybox has none, or only a part.
const TOOLS: [&str; 10] = [
    "ip", "tc", "nft", "nsenter", "arping", "ndisc6", "tcpdump", "ethtool", "bird", "birdcl",
];
const ENDED: &str = "heliograph-ended";
/// What the suite prints before a line that is worth seeing also when all is well.
const TOLD: &str = "heliograph-told: ";

#[cfg(test)]
mod tests {
    use super::*;

    fn console(text: &str, is_over: bool) -> Console {
        Console {
            lines: text.lines().map(str::to_owned).collect(),
            is_over,
        }
    }

    fn check(text: &str, is_over: bool, expected: &[(&str, Option<&str>)]) {
        let results = results("kernel 6.1", &console(text, is_over));
        let results: Vec<_> = results
            .into_iter()
            .map(|(name, result)| (name, result.err().map(|why| format!("{why:#}"))))
            .collect();
        assert_eq!(results.len(), expected.len(), "{results:?}");
        for ((name, failure), (expected_name, expected_failure)) in results.iter().zip(expected) {
            assert_eq!(name, expected_name);
            match (failure, expected_failure) {
                (None, None) => {}
                (Some(failure), Some(part)) => assert!(failure.contains(part), "{failure}"),
                (Some(_), None) | (None, Some(_)) => panic!("{name}: {failure:?}"),
            }
        }
    }

    #[test]
    fn every_check_is_counted_by_its_name() {
        check(
            "test answers::a ... ok\ntest answers::b ... FAILED\n\n\
             ---- answers::b stdout ----\n\nsilence was expected\n\nfailures:\n    answers::b\nheliograph-ended",
            true,
            &[
                ("kernel 6.1: answers::a", None),
                ("kernel 6.1: answers::b", Some("silence was expected")),
            ],
        );
    }

    #[test]
    fn an_ignored_check_was_not_shown() {
        check(
            "test a ... ignored\nheliograph-ended",
            true,
            &[("kernel 6.1: a", Some(""))],
        );
    }

    #[test]
    fn a_machine_that_says_nothing_or_does_not_end_fails() {
        check(
            "Kernel panic - not syncing",
            true,
            &[("kernel 6.1", Some("Kernel panic"))],
        );
        check(
            "test a ... ok",
            false,
            &[
                ("kernel 6.1: a", None),
                ("kernel 6.1", Some("no end within the time")),
            ],
        );
    }
}
