//! Packets without anything between IP's header and the transport: no options, no extension headers, no fragments.
//!
//! What options of a VIP ask of a packet, and nothing more: everything that is not plain is left to the stack, which knows how to put it
//! together (RFC 791, RFC 8200).

use super::flow::Family;
use super::ip::{ICMPV6, IPV6_END, SRC_AT, v6_addr};
use super::{ETHER_BYTES, Frame};
use crate::abi::Addr;

/// A plain packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plain {
    /// The protocol's number.
    pub protocol: u8,
    /// Who sent it.
    pub client: Addr,
    /// Whether an answer may go there: one station has that address.
    pub is_client_one: bool,
    /// The first four bytes of the transport, as they lie in memory: both ports, or type, code and checksum.
    pub word: u32,
}

impl Plain {
    /// `None`: it is not plain, or ends too early. Makes loadable what an answer takes from it.
    #[inline(always)]
    pub fn read<F: Frame>(frame: &mut F, family: Family) -> Option<Self> {
        let len = frame.len();
        if !frame.pull(if len > HEADERS_MAX { HEADERS_MAX } else { len }) {
            return None;
        }
        match family {
            Family::V4 => v4(frame),
            Family::V6 => v6(frame),
        }
    }

    /// The port that it is for, as it lies in the packet.
    #[inline(always)]
    pub const fn port(&self) -> [u8; 2] {
        let [_, _, high, low] = self.word.to_ne_bytes();
        [high, low]
    }

    /// Whether its protocol has ports.
    #[inline(always)]
    pub const fn has_ports(&self) -> bool {
        matches!(self.protocol, TCP | UDP | SCTP)
    }

    /// Whether it is a ping.
    #[inline(always)]
    pub const fn is_echo(&self, family: Family) -> bool {
        let [kind, code, _, _] = self.word.to_ne_bytes();
        let (protocol, request) = match family {
            Family::V4 => (ICMP, ECHO_REQUEST),
            Family::V6 => (ICMPV6, ECHO_REQUEST_V6),
        };
        self.protocol == protocol && kind == request && code == 0
    }
}

#[inline(always)]
fn v4<F: Frame>(frame: &F) -> Option<Plain> {
    let first: u8 = frame.load(ETHER_BYTES)?;
    let fragment = u16::from_be_bytes(frame.load(ETHER_BYTES + 6)?);
    if first != 0x45 || fragment & FRAGMENT_BITS != 0 {
        return None;
    }
    let src: u32 = frame.load(ETHER_BYTES + 12)?;
    let [net, ..] = src.to_ne_bytes();
    Some(Plain {
        protocol: frame.load(ETHER_BYTES + 9)?,
        client: Addr::v4_word(src),
        // Neither "this network", nor the host itself, nor a group, nor what is reserved (RFC 1122 §3.2.1.3).
        is_client_one: net != 0 && net != 127 && net < 224,
        word: frame.load(V4_TRANSPORT)?,
    })
}

#[inline(always)]
fn v6<F: Frame>(frame: &F) -> Option<Plain> {
    let first: u8 = frame.load(ETHER_BYTES)?;
    if first >> 4 != 6 {
        return None;
    }
    let src: [u64; 2] = frame.load(SRC_AT)?;
    // Neither a group, nor unspecified, nor the host itself (RFC 4291 §2.5, §2.7).
    let is_small = src[0] == 0 && u64::from_be(src[1]) <= 1;
    let is_group = u64::from_be(src[0]) >> 56 == 0xff;
    Some(Plain {
        protocol: frame.load(ETHER_BYTES + 6)?,
        client: v6_addr(src)?,
        is_client_one: !is_small && !is_group,
        word: frame.load(IPV6_END)?,
    })
}

/// TCP's protocol number.
pub const TCP: u8 = 6;
/// UDP's.
pub const UDP: u8 = 17;
/// SCTP's.
pub const SCTP: u8 = 132;
/// Where the transport of a plain IPv4 packet begins.
pub const V4_TRANSPORT: usize = ETHER_BYTES + 20;
const ICMP: u8 = 1;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
/// "More fragments", and the offset.
const FRAGMENT_BITS: u16 = 0x3fff;
/// Ethernet, IPv6 and TCP without options.
const HEADERS_MAX: u32 = 74;
