//! The committed corpus of BFD histories, each whole, cut short and damaged: none breaks what must hold of a session.

use crate::hex;
use model_tests::bfd::exercise;
use std::path::Path;

/// Suites shrink by accident: fewer files than this are a mistake.
const FILES_MIN: usize = 13;

#[test]
fn no_history_of_the_corpus_breaks_a_session() {
    let histories = hex::corpus(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/bfd"));
    assert!(
        histories.len() >= FILES_MIN,
        "only {} files",
        histories.len()
    );
    for (_, bytes) in histories {
        exercise(&bytes);
        for at in 0..bytes.len() {
            exercise(&bytes[..at]);
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                exercise(&damaged);
            }
        }
    }
}
