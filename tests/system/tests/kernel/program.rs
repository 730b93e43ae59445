//! The loaded object and its maps, written and read as the model's tables.

use crate::net::require_root;
use crate::{options, spread};
use aya::maps::{
    Array, HashMap, Map, MapData, MapInfo, PerCpuArray, PerCpuHashMap, PerCpuValues, RingBuf,
};
use aya::programs::{SchedClassifier, SkLookup, TestRun, TestRunOptions, Xdp};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader};
use bytemuck::{cast, pod_read_unaligned};
use rustix::time::{ClockId, clock_gettime};
use speaker_ebpf::abi::moves::HERE;
use speaker_ebpf::abi::socket::MARK;
use speaker_ebpf::abi::{
    AskerKey, AskerValue, Chunk, Claim, FlowKey, FlowValue, Global, MoveValue, Outcome, Passage,
    SlotStats, Traffic,
};
use speaker_ebpf::logic::Verdict;
use speaker_ebpf::model::{Limit, Tables};
use std::borrow::BorrowMut;
use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;
use xtask::ebpf::{self, Object};

/// The object with maps of its own.
pub(crate) struct Program {
    ebpf: Ebpf,
    /// What is in `hg_maglev` besides zeroes: a table is large, and nearly always the one that is there already.
    pub(crate) maglev: BTreeMap<u32, Chunk>,
    /// Whether anything is spread: else nobody looks through the large maps of that, which takes emulated machines long.
    pub(crate) is_spread: bool,
}

impl Program {
    /// Loads all programs.
    pub(crate) fn load(limit: Limit) -> Self {
        require_root();
        let mut ebpf = EbpfLoader::new()
            .override_global("ANSWER_INTERVAL_NS", &limit.interval_ns, true)
            .override_global("ANSWER_BURST_NS", &limit.burst_ns, true)
            .load(object())
            .unwrap_or_else(|why| panic!("the object cannot be loaded: {why:?}"));
        let tc: &mut SchedClassifier = ebpf
            .program_mut("heliograph_tc")
            .unwrap()
            .try_into()
            .unwrap();
        tc.load()
            .unwrap_or_else(|why| panic!("heliograph_tc: {why:?}"));
        let xdp: &mut Xdp = ebpf
            .program_mut("heliograph_xdp")
            .unwrap()
            .try_into()
            .unwrap();
        xdp.load()
            .unwrap_or_else(|why| panic!("heliograph_xdp: {why:?}"));
        let sk: &mut SkLookup = ebpf
            .program_mut("heliograph_sk")
            .unwrap()
            .try_into()
            .unwrap();
        sk.load()
            .unwrap_or_else(|why| panic!("heliograph_sk: {why:?}"));
        Self {
            ebpf,
            maglev: BTreeMap::new(),
            is_spread: false,
        }
    }

    pub(crate) fn tc(&mut self) -> &mut SchedClassifier {
        self.ebpf
            .program_mut("heliograph_tc")
            .unwrap()
            .try_into()
            .unwrap()
    }

    pub(crate) fn xdp(&mut self) -> &mut Xdp {
        self.ebpf
            .program_mut("heliograph_xdp")
            .unwrap()
            .try_into()
            .unwrap()
    }

    pub(crate) fn sk(&mut self) -> &mut SkLookup {
        let program = self.ebpf.program_mut("heliograph_sk").unwrap();
        program.try_into().unwrap()
    }

    /// One run of the TC program over a frame that came in on `ifindex` of this namespace.
    pub(crate) fn run_tc(&mut self, ifindex: u32, frame: &[u8]) -> (Verdict, Vec<u8>) {
        // `struct __sk_buff` up to `ifindex`; what else a test run takes stays zero.
        let mut ctx = [0u8; 44];
        ctx[40..].copy_from_slice(&ifindex.to_ne_bytes());
        // All of it comes back, or the run is taken to have failed.
        let mut after = [0u8; 256];
        let (code, bytes) = test_run(self.tc(), frame, &ctx, Some(&mut after));
        let is_marked = after[8..12] == MARK.to_ne_bytes();
        let verdict = match code as i32 {
            -1 if is_marked => Verdict::Mark,
            -1 => Verdict::Next,
            2 => Verdict::Drop,
            7 => sent(frame, &bytes),
            other => panic!("the TC program returned {other}"),
        };
        (verdict, bytes)
    }

