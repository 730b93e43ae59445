//! FRR as the router.

use super::{bfd_settled, peer, routed, service};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use system_tests::lab::TestLab;
use xtask::lab::client::ask;
use xtask::lab::router::frr::Frr;
use xtask::lab::topology::{ROUTER_V4, ROUTER_V6};

#[test]
fn an_address_of_a_service_is_a_route_at_the_router_and_leads_to_its_pods() {
    let (lab, frr) = up("", "", "");
    for web in lab.frontends_of("default/web") {
        let hops = announced_by_all(&lab, &frr, web.vip);
        let nodes = lab.topology().nodes.iter();
        let expected: Vec<IpAddr> = nodes
            .map(|node| node.addresses()[usize::from(web.vip.is_ipv6())])
            .collect();
        assert_eq!(hops, expected);
        let path = &frr.paths(&prefix(web.vip)).unwrap()[0];
        assert_eq!(path["community"]["string"], "64512:7", "{path}");
        assert_eq!(path["largeCommunity"]["string"], "64512:1:2", "{path}");
        assert_eq!(path["aspath"]["string"], "64512", "{path}");
        assert_eq!(path["origin"], "IGP", "{path}");
        let router = lab.topology().router.clone().unwrap();
        let answer = lab.eventually("the router's way to it leads to a pod", || {
            router.enter(|| ask(&web)).unwrap()
        });
        assert!(answer.contains("pod="), "{answer}");
    }
}

#[test]
fn a_service_comes_and_goes_and_the_sessions_stay() {
    let (lab, frr) = up("", "", "");
    let web = lab.frontends_of("default/web")[0].vip;
    announced_by_all(&lab, &frr, web);
    let before = losses(&lab, &frr);
    lab.edit("late.yaml", "", &service("late"));
    let late = lab.frontends_of("default/late")[0].vip;
    announced_by_all(&lab, &frr, late);
    std::fs::remove_file(lab.manifests().join("late.yaml")).unwrap();
    gone(&lab, &frr, late);
    announced_by_all(&lab, &frr, web);
    assert_eq!(losses(&lab, &frr), before, "a route touches no session");
}

#[test]
fn rfc2385_sessions_need_the_password_that_the_router_has() {
    let password = " neighbor {N} password right\n";
    let (lab, frr) = up("  password: right\n", password, "");
    let web = lab.frontends_of("default/web")[0].vip;
    announced_by_all(&lab, &frr, web);
    let sessions = losses(&lab, &frr);
    // A password that is changed at one side keeps the session as long as nothing is lost for it, and is seen where it counts.
    lab.edit("bgp.yaml", "password: right", "password: wrong");
    lab.eventually("the kernel counts what is wrongly signed", || {
        let seen = lab.seen("n1", &["bgp"])?;
        let wrong = seen["md5_drops"]["wrongly signed"].as_u64();
        if wrong > Some(0) { Ok(()) } else { Err(seen) }
    });
    lab.edit("bgp.yaml", "password: wrong", "password: right");
    lab.eventually("the session goes on", || {
        let now = losses(&lab, &frr);
        if now == sessions { Ok(()) } else { Err(now) }
    });
    let text = lab.speakers()["n1"].ctl(&["bgp", "router-v4"]).unwrap();
    assert!(
        text.contains("5 bytes") && !text.contains("right"),
        "{text}"
    );
}

#[test]
fn rfc4724_a_restart_keeps_the_routes_of_a_router_that_helps() {
    let (mut lab, frr) = up("  enableGracefulRestart: true\n", "", "");
    let web = lab.frontends_of("default/web")[0].vip;
    announced_by_all(&lab, &frr, web);
    let watch = Watch::new(&frr, web);
    lab.speaker("n1").unwrap().stop().unwrap();
    lab.eventually("the router keeps it as stale", || {
        let neighbour = frr.neighbour("192.0.2.11").unwrap();
        match neighbour["bgpState"] == "Established" {
            true => Err(neighbour["bgpState"].clone()),
            false => Ok(()),
        }
    });
    assert_eq!(watch.look(), 3, "the stale route stays");
    lab.start_speaker("n1").unwrap();
    lab.speaker("n1").unwrap().wait_until_ready().unwrap();
    established(&lab, &frr, "192.0.2.11");
    // Past the End-of-RIB, at which a router drops what was not told again.
    lab.eventually("the route is fresh", || {
        assert_eq!(watch.look(), 3, "it is never gone");
        let paths = frr.paths(&prefix(web)).unwrap();
        match paths.iter().any(|path| path["stale"] == true) {
            true => Err(paths),
            false => Ok(()),
        }
    });
}

