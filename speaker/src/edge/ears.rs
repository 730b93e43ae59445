//! Hears where others say that VIPs are: answers to probes, and claims that nobody asked for.
//!
//! Two packet sockets, each for one protocol, so that they hear what comes in and not what goes out, on a VLAN under the VLAN's own
//! device, and after the kernel program, which passes all claims. Filters in the kernel let nothing else through. The IPv6
//! socket costs every IPv6 packet a look at its next header, so that each socket is bound only when first needed. Answers to
//! IPv6 probes go to all nodes, a group that every link with IPv6 listens to. Knows nothing of which VIPs are ours. CAP_NET_RAW.

use super::packet::link_address;
use anyhow::{Context, Result};
use socket2::{Domain, SockAddr, SockFilter, Socket, Type};
use speaker_proto::announce::Place;
use speaker_proto::{Mac, claim};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Hears claims on all links.
pub(crate) struct Ears {
    arp: Ear,
    ndp: Ear,
    counts: Counts,
}

/// What was heard so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    /// Claims.
    pub(crate) claims: u64,
    /// Frames that looked like claims and were not as their RFC wants them.
    pub(crate) malformed: u64,
    /// Frames that the kernel dropped since they were not read in time.
    pub(crate) lost: u64,
}

impl Counts {
    /// By what became of the frames.
    pub(crate) fn by_outcome(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::from([
            ("claim", self.claims),
            ("malformed", self.malformed),
            ("lost", self.lost),
        ])
    }
}

struct Ear {
    socket: AsyncFd<Socket>,
    protocol: u16,
    is_bound: bool,
}

/// What one reading brought.
#[derive(Default)]
struct Batch {
    heard: Vec<(Place, Mac)>,
    malformed: u64,
}

impl Ears {
    /// Opens the sockets in the calling thread's network namespace, inside the async runtime. They hear nothing yet.
    pub(crate) fn open() -> Result<Self> {
        Ok(Self {
            arp: Ear::open(libc::ETH_P_ARP, &ARP_CLAIMS)?,
            ndp: Ear::open(libc::ETH_P_IPV6, &ADVERTISEMENTS)?,
            counts: Counts::default(),
        })
    }

    /// Listens for claims of addresses of this family from now on, before the first question is sent.
    pub(crate) fn listen(&mut self, family: IpAddr) -> Result<()> {
        match family {
            IpAddr::V4(_) => self.arp.bind(),
            IpAddr::V6(_) => self.ndp.bind(),
        }
    }

    /// Waits until there are claims and takes some, at most [`BATCH_MAX`]; none if there was only what is none.
    ///
    /// Cancel-safe: what is not returned stays with the kernel.
    pub(crate) async fn next_batch(&mut self) -> Result<Vec<(Place, Mac)>> {
        let (arp, ndp) = (&self.arp.socket, &self.ndp.socket);
        let batch = tokio::select! {
            batch = arp.async_io(Interest::READABLE, receive) => batch,
            batch = ndp.async_io(Interest::READABLE, receive) => batch,
        };
        Ok(self.take(batch.context("failed to hear claims")?))
    }

    /// Takes what waits in the sockets now, whether or not the runtime has noticed it: all that came before this call, unless
    /// more than [`UNREAD_MAX`] batches did.
    pub(crate) fn unread(&mut self) -> Result<Vec<(Place, Mac)>> {
        let mut unread = Vec::new();
        for _ in 0..UNREAD_MAX {
            let read = [&self.arp, &self.ndp].map(|ear| receive(ear.socket.get_ref()));
            let mut is_empty = true;
            for batch in read {
                match batch {
                    Ok(batch) => unread.extend(self.take(batch)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error).context("failed to hear claims"),
                }
                is_empty = false;
            }
            if is_empty {
                break;
            }
        }
        Ok(unread)
    }

    fn take(&mut self, batch: Batch) -> Vec<(Place, Mac)> {
        self.counts.claims += batch.heard.len() as u64;
        self.counts.malformed += batch.malformed;
        batch.heard
    }

    /// What was heard so far.
    pub(crate) fn counts(&mut self) -> Counts {
        for ear in [&self.arp, &self.ndp] {
            // An error says nothing of frames.
            self.counts.lost += u64::from(drops(ear.socket.get_ref()).unwrap_or(0));
        }
        self.counts
    }
}

impl Ear {
    fn open(protocol: libc::c_int, filter: &[SockFilter]) -> Result<Self> {
        // Protocol zero: nothing is queued before the filter stands and the socket is bound.
        let open = || {
            let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)?;
            socket.attach_filter(filter)?;
            socket.set_recv_buffer_size(QUEUE_BYTES)?;
            io::Result::Ok(socket)
        };
        let socket = open()
            .context("failed to open a packet socket to hear with (CAP_NET_RAW is needed)")?;
        #[expect(
            deprecated,
            reason = "the successor is unsafe; the socket owns its descriptor while it lives"
        )]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)
            .context("failed to watch a packet socket")?;
        let protocol = u16::try_from(protocol).context("a protocol has two bytes")?;
        Ok(Self {
            socket,
            protocol,
            is_bound: false,
        })
    }

    fn bind(&mut self) -> Result<()> {
        if self.is_bound {
            return Ok(());
        }
        let every_link = link_address(0, self.protocol, Mac([0; 6]));
        let bound = self.socket.get_ref().bind(&every_link);
        bound.context("failed to listen on a packet socket")?;
        self.is_bound = true;
        Ok(())
    }
}

