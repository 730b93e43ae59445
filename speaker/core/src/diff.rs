//! From what a table holds to what it should hold.
//!
//! [`diff`] and [`Table`] are the only way into a kernel map: at start, on change, on repair.

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
        while let Some((gone, _)) = old.next_if(|(k, _)| *k < key) {
            removals.push(Change::Remove(gone.clone()));
        }
        let before = old.next_if(|(k, _)| *k == key).map(|(_, value)| value);
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
