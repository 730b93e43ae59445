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
        Transport::Udp => ensure!(
            kind == SocketType::DGRAM && protocol == Some(ipproto::UDP),
            "it does not speak UDP"
        ),
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
