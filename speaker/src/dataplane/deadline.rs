//! The node-wide deadline as one word of memory that the kernel program reads.
//!
//! The map `hg_node` is memory-mapped, so that renewing the deadline costs no system call and cannot block. One
//! owner: the pulse thread.

use super::pins::Pins;
use anyhow::{Context, Result};
use aya::maps::MapData;
use speaker_ebpf::abi::{self, NodeValue};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

/// The deadline in the kernel's map. Sent to the thread that renews it.
#[derive(Debug)]
pub(crate) struct DeadlineCell {
    page: NonNull<AtomicU64>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and this value is its only owner.
unsafe impl Send for DeadlineCell {}

impl DeadlineCell {
    /// Maps the pinned deadline.
    pub(super) fn open(pins: &Pins) -> Result<Self> {
        const { assert!(size_of::<NodeValue>() == size_of::<AtomicU64>()) };
        let path = pins.map(&abi::NODE);
        let map = MapData::from_pin(&path)
            .with_context(|| format!("failed to open the map {}", path.display()))?;
        let fd = map.fd().as_fd().as_raw_fd();
        // SAFETY: a new shared mapping of one page of a map with BPF_F_MMAPABLE at an address of the kernel's choice;
        // it replaces no mapping. The result is checked before use.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGE_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("failed to map the deadline's page");
        }
        let page = NonNull::new(page.cast()).context("the deadline's page is at address zero")?;
        Ok(Self { page })
    }

    /// One that no kernel program reads.
    #[cfg(test)]
    pub(crate) fn detached() -> Self {
        // SAFETY: a new private mapping at an address of the kernel's choice; it replaces no mapping. The result is checked before use.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGE_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        Self {
            page: NonNull::new(page.cast()).unwrap(),
        }
    }

    /// The deadline in force in BOOTTIME nanoseconds; zero if it was never armed.
    pub(crate) fn load(&self) -> u64 {
        self.word().load(Ordering::Acquire)
    }

    /// Puts a deadline in force, for every CPU at once.
    pub(crate) fn store(&self, deadline_ns: u64) {
        self.word().store(deadline_ns, Ordering::Release);
    }

    fn word(&self) -> &AtomicU64 {
        // SAFETY: the page stays mapped as long as self lives, is page-aligned, holds one eight-byte element at its
        // start, and everyone (kernel program included) reads and writes that element in one access.
        unsafe { self.page.as_ref() }
    }
}

impl Drop for DeadlineCell {
    fn drop(&mut self) {
        // SAFETY: the address and length are those of the mapping made in `open`; no reference to it outlives self.
        unsafe { libc::munmap(self.page.as_ptr().cast(), PAGE_BYTES) };
    }
}

/// The map has one element of eight bytes; the kernel rounds the mapping up to its own page size.
const PAGE_BYTES: usize = 4096;
