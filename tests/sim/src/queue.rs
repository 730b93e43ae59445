//! What is still to happen, in the order of time and, within one moment, of its planning.
//!
//! Time here is the true one that no node knows: nanoseconds since the history began.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Nanoseconds of true time since the history began.
pub type Ns = u64;

/// A millisecond of true time.
pub const MS: Ns = 1_000_000;
/// A second of true time.
pub const S: Ns = 1_000 * MS;

/// Events that wait for their time.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Planned<E>>,
    planned: u64,
}

#[derive(Debug)]
struct Planned<E> {
    at: Ns,
    number: u64,
    event: E,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            planned: 0,
        }
    }
}

impl<E> Queue<E> {
    /// Plans `event` for `at`.
    pub fn plan(&mut self, at: Ns, event: E) {
        self.planned += 1;
        self.heap.push(Planned {
            at,
            number: self.planned,
            event,
        });
    }

    /// The next event and its time, if it comes by `end`.
    pub fn next(&mut self, end: Ns) -> Option<(Ns, E)> {
        if self.heap.peek()?.at > end {
            return None;
        }
        self.heap.pop().map(|planned| (planned.at, planned.event))
    }

    /// How many events were ever planned.
    pub const fn planned(&self) -> u64 {
        self.planned
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Planned<E> {}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Planned<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the greatest, and the earliest is wanted.
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}
