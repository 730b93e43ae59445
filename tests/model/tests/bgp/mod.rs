//! The codec of BGP against the committed corpus and against what real peers said.

mod corpus;
mod peers;

use crate::hex;
use std::path::Path;

/// The committed corpus: names, and streams of a peer.
fn streams() -> Vec<(String, Vec<u8>)> {
    hex::corpus(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/bgp"))
}

/// Chance from a seed, by Knuth's linear congruence.
struct Chance(u64);

impl Chance {
    /// Any 31 bits.
    fn bits(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }
}
