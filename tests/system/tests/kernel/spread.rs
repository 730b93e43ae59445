//! The maps of VIPs that are spread, written and read as the model's tables.

use crate::program::{Program, empty, sum};
use aya::maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, PerCpuValues};
use aya::util::nr_cpus;
use bytemuck::{bytes_of, cast, pod_read_unaligned};
use model_tests::frames::MEMORIES;
use speaker_ebpf::abi::{ShareKey, SteerValue, Steered, StreamKey, StreamValue, Tunnelled};
use speaker_ebpf::logic::Memory;
use speaker_ebpf::model::Tables;
use std::mem;

/// Writes the tables; points in time go through `at`.
pub(crate) fn write(program: &mut Program, tables: &Tables, at: impl Fn(u64) -> u64) {
    program.is_spread |= !(tables.spread.is_empty() && tables.ends.is_empty());
    if !program.is_spread {
        return;
    }
    write_maglev(program, tables);
    let mut targets: HashMap<_, [u8; 8], [u8; 8]> = program.map("hg_targets");
    for (key, target) in &tables.targets {
        targets
            .insert(cast::<_, [u8; 8]>(*key), cast::<_, [u8; 8]>(*target), 0)
            .unwrap();
    }
    let mut spread: Array<_, [u8; 16]> = program.map("hg_spread");
    for (number, row) in &tables.spread {
        let value = SteerValue::new(row.table(), at(row.window_until_ns())).sent_to(row.own());
        let value = value.by_client(row.is_by_client()).beyond(row.is_beyond());
        let number = u32::from(*number);
        spread.set(number, cast::<_, [u8; 16]>(value), 0).unwrap();
    }
    let mut far: HashMap<_, [u8; 8], [u8; 32]> = program.map("hg_far");
    for (key, value) in &tables.far {
        far.insert(cast::<_, [u8; 8]>(*key), cast::<_, [u8; 32]>(*value), 0)
            .unwrap();
    }
    let mut ends: HashMap<_, [u8; 16], [u8; 4]> = program.map("hg_ends");
    for (key, value) in &tables.ends {
        ends.insert(cast::<_, [u8; 16]>(*key), cast::<_, [u8; 4]>(*value), 0)
            .unwrap();
    }
    for memory in MEMORIES {
        let mut map: HashMap<_, [u8; 44], [u8; 16]> = program.map(name(memory));
        for (key, value) in tables.memory(memory) {
            let value = StreamValue {
                seen_ns: at(value.seen_ns),
                ..*value
            };
            let key: [u8; 44] = bytes_of(key).try_into().unwrap();
            map.insert(key, cast::<_, [u8; 16]>(value), 0).unwrap();
        }
    }
}

/// Writes what is not there yet, and zeroes what should not be.
fn write_maglev(program: &mut Program, tables: &Tables) {
    let mut have = mem::take(&mut program.maglev);
    let mut maglev: Array<_, [u8; 1024]> = program.map("hg_maglev");
    for (index, chunk) in &tables.maglev {
        if have.insert(*index, *chunk) != Some(*chunk) {
            maglev
                .set(*index, cast::<_, [u8; 1024]>(*chunk), 0)
                .unwrap();
        }
    }
    have.retain(|index, _| {
        let is_wanted = tables.maglev.contains_key(index);
        if !is_wanted {
            maglev.set(*index, [0; 1024], 0).unwrap();
        }
        is_wanted
    });
    program.maglev = have;
}

/// What the program wrote.
pub(crate) fn read(program: &mut Program, tables: &mut Tables) {
    for steered in Steered::ALL {
        tables.steered.insert(steered, way(program, steered));
    }
    let tunnelled: PerCpuArray<_, u64> = program.map("hg_tunnelled");
    for what in Tunnelled::ALL {
        let count = tunnelled.get(&(what as u32), 0).unwrap().iter().sum();
        tables.tunnelled.insert(what, count);
    }
    if !program.is_spread {
        return;
    }
    for memory in MEMORIES {
        let map: HashMap<_, [u8; 44], [u8; 16]> = program.map(name(memory));
        let streams = match memory {
            Memory::Streams => &mut tables.streams,
            Memory::Datagrams => &mut tables.datagrams,
            Memory::Fragments => &mut tables.fragments,
        };
        for stream in map.iter() {
            let (key, value) = stream.unwrap();
            streams.insert(
                pod_read_unaligned::<StreamKey>(&key),
                pod_read_unaligned::<StreamValue>(&value),
            );
        }
    }
    let shares: PerCpuHashMap<_, [u8; 8], [u8; 16]> = program.map("hg_shares");
    for share in shares.iter() {
        let (key, values) = share.unwrap();
        tables
            .shares
            .insert(pod_read_unaligned::<ShareKey>(&key), sum(&values));
    }
}

/// How often packets of VIPs that are spread went this way, over all CPUs.
pub(crate) fn way(program: &mut Program, steered: Steered) -> u64 {
    let ways: PerCpuArray<_, u64> = program.map("hg_steered");
    ways.get(&(steered as u32), 0).unwrap().iter().sum()
}

/// Takes everything out that was put in or left behind, but for rows and Maglev tables, which nothing names then.
pub(crate) fn clear(program: &mut Program) {
    if !mem::take(&mut program.is_spread) {
        return;
    }
    empty(&mut program.map::<HashMap<_, [u8; 8], [u8; 8]>>("hg_targets"));
    empty(&mut program.map::<HashMap<_, [u8; 8], [u8; 32]>>("hg_far"));
    empty(&mut program.map::<HashMap<_, [u8; 16], [u8; 4]>>("hg_ends"));
    for memory in MEMORIES {
        empty(&mut program.map::<HashMap<_, [u8; 44], [u8; 16]>>(name(memory)));
    }
    let mut shares: PerCpuHashMap<_, [u8; 8], [u8; 16]> = program.map("hg_shares");
    let keys: Vec<_> = shares.keys().map(Result::unwrap).collect();
    for key in keys {
        shares.remove(&key).unwrap();
    }
    let mut ways: PerCpuArray<_, u64> = program.map("hg_steered");
    for steered in Steered::ALL {
        let zero = PerCpuValues::try_from(vec![0; nr_cpus().unwrap()]).unwrap();
        ways.set(steered as u32, zero, 0).unwrap();
    }
    let mut tunnelled: PerCpuArray<_, u64> = program.map("hg_tunnelled");
    for what in Tunnelled::ALL {
        let zero = PerCpuValues::try_from(vec![0; nr_cpus().unwrap()]).unwrap();
        tunnelled.set(what as u32, zero, 0).unwrap();
    }
}

const fn name(memory: Memory) -> &'static str {
    match memory {
        Memory::Streams => "hg_streams",
        Memory::Datagrams => "hg_datagrams",
        Memory::Fragments => "hg_fragments",
    }
}
