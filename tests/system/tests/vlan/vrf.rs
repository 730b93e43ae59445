//! BGP peers in a VRF, with BFD: BIRD at the other end of a link whose address is in the VRF's table only, or that has none but the link's
//! own.

use crate::site::{Site, VIP4, VIP6};
use std::fs;
use std::process::{Child, Stdio};

#[test]
fn a_session_in_a_vrf_waits_for_it_and_comes_up_with_bfd_and_routes() {
    let site = Site::on(&["eth0"]);
    site.manifest("bgp.yaml", MANIFESTS);
    site.eventually("the VRF is named and waited for", || {
        site.ctl(&["bgp"]).contains("this node has no VRF red")
    });
    site.node
        .ip("link add red type vrf table 10\nlink set red up");
    site.link_to_client("tor");
    site.node
        .ip("link set tor master red\naddress add 198.51.100.2/30 dev tor");
    site.client.ip("address add 198.51.100.1/30 dev tor");
    let main = site.node.run("ip route show table main");
    assert!(!main.contains("198.51.100"), "{main}");
    let bird = Bird::on(&site, CONFIG);
    let route = format!("{VIP4}/32");
    site.eventually("the route is at BIRD", || {
        let seen = bird.ask(&format!("show route {route}"));
        seen.contains("via 198.51.100.2 on tor")
    });
    site.eventually("BFD is up on both sides", || {
        let seen = bird.ask("show bfd sessions");
        let is_up = seen
            .lines()
            .any(|line| line.contains("198.51.100.2") && line.contains("Up"));
        is_up && site.ctl(&["bfd"]).contains("up")
    });
    let told = site.ctl(&["bgp", "tor", "-o", "json"]);
    let has = |words: &str| told.replace(' ', "").contains(words);
    assert!(
        has(r#""vrf":"red""#) && has(r#""state":"Established""#),
        "{told}"
    );
    site.tell(&site.ctl(&["bgp"]));
}

#[test]
fn a_router_on_a_link_of_a_vrf_is_found_by_its_advertisements() {
    let site = Site::on(&["eth0"]);
    site.node
        .ip("link add red type vrf table 10\nlink set red up");
    site.link_to_client("tor");
    site.node.ip("link set tor master red");
    let mut own = None;
    site.eventually("the port has a link-local address", || {
        own = link_local(&site);
        own.is_some()
    });
    let own = own.unwrap();
    let on_link = MANIFESTS.replace("peerAddress: 198.51.100.1", "interface: tor");
    site.manifest("bgp.yaml", &on_link);
    let bird = Bird::on(&site, &ON_LINK.replace("NODE", &own));
    for route in [format!("{VIP4}/32"), format!("{VIP6}/128")] {
        site.eventually(
            &format!("BIRD has {route} by the port's own address"),
            || {
                let seen = bird.ask(&format!("show route {route}"));
                seen.contains(&format!("via {own} on tor"))
            },
        );
    }
    site.eventually("BFD is up on both sides", || {
        let seen = bird.ask("show bfd sessions");
        let is_up = |line: &str| line.contains(&own) && line.contains("Up");
        seen.lines().any(is_up) && site.ctl(&["bfd"]).contains("up")
    });
    site.tell(&site.ctl(&["bgp"]));
}

/// The link-local address of the node's end.
fn link_local(site: &Site) -> Option<String> {
    let shown = site.node.run("ip -o -6 address show dev tor scope link");
    let words = shown.split_whitespace();
    let address = words.skip_while(|word| *word != "inet6").nth(1)?;
    Some(address.split_once('/')?.0.to_owned())
}

/// A BIRD in the client's namespace.
struct Bird<'a> {
    site: &'a Site,
    child: Child,
    socket: String,
}

impl<'a> Bird<'a> {
    fn on(site: &'a Site, text: &str) -> Self {
        let (config, socket) = (site.file("bird.conf"), site.file("bird.ctl"));
        fs::write(&config, text).unwrap();
        let socket = socket.display().to_string();
        let mut bird = site.client.command("bird");
        bird.arg("-f").arg("-c").arg(config).args(["-s", &socket]);
        // What it says would stand in the middle of the suite's own lines; without a log of its own it goes to the console.
        bird.stdout(Stdio::null()).stderr(Stdio::null());
        let child = bird.stdin(Stdio::null()).spawn().unwrap();
        Self {
            site,
            child,
            socket,
        }
    }

    /// What birdcl prints, or why it cannot be asked yet.
    fn ask(&self, question: &str) -> String {
        let ask = format!("birdcl -s {} {question}", self.socket);
        self.site.client.attempt(&ask).1
    }
}

impl Drop for Bird<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CONFIG: &str = "\
log stderr all;
router id 198.51.100.1;
protocol device {}
protocol bfd { interface \"tor\" { interval 300 ms; multiplier 5; }; }
protocol bgp n1 {
  local 198.51.100.1 as 64513;
  neighbor 198.51.100.2 as 64512;
  passive on;
  bfd on;
  ipv4 { import all; export none; };
}
";
const ON_LINK: &str = "\
log stderr all;
router id 198.51.100.1;
protocol device {}
protocol radv { interface \"tor\" { min ra interval 3; max ra interval 4; default lifetime 0; }; }
protocol bfd { interface \"tor\" { interval 300 ms; multiplier 5; }; }
protocol bgp n1 {
  local as 64513;
  neighbor NODE%tor as 64512;
  passive on;
  bfd on;
  ipv4 { extended next hop; import all; export none; };
  ipv6 { import all; export none; };
}
";
const MANIFESTS: &str = "\
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: lan, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: slow, namespace: metallb-system}
spec: {receiveInterval: 300, transmitInterval: 300, detectMultiplier: 5}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 198.51.100.1, vrf: red, bfdProfile: slow, connectTime: 1s}
";
