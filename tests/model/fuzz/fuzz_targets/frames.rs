//! Any bytes as a frame, under tables that the first two choose.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| speaker_ebpf::model::fuzz_frame(data));
