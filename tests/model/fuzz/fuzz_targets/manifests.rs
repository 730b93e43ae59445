//! Any text as manifests.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| model_tests::manifests::exercise(text));
