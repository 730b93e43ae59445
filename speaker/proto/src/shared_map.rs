//! An ordered map of which copies share nearly everything.
//!
//! Whoever shows the state of a node holds it while the next change comes, so a change works on a copy. With thousands of
//! entries a copy of all of them costs more than everything that the change leads to. Here entries stand in chunks
//! that copies have in common: a change copies one chunk and the list of chunks. It knows nothing of what it holds.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Index;
use std::slice;
use std::sync::Arc;

/// A map in the order of its keys. A copy takes constant time; a change of one entry takes time with the number of chunks,
/// and as much again for the entries of one chunk.
#[derive(Clone)]
pub struct SharedMap<K, V> {
    /// None is empty, and each is in order and before the next.
    chunks: Arc<Vec<Arc<Chunk<K, V>>>>,
    len: usize,
}

type Chunk<K, V> = Vec<(K, V)>;

impl<K, V> SharedMap<K, V> {
    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every entry, in the order of keys.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter {
            chunks: self.chunks.iter(),
            chunk: [].iter(),
            left: self.len,
        }
    }

    /// The entries whose keys are not before `first`, in the order of keys.
    pub fn iter_from(&self, first: &K) -> impl Iterator<Item = (&K, &V)>
    where
        K: Ord,
    {
        let at = chunk_of(&self.chunks, first);
        let chunk = self.chunks.get(at);
        let before = chunk.map_or(0, |chunk| chunk.partition_point(|(key, _)| key < first));
        let entries = self.chunks[at..].iter().flat_map(|chunk| chunk.iter());
        entries.skip(before).map(|(key, value)| (key, value))
    }

    /// Every key, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// Every value, in the order of keys.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Whether both are the same version: no entry was put or removed since one was copied from the other. If not, they
    /// may be equal nevertheless.
    pub fn is_same_version(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks)
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(chunk_of(&self.chunks, key))?;
        let at = place_of(chunk, key).ok()?;
        Some(&chunk[at].1)
    }

    /// Whether there is an entry of this key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }
}

impl<K: Ord, V> SharedMap<K, V> {
    /// The keys that only one of both has, and those whose values are not `same`, in order. Takes time with what was
    /// put and removed since one was copied from the other.
    pub fn differing<'m>(&'m self, other: &'m Self, same: impl Fn(&V, &V) -> bool) -> Vec<&'m K> {
        if self.is_same_version(other) {
            return Vec::new();
        }
        let (mut ours, mut theirs) = (self.apart(other).peekable(), other.apart(self).peekable());
        let mut keys = Vec::new();
        loop {
            let order = match (ours.peek(), theirs.peek()) {
                (Some((key, _)), Some((other, _))) => key.cmp(other),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return keys,
            };
            let mine = if order.is_le() { ours.next() } else { None };
            let other = if order.is_ge() { theirs.next() } else { None };
            match (mine, other) {
                (Some((_, value)), Some((_, other))) if same(value, other) => {}
                (Some((key, _)), _) | (None, Some((key, _))) => keys.push(key),
                (None, None) => {}
            }
        }
    }

    /// The entries in chunks that both do not share.
    fn apart<'m>(&'m self, from: &Self) -> impl Iterator<Item = &'m (K, V)> {
        let shared: BTreeSet<_> = from.chunks.iter().map(Arc::as_ptr).collect();
        let chunks = self.chunks.iter();
        chunks
            .filter(move |chunk| !shared.contains(&Arc::as_ptr(chunk)))
            .flat_map(|chunk| chunk.iter())
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// Puts a value in the place of the one that the key had, which is returned.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let chunks = Arc::make_mut(&mut self.chunks);
        // What comes after every other key goes into the last chunk.
        let at = chunk_of(chunks, &key).min(chunks.len().saturating_sub(1));
        let Some(chunk) = chunks.get_mut(at) else {
            chunks.push(Arc::new(vec![(key, value)]));
            self.len = 1;
            return None;
        };
        let chunk = Arc::make_mut(chunk);
        match place_of(chunk, &key) {
            Ok(place) => Some(std::mem::replace(&mut chunk[place].1, value)),
            Err(place) => {
                self.len += 1;
                if chunk.len() < CHUNK_MAX {
                    chunk.insert(place, (key, value));
                    return None;
                }
                // Keys that come in order leave full chunks behind them.
                let kept = if place == CHUNK_MAX {
                    CHUNK_MAX
                } else {
                    CHUNK_MAX / 2
                };
                let mut rest = chunk.split_off(kept);
                match place.checked_sub(kept) {
                    Some(place) => rest.insert(place, (key, value)),
                    None => chunk.insert(place, (key, value)),
                }
                chunks.insert(at + 1, Arc::new(rest));
                None
            }
        }
    }

    /// Puts these entries, which come in the order of keys, in the place of all that it holds. What stays as it was goes on being
    /// shared with copies.
    pub fn replace<'k>(&mut self, entries: impl Iterator<Item = (&'k K, V)>)
    where
        K: 'k,
        V: PartialEq,
    {
        let (mut gone, mut news) = (Vec::new(), Vec::new());
        let mut old = self.iter().peekable();
        for (key, value) in entries {
            let before = loop {
                // One comparison for each key: names have long beginnings in common.
                match old.peek().map(|(known, _)| (*known).cmp(key)) {
                    Some(Ordering::Less) => gone.extend(old.next().map(|(known, _)| known.clone())),
                    Some(Ordering::Equal) => break old.next().map(|(_, before)| before),
                    Some(Ordering::Greater) | None => break None,
                }
            };
            if before != Some(&value) {
                news.push((key.clone(), value));
            }
        }
        gone.extend(old.map(|(known, _)| known.clone()));
        for key in &gone {
            self.remove(key);
        }
        for (key, value) in news {
            self.insert(key, value);
        }
    }

    /// Takes an entry away and returns its value. Where there is none, nothing is copied.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = chunk_of(&self.chunks, key);
        let place = place_of(self.chunks.get(at)?, key).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(&mut chunks[at]);
        let (_, value) = chunk.remove(place);
        self.len -= 1;
        if chunk.is_empty() {
            chunks.remove(at);
        } else if chunk.len() < CHUNK_MAX / 4 {
            join(chunks, at);
            if let Some(before) = at.checked_sub(1) {
                join(chunks, before);
            }
        }
        Some(value)
    }
}

