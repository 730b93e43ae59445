//! What needs `unsafe`: packet sockets in batches and with a ring, one ioctl, and the count of allocated bytes.
//!
//! packet(7), and Documentation/networking/packet_mmap.rst of the kernel. The only file of the bench with `unsafe`.

use anyhow::{Context, Result, ensure};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::CString;
use std::io::{Error, ErrorKind};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The system's allocator with a count of what is allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that this process has allocated and not freed.
pub(crate) fn allocated() -> usize {
    ALLOCATED.load(Ordering::Relaxed)
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the rules of this same function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the rules of this same function.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.fetch_add(size, Ordering::Relaxed);
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the rules of this same function.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Frames per system call.
pub(crate) const BATCH: usize = 64;
/// Bytes kept of each frame: an ARP frame has 60 at most when it is not padded further.
pub(crate) const FRAME_BYTES: usize = 128;

/// The index of a link of the calling thread's namespace.
pub(crate) fn ifindex(link: &str) -> Result<u32> {
    let name = CString::new(link)?;
    // SAFETY: the name ends with a zero byte and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    ensure!(index != 0, "no link {link}: {}", Error::last_os_error());
    Ok(index)
}

/// Turns GRO on, which gives a veth end the NAPI that any network card has.
pub(crate) fn enable_gro(link: &str) -> Result<()> {
    #[repr(C)]
    struct EthtoolValue {
        cmd: u32,
        data: u32,
    }
    const ETHTOOL_SGRO: u32 = 0x2c;
    let socket = open(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut value = EthtoolValue {
        cmd: ETHTOOL_SGRO,
        data: 1,
    };
    // SAFETY: all bytes zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    ensure!(
        link.len() < request.ifr_name.len(),
        "{link}: not a link name"
    );
    for (to, from) in request.ifr_name.iter_mut().zip(link.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut value).cast();
    // SAFETY: request and value are of the layout that SIOCETHTOOL wants and outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &mut request) };
    check(result).with_context(|| format!("failed to turn GRO on for {link}"))?;
    Ok(())
}

fn open(domain: i32, kind: i32, protocol: u16) -> Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor is checked and owned from here on.
    let fd = unsafe {
        libc::socket(
            domain,
            kind | libc::SOCK_CLOEXEC,
            i32::from(protocol.to_be()),
        )
    };
    check(fd).context("failed to open a socket")?;
    // SAFETY: fresh and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(result: i32) -> std::io::Result<i32> {
    if result < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn set<T>(socket: &OwnedFd, level: i32, option: i32, value: &T) -> Result<()> {
    // SAFETY: pointer and length describe one live value.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    check(result).with_context(|| format!("failed to set socket option {level}/{option}"))?;
    Ok(())
}

/// A packet socket that receives ARP requests for one address on one link, or only sends.
pub(crate) struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// For receiving; nothing arrives before [`Self::bind`].
    pub(crate) fn receiving(target: Ipv4Addr) -> Result<Self> {
        // Protocol 0 receives nothing, so that no frame slips in before the filter is there.
        let fd = open(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
        attach_filter(&fd, target)?;
        set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BYTES)?;
        let timeout = libc::timeval {
            tv_sec: 0,
            tv_usec: 50_000,
        };
        set(&fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &timeout)?;
        Ok(Self { fd })
    }

    /// For sending on `ifindex`, past the queueing discipline.
    pub(crate) fn sending(ifindex: u32) -> Result<Self> {
        let fd = open(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
        set(&fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &1_i32)?;
        set(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &RECEIVE_BYTES)?;
        let socket = Self { fd };
        socket.bind_to(ifindex, 0)?;
        Ok(socket)
    }

    /// From now on ARP frames of `ifindex` that pass the filter arrive.
    pub(crate) fn bind(&self, ifindex: u32) -> Result<()> {
        self.bind_to(ifindex, libc::ETH_P_ARP as u16)
    }

    fn bind_to(&self, ifindex: u32, protocol: u16) -> Result<()> {
        // SAFETY: all bytes zero is a valid address.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = ifindex as i32;
        // SAFETY: pointer and length describe one live address.
        let result = unsafe {
            libc::bind(
                self.fd.as_raw_fd(),
                std::ptr::from_ref(&address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        check(result).context("failed to bind a packet socket")?;
        Ok(())
    }
}

const RECEIVE_BYTES: i32 = 8 << 20;

/// Lets ARP requests for `target` through and nothing else, before they are queued.
fn attach_filter(fd: &OwnedFd, target: Ipv4Addr) -> Result<()> {
    const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(LOAD_HALF, 0, 0, 20),
        step(JUMP_EQUAL, 0, 3, 1),
        step(LOAD_WORD, 0, 0, 38),
        step(JUMP_EQUAL, 0, 1, u32::from(target)),
        step(RETURN, 0, 0, u32::MAX),
        step(RETURN, 0, 0, 0),
    ];
    let program = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Buffers for one batch, with the headers that point into them.
///
/// Boxed parts never move, so the pointers among them stay good as long as the value lives.
pub(crate) struct Batch {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    frames: Box<[[u8; FRAME_BYTES]]>,
    len: usize,
}

impl Batch {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let mut frames = vec![[0; FRAME_BYTES]; BATCH].into_boxed_slice();
        let mut vectors: Box<[libc::iovec]> = frames
            .iter_mut()
            .map(|frame| libc::iovec {
                iov_base: frame.as_mut_ptr().cast(),
                iov_len: FRAME_BYTES,
            })
            .collect();
        let headers = vectors
            .iter_mut()
            .map(|vector| {
                // SAFETY: all bytes zero is a valid header.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        Self {
            headers,
            vectors,
            frames,
            len: 0,
        }
    }

    /// Waits for one frame and takes what else is there; how many, 0 after 50 ms without one.
    pub(crate) fn receive(&mut self, socket: &PacketSocket) -> Result<usize> {
        for vector in &mut self.vectors {
            vector.iov_len = FRAME_BYTES;
        }
        // SAFETY: the headers point to vectors and buffers of this value, all alive.
        let result = unsafe {
            libc::recvmmsg(
                socket.fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        self.len = match check(result) {
            Ok(received) => received as usize,
            Err(error) if is_idle(&error) => 0,
            Err(error) => return Err(error).context("failed to receive frames"),
        };
        Ok(self.len)
    }

    /// The received frames; what a call leaves in one is what [`Self::send`] sends.
    pub(crate) fn frames(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let lengths = self
            .headers
            .iter()
            .map(|h| (h.msg_len as usize).min(FRAME_BYTES));
        self.frames
            .iter_mut()
            .zip(lengths)
            .take(self.len)
            .map(|(frame, len)| &mut frame[..len])
    }

    /// Adds a copy of `frame`; whether the batch is full now. A frame longer than a buffer is cut.
    pub(crate) fn push(&mut self, frame: &[u8]) -> bool {
        let len = frame.len().min(FRAME_BYTES);
        self.frames[self.len][..len].copy_from_slice(&frame[..len]);
        self.headers[self.len].msg_len = len as u32;
        self.len += 1;
        self.len == BATCH
    }

    /// Sends all of its frames and empties it; how many went out.
    pub(crate) fn send(&mut self, socket: &PacketSocket) -> Result<usize> {
        for (vector, header) in self.vectors.iter_mut().zip(&self.headers) {
            vector.iov_len = header.msg_len as usize;
        }
        let len = std::mem::take(&mut self.len);
        let mut sent = 0;
        while sent < len {
            // SAFETY: the headers point to vectors and buffers of this value, all alive; `sent < len <= BATCH`.
            let result = unsafe {
                libc::sendmmsg(
                    socket.fd.as_raw_fd(),
                    self.headers.as_mut_ptr().add(sent),
                    (len - sent) as u32,
                    0,
                )
            };
            match check(result) {
                Ok(taken) => sent += taken as usize,
                // The receiving end is full: that answer is lost, as on a wire.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => sent += 1,
                Err(error) => return Err(error).context("failed to send frames"),
            }
        }
        Ok(sent)
    }
}

fn is_idle(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// A TPACKET_V3 receive ring of a packet socket.
pub(crate) struct Ring {
    socket: PacketSocket,
    memory: NonNull<u8>,
    block: usize,
}

/// 256 KiB for some 1,800 small frames each.
const BLOCK_BYTES: usize = 1 << 18;
const BLOCKS: usize = 32;
/// A block that is not full is handed over after this long: the least that the kernel offers.
const RETIRE_MS: u32 = 1;

impl Ring {
    /// Maps a ring for `socket` and binds it to `ifindex`.
    pub(crate) fn map(socket: PacketSocket, ifindex: u32) -> Result<Self> {
        let version = libc::tpacket_versions::TPACKET_V3 as i32;
        set(&socket.fd, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        let request = libc::tpacket_req3 {
            tp_block_size: BLOCK_BYTES as u32,
            tp_block_nr: BLOCKS as u32,
            tp_frame_size: 2048,
            tp_frame_nr: (BLOCK_BYTES / 2048 * BLOCKS) as u32,
            tp_retire_blk_tov: RETIRE_MS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(&socket.fd, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a fresh shared mapping of the ring that was just set up, of exactly its size.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BLOCK_BYTES * BLOCKS,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.fd.as_raw_fd(),
                0,
            )
        };
        ensure!(
            memory != libc::MAP_FAILED,
            "failed to map a ring: {}",
            Error::last_os_error()
        );
        let memory = NonNull::new(memory.cast()).context("a ring mapped at address 0")?;
        socket.bind(ifindex)?;
        Ok(Self {
            socket,
            memory,
            block: 0,
        })
    }

    /// Waits for a block of frames and shows each to `see`; how many, 0 after 50 ms without one.
    pub(crate) fn receive(&mut self, mut see: impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        if !self.wait()? {
            return Ok(0);
        }
        let start = self.block * BLOCK_BYTES;
        // SAFETY: the block lies within the mapping and starts with its header, which the kernel has written.
        let header = unsafe {
            self.memory
                .add(start)
                .cast::<libc::tpacket_block_desc>()
                .read()
        };
        // SAFETY: version 3 was asked for, so this member of the union is the one that was written.
        let header = unsafe { header.hdr.bh1 };
        let mut at = start + header.offset_to_first_pkt as usize;
        for _ in 0..header.num_pkts {
            // SAFETY: as many frame headers as announced follow each other at these offsets within the block.
            let frame = unsafe { self.memory.add(at).cast::<libc::tpacket3_hdr>().read() };
            let from = at + frame.tp_mac as usize;
            // SAFETY: the kernel keeps `tp_snaplen` bytes of the frame at `tp_mac`, and the block is ours until released.
            let bytes = unsafe {
                std::slice::from_raw_parts(
                    self.memory.add(from).as_ptr(),
                    frame.tp_snaplen as usize,
                )
            };
            see(bytes)?;
            at += frame.tp_next_offset as usize;
        }
        self.status()
            .store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.block = (self.block + 1) % BLOCKS;
        Ok(header.num_pkts as usize)
    }

    fn wait(&self) -> Result<bool> {
        let is_ours = || self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER != 0;
        if is_ours() {
            return Ok(true);
        }
        let mut poll = libc::pollfd {
            fd: self.socket.fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one live descriptor.
        match check(unsafe { libc::poll(&mut poll, 1, 50) }) {
            Ok(_) => Ok(is_ours()),
            Err(error) if is_idle(&error) => Ok(false),
            Err(error) => Err(error).context("failed to wait for frames"),
        }
    }

    /// Who owns the current block.
    fn status(&self) -> &AtomicU32 {
        let offset = self.block * BLOCK_BYTES + std::mem::offset_of!(libc::tpacket_block_desc, hdr);
        // SAFETY: the status is the first word of the block's header, aligned, and shared with the kernel by atomics.
        unsafe { self.memory.add(offset).cast::<AtomicU32>().as_ref() }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own and no reference into it is left.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), BLOCK_BYTES * BLOCKS) };
    }
}
