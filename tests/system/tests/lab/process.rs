//! The speaker as a process on a node: what it may do, what it serves, and what is left when it is cleaned up.

use std::fs;
use std::net::IpAddr;
use system_tests::lab::TestLab;
use xtask::lab::net;

#[test]
fn a_running_speaker_has_dropped_what_it_does_not_need() {
    let lab = TestLab::sample();
    let pid = lab.speakers()["n1"].id();
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        // One that waited for work in vain may have ended meanwhile.
        let Ok(status) = fs::read_to_string(task.path().join("status")) else {
            continue;
        };
        threads += 1;
        assert_eq!(field(&status, "NoNewPrivs"), "1");
        let effective = u64::from_str_radix(field(&status, "CapEff"), 16).unwrap();
        assert_eq!(
            effective & !KEPT,
            0,
            "more than needed: {effective:x} of {status}"
        );
    }
    assert!(threads > 1, "{threads}");
}

#[test]
fn metrics_and_health_are_on_loopback_in_plain_http() {
    let lab = TestLab::sample();
    let n1 = lab.netns("n1");
    let page = ["-sS", "--fail", "http://127.0.0.1:7472/metrics"];
    let metrics = lab.eventually("metrics", || n1.output("curl", &page));
    assert!(metrics.contains("metallb_"), "{metrics}");
    for path in ["healthz", "readyz"] {
        let url = format!("http://127.0.0.1:17472/{path}");
        lab.eventually(path, || n1.output("curl", &["-sS", "--fail", &url]));
    }
}

#[test]
fn a_speaker_listens_where_it_says_and_nowhere_else() {
    let lab = TestLab::sample();
    let n1 = lab.netns("n1");
    let pid = format!("pid={},", lab.speakers()["n1"].id());
    let listening = || {
        let shown = n1.output("ss", &["-Hlntup"]).unwrap();
        let own = shown.lines().filter(|line| line.contains(&pid));
        let place = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!("{} {}", words[0], words[4])
        };
        let mut places: Vec<String> = own.map(place).collect();
        places.sort();
        places.dedup();
        places
    };
    let expected = [
        "tcp 127.0.0.1:17472",
        "tcp 127.0.0.1:7472",
        "udp 0.0.0.0:7946",
        "udp [::]:7946",
    ];
    lab.eventually("it listens on all of its ports", || match listening() {
        places if places.len() >= expected.len() => Ok(()),
        places => Err(places),
    });
    assert_eq!(listening(), expected);
}

#[test]
fn cleanup_takes_back_everything_that_a_speaker_did() {
    let mut lab = TestLab::sample();
    let web = lab.frontends_of("default/web").remove(1);
    let holder = lab.holder_of(web.vip);
    lab.eventually("the node has joined the group of the VIP", || {
        if is_proxied(&lab, &holder, web.vip) {
            Ok(())
        } else {
            Err("no entry")
        }
    });
    assert_eq!(arp_announce(&lab, &holder), "2");
    lab.speaker(&holder).unwrap().kill().unwrap();
    let options = lab.options();
    let mut cleanup = lab.netns(&holder).command(&options.speaker);
    cleanup.args(["cleanup", "--node-name", &holder]);
    cleanup
        .arg("--bpffs")
        .arg(&options.bpffs)
        .arg("--run-dir")
        .arg(&options.run_dir);
    net::run(&mut cleanup).unwrap();
    assert!(!lab.pins(&holder).exists());
    assert!(!is_proxied(&lab, &holder, web.vip));
    // Programs go once the kernel has waited for those that still ran.
    lab.eventually("no program is left", || {
        let programs = lab.netns(&holder).output("bpftool", &["net", "show"]);
        let programs = programs.map_err(|error| format!("{error:#}"))?;
        match programs.contains("heliograph") {
            true => Err(programs),
            false => Ok(()),
        }
    });
    assert_eq!(arp_announce(&lab, &holder), "0");
}

fn arp_announce(lab: &TestLab, node: &str) -> String {
    let path = "/proc/sys/net/ipv4/conf/eth0/arp_announce";
    let setting = lab.netns(node).enter(|| fs::read_to_string(path)).unwrap();
    setting.unwrap().trim().to_owned()
}

fn is_proxied(lab: &TestLab, node: &str, vip: IpAddr) -> bool {
    let entries = lab
        .netns(node)
        .output("ip", &["-6", "neigh", "show", "proxy"])
        .unwrap();
    entries.contains(&vip.to_string())
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().trim()
}

/// CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON and CAP_BPF of linux/capability.h.
const KEPT: u64 = 1 << 12 | 1 << 13 | 1 << 38 | 1 << 39;
