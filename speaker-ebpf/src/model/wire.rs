//! Frames as senders make them, right or wrong in any field, with checksums computed apart from the code under test.

use super::check::checksum;
use core::net::{Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

/// An ARP frame; every field can be set.
#[derive(Clone, Debug)]
pub struct ArpWire {
    /// Ethernet destination.
    pub to: [u8; 6],
    /// Ethernet source.
    pub from: [u8; 6],
    /// Hardware type.
    pub hrd: u16,
    /// Protocol type.
    pub pro: u16,
    /// Length of hardware addresses.
    pub hln: u8,
    /// Length of protocol addresses.
    pub pln: u8,
    /// Operation.
    pub op: u16,
    /// Sender.
    pub sender: ([u8; 6], Ipv4Addr),
    /// Target.
    pub target: ([u8; 6], Ipv4Addr),
    /// What follows.
    pub padding: Vec<u8>,
}

impl ArpWire {
    /// `client` asks everybody for `vip`.
    pub fn request(client: ([u8; 6], Ipv4Addr), vip: Ipv4Addr) -> Self {
        Self {
            to: [0xff; 6],
            from: client.0,
            hrd: 1,
            pro: 0x0800,
            hln: 6,
            pln: 4,
            op: 1,
            sender: client,
            target: ([0; 6], vip),
            padding: Vec::new(),
        }
    }

    /// `owner` answers `client`.
    pub fn reply(owner: ([u8; 6], Ipv4Addr), client: ([u8; 6], Ipv4Addr)) -> Self {
        Self {
            to: client.0,
            from: owner.0,
            op: 2,
            target: client,
            ..Self::request(owner, client.1)
        }
    }

    /// `owner` announces itself by a request (`op` 1) or a reply (`op` 2).
    pub fn announcement(owner: ([u8; 6], Ipv4Addr), op: u16) -> Self {
        Self {
            op,
            target: (if op == 1 { [0; 6] } else { owner.0 }, owner.1),
            ..Self::request(owner, owner.1)
        }
    }

    /// The same frame, changed.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The frame's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.to, self.from].concat();
        bytes.extend([8, 6]);
        bytes.extend(self.hrd.to_be_bytes());
        bytes.extend(self.pro.to_be_bytes());
        bytes.extend([self.hln, self.pln]);
        bytes.extend(self.op.to_be_bytes());
        for (mac, ip) in [self.sender, self.target] {
            bytes.extend(mac);
            bytes.extend(ip.octets());
        }
        bytes.extend(&self.padding);
        bytes
    }
}

/// A solicitation or an advertisement; every field can be set.
#[derive(Clone, Debug)]
pub struct NdpWire {
    /// Ethernet destination.
    pub to: [u8; 6],
    /// Ethernet source.
    pub from: [u8; 6],
    /// First byte of the IPv6 header.
    pub version: u8,
    /// Next header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// IPv6 source.
    pub src: Ipv6Addr,
    /// IPv6 destination.
    pub dst: Ipv6Addr,
    /// ICMPv6 type.
    pub kind: u8,
    /// ICMPv6 code.
    pub code: u8,
    /// R, S and O, and what should be zero.
    pub flags: [u8; 4],
    /// Target.
    pub target: Ipv6Addr,
    /// Options.
    pub options: Vec<u8>,
    /// What to add to the right checksum.
    pub checksum_error: u16,
    /// What to add to the right payload length.
    pub length_error: i16,
    /// What follows the payload.
    pub padding: Vec<u8>,
}

impl NdpWire {
    /// `client` asks the group of `vip` for it, with its own address as an option.
    pub fn solicitation(client: ([u8; 6], Ipv6Addr), vip: Ipv6Addr) -> Self {
        let [.., x, y, z] = vip.octets();
        Self {
            to: [0x33, 0x33, 0xff, x, y, z],
            from: client.0,
            version: 0x60,
            next_header: 58,
            hop_limit: 255,
            src: client.1,
            dst: solicited_node(vip),
            kind: 135,
            code: 0,
            flags: [0; 4],
            target: vip,
            options: option(1, client.0),
            checksum_error: 0,
            length_error: 0,
            padding: Vec::new(),
        }
    }

    /// `client` asks `owner` whether it is still there, without any option.
    pub fn probe(client: ([u8; 6], Ipv6Addr), owner: ([u8; 6], Ipv6Addr)) -> Self {
        Self {
            to: owner.0,
            dst: owner.1,
            options: Vec::new(),
            ..Self::solicitation(client, owner.1)
        }
    }

    /// `mac` wants to know whether it may use `vip`.
    pub fn duplicate_detection(mac: [u8; 6], vip: Ipv6Addr) -> Self {
        Self {
            options: Vec::new(),
            ..Self::solicitation((mac, Ipv6Addr::UNSPECIFIED), vip)
        }
    }

    /// `owner` answers `client`.
    pub fn advertisement(owner: ([u8; 6], Ipv6Addr), client: ([u8; 6], Ipv6Addr)) -> Self {
        Self {
            to: client.0,
            from: owner.0,
            src: owner.1,
            dst: client.1,
            kind: 136,
            flags: [0x60, 0, 0, 0],
            options: option(2, owner.0),
            ..Self::solicitation(client, owner.1)
        }
    }

    /// `owner` tells everybody.
    pub fn announcement(owner: ([u8; 6], Ipv6Addr)) -> Self {
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        Self {
            flags: [0x20, 0, 0, 0],
            ..Self::advertisement(owner, ([0x33, 0x33, 0, 0, 0, 1], all_nodes))
        }
    }

    /// The same frame, changed.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The frame's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut icmp = Vec::from([self.kind, self.code, 0, 0]);
        icmp.extend(self.flags);
        icmp.extend(self.target.octets());
        icmp.extend(&self.options);
        let sum = checksum(&self.src.octets(), &self.dst.octets(), &icmp);
        let sum = sum.wrapping_add(self.checksum_error).to_be_bytes();
        icmp[2..4].copy_from_slice(&sum);
        let length = (icmp.len() as i16 + self.length_error) as u16;
        let mut bytes = [self.to, self.from].concat();
        bytes.extend([0x86, 0xdd, self.version, 0, 0, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.extend([self.next_header, self.hop_limit]);
        bytes.extend(self.src.octets());
        bytes.extend(self.dst.octets());
        bytes.extend(icmp);
        bytes.extend(&self.padding);
        bytes
    }
}

/// An option of eight bytes with a link-layer address in it.
pub fn option(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    let mut option = Vec::from([kind, 1]);
    option.extend(mac);
    option
}

/// A packet of `version` (4 or 6) to `dst` with `payload` after its header, with whatever `protocol`.
pub fn packet(
    to: [u8; 6],
    from: [u8; 6],
    dst: core::net::IpAddr,
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = [to, from].concat();
    match dst {
        core::net::IpAddr::V4(dst) => {
            let length = (20 + payload.len()) as u16;
            bytes.extend([8, 0, 0x45, 0]);
            bytes.extend(length.to_be_bytes());
            bytes.extend([0, 0, 0, 0, 64, protocol, 0, 0, 198, 51, 100, 7]);
            bytes.extend(dst.octets());
        }
        core::net::IpAddr::V6(dst) => {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            bytes.extend((payload.len() as u16).to_be_bytes());
            bytes.extend([protocol, 64]);
            bytes.extend(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 7).octets());
            bytes.extend(dst.octets());
        }
    }
    bytes.extend(payload);
    bytes
}

fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., x, y, z] = target.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z])
}
