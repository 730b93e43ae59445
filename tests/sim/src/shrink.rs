//! The smallest part of a history that still breaks a promise.
//!
//! Faults are left out one by one, for as long as one can be; what is left is usually what matters.

use crate::history::History;
use crate::oracle::{Broken, Promise};
use crate::run::run;

/// A history with the faults that it needs to break the promise, by their places in the whole one.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The places of the faults that are left.
    pub kept: Vec<usize>,
    /// The promise that is broken.
    pub broken: Broken,
}

/// Leaves out of a failing history whatever it does not need to break the same promise.
pub fn shrink(history: &History, broken: Broken) -> Shrunk {
    let mut shrunk = Shrunk {
        kept: (0..history.faults.len()).collect(),
        broken,
    };
    let promise: Promise = shrunk.broken.promise;
    loop {
        let smaller = (0..shrunk.kept.len()).find_map(|left_out| {
            let mut kept = shrunk.kept.clone();
            kept.remove(left_out);
            let broken = run(&history.keeping(&kept)).broken?;
            (broken.promise == promise).then_some(Shrunk { kept, broken })
        });
        match smaller {
            Some(smaller) => shrunk = smaller,
            None => return shrunk,
        }
    }
}
