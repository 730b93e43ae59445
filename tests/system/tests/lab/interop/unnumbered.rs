//! Sessions on a link of which the speaker does not know the other side's address: with FRR, which advertises itself, and with BIRD, which
//! does not.

use super::frr::{hops, prefix};
use super::routed;
use system_tests::lab::TestLab;
use xtask::lab::router::bird::Bird;
use xtask::lab::router::frr::Frr;

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
const BFDD: &str = "\
bfd
 profile fast
  receive-interval 100
  transmit-interval 100
";
