//! How many lines a second may be written: a fault that repeats itself must not fill a disk.
//!
//! Equal lines are cut short first; the sum of all comes last and is high, so that a large change is still told whole.

use std::collections::BTreeMap;
use std::time::SystemTime;

/// What was written in the current second.
#[derive(Debug, Default)]
pub(super) struct Bound {
    second: u64,
    lines: u64,
    same: BTreeMap<String, u64>,
    cut: u64,
}

/// What becomes of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Admitted {
    /// Whether it is written.
    pub(super) is_in: bool,
    /// Lines left out in the second before, to be told first.
    pub(super) cut: u64,
}

impl Bound {
    /// Takes a line; `identity` is all of it but its time.
    pub(super) fn admit(&mut self, now: SystemTime, identity: &str) -> Admitted {
        let cut = self.turn(now);
        let is_in = self.lines < LINES_MAX && self.count(identity) <= SAME_MAX;
        if is_in {
            self.lines += 1;
        } else {
            self.cut += 1;
        }
        Admitted { is_in, cut }
    }

    /// How often this line came, itself included. At most [`LINES_MAX`] lines are remembered.
    fn count(&mut self, identity: &str) -> u64 {
        let same = self.same.entry(identity.to_owned()).or_default();
        *same += 1;
        *same
    }

    /// Starts a new second if one has begun; what the last one left out.
    fn turn(&mut self, now: SystemTime) -> u64 {
        let second = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if second == self.second {
            return 0;
        }
        std::mem::replace(
            self,
            Self {
                second,
                ..Self::default()
            },
        )
        .cut
    }
}

pub(super) const SAME_MAX: u64 = 5; // per second; enough to see that it repeats
pub(super) const LINES_MAX: u64 = 5000; // per second; a line for each of a few thousand services