#[test]
fn rfc8326_a_drain_says_so_before_it_withdraws() {
    let (lab, frr) = up("", "", "");
    let web = lab.frontends_of("default/web")[0].vip;
    announced_by_all(&lab, &frr, web);
    lab.speakers()["n1"].ctl(&["drain"]).unwrap();
    let from_n1 = |paths: &[Value]| {
        let own = |path: &&Value| path["peer"]["peerId"] == "192.0.2.11";
        paths.iter().find(own).cloned()
    };
    lab.eventually("the route of the drained node is the last resort", || {
        let paths = frr.paths(&prefix(web)).unwrap();
        let own = from_n1(&paths).ok_or("it is gone before it was told")?;
        let communities = own["community"]["string"].to_string();
        match communities.contains("graceful-shutdown") {
            true => Ok(()),
            false => Err("not marked yet"),
        }
    });
    lab.eventually("it is withdrawn", || {
        let paths = frr.paths(&prefix(web)).unwrap();
        from_n1(&paths).map_or(Ok(()), Err)
    });
    lab.eventually("the session is over, and the router was told why", || {
        let neighbour = frr.neighbour("192.0.2.11").unwrap();
        let why = neighbour["lastResetDueTo"].to_string();
        match why.contains("Notification") || why.contains("notification") {
            true => Ok(()),
            false => Err(neighbour),
        }
    });
    lab.speakers()["n1"].ctl(&["drain", "--undo"]).unwrap();
    announced_by_all(&lab, &frr, web);
}

#[test]
fn rfc4271_6_5_a_router_that_falls_silent_is_missed_after_the_hold_time() {
    let (lab, mut frr) = up("  holdTime: 3s\n  keepaliveTime: 1s\n", "", "");
    let web = lab.frontends_of("default/web")[0].vip;
    announced_by_all(&lab, &frr, web);
    let frozen = Instant::now();
    frr.freeze(true);
    let because = lab.eventually("the hold time expires", || {
        let seen = lab.seen("n1", &["bgp", "router-v4"])?;
        let peer = &seen["peers"][0];
        let because = peer["last_sent"]["words"].as_str().map(str::to_owned);
        because.ok_or_else(|| peer.clone())
    });
    assert!(because.contains("hold timer expired"), "{because}");
    assert!(frozen.elapsed() > Duration::from_secs(2));
    frr.freeze(false);
    announced_by_all(&lab, &frr, web);
}

#[test]
fn rfc9384_3_bfd_ends_a_session_long_before_the_hold_time() {
    let (lab, mut frr) = up("  bfdProfile: fast\n", BFD_NEIGHBOUR, BFDD);
    let web = lab.frontends_of("default/web")[0].vip;
    watched(&lab, &frr, web);
    frr.freeze(true);
    let because = lab.eventually("BFD ends the session", || {
        let seen = lab.seen("n1", &["bgp", "router-v4"])?;
        let peer = &seen["peers"][0];
        let because = peer["last_sent"]["words"].as_str().map(str::to_owned);
        because.ok_or_else(|| peer.clone())
    });
    assert!(because.contains("BFD down"), "{because}");
    frr.freeze(false);
    announced_by_all(&lab, &frr, web);
}

#[test]
fn rfc5882_4_3_a_restart_keeps_the_route_and_the_router_sees_no_bfd_session_go_down() {
    let spec = "  enableGracefulRestart: true\n  bfdProfile: fast\n";
    let (mut lab, frr) = up(spec, BFD_NEIGHBOUR, BFDD);
    let web = lab.frontends_of("default/web")[0].vip;
    watched(&lab, &frr, web);
    let watch = Watch::new(&frr, web);
    let had = bfd_settled(&lab, "router-v4", || {
        assert_eq!(watch.look(), 3, "no way is ever gone")
    });
    let before = bfd_losses(&frr);
    lab.speaker("n1").unwrap().stop().unwrap();
    lab.eventually("the connection is closed", || {
        let neighbour = frr.neighbour("192.0.2.11").unwrap();
        match neighbour["bgpState"] == "Established" {
            true => Err(neighbour["bgpState"].clone()),
            false => Ok(()),
        }
    });
    assert_eq!(watch.look(), 3, "the stale route stays");
    lab.start_speaker("n1").unwrap();
    lab.speaker("n1").unwrap().wait_until_ready().unwrap();
    established(&lab, &frr, "192.0.2.11");
    let has = bfd_settled(&lab, "router-v4", || {
        assert_eq!(watch.look(), 3, "no way is ever gone")
    });
    let number = |session: &Value| session["ours"]["discriminator"].clone();
    assert_eq!(number(&has), number(&had), "it is the same session");
    assert_eq!(has["ups_downs"], serde_json::json!([1, 0]), "{has}");
    assert_eq!(bfd_losses(&frr), before, "FRR saw none go down");
    let up = r#"metallb_bfd_session_up{peer="192.0.2.1",vrf="default"} 1"#;
    lab.eventually("its metrics say so", || {
        let page = lab.netns("n1");
        let page = page.output("curl", &["-sS", "http://127.0.0.1:7472/metrics"]);
        let page = page.map_err(|error| format!("{error:#}"))?;
        if page.contains(up) { Ok(()) } else { Err(page) }
    });
}

