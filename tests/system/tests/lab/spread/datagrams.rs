//! Flows of datagrams, datagrams in fragments, and errors about packets that were too big, of a VIP that is spread over nodes with stacks of
//! their own.

use super::super::encap::there_and_back;
use super::{NODES, SPREAD, packets, steer, until_spread};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;
use system_tests::lab::{TestLab, tell};
use xtask::lab::net::Netns;
use xtask::lab::proxy::Frontend;
use xtask::lab::topology::{VISITOR_V4, VISITOR_V6};

/// The nodes' own tables of connections forget each of them meanwhile, and one of the nodes gets nothing new any more.
#[test]
fn flows_of_datagrams_that_are_silent_stay_where_they_were_though_their_slots_change_hands() {
    let mut lab = TestLab::with(&[SPREAD]);
    forgetful(&lab);
    let all = lab.frontends_of("default/echo-udp");
    let spread = |over: &[&str]| {
        all.iter()
            .map(|udp| until_spread(&lab, udp.vip, over))
            .collect()
    };
    let holders: BTreeSet<String> = spread(&NODES);
    let open = |udp: &Frontend| (0..FLOWS).map(|_| flow(udp.address())).collect();
    let flows: Vec<Vec<UdpSocket>> = lab.in_client(|| all.iter().map(open).collect());
    let nodes = || -> Vec<Vec<String>> {
        let of = |flows: &Vec<UdpSocket>| flows.iter().map(|flow| serving(&lab, flow)).collect();
        flows.iter().map(of).collect()
    };
    let before = nodes();
    let leaving = NODES.into_iter().find(|node| !holders.contains(*node));
    let leaving = leaving.expect("both families have one holder");
    for (udp, nodes) in all.iter().zip(&before) {
        let staying = nodes.iter().filter(|node| *node == leaving).count();
        tell(&format!(
            "{}: {staying} of {FLOWS} flows are of {leaving}, which leaves",
            udp.vip
        ));
        assert_eq!(nodes.iter().collect::<BTreeSet<_>>().len(), NODES.len());
        until_forgotten(&lab, udp.vip);
    }
    lab.exclude(leaving);
    let rest: Vec<&str> = NODES.into_iter().filter(|node| *node != leaving).collect();
    let holders: BTreeSet<String> = spread(&rest);
    let told = || {
        holders
            .iter()
            .map(|node| steer(&lab, node, all[0].vip).to_string())
    };
    assert_eq!(nodes(), before, "{}", told().collect::<String>());
    // Who is excluded takes its time when it is told to stop.
    lab.speaker(leaving).unwrap().kill().unwrap();
}

/// What is bigger than a link carries is cut by the client and by the pod; and a router on the way back has less room than the pods believe, which it
/// tells to where their packets seem to come from: the VIP.
#[test]
fn what_was_cut_comes_back_whole_and_who_sent_too_much_hears_of_it() {
    let mut lab = TestLab::routed(&[SPREAD]);
    lab.start_speakers().unwrap();
    lab.settle();
    for udp in lab.frontends_of("default/echo-udp") {
        let holder = until_spread(&lab, udp.vip, &NODES);
        let before = packets(&lab, &holder, udp.vip);
        lab.in_client(|| (0..FLOWS).for_each(|_| comes_back(&flow(udp.address()))));
        let after = packets(&lab, &holder, udp.vip);
        let is_served = |node: &&str| after[*node] >= before[*node] + FRAGMENTS;
        assert!(NODES.iter().all(is_served), "{before:?} {after:?}");
        tell(&format!(
            "{}: {FLOWS} datagrams in fragments, {after:?}",
            udp.vip
        ));
        for node in NODES {
            let lost = lab.seen(node, &["counters"]).unwrap()["steered"]["lost_fragment"].clone();
            assert_eq!(lost, 0, "{node}");
        }
    }

    let router = lab.topology().router.clone().unwrap();
    let visitor = lab.topology().visitor.clone().unwrap();
    narrow(&router);
    for echo in lab.frontends_of("default/echo-tcp") {
        let holder = until_spread(&lab, echo.vip, &NODES);
        let before = packets(&lab, &holder, echo.vip);
        let refused = too_big(&router, echo.vip);
        visitor
            .enter(|| (0..STREAMS).for_each(|_| there_and_back(echo.address())))
            .unwrap();
        let after = packets(&lab, &holder, echo.vip);
        let told = too_big(&router, echo.vip) - refused;
        tell(&format!(
            "{}: the router told {told} times of too much; {before:?} {after:?}",
            echo.vip
        ));
        assert!(told >= NODES.len() as u64, "{told}");
        let is_served = |node: &&str| after[*node] > before[*node];
        assert!(NODES.iter().all(is_served), "{before:?} {after:?}");
    }
}

