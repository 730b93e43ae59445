//! What a speaker leaves behind, once `speaker cleanup` was there: nothing.
//!
//! A node's namespace is pictured before its first speaker and after the cleanup, and the two pictures are compared as a whole, so that a trace
//! that nobody thought of is found, too.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use system_tests::lab::TestLab;
use xtask::lab::Lab;
use xtask::lab::net::{self, Netns};

#[test]
fn a_node_is_as_it_was_before_its_first_speaker() {
    for is_crash in [true, false] {
        let mut before = BTreeMap::new();
        let mut lab = TestLab::prepared(&[], |lab| {
            for node in &lab.topology().nodes {
                before.insert(node.name.clone(), picture(lab, &node.name, &node.netns));
            }
        });
        let web = lab.frontends_of("default/web").remove(1);
        let holder = lab.holder_of(web.vip);
        lab.eventually("the holder has traces of each kind", || {
            let now = picture(&lab, &holder, lab.netns(&holder));
            let differs = |part: &str| now[part] != before[&holder][part];
            let missing: Vec<&str> = TRACES
                .iter()
                .copied()
                .filter(|part| !differs(part))
                .collect();
            if missing.is_empty() {
                Ok(())
            } else {
                Err(missing)
            }
        });
        let speaker = lab.speaker(&holder).unwrap();
        if is_crash {
            speaker.kill().unwrap();
        } else {
            assert!(speaker.stop().unwrap().success());
        }
        cleanup(&lab, &holder);
        // Programs go once the kernel has waited for those that still ran.
        lab.eventually("everything is as it was", || {
            let now = picture(&lab, &holder, lab.netns(&holder));
            let old = &before[&holder];
            let changed: Vec<_> = now
                .iter()
                .filter(|(part, what)| old.get(*part) != Some(*what))
                .map(|(part, what)| format!("{part}: {:?} was {:?}", what, old.get(part)))
                .collect();
            if changed.is_empty() && now.len() == old.len() {
                Ok(())
            } else {
                Err(changed)
            }
        });
    }
}

pub(super) fn cleanup(lab: &TestLab, node: &str) {
    let options = lab.options();
    let mut cleanup = lab.netns(node).command(&options.speaker);
    cleanup.args(["cleanup", "--node-name", node]);
    cleanup.arg("--bpffs").arg(&options.bpffs);
    cleanup.arg("--run-dir").arg(&options.run_dir);
    net::run(&mut cleanup).unwrap();
}

/// Everything of a node that a speaker could change.
pub(super) fn picture(lab: &Lab, node: &str, netns: &Netns) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    for (part, program, words) in [
        ("links", "ip", "-details link show"),
        ("addresses", "ip", "addr show"),
        ("routes", "ip", "route show table all"),
        ("routes6", "ip", "-6 route show table all"),
        ("rules", "ip", "rule show"),
        ("proxies", "ip", "-6 neigh show proxy"),
        ("proxies4", "ip", "-4 neigh show proxy"),
        ("groups", "ip", "maddr show dev eth0"),
        ("qdiscs", "tc", "qdisc show"),
        ("filters", "tc", "filter show dev eth0 ingress"),
        ("programs", "bpftool", "net show"),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        // What goes while it is listed may make a listing fail: that is another picture than any before.
        let shown = netns.output(program, &words);
        let shown = shown.unwrap_or_else(|error| format!("not to be had: {error:#}"));
        parts.insert(part.to_owned(), shown);
    }
    netns.enter(|| sysctls(&mut parts)).unwrap();
    let options = lab.options();
    parts.insert("hooked".to_owned(), hooked(&options.speaker, netns));
    for (part, folder) in [
        ("pins", options.bpffs.join("heliograph").join(node)),
        ("run", options.run_dir.join(node)),
    ] {
        parts.insert(part.to_owned(), files(&folder));
    }
    parts
}

/// The programs on the way in, which bpftool does not show where they hang at TCX.
fn hooked(speaker: &Path, netns: &Netns) -> String {
    let mut doctor = netns.command(speaker);
    let doctor = doctor.args(["ctl", "--run-dir", "/nowhere", "doctor", "-o", "json"]);
    let report: Value = serde_json::from_slice(&doctor.output().unwrap().stdout).unwrap();
    report["facts"]["links"]["eth0"]["programs"].to_string()
}

/// Every setting of every link that can be read.
fn sysctls(parts: &mut BTreeMap<String, String>) {
    for family in ["ipv4", "ipv6"] {
        let root = Path::new("/proc/sys/net").join(family).join("conf");
        for link in fs::read_dir(&root).unwrap().flatten() {
            for setting in fs::read_dir(link.path()).unwrap().flatten() {
                if let Ok(value) = fs::read_to_string(setting.path()) {
                    parts.insert(setting.path().display().to_string(), value);
                }
            }
        }
    }
}

fn files(folder: &Path) -> String {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = files
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    format!("{}: {}", folder.exists(), names.join(" "))
}

/// Parts that differ while a speaker holds a VIP: without these the comparison would show nothing.
const TRACES: [&str; 6] = [
    "proxies",
    "groups",
    "hooked",
    "pins",
    "run",
    "/proc/sys/net/ipv4/conf/eth0/arp_announce",
];
