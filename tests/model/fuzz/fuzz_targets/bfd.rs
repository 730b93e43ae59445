//! Any bytes as the history of one side of a BFD session.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| model_tests::bfd::exercise(data));
