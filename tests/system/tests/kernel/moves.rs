//! A planned move on a segment: two nodes, both with the VIP in their stack, and a client whose neighbour entry is moved from one
//! to the other while its connections are open (L6.2).
//!
//! Each stack resets a connection that it does not have, so a byte that goes astray is a failure.

use crate::answers::Hook;
use crate::net::{Namespace, run};
use crate::program::{Program, boot_ns};
use speaker_ebpf::abi::{
    Addr, Entry, LinkValue, MacAddr, MacKey, MemberValue, Mode, MoveValue, Passage, VipKey,
};
use speaker_ebpf::model::{Limit, Tables};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

#[test]
fn l6_2_no_connection_is_reset_by_a_move_at_tc() {
    moves_without_a_reset(Hook::Tcx, VIP4);
}

#[test]
fn l6_2_no_connection_is_reset_by_a_move_at_tc_ipv6() {
    moves_without_a_reset(Hook::Tcx, VIP6);
}

#[test]
fn l6_2_no_connection_is_reset_by_a_move_at_xdp() {
    moves_without_a_reset(Hook::GenericXdp, VIP4);
}

#[test]
fn l6_2_no_connection_is_reset_by_a_move_at_xdp_ipv6() {
    moves_without_a_reset(Hook::GenericXdp, VIP6);
}

#[test]
fn l6_2_without_the_move_in_the_tables_connections_would_be_reset() {
    let segment = Segment::new(Hook::Tcx, VIP4, 2);
    segment.point(A);
    let mut old = segment.connect();
    assert_eq!(old.ask(), Some(b'a'));
    segment.point(B);
    assert_eq!(old.ask(), None);
}

#[test]
fn l6_2_after_the_window_each_stack_has_what_it_gets() {
    let mut segment = Segment::new(Hook::Tcx, VIP4, 2);
    segment.point(A);
    segment.begin_move(boot_ns());
    assert_eq!(segment.connect().ask(), Some(b'a'));
    assert!(segment.nodes[A].program.passage(Passage::TooLate) > 0);
}

/// Old connections and new ones, while the client goes on sending to the old holder, and when it sends to the new one.
fn moves_without_a_reset(hook: Hook, vip: &str) {
    let mut segment = Segment::new(hook, vip, 2);
    segment.point(A);
    let mut streams: Vec<(Stream, u8)> = Vec::new();
    streams.extend((0..STREAMS).map(|_| (segment.connect(), b'a')));
    all_answer(&mut streams, "before");
    segment.begin_move(boot_ns() + 60 * SECOND);
    all_answer(&mut streams, "the client knows nothing of the move");
    streams.extend((0..STREAMS).map(|_| (segment.connect(), b'b')));
    all_answer(&mut streams, "new ones go through the old holder");
    assert_eq!(segment.ask_by_datagram(), Some(b'b'));
    segment.point(B);
    all_answer(&mut streams, "the client sends to the new holder");
    streams.extend((0..STREAMS).map(|_| (segment.connect(), b'b')));
    all_answer(&mut streams, "new ones go to the new holder");
    assert_eq!(segment.ask_by_datagram(), Some(b'b'));
    // Bytes that fill packets, in whatever pieces the stacks put them together.
    for (stream, node) in &mut streams {
        stream.ask_much(*node);
    }
    // Of connections that never came its way the old holder cannot know.
    streams.truncate(2 * STREAMS);
    segment.point(A);
    all_answer(&mut streams, "and to the old one again");
    let [a, b] = &mut segment.nodes[..] else {
        panic!("{} nodes", segment.nodes.len());
    };
    for passage in [Passage::Forwarded, Passage::FromMember] {
        let counted = [&mut *a, &mut *b].map(|node| node.program.passage(passage));
        assert!(
            counted.iter().any(|count| *count > 0),
            "{passage:?}: {counted:?}"
        );
    }
    assert!(b.program.passage(Passage::Returned) > 0);
}

fn all_answer(streams: &mut [(Stream, u8)], when: &str) {
    for (at, (stream, node)) in streams.iter_mut().enumerate() {
        assert_eq!(stream.ask(), Some(*node), "{when}: stream {at}");
    }
}

/// A client that is the segment's switch, too, and some nodes on it.
pub(crate) struct Segment {
    pub(crate) nodes: Vec<Node>,
    client: Namespace,
    pub(crate) vip: IpAddr,
}

pub(crate) struct Node {
    pub(crate) program: Program,
    _namespace: Namespace,
}

pub(crate) struct Stream(pub(crate) TcpStream);

impl Segment {
    pub(crate) fn new(hook: Hook, vip: &str, nodes: usize) -> Self {
        let vip: IpAddr = vip.parse().unwrap();
        let client = Namespace::new("client");
        client.run("ip link add br0 type bridge");
        client.write("net/ipv6/conf/br0/disable_ipv6", "0");
        client.run("ip link set br0 up");
        client.run("ip addr add 192.0.2.77/24 dev br0");
        client.run("ip -6 addr add 2001:db8::77/64 dev br0 nodad");
        let nodes = (0..nodes).map(|at| Node::new(at, &client, hook, vip));
        let nodes = nodes.collect();
        Self { nodes, client, vip }
    }

    /// The client sends to this node from now on.
    pub(crate) fn point(&self, node: usize) {
        let mac = text(MACS[node]);
        let vip = self.vip;
        self.client.run(&format!(
            "ip neigh replace {vip} lladdr {mac} dev br0 nud permanent"
        ));
    }

