//! The speaker on devices that not every kernel has. On VLAN devices: tags stay what they were, and each device answers for itself.
//!
//! In a VRF ([`vrf`]): BGP and BFD are spoken in it.
//!
//! `cargo xtask test vlan` runs this in emulated machines, with TCX and without; a kernel that has both of its own can
//! run it as it is. Everything it makes is its own: namespaces named `hgv-…`, pins under `/sys/fs/bpf/hgv-…`.
#![expect(
    clippy::unwrap_used,
    reason = "in a test binary a panic is a failed test"
)]

mod frames;
mod site;
mod vrf;
mod web;

use frames::is_question;
use site::{BRIDGE_MAC, PARENT_MAC, Site, VIP4, VIP6, VLAN_MAC, Wiring};
use std::net::SocketAddr;
use web::Web;
use xtask::lab::client;

#[test]
fn a_request_in_a_vlan_is_answered_in_it_by_the_vlan_device() {
    let site = Site::on(&["eth0.100"]);
    site.held_on("eth0.100");
    is_answered_in_the_vlan(&site);
}

#[test]
fn tags_that_stand_in_the_frame_are_answered_alike() {
    let wiring = Wiring {
        tags_in_frames: true,
        ..Wiring::default()
    };
    let site = Site::new(&wiring, &["eth0.100"], &[]);
    site.held_on("eth0.100");
    is_answered_in_the_vlan(&site);
}

#[test]
fn an_untagged_request_goes_unanswered_where_only_the_vlan_is_advertised() {
    let site = Site::on(&["eth0.100"]);
    site.held_on("eth0.100");
    for vip in [VIP4, VIP6] {
        assert_eq!(site.asked(vip, "eth0"), None, "{vip} on eth0");
    }
    is_answered_in_the_vlan(&site);
}

#[test]
fn a_tagged_request_is_left_to_the_stack_where_only_the_parent_is_advertised() {
    let site = Site::on(&["eth0"]);
    site.held_on("eth0");
    for vip in [VIP4, VIP6] {
        assert_eq!(site.answer(vip, "eth0"), PARENT_MAC, "{vip} on eth0");
        let seen = site.node.while_watching("eth0.100", || {
            assert_eq!(site.asked(vip, "eth0.100"), None, "{vip} in the VLAN");
        });
        let arrived = seen.lines().any(|line| is_question(line, vip));
        assert!(arrived, "the request for {vip} is not in\n{seen}");
    }
    // The node's own address in the VLAN.
    site.answer(site::NODE4, "eth0.100");
}

#[test]
fn parent_and_vlan_answer_each_with_its_own_address() {
    let site = Site::on(&["eth0", "eth0.100"]);
    site.held_on("eth0");
    site.held_on("eth0.100");
    for vip in [VIP4, VIP6] {
        assert_eq!(site.answer(vip, "eth0"), PARENT_MAC, "{vip} on eth0");
    }
    is_answered_in_the_vlan(&site);
}

#[test]
fn http_comes_through_a_vip_in_a_vlan() {
    let site = Site::on(&["eth0.100"]);
    site.held_on("eth0.100");
    site.talk_in_vlan();
    let _web = Web::on(&site);
    for (vip, own) in [(VIP4, site::CLIENT4), (VIP6, site::CLIENT6)] {
        let at = SocketAddr::new(vip.parse().unwrap(), 80);
        let ask = || site.client.enter(|| client::get(at));
        site.eventually("the proxy knows the service", || ask().is_ok());
        let seen = site.client.while_watching("eth0", || {
            assert_eq!(ask().unwrap().trim_end(), own, "the client's own address");
        });
        assert!(seen.contains("vlan 100"), "{seen}");
        assert!(!seen.lines().any(is_untagged_tcp), "{seen}");
    }
}

#[test]
fn a_vlan_on_a_bridge_answers() {
    let wiring = Wiring {
        is_bridged: true,
        ..Wiring::default()
    };
    let site = Site::new(&wiring, &["br0.100"], &[]);
    site.held_on("eth0.100");
    for vip in [VIP4, VIP6] {
        let answer = site.answer(vip, "eth0.100");
        assert_eq!(answer, BRIDGE_MAC, "{vip} in the VLAN");
        assert_eq!(site.asked(vip, "eth0"), None, "{vip} on eth0");
    }
}

