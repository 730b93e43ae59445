//! Packets of a VIP that are spread over nodes on two segments (`docs/steering.md`): who serves, what a client sees, and what becomes of
//! what is too big for the way between.
//!
//! One of the three nodes is taken off the switch and put behind the router. No advertisement selects it: that it serves at all is what
//! is shown.

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;
use system_tests::lab::{TestLab, tell};
use xtask::lab::client::ask;

/// The one advertisement asks for it, and selects the nodes at the switch.
const BEYOND: [(&str, &str, &str); 2] = [
    (
        "pools.yaml",
        "kind: L2Advertisement\nmetadata:\n",
        "kind: L2Advertisement\nmetadata:\n  annotations: {heliograph.io/steering: spread-encap}\n",
    ),
    (
        "pools.yaml",
        "  ipAddressPools:\n    - lan\n",
        "  ipAddressPools:\n    - lan\n  nodeSelectors:\n    - matchLabels: {kubernetes.io/hostname: n1}\n    \
         - matchLabels: {kubernetes.io/hostname: n3}\n",
    ),
];

/// The node behind the router has other addresses.
pub(super) const ELSEWHERE: [(&str, &str, &str); 2] = [
    ("node-n2.yaml", "192.0.2.12", "198.18.0.12"),
    ("node-n2.yaml", "2001:db8::12", "2001:db8:2::12"),
];

/// Both services of the echo see their clients and share an address.
const ECHO_LOCAL: [(&str, &str, &str); 2] = [
    (
        "echo.yaml",
        "externalTrafficPolicy: Cluster",
        "externalTrafficPolicy: Local",
    ),
    (
        "echo.yaml",
        "externalTrafficPolicy: Cluster",
        "externalTrafficPolicy: Local",
    ),
];

/// A lab whose second node is behind the router.
fn two_segments(changes: &[(&str, &str, &str)]) -> TestLab {
    let all: Vec<_> = BEYOND
        .iter()
        .chain(&ELSEWHERE)
        .chain(changes)
        .copied()
        .collect();
    let mut lab = TestLab::routed(&all);
    behind_the_router(&lab);
    lab.start_speakers().expect("the speakers come up");
    lab
}

/// Takes the second node off the switch, and gives it a link of its own to the router.
pub(super) fn behind_the_router(lab: &TestLab) {
    let topology = lab.topology();
    let router = topology.router.as_ref().unwrap();
    let far = lab.netns("n2");
    topology.switch.ip("link del n2").unwrap();
    router
        .ip(&format!(
            "link add eth2 type veth peer name eth0 netns {}\n\
             link set eth2 up\n\
             address add 198.18.0.1/24 dev eth2\n\
             address add 2001:db8:2::1/64 dev eth2 nodad\n\
             route add 10.244.1.0/24 via 192.0.2.11\n\
             route add 10.244.3.0/24 via 192.0.2.13\n\
             route add fd00:10:244:1::/64 via 2001:db8::11\n\
             route add fd00:10:244:3::/64 via 2001:db8::13",
            far.name()
        ))
        .unwrap();
    far.ip("link set eth0 up\n\
         address add 198.18.0.12/24 dev eth0\n\
         address add 2001:db8:2::12/64 dev eth0 nodad\n\
         route add default via 198.18.0.1\n\
         route add default via 2001:db8:2::1")
        .unwrap();
    router
        .ip("route add 10.244.2.0/24 via 198.18.0.12\n\
             route add fd00:10:244:2::/64 via 2001:db8:2::12")
        .unwrap();
    for near in ["n1", "n3"] {
        lab.netns(near)
            .ip("route replace 10.244.2.0/24 via 192.0.2.1\n\
                 route replace fd00:10:244:2::/64 via 2001:db8::1")
            .unwrap();
    }
}

/// What the node tells of a VIP on its one link.
fn steer(lab: &TestLab, node: &str, vip: IpAddr) -> Value {
    let told = lab.speakers()[node].ctl_json(&["steer", &vip.to_string()]);
    told.map_or(Value::Null, |told| told["vips"][0].clone())
}

/// The holder of a VIP, once it spreads over exactly these nodes.
fn until_spread(lab: &TestLab, vip: IpAddr, nodes: &[&str]) -> String {
    let wanted: BTreeSet<&str> = nodes.iter().copied().collect();
    lab.eventually("its holder spreads it over them", || {
        let holder = lab
            .holder(vip)
            .ok_or_else(|| "nobody holds it".to_owned())?;
        let told = steer(lab, &holder, vip);
        let rows = told["nodes"].as_array().cloned().unwrap_or_default();
        let sharing = rows.iter().filter(|row| row["weight"] != 0);
        let sharing: BTreeSet<&str> = sharing.filter_map(|row| row["node"].as_str()).collect();
        match told["is_spread"] == true && sharing == wanted {
            true => Ok(holder),
            false => Err(format!("{holder}: {told}")),
        }
    })
}

/// What a node counts of packets to and from other segments.
pub(super) fn tunnelled(lab: &TestLab, node: &str) -> BTreeMap<String, u64> {
    let told = lab.speakers()[node].ctl_json(&["counters"]).unwrap();
    let counts = told["tunnelled"].as_object().cloned().unwrap_or_default();
    let counts = counts.into_iter();
    counts
        .filter_map(|(name, count)| Some((name, count.as_u64()?)))
        .collect()
}

