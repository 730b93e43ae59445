//! The committed corpus of what peers send, each file whole, cut short and damaged: no bytes make the reader fall.

use super::{Chance, streams};
use model_tests::bgp::exercise;

/// Suites shrink by accident: fewer files than this are a mistake.
const FILES_MIN: usize = 93;

/// Places at which each file is cut and damaged.
const PLACES: usize = 60;

#[test]
fn the_corpus_does_no_harm() {
    let streams = streams();
    assert!(streams.len() >= FILES_MIN, "only {} files", streams.len());
    streams.iter().for_each(|(_, bytes)| exercise(bytes));
}

#[test]
fn a_stream_cut_or_damaged_anywhere_does_no_harm() {
    let mut chance = Chance(4724);
    for (_, bytes) in streams() {
        let step = (bytes.len() / PLACES).max(1);
        for at in (0..bytes.len()).step_by(step) {
            exercise(&bytes[..at]);
            let mut damaged = bytes.clone();
            damaged[at] = chance.bits() as u8;
            exercise(&damaged);
        }
    }
}
