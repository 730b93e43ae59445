//! Packets of a VIP that sockets of this node take: which of them the stack may have as its own, and which socket a connection gets.
//!
//! No interface has the address. What the first part lets in is marked, and a rule of the routing tables takes it in by that mark; the second
//! part looks the socket up. Neither knows how sockets come into the table.

use super::Maps;
use super::steer::is_held;
use crate::abi::{Addr, Entry, Mode, SocketKey};

/// Whether this node's stack may take a packet of this VIP as its own: while it may speak for the VIP, and for a VIP that moves also
/// afterwards, for the sake of the connections that are still here.
#[inline(always)]
pub(super) fn is_taken<M: Maps>(maps: &M, entry: &Entry) -> bool {
    let now = maps.now();
    let is_left = entry.mode() == Some(Mode::Known) && entry.is_moving() && now < maps.deadline();
    is_left || is_held(maps, entry, now)
}

/// What a connection or datagram that nobody has yet is for, as the kernel says it: the family's number, the IPv4 address and the four
/// words of the IPv6 address as they lie in the packet, the port and the protocol's number. `None`: of another family or protocol.
#[inline(always)]
pub fn key(family: u32, v4: u32, v6: [u32; 4], port: u32, protocol: u32) -> Option<SocketKey> {
    let addr = match family {
        AF_INET => Addr::v4_word(v4),
        AF_INET6 => Addr::v6_words([word(v6[0], v6[1]), word(v6[2], v6[3])]),
        _ => return None,
    };
    match protocol {
        TCP | UDP => Some(SocketKey::new(addr, port as u16, protocol as u8)),
        _ => None,
    }
}

/// Two words in the order in which they lie in memory.
#[inline(always)]
fn word(first: u32, second: u32) -> u64 {
    bytemuck::cast([first, second])
}

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const TCP: u32 = 6;
const UDP: u32 = 17;

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    fn words(text: &str) -> [u32; 4] {
        let IpAddr::V6(v6) = text.parse().unwrap() else {
            panic!("{text} is not IPv6");
        };
        bytemuck::cast(v6.octets())
    }

    #[test]
    fn a_key_is_what_the_agent_writes_for_the_same_address() {
        let v4 = u32::from_ne_bytes([192, 0, 2, 10]);
        let addr = |text: &str| Addr::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(
            key(AF_INET, v4, [7; 4], 80, TCP),
            Some(SocketKey::new(addr("192.0.2.10"), 80, 6))
        );
        assert_eq!(
            key(AF_INET6, 7, words("2001:db8::10:1"), 65_535, UDP),
            Some(SocketKey::new(addr("2001:db8::10:1"), 65_535, 17))
        );
    }

    #[test]
    fn what_is_neither_tcp_nor_udp_over_ip_has_no_key() {
        assert_eq!(key(AF_INET, 1, [0; 4], 80, 132), None);
        assert_eq!(key(1, 1, [0; 4], 80, TCP), None);
    }

    /// A dual-stack socket is asked for by the family of the packet, so that the key is that of the IPv4 address.
    #[test]
    fn an_address_of_either_family_has_one_key() {
        let v4 = u32::from_ne_bytes([192, 0, 2, 10]);
        let mapped = words("::ffff:192.0.2.10");
        assert_eq!(
            key(AF_INET, v4, [0; 4], 80, TCP),
            key(AF_INET6, 0, mapped, 80, TCP)
        );
    }
}
