//! The committed corpus of reviews, each file whole, cut short and damaged: no bytes make the webhooks fall.

use model_tests::reviews::exercise;
use std::fs;
use std::path::Path;

/// Suites shrink by accident: fewer files than this are a mistake.
const FILES_MIN: usize = 17;

#[test]
fn the_corpus_does_no_harm() {
    let files = files();
    assert!(files.len() >= FILES_MIN, "only {} files", files.len());
    files.iter().for_each(|bytes| exercise(bytes));
}

#[test]
fn a_review_cut_or_damaged_anywhere_does_no_harm() {
    for bytes in files() {
        let step = (bytes.len() / PLACES).max(1);
        for at in (0..bytes.len()).step_by(step) {
            exercise(&bytes[..at]);
            for byte in *b"0\"}]" {
                let mut damaged = bytes.clone();
                damaged[at] = byte;
                exercise(&damaged);
            }
        }
    }
}

fn files() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/reviews");
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files = entries.map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files.collect()
}

/// Places at which each file is cut and damaged.
const PLACES: usize = 60;
