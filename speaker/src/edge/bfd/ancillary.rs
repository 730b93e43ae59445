//! What the kernel tells beside a datagram: its TTL, the address that it was sent to and the link that it came over.
//!
//! Control messages as `recvmsg(2)` lays them out: a header of length, level and type, the value, and padding to the size of a word.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// As far as it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Beside {
    pub(super) ttl: Option<u8>,
    pub(super) to: Option<IpAddr>,
    pub(super) ifindex: Option<u32>,
}

impl Beside {
    /// Reads control messages. What is cut off or of another kind is passed over.
    pub(super) fn read(mut control: &[u8]) -> Self {
        let mut beside = Self::default();
        while let Some((header, after)) = control.split_first_chunk::<HEADER>() {
            let [length, tail @ ..] = words(header);
            let Some(value) = length.checked_sub(HEADER).and_then(|n| after.get(..n)) else {
                break;
            };
            beside.take(tail, value);
            let padded = value.len().next_multiple_of(size_of::<usize>());
            control = after.get(padded..).unwrap_or(&[]);
        }
        beside
    }

    fn take(&mut self, [level, kind]: [usize; 2], value: &[u8]) {
        let number = |at: usize| {
            let bytes = value.get(at..)?.first_chunk::<4>()?;
            Some(u32::from_ne_bytes(*bytes))
        };
        match (level as libc::c_int, kind as libc::c_int) {
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                self.ttl = number(0).and_then(|ttl| u8::try_from(ttl).ok());
            }
            // struct in_pktinfo: the link, the local address, and the one that the packet was sent to.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                self.ifindex = number(0);
                let to = value.get(8..).and_then(|rest| rest.first_chunk::<4>());
                self.to = to.map(|octets| Ipv4Addr::from(*octets).into());
            }
            // struct in6_pktinfo: the address that the packet was sent to, and the link.
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let to = value.first_chunk::<16>();
                self.to = to.map(|octets| Ipv6Addr::from(*octets).into());
                self.ifindex = number(16);
            }
            _ => {}
        }
    }
}

/// Length, level and type.
fn words(header: &[u8; HEADER]) -> [usize; 3] {
    const WORD: usize = size_of::<usize>();
    let (length, rest) = header.split_at(WORD);
    let (level, kind) = rest.split_at(4);
    let length = length
        .first_chunk()
        .map_or(0, |bytes| usize::from_ne_bytes(*bytes));
    let four = |bytes: &[u8]| {
        bytes
            .first_chunk()
            .map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    };
    [length, four(level) as usize, four(kind) as usize]
}

const HEADER: usize = size_of::<usize>() + 2 * size_of::<libc::c_int>();
/// Room for a TTL and for where a packet was sent to, of either family.
pub(super) const CONTROL_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(level: i32, kind: i32, value: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER + value.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
        bytes
    }

    #[test]
    fn both_families_are_read() {
        let mut control = message(0, libc::IP_TTL, &255u32.to_ne_bytes());
        let mut packet = 7u32.to_ne_bytes().to_vec();
        packet.extend([10, 0, 0, 9, 192, 0, 2, 1]);
        control.extend(message(0, libc::IP_PKTINFO, &packet));
        let expected = Beside {
            ttl: Some(255),
            to: Some([192, 0, 2, 1].into()),
            ifindex: Some(7),
        };
        assert_eq!(Beside::read(&control), expected);

        let to = Ipv6Addr::LOCALHOST;
        let mut packet = to.octets().to_vec();
        packet.extend(9u32.to_ne_bytes());
        let mut control = message(41, libc::IPV6_PKTINFO, &packet);
        control.extend(message(41, libc::IPV6_HOPLIMIT, &1u32.to_ne_bytes()));
        let expected = Beside {
            ttl: Some(1),
            to: Some(to.into()),
            ifindex: Some(9),
        };
        assert_eq!(Beside::read(&control), expected);
    }

    #[test]
    fn nonsense_is_passed_over() {
        let whole = message(0, libc::IP_TTL, &64u32.to_ne_bytes());
        for length in 0..HEADER + 4 {
            assert_eq!(Beside::read(&whole[..length]), Beside::default());
        }
        let mut after = message(1, 1, &[1, 2, 3]);
        after.extend(&whole);
        assert_eq!(Beside::read(&after).ttl, Some(64));
        let too_short = 3usize.to_ne_bytes();
        let mut lying = whole.clone();
        lying[..size_of::<usize>()].copy_from_slice(&too_short);
        assert_eq!(Beside::read(&lying), Beside::default());
    }
}
