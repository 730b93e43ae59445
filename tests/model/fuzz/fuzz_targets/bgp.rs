//! Any bytes as what a BGP peer sends.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| model_tests::bgp::exercise(data));