/// Reads what there is, at most [`BATCH_MAX`] frames; that there is none is an error as sockets have it.
fn receive(socket: &Socket) -> io::Result<Batch> {
    let mut batch = Batch::default();
    for read in 0..BATCH_MAX {
        let mut buffer = [MaybeUninit::uninit(); FRAME_BYTES_MAX];
        let (length, from) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock && read > 0 => break,
            Err(error) => return Err(error),
        };
        let frame = buffer.get(..length).unwrap_or(&buffer);
        // SAFETY: the kernel wrote the first `length` bytes, and `length` is at most the size of the buffer.
        let frame = unsafe { &*(std::ptr::from_ref(frame) as *const [u8]) };
        match (ifindex(&from), claim::read(frame)) {
            (Some(ifindex), Some((vip, mac))) => batch.heard.push(((vip, ifindex), mac)),
            (_, _) => batch.malformed += 1,
        }
    }
    Ok(batch)
}

/// The index of the link that a frame came in on.
fn ifindex(from: &SockAddr) -> Option<u32> {
    let is_link = i32::from(from.family()) == libc::AF_PACKET
        && from.len() as usize >= size_of::<libc::sockaddr_ll>();
    if !is_link {
        return None;
    }
    // SAFETY: the address is of that family and long enough, its storage is as aligned as any, and a sockaddr_ll is plain data.
    let link = unsafe { &*from.as_ptr().cast::<libc::sockaddr_ll>() };
    u32::try_from(link.sll_ifindex).ok()
}

/// Frames dropped since the last asking.
fn drops(socket: &Socket) -> io::Result<u32> {
    /// `struct tpacket_stats`: packets and drops since the last asking.
    #[repr(C)]
    struct Statistics {
        packets: u32,
        drops: u32,
    }
    const PACKET_STATISTICS: libc::c_int = 6;
    let mut statistics = Statistics {
        packets: 0,
        drops: 0,
    };
    let mut length = size_of::<Statistics>() as libc::socklen_t;
    // SAFETY: the pointers are to a value of that length and to the length, and the kernel writes no more than that.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_STATISTICS,
            std::ptr::from_mut(&mut statistics).cast(),
            &raw mut length,
        )
    };
    match result {
        0 => Ok(statistics.drops),
        _ => Err(io::Error::last_os_error()),
    }
}

/// ARP replies, and requests that ask for their own sender: gratuitous ones. Probes and questions are left to the kernel.
const ARP_CLAIMS: [SockFilter; 9] = [
    load(libc::BPF_H, 20),
    jump_if(libc::BPF_K, 2, 6, 0),
    jump_if(libc::BPF_K, 1, 0, 4),
    load(libc::BPF_W, 28),
    SockFilter::new((libc::BPF_MISC | libc::BPF_TAX) as u16, 0, 0, 0),
    load(libc::BPF_W, 38),
    jump_if(libc::BPF_X, 0, 1, 0),
    verdict(0),
    verdict(u32::MAX),
];

/// Neighbour advertisements without extension headers.
const ADVERTISEMENTS: [SockFilter; 6] = [
    load(libc::BPF_B, 20),
    jump_if(libc::BPF_K, 58, 0, 2),
    load(libc::BPF_B, 54),
    jump_if(libc::BPF_K, 136, 1, 0),
    verdict(0),
    verdict(u32::MAX),
];

const fn load(size: u32, at: u32) -> SockFilter {
    SockFilter::new((libc::BPF_LD | size | libc::BPF_ABS) as u16, 0, 0, at)
}

const fn jump_if(source: u32, equals: u32, then: u8, otherwise: u8) -> SockFilter {
    let code = libc::BPF_JMP | libc::BPF_JEQ | source;
    SockFilter::new(code as u16, then, otherwise, equals)
}

/// How many bytes of the frame are passed on.
const fn verdict(bytes: u32) -> SockFilter {
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, bytes)
}

/// Frames read at once; then whoever waits has a turn.
const BATCH_MAX: usize = 64;
/// Batches read at once where nothing may be overlooked: more than a socket's queue holds.
const UNREAD_MAX: usize = 64;
/// No sound claim is longer: an advertisement of 78 bytes and the options that the program looks at.
const FRAME_BYTES_MAX: usize = 256;
/// Frames that may wait to be read, some hundreds: answers to a burst of probes.
const QUEUE_BYTES: usize = 256 * 1024;
