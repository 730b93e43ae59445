//! Which node a slot belongs to: Maglev's table (Eisenbud et al., NSDI 2016, §3.4) with weights.
//!
//! Each node walks the slots in an order of its own, and nodes take turns in taking the next one that is free. A node that comes or
//! goes changes hands of little more than its own share. The table hangs on the set alone, so that every node has the same.

use super::Weights;
use speaker_ebpf::abi::steer::MAGLEV_SLOTS;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Slots as `usize`; a prime.
const SLOTS: usize = MAGLEV_SLOTS as usize;

/// For each slot the place of its node among `weights`, in their order; empty if there is no node of weight.
///
/// Nodes of weight 0 have no slot. Shares are within 1 % of the weights for up to a hundred nodes of equal weight. Costs some
/// `SLOTS × ln(SLOTS)` steps whatever the nodes.
pub fn table(weights: &Weights) -> Vec<u16> {
    let nodes = weights.iter().enumerate();
    let mut walks: Vec<Walk> = nodes
        .filter(|(_, (_, weight))| **weight > 0)
        .map(|(place, (node, weight))| Walk::new(place as u16, node.as_str(), *weight))
        .collect();
    let Some(heaviest) = walks.iter().map(|walk| walk.weight).max() else {
        return Vec::new();
    };
    let mut slots = vec![FREE; SLOTS];
    let mut left = SLOTS;
    loop {
        for walk in &mut walks {
            walk.credit += walk.weight;
            if walk.credit < heaviest {
                continue;
            }
            walk.credit -= heaviest;
            let slot = walk.next_free(&slots);
            slots[slot] = walk.place;
            left -= 1;
            if left == 0 {
                return slots;
            }
        }
    }
}

/// No place is that high: there are fewer nodes.
const FREE: u16 = u16::MAX;

/// One node's way through the slots.
struct Walk {
    place: u16,
    weight: u64,
    /// The heaviest takes one slot a round, others one whenever they have saved up as much.
    credit: u64,
    at: usize,
    step: usize,
}

impl Walk {
    fn new(place: u16, node: &str, weight: u32) -> Self {
        let hash = |seed| xxh3_64_with_seed(node.as_bytes(), seed);
        Self {
            place,
            weight: u64::from(weight),
            credit: 0,
            at: (hash(OFFSET_SEED) % SLOTS as u64) as usize,
            step: (hash(STEP_SEED) % (SLOTS as u64 - 1)) as usize + 1,
        }
    }

    /// The next slot of its order that nobody has. There is one, and since their number is prime any step visits them all.
    fn next_free(&mut self, slots: &[u16]) -> usize {
        loop {
            let slot = self.at;
            self.at += self.step;
            if self.at >= SLOTS {
                self.at -= SLOTS;
            }
            if slots[slot] == FREE {
                return slot;
            }
        }
    }
}

const OFFSET_SEED: u64 = 0;
const STEP_SEED: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use speaker_proto::NodeName;
    use std::collections::BTreeMap;

    fn named(count: usize) -> Weights {
        (0..count)
            .map(|i| (format!("node-{i}").parse().unwrap(), 1))
            .collect()
    }

    fn shares(slots: &[u16]) -> BTreeMap<u16, usize> {
        let mut shares = BTreeMap::new();
        for place in slots {
            *shares.entry(*place).or_default() += 1;
        }
        shares
    }

    #[test]
    fn nobody_has_no_table() {
        assert_eq!(table(&Weights::new()), Vec::<u16>::new());
        let idle = BTreeMap::from([("a".parse().unwrap(), 0)]);
        assert_eq!(table(&idle), Vec::<u16>::new());
    }

    #[test]
    fn one_node_has_all() {
        assert_eq!(table(&named(1)), vec![0; SLOTS]);
    }

    #[test]
    fn a_hundred_equal_nodes_have_equal_shares() {
        for count in [2, 3, 5, 10, 100] {
            let slots = table(&named(count));
            let fair = SLOTS as f64 / count as f64;
            for (place, share) in shares(&slots) {
                let off = (share as f64 - fair).abs() / fair;
                assert!(off < 0.01, "{count} nodes: {place} has {share} of {fair}");
            }
        }
    }

    #[test]
    fn a_node_that_goes_moves_little_besides_its_share() {
        let (before, gone) = (named(10), "node-4".parse::<NodeName>().unwrap());
        let mut after = before.clone();
        after.remove(&gone);
        let (old, new) = (table(&before), table(&after));
        let names = |weights: &Weights| weights.keys().cloned().collect::<Vec<_>>();
        let (old_names, new_names) = (names(&before), names(&after));
        let of = |names: &[NodeName], place: u16| names[usize::from(place)].clone();
        let stray = old.iter().zip(&new).filter(|(old, new)| {
            let old = of(&old_names, **old);
            old != gone && old != of(&new_names, **new)
        });
        let stray = stray.count();
        assert!(stray < SLOTS / 20, "{stray} of {SLOTS} moved for nothing");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn shares_are_as_the_weights(weights in proptest::collection::vec(0_u32..20, 1..40)) {
            let set: Weights = weights
                .iter()
                .enumerate()
                .map(|(i, weight)| (format!("n{i:02}").parse().unwrap(), *weight))
                .collect();
            let sum: u32 = weights.iter().sum();
            let slots = table(&set);
            prop_assert_eq!(slots.is_empty(), sum == 0);
            let shares = shares(&slots);
            for (place, weight) in (0..).zip(&weights) {
                let share = shares.get(&place).copied().unwrap_or_default();
                let fair = SLOTS as f64 * f64::from(*weight) / f64::from(sum.max(1));
                // Within a slot for each round that was not finished.
                prop_assert!((share as f64 - fair).abs() <= 1.0 + fair / 100.0, "{place}: {share} of {fair}");
            }
        }
    }
}
