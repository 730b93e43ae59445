//! The lab's small network: a client and three nodes at one switch, pods behind each node.
//!
//! ```text
//!   client 192.0.2.2 ──┐            ┌── n1 192.0.2.11 ── pods 10.244.1.11, .12
//!                      ├── switch ──┼── n2 192.0.2.12 ── pods 10.244.2.11, .12
//!                      │  (bridge)  └── n3 192.0.2.13 ── pods 10.244.3.11, .12
//! ```
//!
//! With a router there is a second client, behind it, from where the nodes' link is another network:
//!
//! ```text
//!   visitor 203.0.113.2 ── 203.0.113.1 router 192.0.2.1 ── switch
//! ```
//!
//! Every address has an IPv6 sibling. Pod networks are routed: a pod hangs on a link of its own behind its node, and
//! nodes know each other's pod networks by route. No interface anywhere carries a VIP. What runs in the namespaces is
//! not known here.

use super::net::Netns;
use anyhow::Result;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The namespaces of one lab, named after its prefix.
#[derive(Clone, Debug)]
pub struct Topology {
    /// Holds the bridge that joins client and nodes.
    pub switch: Netns,
    /// Sees the nodes' link and nothing behind it.
    pub client: Netns,
    /// The nodes in order.
    pub nodes: Vec<Node>,
    /// Where a control plane is, if there is one.
    pub control: Option<Netns>,
    /// Where a router speaks BGP, if there is one.
    pub router: Option<Netns>,
    /// A client behind the router, if there is one.
    pub visitor: Option<Netns>,
}

/// A node of the lab.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name, as in the Node manifest.
    pub name: String,
    /// Counted from 1; part of its addresses.
    pub number: u8,
    /// Its namespace; the link to the switch is `eth0` there.
    pub netns: Netns,
    /// Its pods in order.
    pub pods: Vec<Pod>,
}

/// A pod of the lab.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name, which says the node's too.
    pub name: String,
    /// Its namespace; its only link is `eth0` there.
    pub netns: Netns,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    /// The node's end of its link.
    link: String,
}

impl Topology {
    /// The plan of a lab of so many nodes whose namespaces begin with `prefix`.
    pub fn new(prefix: &str, nodes: u8) -> Self {
        Self {
            switch: Netns::named(format!("{prefix}-switch")),
            client: Netns::named(format!("{prefix}-client")),
            nodes: (1..=nodes)
                .map(|number| Node::new(prefix, number))
                .collect(),
            control: None,
            router: None,
            visitor: None,
        }
    }

    /// The same with a namespace for a control plane.
    pub fn with_control(mut self, prefix: &str) -> Self {
        self.control = Some(Netns::named(format!("{prefix}-control")));
        self
    }

    /// The same with namespaces for a router and a client behind it.
    pub fn with_router(mut self, prefix: &str) -> Self {
        self.router = Some(Netns::named(format!("{prefix}-router")));
        self.visitor = Some(Netns::named(format!("{prefix}-visitor")));
        self
    }

    /// From where services are asked: from behind the router if there is one.
    pub fn asker(&self) -> &Netns {
        self.visitor.as_ref().unwrap_or(&self.client)
    }

    /// Every namespace, in the order in which they are made.
    pub fn namespaces(&self) -> Vec<&Netns> {
        let mut all = vec![&self.switch, &self.client];
        all.extend(&self.control);
        all.extend(&self.router);
        all.extend(&self.visitor);
        for node in &self.nodes {
            all.push(&node.netns);
            all.extend(node.pods.iter().map(|pod| &pod.netns));
        }
        all
    }

    /// Wires the namespaces, which exist and are empty.
    ///
    /// # Errors
    /// When a link, an address or a setting is refused.
    pub fn wire(&self) -> Result<()> {
        for netns in self.namespaces() {
            netns.sysctl(EVERYWHERE)?;
            netns.ip("link set lo up")?;
        }
        self.switch
            .ip("link add br0 type bridge\nlink set br0 up")?;
        self.plug(&self.client, "client", "eth0")?;
        self.client.ip(&addresses("eth0", CLIENT_V4, CLIENT_V6))?;
        if let Some(control) = &self.control {
            self.plug(control, "control", "eth0")?;
            control.ip(&addresses("eth0", CONTROL_V4, CONTROL_V6))?;
        }
        for node in &self.nodes {
            self.plug(&node.netns, &node.name, "eth0")?;
            node.wire(&self.nodes)?;
        }
        match (&self.router, &self.visitor) {
            (Some(router), Some(visitor)) => self.wire_router(router, visitor),
            (None, _) | (_, None) => Ok(()),
        }
    }

    /// The visitor reaches everything by the router, and so do the nodes what they have no other way to.
    fn wire_router(&self, router: &Netns, visitor: &Netns) -> Result<()> {
        self.plug(router, "router", "eth0")?;
        router.sysctl(ROUTER)?;
        router.ip(&addresses("eth0", ROUTER_V4, ROUTER_V6))?;
        router.ip(&format!(
            "link add eth1 type veth peer name eth0 netns {}\nlink set eth1 up\n{}",
            visitor.name(),
            addresses("eth1", BEHIND_V4, BEHIND_V6)
        ))?;
        visitor.ip("link set eth0 up")?;
        visitor.ip(&addresses("eth0", VISITOR_V4, VISITOR_V6))?;
        visitor.ip(&defaults(BEHIND_V4, BEHIND_V6))?;
        let mut nodes = self.nodes.iter();
        nodes.try_for_each(|node| node.netns.ip(&defaults(ROUTER_V4, ROUTER_V6)))
    }

