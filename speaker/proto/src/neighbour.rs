//! The neighbour frames that the agent itself sends, byte by byte.
//!
//! Gratuitous ARP and unsolicited advertisements, and the ordinary unicast question that teaches one client the
//! VIP's hardware address. Answers are the kernel program's. RFC 826, RFC 5227 §3, RFC 4861 §4.3, §4.4, §7.2.6.

use crate::Mac;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Both forms of gratuitous ARP: clients differ in which they heed.
///
/// In the reply form the target hardware address equals the sender's: only then does Linux take it for
/// gratuitous and override an entry that is younger than a second.
pub fn gratuitous_arp(mac: Mac, vip: Ipv4Addr) -> [Vec<u8>; 2] {
    [
        arp(BROADCAST, mac, ARP_REQUEST, vip, (Mac([0; 6]), vip)),
        arp(BROADCAST, mac, ARP_REPLY, vip, (mac, vip)),
    ]
}

/// An unsolicited advertisement to all nodes: not solicited, overriding, from the VIP itself.
pub fn unsolicited_advertisement(mac: Mac, vip: Ipv6Addr) -> Vec<u8> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let icmp = icmpv6([136, 0], OVERRIDE, vip, [TARGET_LINK_LAYER_ADDRESS, 1], mac);
    ipv6(Mac([0x33, 0x33, 0, 0, 0, 1]), mac, vip, all_nodes, icmp)
}

/// A question from the VIP to one client, by unicast: the client learns the VIP's address in answering.
pub fn arp_question(mac: Mac, vip: Ipv4Addr, client: (Mac, Ipv4Addr)) -> Vec<u8> {
    arp(client.0, mac, ARP_REQUEST, vip, (Mac([0; 6]), client.1))
}

/// The same for IPv6: a neighbour solicitation by unicast.
pub fn solicitation(mac: Mac, vip: Ipv6Addr, client: (Mac, Ipv6Addr)) -> Vec<u8> {
    let icmp = icmpv6([135, 0], 0, client.1, [SOURCE_LINK_LAYER_ADDRESS, 1], mac);
    ipv6(client.0, mac, vip, client.1, icmp)
}

fn arp(to: Mac, from: Mac, operation: u16, vip: Ipv4Addr, target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut frame = ethernet(to, from, 0x0806);
    // Ethernet, IPv4, lengths 6 and 4.
    frame.extend([0, 1, 8, 0, 6, 4]);
    frame.extend(operation.to_be_bytes());
    frame.extend(from.0);
    frame.extend(vip.octets());
    frame.extend(target.0.0);
    frame.extend(target.1.octets());
    frame
}

/// An ICMPv6 neighbour message with one link-layer address option, its checksum still zero.
fn icmpv6(kind: [u8; 2], flags: u32, target: Ipv6Addr, option: [u8; 2], mac: Mac) -> Vec<u8> {
    let mut message = kind.to_vec();
    message.extend([0, 0]);
    message.extend(flags.to_be_bytes());
    message.extend(target.octets());
    message.extend(option);
    message.extend(mac.0);
    message
}

fn ipv6(to: Mac, from: Mac, source: Ipv6Addr, destination: Ipv6Addr, mut icmp: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(source, destination, &icmp);
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = ethernet(to, from, 0x86dd);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(u16::try_from(icmp.len()).expect("32 bytes").to_be_bytes());
    // RFC 4861 §7.1: hop limit 255 shows that no router passed it on.
    frame.extend([ICMPV6, 255]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(icmp);
    frame
}

fn ethernet(to: Mac, from: Mac, kind: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(86);
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(kind.to_be_bytes());
    frame
}

/// RFC 4443 §2.3: over the pseudo-header and a message of even length whose checksum field is zero.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u16::try_from(message.len()).expect("32 bytes");
    let words = [source.segments(), destination.segments()].concat();
    let pairs = message
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let sum: u32 = words.into_iter().chain(pairs).map(u32::from).sum();
    let sum = sum + u32::from(length) + u32::from(ICMPV6);
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

const BROADCAST: Mac = Mac([0xff; 6]);
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
const ICMPV6: u8 = 58;
const OVERRIDE: u32 = 1 << 29;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn hex(frame: &[u8]) -> String {
        frame.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn rfc5227_3_gratuitous_arp_has_two_forms() {
        let [request, reply] = gratuitous_arp(MAC, Ipv4Addr::new(192, 0, 2, 10));
        let common = "ffffffffffff020000000001080600010800060400";
        let sender = "020000000001c000020a";
        assert_eq!(
            hex(&request),
            format!("{common}01{sender}000000000000c000020a")
        );
        assert_eq!(
            hex(&reply),
            format!("{common}02{sender}020000000001c000020a")
        );
    }

    #[test]
    fn rfc4861_7_2_6_an_unsolicited_advertisement_overrides_and_names_its_target() {
        let vip: Ipv6Addr = "2001:db8::10".parse().unwrap();
        let frame = unsolicited_advertisement(MAC, vip);
        assert_eq!(frame.len(), 86);
        assert_eq!(hex(&frame[..14]), "33330000000102000000000186dd");
        assert_eq!(hex(&frame[14..22]), "6000000000203aff");
        assert_eq!(frame[54..56], [136, 0]);
        assert_eq!(frame[58..62], [0x20, 0, 0, 0], "override alone");
        assert_eq!(frame[62..78], vip.octets());
        assert_eq!(frame[78..86], [2, 1, 2, 0, 0, 0, 0, 1]);
        assert!(checks_out(&frame));
    }

    #[test]
    fn l6_5_a_client_is_asked_by_unicast_from_the_vip() {
        let vip = Ipv4Addr::new(192, 0, 2, 10);
        let frame = arp_question(MAC, vip, (CLIENT, Ipv4Addr::new(192, 0, 2, 77)));
        assert_eq!(
            hex(&frame),
            "02000000000902000000000108060001080006040001020000000001c000020a000000000000c000024d"
        );
        let (vip, client) = (
            "2001:db8::10".parse().unwrap(),
            "2001:db8::77".parse().unwrap(),
        );
        let frame = solicitation(MAC, vip, (CLIENT, client));
        assert_eq!(frame[..6], CLIENT.0);
        assert_eq!(frame[22..38], vip.octets());
        assert_eq!(frame[54..56], [135, 0]);
        assert_eq!(frame[62..78], client.octets());
        assert_eq!(frame[78..86], [1, 1, 2, 0, 0, 0, 0, 1]);
        assert!(checks_out(&frame));
    }

    /// The checksum over everything, itself included, is zero.
    fn checks_out(frame: &[u8]) -> bool {
        let address = |at: usize| {
            let octets: [u8; 16] = frame[at..at + 16].try_into().unwrap();
            Ipv6Addr::from(octets)
        };
        checksum(address(22), address(38), &frame[54..]) == 0
    }
}
