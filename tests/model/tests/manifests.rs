//! The committed corpus of manifests, each file whole, cut short and damaged: no text makes the reader fall or stall.

use model_tests::manifests::exercise;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Suites shrink by accident: fewer files than this are a mistake.
const FILES_MIN: usize = 40;

/// One file takes milliseconds; a stall takes minutes.
const FILE_TIME_MAX: Duration = Duration::from_secs(20);

#[test]
fn the_corpus_does_no_harm() {
    let files = files();
    assert!(files.len() >= FILES_MIN, "only {} files", files.len());
    for file in files {
        let started = Instant::now();
        exercise(&text(&file));
        assert!(
            started.elapsed() < FILE_TIME_MAX,
            "{} takes long",
            file.display()
        );
    }
}

#[test]
fn a_manifest_cut_anywhere_does_no_harm() {
    for file in files() {
        let text = text(&file);
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let step = (places.len() / CUTS).max(1);
        for at in places.into_iter().step_by(step) {
            exercise(&text[..at]);
            exercise(&text[at..]);
        }
    }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/manifests");
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// As the fuzzer sees it: what is no text is no input.
fn text(file: &Path) -> String {
    String::from_utf8(fs::read(file).unwrap()).unwrap_or_default()
}

/// Places at which each file is cut.
const CUTS: usize = 40;