    /// Joins a namespace to the switch by a new link, `port` at the switch and `link` in the namespace.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn plug(&self, netns: &Netns, port: &str, link: &str) -> Result<()> {
        self.switch.ip(&format!(
            "link add {port} type veth peer name {link} netns {}\nlink set {port} master br0 up",
            netns.name()
        ))?;
        netns.ip(&format!("link set {link} up"))
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }
}

impl Node {
    fn new(prefix: &str, number: u8) -> Self {
        let name = format!("n{number}");
        Self {
            netns: Netns::named(format!("{prefix}-{name}")),
            pods: (1..=PODS)
                .map(|pod| Pod::new(prefix, &name, number, pod))
                .collect(),
            name,
            number,
        }
    }

    /// Its address on the switch, IPv4.
    pub fn v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, 10 + self.number)
    }

    /// Its address on the switch, IPv6.
    pub fn v6(&self) -> Ipv6Addr {
        // Written like the IPv4 one: node 1 is ::11.
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10 + u16::from(self.number))
    }

    /// Its addresses on the switch.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.v4().into(), self.v6().into()]
    }

    fn wire(&self, nodes: &[Self]) -> Result<()> {
        self.netns.sysctl(NODE)?;
        self.netns.ip(&addresses("eth0", self.v4(), self.v6()))?;
        for pod in &self.pods {
            pod.wire(self)?;
        }
        self.netns.ip(&self.routes_to_pods(nodes))
    }

    /// The `ip` commands that lead to the pods of all other nodes.
    pub fn routes_to_pods(&self, nodes: &[Self]) -> String {
        let others = nodes.iter().filter(|other| other.number != self.number);
        let routes = others.flat_map(|other| {
            let number = other.number;
            [
                format!("route replace 10.244.{number}.0/24 via {}", other.v4()),
                format!("route replace fd00:10:244:{number}::/64 via {}", other.v6()),
            ]
        });
        routes.collect::<Vec<_>>().join("\n")
    }
}

impl Pod {
    fn new(prefix: &str, node: &str, number: u8, pod: u8) -> Self {
        let name = format!("{node}p{pod}");
        Self {
            netns: Netns::named(format!("{prefix}-{name}")),
            v4: Ipv4Addr::new(10, 244, number, 10 + pod),
            v6: Ipv6Addr::new(
                0xfd00,
                0x10,
                0x244,
                number.into(),
                0,
                0,
                0,
                0x10 + u16::from(pod),
            ),
            link: format!("veth{pod}"),
            name,
        }
    }

    /// The node's end has the same gateway address for every pod, and a host route leads to each.
    fn wire(&self, node: &Node) -> Result<()> {
        let (v4, v6, link) = (self.v4, self.v6, &self.link);
        let gateway = Ipv4Addr::new(10, 244, node.number, 1);
        node.netns.ip(&format!(
            "link add {link} type veth peer name eth0 netns {pod}\n\
             link set {link} up\n\
             address add {gateway}/32 dev {link}\n\
             address add {GATEWAY_V6}/64 dev {link} nodad\n\
             route add {v4}/32 dev {link}\n\
             route add {v6}/128 dev {link}",
            pod = self.netns.name(),
        ))?;
        self.netns.ip(&format!(
            "link set eth0 up\n\
             address add {v4}/32 dev eth0\n\
             address add {v6}/128 dev eth0 nodad\n\
             route add {gateway}/32 dev eth0\n\
             route add default via {gateway} dev eth0\n\
             route add default via {GATEWAY_V6} dev eth0"
        ))
    }
}

pub(super) fn addresses(link: &str, v4: Ipv4Addr, v6: Ipv6Addr) -> String {
    format!("address add {v4}/24 dev {link}\naddress add {v6}/64 dev {link} nodad")
}

fn defaults(v4: Ipv4Addr, v6: Ipv6Addr) -> String {
    format!("route add default via {v4}\nroute add default via {v6}")
}

/// The client's addresses.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The client's addresses.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
/// The router's addresses.
pub const ROUTER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The router's addresses.
pub const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// The router's addresses on the visitor's link.
const BEHIND_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The router's addresses on the visitor's link.
const BEHIND_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 1);
/// The visitor's addresses.
pub const VISITOR_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// The visitor's addresses.
pub const VISITOR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 2);
/// The control plane's addresses.
pub const CONTROL_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
/// The control plane's addresses.
pub const CONTROL_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 3);

const PODS: u8 = 2;
const GATEWAY_V6: &str = "fe80::1";

/// IPv6 on whatever the machine's default; link-local addresses at once rather than after the second that DAD takes.
pub(super) const EVERYWHERE: &[(&str, &str)] = &[
    ("ipv6.conf.all.disable_ipv6", "0"),
    ("ipv6.conf.default.disable_ipv6", "0"),
    ("ipv6.conf.default.accept_dad", "0"),
    ("ipv6.conf.default.accept_ra", "0"),
];

/// What a router has: it forwards, and spreads over equal ways by ports too, so that connections of one client to one address part.
const ROUTER: &[(&str, &str)] = &[
    ("ipv4.ip_forward", "1"),
    ("ipv6.conf.all.forwarding", "1"),
    ("ipv4.fib_multipath_hash_policy", "1"),
    ("ipv6.fib_multipath_hash_policy", "1"),
];
/// What a Kubernetes node has: it forwards, and checks the way back of what comes in.
const NODE: &[(&str, &str)] = &[
    ("ipv4.ip_forward", "1"),
    ("ipv6.conf.all.forwarding", "1"),
    ("ipv4.conf.all.rp_filter", "1"),
    ("ipv4.conf.default.rp_filter", "1"),
    ("ipv4.conf.eth0.rp_filter", "1"),
];
