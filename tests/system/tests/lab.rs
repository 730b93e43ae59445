//! The way of the README, end to end: manifests in, answers from pods out, through programs of real speakers.
//!
//! Every test has a lab of its own ([`system_tests::lab`]) on the manifests in `deploy/samples`.
#![expect(
    clippy::unwrap_used,
    reason = "tests panic, also in the functions beside them"
)]

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use system_tests::lab::TestLab;
use xtask::lab::proxy::Protocol;
use xtask::lab::topology::{CLIENT_V4, CLIENT_V6};

#[path = "lab/audit.rs"]
mod audit;
#[path = "lab/chaos.rs"]
mod chaos;
#[path = "lab/cluster.rs"]
mod cluster;
#[path = "lab/command.rs"]
mod command;
#[path = "lab/confined.rs"]
mod confined;
#[path = "lab/credentials.rs"]
mod credentials;
#[path = "lab/doctor.rs"]
mod doctor;
#[path = "lab/documents.rs"]
mod documents;
#[path = "lab/drain.rs"]
mod drain;
#[path = "lab/encap.rs"]
mod encap;
#[path = "lab/hang.rs"]
mod hang;
#[path = "lab/heirs.rs"]
mod heirs;
#[path = "lab/image.rs"]
mod image;
#[path = "lab/interop.rs"]
mod interop;
#[path = "lab/links.rs"]
mod links;
#[path = "lab/migration.rs"]
mod migration;
#[path = "lab/moves.rs"]
mod moves;
#[path = "lab/neighbour.rs"]
mod neighbour;
#[path = "lab/one_node.rs"]
mod one_node;
#[path = "lab/operated.rs"]
mod operated;
#[path = "lab/options.rs"]
mod options;
#[path = "lab/probe.rs"]
mod probe;
#[path = "lab/process.rs"]
mod process;
#[path = "lab/restart.rs"]
mod restart;
#[path = "lab/sight.rs"]
mod sight;
#[path = "lab/socket.rs"]
mod socket;
#[path = "lab/spoof.rs"]
mod spoof;
#[path = "lab/spread.rs"]
mod spread;
#[path = "lab/traces.rs"]
mod traces;
#[path = "lab/whole.rs"]
mod whole;

#[test]
fn every_vip_serves_on_both_families_and_no_interface_has_one() {
    let lab = TestLab::sample();
    for service in [
        "default/web",
        "default/web-local",
        "default/echo-tcp",
        "default/echo-udp",
    ] {
        let frontends = lab.frontends_of(service);
        let families: Vec<bool> = frontends.iter().map(|f| f.vip.is_ipv4()).collect();
        assert_eq!(
            families,
            [true, false],
            "{service} has an address of each family"
        );
        for frontend in &frontends {
            lab.answer(frontend);
            for netns in lab.topology().namespaces() {
                assert!(!netns.addresses().unwrap().contains(&frontend.vip));
            }
        }
    }
}

#[test]
fn the_program_counts_what_it_answers() {
    let lab = TestLab::sample();
    let web = &lab.frontends_of("default/web")[0];
    lab.answer(web);
    let holder = lab.holder_of(web.vip);
    let answered = |lab: &TestLab| lab.speakers()[&holder].answered().unwrap();
    let before = answered(&lab);
    for _ in 0..5 {
        lab.mac_of(web.vip);
    }
    assert!(answered(&lab) >= before + 5);
}

#[test]
fn policy_cluster_reaches_every_node_and_hides_the_client() {
    let lab = TestLab::sample();
    for web in &lab.frontends_of("default/web") {
        let mut nodes = BTreeSet::new();
        for _ in 0..60 {
            let answer = lab.answer(web);
            assert!(![CLIENT_V4.into(), CLIENT_V6.into()].contains(&answer.client()));
            nodes.insert(answer.node().to_owned());
        }
        assert_eq!(nodes.len(), 3, "one of six pods at random, sixty times");
    }
}