#[test]
fn a_vlan_that_is_made_anew_answers_again() {
    let site = Site::on(&["eth0.100"]);
    site.held_on("eth0.100");
    site.node.ip("link del eth0.100");
    assert_eq!(site.asked(VIP4, "eth0.100"), None);
    site.add_vlan("eth0");
    site.held_on("eth0.100");
    is_answered_in_the_vlan(&site);
}

#[test]
fn xdp_is_taken_on_the_vlan_device_and_refused_on_its_parent() {
    let options = ["--attach", "xdp-generic"];
    let site = Site::new(&Wiring::default(), &["eth0", "eth0.100"], &options);
    site.held_on("eth0");
    site.held_on("eth0.100");
    let links = site.ctl(&["links"]);
    site.tell(&links);
    let has = |device: &str, what: &str| {
        let mut lines = links.lines().filter(|line| line.contains(device));
        lines.any(|line| line.contains(what))
    };
    assert!(has("eth0:", "refused: it carries VLANs (eth0.100)"));
    assert!(has("eth0.100:", "xdp-generic attached"));
    is_answered_in_the_vlan(&site);
    assert_eq!(site.answer(VIP4, "eth0"), PARENT_MAC);
}

#[test]
fn a_restart_leaves_no_gap_and_adopts_what_is_there() {
    let mut site = Site::on(&["eth0.100"]);
    site.held_on("eth0.100");
    site.stop();
    let answer = site.asked(VIP4, "eth0.100");
    assert_eq!(answer.as_deref(), Some(VLAN_MAC), "with no speaker there");
    site.start();
    site.held_on("eth0.100");
    let links = site.ctl(&["links", "-o", "json"]);
    assert!(links.contains("adopted"), "{links}");
}

#[test]
fn each_kernel_gets_its_hook_and_cleanup_leaves_nothing() {
    let before = Remains::of(&Site::without_speaker());
    let mut site = Site::on(&["eth0", "eth0.100"]);
    site.held_on("eth0.100");
    site.held_on("eth0");
    let links = site.ctl(&["links"]);
    site.tell(&links);
    let hook = if has_tcx() { "tcx" } else { "clsact" };
    assert!(
        links.contains(&format!("eth0.100: {hook} attached")),
        "{links}"
    );
    let there = Remains::of(&site);
    assert_eq!(there.filters.is_empty(), has_tcx(), "{there:?}");
    assert_ne!(there.pins, before.pins);
    assert_ne!(there.proxies, before.proxies);
    assert_ne!(there.arp_announce, before.arp_announce);
    site.stop();
    site.tell(&site.cleanup());
    assert_eq!(Remains::of(&site), before);
    for device in ["eth0", "eth0.100"] {
        assert_eq!(site.asked(VIP4, device), None, "{device}");
    }
    site.cleanup();
}

/// What a speaker could leave on a node.
#[derive(PartialEq, Eq, Debug)]
struct Remains {
    filters: String,
    pins: Vec<String>,
    proxies: String,
    arp_announce: Vec<String>,
}

impl Remains {
    fn of(site: &Site) -> Self {
        let node = &site.node;
        Self {
            filters: ["eth0", "eth0.100"]
                .map(|device| node.run(&format!("tc filter show dev {device} ingress")))
                .concat(),
            pins: site.pins(),
            proxies: node.run("ip -6 neigh show proxy"),
            arp_announce: ["eth0", "eth0.100"]
                .map(|device| {
                    node.run(&format!(
                        "cat /proc/sys/net/ipv4/conf/{device}/arp_announce"
                    ))
                })
                .to_vec(),
        }
    }
}

/// Both families, with a tag.
#[track_caller]
fn is_answered_in_the_vlan(site: &Site) {
    for vip in [VIP4, VIP6] {
        let answer = site.answer(vip, "eth0.100");
        assert_eq!(answer, VLAN_MAC, "{vip} in the VLAN");
    }
}

/// The ethertype stands before what is in the frame; behind a tag it is not the first.
fn is_untagged_tcp(line: &str) -> bool {
    let first = line.split("ethertype ").nth(1);
    first.is_some_and(|kind| kind.starts_with("IPv4 ") || kind.starts_with("IPv6 "))
        && line.contains("TCP (6)")
}

/// TCX came with kernel 6.6.
fn has_tcx() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>());
    let major = numbers.next().unwrap().unwrap();
    let minor = numbers.next().unwrap().unwrap();
    (major, minor) >= (6, 6)
}
