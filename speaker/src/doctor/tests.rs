//! Looking at real network namespaces and file systems in which something is wrong on purpose.

use super::*;
use crate::dataplane::{AnswerRate, AttachMode, Dataplane, Settings, pin_dir};
use crate::settings::args::{Cli, Command};
use crate::testnet::{TestBpf, TestNet};
use clap::Parser;
use speaker_core::doctor::facts::{BpfFsState, SpeakerFacts};
use speaker_core::doctor::{Check, Severity};
use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;

/// A node without a speaker.
struct Machine {
    net: TestNet,
    bpf: TestBpf,
    run: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self {
            net: TestNet::new(),
            bpf: TestBpf::new(),
            run: tempfile::tempdir().unwrap(),
        };
        let here = &machine.net.here;
        here.write("/proc/sys/net/ipv4/ip_forward", "1");
        here.write("/proc/sys/net/ipv6/conf/all/forwarding", "1");
        here.run("ip addr add 192.0.2.11/24 dev eth0");
        here.run("ip addr add 2001:db8::11/64 dev eth0 nodad");
        machine
    }

    fn facts(&self, more: &[&str]) -> Facts {
        self.facts_on(self.bpf.path(), more)
    }

    fn facts_on(&self, bpffs: &Path, more: &[&str]) -> Facts {
        let (run, bpffs) = (self.run.path().display(), bpffs.display());
        let typed = format!("speaker ctl --run-dir {run} doctor --bpffs {bpffs} --insecure-gossip");
        let words = typed.split(' ').chain(more.iter().copied());
        let Command::Ctl(args) = Cli::parse_from(words).command else {
            panic!("these are words of ctl");
        };
        let crate::ctl::Errand::Doctor(wanted) = &args.errand else {
            panic!("these are words of doctor");
        };
        self.net.here.enter(|| gather(&args, &wanted.look).unwrap())
    }

    /// What is wrong, but for what the machine that runs the tests has wrong by itself.
    fn wrong(&self) -> Vec<(Severity, Check, String)> {
        let found = examine(&self.facts(&[])).findings.into_iter();
        let of_machine = [
            Check::KernelVersion,
            Check::KernelTypes,
            Check::Jit,
            Check::ClockSource,
            Check::ClockUnkept,
            Check::Conntrack,
            Check::Speaker,
        ];
        found
            .filter(|found| !of_machine.contains(&found.check))
            .map(|found| (found.severity, found.check, found.about))
            .collect()
    }
}

#[test]
fn a_sound_namespace_has_nothing_wrong() {
    let machine = Machine::new();
    assert_eq!(machine.wrong(), []);
    let facts = machine.facts(&[]);
    assert!(!facts.kernel.release.is_empty());
    assert_eq!(facts.kernel.bpffs_state, BpfFsState::Usable);
    assert!(facts.links["eth0"].announces && !facts.links["lo"].announces);
    assert_eq!(facts.links["eth0"].kind, "veth");
    assert!(
        facts
            .addresses
            .iter()
            .any(|own| own.ip.to_string() == "2001:db8::11" && own.bits == 64)
    );
    assert_eq!(facts.speaker, None);
}

#[test]
fn settings_that_hurt_are_found_in_a_real_namespace() {
    let machine = Machine::new();
    let here = &machine.net.here;
    here.write("/proc/sys/net/ipv4/ip_forward", "0");
    here.write("/proc/sys/net/ipv6/conf/all/forwarding", "0");
    here.write("/proc/sys/net/ipv4/conf/eth0/proxy_arp", "1");
    here.write("/proc/sys/net/ipv6/conf/all/proxy_ndp", "1");
    assert_eq!(
        machine.wrong(),
        [
            (Severity::Warning, Check::Forwarding, String::new()),
            (Severity::Warning, Check::Forwarding, String::new()),
            (Severity::Warning, Check::ProxyArp, "eth0".into()),
            (Severity::Note, Check::ProxyNdp, "eth0".into()),
        ]
    );
    here.write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1");
    let ipv6_off = (Severity::Note, Check::Ipv6Off, "eth0".to_owned());
    assert!(machine.wrong().contains(&ipv6_off));
}

