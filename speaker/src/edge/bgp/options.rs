//! Socket options that no crate wraps: TCP-MD5 keys and the least TTL.
//!
//! A key is for one address of a peer. It needs no interface index: it is looked up for a socket that is bound to its VRF
//! already, and speaks with that peer only.

use super::key::{KEY_BYTES_MAX, Key};
use socket2::SockAddr;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use zeroize::Zeroize;

/// `struct tcp_md5sig` of linux/tcp.h.
#[repr(C)]
struct TcpMd5Sig {
    address: [u8; ADDRESS_BYTES],
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    ifindex: i32,
    key: [u8; KEY_BYTES_MAX],
}

/// Signs all segments to and from `peer` with this key from now on: before `connect` on a new socket, or in place of another key. A
/// connection that stands without one gets none, because the other side cannot know of it.
///
/// # Errors
/// `ENOPROTOOPT` from a kernel without TCP-MD5.
pub(crate) fn change_key(socket: &impl AsRawFd, peer: SocketAddr, key: &Key) -> io::Result<()> {
    sign(socket, peer, key.bytes())
}

/// Segments to and from `peer` are not signed any more, nor may they be.
///
/// # Errors
/// `ENOENT` where there was no key.
pub(super) fn forget_key(socket: &impl AsRawFd, peer: SocketAddr) -> io::Result<()> {
    sign(socket, peer, &[])
}

fn sign(socket: &impl AsRawFd, peer: SocketAddr, key: &[u8]) -> io::Result<()> {
    let mut option = TcpMd5Sig {
        address: [0; ADDRESS_BYTES],
        flags: 0,
        prefix_length: 0,
        key_length: u16::try_from(key.len()).map_err(io::Error::other)?,
        ifindex: 0,
        key: [0; KEY_BYTES_MAX],
    };
    option.key[..key.len()].copy_from_slice(key);
    let address = SockAddr::from(peer);
    let length = address.len() as usize;
    // SAFETY: a socket address is plain data of that length, and lives until the end of this function.
    let bytes = unsafe { std::slice::from_raw_parts(address.as_ptr().cast::<u8>(), length) };
    option.address[..length].copy_from_slice(bytes);
    let result = set(
        socket.as_raw_fd(),
        libc::IPPROTO_TCP,
        libc::TCP_MD5SIG,
        &option,
    );
    option.key.zeroize();
    result
}

/// Has the kernel drop what comes with a TTL or hop limit below `least` (RFC 5082 §3).
///
/// # Errors
/// When the kernel does not know the option.
pub(super) fn require_ttl(socket: &impl AsRawFd, is_v4: bool, least: u8) -> io::Result<()> {
    let (level, name) = if is_v4 {
        (libc::IPPROTO_IP, libc::IP_MINTTL)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT)
    };
    set(socket.as_raw_fd(), level, name, &libc::c_int::from(least))
}

fn set<T>(socket: RawFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer is to a value of that length, which the kernel copies.
    let result = unsafe {
        libc::setsockopt(
            socket,
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `struct sockaddr_storage`.
const ADDRESS_BYTES: usize = 128;
const _: () = assert!(size_of::<TcpMd5Sig>() == 216);
