//! A node's own clock: BOOTTIME since its boot, a little fast or slow.
//!
//! No node ever sees true time, and none sees another's clock.

use crate::queue::Ns;
use speaker_proto::Time;

/// A clock that began at some number and goes wrong by a constant rate.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What it showed when the history began, in nanoseconds.
    start: u64,
    /// Nanoseconds that it gains in a millisecond of true time (thousandths of a per mille).
    gain: i64,
}

impl Clock {
    /// A clock that shows `start` at first and gains `gain` nanoseconds each millisecond.
    pub const fn new(start: u64, gain: i64) -> Self {
        Self { start, gain }
    }

    /// What it shows at a true time.
    pub const fn show(self, now: Ns) -> Time {
        let drift = now as i64 / 1_000_000 * self.gain;
        Time::from_ns(self.start.wrapping_add(now).wrapping_add_signed(drift))
    }

    /// The first true time, by and large, at which it shows at least `at`.
    pub fn when(self, at: Time) -> Ns {
        let shown = at.ns().saturating_sub(self.start);
        let drift = shown as i64 / 1_000_000 * self.gain;
        let mut when = shown.saturating_add_signed(-drift);
        while self.show(when) < at {
            when += 1_000;
        }
        when
    }
}
