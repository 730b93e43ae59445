//! The machine's processors, for a lab before all else: deadlines are half a second, BFD's times less, and a speaker that a compiler keeps from its
//! work for so long is rightly taken for dead. What a speaker does under load of its own is tried in the simulator and by units.
//!
//! Best effort: without the privilege a lab has what it gets.

use rustix::process::setpriority_process;
use std::fs;

/// Puts this thread, what it starts, and its session before others while it is there.
pub(super) struct First;

impl First {
    pub(super) fn now() -> Self {
        put(FIRST);
        Self
    }
}

impl Drop for First {
    fn drop(&mut self) {
        put(0);
    }
}

fn put(nice: i32) {
    // Of the calling thread alone; children have what it has.
    let _ = setpriority_process(None, nice);
    // Kernels that share processors out by sessions look at this first (sched(7), autogroup).
    let _ = fs::write("/proc/self/autogroup", nice.to_string());
}

const FIRST: i32 = -10;
