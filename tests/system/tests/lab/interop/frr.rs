//! FRR as the router.

use super::{peer, routed};
use serde_json::Value;
use std::net::IpAddr;
use system_tests::lab::TestLab;
use xtask::lab::client::ask;
use xtask::lab::router::frr::Frr;
use xtask::lab::topology::{ROUTER_V4, ROUTER_V6};

#[test]
fn an_address_of_a_service_is_a_route_at_the_router_and_leads_to_its_pods() {
    let (lab, frr) = up("");
    for web in lab.frontends_of("default/web") {
        let next_hops: Vec<IpAddr> = lab.eventually("all nodes announce it", || {
            let hops = next_hops(&frr, web.vip);
            if hops.len() == 3 { Ok(hops) } else { Err(hops) }
        });
        let nodes = lab.topology().nodes.iter();
        let expected: Vec<IpAddr> = nodes
            .map(|node| node.addresses()[usize::from(web.vip.is_ipv6())])
            .collect();
        assert_eq!(next_hops, expected);
        let router = lab.topology().router.clone().unwrap();
        let answer = lab.eventually("the router's way to it leads to a pod", || {
            router.enter(|| ask(&web)).unwrap()
        });
        assert!(answer.contains("pod="), "{answer}");
    }
}

/// FRR and speakers on all nodes, each with a session for each family.
#[track_caller]
fn up(more: &str) -> (TestLab, Frr) {
    let peers = [
        peer("router-v4", &ROUTER_V4.to_string(), more),
        peer("router-v6", &ROUTER_V6.to_string(), more),
    ];
    let mut lab = routed(&peers.concat());
    let bgpd = bgpd(&lab, "");
    let frr = Frr::start(&mut lab, &bgpd, "").unwrap();
    lab.start_speakers().unwrap();
    (lab, frr)
}

/// What bgpd is told: every node is a neighbour by both families' addresses. `{N}` in `more` stands for each of them.
fn bgpd(lab: &TestLab, more: &str) -> String {
    let addresses = || {
        lab.topology()
            .nodes
            .iter()
            .flat_map(|node| node.addresses())
    };
    let mut text =
        "router bgp 64513\n bgp router-id 192.0.2.1\n no bgp ebgp-requires-policy\n".to_owned();
    for address in addresses() {
        text += &format!(
            " neighbor {address} remote-as 64512\n neighbor {address} timers connect 1\n{}",
            more.replace("{N}", &address.to_string())
        );
    }
    text += " address-family ipv6 unicast\n";
    for address in addresses() {
        text += &format!("  neighbor {address} activate\n");
    }
    text
}

/// Next hops of all paths to an address, global ones, in order.
fn next_hops(frr: &Frr, vip: IpAddr) -> Vec<IpAddr> {
    let length = if vip.is_ipv4() { 32 } else { 128 };
    let paths = frr.paths(&format!("{vip}/{length}")).unwrap();
    let hop = |path: &Value| {
        let hops = path["nexthops"].as_array()?.iter();
        let mut global = hops.filter(|hop| hop["scope"] != "link-local");
        global.next()?["ip"].as_str()?.parse().ok()
    };
    let mut hops: Vec<IpAddr> = paths.iter().filter_map(hop).collect();
    hops.sort();
    hops
}
