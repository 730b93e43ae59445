//! Typed access to the pinned maps.
//!
//! The ABI's keys and values cross into the kernel as byte arrays, so that no foreign trait has to be promised for
//! them. Knows how each map is read and written, not what should be in it.

use super::pins::Pins;
use anyhow::{Context, Result, anyhow, ensure};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{
    Array, HashMap as BpfHash, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues,
};
use bytemuck::Pod;
use speaker_core::diff::{Change, Table};
use speaker_ebpf::abi::MapSpec;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

/// A hash map of the data plane. `KN` and `VN` are the sizes of `K` and `V`.
pub(crate) struct HashTable<K, V, const KN: usize, const VN: usize> {
    map: BpfHash<MapData, [u8; KN], [u8; VN]>,
    name: &'static str,
    types: PhantomData<(K, V)>,
}

/// A longest-prefix-match trie of the data plane, whose values mean nothing.
pub(crate) struct TrieTable<K, const KN: usize> {
    map: LpmTrie<MapData, [u8; KN], u32>,
    name: &'static str,
    types: PhantomData<K>,
}

/// An array map of the data plane, seen as a table of its elements that are not all zero.
pub(crate) struct ArrayTable {
    map: Array<MapData, u64>,
    name: &'static str,
}

/// An array map of elements that are more than a word.
pub(crate) struct WideArray<V, const VN: usize> {
    map: Array<MapData, [u8; VN]>,
    name: &'static str,
    types: PhantomData<V>,
}

/// A per-CPU array.
pub(crate) struct CpuArray<V, const VN: usize> {
    map: PerCpuArray<MapData, [u8; VN]>,
    name: &'static str,
    types: PhantomData<V>,
}

/// A per-CPU hash map by `u32`.
pub(crate) struct CpuHash<V, const VN: usize> {
    map: PerCpuHashMap<MapData, u32, [u8; VN]>,
    name: &'static str,
    types: PhantomData<V>,
}

/// A per-CPU hash map, read and never written.
pub(crate) struct CpuRows<K, V, const KN: usize, const VN: usize> {
    map: PerCpuHashMap<MapData, [u8; KN], [u8; VN]>,
    name: &'static str,
    types: PhantomData<(K, V)>,
}

/// Opens the pin of one map as the type that its ABI says.
pub(crate) fn open<T: TryFrom<Map, Error = MapError>>(pins: &Pins, spec: &MapSpec) -> Result<T> {
    let what = || format!("failed to open the map {}", pins.map(spec).display());
    let data = MapData::from_pin(pins.map(spec)).with_context(what)?;
    let map = Map::from_map_data(data).with_context(what)?;
    T::try_from(map).with_context(what)
}

impl<K: Pod, V: Pod, const KN: usize, const VN: usize> HashTable<K, V, KN, VN> {
    /// Opens it from its pin.
    pub(crate) fn open(pins: &Pins, spec: &MapSpec) -> Result<Self> {
        const { assert!(size_of::<K>() == KN && size_of::<V>() == VN) };
        Ok(Self {
            map: open(pins, spec)?,
            name: spec.name,
            types: PhantomData,
        })
    }

    /// All rows, in whatever order the kernel has them. A row that goes or comes meanwhile may be missed.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Result<(K, V)>> + '_ {
        self.map.iter().filter_map(|row| match row {
            Ok((key, value)) => Some(Ok((from_bytes(&key), from_bytes(&value)))),
            Err(MapError::KeyNotFound) => None,
            Err(error) => Some(Err(
                anyhow!(error).context(format!("failed to read {}", self.name))
            )),
        })
    }

    /// Writes one row.
    pub(crate) fn put(&mut self, key: &K, value: &V) -> Result<()> {
        self.map
            .insert(to_bytes(key), to_bytes::<V, VN>(value), 0)
            .with_context(|| format!("failed to write to {}", self.name))
    }

    /// Takes one row away; absent is fine.
    pub(crate) fn remove(&mut self, key: &K) -> Result<()> {
        let removed = self.map.remove(&to_bytes(key));
        absent_is_fine(removed).with_context(|| format!("failed to remove from {}", self.name))
    }
}

