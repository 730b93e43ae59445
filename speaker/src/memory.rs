//! The allocator, and how soon it gives back what is free.

use libmimalloc_sys::{mi_option_set, mi_option_t, mi_option_use_numa_nodes};
use mimalloc::MiMalloc;

/// Memory that is given up goes back to the system, with glibc and with musl alike: what comes and goes by thousands of objects leaves the
/// allocators of both with holes.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// From now on what is free goes back at once. Mimalloc waits for a second, and longer where a thread sleeps, so that a list of all objects, read once,
/// would be paid for on every node for good.
pub(crate) fn give_back_at_once() {
    // SAFETY: an option is a number that the allocator reads whenever it needs it, from any thread.
    unsafe { mi_option_set(PURGE_DELAY, 0) };
}

/// `mi_option_purge_delay` of mimalloc's header, in milliseconds: it stands right before this one.
const PURGE_DELAY: mi_option_t = mi_option_use_numa_nodes - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_free_goes_back_at_once() {
        give_back_at_once();
        let before = resident();
        let held: Vec<Box<[u8; 4096]>> = (0..PIECES).map(|_| Box::new([1; 4096])).collect();
        let grown = resident();
        drop(held);
        let left = resident();
        let size = i64::from(PIECES) * 4096;
        assert!(grown - before > size / 2, "{before} {grown}");
        assert!(grown - left > size / 2, "{grown} {left}");
    }

    /// Bytes that are no file's.
    fn resident() -> i64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let mut lines = status.lines();
        let line = lines
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .unwrap();
        let kib: i64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024
    }

    /// 256 MiB, so that what other tests do meanwhile is little.
    const PIECES: u32 = 65_536;
}