fn flow(at: SocketAddr) -> UdpSocket {
    let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(at).unwrap();
    socket.set_read_timeout(Some(ANSWER_MAX)).unwrap();
    socket
}

/// The node whose proxy serves a flow: it put an address of its own in the client's place.
fn serving(lab: &TestLab, flow: &UdpSocket) -> String {
    let client: IpAddr = lab.eventually("the pod says who asks", || {
        flow.send(b"who").map_err(|why| why.to_string())?;
        let mut answer = [0; 512];
        let length = flow.recv(&mut answer).map_err(|why| why.to_string())?;
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        let mut words = answer.split_whitespace();
        let client = words.find_map(|word| word.strip_prefix("client="));
        let client = client.and_then(|client| client.parse().ok());
        client.ok_or(answer)
    });
    let mut nodes = lab.topology().nodes.iter();
    let node = nodes.find(|node| node.netns.addresses().unwrap().contains(&client));
    node.expect("an address of a node").name.clone()
}

/// Has the nodes' kernels forget flows of datagrams that are silent for a second.
fn forgetful(lab: &TestLab) {
    for node in NODES {
        let brief = [
            ("netfilter.nf_conntrack_udp_timeout", "1"),
            ("netfilter.nf_conntrack_udp_timeout_stream", "1"),
        ];
        lab.netns(node).sysctl(&brief).unwrap();
    }
}

/// Waits until they have forgotten all to a VIP.
fn until_forgotten(lab: &TestLab, vip: IpAddr) {
    for node in NODES {
        lab.eventually("its kernel has forgotten them", || {
            let table = lab.netns(node).output("cat", &["/proc/net/nf_conntrack"]);
            let table = table.unwrap();
            let mut lines = table.lines();
            let known = lines.find(|line| line.contains(" udp ") && is_to(line, vip));
            known.map_or(Ok(()), |line| Err(line.to_owned()))
        });
    }
}

fn is_to(line: &str, vip: IpAddr) -> bool {
    let mut words = line.split_whitespace();
    let to = words.find_map(|word| word.strip_prefix("dst="));
    to.is_some_and(|to| to.parse() == Ok(vip))
}

/// A datagram that takes three fragments, and as many back.
fn comes_back(flow: &UdpSocket) {
    let sent: Vec<u8> = (0..DATAGRAM).map(|at| (at % 251) as u8).collect();
    let mut back = vec![0; 2 * DATAGRAM];
    for _ in 0..TRIES {
        flow.send(&sent).unwrap();
        if let Ok(length) = flow.recv(&mut back) {
            assert!(back[..length] == sent, "another came back");
            return;
        }
    }
    panic!("{:?}: no fragments come back", flow.local_addr());
}

/// Leaves less room on the way from a router to the visitor than either end's link has.
fn narrow(router: &Netns) {
    router
        .ip(&format!(
            "route add {VISITOR_V4}/32 dev eth1 mtu lock {NARROW}\n\
             route add {VISITOR_V6}/128 dev eth1 mtu lock {NARROW}"
        ))
        .unwrap();
}

/// How often a router told that a packet was too big, in the family of an address.
fn too_big(router: &Netns, of: IpAddr) -> u64 {
    let told = router.output("nstat", &["-asz", "--json"]).unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    let name = if of.is_ipv4() {
        "IcmpOutDestUnreachs"
    } else {
        "Icmp6OutPktTooBigs"
    };
    told["kernel"][name].as_u64().expect("a count")
}

/// Flows that find every one of three nodes but for one time in ten thousand million.
const FLOWS: usize = 60;
const STREAMS: usize = 60;
const DATAGRAM: usize = 4_000;
const FRAGMENTS: u64 = 3; // of that, where a link carries 1,500
const NARROW: u16 = 1_300;
const TRIES: usize = 5;
const ANSWER_MAX: Duration = Duration::from_secs(2);
