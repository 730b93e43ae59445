//! The whole way: from a `MetalLB` resource by the operator, the controller and speakers to answers; to a newer form of it; and away again, to
//! another speaker.
//!
//! Whoever comes after us is played by what it does on the wire: a VIP on the link is the kernel's own work, and a responder in user space
//! reads requests from a packet socket and answers them, as MetalLB's speaker does. Neither knows anything of us, so that they only
//! answer where nothing of ours stands in their way. Gaps are told, and judged by the kernel's time stamps of frames.

use super::hang::now_ns;
use super::probe::{MS, Prober};
use super::traces::{cleanup, picture};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Stdio};
use system_tests::lab::{TestLab, tell};

#[test]
fn metallb_1_8_a_resource_becomes_answers_changes_without_a_gap_and_leaves_nothing() {
    let mut before = BTreeMap::new();
    let mut lab = TestLab::operated(|lab| {
        for node in &lab.topology().nodes {
            before.insert(node.name.clone(), picture(lab, &node.name, &node.netns));
        }
    });
    for service in ["default/web", "default/web-local", "default/echo-udp"] {
        for frontend in lab.frontends_of(service) {
            lab.answer(&frontend);
        }
    }
    let (vip, mac) = held(&lab);
    let prober = Prober::start(lab.client(), vip);
    newer_speakers_come_one_by_one(&mut lab);
    let replies = prober.stop();
    let (first, last) = (replies.0.first().unwrap().at, replies.0.last().unwrap().at);
    let gap = replies.longest_gap_ns(first, last) / MS;
    tell(&format!(
        "three speakers replaced by the operator: {} answers, the longest gap {gap} ms",
        replies.0.len()
    ));
    assert_eq!(replies.but(&mac).0, [], "the VIP moved");
    assert!(gap < GAP_MAX_MS, "{gap} ms");

    let prober = Prober::start(lab.client(), vip);
    lab.answer(&lab.frontends_of("default/web").remove(0));
    remove(&mut lab);
    everything_is_as_it_was(&lab, &before);
    let gone = now_ns();
    assert_eq!(lab.resolve(vip.into()), None);
    // The node that answered: a program of ours that was left there would be in the way.
    let node = holder_of(&lab, &mac);
    for (what, next) in NEXT {
        let begun = now_ns();
        let process = next(&lab, &node, vip);
        lab.eventually(what, || lab.resolve(vip.into()).ok_or("silence"));
        tell(&format!(
            "after the removal {what}: answers within {} ms of its start",
            (now_ns() - begun) / MS
        ));
        match process {
            Some(mut process) => {
                process.kill().unwrap();
                process.wait().unwrap();
            }
            None => lab
                .netns(&node)
                .ip(&format!("addr del {vip}/32 dev eth0"))
                .unwrap(),
        }
    }
    let replies = prober.stop();
    let ours = replies
        .0
        .iter()
        .rfind(|one| one.at < gone)
        .expect("ours answered");
    let next = replies.first_after(gone).expect("the next one answers");
    tell(&format!(
        "from the last answer of ours to the first of the next speaker: {} ms, nearly all of it until pods and objects were gone",
        (next - ours.at) / MS
    ));
}

/// What a speaker that was killed left keeps requests from the stack of its node (L4.2), until it is cleaned up.
#[test]
fn l4_2_whoever_comes_after_speakers_that_were_killed_answers_once_the_node_is_cleaned_up() {
    let mut lab = TestLab::sample();
    for (what, next) in NEXT {
        let (vip, mac) = held(&lab);
        let holder = lab.holder_of(vip.into());
        let names: Vec<String> = lab.speakers().keys().cloned().collect();
        for name in &names {
            lab.speaker(name).unwrap().kill().unwrap();
        }
        lab.eventually("silence", || match lab.resolve(vip.into()) {
            None => Ok(()),
            Some(mac) => Err(mac),
        });
        let process = next(&lab, &holder, vip);
        // A responder in user space sees frames before any program at TC does.
        if process.is_none() {
            assert_eq!(
                lab.resolve(vip.into()),
                None,
                "{what}: what was left is in the way"
            );
        }
        let prober = Prober::start(lab.client(), vip);
        let begun = now_ns();
        cleanup(&lab, &holder);
        lab.eventually("the next speaker answers", || {
            lab.resolve(vip.into()).ok_or("silence")
        });
        let replies = prober.stop();
        let first = replies.first_after(begun).expect("it is asked all along");
        tell(&format!(
            "speakers killed, then {what}: answers {} ms after `speaker cleanup` began",
            (first - begun) / MS
        ));
        assert_eq!(replies.of(&mac).0, replies.0, "on the same link");
        if let Some(mut process) = process {
            process.kill().unwrap();
            process.wait().unwrap();
        } else {
            let address = format!("addr del {vip}/32 dev eth0");
            lab.netns(&holder).ip(&address).unwrap();
        }
        for name in &names {
            lab.start_speaker(name).unwrap();
        }
        for name in &names {
            lab.speaker(name).unwrap().wait_until_ready().unwrap();
        }
        let web = lab.frontends_of("default/web").remove(0);
        lab.answer(&web);
    }
}

/// The first VIP, once it is held, and the hardware address that it is given with.
fn held(lab: &TestLab) -> (Ipv4Addr, String) {
    let web = lab.frontends_of("default/web").remove(0);
    lab.answer(&web);
    let IpAddr::V4(vip) = web.vip else {
        panic!("the first frontend is of IPv4")
    };
    (vip, lab.mac_of(web.vip))
}

