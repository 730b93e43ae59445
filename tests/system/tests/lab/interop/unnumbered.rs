//! Sessions on a link of which the speaker does not know the other side's address: with FRR, which advertises itself, with BIRD, which
//! does not, and with GoBGP on a link that does not even forward IPv6.

use super::frr::{hops, prefix};
use super::others::paths_at_gobgp;
use super::routed;
use std::time::Duration;
use system_tests::lab::TestLab;
use xtask::lab::router::bird::Bird;
use xtask::lab::router::frr::Frr;
use xtask::lab::router::gobgp::GoBgp;
use xtask::tools::within;

#[test]
fn a_router_on_a_link_is_found_and_takes_both_families_by_link_local_next_hops() {
    let mut lab = wired();
    let frr = Frr::start(&mut lab, BGPD, BFDD).unwrap();
    lab.start_speakers().unwrap();
    let link_local = link_local(&lab);
    for web in lab.frontends_of("default/web") {
        let prefix = prefix(web.vip);
        lab.eventually("the route leads to the node's link-local address", || {
            let hops = hops(&frr, &prefix);
            match hops.contains(&link_local) {
                true => Ok(()),
                false => Err((frr.paths(&prefix).unwrap(), said(&lab))),
            }
        });
    }
    lab.eventually("BFD watches it on the link", || {
        let seen = frr.show("show bfd peers json").unwrap();
        let is_up = seen
            .as_array()
            .unwrap()
            .iter()
            .any(|peer| peer["status"] == "up");
        if is_up { Ok(()) } else { Err(seen) }
    });
    let seen = lab.speakers()["n1"].ctl_json(&["bgp"]).unwrap();
    let negotiated = &seen["peers"][0]["negotiated"];
    assert_eq!(negotiated["has_v4_over_v6_next_hop"], true, "{seen}");
    assert_eq!(
        seen["peers"][0]["ups_downs"],
        serde_json::json!([1, 0]),
        "{seen}"
    );
}

#[test]
fn a_router_that_does_not_advertise_itself_is_found_among_the_neighbours() {
    let mut lab = wired();
    let config = BIRD.replace("NODE", &link_local(&lab));
    let bird = Bird::start(&mut lab, &config).unwrap();
    lab.start_speakers().unwrap();
    for web in lab.frontends_of("default/web") {
        let prefix = prefix(web.vip);
        lab.eventually("the route is BIRD's", || {
            // A prefix that is not there is an error to birdc.
            let text = bird.ask(&format!("show route all {prefix}"));
            match text {
                Ok(text) if text.contains("BGP.as_path: 64512") => Ok(()),
                other => Err((format!("{other:?}"), said(&lab))),
            }
        });
    }
}

#[test]
fn the_only_neighbour_of_a_link_is_found_though_it_does_not_call_itself_a_router() {
    let mut lab = wired();
    let router = lab.topology().router.clone().unwrap();
    router.sysctl(&[("ipv6.conf.n1.forwarding", "0")]).unwrap();
    // It takes its peer from the kernel's neighbours, as it starts.
    let node = format!("{}%n1", link_local(&lab));
    lab.eventually("the node is the router's neighbour", || {
        let answer = router.output("ping", &["-c", "1", "-W", "1", &node]);
        answer.map_err(|error| format!("{error:#}"))
    });
    let gobgp = GoBgp::start(&mut lab, GOBGP).unwrap();
    lab.start_speakers().unwrap();
    for web in lab.frontends_of("default/web") {
        let prefix = prefix(web.vip);
        let known = within(FOUND_MAX, || match paths_at_gobgp(&gobgp, &prefix).len() {
            1 => Ok(()),
            _ => Err(said(&lab)),
        });
        assert_eq!(known, Ok(()), "the route is GoBGP's");
    }
}

#[test]
fn a_link_that_is_not_there_yet_is_named_and_waited_for() {
    let lab = {
        let mut lab = routed(PEER);
        lab.start_speakers().unwrap();
        lab
    };
    lab.eventually("the reason", || {
        let text = said(&lab)?;
        match text.contains("this node has no link tor") {
            true => Ok(()),
            false => Err(text),
        }
    });
    wire(&lab);
    lab.eventually("the next reason", || {
        let text = said(&lab)?;
        match text.contains("no router has advertised itself on tor yet") {
            true => Ok(()),
            false => Err(text),
        }
    });
}

/// The lab with a link of its own between `n1` and the router, which both know by name.
#[track_caller]
fn wired() -> TestLab {
    let lab = routed(PEER);
    wire(&lab);
    lab
}

fn wire(lab: &TestLab) {
    let router = lab.topology().router.clone().unwrap();
    let node = lab.netns("n1");
    node.ip(&format!(
        "link add tor type veth peer name n1 netns {}\nlink set tor up",
        router.name()
    ))
    .unwrap();
    router.ip("link set n1 up").unwrap();
}

fn link_local(lab: &TestLab) -> String {
    let shown = lab
        .netns("n1")
        .output("ip", &["-o", "-6", "address", "show", "dev", "tor"]);
    let shown = shown.unwrap();
    let address = shown.split_whitespace().nth(3).unwrap();
    address.split('/').next().unwrap().to_owned()
}

/// What the speaker says of its peer; how it failed while it knows none.
fn said(lab: &TestLab) -> Result<String, String> {
    lab.said("n1", &["bgp", "tor"])
}

/// Half a minute after nobody else answered, and as long again for a busy machine.
const FOUND_MAX: Duration = Duration::from_secs(60);
const PEER: &str = "\
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata:
  name: tor
  namespace: metallb-system
spec:
  myASN: 64512
  peerASN: 64513
  interface: tor
  bfdProfile: fast
  nodeSelectors:
    - matchLabels: {kubernetes.io/hostname: n1}
";
const BGPD: &str = "\
router bgp 64513
 bgp router-id 192.0.2.1
 no bgp ebgp-requires-policy
 neighbor n1 interface remote-as 64512
 neighbor n1 timers connect 1
 neighbor n1 bfd
 neighbor n1 bfd profile fast
 address-family ipv6 unicast
  neighbor n1 activate
";
const BIRD: &str = "\
router id 192.0.2.1;
protocol device {}
protocol bgp n1 {
  local as 64513;
  neighbor NODE%n1 as 64512;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
  ipv4 { extended next hop; import all; export none; };
  ipv6 { import all; export none; };
}
";
const GOBGP: &str = "\
[global.config]
  as = 64513
  router-id = \"192.0.2.1\"
[[neighbors]]
  [neighbors.config]
    neighbor-interface = \"n1\"
    peer-as = 64512
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = \"ipv4-unicast\"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = \"ipv6-unicast\"
";
const BFDD: &str = "\
bfd
 profile fast
  receive-interval 100
  transmit-interval 100
";
