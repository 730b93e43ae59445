//! Sessions whose password is wrong at first, with BIRD, GoBGP and ExaBGP, and what these are the only ones to show: ExaBGP takes IPv4 routes with IPv6
//! next hops by an address (RFC 8950), and BIRD is told to heed GRACEFUL_SHUTDOWN.

use super::others::{bird_conf, dual_stack, gobgp_toml, paths_at_gobgp, prefixes, ways_at_bird};
use super::{peer, routed};
use serde_json::Value;
use system_tests::lab::TestLab;
use xtask::lab::router::bird::Bird;
use xtask::lab::router::exabgp::ExaBgp;
use xtask::lab::router::gobgp::GoBgp;
use xtask::lab::topology::ROUTER_V6;

#[test]
fn bird_takes_no_wrong_password_and_heeds_graceful_shutdown_where_its_filter_says_so() {
    let mut lab = dual_stack("  password: wrong\n");
    let heeding =
        "import filter { if (65535, 0) ~ bgp_community then bgp_local_pref = 0; accept; };";
    let config = bird_conf(&lab, "").replace("import all;", heeding);
    let bird = Bird::start(&mut lab, &config).unwrap();
    lab.start_speakers().unwrap();
    let web = prefixes(&lab, "default/web");
    put_right(&lab, || {
        web.iter().map(|web| ways_at_bird(&bird, web)).sum()
    });
    let ways = |wanted: [usize; 2]| {
        for prefix in &web {
            lab.eventually(&format!("ways to {prefix}, and of no preference"), || {
                // A prefix that is not there is an error to birdc.
                let text = bird.ask(&format!("show route all {prefix}"));
                let text = text.unwrap_or_default();
                let last = text.lines().filter(|l| l.trim() == "BGP.local_pref: 0");
                let now = [ways_at_bird(&bird, prefix), last.count()];
                if now == wanted { Ok(()) } else { Err(text) }
            });
        }
    };
    ways([3, 0]);
    lab.speakers()["n1"].ctl(&["drain"]).unwrap();
    ways([3, 1]);
    ways([2, 0]);
    ended(&lab, &bird, "n1", "Received: Administrative shutdown");
}

/// Waits until BIRD says that a session ended for this.
#[track_caller]
fn ended(lab: &TestLab, bird: &Bird, node: &str, because: &str) {
    lab.eventually("BIRD says why the session ended", || {
        let text = bird.ask(&format!("show protocols all {node}")).unwrap();
        if text.contains(because) {
            Ok(())
        } else {
            Err(text)
        }
    });
}

#[test]
fn gobgp_takes_no_wrong_password() {
    let mut lab = dual_stack("  password: wrong\n");
    let config = gobgp_toml(&lab);
    let gobgp = GoBgp::start(&mut lab, &config).unwrap();
    lab.start_speakers().unwrap();
    let web = prefixes(&lab, "default/web");
    let ways = || {
        web.iter()
            .map(|web| paths_at_gobgp(&gobgp, web).len())
            .sum()
    };
    put_right(&lab, ways);
    lab.eventually("all nodes announce both", || match ways() {
        6 => Ok(()),
        other => Err(other),
    });
}

#[test]
fn exabgp_takes_no_wrong_password_and_ipv4_routes_with_ipv6_next_hops() {
    let more = "  password: wrong\n  dualStackAddressFamily: true\n  nodeSelectors:\n    - matchLabels: {kubernetes.io/hostname: n1}\n";
    let mut lab = routed(&peer("router", &ROUTER_V6.to_string(), more));
    let exabgp = ExaBgp::start(&mut lab, EXABGP).unwrap();
    lab.start_speakers().unwrap();
    let messages = || -> Vec<Value> { exabgp.messages().unwrap() };
    put_right(&lab, || messages().len());
    let web = prefixes(&lab, "default/web");
    let told = lab.eventually("both families are told", || {
        let all = messages().into_iter().map(|message| message.to_string());
        let told = all.collect::<String>().replace(' ', "");
        match web.iter().all(|prefix| told.contains(prefix.as_str())) {
            true => Ok(told),
            false => Err(told),
        }
    });
    for prefix in &web {
        let said = format!("\"2001:db8::11\":[{{\"nlri\":\"{prefix}\"");
        assert!(told.contains(&said), "{said} is not in {told}");
    }
    let seen = lab.speakers()["n1"].ctl_json(&["bgp", "router"]).unwrap();
    let negotiated = &seen["peers"][0]["negotiated"];
    assert_eq!(negotiated["has_v4_over_v6_next_hop"], true, "{seen}");
}

/// The router's kernel drops what is wrongly signed, so that nothing is told, until the password is right.
#[track_caller]
fn put_right(lab: &TestLab, told: impl Fn() -> usize) {
    lab.eventually(
        "the router's kernel counts what is wrongly signed",
        || match wrongly_signed(lab) {
            0 => Err("none"),
            _ => Ok(()),
        },
    );
    assert_eq!(told(), 0, "told in spite of the wrong password");
    lab.edit("bgp.yaml", "password: wrong", "password: secret");
    lab.eventually("something is told", || match told() {
        0 => Err("nothing"),
        _ => Ok(()),
    });
}

fn wrongly_signed(lab: &TestLab) -> u64 {
    let router = lab.topology().router.as_ref().unwrap();
    let text = router.output("cat", &["/proc/self/net/netstat"]).unwrap();
    let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("TcpExt:")).collect();
    let [names, values] = lines[..] else {
        panic!("a line of names and one of values: {text}")
    };
    let mut both = names.split(' ').zip(values.split(' '));
    let (_, count) = both.find(|(name, _)| *name == "TCPMD5Failure").unwrap();
    count.parse().unwrap()
}

const EXABGP: &str = "\
neighbor 2001:db8::11 {
  router-id 192.0.2.1;
  local-address 2001:db8::1;
  local-as 64513;
  peer-as 64512;
  passive true;
  listen 179;
  md5-password secret;
  family { ipv4 unicast; ipv6 unicast; }
  nexthop { ipv4 unicast ipv6; }
  api { processes [ watch ]; receive { parsed; open; update; notification; } }
}
";