/// Joins a chunk with the next one, if there is room: chunks that wither one by one would become many.
fn join<K: Clone, V: Clone>(chunks: &mut Vec<Arc<Chunk<K, V>>>, at: usize) {
    let has_room = |next: &Arc<Chunk<K, V>>| chunks[at].len() + next.len() <= CHUNK_MAX;
    if chunks.get(at + 1).is_some_and(has_room) {
        let next = chunks.remove(at + 1);
        Arc::make_mut(&mut chunks[at]).extend(next.iter().cloned());
    }
}

/// The first chunk that does not end before `key`.
fn chunk_of<K: Borrow<Q>, V, Q: Ord + ?Sized>(chunks: &[Arc<Chunk<K, V>>], key: &Q) -> usize {
    let ends_before = |chunk: &Arc<Chunk<K, V>>| {
        let last = chunk.last().map(|(last, _)| last.borrow().cmp(key));
        last == Some(Ordering::Less)
    };
    chunks.partition_point(ends_before)
}

fn place_of<K: Borrow<Q>, V, Q: Ord + ?Sized>(chunk: &[(K, V)], key: &Q) -> Result<usize, usize> {
    chunk.binary_search_by(|(k, _)| k.borrow().cmp(key))
}

/// The entries of a map, in the order of keys.
#[derive(Debug)]
pub struct Iter<'m, K, V> {
    chunks: slice::Iter<'m, Arc<Chunk<K, V>>>,
    chunk: slice::Iter<'m, (K, V)>,
    left: usize,
}