impl<K: Pod + Ord, V: Pod, const KN: usize, const VN: usize> Table<K, V>
    for HashTable<K, V, KN, VN>
{
    type Error = anyhow::Error;

    fn read(&self) -> Result<BTreeMap<K, V>> {
        self.rows().collect()
    }

    fn apply(&mut self, change: &Change<K, V>) -> Result<()> {
        match change {
            Change::Put(key, value) => self.put(key, value),
            Change::Remove(key) => self.remove(key),
        }
    }
}

impl<K: Pod, const KN: usize> TrieTable<K, KN> {
    /// Opens it from its pin.
    pub(crate) fn open(pins: &Pins, spec: &MapSpec) -> Result<Self> {
        const { assert!(size_of::<K>() == KN) };
        Ok(Self {
            map: open(pins, spec)?,
            name: spec.name,
            types: PhantomData,
        })
    }
}

impl<K: Pod + Ord, const KN: usize> Table<(u32, K), u32> for TrieTable<K, KN> {
    type Error = anyhow::Error;

    fn read(&self) -> Result<BTreeMap<(u32, K), u32>> {
        let rows = self.map.iter().filter_map(|row| match row {
            Ok((key, value)) => Some(Ok(((key.prefix_len(), from_bytes(&key.data())), value))),
            Err(MapError::KeyNotFound) => None,
            Err(error) => Some(Err(
                anyhow!(error).context(format!("failed to read {}", self.name))
            )),
        });
        rows.collect()
    }

    fn apply(&mut self, change: &Change<(u32, K), u32>) -> Result<()> {
        match change {
            Change::Put((bits, key), value) => self
                .map
                .insert(&Key::new(*bits, to_bytes(key)), value, 0)
                .with_context(|| format!("failed to write to {}", self.name)),
            Change::Remove((bits, key)) => {
                let removed = self.map.remove(&Key::new(*bits, to_bytes(key)));
                absent_is_fine(removed)
                    .with_context(|| format!("failed to remove from {}", self.name))
            }
        }
    }
}

impl ArrayTable {
    /// Opens it from its pin.
    pub(crate) fn open(pins: &Pins, spec: &MapSpec) -> Result<Self> {
        Ok(Self {
            map: open(pins, spec)?,
            name: spec.name,
        })
    }

    /// One element.
    pub(crate) fn get(&self, index: u32) -> Result<u64> {
        self.map
            .get(&index, 0)
            .with_context(|| format!("failed to read {}[{index}]", self.name))
    }

    /// Overwrites one element.
    pub(crate) fn set(&mut self, index: u32, value: u64) -> Result<()> {
        self.map
            .set(index, value, 0)
            .with_context(|| format!("failed to write {}[{index}]", self.name))
    }
}

impl Table<u32, u64> for ArrayTable {
    type Error = anyhow::Error;

    fn read(&self) -> Result<BTreeMap<u32, u64>> {
        let mut rows = BTreeMap::new();
        for index in 0..self.map.len() {
            let value = self.get(index)?;
            if value != 0 {
                rows.insert(index, value);
            }
        }
        Ok(rows)
    }

    fn apply(&mut self, change: &Change<u32, u64>) -> Result<()> {
        match change {
            Change::Put(index, value) => self.set(*index, *value),
            Change::Remove(index) => self.set(*index, 0),
        }
    }
}

impl<V: Pod, const VN: usize> WideArray<V, VN> {
    /// Opens it from its pin.
    pub(crate) fn open(pins: &Pins, spec: &MapSpec) -> Result<Self> {
        const { assert!(size_of::<V>() == VN) };
        Ok(Self {
            map: open(pins, spec)?,
            name: spec.name,
            types: PhantomData,
        })
    }

    /// One element.
    pub(crate) fn get(&self, index: u32) -> Result<V> {
        let value = self.map.get(&index, 0);
        let value = value.with_context(|| format!("failed to read {}[{index}]", self.name))?;
        Ok(from_bytes(&value))
    }

    /// Overwrites one element.
    pub(crate) fn set(&mut self, index: u32, value: &V) -> Result<()> {
        self.map
            .set(index, to_bytes::<V, VN>(value), 0)
            .with_context(|| format!("failed to write {}[{index}]", self.name))
    }
}

impl<V: Pod, const VN: usize> CpuArray<V, VN> {
    /// Opens it from its pin.
    pub(crate) fn open(pins: &Pins, spec: &MapSpec) -> Result<Self> {
        const { assert!(size_of::<V>() == VN) };
        Ok(Self {
            map: open(pins, spec)?,
            name: spec.name,
            types: PhantomData,
        })
    }

