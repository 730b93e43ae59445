//! BIRD, GoBGP and ExaBGP as routers: one session a node that carries both families, and one over IPv6 with IPv6 routes beside it.

use super::{bfd_settled, peer, routed, service};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use system_tests::lab::TestLab;
use xtask::lab::router::bird::Bird;
use xtask::lab::router::exabgp::ExaBgp;
use xtask::lab::router::gobgp::GoBgp;
use xtask::lab::topology::{Node, ROUTER_V6};

#[test]
fn bird_takes_the_routes_of_both_families_and_drops_those_that_are_withdrawn() {
    let mut lab = over_both("  password: secret\n");
    let over_v6 = "  password \"secret\";\n  ipv6 { import all; export none; };\n";
    let nodes = &lab.topology().nodes;
    let over_v6 = nodes.iter().map(|node| {
        let name = format!("{}_over_v6", node.name);
        bird_protocol(&name, node.v6().into(), over_v6)
    });
    let config = bird_conf(&lab, "") + &over_v6.collect::<String>();
    let bird = Bird::start(&mut lab, &config).unwrap();
    lab.start_speakers().unwrap();
    let told = |prefix: &str| {
        // A prefix that is not there is an error to birdc.
        let text = bird.ask(&format!("show route all {prefix}"));
        let text = text.unwrap_or_default();
        let ways = text.matches("BGP.as_path: 64512").count();
        let marked = text.matches("BGP.community: (64512,7)").count();
        let large = text.matches("BGP.large_community: (64512, 1, 2)").count();
        [ways, marked, large]
    };
    comes_and_goes(&lab, |prefix| match told(prefix) {
        told if told == [ways_over_both(prefix); 3] => Ok(true),
        [0, 0, 0] => Ok(false),
        other => Err(format!("{other:?}")),
    });
    let over_v6 = bird.ask("show protocols all n1_over_v6").unwrap();
    assert!(over_v6.contains("Established"), "{over_v6}");
}

#[test]
fn rfc5882_4_3_bird_sees_neither_the_route_nor_bfd_go_when_a_speaker_restarts() {
    let spec = "  password: secret\n  enableGracefulRestart: true\n  bfdProfile: fast\n";
    let mut lab = dual_stack(spec);
    let config = bird_conf(&lab, "  bfd yes;\n");
    let bird = Bird::start(&mut lab, &config).unwrap();
    lab.start_speakers().unwrap();
    let web = prefixes(&lab, "default/web");
    let ways = |prefix: &String| ways_at_bird(&bird, prefix);
    for prefix in &web {
        lab.eventually("all nodes announce it", || match ways(prefix) {
            3 => Ok(()),
            other => Err(other),
        });
    }
    let look = || assert!(web.iter().all(|prefix| ways(prefix) == 3), "a way is gone");
    let session = || {
        let sessions = bird.ask("show bfd sessions").unwrap();
        let line = sessions.lines().find(|line| line.contains("192.0.2.11 "));
        let words = line.unwrap_or_default().split_whitespace();
        // Address, link, state, since when.
        words.take(4).map(str::to_owned).collect::<Vec<_>>()
    };
    let had = bfd_settled(&lab, "router", look);
    let before = session();
    assert_eq!(before[2], "Up", "{before:?}");
    lab.speaker("n1").unwrap().stop().unwrap();
    look();
    lab.start_speaker("n1").unwrap();
    lab.speaker("n1").unwrap().wait_until_ready().unwrap();
    lab.eventually("the session is up again", || {
        look();
        let seen = lab.seen("n1", &["bgp", "router"])?;
        match seen["peers"][0]["state"] == "Established" {
            true => Ok(()),
            false => Err(seen),
        }
    });
    let has = bfd_settled(&lab, "router", look);
    assert_eq!(has["ours"]["discriminator"], had["ours"]["discriminator"]);
    assert_eq!(session(), before, "BIRD has it up since then");
}

