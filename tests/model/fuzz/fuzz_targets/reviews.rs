//! Any bytes as a review for the webhooks.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| model_tests::reviews::exercise(data));