    /// One element, as each CPU has it.
    pub(crate) fn get(&self, index: u32) -> Result<Vec<V>> {
        let values = self.map.get(&index, 0);
        let values = values.with_context(|| format!("failed to read {}[{index}]", self.name))?;
        Ok(values.iter().map(from_bytes).collect())
    }

    /// Zeroes one element on every CPU.
    pub(crate) fn zero(&mut self, index: u32) -> Result<()> {
        self.map
            .set(index, zeros()?, 0)
            .with_context(|| format!("failed to zero {}[{index}]", self.name))
    }
}

impl<V: Pod, const VN: usize> CpuHash<V, VN> {
    /// Opens it from its pin.
    pub(crate) fn open(pins: &Pins, spec: &MapSpec) -> Result<Self> {
        const { assert!(size_of::<V>() == VN) };
        Ok(Self {
            map: open(pins, spec)?,
            name: spec.name,
            types: PhantomData,
        })
    }

    /// The value of a key as each CPU has it; `None` if there is no such row.
    pub(crate) fn get(&self, key: u32) -> Result<Option<Vec<V>>> {
        match self.map.get(&key, 0) {
            Ok(values) => Ok(Some(values.iter().map(from_bytes).collect())),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(anyhow!(error).context(format!("failed to read {}", self.name))),
        }
    }

    /// The keys that have a row.
    pub(crate) fn keys(&self) -> Result<BTreeSet<u32>> {
        let keys = self.map.keys().collect::<Result<_, _>>();
        keys.with_context(|| format!("failed to list {}", self.name))
    }

    /// Makes the row of a key, zero on every CPU.
    pub(crate) fn zero(&mut self, key: u32) -> Result<()> {
        let removed = absent_is_fine(self.map.remove(&key));
        removed.with_context(|| format!("failed to remove from {}", self.name))?;
        self.map
            .insert(key, zeros()?, 0)
            .with_context(|| format!("failed to write to {}", self.name))
    }

    /// Takes the row of a key away; absent is fine.
    pub(crate) fn remove(&mut self, key: u32) -> Result<()> {
        let removed = absent_is_fine(self.map.remove(&key));
        removed.with_context(|| format!("failed to remove from {}", self.name))
    }
}

impl<K: Pod, V: Pod, const KN: usize, const VN: usize> CpuRows<K, V, KN, VN> {
    /// Opens it from its pin.
    pub(crate) fn open(pins: &Pins, spec: &MapSpec) -> Result<Self> {
        const { assert!(size_of::<K>() == KN && size_of::<V>() == VN) };
        Ok(Self {
            map: open(pins, spec)?,
            name: spec.name,
            types: PhantomData,
        })
    }

    /// All rows, with the value of each CPU. A row that goes or comes meanwhile may be missed.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Result<(K, Vec<V>)>> + '_ {
        self.map.iter().filter_map(|row| match row {
            Ok((key, values)) => {
                let values = values.iter().map(from_bytes).collect();
                Some(Ok((from_bytes(&key), values)))
            }
            Err(MapError::KeyNotFound) => None,
            Err(error) => Some(Err(
                anyhow!(error).context(format!("failed to read {}", self.name))
            )),
        })
    }
}

fn zeros<const N: usize>() -> Result<PerCpuValues<[u8; N]>> {
    let cpus = aya::util::nr_cpus().map_err(|(path, error)| {
        anyhow!(error).context(format!("failed to count CPUs in {path}"))
    })?;
    ensure!(cpus > 0, "the kernel lists no CPU");
    PerCpuValues::try_from(vec![[0; N]; cpus]).context("failed to make values for every CPU")
}

pub(crate) fn absent_is_fine(removed: Result<(), MapError>) -> Result<(), MapError> {
    match removed {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        other => other,
    }
}

fn to_bytes<T: Pod, const N: usize>(value: &T) -> [u8; N] {
    bytemuck::bytes_of(value)
        .try_into()
        .expect("N is the size of T, checked at compile time")
}

fn from_bytes<T: Pod, const N: usize>(bytes: &[u8; N]) -> T {
    bytemuck::pod_read_unaligned(bytes)
}
