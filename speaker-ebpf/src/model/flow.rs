//! Packets of connections as clients and routers make them, right or wrong in any field.
//!
//! RFC 791, 8200, 792, 4443 and 9293 as far as the fields go; written apart from the code under test.

use super::forward::header_sum;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::vec::Vec;

/// A TCP or UDP packet from a client's port to one of a VIP, or a part of one; every field can be set.
#[derive(Clone, Debug)]
pub struct FlowWire {
    /// Ethernet destination.
    pub to: [u8; 6],
    /// Ethernet source.
    pub from: [u8; 6],
    /// Client and its port.
    pub src: SocketAddr,
    /// VIP and its port.
    pub dst: SocketAddr,
    /// IP protocol.
    pub protocol: u8,
    /// TCP's flags.
    pub flags: u8,
    /// Hops left.
    pub hops: u8,
    /// IPv4 options, a multiple of four bytes; of IPv6 the headers between.
    pub options: Vec<u8>,
    /// Of the next header, where IPv6 has some between.
    pub first_option: Option<u8>,
    /// Number of the datagram, offset in units of eight bytes, and whether more fragments follow.
    pub fragment: Option<(u16, u16, bool)>,
    /// What replaces the transport header.
    pub payload: Option<Vec<u8>>,
}

impl FlowWire {
    /// The first packet of a connection.
    pub fn syn(to: [u8; 6], client: ([u8; 6], SocketAddr), vip: SocketAddr) -> Self {
        Self {
            to,
            from: client.0,
            src: client.1,
            dst: vip,
            protocol: 6,
            flags: 0x02,
            hops: 64,
            options: Vec::new(),
            first_option: None,
            fragment: None,
            payload: None,
        }
    }

    /// Another packet of a connection.
    pub fn segment(to: [u8; 6], client: ([u8; 6], SocketAddr), vip: SocketAddr) -> Self {
        Self {
            flags: 0x18,
            ..Self::syn(to, client, vip)
        }
    }

    /// A datagram.
    pub fn datagram(to: [u8; 6], client: ([u8; 6], SocketAddr), vip: SocketAddr) -> Self {
        Self {
            protocol: 17,
            ..Self::syn(to, client, vip)
        }
    }

    /// A router's word on a packet that the VIP sent to `self`'s client.
    pub fn error(self, router: ([u8; 6], IpAddr)) -> Self {
        let back = Self {
            src: self.dst,
            dst: self.src,
            flags: 0x10,
            ..self.clone()
        };
        let (protocol, kind) = match self.dst {
            SocketAddr::V4(_) => (1, [3, 4]),
            SocketAddr::V6(_) => (58, [2, 0]),
        };
        let quoted = &back.bytes()[14..];
        let payload = [&kind[..], &[0; 6], &quoted[..quoted.len().min(60)]].concat();
        Self {
            from: router.0,
            src: SocketAddr::new(router.1, 0),
            protocol,
            options: Vec::new(),
            first_option: None,
            fragment: None,
            payload: Some(payload),
            ..self
        }
    }

    /// The same frame, changed.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The frame's bytes, with a right checksum in the IPv4 header and none behind it.
    pub fn bytes(&self) -> Vec<u8> {
        let payload = self.payload.clone().unwrap_or_else(|| self.transport());
        let mut bytes = [self.to, self.from].concat();
        match (self.src.ip(), self.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.v4(&mut bytes, src, dst, payload.len()),
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.v6(&mut bytes, src, dst, payload.len()),
            (src, dst) => panic!("from {src} to {dst}"),
        }
        bytes.extend(payload);
        bytes
    }

    fn transport(&self) -> Vec<u8> {
        let mut bytes = [self.src.port(), self.dst.port()]
            .map(u16::to_be_bytes)
            .concat();
        match self.protocol {
            6 => bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, self.flags, 4, 0, 0, 0, 0, 0]),
            _ => bytes.extend([0, 12, 0, 0, 1, 2, 3, 4]),
        }
        bytes
    }

    fn v4(&self, bytes: &mut Vec<u8>, src: Ipv4Addr, dst: Ipv4Addr, payload: usize) {
        let header = 20 + self.options.len();
        let (ident, offset, has_more) = self.fragment.unwrap_or_default();
        let fragment = offset | if has_more { 0x2000 } else { 0 };
        bytes.extend([8, 0, 0x40 | (header / 4) as u8, 0]);
        bytes.extend(((header + payload) as u16).to_be_bytes());
        bytes.extend(ident.to_be_bytes());
        bytes.extend(fragment.to_be_bytes());
        bytes.extend([self.hops, self.protocol, 0, 0]);
        bytes.extend(src.octets());
        bytes.extend(dst.octets());
        bytes.extend(&self.options);
        let sum = header_sum(bytes);
        bytes[24..26].copy_from_slice(&(!sum).to_be_bytes());
    }

    fn v6(&self, bytes: &mut Vec<u8>, src: Ipv6Addr, dst: Ipv6Addr, payload: usize) {
        let mut between = self.options.clone();
        if let Some((ident, offset, has_more)) = self.fragment {
            let offset = offset << 3 | u16::from(has_more);
            between.extend([self.protocol, 0]);
            between.extend(offset.to_be_bytes());
            between.extend(u32::from(ident).to_be_bytes());
        }
        let fragment = self.fragment.map(|_| 44);
        let next = self.first_option.or(fragment).unwrap_or(self.protocol);
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        bytes.extend(((between.len() + payload) as u16).to_be_bytes());
        bytes.extend([next, self.hops]);
        bytes.extend(src.octets());
        bytes.extend(dst.octets());
        bytes.extend(between);
    }
}