#[test]
fn gobgp_takes_the_routes_of_both_families_and_drops_those_that_are_withdrawn() {
    let mut lab = over_both("  password: secret\n");
    let nodes = lab.topology().nodes.iter();
    let over_v6 = nodes.map(|node| gobgp_neighbour(node.v6().into(), &["ipv6"]));
    let config = gobgp_toml(&lab) + &over_v6.collect::<String>();
    let gobgp = GoBgp::start(&mut lab, &config).unwrap();
    lab.start_speakers().unwrap();
    comes_and_goes(&lab, |prefix| {
        let ways = paths_at_gobgp(&gobgp, prefix);
        let is_marked = |way: &&Value| {
            let attributes = way["attrs"].as_array().unwrap().iter();
            let marks = attributes.filter(|attribute| {
                // 64512:7 as a number.
                (attribute["type"] == 8 && attribute["communities"][0] == (64512_u64 << 16 | 7))
                    || attribute["type"] == 32
            });
            marks.count() == 2
        };
        match [ways.len(), ways.iter().filter(is_marked).count()] {
            told if told == [ways_over_both(prefix); 2] => Ok(true),
            [0, 0] => Ok(false),
            other => Err(format!("{other:?}: {ways:?}")),
        }
    });
}

#[test]
fn exabgp_sees_the_messages_that_the_rfcs_want() {
    let mut lab = over_both("  nodeSelectors:\n    - matchLabels: {kubernetes.io/hostname: n1}\n");
    let config = format!("{EXABGP}{EXABGP_OVER_V6}");
    let exabgp = ExaBgp::start(&mut lab, &config).unwrap();
    lab.start_speakers().unwrap();
    let web: Vec<String> = prefixes(&lab, "default/web");
    let from = |node: &str| -> Vec<Value> {
        let messages = exabgp.messages().unwrap().into_iter();
        let is_from = |message: &Value| message["neighbor"]["address"]["peer"] == *node;
        messages.filter(is_from).collect()
    };
    let open = lab.eventually("an OPEN", || {
        let messages = from("192.0.2.11");
        let open = |message: &&Value| message["type"] == "open";
        messages.iter().find(open).cloned().ok_or(messages)
    });
    let open = &open["neighbor"]["open"];
    assert_eq!(open["hold_time"], 90, "{open}");
    assert_eq!(open["router_id"], "192.0.2.11", "{open}");
    let is_v6 = |prefix: &&String| prefix.contains(':');
    let of_v6: Vec<String> = web.iter().filter(is_v6).cloned().collect();
    for (node, prefixes) in [("192.0.2.11", &web), ("2001:db8::11", &of_v6)] {
        let told = lab.eventually("each family of the session and its End-of-RIB", || {
            let mut updates = from(node);
            updates.retain(|message| message["type"] == "update");
            let text = updates.iter().map(|update| update.to_string());
            let text = text.collect::<String>().replace(' ', "");
            let has_all = prefixes.iter().all(|prefix| text.contains(prefix.as_str()));
            match has_all && text.matches("\"eor\"").count() == prefixes.len() {
                true => Ok(text),
                false => Err(text),
            }
        });
        for said in [
            "\"origin\":\"igp\"",
            "\"as-path\":[64512]",
            "\"community\":[[64512,7]]",
            "\"large-community\":[[64512,1,2]]",
            "\"2001:db8::11\":[{\"nlri\":\"2001:db8:100::",
        ] {
            assert!(told.contains(said), "{said} is not in {told}");
        }
        assert!(
            !told.contains("local-preference"),
            "it is for peers of one AS"
        );
        let has_v4 = told.contains("ipv4unicast");
        assert_eq!(has_v4, prefixes.len() == 2, "IPv4 where it was asked for");
    }
}

/// The lab with one peer, whose session carries both families.
#[track_caller]
pub(super) fn dual_stack(more: &str) -> TestLab {
    let spec = format!("  dualStackAddressFamily: true\n{more}");
    routed(&peer("router", "192.0.2.1", &spec))
}

/// The same with a second peer, which is reached by IPv6 and told that family's routes.
#[track_caller]
fn over_both(more: &str) -> TestLab {
    let over_v4 = format!("  dualStackAddressFamily: true\n{more}");
    let peers = [
        peer("router", "192.0.2.1", &over_v4),
        peer("router-v6", &ROUTER_V6.to_string(), more),
    ];
    routed(&peers.concat())
}

/// How many ways there are then to a prefix that all three nodes announce.
fn ways_over_both(prefix: &str) -> usize {
    if prefix.contains(':') { 6 } else { 3 }
}

