//! A BGP peer of the bench's own: takes a connection, says OPEN when it is told to, and counts and times what it is told until all is there.
//!
//! It reads as fast as bytes come and keeps nothing, so that what is timed is who sends. The hold time is none, or longer
//! than any bench, so that neither side needs a KEEPALIVE.

use super::place::{self, PEERS_MAX, number_of};
use anyhow::{Context, Result, bail, ensure};
use speaker_proto::bgp::wire::{self, Context as Agreed, Kind, NextHop, Path, Reader};
use speaker_proto::bgp::{
    self, Attributes, Capabilities, GracefulRestart, Message, Open, Prefix, RouterId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use xtask::lab::net::Netns;

/// Where a peer waits to be dialled.
pub(super) struct Listening(TcpListener);

/// A connection on which nothing was said yet, or a session.
pub(super) struct Session {
    stream: TcpStream,
    reader: Reader,
    agreed: Agreed,
    family: bgp::Family,
}

/// What a session was told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// From our OPEN to the last route.
    pub(super) took: Duration,
    /// Routes in the fullest message.
    pub(super) fullest: u32,
    /// Messages with routes.
    pub(super) messages: u32,
}

/// A route that came or went, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Change {
    pub(super) route: usize,
    pub(super) is_there: bool,
}

/// Listens at these addresses of a namespace.
pub(super) fn listen(namespace: &Netns, addresses: &[IpAddr]) -> Result<Vec<Listening>> {
    namespace.enter(|| {
        addresses
            .iter()
            .map(|address| {
                let at = SocketAddr::new(*address, PORT);
                let listener =
                    TcpListener::bind(at).with_context(|| format!("failed to listen at {at}"))?;
                listener.set_nonblocking(true)?;
                Ok(Listening(listener))
            })
            .collect()
    })?
}

impl Listening {
    /// A connection that is there already.
    pub(super) fn glance(&self) -> Result<Option<Session>> {
        match self.0.accept() {
            Ok((stream, from)) => Session::new(stream, from.ip()).map(Some),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("failed to take a connection"),
        }
    }

    /// Waits to be dialled. `check` fails when the other side has ended.
    pub(super) fn accept(&self, mut check: impl FnMut() -> Result<()>) -> Result<Session> {
        let start = Instant::now();
        loop {
            if let Some(session) = self.glance()? {
                return Ok(session);
            }
            check()?;
            ensure!(
                start.elapsed() < DIALLED_MAX,
                "nobody has dialled within 2 minutes"
            );
            std::thread::sleep(POLL);
        }
    }
}

