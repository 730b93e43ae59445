//! Chance: what spreads loads over time, and what nobody may guess.

use std::time::Duration;

/// Bytes that nobody can guess, from the kernel.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("a kernel that runs this has getrandom(2)");
    bytes
}

/// A length of time from nothing to just below `span`, all equally likely.
pub(crate) fn within(span: Duration) -> Duration {
    let fraction = f64::from(u32::from_le_bytes(bytes())) / (f64::from(u32::MAX) + 1.0);
    span.mul_f64(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_by_chance_is_below_its_bound() {
        let span = Duration::from_millis(10);
        let drawn: Vec<Duration> = (0..100).map(|_| within(span)).collect();
        assert!(drawn.iter().all(|one| *one < span), "{drawn:?}");
        assert!(drawn.iter().any(|one| *one != drawn[0]), "{drawn:?}");
    }
}
