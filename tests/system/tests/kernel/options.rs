//! The maps of VIPs with options, written and read as the model's tables.

use crate::program::{Program, empty};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use bytemuck::{cast, pod_read_unaligned};
use speaker_ebpf::abi::{Opted, OptedStats};
use speaker_ebpf::model::Tables;

/// Writes the tables; points in time go through `at`.
pub(crate) fn write(program: &mut Program, tables: &Tables, at: impl Fn(u64) -> u64) {
    let mut options: HashMap<_, [u8; 20], u32> = program.map("hg_options");
    for (key, row) in &tables.options {
        options
            .insert(cast::<_, [u8; 20]>(*key), cast::<_, u32>(*row), 0)
            .unwrap();
    }
    let mut services: HashMap<_, [u8; 20], u32> = program.map("hg_services");
    for (key, service) in &tables.services {
        services
            .insert(cast::<_, [u8; 20]>(*key), service.sources, 0)
            .unwrap();
    }
    let mut sources: LpmTrie<_, [u8; 20], u32> = program.map("hg_sources");
    for (bits, key) in &tables.sources {
        let key = Key::new(*bits, cast::<_, [u8; 20]>(*key));
        sources.insert(&key, 1, 0).unwrap();
    }
    let mut opted: PerCpuArray<_, [u8; 24]> = program.map("hg_opted");
    for (index, stats) in &tables.opted {
        let stats = OptedStats {
            bucket_at_ns: at(stats.bucket_at_ns),
            ..*stats
        };
        let values = vec![cast::<_, [u8; 24]>(stats); nr_cpus().unwrap()];
        let values = PerCpuValues::try_from(values).unwrap();
        opted.set(*index as u32, values, 0).unwrap();
    }
}

/// What the program counted, over all CPUs.
pub(crate) fn read(program: &mut Program, tables: &mut Tables) {
    let opted: PerCpuArray<_, [u8; 24]> = program.map("hg_opted");
    for index in Opted::ALL {
        let values = opted.get(&(index as u32), 0).unwrap();
        let counts = values
            .iter()
            .map(|value| pod_read_unaligned::<OptedStats>(value).count);
        let stats = OptedStats {
            count: counts.sum(),
            ..OptedStats::default()
        };
        tables.opted.insert(index, stats);
    }
}

/// Takes everything out that was put in or left behind.
pub(crate) fn clear(program: &mut Program) {
    empty(&mut program.map::<HashMap<_, [u8; 20], u32>>("hg_options"));
    empty(&mut program.map::<HashMap<_, [u8; 20], u32>>("hg_services"));
    let mut sources: LpmTrie<_, [u8; 20], u32> = program.map("hg_sources");
    let keys: Vec<_> = sources.keys().map(Result::unwrap).collect();
    for key in keys {
        sources.remove(&key).unwrap();
    }
    let mut opted: PerCpuArray<_, [u8; 24]> = program.map("hg_opted");
    for index in Opted::ALL {
        let zeroes = PerCpuValues::try_from(vec![[0; 24]; nr_cpus().unwrap()]).unwrap();
        opted.set(index as u32, zeroes, 0).unwrap();
    }
}
