//! Gathering: one look at everything that findings are made from.
//!
//! What cannot be looked at is noted under its name, and the rest is gathered all the same.

use super::{LookArgs, links, sockets};
use crate::ctl::{self, CtlArgs};
use crate::drive::clock::wall;
use crate::edge::gossip::SecretPlace;
use crate::edge::timex;
use crate::privileges;
use crate::settings::excluded;
use crate::settings::members::MemberSettings;
use anyhow::Result;
use speaker_core::doctor::Facts;
use speaker_core::doctor::facts::{BpfFsState, Kernel, Ports, SecretFacts};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Everything about this node, and about the speaker that the flags mean.
///
/// # Errors
/// When flags make no sense together.
pub(crate) fn gather(args: &CtlArgs, wanted: &LookArgs) -> Result<Facts> {
    let (members, _) = MemberSettings::read(&wanted.members)?;
    let exclude = excluded(&wanted.exclude_links)?;
    let mut facts = Facts {
        kernel: kernel(&wanted.bpffs),
        ports: Ports {
            members: members.port,
            metrics: wanted.port,
            health: wanted.health_probe_port,
        },
        foreign_pins: foreign_pins(&wanted.bpffs),
        ..Facts::default()
    };
    match privileges::lacking(None) {
        Ok(lacking) => {
            let lacking = lacking.into_iter();
            facts.kernel.lacking = lacking
                .map(|need| (need.cap.to_string(), need.what_for.to_owned()))
                .collect();
        }
        Err(error) => unseen(&mut facts, "capabilities", &error),
    }
    match ctl::facts(args) {
        Ok(speaker) => facts.speaker = speaker,
        Err(error) => unseen(&mut facts, "the speaker", &error),
    }
    let place = match &facts.speaker {
        Some(speaker) => speaker
            .secret
            .as_ref()
            .map(|place| SecretPlace(place.into())),
        None => members.secret,
    };
    facts.secret = place.map(|place| SecretFacts {
        place: place.to_string(),
        bytes: place.read().map(|secret| secret.bytes()),
    });
    if let Err(error) = links::gather(&exclude, &mut facts) {
        unseen(&mut facts, "links", &error);
    }
    facts.sysctls = sysctls(facts.announcing().map(|(name, _)| name));
    let ports = facts.ports;
    match sockets::listeners(&[ports.members, ports.metrics, ports.health, BFD, BGP]) {
        Ok(listeners) => facts.listeners = listeners,
        Err(error) => unseen(&mut facts, "ports", &error),
    }
    Ok(facts)
}

pub(super) fn unseen(facts: &mut Facts, what: &str, error: &anyhow::Error) {
    facts.unseen.insert(what.to_owned(), format!("{error:#}"));
}

fn kernel(bpffs: &Path) -> Kernel {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
    let since = wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    Kernel {
        release: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
        has_types: Path::new("/sys/kernel/btf/vmlinux").exists(),
        clock_source: read(CLOCK_SOURCE).ok(),
        wall_s: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        is_clock_kept: timex::is_clock_kept(),
        lacking: BTreeMap::new(),
        bpffs: bpffs.display().to_string(),
        bpffs_state: bpffs_state(&mounts, bpffs),
    }
}

/// How the innermost mount that `place` lies on is, by proc_pid_mountinfo(5).
fn bpffs_state(mounts: &str, place: &Path) -> BpfFsState {
    if !place.is_dir() {
        return BpfFsState::Absent;
    }
    let mut innermost = (0, BpfFsState::Absent);
    for line in mounts.lines() {
        let Some((mount, about)) = line.split_once(" - ") else {
            continue;
        };
        let mut fields = mount.split(' ').skip(4);
        let (Some(point), Some(options)) = (fields.next(), fields.next()) else {
            continue;
        };
        // A later mount on the same point hides the earlier one.
        if !place.starts_with(point) || point.len() < innermost.0 {
            continue;
        }
        let is_bpf = about.split(' ').next() == Some("bpf");
        let is_read_only = options.split(',').any(|option| option == "ro");
        let state = match (is_bpf, is_read_only) {
            (true, false) => BpfFsState::Usable,
            (true, true) => BpfFsState::ReadOnly,
            (false, _) => BpfFsState::Absent,
        };
        innermost = (point.len(), state);
    }
    innermost.1
}

/// Where Cilium pins what it answers by.
fn foreign_pins(bpffs: &Path) -> Vec<String> {
    let names = ["cilium_l2_responder_v4", "cilium_l2_responder_v6"];
    let pins = names.map(|name| bpffs.join("tc/globals").join(name));
    let there = pins.iter().filter(|pin| pin.exists());
    there.map(|pin| pin.display().to_string()).collect()
}

fn sysctls<'a>(links: impl Iterator<Item = &'a str>) -> BTreeMap<String, i64> {
    let mut paths: Vec<String> = SYSCTLS.iter().map(|path| (*path).to_owned()).collect();
    for link in links.chain(["all"]) {
        let of_link = SYSCTLS_OF_LINKS.iter();
        paths.extend(of_link.map(|(family, name)| format!("net/{family}/conf/{link}/{name}")));
    }
    let value = |path: String| {
        let text = fs::read_to_string(Path::new("/proc/sys").join(&path)).ok()?;
        Some((path, text.trim().parse().ok()?))
    };
    paths.into_iter().filter_map(value).collect()
}

const SYSCTLS: &[&str] = &[
    "net/bridge/bridge-nf-call-ip6tables",
    "net/bridge/bridge-nf-call-iptables",
    "net/core/bpf_jit_enable",
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
];

const SYSCTLS_OF_LINKS: &[(&str, &str)] = &[
    ("ipv4", "arp_announce"),
    ("ipv4", "arp_ignore"),
    ("ipv4", "proxy_arp"),
    ("ipv4", "rp_filter"),
    ("ipv6", "disable_ipv6"),
    ("ipv6", "proxy_ndp"),
];

const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
const BFD: u16 = 3784;
const BGP: u16 = 179;