    /// One run of the XDP program over a frame that came in on `ifindex` of this namespace.
    pub(crate) fn run_xdp(&mut self, ifindex: u32, frame: &[u8]) -> (Verdict, Vec<u8>) {
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let words = [0, frame.len() as u32, 0, ifindex, 0, 0];
        let (code, bytes) = test_run(self.xdp(), frame, &cast::<[u32; 6], [u8; 24]>(words), None);
        let verdict = match code {
            1 => Verdict::Drop,
            2 => Verdict::Next,
            3 => sent(frame, &bytes),
            other => panic!("the XDP program returned {other}"),
        };
        (verdict, bytes)
    }

    /// Writes the tables; `shift` is added to every point in time that means something.
    pub(crate) fn write(&mut self, tables: &Tables, shift: u64) {
        let at = |time: u64| {
            if time == 0 {
                0
            } else {
                time.wrapping_add(shift)
            }
        };
        let mut vips: HashMap<_, [u8; 20], [u8; 24]> = self.map("hg_vips");
        for (key, entry) in &tables.vips {
            let entry = entry.until(at(entry.deadline_ns()));
            vips.insert(cast::<_, [u8; 20]>(*key), cast::<_, [u8; 24]>(entry), 0)
                .unwrap();
        }
        let mut links: HashMap<_, u32, [u8; 8]> = self.map("hg_links");
        for (ifindex, link) in &tables.links {
            links.insert(ifindex, cast::<_, [u8; 8]>(*link), 0).unwrap();
        }
        let mut members: HashMap<_, [u8; 8], u64> = self.map("hg_members");
        for (mac, member) in &tables.members {
            members
                .insert(cast::<_, [u8; 8]>(*mac), at(member.disarmed_until_ns), 0)
                .unwrap();
        }
        let mut stats: PerCpuHashMap<_, u32, [u8; 96]> = self.map("hg_stats");
        for (slot, value) in &tables.stats {
            let values = vec![cast::<_, [u8; 96]>(*value); nr_cpus().unwrap()];
            stats
                .insert(slot, PerCpuValues::try_from(values).unwrap(), 0)
                .unwrap();
        }
        let mut moves: HashMap<_, [u8; 20], [u8; 32]> = self.map("hg_moves");
        for (key, row) in &tables.moves {
            let mac = |mac| Some(mac).filter(|mac| *mac != HERE);
            let (fresh, old) = (mac(row.fresh()), mac(row.old()));
            let row = MoveValue::new(fresh, old, at(row.since_ns()), at(row.until_ns()));
            moves
                .insert(cast::<_, [u8; 20]>(*key), cast::<_, [u8; 32]>(row), 0)
                .unwrap();
        }
        spread::write(self, tables, at);
        options::write(self, tables, at);
        let mut node: Array<_, u64> = self.map("hg_node");
        node.set(0, at(tables.node_deadline_ns), 0).unwrap();
        for (name, words) in [
            ("hg_filter", &tables.filter),
            ("hg_fence", &tables.fence),
            ("hg_cleared", &tables.cleared),
        ] {
            let mut map: Array<_, u64> = self.map(name);
            for (index, word) in words {
                map.set(*index, word, 0).unwrap();
            }
        }
    }

