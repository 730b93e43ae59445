//! `speaker ctl doctor` and `speaker ctl support` beside running speakers, with real things wrong.

use serde_json::Value;
use std::fs;
use std::net::IpAddr;
use std::process::Output;
use system_tests::lab::TestLab;

#[test]
fn the_doctor_finds_a_lab_well_and_names_what_is_broken_then() {
    let lab = TestLab::sample();
    let web: IpAddr = lab.frontends_of("default/web")[0].vip;
    lab.until_held(web, |holder| holder.is_some());
    let found = lab.eventually("nothing is wrong", || {
        let found = doctor(&lab);
        if found.of("error").is_empty() && found.of("warning").is_empty() {
            Ok(found)
        } else {
            Err(found
                .of("error")
                .into_iter()
                .chain(found.of("warning"))
                .collect::<Vec<_>>())
        }
    });
    assert_eq!(found.code, 0);
    assert_eq!(found.report["facts"]["speaker"]["state"], "serving");

    let n1 = lab.netns("n1");
    n1.sysctl(&[("ipv4.ip_forward", "0")]).unwrap();
    found_alone(&lab, 1, "warning", "forwarding");

    n1.ip(&format!("addr add {web}/32 dev lo")).unwrap();
    found_alone(&lab, 2, "error", "vip-on-link");
}

/// Waits until this check is the only one of its severity. What a busy machine did to the node's deadline goes by.
#[track_caller]
fn found_alone(lab: &TestLab, code: i32, severity: &str, check: &str) {
    lab.eventually(&format!("{check} is found"), || {
        let found = doctor(lab);
        match found.of(severity) == [check] && found.code == code {
            true => Ok(()),
            false => Err(found.report.to_string()),
        }
    });
}

#[test]
fn an_archive_has_every_answer_and_no_secret() {
    let lab = TestLab::with(&[("peer.yaml", "", PEER)]);
    let log = lab.folder().join("log").join("n1.log");
    lab.eventually("the peer is known", || {
        let bgp = lab.said("n1", &["bgp"])?;
        if bgp.contains("tor") {
            Ok(())
        } else {
            Err(bgp)
        }
    });
    let planted = lab.folder().join("planted.log");
    let line = "{\"msg\":\"dial\",\"password\":\"planted-in-a-log\"}\n";
    fs::write(
        &planted,
        format!("{}{line}", fs::read_to_string(&log).unwrap()),
    )
    .unwrap();
    let archive = lab.folder().join("support.tar");
    let done = ctl(
        &lab,
        &[
            "support",
            "--bpffs",
            &lab.options().bpffs.display().to_string(),
            "--file",
            &archive.display().to_string(),
            "--log",
            &planted.display().to_string(),
        ],
    );
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert_eq!(said.lines().count(), 1, "something is missing: {said}");
    let bytes = fs::read(&archive).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let members_secret = fs::read_to_string(log.with_file_name("secretkey")).unwrap();
    for secret in [
        "planted-in-a-peer",
        "planted-in-a-log",
        members_secret.trim(),
    ] {
        assert!(!text.contains(secret), "{secret} is in the archive");
    }
    for file in FILES {
        let name = format!("heliograph-support/{file}");
        assert!(text.contains(&name), "{name} is missing");
    }
    for part in [
        "heliograph_deadline_",
        "kind: BGPPeer",
        "password: (left out)",
        "\"password\":\"(redacted)\"",
    ] {
        assert!(text.contains(part), "{part} is missing");
    }
}

/// What the doctor said of node n1.
struct Found {
    code: i32,
    report: Value,
}

impl Found {
    /// The checks of this severity.
    fn of(&self, severity: &str) -> Vec<String> {
        let rows = self.report["findings"].as_array().unwrap().iter();
        rows.filter(|row| row["severity"] == severity && row["check"] != "kernel-types")
            .map(|row| row["check"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn doctor(lab: &TestLab) -> Found {
    let bpffs = lab.options().bpffs.display().to_string();
    let done = ctl(lab, &["doctor", "--bpffs", &bpffs, "-o", "json"]);
    let report = serde_json::from_slice(&done.stdout);
    Found {
        code: done.status.code().unwrap(),
        report: report.unwrap_or_else(|why| panic!("{why}: {done:?}")),
    }
}

/// In the namespace of n1.
fn ctl(lab: &TestLab, words: &[&str]) -> Output {
    let options = lab.options();
    let mut command = lab.netns("n1").command(&options.speaker);
    command.args(["ctl", "--node", "n1", "--run-dir"]);
    command.arg(&options.run_dir).args(words).output().unwrap()
}

const PEER: &str = "apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.77, password: planted-in-a-peer}
";

/// Of each kind one form at least.
const FILES: [&str; 16] = [
    "about.txt",
    "doctor.txt",
    "doctor.json",
    "ctl/status.txt",
    "ctl/plan.json",
    "ctl/vips.txt",
    "ctl/links.json",
    "ctl/members.txt",
    "ctl/bgp.json",
    "ctl/bfd.txt",
    "ctl/routes.json",
    "ctl/maps.txt",
    "ctl/counters.json",
    "metrics.txt",
    "objects.yaml",
    "logs/0.log",
];