impl Session {
    fn new(stream: TcpStream, from: IpAddr) -> Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENT_MAX))?;
        let family = bgp::Family::of(from);
        Ok(Self {
            stream,
            reader: Reader::new(),
            agreed: Agreed {
                has_four_byte_as: true,
                is_ebgp: true,
                families: BTreeSet::from([family]),
            },
            family,
        })
    }

    /// Says OPEN, and KEEPALIVE before it was asked for: who is slow to answer is not waited for.
    pub(super) fn open(&mut self, hold_seconds: u16) -> Result<()> {
        self.open_as(ASN, hold_seconds)
    }

    /// The same, of another AS.
    pub(super) fn open_as(&mut self, asn: u32, hold_seconds: u16) -> Result<()> {
        // GoBGP tells nobody what it has from who has the same identifier.
        let router_id = RouterId::new(Ipv4Addr::from_bits(asn)).context("no AS is zero")?;
        let open = Open {
            asn,
            hold_seconds,
            router_id,
            capabilities: Capabilities {
                families: BTreeSet::from([self.family]),
                has_route_refresh: true,
                has_four_byte_as: true,
                // FRR says End-of-RIB to peers only that have this.
                graceful_restart: Some(GracefulRestart {
                    families: BTreeMap::from([(self.family, false)]),
                    ..GracefulRestart::default()
                }),
                ..Capabilities::default()
            },
        };
        let mut bytes = Vec::new();
        wire::open(&mut bytes, &open);
        wire::keepalive(&mut bytes);
        self.stream.write_all(&bytes).context("failed to say OPEN")
    }

    /// Reads until so many routes were announced since [`Session::open`], which was at `opened`.
    pub(super) fn collect(&mut self, routes: usize, opened: Instant) -> Result<Told> {
        let (mut told, mut announced) = (Told::default(), 0);
        let mut buffer = vec![0; BUFFER_BYTES];
        while announced < routes {
            let count = self.read(&mut buffer)?;
            let mut bytes = &buffer[..count];
            while let Some(frame) = self.reader.take(&mut bytes).map_err(refused)? {
                let message = wire::decode(frame, &self.agreed).map_err(refused)?;
                match message {
                    Message::Update(update) => {
                        let here: u32 = update.announced.iter().sum();
                        told.fullest = told.fullest.max(here);
                        told.messages += u32::from(here > 0);
                        announced += here as usize;
                    }
                    Message::Notification(said) => bail!("the session ended with {said:?}"),
                    Message::Open(_) | Message::Keepalive | Message::RouteRefresh(_) => (),
                }
            }
        }
        told.took = opened.elapsed();
        Ok(told)
    }

    /// Announces the first routes, as one of [`FEED_ASN`], and reads nothing.
    pub(super) fn announce(
        &mut self,
        routes: usize,
        family: place::Family,
        next_hop: IpAddr,
    ) -> Result<()> {
        let path = Path {
            asn: FEED_ASN,
            is_ebgp: true,
            has_four_byte_as: true,
            next_hop: match next_hop {
                IpAddr::V4(ip) => NextHop::V4(ip),
                IpAddr::V6(address) => NextHop::V6 {
                    address,
                    link_local: None,
                },
            },
        };
        let prefixes = (0..routes).map(|number| place::route(number, family));
        let mut prefixes = prefixes.map(|ip| Prefix::of(ip, 128)).peekable();
        let (attributes, mut bytes) = (Attributes::default(), Vec::new());
        while wire::announce(&mut bytes, &path, &attributes, &mut prefixes) > 0 {}
        self.stream.write_all(&bytes).context("failed to announce")
    }

    /// Reads once, and gives each IPv4 route that came or went.
    pub(super) fn changes(&mut self, mut each: impl FnMut(Change)) -> Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let count = self.read(&mut buffer)?;
        let mut bytes = &buffer[..count];
        while let Some(frame) = self.reader.take(&mut bytes).map_err(refused)? {
            match frame.kind() {
                Kind::Update => changes_of(frame.body(), &mut each)
                    .context("an UPDATE that this bench cannot read")?,
                Kind::Notification => bail!("the session ended: {:?}", frame.body()),
                Kind::Open | Kind::Keepalive | Kind::RouteRefresh => (),
            }
        }
        Ok(())
    }

    /// How long a read may wait.
    pub(super) fn patience(&mut self, most: Duration) -> Result<()> {
        let set = self.stream.set_read_timeout(Some(most));
        set.context("failed to set a time limit")
    }

    /// Whether it is still up, after what came or the time that a read may wait.
    pub(super) fn is_open(&mut self) -> bool {
        match self.hear() {
            Ok(is_over) => !is_over,
            Err(error) => {
                let error = error.downcast_ref::<std::io::Error>();
                error.is_some_and(|error| error.kind() == ErrorKind::WouldBlock)
            }
        }
    }

    /// Waits until the other side ends the session; when that was.
    pub(super) fn ended(&mut self) -> Result<Instant> {
        self.patience(SILENT_MAX)?;
        while !self.hear().context("the session does not end")? {}
        Ok(Instant::now())
    }

    /// Reads once: whether that was the end.
    fn hear(&mut self) -> Result<bool> {
        let mut buffer = [0; 4096];
        let count = match self.stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error.into()),
        };
        let mut bytes = &buffer[..count];
        let mut is_over = count == 0;
        while let Some(frame) = self.reader.take(&mut bytes).map_err(refused)? {
            is_over |= frame.kind() == Kind::Notification;
        }
        Ok(is_over)
    }

    /// The same session for another thread, to end it.
    pub(super) fn handle(&self) -> Result<TcpStream> {
        self.stream
            .try_clone()
            .context("failed to copy a descriptor")
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.stream.read(buffer);
        let count = read.context("nothing came for a minute, or the connection broke")?;
        ensure!(count > 0, "the connection was closed");
        Ok(count)
    }
}

fn refused(error: bgp::Notification) -> anyhow::Error {
    anyhow::anyhow!("the bench's peer would answer with {error:?}")
}

/// The classic fields of an UPDATE: withdrawn prefixes and announced ones (RFC 4271 §4.3). All are whole addresses here.
fn changes_of(body: &[u8], each: &mut impl FnMut(Change)) -> Option<()> {
    let (withdrawn, rest) = behind_length(body)?;
    let (_, announced) = behind_length(rest)?;
    for (list, is_there) in [(withdrawn, false), (announced, true)] {
        for prefix in list.chunks(5) {
            let [32, a, b, c, d] = *prefix else {
                return None;
            };
            if let Some(route) = number_of(Ipv4Addr::new(a, b, c, d)) {
                each(Change { route, is_there });
            }
        }
    }
    Some(())
}

fn behind_length(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

/// The AS number of the bench's peers.
pub(super) const ASN: u32 = 64513;
/// That of who feeds a sender: none passes on to an AS what it has from there.
pub(super) const FEED_ASN: u32 = 64514;
/// That of all senders.
pub(super) const SENDER_ASN: u32 = 64512;
const PORT: u16 = 179;
const BUFFER_BYTES: usize = 1 << 18;
const POLL: Duration = Duration::from_millis(1);
/// GoBGP and BIRD take some seconds between attempts, FRR up to a minute after a while.
const DIALLED_MAX: Duration = Duration::from_secs(120);
const SILENT_MAX: Duration = Duration::from_secs(60);
const _: () = assert!(PEERS_MAX < 200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_an_update_are_found_by_number() {
        let body = [
            0, 5, 32, 100, 64, 0, 1, 0, 3, 0x40, 1, 0, 32, 100, 64, 1, 0, 32, 10, 0, 0, 1,
        ];
        let mut seen = Vec::new();
        assert_eq!(changes_of(&body, &mut |change| seen.push(change)), Some(()));
        let change = |route, is_there| Change { route, is_there };
        assert_eq!(seen, [change(0, false), change(255, true)]);
        assert_eq!(changes_of(&body[..9], &mut |_| ()), None);
    }
}