    /// What the program wrote since it was loaded, over `slots`.
    pub(crate) fn read(&mut self, slots: &[u32]) -> Tables {
        let mut tables = Tables {
            claims: self.claims(),
            ..Tables::default()
        };
        spread::read(self, &mut tables);
        options::read(self, &mut tables);
        for slot in slots {
            tables.stats.insert(*slot, self.stats(*slot));
            tables.traffic.insert(*slot, self.traffic(*slot));
            let fence: Array<_, u64> = self.map("hg_fence");
            tables.fence.insert(*slot, fence.get(slot, 0).unwrap());
        }
        let globals: PerCpuArray<_, u64> = self.map("hg_globals");
        for global in Global::ALL {
            let count = globals.get(&(global as u32), 0).unwrap().iter().sum();
            tables.globals.insert(global, count);
        }
        for passage in Passage::ALL {
            tables.passages.insert(passage, self.passage(passage));
        }
        let flows: HashMap<_, [u8; 44], [u8; 16]> = self.map("hg_flows");
        for flow in flows.iter() {
            let (key, value) = flow.unwrap();
            tables.flows.insert(
                pod_read_unaligned::<FlowKey>(&key),
                pod_read_unaligned::<FlowValue>(&value),
            );
        }
        let askers: HashMap<_, [u8; 36], [u8; 16]> = self.map("hg_askers");
        for asker in askers.iter() {
            let (key, value) = asker.unwrap();
            tables.askers.insert(
                pod_read_unaligned::<AskerKey>(&key),
                pod_read_unaligned::<AskerValue>(&value),
            );
        }
        tables
    }

    /// What the kernel says of a map.
    pub(crate) fn map_info(&self, name: &str) -> MapInfo {
        let map = self
            .ebpf
            .map(name)
            .unwrap_or_else(|| panic!("no map {name}"));
        match map {
            Map::Array(data)
            | Map::HashMap(data)
            | Map::LruHashMap(data)
            | Map::PerCpuArray(data)
            | Map::PerCpuHashMap(data)
            | Map::LpmTrie(data)
            | Map::SockHash(data)
            | Map::RingBuf(data) => data.info().unwrap(),
            other => panic!("{name} is {other:?}"),
        }
    }

    /// An outcome of a slot, over all CPUs.
    pub(crate) fn outcome(&mut self, slot: u32, outcome: Outcome) -> u64 {
        self.stats(slot).of(outcome)
    }

    /// How often packets of VIPs that move went this way, over all CPUs.
    pub(crate) fn passage(&mut self, passage: Passage) -> u64 {
        let passages: PerCpuArray<_, u64> = self.map("hg_passages");
        passages.get(&(passage as u32), 0).unwrap().iter().sum()
    }

    /// What was handed to the stack for a slot, over all CPUs.
    pub(crate) fn traffic(&mut self, slot: u32) -> Traffic {
        let map: PerCpuArray<_, [u8; 16]> = self.map("hg_traffic");
        sum(&map.get(&slot, 0).unwrap())
    }

    fn stats(&mut self, slot: u32) -> SlotStats {
        let map: PerCpuHashMap<_, u32, [u8; 96]> = self.map("hg_stats");
        let mut sum: SlotStats = bytemuck::Zeroable::zeroed();
        let Ok(values) = map.get(&slot, 0) else {
            return sum;
        };
        for value in values.iter() {
            let value: SlotStats = pod_read_unaligned(value);
            for outcome in Outcome::ALL {
                *sum.counter(outcome) += value.of(outcome);
            }
        }
        sum
    }

    fn claims(&mut self) -> Vec<Claim> {
        let mut ring = RingBuf::try_from(self.ebpf.map_mut("hg_claims").unwrap()).unwrap();
        let mut claims = Vec::new();
        while let Some(record) = ring.next() {
            claims.push(pod_read_unaligned(&record));
        }
        claims
    }

    pub(crate) fn map<'a, M>(&'a mut self, name: &str) -> M
    where
        M: TryFrom<&'a mut aya::maps::Map, Error = aya::maps::MapError>,
    {
        let map = self
            .ebpf
            .map_mut(name)
            .unwrap_or_else(|| panic!("no map {name}"));
        M::try_from(map).unwrap_or_else(|why| panic!("{name}: {why}"))
    }
}

