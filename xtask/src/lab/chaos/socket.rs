//! A packet socket that sends whole frames on one link: packet(7). The watch's only `unsafe` code.

use anyhow::{Context, Result, ensure};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Sends whole frames on one link of the namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Sender(OwnedFd);

impl Sender {
    /// Opens it on a link of the calling thread's namespace.
    ///
    /// # Errors
    /// When there is no such link, or the privilege is missing.
    pub(super) fn open(link: &str) -> Result<Self> {
        let name = CString::new(link)?;
        // SAFETY: the name ends with a zero byte and outlives the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        ensure!(index != 0, "no link {link}: {}", io::Error::last_os_error());
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers. Protocol zero: nothing is ever queued for receiving.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        checked(fd).context("failed to open a packet socket")?;
        // SAFETY: fresh and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as libc::sa_family_t,
            sll_protocol: 0,
            sll_ifindex: index.try_into()?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: pointer and length describe one live sockaddr_ll with its family set.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                std::ptr::from_ref(&address).cast(),
                length,
            )
        };
        checked(bound).with_context(|| format!("failed to bind to {link}"))?;
        Ok(Self(socket))
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// When the link is down or its queue full.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: pointer and length describe one live slice.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

fn checked(result: i32) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
