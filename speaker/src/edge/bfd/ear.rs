//! A socket that hears BFD packets of one family, over one hop or several, in one VRF. Never blocks.

use super::ancillary::{Beside, CONTROL_BYTES};
use super::{PORT, PORT_MULTIHOP};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use speaker_core::LinkName;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Which packets an ear hears.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Range {
    /// Of IPv6.
    pub(crate) is_ipv6: bool,
    /// Over several hops.
    pub(crate) is_multihop: bool,
    /// In this VRF. `None`: what an unbound socket hears; with `udp_l3mdev_accept` that is every VRF that has no ear of its own.
    pub(crate) vrf: Option<LinkName>,
}

/// Hears the packets of a [`Range`].
#[derive(Debug)]
pub(crate) struct Ear {
    socket: Socket,
}

/// What came beside a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Heard {
    /// Bytes of it.
    pub(crate) length: usize,
    /// From where.
    pub(crate) from: IpAddr,
    /// To which address of ours.
    pub(crate) to: IpAddr,
    /// Over which link.
    pub(crate) ifindex: u32,
    /// What was left of its TTL.
    pub(crate) ttl: u8,
}

impl Ear {
    /// Listens in the calling thread's network namespace.
    ///
    /// # Errors
    /// When another process has the port (`AddrInUse`), or there is no such family or VRF.
    pub(crate) fn open(range: &Range) -> io::Result<Self> {
        let (domain, everywhere): (_, IpAddr) = match range.is_ipv6 {
            true => (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into()),
            false => (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into()),
        };
        let port = if range.is_multihop {
            PORT_MULTIHOP
        } else {
            PORT
        };
        let socket = Socket::new(
            domain,
            Type::DGRAM.nonblocking().cloexec(),
            Some(Protocol::UDP),
        )?;
        if let Some(vrf) = &range.vrf {
            socket.bind_device(Some(vrf.0.as_bytes()))?;
        }
        if range.is_ipv6 {
            socket.set_only_v6(true)?;
            socket.set_recv_hoplimit_v6(true)?;
            set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        } else {
            set(&socket, libc::IPPROTO_IP, libc::IP_RECVTTL, 1)?;
            set(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        }
        // Beyond the machine's bound with CAP_NET_ADMIN, else as far as it goes.
        if set(
            &socket,
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            RECEIVE_BYTES,
        )
        .is_err()
        {
            socket.set_recv_buffer_size(RECEIVE_BYTES as usize)?;
        }
        socket.bind(&SocketAddr::new(everywhere, port).into())?;
        Ok(Self { socket })
    }

    /// The next packet, of which as much as there is room for is in `buffer`; `None`: there is none. One that the kernel does not say
    /// enough about has a TTL of 0.
    pub(crate) fn hear(&self, buffer: &mut [u8]) -> Option<Heard> {
        // A failure other than "nothing there" is no packet either, and is over with being told.
        let (length, from, beside) = receive(&self.socket, buffer).ok()?;
        let from = from.as_socket()?.ip();
        let unspecified = match from {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Some(Heard {
            length,
            from,
            to: beside.to.unwrap_or(unspecified),
            ifindex: beside.ifindex.unwrap_or(0),
            ttl: beside.ttl.unwrap_or(0),
        })
    }
}

impl AsFd for Ear {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, SockAddr, Beside)> {
    let mut control = [0u8; CONTROL_BYTES];
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let fd = socket.as_raw_fd();
    let mut receive = |storage: *mut _, length: *mut libc::socklen_t| {
        // SAFETY: a msghdr is plain data, of which all zeros is a value.
        let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.msg_name = storage;
        // SAFETY: `try_init` gives a pointer to the length of the storage, for this call.
        header.msg_namelen = unsafe { *length };
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = control.len() as _;
        // SAFETY: every pointer in the header is to a live value of the length that stands beside it.
        let received = unsafe { libc::recvmsg(fd, &raw mut header, 0) };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: as above; the kernel wrote so many bytes of an address.
        unsafe { *length = header.msg_namelen };
        // The C libraries differ in the width of this.
        let told: usize = header.msg_controllen as _;
        Ok((received, told))
    };
    // SAFETY: the closure fills the storage with an address of the length that it leaves, or fails.
    let ((length, told), from) =
        unsafe { SockAddr::try_init(|storage, length| receive(storage.cast(), length)) }?;
    let beside = Beside::read(control.get(..told).unwrap_or(&control));
    Ok((length.min(buffer.len()), from, beside))
}

/// Sets an option that is a number.
fn set(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the value is a live int, and its size stands beside it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(&value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Room for what some hundred fast sessions send while the thread is held up for a tenth of a second, and for a flood to be seen.
const RECEIVE_BYTES: libc::c_int = 1 << 20;