/// Takes everything out that a case put in or left behind.
pub(crate) fn clear(program: &mut Program, tables: &Tables, slots: &[u32]) {
    empty(&mut program.map::<HashMap<_, [u8; 20], [u8; 24]>>("hg_vips"));
    empty(&mut program.map::<HashMap<_, u32, [u8; 8]>>("hg_links"));
    empty(&mut program.map::<HashMap<_, [u8; 8], u64>>("hg_members"));
    empty(&mut program.map::<HashMap<_, [u8; 36], [u8; 16]>>("hg_askers"));
    empty(&mut program.map::<HashMap<_, [u8; 20], [u8; 32]>>("hg_moves"));
    empty(&mut program.map::<HashMap<_, [u8; 44], [u8; 16]>>("hg_flows"));
    spread::clear(program);
    options::clear(program);
    let zeroes = |count| vec![0; count];
    let cpus = nr_cpus().unwrap();
    let mut stats: PerCpuHashMap<_, u32, [u8; 96]> = program.map("hg_stats");
    let mut fresh = Vec::new();
    for slot in slots {
        // Absent is as good as empty.
        let _ = stats.remove(slot);
        fresh.push(*slot);
    }
    for slot in fresh {
        let mut traffic: PerCpuArray<_, [u8; 16]> = program.map("hg_traffic");
        traffic
            .set(
                slot,
                PerCpuValues::try_from(vec![[0; 16]; cpus]).unwrap(),
                0,
            )
            .unwrap();
        for name in ["hg_fence", "hg_cleared"] {
            program.map::<Array<_, u64>>(name).set(slot, 0, 0).unwrap();
        }
    }
    let mut globals: PerCpuArray<_, u64> = program.map("hg_globals");
    for global in Global::ALL {
        globals
            .set(
                global as u32,
                PerCpuValues::try_from(zeroes(cpus)).unwrap(),
                0,
            )
            .unwrap();
    }
    let mut passages: PerCpuArray<_, u64> = program.map("hg_passages");
    for passage in Passage::ALL {
        let zero = PerCpuValues::try_from(zeroes(cpus)).unwrap();
        passages.set(passage as u32, zero, 0).unwrap();
    }
    for word in tables.filter.keys() {
        program
            .map::<Array<_, u64>>("hg_filter")
            .set(*word, 0, 0)
            .unwrap();
    }
}

pub(crate) fn empty<T: BorrowMut<MapData>, K: aya::Pod, V: aya::Pod>(map: &mut HashMap<T, K, V>) {
    let keys: Vec<K> = map.keys().map(Result::unwrap).collect();
    for key in keys {
        map.remove(&key).unwrap();
    }
}

/// What all CPUs counted together.
pub(crate) fn sum(values: &PerCpuValues<[u8; 16]>) -> Traffic {
    let mut sum = Traffic {
        packets: 0,
        bytes: 0,
    };
    for value in values.iter() {
        let value: Traffic = pod_read_unaligned(value);
        sum.packets += value.packets;
        sum.bytes += value.bytes;
    }
    sum
}

/// BOOTTIME nanoseconds.
pub(crate) fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Hooks send replies and packets to other nodes in the same way: a neighbour frame was answered, and so was a packet that goes back to where it came from.
fn sent(before: &[u8], after: &[u8]) -> Verdict {
    let is_solicitation = before.get(20) == Some(&58) && before.get(54) == Some(&135);
    let [src, dst] = match before[12..14] {
        [8, 0] => [26..30, 30..34],
        [0x86, 0xdd] if !is_solicitation => [22..38, 38..54],
        _ => return Verdict::Reply,
    };
    match after.get(src) == before.get(dst) {
        true => Verdict::Reply,
        false => Verdict::Forward,
    }
}

fn test_run<P>(
    program: &mut P,
    frame: &[u8],
    ctx: &[u8],
    ctx_out: Option<&mut [u8]>,
) -> (u32, Vec<u8>)
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = aya::TestRunResult>,
{
    let mut out = vec![0; frame.len() + 64];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(ctx),
        ctx_out,
        ..TestRunOptions::default()
    };
    let result = program
        .test_run(options)
        .unwrap_or_else(|why| panic!("a test run over {} bytes: {why:?}", frame.len()));
    out.truncate(result.data_size_out as usize);
    (result.return_value, out)
}

fn object() -> &'static [u8] {
    static OBJECT: OnceLock<Vec<u8>> = OnceLock::new();
    OBJECT.get_or_init(|| {
        // An emulated machine has no compiler: it is told where the object is.
        let path = match std::env::var_os("HELIOGRAPH_EBPF_OBJECT") {
            Some(path) => path.into(),
            None => ebpf::build(Object::Heliograph).unwrap_or_else(|why| panic!("{why:#}")),
        };
        fs::read(path).unwrap()
    })
}
