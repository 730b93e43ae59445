//! Makes a history that fails short, by leaving out what does not matter (Zeller's delta debugging).

use super::Operation;

/// The shortest history found that still fails. `fails` is asked at most `tries` times: each may take a while.
pub fn shrink(
    history: &[Operation],
    tries: usize,
    mut fails: impl FnMut(&[Operation]) -> bool,
) -> Vec<Operation> {
    let mut shortest = history.to_vec();
    let mut left = tries;
    let mut chunk = shortest.len() / 2;
    while chunk > 0 && left > 0 {
        let before = shortest.len();
        let mut start = 0;
        while start < shortest.len() && left > 0 {
            let end = (start + chunk).min(shortest.len());
            let shorter: Vec<_> = [&shortest[..start], &shortest[end..]].concat();
            left -= 1;
            if fails(&shorter) {
                shortest = shorter;
            } else {
                start = end;
            }
        }
        // Once nothing more can go in pieces of this size, smaller ones may.
        if shortest.len() == before {
            chunk /= 2;
        }
    }
    shortest
}
