//! Packets for a VIP that sockets of this node serve: marked, and not touched otherwise.

use super::*;
use speaker_ebpf::model::flow::FlowWire;
use std::net::SocketAddr;

pub(super) fn cases() -> Vec<Case> {
    let syn = |client: &str, vip: IpAddr| {
        let client = (CLIENT, client.parse().expect("it is an address and a port"));
        FlowWire::syn(OWN, client, SocketAddr::new(vip, 443)).bytes()
    };
    let v4 = || syn("198.51.100.7:40000", VIP4.into());
    let v6 = syn("[2001:db8:ffff::7]:40000", VIP6.into());
    vec![
        Case::new("a connection for a socket is marked", v4())
            .given(socketed)
            .marked(),
        Case::new("a connection for a socket is marked, IPv6", v6)
            .given(socketed)
            .marked(),
        Case::new("past the deadline nothing is for a socket", v4())
            .given(socketed)
            .given(|tables| tables.node_deadline_ns = NOW)
            .traffic(),
        Case::new("what a route brings is for a socket", v4())
            .given(routed)
            .given(socketed)
            .given(|tables| tables.node_deadline_ns = NOW)
            .marked(),
    ]
}

fn socketed(tables: &mut Tables) {
    for entry in tables.vips.values_mut() {
        *entry = entry.socketed(true);
    }
}

impl Case {
    /// XDP has no mark.
    fn marked(mut self) -> Self {
        self.verdict = Verdict::Mark;
        self.only(Hook::Tc).traffic()
    }
}
