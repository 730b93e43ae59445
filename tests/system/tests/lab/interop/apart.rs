//! A router that reads nothing any more, and another one that does.
//!
//! Buffers of the kernels are made as small as they can be, so that a few routes fill them.

use super::{peer, routed};
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};
use system_tests::lab::{TestLab, tell};
use xtask::lab::router::bird::Bird;
use xtask::lab::router::gobgp::GoBgp;

#[test]
fn a_router_that_stops_reading_delays_no_other() {
    let node = "  nodeSelectors:\n    - matchLabels: {kubernetes.io/hostname: n1}\n";
    let peers = [
        peer("frozen", "192.0.2.1", node),
        peer("other", "192.0.2.9", node),
    ];
    let mut lab = routed(&format!("{MANY}{}", peers.concat()));
    let router = lab.topology().router.clone().unwrap();
    router.ip("address add 192.0.2.9/24 dev eth0").unwrap();
    router
        .sysctl(&[("ipv4.tcp_rmem", "4096 4096 4096")])
        .unwrap();
    let smallest = [("ipv4.tcp_wmem", "4096 4096 4096")];
    lab.netns("n1").sysctl(&smallest).unwrap();
    let mut bird = Bird::start(&mut lab, BIRD).unwrap();
    let gobgp = GoBgp::start(&mut lab, GOBGP).unwrap();
    let services: String = (0..SERVICES)
        .map(|n| format!("---\n{}", service(n)))
        .collect();
    fs::write(lab.manifests().join("many.yaml"), services).unwrap();
    lab.start_speakers().unwrap();
    told(&lab, &gobgp, 100);

    let mut reading = Vec::new();
    let mut frozen = Vec::new();
    for community in 101..=140 {
        if community == 111 {
            bird.freeze(true);
        }
        let (from, to) = (community - 1, community);
        lab.edit("bgp.yaml", &format!("64512:{from}"), &format!("64512:{to}"));
        let edited = Instant::now();
        told(&lab, &gobgp, community);
        let took = edited.elapsed();
        if community <= 110 {
            &mut reading
        } else {
            &mut frozen
        }
        .push(took);
    }
    assert!(
        unsent(&lab) > 0,
        "the frozen router's connection is not full"
    );
    let seen = lab.speakers()["n1"].ctl_json(&["bgp"]).unwrap();
    for peer in seen["peers"].as_array().unwrap() {
        assert_eq!(peer["state"], "Established", "{seen}");
    }
    // Of ten changes one may have been late by the machine's doing.
    let (reading, frozen) = (worst_but_a_tenth(reading), worst_but_a_tenth(frozen));
    tell(&format!(
        "{SERVICES} routes changed, at the other router at most {reading:?} later; beside one that does not read {frozen:?}"
    ));
    assert!(frozen < 3 * reading + Duration::from_secs(2), "{frozen:?}");

    bird.freeze(false);
    lab.eventually("the router that was frozen has the newest routes", || {
        let table = bird.ask("show route all").unwrap();
        let newest = table.matches("BGP.community: (64512,140)").count();
        if newest == SERVICES {
            Ok(())
        } else {
            Err(newest)
        }
    });
}

fn worst_but_a_tenth(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() - 1 - all.len() / 10]
}

/// Waits until GoBGP has all routes with this community.
#[track_caller]
fn told(lab: &TestLab, gobgp: &GoBgp, community: u64) {
    let community = 64512 << 16 | community;
    lab.eventually("the router that reads has the newest routes", || {
        let table = gobgp.ask("global rib").unwrap();
        let is_new = |paths: &&Value| {
            let attributes = paths[0]["attrs"].as_array().into_iter().flatten();
            let mut marks = attributes.filter(|attribute| attribute["type"] == 8);
            marks.any(|marks| marks["communities"][0] == community)
        };
        let paths = table
            .as_object()
            .into_iter()
            .flat_map(|table| table.values());
        let newest = paths.filter(is_new).count();
        if newest == SERVICES {
            Ok(())
        } else {
            Err(newest)
        }
    });
}

/// Bytes that the kernel of `n1` has for the frozen router and cannot send.
fn unsent(lab: &TestLab) -> u64 {
    let shown = lab
        .netns("n1")
        .output("ss", &["-Htn", "dst", "192.0.2.1:179"])
        .unwrap();
    let mut words = shown.split_whitespace();
    // State, bytes received, bytes to be sent.
    words.nth(2).map_or(0, |bytes| bytes.parse().unwrap())
}

fn service(number: usize) -> String {
    super::service(&format!("many-{number}"))
        .replace("address-pool: routed", "address-pool: many")
        .replace("10.96.0.99", &format!("10.97.0.{}", number + 1))
}

const SERVICES: usize = 200;
const MANY: &str = "\
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata:
  name: many
  namespace: metallb-system
spec:
  autoAssign: false
  addresses:
    - 198.18.0.0/24
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata:
  name: many
  namespace: metallb-system
spec:
  ipAddressPools: [many]
  communities: [\"64512:100\"]
";
const BIRD: &str = "\
router id 192.0.2.1;
protocol device {}
protocol bgp n1 {
  local 192.0.2.1 as 64513;
  strict bind yes;
  neighbor 192.0.2.11 as 64512;
  ipv4 { import all; export none; };
}
";
const GOBGP: &str = "\
[global.config]
  as = 64513
  router-id = \"192.0.2.9\"
  local-address-list = [\"192.0.2.9\"]
[[neighbors]]
  [neighbors.config]
    neighbor-address = \"192.0.2.11\"
    peer-as = 64512
  [neighbors.transport.config]
    passive-mode = true
";
