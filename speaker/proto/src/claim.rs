//! What a frame says of where a VIP is, if it is one that says so.
//!
//! ARP replies, gratuitous ARP in both forms, and neighbour advertisements, checked as the kernel program checks them, so that
//! both take the same frames for claims. Knows nothing of which VIPs are ours or whose the hardware is. RFC 826, RFC 5227 §3,
//! RFC 4861 §7.1.2.

use crate::neighbour::{ICMPV6, TARGET_LINK_LAYER_ADDRESS, checksum};
use crate::{Mac, Vip};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The address that a whole Ethernet frame claims, and the hardware address that it claims it for; `None` if it is no claim, or
/// not as its RFC wants it.
pub fn read(frame: &[u8]) -> Option<(Vip, Mac)> {
    let source = Mac(bytes(frame, 6)?);
    if is_group(source) {
        return None;
    }
    let (vip, mac) = match bytes(frame, 12)? {
        [0x08, 0x06] => arp(frame)?,
        [0x86, 0xdd] => advertisement(frame, source)?,
        _ => return None,
    };
    (mac != Mac([0; 6]) && !is_group(mac)).then_some((vip, mac))
}

fn arp(frame: &[u8]) -> Option<(Vip, Mac)> {
    let sender = Ipv4Addr::from(bytes::<4>(frame, SENDER_AT)?);
    let target = Ipv4Addr::from(bytes::<4>(frame, TARGET_AT)?);
    let is_claim = match bytes(frame, ETHERNET_BYTES)? {
        REPLY => true,
        REQUEST => sender == target,
        _ => false,
    };
    (is_claim && !sender.is_unspecified()).then_some(())?;
    let mac = Mac(bytes(frame, SENDER_AT - 6)?);
    Some((Vip(sender.into()), mac))
}

fn advertisement(frame: &[u8], source: Mac) -> Option<(Vip, Mac)> {
    let [version, _, _, _, a, b, next_header, hop_limit] = bytes(frame, ETHERNET_BYTES)?;
    let payload_bytes = usize::from(u16::from_be_bytes([a, b]));
    let from = Ipv6Addr::from(bytes::<16>(frame, ETHERNET_BYTES + 8)?);
    let to = Ipv6Addr::from(bytes::<16>(frame, ETHERNET_BYTES + 24)?);
    // Every option is a multiple of eight bytes long, and so is the head.
    let is_neighbour = version >> 4 == 6 && next_header == ICMPV6 && hop_limit == 255;
    if !is_neighbour || !payload_bytes.is_multiple_of(8) {
        return None;
    }
    let message = frame.get(IPV6_END..)?.get(..payload_bytes)?;
    let [kind, code, _, _, flags, ..] = bytes::<8>(message, 0)?;
    let target = Ipv6Addr::from(bytes::<16>(message, 8)?);
    let is_sound = (kind, code) == (ADVERTISEMENT, 0)
        && !target.is_multicast()
        && !(to.is_multicast() && flags & SOLICITED != 0)
        && checksum(from, to, message) == 0;
    is_sound.then_some(())?;
    let mac = target_link(message.get(24..)?)?.unwrap_or(source);
    Some((Vip(target.into()), mac))
}

/// The first target link-layer address among options; the outer `None`: they are malformed.
fn target_link(mut options: &[u8]) -> Option<Option<Mac>> {
    let mut found = None;
    while let [kind, words, ..] = *options {
        let rest = options.get(usize::from(words) * 8..)?;
        if words == 0 || (kind == TARGET_LINK_LAYER_ADDRESS && words != 1) {
            return None;
        }
        if kind == TARGET_LINK_LAYER_ADDRESS {
            found = found.or(Some(Mac(bytes(options, 2)?)));
        }
        options = rest;
    }
    Some(found)
}

const fn is_group(mac: Mac) -> bool {
    mac.0[0] & 1 == 1
}

fn bytes<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..)?.first_chunk().copied()
}

