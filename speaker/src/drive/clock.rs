//! The one clock: BOOTTIME, which the kernel program reads too.

use rustix::time::{ClockId, clock_gettime};
use speaker_proto::Time;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// The present moment.
pub(crate) fn now() -> Time {
    let t = clock_gettime(ClockId::Boottime);
    Time::from_ns(t.tv_sec.unsigned_abs() * 1_000_000_000 + t.tv_nsec.unsigned_abs())
}

/// The calendar's time, for people to read. Nothing is decided by it but when what others once published is forgotten, a day later.
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Waits that long.
pub(crate) async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

/// A moment that one thread writes and another reads.
#[derive(Clone, Default)]
pub(crate) struct Stamp(Arc<AtomicU64>);

impl Stamp {
    /// Notes the present moment.
    pub(crate) fn touch(&self) {
        self.0.store(now().ns(), Ordering::Release);
    }

    /// The last moment noted.
    pub(crate) fn last(&self) -> Time {
        Time::from_ns(self.0.load(Ordering::Acquire))
    }
}
