//! The codec of BGP against the committed corpus, against what real peers said, and against another's codec.

mod corpus;
mod meaning;
mod oracle;
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

    fn below(&mut self, end: usize) -> usize {
        self.bits() as usize % end.max(1)
    }

    fn is_heads(&mut self) -> bool {
        self.below(2) == 0
    }
}
