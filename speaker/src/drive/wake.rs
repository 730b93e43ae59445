//! Waiting for datagrams and for other threads at once.

use super::clock::now;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use speaker_proto::Time;
use std::io;
use std::sync::Arc;

/// What wakes a thread that waits for descriptors. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Wake(Arc<OwnedFd>);

impl Wake {
    /// One that has not been rung.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Ok(Self(Arc::new(eventfd(0, flags)?)))
    }

    /// Ends the present wait, or the next one. Never blocks.
    pub(crate) fn ring(&self) {
        // It fails only when it was rung 2^64 - 2 times and nobody woke.
        let _rung_already = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Waits until it is rung, one of `others` has something to read, or it is `until`.
    pub(crate) fn wait<'o>(&self, others: impl Iterator<Item = BorrowedFd<'o>>, until: Time) {
        let mut fds = vec![PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        fds.extend(others.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let left = until.since(now()).ns();
        let left = Timespec {
            tv_sec: (left / 1_000_000_000).try_into().unwrap_or(i64::MAX),
            tv_nsec: (left % 1_000_000_000)
                .try_into()
                .expect("less than a second"),
        };
        // A signal ends it early, which the caller's own deadlines bear.
        let _woken = poll(&mut fds, Some(&left));
        let mut count = [0; 8];
        let _was_not_rung = rustix::io::read(&self.0, &mut count);
    }
}