/// A service's routes are there, then those of another one, and then those are gone while the first stay.
#[track_caller]
fn comes_and_goes(lab: &TestLab, is_there: impl Fn(&str) -> Result<bool, String>) {
    let until = |prefix: &str, wanted: bool| {
        lab.eventually(&format!("{prefix} is there: {wanted}"), || {
            match is_there(prefix) {
                Ok(is) if is == wanted => Ok(()),
                other => Err(other),
            }
        });
    };
    let web = prefixes(lab, "default/web");
    assert_eq!(web.len(), 2, "one of each family");
    for prefix in &web {
        until(prefix, true);
    }
    lab.edit("late.yaml", "", &service("late"));
    let late = prefixes(lab, "default/late").remove(0);
    until(&late, true);
    fs::remove_file(lab.manifests().join("late.yaml")).unwrap();
    until(&late, false);
    for prefix in &web {
        assert_eq!(is_there(prefix), Ok(true));
    }
    for speaker in lab.speakers().values() {
        let seen = speaker.ctl_json(&["bgp"]).unwrap();
        for peer in seen["peers"].as_array().unwrap() {
            assert_eq!(peer["ups_downs"], serde_json::json!([1, 0]), "{seen}");
        }
    }
}

/// The routes to a service.
#[track_caller]
pub(super) fn prefixes(lab: &TestLab, service: &str) -> Vec<String> {
    let vips: BTreeSet<_> = lab.frontends_of(service).iter().map(|f| f.vip).collect();
    vips.into_iter()
        .map(|vip| format!("{vip}/{}", if vip.is_ipv4() { 32 } else { 128 }))
        .collect()
}

/// How many nodes BIRD has a way to a prefix by.
pub(super) fn ways_at_bird(bird: &Bird, prefix: &str) -> usize {
    // A prefix that is not there is an error to birdc.
    let text = bird.ask(&format!("show route all {prefix}"));
    text.unwrap_or_default()
        .matches("BGP.as_path: 64512")
        .count()
}

/// The ways that GoBGP has to a prefix.
pub(super) fn paths_at_gobgp(gobgp: &GoBgp, prefix: &str) -> Vec<Value> {
    let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
    let table = gobgp.ask(&format!("global rib -a {family}")).unwrap();
    table[prefix].as_array().cloned().unwrap_or_default()
}

/// `more` are further lines of each session.
pub(super) fn bird_conf(lab: &TestLab, more: &str) -> String {
    let mut text = "router id 192.0.2.1;\nprotocol device {}\n".to_owned();
    text += "protocol bfd { interface \"*\" { interval 100 ms; multiplier 3; }; }\n";
    let more = format!(
        "  password \"secret\";
  ipv4 {{ import all; export none; }};
  ipv6 {{ import all; export none; }};
{more}"
    );
    for node in &lab.topology().nodes {
        text += &bird_protocol(&node.name, node.v4().into(), &more);
    }
    text
}

fn bird_protocol(name: &str, node: IpAddr, more: &str) -> String {
    format!(
        "protocol bgp {name} {{
  local as 64513;
  neighbor {node} as 64512;
  connect delay time 1; connect retry time 1; error wait time 1,2;
{more}}}\n"
    )
}

pub(super) fn gobgp_toml(lab: &TestLab) -> String {
    let global = "[global.config]\n  as = 64513\n  router-id = \"192.0.2.1\"\n";
    let neighbour = |node: &Node| gobgp_neighbour(node.v4().into(), &["ipv4", "ipv6"]);
    let neighbours = lab.topology().nodes.iter().map(neighbour);
    format!("{global}{}", neighbours.collect::<String>())
}

fn gobgp_neighbour(node: IpAddr, families: &[&str]) -> String {
    let families = families.iter().map(|family| {
        format!(
            "  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = \"{family}-unicast\"\n"
        )
    });
    format!(
        "[[neighbors]]
  [neighbors.config]
    neighbor-address = \"{node}\"
    peer-as = 64512
    auth-password = \"secret\"
  [neighbors.transport.config]
    passive-mode = true
{}",
        families.collect::<String>()
    )
}

pub(super) const EXABGP: &str = "\
neighbor 192.0.2.11 {
  router-id 192.0.2.1;
  local-address 192.0.2.1;
  local-as 64513;
  peer-as 64512;
  passive true;
  family { ipv4 unicast; ipv6 unicast; }
  api { processes [ watch ]; receive { parsed; open; update; notification; } }
}
";
const EXABGP_OVER_V6: &str = "\
neighbor 2001:db8::11 {
  router-id 192.0.2.1;
  local-address 2001:db8::1;
  local-as 64513;
  peer-as 64512;
  passive true;
  family { ipv6 unicast; }
  api { processes [ watch ]; receive { parsed; open; update; notification; } }
}
";
