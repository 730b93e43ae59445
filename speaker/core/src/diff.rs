//! From what a table holds to what it should hold.
//!
//! [`diff`] and [`Table`] are the only way into a kernel map: at start, on change, on repair.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// One change of one table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change<K, V> {
    /// Write this value, whether or not the key exists.
    Put(K, V),
    /// Take the key away; absent is fine.
    Remove(K),
}

/// What must change so that `have` becomes `want`: puts in key order, then removals in key order.
pub fn diff<K: Ord + Clone, V: PartialEq + Clone>(
    have: &BTreeMap<K, V>,
    want: &BTreeMap<K, V>,
) -> Vec<Change<K, V>> {
    let mut puts = Vec::new();
    let mut removals = Vec::new();
    // Both are walked once in step: a lookup per key would cost several times as much in large tables.
    let mut old = have.iter().peekable();
    for (key, value) in want {
        let before = loop {
            // One comparison for each key: names have long beginnings in common.
            match old.peek().map(|(k, _)| (*k).cmp(key)) {
                Some(Ordering::Less) => {
                    let gone = old.next().map(|(k, _)| Change::Remove(k.clone()));
                    removals.extend(gone);
                }
                Some(Ordering::Equal) => break old.next().map(|(_, value)| value),
                Some(Ordering::Greater) | None => break None,
            }
        };
        if before != Some(value) {
            puts.push(Change::Put(key.clone(), value.clone()));
        }
    }
    removals.extend(old.map(|(gone, _)| Change::Remove(gone.clone())));
    puts.append(&mut removals);
    puts
}

/// A table that can be read whole and changed key by key.
pub trait Table<K, V> {
    /// What may go wrong, such as a full map.
    type Error;

    /// Everything that it holds now.
    fn read(&self) -> Result<BTreeMap<K, V>, Self::Error>;

    /// Makes one change.
    fn apply(&mut self, change: &Change<K, V>) -> Result<(), Self::Error>;
}

impl<K: Ord + Clone, V: Clone> Table<K, V> for BTreeMap<K, V> {
    type Error = std::convert::Infallible;

    fn read(&self) -> Result<BTreeMap<K, V>, Self::Error> {
        Ok(self.clone())
    }

    fn apply(&mut self, change: &Change<K, V>) -> Result<(), Self::Error> {
        match change {
            Change::Put(key, value) => self.insert(key.clone(), value.clone()),
            Change::Remove(key) => self.remove(key),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tables() -> impl Strategy<Value = BTreeMap<u8, u8>> {
        proptest::collection::btree_map(0_u8..20, 0_u8..3, 0..20)
    }

    proptest! {
        #[test]
        fn applying_a_difference_makes_both_equal(mut have in tables(), want in tables()) {
            for change in diff(&have.clone(), &want) {
                let Ok(()) = have.apply(&change);
            }
            prop_assert_eq!(have.read(), Ok(want));
        }

        #[test]
        fn a_difference_has_no_change_too_many(have in tables(), want in tables()) {
            for change in diff(&have, &want) {
                match change {
                    Change::Put(key, value) => prop_assert_ne!(have.get(&key), Some(&value)),
                    Change::Remove(key) => prop_assert!(have.contains_key(&key)),
                }
            }
            prop_assert_eq!(diff(&want, &want), vec![]);
        }

        #[test]
        fn puts_come_before_removals(have in tables(), want in tables()) {
            let changes = diff(&have, &want);
            let is_put = |change: &Change<u8, u8>| matches!(change, Change::Put(..));
            prop_assert!(changes.is_sorted_by_key(|change| !is_put(change)));
        }
    }
}
