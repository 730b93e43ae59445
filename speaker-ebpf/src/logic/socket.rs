//! Packets of a VIP that sockets of this node take: which of them the stack may have as its own, and which socket a connection gets.
//!
//! No interface has the address. What the first part lets in is marked, and a rule of the routing tables takes it in by that mark; the second
//! part looks the socket up. Neither knows how sockets come into the table.

use super::Maps;
use super::steer::Right;
use crate::abi::{Addr, Entry, Mode, SocketKey};

/// Whether this node's stack may take a packet of this VIP as its own: while it may speak for the VIP or routes bring its packets, and for a VIP that moves also
/// afterwards, for the sake of the connections that are still here.
#[inline(always)]
pub(super) fn is_taken<M: Maps>(maps: &M, entry: &Entry) -> bool {
    let now = maps.now();
    let is_left = entry.mode() == Some(Mode::Known) && entry.is_moving() && now < maps.deadline();
    is_left || Right::find(maps, entry, now) == Right::Held
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
    use crate::abi::{LinkValue, MacAddr, MoveValue, VipKey};
    use crate::logic::Verdict;
    use crate::model::flow::FlowWire;
    use crate::model::{Tables, VecFrame, run};
    use core::net::{IpAddr, SocketAddr};

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
    const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 0xcc];
    const NOW: u64 = 1_000_000_000;

    /// What becomes of an opening packet for a VIP with this entry, and how many were counted for it.
    fn opening(entry: Entry, change: impl FnOnce(&mut Tables, VipKey)) -> (Verdict, u64) {
        let vip: SocketAddr = "192.0.2.10:80".parse().unwrap();
        let key = VipKey::new(vip.ip().into(), 3);
        let mut tables = Tables {
            now_ns: NOW,
            node_deadline_ns: NOW + 1,
            ..Tables::default()
        };
        tables.put_vip(key, entry);
        tables.links.insert(3, LinkValue::new(MacAddr(OWN)));
        change(&mut tables, key);
        let client = (CLIENT, "198.51.100.7:40000".parse().unwrap());
        let bytes = FlowWire::syn(OWN, client, vip).bytes();
        let mut frame = VecFrame::new(3, &bytes);
        let verdict = run(&mut frame, &mut tables);
        assert_eq!(frame.bytes, bytes, "no byte is changed");
        let counted = tables.traffic.get(&entry.slot());
        (verdict, counted.map_or(0, |traffic| traffic.packets))
    }

    #[test]
    fn the_stack_takes_a_packet_only_while_the_node_may_speak_for_the_vip() {
        let entry = |mode| Entry::new(mode, 1, 0).socketed(true);
        let as_is = |_: &mut Tables, _| {};
        let late = |tables: &mut Tables, _| tables.node_deadline_ns = NOW;
        let fenced = |tables: &mut Tables, _| {
            tables.fence.insert(0, 1);
        };
        for mode in [Mode::Answer, Mode::Draining] {
            assert_eq!(opening(entry(mode), as_is), (Verdict::Mark, 1), "{mode:?}");
            assert_eq!(opening(entry(mode), late), (Verdict::Next, 1), "{mode:?}");
        }
        assert_eq!(opening(entry(Mode::Answer), fenced), (Verdict::Next, 1));
        assert_eq!(opening(entry(Mode::Known), as_is), (Verdict::Next, 1));
        let plain = Entry::new(Mode::Answer, 1, 0);
        assert_eq!(opening(plain, as_is), (Verdict::Next, 1));
    }

    /// What the new holder sends back is of a connection that is here.
    #[test]
    fn a_node_that_gave_the_vip_away_keeps_the_connections_that_it_has() {
        let entry = Entry::new(Mode::Known, 1, 0).socketed(true).moving(true);
        let here = |tables: &mut Tables, key| {
            let row = MoveValue::new(None, None, 0, NOW + 1);
            tables.moves.insert(key, row);
        };
        assert_eq!(opening(entry, here), (Verdict::Mark, 1));
        let late = |tables: &mut Tables, key| {
            here(tables, key);
            tables.node_deadline_ns = NOW;
        };
        assert_eq!(opening(entry, late), (Verdict::Next, 1));
    }

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
