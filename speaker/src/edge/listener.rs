//! Whether a socket that somebody brings can serve a VIP, and making it able to.
//!
//! What is needed: it listens (TCP) or is bound (UDP), takes the VIP's family, and belongs to this network namespace. Its answers
//! come from the VIP, which no interface has: for that the kernel wants it to be transparent (`IP_TRANSPARENT`, which a connection
//! inherits), a privilege that the speaker has and a proxy need not. Knows nothing of what becomes of the socket then.

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{AddressFamily, SocketType, ipproto, sockopt};
use socket2::SockRef;
use speaker_core::steering::socket::{Front, Transport};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

/// Fits a socket to serve `front`, or says why it cannot.
pub(crate) fn fit(socket: BorrowedFd<'_>, front: &Front) -> Result<()> {
    let kind = sockopt::socket_type(socket).context("what was brought is no socket")?;
    let protocol = sockopt::socket_protocol(socket).context("failed to ask for its protocol")?;
    match front.transport {
        Transport::Tcp => {
            ensure!(
                kind == SocketType::STREAM && protocol == Some(ipproto::TCP),
                "it does not speak TCP"
            );
            let listens = sockopt::socket_acceptconn(socket);
            ensure!(
                listens.context("failed to ask whether it listens")?,
                "it does not listen"
            );
        }
        Transport::Udp => {
            ensure!(
                kind == SocketType::DGRAM && protocol == Some(ipproto::UDP),
                "it does not speak UDP"
            );
            let bound = SockRef::from(&socket).local_addr();
            let bound = bound.context("failed to ask for its port")?.as_socket();
            let bound = bound.map_or(0, |address| address.port());
            // A connection answers from the port that it was asked for, a datagram's socket from its own.
            ensure!(
                bound == front.port,
                "its answers would come from port {bound}"
            );
        }
    }
    let family = sockopt::socket_domain(socket).context("failed to ask for its family")?;
    match family {
        AddressFamily::INET if front.vip.0.is_ipv4() => {}
        AddressFamily::INET => bail!("it takes IPv4 only"),
        AddressFamily::INET6 if front.vip.0.is_ipv6() => {}
        AddressFamily::INET6 => {
            let is_v6_only = sockopt::ipv6_v6only(socket);
            ensure!(
                !is_v6_only.context("failed to ask for its families")?,
                "it takes IPv6 only"
            );
        }
        _ => bail!("it does not speak IP"),
    }
    ensure!(
        namespace(socket)? == own_namespace()?,
        "it belongs to another network namespace than the speaker"
    );
    let options = SockRef::from(&socket);
    if family == AddressFamily::INET6 {
        options
            .set_ip_transparent_v6(true)
            .context("failed to make it transparent")?;
    }
    // Of a socket for both families this one counts for IPv4.
    if front.vip.0.is_ipv4() {
        options
            .set_ip_transparent_v4(true)
            .context("failed to make it transparent")?;
    }
    Ok(())
}

/// What names the network namespace that a socket belongs to.
fn namespace(socket: BorrowedFd<'_>) -> Result<(u64, u64)> {
    // SAFETY: the request takes no argument and returns a descriptor of our own, or -1.
    let fd = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
    if fd < 0 {
        return Err(io::Error::last_os_error()).context("failed to see its network namespace");
    }
    // SAFETY: the kernel has just opened it for us, and nobody else knows of it.
    let namespace = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    name_of(&namespace)
}

fn own_namespace() -> Result<(u64, u64)> {
    let own = File::open("/proc/thread-self/ns/net");
    name_of(&own.context("failed to open the own network namespace")?)
}

fn name_of(namespace: &File) -> Result<(u64, u64)> {
    let about = namespace.metadata();
    let about = about.context("failed to look at a network namespace")?;
    Ok((about.dev(), about.ino()))
}

/// `SIOCGSKNS` of `linux/sockios.h`.
const SIOCGSKNS: libc::Ioctl = 0x894c;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testnet::TestNet;
    use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;

    fn fault(socket: impl AsFd, front: &str) -> String {
        let fitted = fit(socket.as_fd(), &front.parse().unwrap());
        fitted
            .err()
            .map_or_else(String::new, |error| format!("{error:#}"))
    }

    fn v4(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_listener_is_made_to_answer_from_addresses_that_it_has_not() {
        let net = TestNet::new();
        net.here.enter(|| {
            net.here.run("ip link set lo up");
            let listener = TcpListener::bind(v4(0)).unwrap();
            assert_eq!(fault(&listener, "192.0.2.10:80"), "");
            assert!(SockRef::from(&listener).ip_transparent_v4().unwrap());
            let both = TcpListener::bind("[::]:0").unwrap();
            assert_eq!(fault(&both, "[2001:db8::10]:80"), "");
            assert_eq!(fault(&both, "192.0.2.10:80"), "");
            let udp = UdpSocket::bind(v4(5353)).unwrap();
            assert_eq!(fault(&udp, "192.0.2.10:5353/udp"), "");
        });
    }

    #[test]
    fn what_cannot_serve_says_why() {
        let net = TestNet::new();
        let elsewhere = net.there.enter(|| TcpListener::bind("0.0.0.0:0").unwrap());
        net.here.enter(|| {
            net.here.run("ip link set lo up");
            let listener = TcpListener::bind(v4(0)).unwrap();
            let udp = UdpSocket::bind(v4(5353)).unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            assert_eq!(fault(&stream, "192.0.2.10:80"), "it does not listen");
            assert_eq!(fault(&udp, "192.0.2.10:80"), "it does not speak TCP");
            assert_eq!(
                fault(&listener, "192.0.2.10:80/udp"),
                "it does not speak UDP"
            );
            assert_eq!(fault(&listener, "[2001:db8::10]:80"), "it takes IPv4 only");
            assert_eq!(
                fault(&udp, "192.0.2.10:53/udp"),
                "its answers would come from port 5353"
            );
            assert_eq!(
                fault(&elsewhere, "192.0.2.10:80"),
                "it belongs to another network namespace than the speaker"
            );
            let file = File::open("/proc/self/stat").unwrap();
            assert!(fault(&file, "192.0.2.10:80").starts_with("what was brought is no socket"));
        });
    }
}
