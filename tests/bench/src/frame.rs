//! Frames that the benches send or test with, as bytes.

use crate::net::{CLIENT_MAC, NODE_MAC, VIP};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Senders that the generator plays: the last byte is the client's number.
pub(crate) const SENDER_IP: Ipv4Addr = Ipv4Addr::new(10, 85, 0, 0);
/// The IPv6 address that is asked for.
pub(crate) const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd85, 0, 0, 0, 0, 0, 1, 0x10);
const SENDER_IP6: Ipv6Addr = Ipv6Addr::new(0xfd85, 0, 0, 0, 0, 0, 0, 1);

/// A broadcast ARP request for [`VIP`], padded to the shortest frame of a wire (RFC 826).
pub(crate) fn arp_request() -> Vec<u8> {
    arp_request_for(VIP)
}

/// The same for any address.
pub(crate) fn arp_request_for(target: Ipv4Addr) -> Vec<u8> {
    let mut frame = ether([0xff; 6], 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(CLIENT_MAC);
    frame.extend(SENDER_IP.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame.resize(60, 0);
    frame
}

/// A multicast neighbour solicitation for [`VIP6`] with the sender's link-layer address (RFC 4861 §4.3).
pub(crate) fn solicitation() -> Vec<u8> {
    let target = VIP6.octets();
    let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    group[13..].copy_from_slice(&target[13..]);
    let mut body = vec![135, 0, 0, 0, 0, 0, 0, 0];
    body.extend(target);
    body.extend([1, 1]);
    body.extend(CLIENT_MAC);
    let sum = icmp6_checksum(SENDER_IP6.octets(), group, &body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = ether(
        [0x33, 0x33, group[12], group[13], group[14], group[15]],
        0x86dd,
    );
    frame.extend([0x60, 0, 0, 0, 0, body.len() as u8, 58, 255]);
    frame.extend(SENDER_IP6.octets());
    frame.extend(group);
    frame.extend(body);
    frame
}

/// A TCP segment without data to `target` (check sums left out: nobody looks at them here).
pub(crate) fn tcp4(target: Ipv4Addr) -> Vec<u8> {
    let mut frame = ether(NODE_MAC, 0x0800);
    frame.extend([0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(SENDER_IP.octets());
    frame.extend(target.octets());
    frame.extend([
        0x80, 1, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
    ]);
    frame.resize(60, 0);
    frame
}

/// The same of a connection that is open.
pub(crate) fn segment4(target: Ipv4Addr) -> Vec<u8> {
    let mut frame = tcp4(target);
    frame[TCP_FLAGS_AT] = 0x10;
    frame
}

/// A datagram to `target`, as long.
pub(crate) fn udp4(target: Ipv4Addr) -> Vec<u8> {
    let mut frame = tcp4(target);
    frame[PROTOCOL_AT] = 17;
    frame
}

/// A datagram to `target` that an IP stack takes: its header's sum is right, and UDP's is left out (RFC 768).
pub(crate) fn datagram4(target: Ipv4Addr) -> Vec<u8> {
    let mut frame = udp4(target);
    // 20 bytes of UDP: its header, and 12 of data.
    frame[UDP_AT + 4..UDP_AT + 8].copy_from_slice(&[0, 20, 0, 0]);
    let header = &frame[IP_AT..UDP_AT];
    let words = header.chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[IP_AT + 10..IP_AT + 12].copy_from_slice(&sum.to_be_bytes());
    frame
}

const IP_AT: usize = 14;
const UDP_AT: usize = 34;
const PROTOCOL_AT: usize = 23;
const TCP_FLAGS_AT: usize = 47;

/// A TCP segment without data over IPv6.
pub(crate) fn tcp6(target: Ipv6Addr) -> Vec<u8> {
    let mut frame = ether(NODE_MAC, 0x86dd);
    frame.extend([0x60, 0, 0, 0, 0, 20, 6, 64]);
    frame.extend(SENDER_IP6.octets());
    frame.extend(target.octets());
    frame.extend([
        0x80, 1, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
    ]);
    frame
}

fn ether(destination: [u8; 6], ethertype: u16) -> Vec<u8> {
    [&destination[..], &CLIENT_MAC, &ethertype.to_be_bytes()].concat()
}

/// RFC 4443 §2.3: over the pseudo-header and the message.
fn icmp6_checksum(source: [u8; 16], destination: [u8; 16], body: &[u8]) -> u16 {
    let length = (body.len() as u32).to_be_bytes();
    let covered = [&source[..], &destination, &length, &[0, 0, 0, 58], body].concat();
    let words = covered
        .chunks_exact(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}
