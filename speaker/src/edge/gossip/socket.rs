//! UDP sockets of both families on one port, never blocking.
//!
//! Each family has its own socket, so that a node that lacks one family does with the other, and no IPv4 address ever looks like
//! an IPv6 one. Knows nothing of what datagrams say.

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

/// Where datagrams come in and go out.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// IPv6 first.
    sockets: Vec<UdpSocket>,
    /// The one to read first, so that a flood of one family does not starve the other.
    first: usize,
}

impl Sockets {
    /// Binds `port` on `address`, or on every address of both families.
    ///
    /// # Errors
    /// When the port is taken, or the address is none of this node.
    pub(crate) fn open(address: Option<IpAddr>, port: u16) -> Result<Self> {
        let wanted: &[IpAddr] = match &address {
            Some(address) => std::slice::from_ref(address),
            None => &EVERYWHERE,
        };
        let mut sockets = Vec::new();
        let mut lacking = Vec::new();
        for address in wanted {
            match bind(SocketAddr::new(*address, port)) {
                Ok(socket) => sockets.push(socket),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    return Err(error).with_context(|| {
                        format!(
                            "UDP port {port} is taken by another process: a speaker of MetalLB, Docker Swarm and Serf use \
                             7946 too. Stop that one, or give --ml-bindport another port, the same on every node"
                        )
                    });
                }
                Err(error) => lacking.push((address, error)),
            }
        }
        match (sockets.is_empty(), lacking.pop()) {
            (true, Some((address, error))) => Err(error).with_context(|| {
                format!("failed to listen on {address}, UDP port {port} (--ml-bindaddr)")
            }),
            (true, None) => bail!("no address to listen on"),
            // A kernel without one family.
            (false, _) => Ok(Self { sockets, first: 0 }),
        }
    }

    /// The next datagram's length in `buffer`, and where it came from; `None`: there is none.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        for _ in 0..self.sockets.len() {
            let socket = &self.sockets[self.first];
            self.first = (self.first + 1) % self.sockets.len();
            // A failure other than "nothing there" is that of an earlier sending, and is over with being told.
            if let Ok((length, from)) = socket.recv_from(buffer) {
                // Without flow and scope, so that one address is always one value.
                return Some((length, SocketAddr::new(from.ip(), from.port())));
            }
        }
        None
    }

    /// Sends it now or not at all.
    ///
    /// # Errors
    /// When the network stack does not take it.
    pub(crate) fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let of_family = |socket: &&UdpSocket| {
            socket
                .local_addr()
                .is_ok_and(|own| own.is_ipv4() == to.is_ipv4())
        };
        let Some(socket) = self.sockets.iter().find(of_family) else {
            return Err(ErrorKind::AddrNotAvailable.into());
        };
        socket.send_to(datagram, to).map(drop)
    }

    /// What to wait for.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    #[cfg(test)]
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.sockets.iter().map(|socket| socket.local_addr());
        addresses.map(Result::unwrap).collect()
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM.nonblocking(),
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Of a start while many speak at once; the kernel gives what it allows.
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

const EVERYWHERE: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
];
/// Room for a second of a thousand speakers that all start.
const RECEIVE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    fn wait(sockets: &Sockets) {
        let mut fds: Vec<PollFd<'_>> = sockets
            .descriptors()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        poll(&mut fds, None).unwrap();
    }

    #[test]
    fn both_families_are_heard_on_one_port() {
        let mut far = Sockets::open(None, 0).unwrap();
        let near = Sockets::open(None, 0).unwrap();
        assert_eq!(far.addresses().len(), 2, "this machine has both families");
        for own in far.addresses() {
            let loopback: IpAddr = match own {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            near.send(SocketAddr::new(loopback, own.port()), b"hello")
                .unwrap();
            wait(&far);
            let mut buffer = [0; 16];
            let (length, from) = far.receive(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from.ip()), (&b"hello"[..], loopback));
            assert_eq!(far.receive(&mut buffer), None, "it never waits");
        }
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let first = Sockets::open(Some(Ipv4Addr::LOCALHOST.into()), 0).unwrap();
        let port = first.addresses()[0].port();
        let error = Sockets::open(Some(Ipv4Addr::LOCALHOST.into()), port).unwrap_err();
        let why = format!("{error:#}");
        assert!(why.contains(&format!("UDP port {port} is taken")), "{why}");
        assert!(why.contains("--ml-bindport"), "{why}");
    }

    #[test]
    fn an_address_of_another_node_is_named() {
        let error = Sockets::open(Some([192, 0, 2, 1].into()), 0).unwrap_err();
        let why = format!("{error:#}");
        assert!(
            why.contains("192.0.2.1") && why.contains("--ml-bindaddr"),
            "{why}"
        );
    }

    #[test]
    fn what_no_family_can_carry_is_refused_at_once() {
        let only_v4 = Sockets::open(Some(Ipv4Addr::LOCALHOST.into()), 0).unwrap();
        let to = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 9);
        assert_eq!(
            only_v4.send(to, b"x").unwrap_err().kind(),
            ErrorKind::AddrNotAvailable
        );
    }
}
