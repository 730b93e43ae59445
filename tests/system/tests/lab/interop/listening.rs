//! Routers that dial: sessions by their connections alone, and by one of two where both sides dial.

use super::frr::{announced_by_all, bgpd};
use super::{peer, routed_with};
use serde_json::Value;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use system_tests::lab::{TestLab, tell};
use xtask::lab::router::frr::Frr;
use xtask::lab::topology::{ROUTER_V4, ROUTER_V6};

#[test]
fn a_router_that_dials_is_let_in_by_its_password_and_after_a_restart_too() {
    // Nothing listens on the router's port 9, so that each session is one that the router dialled.
    let (mut lab, frr) = up(
        "  peerPort: 9\n  holdTime: 3s\n  keepaliveTime: 1s\n  password: hunter2\n",
        " neighbor {N} port 1179\n neighbor {N} password hunter2\n neighbor {N} ttl-security hops 1\n",
    );
    let web = lab.frontends_of("default/web")[0].vip;
    announced_by_all(&lab, &frr, web);
    lab.edit("bgp.yaml", "hunter2", "trustno1");
    lab.edit("bgp.yaml", "hunter2", "trustno1");
    lab.eventually("a router with another password is not heard", || {
        let paths = frr.paths(&format!("{web}/32")).unwrap().len();
        if paths == 0 { Ok(()) } else { Err(paths) }
    });
    for address in lab
        .topology()
        .nodes
        .iter()
        .flat_map(|node| node.addresses())
    {
        let password = format!("neighbor {address} password trustno1");
        frr.configure(&["router bgp 64513", &password]).unwrap();
    }
    announced_by_all(&lab, &frr, web);
    stranger_is_closed_and_counted(&lab);
    lab.speaker("n1").unwrap().stop().unwrap();
    lab.start_speaker("n1").unwrap();
    announced_by_all(&lab, &frr, web);
}

#[test]
fn rfc4271_6_8_where_both_dial_one_session_comes_up_each_time() {
    let (lab, frr) = up("", " neighbor {N} port 1179\n");
    let web = lab.frontends_of("default/web")[0].vip;
    announced_by_all(&lab, &frr, web);
    for round in 1..=CLEARED {
        frr.vtysh(&["clear bgp *"]).unwrap();
        lab.eventually("sessions went down and are up again", || {
            let sessions = sessions(&lab).map_err(Value::from)?;
            let is_again = |session: &Value| {
                session["state"] == "Established" && session["ups_downs"][1].as_u64() >= Some(round)
            };
            if sessions.iter().all(is_again) {
                Ok(())
            } else {
                Err(Value::from(sessions))
            }
        });
    }
    announced_by_all(&lab, &frr, web);
    let sessions = sessions(&lab).unwrap();
    let ups: u64 = sessions
        .iter()
        .filter_map(|session| session["ups_downs"][0].as_u64())
        .sum();
    tell(&format!("{ups} sessions in {CLEARED} rounds of two peers"));
    lab.eventually("each peer has one connection", || {
        let listed = lab
            .netns("n1")
            .output("ss", &["-Htn", "state", "established"]);
        let listed = listed.map_err(|error| format!("{error:#}"))?;
        let is_bgp = |word: &str| word.ends_with(":179") || word.ends_with(":1179");
        let connections = listed.lines();
        let connections = connections
            .filter(|line| line.split_whitespace().any(is_bgp))
            .count();
        if connections == 2 {
            Ok(())
        } else {
            Err(listed)
        }
    });
}

#[test]
fn who_cannot_listen_says_so_and_dials_all_the_same() {
    let mut lab = routed_with(LISTENS, &peer("router-v4", &ROUTER_V4.to_string(), ""));
    let taken = lab.netns("n1").enter(|| TcpListener::bind("0.0.0.0:1179"));
    let taken = taken.unwrap().unwrap();
    let config = bgpd(&lab, "");
    let frr = Frr::start(&mut lab, &config, "").unwrap();
    lab.start_speakers().unwrap();
    let web = lab.frontends_of("default/web")[0].vip;
    announced_by_all(&lab, &frr, web);
    let said = lab.said("n1", &["bgp", "router-v4"]).unwrap();
    assert!(
        said.contains("it cannot dial this node: failed to take port 1179 of TCP"),
        "{said}"
    );
    drop(taken);
    lab.eventually("it listens once the port is free", || {
        let said = lab.said("n1", &["bgp", "router-v4"])?;
        if said.contains("cannot dial") {
            Err(said)
        } else {
            Ok(())
        }
    });
}

/// The client is nobody's peer.
fn stranger_is_closed_and_counted(lab: &TestLab) {
    let [v4, _] = lab.topology().nodes[0].addresses();
    let heard = lab.client().enter(|| {
        let mut stream = TcpStream::connect((v4, 1179)).unwrap();
        let mut heard = Vec::new();
        // It may be closed by a reset.
        let _end = stream.read_to_end(&mut heard);
        heard
    });
    assert_eq!(heard.unwrap(), b"", "nothing is said to it");
    let counted = r#"heliograph_bgp_unwelcome_connections_total{cause="stranger"} 1"#;
    let page = lab.netns("n1");
    let page = page.output("curl", &["-sS", "http://127.0.0.1:7472/metrics"]);
    assert!(page.unwrap().contains(counted));
}

/// FRR, and speakers that listen on port 1179, with a peer of each family.
#[track_caller]
fn up(spec: &str, neighbour: &str) -> (TestLab, Frr) {
    let peers = [
        peer("router-v4", &ROUTER_V4.to_string(), spec),
        peer("router-v6", &ROUTER_V6.to_string(), spec),
    ];
    let mut lab = routed_with(LISTENS, &peers.concat());
    let config = bgpd(&lab, neighbour);
    let frr = Frr::start(&mut lab, &config, "").unwrap();
    lab.start_speakers().unwrap();
    (lab, frr)
}

/// What `n1` says of its sessions.
fn sessions(lab: &TestLab) -> Result<Vec<Value>, String> {
    let mut seen = lab.seen("n1", &["bgp"])?;
    match seen["peers"].take() {
        Value::Array(peers) => Ok(peers),
        other => Err(other.to_string()),
    }
}

const LISTENS: &[&str] = &["--bgp-listen-port", "1179"];
/// A router that flaps more is waited for longer each time.
const CLEARED: u64 = 4;
