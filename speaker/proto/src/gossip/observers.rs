//! Who observes whom: a pure function of who is alive, so that nobody has to be told.
//!
//! Highest random weight on pairs of nodes: when one goes, only its own places are filled anew.

use super::OBSERVERS;
use crate::member::NodeId;

/// The first [`OBSERVERS`] of `live` for `subject`, best first; the subject itself is none.
pub(super) fn observers(live: impl Iterator<Item = NodeId>, subject: NodeId) -> Vec<NodeId> {
    let mut best: Vec<(u64, NodeId)> = Vec::with_capacity(OBSERVERS + 1);
    for node in live.filter(|node| *node != subject) {
        let ranked = (rank(node, subject), node);
        if best.len() == OBSERVERS && best.last().is_some_and(|last| *last <= ranked) {
            continue;
        }
        let at = best.partition_point(|other| *other < ranked);
        best.insert(at, ranked);
        best.truncate(OBSERVERS);
    }
    best.into_iter().map(|(_, node)| node).collect()
}

/// Whether `node`, which is alive, observes `subject`. Looks at no more of `live` than it must.
pub(super) fn observes(live: impl Iterator<Item = NodeId>, node: NodeId, subject: NodeId) -> bool {
    let own = (rank(node, subject), node);
    node != subject
        && live
            .filter(|other| *other != subject && (rank(*other, subject), *other) < own)
            .nth(OBSERVERS - 1)
            .is_none()
}

fn rank(observer: NodeId, subject: NodeId) -> u64 {
    mix(observer.0 ^ mix(subject.0))
}

/// Spreads every bit over all (the finalizer of SplitMix64).
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u64) -> impl Iterator<Item = NodeId> + Clone {
        (1..=count).map(NodeId)
    }

    #[test]
    fn everybody_observes_everybody_in_a_small_cluster() {
        assert_eq!(observers(nodes(3), NodeId(2)).len(), 2);
        assert_eq!(observers(nodes(1), NodeId(1)), []);
        assert_eq!(observers(nodes(100), NodeId(2)).len(), OBSERVERS);
    }

    #[test]
    fn both_questions_have_one_answer() {
        for subject in nodes(40) {
            let named = observers(nodes(40), subject);
            for node in nodes(40) {
                assert_eq!(
                    observes(nodes(40), node, subject),
                    named.contains(&node),
                    "{node} {subject}"
                );
            }
        }
    }

    #[test]
    fn a_node_that_goes_changes_only_its_own_places() {
        let gone = NodeId(7);
        for subject in nodes(40).filter(|node| *node != gone) {
            let before = observers(nodes(40), subject);
            let after = observers(nodes(40).filter(|node| *node != gone), subject);
            let kept = before.iter().filter(|node| **node != gone);
            assert!(
                kept.eq(after
                    .iter()
                    .take(before.len() - usize::from(before.contains(&gone))))
            );
        }
    }

    #[test]
    fn the_work_is_spread() {
        let subjects = |node| {
            nodes(100)
                .filter(|subject| observes(nodes(100), node, *subject))
                .count()
        };
        let most = nodes(100).map(subjects).max();
        assert!(most < Some(16), "{most:?}");
    }
}