    /// A gives to B.
    fn begin_move(&mut self, until_ns: u64) {
        let [a, b, _] = MACS.map(MacAddr);
        let rows = [
            (Some(b), None, Mode::Draining),
            (None, Some(a), Mode::Answer),
        ];
        for (at, (fresh, old, mode)) in rows.into_iter().enumerate() {
            let mut tables = tables(at, self.vip, mode);
            let key = VipKey::new(Addr::from(self.vip), LINK);
            tables.put_move(key, MoveValue::new(fresh, old, boot_ns(), until_ns));
            self.nodes[at].program.write(&tables, 0);
        }
    }

    pub(crate) fn connect(&self) -> Stream {
        let to = SocketAddr::new(self.vip, PORT);
        let stream = self
            .client
            .enter(|| TcpStream::connect_timeout(&to, PATIENCE));
        let stream = stream.unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Stream(stream)
    }

    /// Which node answers a datagram.
    fn ask_by_datagram(&self) -> Option<u8> {
        ask_by_datagram(&self.datagrams())
    }

    /// A socket of the client's that sends datagrams to the VIP.
    pub(crate) fn datagrams(&self) -> UdpSocket {
        let any = match self.vip {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let to = SocketAddr::new(self.vip, PORT);
        let socket = self.client.enter(|| {
            let socket = UdpSocket::bind((any, 0)).unwrap();
            socket.connect(to).unwrap();
            socket
        });
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

/// Which node answers a datagram.
pub(crate) fn ask_by_datagram(socket: &UdpSocket) -> Option<u8> {
    let mut name = [0];
    socket.send(b"?").unwrap();
    socket.recv(&mut name).ok().map(|_| name[0])
}

impl Stream {
    /// Which node answers; `None`: it was reset, or nobody does.
    pub(crate) fn ask(&mut self) -> Option<u8> {
        let mut name = [0];
        self.0.write_all(b"?").ok()?;
        self.0.read_exact(&mut name).ok()?;
        Some(name[0])
    }

    pub(crate) fn ask_much(&mut self, node: u8) {
        let questions = [b'?'; 20_000];
        self.0.write_all(&questions).unwrap();
        let mut names = [0; 20_000];
        self.0.read_exact(&mut names).unwrap();
        assert!(names.iter().all(|name| *name == node));
    }
}

impl Node {
    fn new(at: usize, client: &Namespace, hook: Hook, vip: IpAddr) -> Self {
        let namespace = Namespace::new(["a", "b", "c"][at]);
        let (name, bridge, mac) = (&namespace.name, &client.name, text(MACS[at]));
        run(&format!(
            "ip link add eth0 index {LINK} netns {name} type veth peer name port{at} netns {bridge}"
        ));
        client.run(&format!("ip link set port{at} master br0 up"));
        for link in ["eth0", "lo"] {
            namespace.write(&format!("net/ipv6/conf/{link}/disable_ipv6"), "0");
        }
        namespace.run(&format!("ip link set eth0 address {mac} up"));
        namespace.run(&format!("ip addr add 192.0.2.1{at}/24 dev eth0"));
        namespace.run(&format!("ip -6 addr add 2001:db8::1{at}/64 dev eth0 nodad"));
        // Without it an IPv6 address cannot be bound for a moment, on the loopback device too.
        let (bits, flags) = if vip.is_ipv4() {
            (32, "")
        } else {
            (128, "nodad")
        };
        namespace.run(&format!("ip addr add {vip}/{bits} dev lo {flags}"));
        let program = namespace.enter(|| {
            serve(vip, NAMES[at]);
            let mut program = Program::load(Limit::default());
            program.write(&tables(at, vip, Mode::Answer), 0);
            hook.attach(&mut program);
            program
        });
        Self {
            program,
            _namespace: namespace,
        }
    }
}

/// Answers each byte, on connections and in datagrams, with the node's name. Ends with the test.
fn serve(vip: IpAddr, name: u8) {
    let at = SocketAddr::new(vip, PORT);
    let listener = TcpListener::bind(at).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut questions = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut questions) {
                    if stream.write_all(&[name].repeat(count)).is_err() {
                        break;
                    }
                }
            });
        }
    });
    let socket = UdpSocket::bind(at).unwrap();
    thread::spawn(move || {
        while let Ok((_, from)) = socket.recv_from(&mut [0; 16]) {
            let _ = socket.send_to(&[name], from);
        }
    });
}

pub(crate) fn tables(at: usize, vip: IpAddr, mode: Mode) -> Tables {
    let mut tables = Tables {
        node_deadline_ns: boot_ns() + 600 * SECOND,
        ..Tables::default()
    };
    tables.links.insert(LINK, LinkValue::new(MacAddr(MACS[at])));
    let armed = MemberValue {
        disarmed_until_ns: 0,
    };
    for mac in MACS.into_iter().filter(|mac| *mac != MACS[at]) {
        tables.members.insert(MacKey::new(MacAddr(mac)), armed);
    }
    let key = VipKey::new(Addr::from(vip), LINK);
    tables.put_vip(key, Entry::new(mode, 1, 1));
    tables
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;
pub(crate) const LINK: u32 = 42;
pub(crate) const MACS: [[u8; 6]; 3] = [
    [2, 0, 0, 0, 0, 0x0a],
    [2, 0, 0, 0, 0, 0x0b],
    [2, 0, 0, 0, 0, 0x0c],
];
/// What each node answers.
pub(crate) const NAMES: [u8; 3] = *b"abc";
pub(crate) const VIP4: &str = "192.0.2.100";
pub(crate) const VIP6: &str = "2001:db8::100";
pub(crate) const PORT: u16 = 80;
const STREAMS: usize = 100;
/// On a segment in memory everything that comes at all comes within a fraction of this.
const PATIENCE: Duration = Duration::from_secs(5);
pub(crate) const SECOND: u64 = 1_000_000_000;