#[test]
fn a_node_behind_a_router_serves_and_sees_the_client() {
    let lab = two_segments(&[]);
    for frontend in lab.frontends_of("default/web-local") {
        let holder = until_spread(&lab, frontend.vip, &["n1", "n2"]);
        let own = lab.client().addresses().unwrap();
        let mut nodes = BTreeSet::new();
        for _ in 0..ASKED {
            let answer = lab.answer(&frontend);
            nodes.insert(answer.node().to_owned());
            let client = answer.client();
            assert!(own.contains(&client), "{client} of {own:?}");
        }
        assert_eq!(nodes, BTreeSet::from(["n1".to_owned(), "n2".to_owned()]));
        let (sent, came) = (tunnelled(&lab, &holder), tunnelled(&lab, "n2"));
        assert!(sent["wrapped"] > 0, "{sent:?}");
        assert!(came["unwrapped"] > 0, "{came:?}");
        assert_eq!(came["stranger"], 0, "{came:?}");
        let told = steer(&lab, &holder, frontend.vip);
        let rows = told["nodes"].as_array().unwrap().iter();
        let far = rows.clone().find(|row| row["node"] == "n2").unwrap();
        let address = if frontend.vip.is_ipv4() {
            "198.18.0.12"
        } else {
            "2001:db8:2::12"
        };
        assert_eq!(far["beyond"], address, "{told}");
        assert!(far["packets"].as_u64() > Some(0), "{told}");
        tell(&format!(
            "{} from {holder}: {sent:?}, {came:?}",
            frontend.vip
        ));
    }
}

/// The client's link carries 1500 bytes and so does the way between the segments, which has a header more to carry.
#[test]
fn what_is_too_big_for_the_way_between_is_said_to_be_and_arrives() {
    let lab = two_segments(&ECHO_LOCAL);
    for echo in lab.frontends_of("default/echo-tcp") {
        let holder = until_spread(&lab, echo.vip, &["n1", "n2", "n3"]);
        lab.eventually("it answers", || lab.in_client(|| ask(&echo)));
        lab.in_client(|| (0..STREAMS).for_each(|_| there_and_back(echo.address())));
        let sent = tunnelled(&lab, &holder);
        assert!(sent["too_big"] > 0, "{sent:?}");
        let route = lab
            .client()
            .output("ip", &["route", "get", &echo.vip.to_string()]);
        tell(&format!(
            "{} from {holder}: {sent:?}; {}",
            echo.vip,
            route.unwrap()
        ));
    }
    for udp in lab.frontends_of("default/echo-udp") {
        lab.in_client(|| (0..STREAMS).for_each(|_| datagram_comes_back(udp.address())));
    }
}

/// Somebody who sends packets for a VIP inside packets of his own is as without us.
#[test]
fn a_stranger_cannot_send_so() {
    let lab = two_segments(&[]);
    let web = lab.frontends_of("default/web-local").remove(0);
    until_spread(&lab, web.vip, &["n1", "n2"]);
    let before = tunnelled(&lab, "n1");
    // IPv4 in IPv4 as the visitor's kernel sends it from its own address, with a packet for the VIP inside.
    let visitor = lab.topology().visitor.clone().unwrap();
    let inner = [
        0x45, 0, 0, 20, 0, 0, 0x40, 0, 64, 6, 0, 0, 203, 0, 113, 2, 192, 0, 2, 0,
    ];
    let IpAddr::V4(vip) = web.vip else {
        panic!("the first is of IPv4");
    };
    let mut packet = inner;
    packet[16..].copy_from_slice(&vip.octets());
    visitor
        .enter(|| {
            let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::IPIP)).unwrap();
            let to = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 11), 0);
            sendto(&socket, &packet, SendFlags::empty(), &to).unwrap();
        })
        .unwrap();
    lab.eventually("it is seen", || {
        let now = tunnelled(&lab, "n1");
        match now["stranger"] > before["stranger"] {
            true => Ok(()),
            false => Err(now),
        }
    });
    assert_eq!(tunnelled(&lab, "n1")["unwrapped"], before["unwrapped"]);
}

/// Sends as much as many segments of the biggest size take, and reads it back.
pub(super) fn there_and_back(at: SocketAddr) {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let sent: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let back = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        writing.join().unwrap();
        back
    });
    assert_eq!(back.len(), sent.len());
    assert_eq!(back, sent);
}

/// A datagram of 1472 bytes fills the client's link. The first is refused on the way; then the client's kernel knows, and cuts it.
fn datagram_comes_back(at: SocketAddr) {
    let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(at).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let sent = [0x5a; 1_440];
    let mut back = [0; 2_000];
    for _ in 0..20 {
        // What was refused may come back as an error of the next call.
        let _refused = socket.send(&sent);
        if socket
            .recv(&mut back)
            .is_ok_and(|length| back[..length] == sent)
        {
            return;
        }
    }
    panic!("{at} does not echo what is as big as the link carries");
}

/// Requests that find both of two nodes but for one time in a thousand million.
const ASKED: usize = 30;
/// Connections of which one in three goes to the far node.
const STREAMS: usize = 30;
const BYTES: usize = 200_000;
const PATIENCE: Duration = Duration::from_secs(10);
