//! Connections that another process of this node has with a peer: another BGP speaker's, say. A router has one session with an address, and
//! a second connection from there ends the first, or is turned away for as long as that stands.
//!
//! The kernel lists all connections with the numbers of their sockets; which of these are ours is said by our own descriptors. In which VRF a
//! connection is, the list does not say.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whether somebody else of this node has a connection from this address to a peer, whoever of the two dialled.
///
/// # Errors
/// When the kernel's lists cannot be read.
pub(super) fn has_stranger(from: IpAddr, peer: SocketAddr) -> io::Result<bool> {
    let mut sockets = BTreeSet::new();
    for file in FILES {
        let file = match fs::File::open(file) {
            Ok(file) => file,
            // A kernel without IPv6 has one list.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file).lines() {
            sockets.extend(socket(&line?, from, peer));
        }
    }
    if sockets.is_empty() {
        return Ok(false);
    }
    for entry in fs::read_dir("/proc/self/fd")? {
        // One that was closed meanwhile is none of them.
        let Ok(link) = fs::read_link(entry?.path()) else {
            continue;
        };
        let link = link.to_string_lossy();
        let number = link.strip_prefix("socket:[");
        if let Some(number) = number.and_then(|number| number.strip_suffix(']')) {
            sockets.remove(number);
        }
    }
    Ok(!sockets.is_empty())
}

/// The number of the socket in a line of the list, if it is a connection between these two that stands, for BGP.
fn socket(line: &str, from: IpAddr, peer: SocketAddr) -> Option<String> {
    let mut words = line.split_whitespace().skip(1);
    let own = end(words.next()?)?;
    let other = end(words.next()?)?;
    let is_up = words.next()? == ESTABLISHED;
    let is_bgp = own.1 == PORT || other.1 == peer.port();
    let number = words.nth(5)?;
    (is_up && is_bgp && own.0 == from && other.0 == peer.ip()).then(|| number.to_owned())
}

/// An address and a port. The address stands in words of 32 bits as the machine reads them.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = [0; 16];
    let places = bytes.chunks_mut(4);
    let mut count = 0;
    for (at, place) in places.enumerate() {
        let Some(word) = address.get(at * 8..at * 8 + 8) else {
            break;
        };
        let word = u32::from_str_radix(word, 16).ok()?;
        place.copy_from_slice(&word.to_ne_bytes());
        count += 1;
    }
    let [a, b, c, d, ..] = bytes;
    match count {
        1 => Some((IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port)),
        // Whoever takes both families by one socket has IPv4 addresses in the list of IPv6.
        4 => Some((IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical(), port)),
        _ => None,
    }
}

/// Of the thread's own namespace, which in tests is not the process'.
const FILES: [&str; 2] = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
/// A connection that stands, in the lists.
const ESTABLISHED: &str = "01";
/// Where a speaker that listens does so.
const PORT: u16 = 179;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<&str>) {
        let peer = "192.0.2.1:179".parse().unwrap();
        let found = socket(line, "192.0.2.11".parse().unwrap(), peer);
        assert_eq!(found.as_deref(), expected, "{line}");
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_connection_of_bgp_is_found_whoever_dialled_and_by_either_list() {
        let rest = "00000000:00000000 02:000A 00000000 0 0 4711 2 0";
        check(
            &format!("0: 0B0200C0:C001 010200C0:00B3 01 {rest}"),
            Some("4711"),
        );
        check(
            &format!("1: 0B0200C0:00B3 010200C0:C001 01 {rest}"),
            Some("4711"),
        );
        let mapped = "0000000000000000FFFF0000";
        check(
            &format!("2: {mapped}0B0200C0:00B3 {mapped}010200C0:C001 01 {rest}"),
            Some("4711"),
        );
        for other in [
            "3: 0B0200C0:C001 010200C0:00B3 06",
            "4: 0C0200C0:C001 010200C0:00B3 01",
            "5: 0B0200C0:C001 020200C0:00B3 01",
            "6: 0B0200C0:C001 010200C0:01BB 01",
        ] {
            check(&format!("{other} {rest}"), None);
        }
        check(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
            None,
        );
    }
}