const ETHERNET_BYTES: usize = 14;
const IPV6_END: usize = ETHERNET_BYTES + 40;
/// The sender's IPv4 address in an ARP frame, after its hardware address.
const SENDER_AT: usize = ETHERNET_BYTES + 14;
const TARGET_AT: usize = SENDER_AT + 10;
/// Ethernet, IPv4, their lengths, operation.
const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
const REPLY: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 2];
const ADVERTISEMENT: u8 = 136;
const SOLICITED: u8 = 0x40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbour::{
        advertisement_to, arp_claim_to, arp_probe, arp_question, duplicate_probe, gratuitous_arp,
        solicitation, unsolicited_advertisement,
    };

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
    const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);

    #[test]
    fn every_claim_that_we_send_is_one() {
        let v4 = Some((Vip(V4.into()), MAC));
        let v6 = Some((Vip(V6.into()), MAC));
        for frame in gratuitous_arp(MAC, V4) {
            assert_eq!(read(&frame), v4);
        }
        assert_eq!(read(&arp_claim_to(OTHER, MAC, V4)), v4);
        assert_eq!(read(&unsolicited_advertisement(MAC, V6)), v6);
        assert_eq!(read(&advertisement_to(OTHER, MAC, V6)), v6);
    }

    #[test]
    fn a_question_is_no_claim() {
        assert_eq!(read(&arp_probe(MAC, V4, None)), None);
        assert_eq!(
            read(&arp_question(MAC, V4, (OTHER, Ipv4Addr::LOCALHOST))),
            None
        );
        assert_eq!(read(&duplicate_probe(MAC, V6, None)), None);
        assert_eq!(read(&solicitation(MAC, V6, (OTHER, V6))), None);
    }

    #[test]
    fn rfc826_a_reply_to_a_probe_claims_what_it_was_asked_for() {
        let mut reply = arp_probe(OTHER, V4, None);
        reply[..6].copy_from_slice(&OTHER.0);
        reply[6..12].copy_from_slice(&MAC.0);
        reply[21] = 2;
        reply[22..28].copy_from_slice(&MAC.0);
        reply[28..32].copy_from_slice(&V4.octets());
        reply[38..42].copy_from_slice(&[0; 4]);
        reply.extend([0; 18]);
        assert_eq!(read(&reply), Some((Vip(V4.into()), MAC)), "padded");
        reply[22] |= 1;
        assert_eq!(read(&reply), None, "a group is no station");
    }

    #[test]
    fn rfc4861_7_1_2_an_advertisement_that_is_not_sound_claims_nothing() {
        let sound = unsolicited_advertisement(MAC, V6);
        let spoilt = |at: usize, byte: u8| {
            let mut frame = sound.clone();
            frame[at] = byte;
            read(&frame)
        };
        assert!(read(&sound).is_some());
        assert_eq!(spoilt(21, 254), None, "passed on by a router");
        assert_eq!(spoilt(20, 17), None, "another protocol");
        assert_eq!(spoilt(85, 9), None, "a checksum that does not match");
        assert_eq!(spoilt(19, 31), None, "half an option");
        assert_eq!(read(&sound[..85]), None, "cut off");
        let resummed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut frame = sound.clone();
            change(&mut frame);
            frame[56..58].fill(0);
            let sum = checksum(V6, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), &frame[54..]);
            frame[56..58].copy_from_slice(&sum.to_be_bytes());
            read(&frame)
        };
        assert_eq!(
            resummed(&|frame| frame[79] = 0),
            None,
            "an option without end"
        );
        assert_eq!(
            resummed(&|frame| frame[79] = 2),
            None,
            "an option that is cut off"
        );
        assert_eq!(
            resummed(&|frame| frame[58] |= SOLICITED),
            None,
            "solicited, to all"
        );
        assert_eq!(resummed(&|frame| frame[55] = 1), None, "another code");
        assert_eq!(
            resummed(&|frame| {
                frame[19] = 24;
                frame.truncate(78);
            }),
            Some((Vip(V6.into()), MAC)),
            "without the option the frame's source is meant"
        );
        let nonce_first = resummed(&|frame| {
            let link: Vec<u8> = frame.splice(78.., [14, 1, 0, 0, 0, 0, 0, 0]).collect();
            frame.extend(link);
            frame[19] = 40;
            frame[6..12].copy_from_slice(&OTHER.0);
        });
        assert_eq!(nonce_first, Some((Vip(V6.into()), MAC)));
    }

    #[test]
    fn no_frame_however_short_is_a_fault() {
        for frame in [
            unsolicited_advertisement(MAC, V6),
            arp_claim_to(OTHER, MAC, V4),
        ] {
            for length in 0..frame.len() {
                assert_eq!(read(&frame[..length]), None);
            }
        }
    }
}
