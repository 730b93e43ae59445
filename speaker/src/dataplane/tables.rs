//! The kernel's tables behind [`speaker_core::tables`]: read whole once, then changed by its writes in its order.
//!
//! Fences belong to slots and are lowered here when a slot gets a new owner or a claim is settled. Knows
//! nothing of what is right.

use super::maps::{ArrayTable, CpuArray, CpuHash, HashTable, TrieTable, WideArray};
use super::pins::Pins;
use anyhow::Result;
use bytemuck::Zeroable;
use speaker_core::diff::{Change, Table};
use speaker_core::tables::{Maglev, OptionContent, SteeringContent, TableChange, Tables};
use speaker_ebpf::abi::steer::{CHUNK_SLOTS, MAGLEV_SLOTS, ROWS_MAX, TABLE_CHUNKS, TABLES_MAX};
use speaker_ebpf::abi::{
    self, Addr, Bucket, Chunk, EndValue, Entry, FarKey, FarValue, LinkValue, MacKey, MemberValue,
    MoveValue, OptionValue, ServiceKey, ServiceValue, SlotStats, SourceKey, SteerValue, TargetKey,
    TargetValue, Traffic, VipKey,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Everything in the kernel that the deciding loop writes.
pub(crate) struct KernelTables {
    vips: HashTable<VipKey, Entry, 20, 24>,
    filter: ArrayTable,
    links: HashTable<u32, LinkValue, 4, 8>,
    members: HashTable<MacKey, MemberValue, 8, 8>,
    moves: HashTable<VipKey, MoveValue, 20, 32>,
    spread: WideArray<SteerValue, 16>,
    maglev: WideArray<Chunk, 1024>,
    targets: HashTable<TargetKey, TargetValue, 8, 8>,
    far: HashTable<FarKey, FarValue, 8, 32>,
    ends: HashTable<Addr, EndValue, 16, 4>,
    options: HashTable<VipKey, OptionValue, 20, 4>,
    services: HashTable<ServiceKey, ServiceValue, 20, 4>,
    sources: TrieTable<SourceKey, 20>,
    fence: ArrayTable,
    cleared: ArrayTable,
    stats: CpuHash<SlotStats, 96>,
    traffic: CpuArray<Traffic, 16>,
}

impl KernelTables {
    pub(super) fn open(pins: &Pins) -> Result<Self> {
        Ok(Self {
            vips: HashTable::open(pins, &abi::VIPS)?,
            filter: ArrayTable::open(pins, &abi::FILTER)?,
            links: HashTable::open(pins, &abi::LINKS)?,
            members: HashTable::open(pins, &abi::MEMBERS)?,
            moves: HashTable::open(pins, &abi::MOVES)?,
            spread: WideArray::open(pins, &abi::SPREAD)?,
            maglev: WideArray::open(pins, &abi::MAGLEV)?,
            targets: HashTable::open(pins, &abi::TARGETS)?,
            far: HashTable::open(pins, &abi::FAR)?,
            ends: HashTable::open(pins, &abi::ENDS)?,
            options: HashTable::open(pins, &abi::OPTIONS)?,
            services: HashTable::open(pins, &abi::SERVICES)?,
            sources: TrieTable::open(pins, &abi::SOURCES)?,
            fence: ArrayTable::open(pins, &abi::FENCE)?,
            cleared: ArrayTable::open(pins, &abi::CLEARED)?,
            stats: CpuHash::open(pins, &abi::STATS)?,
            traffic: CpuArray::open(pins, &abi::TRAFFIC)?,
        })
    }

    /// Everything that the kernel holds now: the mirror to start from, and to repair against.
    pub(crate) fn read(&self) -> Result<Tables> {
        let vips = self.vips.read()?;
        Ok(Tables {
            filter: self.filter.read()?,
            links: self.links.read()?,
            members: self.members.read()?,
            moves: self.moves.read()?,
            steering: self.read_steering(&vips)?,
            vips,
            options: OptionContent {
                rows: self.options.read()?,
                services: self.services.read()?,
                sources: self.sources.read()?,
            },
            slots: self.stats.keys()?,
        })
    }

    /// Makes one change.
    pub(crate) fn apply(&mut self, change: &TableChange) -> Result<()> {
        match change {
            TableChange::Vip(change) => self.vips.apply(change),
            TableChange::Filter(change) => self.filter.apply(change),
            TableChange::Link(change) => self.links.apply(change),
            TableChange::Member(change) => self.members.apply(change),
            TableChange::Move(change) => self.moves.apply(change),
            TableChange::Target(change) => self.targets.apply(change),
            TableChange::Maglev(Change::Put(table, slots)) => self.write_maglev(*table, slots),
            TableChange::Maglev(Change::Remove(_)) => Ok(()),
            TableChange::Steer(Change::Put(row, value)) => self.spread.set((*row).into(), value),
            TableChange::Steer(Change::Remove(_)) => Ok(()),
            TableChange::Far(change) => self.far.apply(change),
            TableChange::End(change) => self.ends.apply(change),
            TableChange::Source(change) => self.sources.apply(change),
            TableChange::Service(change) => self.services.apply(change),
            TableChange::Option(change) => self.options.apply(change),
            TableChange::ResetSlot(slot) => self.reset_slot(*slot),
            TableChange::LowerFence(slot) => self.clear_fence(*slot),
            TableChange::FreeSlot(slot) => self.stats.remove(*slot),
        }
    }

    /// Rows that entries name, the tables that these name, and addresses. What nothing names is nobody's and may hold anything.
    fn read_steering(&self, vips: &BTreeMap<VipKey, Entry>) -> Result<SteeringContent> {
        let named: BTreeSet<u16> = vips.values().map(Entry::row).collect();
        let named = named
            .into_iter()
            .filter(|row| (1..=ROWS_MAX).contains(&(*row).into()));
        let rows = named.map(|row| Ok((row, self.spread.get(row.into())?)));
        let rows: BTreeMap<u16, SteerValue> = rows.collect::<Result<_>>()?;
        let named: BTreeSet<u32> = rows.values().map(SteerValue::table).collect();
        let named = named.into_iter().filter(|table| *table < TABLES_MAX);
        let maglev = named.map(|table| Ok((table, self.read_maglev(table)?)));
        Ok(SteeringContent {
            maglev: maglev.collect::<Result<_>>()?,
            targets: self.targets.read()?,
            far: self.far.read()?,
            ends: self.ends.read()?,
            rows,
        })
    }

    fn read_maglev(&self, table: u32) -> Result<Maglev> {
        let mut slots: Vec<Bucket> = Vec::with_capacity((TABLE_CHUNKS * CHUNK_SLOTS) as usize);
        for chunk in 0..TABLE_CHUNKS {
            let chunk = self.maglev.get(table * TABLE_CHUNKS + chunk)?;
            slots.extend(chunk.buckets);
        }
        slots.truncate(MAGLEV_SLOTS as usize);
        Ok(Arc::new(slots))
    }

    fn write_maglev(&mut self, table: u32, slots: &[Bucket]) -> Result<()> {
        for (chunk, run) in (0..TABLE_CHUNKS).zip(slots.chunks(CHUNK_SLOTS as usize)) {
            let mut element = Chunk::zeroed();
            for (bucket, slot) in element.buckets.iter_mut().zip(run) {
                *bucket = *slot;
            }
            self.maglev.set(table * TABLE_CHUNKS + chunk, &element)?;
        }
        Ok(())
    }

    /// Lowers the fences of these slots up to the generation that was read when the claims were settled: one that came since
    /// keeps its fence up. A generation that has been cleared already, or never was, does nothing.
    pub(crate) fn unfence(&mut self, settled: &BTreeMap<u32, u64>) -> Result<()> {
        for (&slot, &generation) in settled {
            if self.cleared.get(slot)? < generation && generation <= self.fence.get(slot)? {
                self.cleared.set(slot, generation)?;
            }
        }
        Ok(())
    }

    /// Which of these slots are fenced, with their generation now.
    pub(crate) fn fenced(
        &self,
        slots: impl IntoIterator<Item = u32>,
    ) -> Result<BTreeMap<u32, u64>> {
        let mut fenced = BTreeMap::new();
        for slot in slots {
            let generation = self.fence.get(slot)?;
            if generation != self.cleared.get(slot)? {
                fenced.insert(slot, generation);
            }
        }
        Ok(fenced)
    }

    /// Lowers the slot's fence: the claims so far are settled. One that comes meanwhile raises it again.
    fn clear_fence(&mut self, slot: u32) -> Result<()> {
        let generation = self.fence.get(slot)?;
        self.cleared.set(slot, generation)
    }

    /// Counters at zero, a full token bucket, no fence.
    fn reset_slot(&mut self, slot: u32) -> Result<()> {
        self.stats.zero(slot)?;
        self.traffic.zero(slot)?;
        self.clear_fence(slot)
    }
}
