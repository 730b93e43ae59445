//! Histories are the same for a seed, hold everything, and shrink to what matters.

use super::*;

#[test]
fn a_seed_gives_one_history() {
    let lines = |seed| -> Vec<String> {
        let operations = history(seed, 200, None);
        operations.iter().map(ToString::to_string).collect()
    };
    assert_eq!(lines(7), lines(7));
    assert_ne!(lines(7), lines(8));
}

#[test]
fn every_kind_of_operation_comes_up() {
    let history = history(1, 400, None);
    let has = |is: fn(&Operation) -> bool| history.iter().any(is);
    assert!(has(|op| matches!(op, Operation::Apply(_))));
    assert!(has(|op| matches!(op, Operation::Delete(_))));
    assert!(has(|op| matches!(op, Operation::Empty(_))));
    assert!(has(|op| matches!(op, Operation::Restart)));
    for turn in 1..=REQUESTS_MAX {
        assert!(
            history.contains(&Operation::Kill { requests: turn }),
            "{turn}"
        );
    }
}

#[test]
fn what_does_not_matter_is_left_out() {
    let long = history(3, 100, None);
    let (first, last) = (long[17].clone(), long[80].clone());
    let fails = |shorter: &[Operation]| {
        let at = |op: &Operation| shorter.iter().position(|other| other == op);
        at(&first).is_some() && at(&first) < at(&last)
    };
    assert_eq!(shrink(&long, 1000, fails), [first.clone(), last.clone()]);
}
