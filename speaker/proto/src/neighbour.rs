//! The neighbour frames that the agent itself sends, byte by byte.
//!
//! Gratuitous ARP and unsolicited advertisements, the ordinary unicast question that teaches one client the VIP's
//! hardware address, and probes, which teach nobody anything. Answers are the kernel program's. RFC 826, RFC 5227 §2.1.1
//! and §3, RFC 4861 §4.3, §4.4, §7.2.6, RFC 4862 §5.4.2.

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

/// The claim of [`gratuitous_arp`] to one station, which need not be broadcast to.
///
/// The request form alone: whoever looks at it takes it for a claim.
pub fn arp_claim_to(to: Mac, mac: Mac, vip: Ipv4Addr) -> Vec<u8> {
    arp(to, mac, ARP_REQUEST, vip, (Mac([0; 6]), vip))
}

/// The advertisement of [`unsolicited_advertisement`] in a frame to one station.
pub fn advertisement_to(to: Mac, mac: Mac, vip: Ipv6Addr) -> Vec<u8> {
    let mut frame = unsolicited_advertisement(mac, vip);
    frame[..6].copy_from_slice(&to.0);
    frame
}

/// Asks who has the VIP without saying who asks, by broadcast or by a frame to one station: no cache learns from it, and
/// routers that answer for others do not answer it.
pub fn arp_probe(mac: Mac, vip: Ipv4Addr, to: Option<Mac>) -> Vec<u8> {
    let nobody = Ipv4Addr::UNSPECIFIED;
    let target = (Mac([0; 6]), vip);
    arp(to.unwrap_or(BROADCAST), mac, ARP_REQUEST, nobody, target)
}

/// The same for IPv6: the solicitation of duplicate address detection, without any option. Its answer goes to all nodes.
pub fn duplicate_probe(mac: Mac, vip: Ipv6Addr, to: Option<Mac>) -> Vec<u8> {
    let [.., a, b, c] = vip.octets();
    let group_mac = Mac([0x33, 0x33, 0xff, a, b, c]);
    let icmp = icmpv6_head([135, 0], 0, vip);
    let nobody = Ipv6Addr::UNSPECIFIED;
    ipv6(
        to.unwrap_or(group_mac),
        mac,
        nobody,
        solicited_node(vip),
        icmp,
    )
}

/// The group that stations with an address listen to (RFC 4291 §2.7.1): ff02::1:ff and its last 24 bits.
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (a & 0xff), b)
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
    let mut message = icmpv6_head(kind, flags, target);
    message.extend(option);
    message.extend(mac.0);
    message
}

fn icmpv6_head(kind: [u8; 2], flags: u32, target: Ipv6Addr) -> Vec<u8> {
    let mut message = kind.to_vec();
    message.extend([0, 0]);
    message.extend(flags.to_be_bytes());
    message.extend(target.octets());
    message
}

fn ipv6(to: Mac, from: Mac, source: Ipv6Addr, destination: Ipv6Addr, mut icmp: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(source, destination, &icmp);
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = ethernet(to, from, 0x86dd);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(
        u16::try_from(icmp.len())
            .expect("at most 32 bytes")
            .to_be_bytes(),
    );
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

/// RFC 4443 §2.3: over the pseudo-header and a message of even length, 65,534 bytes at most, whose checksum field is zero. Of a
/// message with its checksum in place the result is zero.
pub(crate) fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u16::try_from(message.len()).expect("a frame's message is short");
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
pub(crate) const ICMPV6: u8 = 58;
const OVERRIDE: u32 = 1 << 29;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
pub(crate) const TARGET_LINK_LAYER_ADDRESS: u8 = 2;

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

    #[test]
    fn rfc5227_2_1_1_a_probe_says_not_who_asks() {
        let vip = Ipv4Addr::new(192, 0, 2, 10);
        let rest = "02000000000108060001080006040001020000000001\
            00000000000000000000c000020a";
        assert_eq!(
            hex(&arp_probe(MAC, vip, None)),
            format!("ffffffffffff{rest}")
        );
        assert_eq!(
            hex(&arp_probe(MAC, vip, Some(CLIENT))),
            format!("020000000009{rest}")
        );
    }

    #[test]
    fn rfc4862_5_4_2_a_probe_is_from_nobody_to_the_group_and_has_no_option() {
        let vip: Ipv6Addr = "2001:db8::12:3456".parse().unwrap();
        let frame = duplicate_probe(MAC, vip, None);
        assert_eq!(frame.len(), 78);
        assert_eq!(hex(&frame[..14]), "3333ff12345602000000000186dd");
        assert_eq!(hex(&frame[14..22]), "6000000000183aff");
        assert_eq!(frame[22..38], [0; 16]);
        assert_eq!(hex(&frame[38..54]), "ff0200000000000000000001ff123456");
        assert_eq!(frame[54..56], [135, 0]);
        assert_eq!(frame[62..78], vip.octets());
        assert!(checks_out(&frame));
        let to_one = duplicate_probe(MAC, vip, Some(CLIENT));
        assert_eq!(to_one[..6], CLIENT.0);
        assert_eq!(to_one[6..], frame[6..], "only the frame is to one station");
    }

    #[test]
    fn l5_4_a_claim_to_one_station_is_the_broadcast_one_but_for_its_destination() {
        let vip = Ipv4Addr::new(192, 0, 2, 10);
        let claim = arp_claim_to(CLIENT, MAC, vip);
        assert_eq!(claim[..6], CLIENT.0);
        assert_eq!(claim[6..], gratuitous_arp(MAC, vip)[0][6..]);
        let vip = "2001:db8::10".parse().unwrap();
        let claim = advertisement_to(CLIENT, MAC, vip);
        assert_eq!(claim[..6], CLIENT.0);
        assert_eq!(claim[6..], unsolicited_advertisement(MAC, vip)[6..]);
    }

    #[test]
    fn rfc4291_2_7_1_the_group_has_the_last_24_bits() {
        let address = "2001:db8::1234:5678:9abc".parse().unwrap();
        assert_eq!(solicited_node(address).to_string(), "ff02::1:ff78:9abc");
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
