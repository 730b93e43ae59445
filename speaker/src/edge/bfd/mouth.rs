//! A socket that sends the packets of one BFD session: one source port for its whole life, TTL 255, CS6. Hears nothing.

use super::{PORT, PORT_MULTIHOP};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use speaker_core::LinkName;
use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Where packets go, and from where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Path<'a> {
    /// The other side.
    pub(crate) peer: IpAddr,
    /// Our address. `None`: what the routing table says.
    pub(crate) local: Option<IpAddr>,
    /// The link or VRF that they must take.
    pub(crate) device: Option<&'a LinkName>,
    /// Over several hops.
    pub(crate) is_multihop: bool,
    /// The index of the link, for link-local addresses; else 0.
    pub(crate) scope: u32,
}

/// Sends the packets of one session.
#[derive(Debug)]
pub(crate) struct Mouth {
    socket: Socket,
    to: SockAddr,
    port: u16,
}

impl Mouth {
    /// Opens a socket on the first of `ports` that is free.
    ///
    /// # Errors
    /// When the address or the device is not there, or no port is free (`AddrInUse`).
    pub(crate) fn open(path: Path<'_>, ports: impl Iterator<Item = u16>) -> io::Result<Self> {
        let domain = if path.peer.is_ipv6() {
            Domain::IPV6
        } else {
            Domain::IPV4
        };
        let socket = Socket::new(
            domain,
            Type::DGRAM.nonblocking().cloexec(),
            Some(Protocol::UDP),
        )?;
        // The other side never sends here: nothing that comes may fill memory.
        socket.attach_filter(&NOTHING)?;
        if let Some(device) = path.device {
            socket.bind_device(Some(device.0.as_bytes()))?;
        }
        if path.peer.is_ipv6() {
            socket.set_only_v6(true)?;
            socket.set_unicast_hops_v6(TTL)?;
            socket.set_tclass_v6(CS6)?;
        } else {
            socket.set_ttl_v4(TTL)?;
            socket.set_tos_v4(CS6)?;
        }
        let local = path.local.unwrap_or(match path.peer {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        });
        let port = bind(&socket, ports, |port| address(local, port, path.scope))?;
        let port_to = if path.is_multihop {
            PORT_MULTIHOP
        } else {
            PORT
        };
        let to = address(path.peer, port_to, path.scope);
        Ok(Self { socket, to, port })
    }

    /// The source port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Sends a packet now or not at all.
    ///
    /// # Errors
    /// When the network stack does not take it.
    pub(crate) fn say(&self, packet: &[u8]) -> io::Result<()> {
        self.socket.send_to(packet, &self.to).map(drop)
    }
}

fn bind(
    socket: &Socket,
    ports: impl Iterator<Item = u16>,
    address: impl Fn(u16) -> SockAddr,
) -> io::Result<u16> {
    for port in ports {
        match socket.bind(&address(port)) {
            Ok(()) => return Ok(port),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AddrInUse.into())
}

/// With the link if the address means nothing without.
fn address(ip: IpAddr, port: u16, scope: u32) -> SockAddr {
    match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            SocketAddrV6::new(ip, port, 0, scope).into()
        }
        ip => SocketAddr::new(ip, port).into(),
    }
}

/// The index of a link in the calling thread's network namespace.
///
/// # Errors
/// When there is none of that name.
pub(crate) fn ifindex(link: &LinkName) -> io::Result<u32> {
    let name = CString::new(link.0.as_bytes())?;
    // SAFETY: the name is a live string that ends with a zero.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// `return 0`: of every datagram no byte is kept.
const NOTHING: [SockFilter; 1] = [SockFilter::new(
    (libc::BPF_RET | libc::BPF_K) as u16,
    0,
    0,
    0,
)];
/// RFC 5881 §5: who takes packets over one hop takes only these.
const TTL: u32 = 255;
/// Class selector 6 (RFC 4594 §3.2), so that load does not look like loss.
const CS6: u32 = 0xc0;
