//! Sockets of service proxies on this node, which take what comes in for a VIP and port.
//!
//! The kernel itself forgets a socket that is closed, so that a proxy that dies leaves no row behind.

use super::Addr;
use bytemuck::{Pod, Zeroable};

/// Rows of `SOCKETS`: a thousand services with four ports each.
pub const SOCKETS_MAX: u32 = 4_096;

/// The bit of a packet's mark that says: this node's own stack takes it, although no interface has its address. Bits that are taken by
/// others are left alone: 0x2000 (portmap), 0x4000 and 0x8000 (kube-proxy), 0xf00 (Cilium), the upper half (Calico, Tailscale).
pub const MARK: u32 = 0x1000;

/// Key of `SOCKETS`: what a packet is for.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct SocketKey {
    addr: Addr,
    port: u16,
    protocol: u8,
    pad: u8,
}

impl SocketKey {
    /// The key of a VIP's port in the protocol of this number.
    #[inline(always)]
    pub const fn new(addr: Addr, port: u16, protocol: u8) -> Self {
        Self {
            addr,
            port,
            protocol,
            pad: 0,
        }
    }

    /// The VIP.
    #[inline(always)]
    pub const fn addr(&self) -> Addr {
        self.addr
    }

    /// The port.
    #[inline(always)]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The protocol's number.
    #[inline(always)]
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }
}

/// What became of a connection or datagram that came in for a VIP, as far as sockets go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum Listening {
    /// A registered socket got it.
    Given,
    /// None is registered for this port: the kernel looks among its own.
    Nobody,
    /// The kernel would not give it to the one that is registered: it is of another family.
    Refused,
}

impl Listening {
    /// In the order of the array.
    pub const ALL: [Self; 3] = [Self::Given, Self::Nobody, Self::Refused];
}

const _: () = {
    assert!(size_of::<SocketKey>() == 20);
};