#[test]
fn strict_reverse_path_matters_once_there_are_two_ways() {
    let machine = Machine::new();
    let here = &machine.net.here;
    here.write("/proc/sys/net/ipv4/conf/all/rp_filter", "0");
    here.write("/proc/sys/net/ipv4/conf/eth0/rp_filter", "1");
    assert_eq!(machine.wrong(), []);
    here.run("ip link add up0 type bridge");
    here.run("ip link set up0 up");
    here.run("ip addr add 198.51.100.2/24 dev up0");
    here.run("ip route add default via 198.51.100.1 dev up0");
    here.write("/proc/sys/net/ipv4/conf/up0/rp_filter", "2");
    let facts = machine.facts(&[]);
    assert_eq!(facts.defaults[0].link, "up0");
    let strict = (Severity::Warning, Check::ReversePath, "eth0".to_owned());
    assert!(machine.wrong().contains(&strict), "{:?}", machine.wrong());
}

#[test]
fn links_that_do_not_carry_or_fit_are_found() {
    let machine = Machine::new();
    let here = &machine.net.here;
    here.run("ip link set eth0 mtu 1400");
    here.run("ip link add cni0 type bridge");
    here.run("ip link set cni0 mtu 1450 up");
    here.run("ip link set eth0 multicast off");
    machine.net.there.run("ip link set eth0 down");
    let wrong = machine.wrong();
    for (check, about) in [
        (Check::Mtu, "cni0"),
        (Check::LinkMulticast, "eth0"),
        (Check::LinkDown, "eth0"),
    ] {
        let row = (Severity::Warning, check, about.to_owned());
        assert!(wrong.contains(&row), "{row:?} of {wrong:?}");
    }
}

#[test]
fn what_a_card_does_is_asked_of_the_kernel() {
    let machine = Machine::new();
    machine.net.here.run("ethtool -K eth0 gro on");
    assert!(machine.facts(&[]).links["eth0"].features.contains("rx-gro"));
    machine.net.here.run("ethtool -K eth0 gro off");
    assert!(!machine.facts(&[]).links["eth0"].features.contains("rx-gro"));
}

#[test]
fn a_bpf_file_system_is_there_or_not_or_closed() {
    let machine = Machine::new();
    let state = |place: &Path| machine.facts_on(place, &[]).kernel.bpffs_state;
    assert_eq!(state(machine.bpf.path()), BpfFsState::Usable);
    let below = machine.bpf.path().join("heliograph");
    std::fs::create_dir(&below).unwrap();
    assert_eq!(state(&below), BpfFsState::Usable);
    assert_eq!(state(machine.run.path()), BpfFsState::Absent);
    assert_eq!(state(Path::new("/nowhere")), BpfFsState::Absent);
    let remounted = std::process::Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(machine.bpf.path())
        .status();
    assert!(remounted.unwrap().success());
    assert_eq!(state(machine.bpf.path()), BpfFsState::ReadOnly);
}

#[test]
fn whoever_has_our_ports_is_named() {
    let machine = Machine::new();
    let _held = machine.net.here.enter(|| {
        (
            UdpSocket::bind("[::]:7946").unwrap(),
            TcpListener::bind("0.0.0.0:17472").unwrap(),
            TcpListener::bind("0.0.0.0:7946").unwrap(),
        )
    });
    let wrong: Vec<_> = examine(&machine.facts(&[])).findings;
    let seen = |check| -> Vec<(&str, &str)> {
        let found = wrong.iter().filter(|found| found.check == check);
        found
            .map(|found| (found.about.as_str(), found.seen.as_str()))
            .collect()
    };
    let own = format!("(process {})", std::process::id());
    let taken = seen(Check::PortTaken);
    assert_eq!(
        taken.iter().map(|row| row.0).collect::<Vec<_>>(),
        ["TCP 17472", "UDP 7946"]
    );
    assert!(taken.iter().all(|row| row.1.contains(&own)), "{taken:?}");
    assert_eq!(seen(Check::OtherResponder)[0].0, "TCP 7946");
    let elsewhere = machine.facts(&["--ml-bindport=8946", "--health-probe-port=18472"]);
    let found = examine(&elsewhere).findings;
    assert!(!found.iter().any(|found| found.check == Check::PortTaken));
}

