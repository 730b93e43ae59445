//! The frames of the watch: questions for a VIP, and what an answer's frame says. RFC 826, RFC 4861 §4.3 and §4.4.
//!
//! Written again rather than taken from the speaker, so that the watch shares no mistake with what it watches.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A hardware address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mac(pub(super) [u8; 6]);

impl Mac {
    /// Read as `ip link` writes it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = text.split(':').map(|part| u8::from_str_radix(part, 16));
        let mut mac = [0; 6];
        for byte in &mut mac {
            *byte = bytes.next()?.ok()?;
        }
        bytes.next().is_none().then_some(Self(mac))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) mac: Mac,
    pub(super) v4: Ipv4Addr,
    pub(super) v6: Ipv6Addr,
}

/// Asks everybody who has the address: who-has, or a neighbour solicitation.
pub(super) fn question(asker: Asker, vip: IpAddr) -> Vec<u8> {
    match vip {
        IpAddr::V4(vip) => arp(
            Mac::EVERYBODY,
            ARP_REQUEST,
            (asker.mac, asker.v4),
            (Mac([0; 6]), vip),
        ),
        IpAddr::V6(vip) => {
            let [.., a, b, c] = vip.octets();
            let to = Mac([0x33, 0x33, 0xff, a, b, c]);
            let group = Ipv6Addr::new(
                0xff02,
                0,
                0,
                0,
                0,
                1,
                0xff00 | u16::from(a),
                u16::from_be_bytes([b, c]),
            );
            neighbour(asker.mac, to, (asker.v6, group), SOLICITATION, 0, vip)
        }
    }
}

/// Claims the address before everybody, as its holder would after taking it.
pub(super) fn claim(mac: Mac, vip: IpAddr) -> Vec<u8> {
    match vip {
        IpAddr::V4(vip) => arp(Mac::EVERYBODY, ARP_REPLY, (mac, vip), (Mac::EVERYBODY, vip)),
        IpAddr::V6(vip) => {
            let to = Mac([0x33, 0x33, 0, 0, 0, 1]);
            let everybody = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            neighbour(mac, to, (vip, everybody), ADVERTISEMENT, OVERRIDE, vip)
        }
    }
}

/// The same towards one station alone.
pub(super) fn claim_to(station: Mac, mac: Mac, vip: IpAddr) -> Vec<u8> {
    let mut frame = claim(mac, vip);
    frame[..6].copy_from_slice(&station.0);
    frame
}

/// What an answer says: the address, and where it is. None for a frame that is no answer.
pub(super) fn answer(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    match frame.get(12..14)? {
        [0x08, 0x06] => {
            let is_reply = frame.get(20..22)? == [0, ARP_REPLY];
            let mac = Mac(frame.get(22..28)?.try_into().ok()?);
            let ip: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
            is_reply.then_some((IpAddr::from(ip), mac))
        }
        [0x86, 0xdd] => {
            let is_answer = *frame.get(20)? == ICMPV6 && *frame.get(54)? == ADVERTISEMENT;
            let ip: [u8; 16] = frame.get(62..78)?.try_into().ok()?;
            let has_mac = frame.get(78..80)? == [TARGET_ADDRESS, 1];
            let mac = Mac(frame.get(80..86)?.try_into().ok()?);
            (is_answer && has_mac).then_some((IpAddr::from(ip), mac))
        }
        _ => None,
    }
}

fn arp(to: Mac, operation: u8, from: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend(to.0);
    frame.extend(from.0.0);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, operation]);
    for (mac, ip) in [from, target] {
        frame.extend(mac.0);
        frame.extend(ip.octets());
    }
    frame
}

