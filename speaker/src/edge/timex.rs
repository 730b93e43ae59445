//! Whether something keeps the wall clock: adjtimex(2), which only tells when it is given no mode.
//!
//! Knows nothing of who keeps it, and of what is judged by it.

use std::mem::MaybeUninit;

/// Whether the kernel was told lately how far its clock is off, by NTP, PTP or whatever else. `None`: it does not say, as where a filter of
/// system calls forbids to ask.
pub(crate) fn is_clock_kept() -> Option<bool> {
    let mut timex = MaybeUninit::<libc::timex>::zeroed();
    // Not by the C library, which may take clock_adjtime(2), and filters of system calls forbid that one.
    // SAFETY: the pointer is to a live timex, all of whose fields may be zero. Without a mode the kernel writes into it and changes nothing else.
    let state = unsafe { libc::syscall(libc::SYS_adjtimex, timex.as_mut_ptr()) };
    (state >= 0).then_some(state != libc::c_long::from(libc::TIME_ERROR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_whether_its_clock_is_kept() {
        assert!(is_clock_kept().is_some());
    }
}