#[test]
fn our_program_is_told_from_others() {
    let machine = Machine::new();
    let ifindex = machine.net.here.ifindex("eth0");
    let settings = Settings {
        pin_dir: pin_dir(machine.bpf.path(), &"n1".parse().unwrap()),
        attach: AttachMode::default(),
        rate: AnswerRate::default(),
    };
    machine.net.here.enter(|| {
        let mut dataplane = Dataplane::open(&settings).unwrap();
        dataplane.sync_links(&BTreeMap::from([(ifindex, "eth0".to_owned())]));
    });
    let programs = machine.facts(&[]).links["eth0"].programs.clone();
    assert_eq!(programs.len(), 1);
    assert!(programs[0].is_ours, "{programs:?}");
}

#[test]
fn a_secret_is_looked_at_and_never_told() {
    let machine = Machine::new();
    let place = machine.run.path().join("secretkey");
    let look = || {
        let path = place.display().to_string();
        let typed = format!("speaker ctl --run-dir /nowhere doctor --ml-secret-key-path {path}");
        let Command::Ctl(args) = Cli::parse_from(typed.split(' ')).command else {
            panic!("these are words of ctl");
        };
        let crate::ctl::Errand::Doctor(wanted) = &args.errand else {
            panic!("these are words of doctor");
        };
        machine
            .net
            .here
            .enter(|| gather(&args, &wanted.look).unwrap())
    };
    let missing = look();
    assert!(missing.secret.as_ref().unwrap().bytes.is_err());
    std::fs::write(&place, "hunter2-hunter2-hunter2\n").unwrap();
    let facts = look();
    assert_eq!(facts.secret.as_ref().unwrap().bytes, Ok(23));
    for form in [Form::Table, Form::Json, Form::Yaml] {
        let text = text(&facts, &examine(&facts), form).unwrap();
        assert!(!text.contains("hunter2"));
    }
}

#[test]
fn a_vip_on_an_interface_is_found_by_what_the_speaker_says() {
    let machine = Machine::new();
    machine.net.here.run("ip addr add 192.0.2.100/32 dev lo");
    let mut facts = machine.facts(&[]);
    facts.speaker = Some(SpeakerFacts {
        state: "serving".into(),
        vips: ["192.0.2.100".parse().unwrap()].into(),
        ..SpeakerFacts::default()
    });
    let found = examine(&facts).findings;
    let vip = found
        .iter()
        .find(|found| found.check == Check::VipOnLink)
        .unwrap();
    assert_eq!((vip.severity, vip.about.as_str()), (Severity::Error, "lo"));
    assert!(
        vip.remedy.starts_with("ip addr del 192.0.2.100/32 dev lo;"),
        "{}",
        vip.remedy
    );
}

#[test]
fn the_answer_for_programs_has_findings_and_facts() {
    let machine = Machine::new();
    machine.net.here.write("/proc/sys/net/ipv4/ip_forward", "0");
    let facts = machine.facts(&[]);
    let json = text(&facts, &examine(&facts), Form::Json).unwrap();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let rows = value["findings"].as_array().unwrap();
    let forwarding = rows
        .iter()
        .find(|row| row["check"] == "forwarding")
        .unwrap();
    assert_eq!(forwarding["severity"], "warning");
    assert_eq!(forwarding["remedy"], "sysctl -w net/ipv4/ip_forward=1");
    assert_eq!(value["facts"]["sysctls"]["net/ipv4/ip_forward"], 0);
}
