//! Dialling a peer.
//!
//! Everything that the first segment needs is set before it leaves: the VRF, the source address, the TTL, the key.

use super::key::Key;
use super::options::{change_key, require_ttl};
use super::stranger::Strangers;
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// How a peer is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Dial {
    /// Its address and port; a link-local one with the index of its link.
    pub(crate) to: SocketAddr,
    /// The address to speak from, which is one of this node.
    pub(crate) from: Option<IpAddr>,
    /// The device of the VRF to speak in.
    pub(crate) vrf: Option<String>,
    /// The password.
    pub(crate) key: Option<Key>,
    /// How far it is.
    pub(crate) reach: Reach,
    /// Whether what comes from further than this link is ignored (RFC 5082).
    pub(crate) requires_ttl_255: bool,
    /// Whether to dial even where another process of this node has a connection with the peer.
    pub(crate) dials_anyway: bool,
    /// For how long sent bytes may stay unacknowledged until the connection is taken for dead: the hold time. Zero: as the kernel has it.
    pub(crate) patience: Duration,
}

/// How far away a peer may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// On a link of this node. 255 is what GTSM wants (RFC 5082 §3), and no other peer minds.
    Link,
    /// Behind routers.
    Far,
}

/// Why there is no connection. Equal causes are equal values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DialError {
    /// The VRF's device is not there, or not yet.
    NoVrf(String),
    /// The source address is none of this node, or not yet.
    NoSource(IpAddr),
    /// The kernel was built without CONFIG_TCP_MD5SIG.
    NoMd5,
    /// Another process of this node has a connection with the peer.
    Taken,
    /// This failed, with the system's words.
    Failed(&'static str, String),
}

impl Dial {
    /// Connects. Dropping it gives up.
    ///
    /// # Errors
    /// Why it could not.
    pub(crate) async fn connect(&self, strangers: &Strangers) -> Result<TcpStream, DialError> {
        let socket = self.socket()?;
        if !self.dials_anyway && self.is_taken(strangers).await {
            return Err(DialError::Taken);
        }
        let socket = TcpSocket::from_std_stream(socket.into());
        let connected = socket.connect(self.to).await;
        connected.map_err(|error| match error.kind() {
            ErrorKind::ConnectionRefused => {
                DialError::Failed("connect", "refused: nothing listens there".to_owned())
            }
            _ => failed("connect")(error),
        })
    }

    /// Whether another process has what this would take from it. What cannot be found out is no reason not to dial.
    async fn is_taken(&self, strangers: &Strangers) -> bool {
        let from = self.from.map_or_else(|| self.own_address(), Ok);
        match from {
            Ok(from) => strangers.has(from, self.to).await,
            Err(_unknown) => false,
        }
    }

    /// The address that the kernel would speak from.
    fn own_address(&self) -> io::Result<IpAddr> {
        let kind = Type::DGRAM.cloexec();
        let socket = Socket::new(Domain::for_address(self.to), kind, Some(Protocol::UDP))?;
        if let Some(vrf) = &self.vrf {
            socket.bind_device(Some(vrf.as_bytes()))?;
        }
        socket.connect(&self.to.into())?;
        let own = socket.local_addr()?.as_socket();
        own.map(|own| own.ip())
            .ok_or_else(|| ErrorKind::AddrNotAvailable.into())
    }

    fn socket(&self) -> Result<Socket, DialError> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(self.to), kind, Some(Protocol::TCP))
            .map_err(failed("open a socket"))?;
        if let Some(vrf) = &self.vrf {
            let bound = socket.bind_device(Some(vrf.as_bytes()));
            bound.map_err(|error| match error.raw_os_error() {
                Some(libc::ENODEV) => DialError::NoVrf(vrf.clone()),
                _ => failed("enter the VRF")(error),
            })?;
        }
        self.prepare(&socket).map_err(failed("set a socket up"))?;
        if let Some(key) = &self.key {
            change_key(&socket, self.to, key).map_err(|error| match error.raw_os_error() {
                Some(libc::ENOPROTOOPT) => DialError::NoMd5,
                _ => failed("set the password")(error),
            })?;
        }
        if let Some(from) = self.from {
            let bound = socket.bind(&self.source(from).into());
            bound.map_err(|error| match error.kind() {
                ErrorKind::AddrNotAvailable => DialError::NoSource(from),
                _ => failed("speak from the source address")(error),
            })?;
        }
        Ok(socket)
    }

    pub(super) fn prepare(&self, socket: &Socket) -> io::Result<()> {
        let ttl = match self.reach {
            Reach::Link => TTL_LINK,
            Reach::Far if self.requires_ttl_255 => TTL_LINK,
            Reach::Far => TTL_FAR,
        };
        let is_v4 = self.to.is_ipv4();
        if is_v4 {
            socket.set_ttl_v4(ttl.into())?;
            socket.set_tos_v4(CLASS)?;
        } else {
            socket.set_unicast_hops_v6(ttl.into())?;
            socket.set_tclass_v6(CLASS)?;
        }
        if self.requires_ttl_255 {
            require_ttl(socket, is_v4, TTL_LINK)?;
        }
        if !self.patience.is_zero() {
            socket.set_tcp_user_timeout(Some(self.patience))?;
        }
        // Messages are given whole, and a KEEPALIVE must not wait for an answer to the one before.
        socket.set_tcp_nodelay(true)
    }

    /// A link-local source is on the link of the peer.
    fn source(&self, from: IpAddr) -> SocketAddr {
        let mut source = SocketAddr::new(from, 0);
        if let (SocketAddr::V6(source), SocketAddr::V6(to)) = (&mut source, self.to)
            && source.ip().is_unicast_link_local()
        {
            source.set_scope_id(to.scope_id());
        }
        source
    }
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> DialError {
    move |error| DialError::Failed(what, error.to_string())
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVrf(name) => write!(f, "this node has no VRF {name}"),
            Self::NoSource(ip) => write!(f, "this node has no address {ip} to speak from"),
            Self::NoMd5 => f.write_str("the kernel lacks TCP-MD5 (CONFIG_TCP_MD5SIG)"),
            Self::Taken => f.write_str(
                "another process of this node has a connection with it, which a second one would end (heliograph.io/own-bgp: \"true\" dials all the same)",
            ),
            Self::Failed(what, why) => write!(f, "failed to {what}: {why}"),
        }
    }
}

/// The most that there is.
const TTL_LINK: u8 = 255;
/// As hosts use.
const TTL_FAR: u8 = 64;
/// CS6, network control (RFC 4594 §3.1): what keeps routes alive goes before what uses them.
const CLASS: u32 = 0xc0;