fn holder_of(lab: &TestLab, mac: &str) -> String {
    let mut nodes = lab.topology().nodes.iter();
    let node = nodes.find(|node| node.netns.macs().unwrap()["eth0"] == mac);
    node.expect("one of the nodes answered").name.clone()
}

/// Asks the operator for another level of logs, which is another form of every pod.
fn newer_speakers_come_one_by_one(lab: &mut TestLab) {
    let pids = |lab: &TestLab| -> Vec<u32> {
        let speakers = lab.speakers().values();
        speakers.map(|speaker| speaker.id()).collect()
    };
    let old = pids(lab);
    let patch = r#"{"spec":{"logLevel":"debug"}}"#;
    lab.kubectl(&[
        "-n",
        NAMESPACE,
        "patch",
        "metallb",
        "metallb",
        "--type=merge",
        "-p",
        patch,
    ]);
    lab.until_attended("all speakers are of the new form", |lab| {
        let now = pids(lab);
        let is_new = now.len() == old.len() && now.iter().all(|pid| !old.contains(pid));
        let conditions = lab.conditions().unwrap();
        is_new && conditions == ["Available", "Upgradeable"] && is_rolled_out(lab)
    });
}

fn is_rolled_out(lab: &TestLab) -> bool {
    let set = lab.kubectl(&["-n", NAMESPACE, "get", "daemonset", "speaker", "-o", "json"]);
    let set: Value = serde_json::from_str(&set).unwrap();
    let is_seen = set["status"]["observedGeneration"] == set["metadata"]["generation"];
    is_seen && set["status"]["updatedNumberScheduled"] == 3 && set["status"]["numberAvailable"] == 3
}

/// Deletes the resource, and waits until the operator has taken everything away.
fn remove(lab: &mut TestLab) {
    lab.kubectl(&[
        "-n",
        NAMESPACE,
        "delete",
        "metallb",
        "metallb",
        "--wait=false",
    ]);
    lab.until_attended("nothing is left of the installation", |lab| {
        let kinds =
            "deployments,daemonsets,services,configmaps,networkpolicies,pods,secrets,leases";
        let left = lab.kubectl(&["-n", NAMESPACE, "get", kinds, "-o", "name"]);
        let ours = ["operator", "/memberlist", "/speaker-n"];
        let left: Vec<&str> = left
            .lines()
            .filter(|line| !ours.iter().any(|own| line.contains(own)))
            .collect();
        left.is_empty() && lab.speakers().is_empty()
    });
    let webhooks = lab.kubectl(&["get", "validatingwebhookconfigurations", "-o", "name"]);
    assert!(
        !webhooks.contains("metallb-webhook-configuration"),
        "{webhooks}"
    );
    let crd = lab.kubectl(&["get", "crd", "bgppeers.metallb.io", "-o", "json"]);
    let crd: Value = serde_json::from_str(&crd).unwrap();
    assert_eq!(crd["spec"]["conversion"]["strategy"], "None");
}

fn everything_is_as_it_was(lab: &TestLab, before: &BTreeMap<String, BTreeMap<String, String>>) {
    for (node, old) in before {
        // Programs go once the kernel has waited for those that still ran.
        lab.eventually(&format!("{node} is as it was"), || {
            let now = picture(lab, node, lab.netns(node));
            let changed = now
                .iter()
                .filter(|(part, what)| old.get(*part) != Some(*what));
            let changed: Vec<String> = changed
                .map(|(part, what)| format!("{part}: {what:?} was {:?}", old.get(part)))
                .collect();
            match changed.is_empty() && now.len() == old.len() {
                true => Ok(()),
                false => Err(changed),
            }
        });
    }
}

/// As speakers do that leave answering to the kernel.
fn put_on_the_link(lab: &TestLab, node: &str, vip: Ipv4Addr) -> Option<Child> {
    let netns = lab.netns(node);
    netns.ip(&format!("addr add {vip}/32 dev eth0")).unwrap();
    netns
        .output(
            "arping",
            &["-q", "-c", "1", "-A", "-I", "eth0", &vip.to_string()],
        )
        .unwrap();
    None
}

/// As MetalLB's speaker does: it reads requests from a packet socket, and answers.
fn answer_in_user_space(lab: &TestLab, node: &str, vip: Ipv4Addr) -> Option<Child> {
    let netns = lab.netns(node);
    let mut responder = netns.command("python3");
    responder.args(["-c", RESPONDER, &vip.to_string()]);
    Some(responder.stdin(Stdio::null()).spawn().unwrap())
}

/// Tells of the address once, then answers who asks for it.
const RESPONDER: &str = r#"
import socket, struct, sys
vip = socket.inet_aton(sys.argv[1])
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
link.bind(("eth0", 0x0806))
mac = link.getsockname()[4]
def reply(to, whose):
    head = to + mac + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 2)
    link.send(head + mac + vip + to + whose)
reply(b"\xff" * 6, vip)
while True:
    frame = link.recv(64)
    if frame[20:22] == b"\0\x01" and frame[38:42] == vip:
        reply(frame[22:28], frame[28:32])
"#;

/// Makes the next speaker answer for a VIP on a node; the process that does, if it is one.
type Next = fn(&TestLab, &str, Ipv4Addr) -> Option<Child>;
const NEXT: [(&str, Next); 2] = [
    ("a VIP on the link", put_on_the_link),
    ("a responder in user space", answer_in_user_space),
];
const NAMESPACE: &str = "metallb-system";
/// A client that is slow itself makes gaps, too.
const GAP_MAX_MS: u64 = 1000;