/// FRR and speakers on all nodes, each with a session for each family. `spec` are further lines of the peers, `neighbour` of FRR's
/// neighbours, and `bfdd` what its BFD is told.
#[track_caller]
pub(super) fn up(spec: &str, neighbour: &str, bfdd: &str) -> (TestLab, Frr) {
    let peers = [
        peer("router-v4", &ROUTER_V4.to_string(), spec),
        peer("router-v6", &ROUTER_V6.to_string(), spec),
    ];
    let mut lab = routed(&peers.concat());
    let bgpd = bgpd(&lab, neighbour);
    let frr = Frr::start(&mut lab, &bgpd, bfdd).unwrap();
    lab.start_speakers().unwrap();
    (lab, frr)
}

/// What bgpd is told: every node is a neighbour by both families' addresses. `{N}` in `more` stands for each of them.
pub(super) fn bgpd(lab: &TestLab, more: &str) -> String {
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

pub(super) fn prefix(vip: IpAddr) -> String {
    format!("{vip}/{}", if vip.is_ipv4() { 32 } else { 128 })
}

/// Waits until all nodes announce an address; their next hops.
#[track_caller]
pub(super) fn announced_by_all(lab: &TestLab, frr: &Frr, vip: IpAddr) -> Vec<IpAddr> {
    lab.eventually("all nodes announce it", || {
        let hops = next_hops(frr, vip);
        if hops.len() == 3 { Ok(hops) } else { Err(hops) }
    })
}

/// Waits until FRR has BFD up with all nodes by both families, and their routes to an address.
#[track_caller]
pub(super) fn watched(lab: &TestLab, frr: &Frr, vip: IpAddr) {
    announced_by_all(lab, frr, vip);
    lab.eventually("FRR sees BFD of all six sessions up", || {
        let seen = frr.show("show bfd peers json").unwrap();
        let up = seen
            .as_array()
            .unwrap()
            .iter()
            .filter(|peer| peer["status"] == "up");
        if up.count() == 6 { Ok(()) } else { Err(seen) }
    });
    announced_by_all(lab, frr, vip);
}

/// How often FRR saw each BFD session go down, by the node's address.
pub(super) fn bfd_losses(frr: &Frr) -> BTreeMap<String, u64> {
    let seen = frr.show("show bfd peers counters json").unwrap();
    let peers = seen.as_array().unwrap().iter();
    let losses = |peer: &Value| {
        let address = peer["peer"].as_str().unwrap().to_owned();
        (address, peer["session-down"].as_u64().unwrap())
    };
    peers.map(losses).collect()
}

#[track_caller]
fn gone(lab: &TestLab, frr: &Frr, vip: IpAddr) {
    lab.eventually("nobody announces it", || {
        let hops = next_hops(frr, vip);
        if hops.is_empty() { Ok(()) } else { Err(hops) }
    });
}

#[track_caller]
pub(super) fn established(lab: &TestLab, frr: &Frr, neighbour: &str) {
    lab.eventually("the session is up", || {
        let mut seen = frr.neighbour(neighbour).unwrap();
        match seen["bgpState"] == "Established" {
            true => Ok(()),
            false => Err(seen["bgpState"].take()),
        }
    });
}

/// How often FRR saw each session up, and down again.
pub(super) fn losses(lab: &TestLab, frr: &Frr) -> Vec<[u64; 2]> {
    let nodes = lab.topology().nodes.iter();
    nodes
        .flat_map(|node| node.addresses())
        .map(|address| {
            let seen = frr.neighbour(&address.to_string()).unwrap();
            ["connectionsEstablished", "connectionsDropped"]
                .map(|name| seen[name].as_u64().unwrap())
        })
        .collect()
}

/// Next hops of all paths to an address, global ones, in order.
pub(super) fn next_hops(frr: &Frr, vip: IpAddr) -> Vec<IpAddr> {
    let is_global = |hop: &IpAddr| match hop {
        IpAddr::V4(_) => true,
        IpAddr::V6(hop) => !hop.is_unicast_link_local(),
    };
    let hops = hops(frr, &prefix(vip)).into_iter();
    let mut hops: Vec<IpAddr> = hops
        .map(|hop| hop.parse().unwrap())
        .filter(is_global)
        .collect();
    hops.sort();
    hops
}

/// Next hops of all paths to a prefix.
pub(super) fn hops(frr: &Frr, prefix: &str) -> Vec<String> {
    let paths = frr.paths(prefix).unwrap();
    let hops = |path: &Value| path["nexthops"].as_array().cloned().unwrap_or_default();
    let hops = paths.iter().flat_map(hops);
    hops.filter_map(|hop| Some(hop["ip"].as_str()?.to_owned()))
        .collect()
}

/// How many ways FRR has to an address.
struct Watch<'a> {
    frr: &'a Frr,
    vip: IpAddr,
}

impl<'a> Watch<'a> {
    const fn new(frr: &'a Frr, vip: IpAddr) -> Self {
        Self { frr, vip }
    }

    fn look(&self) -> usize {
        next_hops(self.frr, self.vip).len()
    }
}

/// Lines of a neighbour that BFD watches.
pub(super) const BFD_NEIGHBOUR: &str = " neighbor {N} bfd\n neighbor {N} bfd profile fast\n";
pub(super) const BFDD: &str =
    "bfd\n profile fast\n  receive-interval 100\n  transmit-interval 100\n";