impl<'m, K, V> Iterator for Iter<'m, K, V> {
    type Item = (&'m K, &'m V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.chunk.next() {
                self.left -= 1;
                return Some((key, value));
            }
            self.chunk = self.chunks.next()?.iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<K, V> ExactSizeIterator for Iter<'_, K, V> {}

impl<'m, K, V> IntoIterator for &'m SharedMap<K, V> {
    type Item = (&'m K, &'m V);
    type IntoIter = Iter<'m, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K: Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for SharedMap<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key)
            .expect("who indexes knows that the key is there")
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self {
            chunks: Arc::default(),
            len: 0,
        }
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

impl<K: Eq, V: Eq> Eq for SharedMap<K, V> {}

impl<K: PartialEq, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same_version(other) || self.iter().eq(other.iter())
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Entries of a chunk: about as many as there are chunks in a map of ten thousand, when a change costs least.
const CHUNK_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A key to put, or to take away.
    fn changes() -> impl Strategy<Value = Vec<(u16, bool)>> {
        let of = |keys| proptest::collection::vec((keys, any::<bool>()), 0..600);
        // Few keys meet again; many fill chunks.
        prop_oneof![of(0_u16..40), of(0_u16..2_000)]
    }

    fn shared(keys: impl IntoIterator<Item = u16>) -> SharedMap<u16, usize> {
        let mut map = SharedMap::default();
        for key in keys {
            map.insert(key, usize::from(key));
        }
        map
    }

    fn assert_lawful(map: &SharedMap<u16, usize>) {
        let chunks = map.chunks.iter();
        assert!(
            chunks
                .clone()
                .all(|chunk| (1..=CHUNK_MAX).contains(&chunk.len()))
        );
        assert_eq!(chunks.map(|chunk| chunk.len()).sum::<usize>(), map.len());
        assert!(map.keys().is_sorted_by(|a, b| a < b));
    }

    proptest! {
        #[test]
        fn it_holds_what_an_ordinary_map_holds(changes in changes()) {
            let (mut ours, mut theirs) = (SharedMap::default(), BTreeMap::new());
            for (i, (key, is_put)) in changes.into_iter().enumerate() {
                if is_put {
                    prop_assert_eq!(ours.insert(key, i), theirs.insert(key, i));
                } else {
                    prop_assert_eq!(ours.remove(&key), theirs.remove(&key));
                }
                prop_assert_eq!(ours.get(&key), theirs.get(&key));
                prop_assert_eq!(ours.contains_key(&key), theirs.contains_key(&key));
                assert_lawful(&ours);
            }
            prop_assert!(ours.iter().eq(theirs.iter()));
            for first in (0..2_001).step_by(29) {
                prop_assert!(ours.iter_from(&first).eq(theirs.range(first..)));
            }
            prop_assert_eq!(ours.values().len(), theirs.len());
            prop_assert_eq!(ours.is_empty(), theirs.is_empty());
        }

        #[test]
        fn what_is_put_in_the_place_of_all_is_all_that_there_is(before in changes(), after in changes()) {
            let mut map = shared(before.iter().map(|(key, _)| *key));
            let old = map.clone();
            let wanted: BTreeMap<u16, usize> = after.iter().map(|(key, _)| (*key, usize::from(key % 100))).collect();
            map.replace(wanted.iter().map(|(key, value)| (key, *value)));
            assert_lawful(&map);
            prop_assert!(map.iter().eq(wanted.iter()));
            map.replace(old.iter().map(|(key, value)| (key, *value)));
            prop_assert_eq!(&map, &old);
        }

        #[test]
        fn a_copy_stays_as_it_was(before in changes(), after in changes()) {
            let mut map = shared(before.iter().map(|(key, _)| *key));
            let copy = map.clone();
            let was: Vec<_> = copy.iter().map(|(k, v)| (*k, *v)).collect();
            for (key, is_put) in after {
                if is_put {
                    map.insert(key, usize::MAX);
                } else {
                    map.remove(&key);
                }
            }
            prop_assert!(copy.iter().map(|(k, v)| (*k, *v)).eq(was));
        }

        #[test]
        fn what_differs_is_found(before in changes(), after in changes()) {
            let old = shared(before.iter().map(|(key, _)| *key));
            let mut new = old.clone();
            for (key, is_put) in after {
                if is_put {
                    new.insert(key, usize::from(key % 3));
                } else {
                    new.remove(&key);
                }
            }
            let found: Vec<u16> = new.differing(&old, usize::eq).into_iter().copied().collect();
            let differs = |key: &u16| old.get(key) != new.get(key);
            prop_assert_eq!(found, (0..2_000).filter(differs).collect::<Vec<u16>>());
        }

        #[test]
        fn maps_are_equal_by_what_they_hold(keys in changes()) {
            let there = shared(keys.iter().map(|(key, _)| *key));
            let mut back = shared(keys.iter().rev().map(|(key, _)| *key));
            prop_assert_eq!(&there, &back);
            back.insert(5_000, 0);
            prop_assert_ne!(&there, &back);
        }
    }

    #[test]
    fn a_change_copies_one_chunk() {
        let before = shared(0..2_000);
        let mut after = before.clone();
        after.insert(1_000, 0);
        after.remove(&1_001);
        let kept = |chunk: &&Arc<_>| before.chunks.iter().any(|old| Arc::ptr_eq(old, chunk));
        assert_eq!(
            after.chunks.iter().filter(kept).count(),
            before.chunks.len() - 1
        );
    }

    #[test]
    fn what_is_replaced_by_the_same_stays_the_same_version() {
        let before = shared(0..2_000);
        let mut after = before.clone();
        after.replace(before.iter().map(|(key, value)| (key, *value)));
        assert!(after.is_same_version(&before));
    }

    #[test]
    fn entries_that_come_in_order_leave_no_room_behind() {
        let map = shared(0..2_000);
        let room: usize = map.chunks.iter().map(|chunk| chunk.capacity()).sum();
        assert!(room < 2_000 + CHUNK_MAX, "{room}");
    }

    #[test]
    fn a_copy_is_the_same_version_until_either_changes() {
        let before = shared(0..100);
        let mut after = before.clone();
        assert_eq!(after.remove(&100), None);
        assert!(after.is_same_version(&before));
        after.remove(&99);
        assert!(!after.is_same_version(&before));
    }

    #[test]
    fn what_is_left_of_many_entries_does_not_stand_in_many_chunks() {
        let mut map = shared(0..2_000);
        for key in (0..2_000).filter(|key| key % 50 != 0) {
            map.remove(&key);
        }
        assert_eq!(map.len(), 40);
        assert!(map.chunks.len() <= 4, "{}", map.chunks.len());
    }
}