#[test]
fn policy_local_serves_where_the_pods_are_and_keeps_the_client() {
    let lab = TestLab::sample();
    for web in &lab.frontends_of("default/web-local") {
        let client: IpAddr = if web.vip.is_ipv4() {
            CLIENT_V4.into()
        } else {
            CLIENT_V6.into()
        };
        let answer = lab.answer(web);
        let holder = lab.holder_of(web.vip);
        assert_eq!(answer.client(), client);
        assert_eq!(answer.node(), holder);
        assert_ne!(holder, "n3", "n3 has no pod of it");
    }
}

#[test]
fn policy_local_follows_its_endpoints() {
    let lab = TestLab::sample();
    let web = &lab.frontends_of("default/web-local")[0];
    let holder = lab.holder_of(web.vip);
    let other = if holder == "n1" { "n2" } else { "n1" };
    for pod in PODS_OF_WEB_LOCAL.iter().filter(|(node, _)| *node == holder) {
        let endpoint = |ready| {
            format!(
                "{}]\n    nodeName: {holder}\n    conditions: {{ready: {ready}}}",
                pod.1
            )
        };
        lab.edit("web-local.yaml", &endpoint(true), &endpoint(false));
    }
    lab.until_held(web.vip, |holder| holder == Some(other));
    assert_eq!(lab.answer(web).node(), other);
}

#[test]
fn two_services_share_an_address() {
    let lab = TestLab::sample();
    let (tcp, udp) = (
        lab.frontends_of("default/echo-tcp"),
        lab.frontends_of("default/echo-udp"),
    );
    for (tcp, udp) in tcp.iter().zip(&udp) {
        assert_eq!((tcp.vip, tcp.protocol), (udp.vip, Protocol::Tcp));
        lab.answer(tcp);
        lab.answer(udp);
    }
}

#[test]
fn a_deleted_node_leaves_its_vips_to_another() {
    let lab = TestLab::sample();
    let web = &lab.frontends_of("default/web")[0];
    let holder = lab.holder_of(web.vip);
    fs::remove_file(lab.manifests().join(format!("node-{holder}.yaml"))).unwrap();
    let heir = lab.until_held(web.vip, |now| now.is_some_and(|now| now != holder));
    lab.answer(web);
    assert_ne!(heir.as_deref(), Some(holder.as_str()));
}

#[test]
fn an_excluded_node_answers_for_nothing() {
    let lab = TestLab::sample();
    lab.exclude("n1");
    lab.exclude("n2");
    for service in ["default/web", "default/echo-tcp"] {
        for frontend in &lab.frontends_of(service) {
            lab.until_held(frontend.vip, |holder| holder == Some("n3"));
        }
    }
    let local = &lab.frontends_of("default/web-local")[0];
    lab.until_held(local.vip, |holder| holder.is_none());
}

#[test]
fn node_selectors_say_who_may_answer() {
    let selector = "spec:\n  nodeSelectors:\n    - matchLabels: {topology.kubernetes.io/zone: b}\n  ipAddressPools:";
    let lab = TestLab::with(&[("pools.yaml", "spec:\n  ipAddressPools:", selector)]);
    for service in ["default/web", "default/web-local", "default/echo-udp"] {
        for frontend in &lab.frontends_of(service) {
            lab.until_held(frontend.vip, |holder| holder == Some("n2"));
        }
    }
}

#[test]
fn a_broken_document_hides_no_other_and_withdraws_nothing() {
    let lab = TestLab::sample();
    let web = &lab.frontends_of("default/web")[0];
    let holder = lab.holder_of(web.vip);
    lab.edit(
        "pools.yaml",
        "- 192.0.2.100-192.0.2.119",
        "- 192.0.2.100-oops",
    );
    lab.edit(
        "broken.yaml",
        "",
        "kind: [\n---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: whole\n",
    );
    let status = lab.eventually("the problem is told", || {
        let status = lab.said("n1", &["status"])?;
        if status.contains("192.0.2.100-oops") {
            Ok(status)
        } else {
            Err(status)
        }
    });
    assert!(status.contains("pools.yaml"), "{status}");
    assert_eq!(lab.holder_of(web.vip), holder);
    lab.answer(web);
}

const PODS_OF_WEB_LOCAL: [(&str, &str); 4] = [
    ("n1", "10.244.1.11"),
    ("n1", "\"fd00:10:244:1::11\""),
    ("n2", "10.244.2.12"),
    ("n2", "\"fd00:10:244:2::12\""),
];
