//! Router advertisements on links: heard and sent (RFC 4861).
//!
//! A raw socket, because a node that forwards takes no notice of advertisements itself. The kernel lets only advertisements through that come
//! from a station on the link, with the hop limit 255, and does the checksums. CAP_NET_RAW.

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use speaker_proto::Mac;
use speaker_proto::bgp::unnumbered::{Whom, advertisement, echo_request, solicitation};
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Hears routers on all links, and speaks as one on some.
pub(crate) struct Routers {
    socket: AsyncFd<Socket>,
}

impl Routers {
    /// Opens the socket in the calling thread's network namespace, inside the async runtime.
    ///
    /// # Errors
    /// Without CAP_NET_RAW or IPv6.
    pub(crate) fn open() -> Result<Self> {
        let open = || {
            let kind = Type::RAW.nonblocking().cloexec();
            let socket = Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6))?;
            socket.attach_filter(&ADVERTISEMENTS)?;
            socket.set_multicast_hops_v6(HOP_LIMIT)?;
            socket.set_multicast_loop_v6(false)?;
            io::Result::Ok(socket)
        };
        let socket = open()
            .context("failed to open a socket for router advertisements (CAP_NET_RAW is needed)")?;
        #[expect(
            deprecated,
            reason = "the successor is unsafe; the socket owns its descriptor while it lives"
        )]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)
            .context("failed to watch a socket for router advertisements")?;
        Ok(Self { socket })
    }

    /// The next advertisement: the index of its link, and where it came from. Cancel-safe.
    ///
    /// # Errors
    /// When the socket fails.
    pub(crate) async fn heard(&self) -> io::Result<(u32, Ipv6Addr)> {
        loop {
            let from = self.socket.async_io(Interest::READABLE, receive).await?;
            if let Some(SocketAddr::V6(from)) = from {
                return Ok((from.scope_id(), *from.ip()));
            }
        }
    }

    /// Asks for routers on a link.
    ///
    /// # Errors
    /// When the network stack does not take it.
    pub(crate) fn solicit(&self, ifindex: u32, mac: Mac) -> io::Result<()> {
        self.send(&solicitation(mac), ALL_ROUTERS, ifindex)
    }

    /// Says on a link that we are here.
    ///
    /// # Errors
    /// When the network stack does not take it.
    pub(crate) fn advertise(&self, ifindex: u32, mac: Mac) -> io::Result<()> {
        self.send(&advertisement(mac), ALL_NODES, ifindex)
    }

    /// Has the routers of a link, or everybody there, show themselves to the kernel. Who answers nothing is none the worse for it.
    ///
    /// # Errors
    /// When the network stack does not take it.
    pub(crate) fn stir(&self, ifindex: u32, whom: Whom) -> io::Result<()> {
        let group = match whom {
            Whom::Routers => ALL_ROUTERS,
            Whom::Everybody => ALL_NODES,
        };
        self.send(&echo_request(), group, ifindex)
    }

    /// From the link-local address: the kernel chooses it for a destination of that scope.
    fn send(&self, message: &[u8], group: Ipv6Addr, ifindex: u32) -> io::Result<()> {
        let to = SocketAddrV6::new(group, 0, 0, ifindex);
        self.socket.get_ref().send_to(message, &to.into()).map(drop)
    }
}

/// Where one advertisement came from; of what it says nothing is wanted.
fn receive(socket: &Socket) -> io::Result<Option<SocketAddr>> {
    let mut buffer = [MaybeUninit::uninit(); 1];
    let (_, from) = socket.recv_from(&mut buffer)?;
    Ok(from.as_socket())
}

/// RFC 4861 §6.1.2: type 134, code 0, hop limit 255.
const ADVERTISEMENTS: [SockFilter; 8] = [
    load(0),
    equals(134, 5),
    load(1),
    equals(0, 3),
    load(NETWORK_HEADER + 7),
    equals(255, 1),
    verdict(u32::MAX),
    verdict(0),
];

/// Loads one byte of the message, or of the IPv6 header.
const fn load(at: u32) -> SockFilter {
    SockFilter::new(
        (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16,
        0,
        0,
        at,
    )
}

/// Goes on if the byte is this one, else jumps over so many instructions.
const fn equals(byte: u32, over: u8) -> SockFilter {
    let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    SockFilter::new(code, 0, over, byte)
}

const fn verdict(bytes: u32) -> SockFilter {
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, bytes)
}

/// SKF_NET_OFF of linux/filter.h, -0x100000: from there on offsets count from the network header.
const NETWORK_HEADER: u32 = 0xfff0_0000;
const HOP_LIMIT: u32 = 255;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
