//! Speakers and routers of other makes: sessions, routes, and packets that take them.

use system_tests::lab::TestLab;
use xtask::lab::router::frr::Frr;

#[test]
fn frr_runs_beside_the_nodes() {
    let mut lab = TestLab::routed(&[]);
    let frr = Frr::start(&mut lab, BGPD, "").unwrap();
    let node = frr.neighbour("192.0.2.11").unwrap();
    assert_eq!(node["remoteAs"], 64512, "{node}");
}

const BGPD: &str = "\
router bgp 64513
 neighbor 192.0.2.11 remote-as 64512
";
