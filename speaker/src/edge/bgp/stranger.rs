//! Connections that another process of this node has with a peer: another BGP speaker's, say. A router has one session with an address, and
//! a second connection from there ends the first, or is turned away for as long as that stands.
//!
//! The kernel lists all connections with the numbers of their sockets; which of these are ours is said by our own descriptors. In which VRF a
//! connection is, the list does not say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::mem::{replace, take};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

/// Where one asks for such connections.
///
/// The lists may be long, and the kernel goes through all its connections for them, so that one look at a time, on a thread that may wait, answers all who
/// asked before it began: a table of peers that do not answer is dialled at one moment.
#[derive(Clone, Default)]
pub(crate) struct Strangers(Arc<Mutex<Asked>>);

#[derive(Default)]
struct Asked {
    waiting: Vec<Question>,
    is_looked_at: bool,
}

struct Question {
    ends: Ends,
    answer: oneshot::Sender<bool>,
}

/// From where, and the peer.
type Ends = (IpAddr, SocketAddr);

impl Strangers {
    /// Whether somebody else of this node has a connection from this address to a peer, whoever of the two dialled. What cannot be found out is
    /// none.
    pub(super) async fn has(&self, from: IpAddr, peer: SocketAddr) -> bool {
        self.ask((from, peer)).await.unwrap_or(false)
    }

    fn ask(&self, ends: Ends) -> oneshot::Receiver<bool> {
        let (answer, answered) = oneshot::channel();
        let mut asked = lock(&self.0);
        asked.waiting.push(Question { ends, answer });
        if !replace(&mut asked.is_looked_at, true) {
            let shared = Arc::clone(&self.0);
            drop(spawn_blocking(move || answer_all(&shared, strangers)));
        }
        answered
    }
}

/// Looks until nobody asks any more.
fn answer_all(
    asked: &Mutex<Asked>,
    mut look: impl FnMut(&BTreeSet<Ends>) -> io::Result<BTreeSet<Ends>>,
) {
    loop {
        let mut now = lock(asked);
        if now.waiting.is_empty() {
            now.is_looked_at = false;
            return;
        }
        let questions = take(&mut now.waiting);
        drop(now);
        let ends = questions.iter().map(|question| question.ends).collect();
        let found = look(&ends).unwrap_or_default();
        for question in questions {
            // Who has given up meanwhile does not hear it.
            let _ = question.answer.send(found.contains(&question.ends));
        }
    }
}

fn lock(asked: &Mutex<Asked>) -> MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those of these between which somebody else has a connection.
fn strangers(wanted: &BTreeSet<Ends>) -> io::Result<BTreeSet<Ends>> {
    let mut sockets = BTreeMap::new();
    for file in FILES {
        let file = match fs::File::open(file) {
            Ok(file) => file,
            // A kernel without IPv6 has one list.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file).lines() {
            sockets.extend(socket(&line?, wanted));
        }
    }
    if sockets.is_empty() {
        return Ok(BTreeSet::new());
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
    Ok(sockets.into_values().flatten().collect())
}

/// The number of the socket in a line of the list, and the ends of which it is a connection that stands, for BGP.
fn socket(line: &str, wanted: &BTreeSet<Ends>) -> Option<(String, Vec<Ends>)> {
    let mut words = line.split_whitespace().skip(1);
    let own = end(words.next()?)?;
    let other = end(words.next()?)?;
    if words.next()? != ESTABLISHED {
        return None;
    }
    let number = words.nth(5)?;
    let is_it = |(from, peer): &&Ends| {
        let is_bgp = own.1 == PORT || other.1 == peer.port();
        is_bgp && own.0 == *from && other.0 == peer.ip()
    };
    let ends: Vec<Ends> = wanted.iter().filter(is_it).copied().collect();
    (!ends.is_empty()).then(|| (number.to_owned(), ends))
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
        let ends = ends("192.0.2.1:179");
        let found = socket(line, &BTreeSet::from([ends]));
        let expected = expected.map(|number| (number.to_owned(), vec![ends]));
        assert_eq!(found, expected, "{line}");
    }

    fn ends(peer: &str) -> Ends {
        ("192.0.2.11".parse().unwrap(), peer.parse().unwrap())
    }

    #[test]
    fn one_look_answers_all_who_asked_before_and_the_next_who_asked_meanwhile() {
        let asked = Mutex::new(Asked::default());
        let ask = |peer: &str| {
            let (answer, answered) = oneshot::channel();
            let ends = ends(peer);
            lock(&asked).waiting.push(Question { ends, answer });
            answered
        };
        let peers = ["192.0.2.1:179", "192.0.2.2:179", "192.0.2.2:180"];
        let mut answers: Vec<_> = peers.iter().map(|peer| ask(peer)).collect();
        let mut looks = Vec::new();
        answer_all(&asked, |wanted| {
            if looks.is_empty() {
                answers.push(ask("192.0.2.2:179"));
            }
            looks.push(wanted.len());
            Ok(BTreeSet::from([ends("192.0.2.2:179")]))
        });
        assert_eq!(looks, [3, 1]);
        let answers = answers.iter_mut().map(|answer| answer.try_recv().unwrap());
        assert_eq!(answers.collect::<Vec<_>>(), [false, true, false, true]);
        assert!(!lock(&asked).is_looked_at);
    }

    #[test]
    fn what_cannot_be_found_out_is_none() {
        let (answer, mut answered) = oneshot::channel();
        let ends = ends("192.0.2.1:179");
        let waiting = vec![Question { ends, answer }];
        let asked = Mutex::new(Asked {
            waiting,
            is_looked_at: true,
        });
        answer_all(&asked, |_| Err(io::ErrorKind::PermissionDenied.into()));
        assert!(!answered.try_recv().unwrap());
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
