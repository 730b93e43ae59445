//! Chance from a seed: the same numbers on every machine and in every run.
//!
//! SplitMix64 by Steele, Lea and Flood: one addition and a mixer, good enough for choosing faults and delays. It knows nothing of
//! what is chosen.

/// A source of numbers that only its seed decides.
#[derive(Clone, Debug)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// Everything that follows depends on `seed` alone.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Any number.
    pub const fn any(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The bias is below 2^-32 for the small ends that are asked for.
        self.any() % end
    }

    /// A number from `from` up to, but not, `end`.
    pub fn between(&mut self, from: u64, end: u64) -> u64 {
        from + self.below(end - from)
    }

    /// An index of a list of `len` things.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True `per_mille` times of a thousand.
    pub fn hits(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.below(1000) < per_mille
    }

    /// One of a list that is not empty.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    /// An exponential time with this mean, cut at sixteen times it.
    pub fn exponential(&mut self, mean_ns: u64) -> u64 {
        // Number of halvings before a set bit, and a linear step between: within 4 % of the true curve, without floats, so that no
        // library's logarithm decides what a seed means.
        let bits = self.any() | 1 << 63 >> 22;
        let halvings = u64::from(bits.leading_zeros());
        let within = self.below(1024);
        mean_ns * (halvings * 1024 + within) * 693 / 1000 / 1024
    }
}