fn neighbour(
    mac: Mac,
    to: Mac,
    (source, destination): (Ipv6Addr, Ipv6Addr),
    kind: u8,
    flags: u8,
    target: Ipv6Addr,
) -> Vec<u8> {
    let option = if kind == SOLICITATION {
        SOURCE_ADDRESS
    } else {
        TARGET_ADDRESS
    };
    let mut body = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    body.extend(target.octets());
    body.extend([option, 1]);
    body.extend(mac.0);
    let sum = checksum(source, destination, &body).to_be_bytes();
    body[2..4].copy_from_slice(&sum);

    let mut frame = Vec::with_capacity(54 + body.len());
    frame.extend(to.0);
    frame.extend(mac.0);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, BODY_BYTES, ICMPV6, 255]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(body);
    frame
}

/// RFC 4443 §2.3, over the pseudo-header of RFC 8200 §8.1.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, body: &[u8]) -> u16 {
    let mut bytes = Vec::with_capacity(40 + body.len());
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    bytes.extend([0, 0, 0, BODY_BYTES, 0, 0, 0, ICMPV6]);
    bytes.extend(body);
    let words = bytes.chunks(2);
    let mut sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded until it fits")
}

impl Mac {
    const EVERYBODY: Self = Self([0xff; 6]);
}

const ARP_REQUEST: u8 = 1;
const ARP_REPLY: u8 = 2;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_ADDRESS: u8 = 1;
const TARGET_ADDRESS: u8 = 2;
const OVERRIDE: u8 = 0x20;
/// Eight bytes of header, the target, one option.
const BODY_BYTES: u8 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Asker = Asker {
        mac: Mac([2, 0, 0, 0, 0, 1]),
        v4: Ipv4Addr::new(192, 0, 2, 2),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("the tests write addresses")
    }

    #[test]
    fn a_claim_is_read_as_the_answer_that_it_is_in_both_families() {
        let mac = Mac([2, 0, 0, 0, 0, 7]);
        for vip in [ip("192.0.2.100"), ip("2001:db8::100")] {
            assert_eq!(answer(&claim(mac, vip)), Some((vip, mac)));
        }
    }

    #[test]
    fn a_claim_to_one_station_differs_in_whom_its_frame_is_for_alone() {
        let (station, mac) = (Mac([2, 0, 0, 0, 0, 8]), Mac([2, 0, 0, 0, 0, 7]));
        let vip = ip("2001:db8::100");
        let [one, all] = [claim_to(station, mac, vip), claim(mac, vip)];
        assert_eq!(
            (one[..6].to_vec(), &one[6..]),
            (station.0.to_vec(), &all[6..])
        );
    }

    #[test]
    fn a_question_is_no_answer() {
        for vip in [ip("192.0.2.100"), ip("2001:db8::100")] {
            assert_eq!(answer(&question(ASKER, vip)), None);
        }
    }

    #[test]
    fn a_frame_cut_short_is_no_answer() {
        let frame = claim(ASKER.mac, ip("2001:db8::100"));
        assert!((0..frame.len()).all(|end| answer(&frame[..end]).is_none()));
    }

    #[test]
    fn a_solicitation_goes_to_the_group_of_the_vip_with_a_sum_that_is_right() {
        let frame = question(ASKER, ip("2001:db8::1:2:3"));
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 2, 0, 3]);
        assert_eq!(frame[38..54][11..], [1, 0xff, 2, 0, 3]);
        let (source, destination) = (
            <[u8; 16]>::try_from(&frame[22..38]).expect("16 bytes"),
            <[u8; 16]>::try_from(&frame[38..54]).expect("16 bytes"),
        );
        assert_eq!(checksum(source.into(), destination.into(), &frame[54..]), 0);
    }

    #[test]
    fn a_hardware_address_is_read_as_it_is_written() {
        let mac = Mac::parse("02:00:5e:10:00:ff").expect("it is one");
        assert_eq!(mac.to_string(), "02:00:5e:10:00:ff");
        assert!(Mac::parse("02:00:5e:10:00").is_none());
        assert!(Mac::parse("02:00:5e:10:00:ff:01").is_none());
    }
}
