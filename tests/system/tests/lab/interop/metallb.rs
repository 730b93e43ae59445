//! What MetalLB's own tests show with a router, shown with FRR.

use super::frr::{announced_by_all, bfd_losses, losses, next_hops, prefix, up, watched};
use super::service;
use serde_json::Value;
use std::net::IpAddr;
use system_tests::lab::TestLab;
use xtask::lab::router::frr::Frr;

#[test]
fn a_router_sees_local_policy_shared_addresses_lost_networks_and_layer_2_beside() {
    let (lab, frr) = up("", "", "");
    let web = lab.frontends_of("default/web")[0].vip;
    announced_by_all(&lab, &frr, web);
    policy_local_is_announced_where_its_pods_are(&lab, &frr);
    a_shared_address_stays_until_the_last_service_goes(&lab, &frr);
    a_node_without_network_withdraws(&lab, &frr, web);
    layer_2_may_announce_the_same(&lab, &frr, web);
}

fn policy_local_is_announced_where_its_pods_are(lab: &TestLab, frr: &Frr) {
    let cluster = "type: LoadBalancer";
    let local = format!("{cluster}\n  externalTrafficPolicy: Local");
    let manifest = service("local").replace(cluster, &local);
    lab.edit("local.yaml", "", &manifest);
    let vip = lab.frontends_of("default/local")[0].vip;
    announced_by(lab, frr, vip, &["192.0.2.11"]);
}

fn a_shared_address_stays_until_the_last_service_goes(lab: &TestLab, frr: &Frr) {
    let pool = "metallb.io/address-pool: routed";
    let shared = format!(
        "{pool}\n    metallb.io/allow-shared-ip: key\n    metallb.io/loadBalancerIPs: {SHARED}"
    );
    for (name, port, cluster) in [("first", "81", "98"), ("second", "82", "97")] {
        let manifest = service(name)
            .replace(pool, &shared)
            .replace("      port: 80\n", &format!("      port: {port}\n"))
            .replace("10.96.0.99", &format!("10.96.0.{cluster}"));
        lab.edit(&format!("{name}.yaml"), "", &manifest);
        assert_eq!(lab.frontends_of(&format!("default/{name}"))[0].vip, vip());
    }
    announced_by_all(lab, frr, vip());
    std::fs::remove_file(lab.manifests().join("first.yaml")).unwrap();
    // What comes after shows that the speakers have read that the first is gone.
    lab.edit("bgp.yaml", "64512:7", "64512:8");
    lab.eventually("the other one is announced all the same", || {
        let paths = frr.paths(&prefix(vip())).unwrap();
        let is_new = |path: &&Value| path["community"]["string"] == "64512:8";
        match paths.iter().filter(is_new).count() {
            3 => Ok(()),
            _ => Err(paths),
        }
    });
    std::fs::remove_file(lab.manifests().join("second.yaml")).unwrap();
    announced_by(lab, frr, vip(), &[]);
}

fn a_node_without_network_withdraws(lab: &TestLab, frr: &Frr, web: IpAddr) {
    let status = "status:\n";
    let lost =
        format!("{status}  conditions:\n    - {{type: NetworkUnavailable, status: \"True\"}}\n");
    lab.edit("node-n3.yaml", status, &lost);
    announced_by(lab, frr, web, &["192.0.2.11", "192.0.2.12"]);
    lab.edit("node-n3.yaml", &lost, status);
    announced_by_all(lab, frr, web);
}

fn layer_2_may_announce_the_same(lab: &TestLab, frr: &Frr, web: IpAddr) {
    lab.edit("layer-2.yaml", "", LAYER_2);
    lab.client()
        .ip("route add 198.51.100.0/28 dev eth0")
        .unwrap();
    lab.eventually("one node answers for it on the link", || {
        lab.holder(web).ok_or("nobody")
    });
    announced_by_all(lab, frr, web);
}

#[test]
fn a_router_sees_every_number_of_a_bfd_profile_and_no_session_goes_when_they_change() {
    let (lab, frr) = up("  bfdProfile: numbers\n", " neighbor {N} bfd\n", "bfd\n");
    lab.edit("bfd.yaml", "", PROFILE);
    let web = lab.frontends_of("default/web")[0].vip;
    watched(&lab, &frr, web);
    sees(&lab, &frr, [300, 300, 3]);
    let before = (bfd_losses(&frr), losses(&lab, &frr));
    lab.edit("bfd.yaml", "spec: {}", FULL);
    sees(&lab, &frr, [110, 120, 5]);
    assert_eq!((bfd_losses(&frr), losses(&lab, &frr)), before);
    let text = lab.eventually("what has no effect is noted", || {
        let text = lab.said("n1", &["bgp", "router-v4"])?;
        match text.contains("echoMode has no effect") {
            true => Ok(text),
            false => Err(text),
        }
    });
    assert!(text.contains("Established"), "{text}");
}

/// Waits until FRR has heard of all six sessions our intervals of sending and taking, in milliseconds, and our multiplier.
fn sees(lab: &TestLab, frr: &Frr, numbers: [u64; 3]) {
    lab.eventually("FRR has heard the numbers", || {
        let seen = frr.show("show bfd peers json").unwrap();
        let has = |peer: &&Value| {
            let fields = ["transmit-interval", "receive-interval", "detect-multiplier"];
            let heard = fields.map(|field| peer[format!("remote-{field}")].as_u64());
            heard == numbers.map(Some)
        };
        match seen.as_array().unwrap().iter().filter(has).count() {
            6 => Ok(()),
            _ => Err(seen),
        }
    });
}

/// Waits until exactly these next hops lead to an address.
fn announced_by(lab: &TestLab, frr: &Frr, vip: IpAddr, nodes: &[&str]) {
    let expected: Vec<IpAddr> = nodes.iter().map(|node| node.parse().unwrap()).collect();
    lab.eventually("the nodes that announce it", || {
        let hops = next_hops(frr, vip);
        if hops == expected { Ok(()) } else { Err(hops) }
    });
}

fn vip() -> IpAddr {
    SHARED.parse().unwrap()
}

const SHARED: &str = "198.51.100.9";
const LAYER_2: &str = "\
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata:
  name: routed
  namespace: metallb-system
spec:
  ipAddressPools: [routed]
";
const PROFILE: &str = "\
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata:
  name: numbers
  namespace: metallb-system
spec: {}
";
const FULL: &str = "spec: {receiveInterval: 120, transmitInterval: 110, detectMultiplier: 5, echoMode: true, echoInterval: 62, passiveMode: false, minimumTtl: 254}";
