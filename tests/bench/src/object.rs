//! The two kernel objects: the one that ships, under test, and the bench's own.
//!
//! It fills the tables by hand with what one VIP needs; how the speaker fills them is not its concern.

use crate::net::NODE_MAC;
use crate::wire::{ANSWERS, CLIENT_MASK_AT, OTHERS, Order, SENT, STAMPS_AT, TARGET_AT};
use anyhow::{Context, Result, ensure};
use aya::maps::{Array, HashMap, Map, PerCpuArray, PerCpuHashMap, PerCpuValues, ProgramArray};
use aya::programs::{ProgramError, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};
use rustix::time::{ClockId, clock_gettime};
use speaker_core::diff::Change;
use speaker_core::tables::TableChange;
use speaker_ebpf::abi::steer::{CHUNK_SLOTS, TABLE_CHUNKS};
use speaker_ebpf::abi::{
    self, Addr, Bucket, Chunk, Entry, LinkValue, MacAddr, NodeValue, SlotStats, SteerValue,
    TargetKey, TargetValue, VipKey,
};
use std::path::Path;

/// The bench's own object: generator, sink and wrappers.
pub(crate) struct Kit {
    ebpf: Ebpf,
}

/// What generator and sink have counted since the object was loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Counts {
    /// Requests sent.
    pub(crate) sent: u64,
    /// Good answers that came back.
    pub(crate) answers: u64,
    /// Other ARP frames that came back.
    pub(crate) others: u64,
}

impl Kit {
    /// Loads the object and all of its programs.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .load_file(path)
            .with_context(|| missing(path))?;
        load_all(&mut ebpf)?;
        Ok(Self { ebpf })
    }

    /// From now on the generator sends `frame` as one of `clients` (a power of two) in turn.
    pub(crate) fn order(&mut self, frame: &[u8], clients: u32, stamps: bool) -> Result<()> {
        let mut order: Order = [0; _];
        let halves = frame
            .chunks(2)
            .map(|half| u16::from_ne_bytes([half[0], half[1]]));
        for (to, half) in order[..TARGET_AT].iter_mut().zip(halves) {
            *to = half;
        }
        order[CLIENT_MASK_AT] = (clients - 1) as u16;
        order[STAMPS_AT] = u16::from(stamps);
        Array::<_, Order>::try_from(map_mut(&mut self.ebpf, "HB_ORDER")?)?.set(0, order, 0)?;
        Ok(())
    }

    /// What is sent on counts where it goes to this hardware address.
    pub(crate) fn expect(&mut self, target: [u8; 6]) -> Result<()> {
        let mut orders: Array<_, Order> = Array::try_from(map_mut(&mut self.ebpf, "HB_ORDER")?)?;
        let mut order = orders.get(&0, 0)?;
        order[TARGET_AT] = u16::from_ne_bytes([target[4], target[5]]);
        orders.set(0, order, 0)?;
        Ok(())
    }

    /// The counters now, over all CPUs.
    pub(crate) fn counts(&self) -> Result<Counts> {
        let counts: PerCpuArray<_, u64> = PerCpuArray::try_from(map(&self.ebpf, "HB_COUNTS")?)?;
        let sum = |index| -> Result<u64> { Ok(counts.get(&index, 0)?.iter().sum()) };
        Ok(Counts {
            sent: sum(SENT)?,
            answers: sum(ANSWERS)?,
            others: sum(OTHERS)?,
        })
    }

    /// Latencies of the requests numbered `from + 1 ..= to`, in nanoseconds; 0 for those never answered. Clears them.
    pub(crate) fn take_samples(&mut self, from: u64, to: u64) -> Result<Vec<u64>> {
        let mut samples: Array<_, u64> = Array::try_from(map_mut(&mut self.ebpf, "HB_SAMPLES")?)?;
        let mut taken = Vec::new();
        for sequence in from + 1..=to {
            let at = (sequence % u64::from(crate::wire::SAMPLES_MAX)) as u32;
            taken.push(samples.get(&at, 0)?);
            samples.set(at, 0, 0)?;
        }
        Ok(taken)
    }

    /// Fills the tables that the programs for single helpers look into.
    pub(crate) fn fill(&mut self) -> Result<()> {
        let mut hash: HashMap<_, [u8; 20], [u8; 24]> =
            HashMap::try_from(map_mut(&mut self.ebpf, "HB_HASH")?)?;
        hash.insert([7; 20], [1; 24], 0)?;
        Ok(())
    }

    /// One of the XDP programs.
    pub(crate) fn xdp(&mut self, name: &str) -> Result<&mut Xdp> {
        xdp(&mut self.ebpf, name)
    }

    /// One of the TC programs.
    pub(crate) fn tc(&mut self, name: &str) -> Result<&mut SchedClassifier> {
        tc(&mut self.ebpf, name)
    }

    /// The TC wrappers go on to `subject`.
    pub(crate) fn wrap_tc(&mut self, subject: &SchedClassifier) -> Result<()> {
        let mut next = ProgramArray::try_from(map_mut(&mut self.ebpf, "HB_TC_NEXT")?)?;
        next.set(0, subject.fd()?, 0)?;
        Ok(())
    }

    /// The XDP wrappers go on to `subject`.
    pub(crate) fn wrap_xdp(&mut self, subject: &Xdp) -> Result<()> {
        let mut next = ProgramArray::try_from(map_mut(&mut self.ebpf, "HB_XDP_NEXT")?)?;
        next.set(0, subject.fd()?, 0)?;
        Ok(())
    }

    /// The wrappers go on to the programs that do nothing.
    pub(crate) fn wrap_empty(&mut self) -> Result<()> {
        let tc = self.tc("bench_tc_empty")?.fd()?.try_clone()?;
        let xdp = self.xdp("bench_xdp_empty")?.fd()?.try_clone()?;
        ProgramArray::try_from(map_mut(&mut self.ebpf, "HB_TC_NEXT")?)?.set(0, &tc, 0)?;
        ProgramArray::try_from(map_mut(&mut self.ebpf, "HB_XDP_NEXT")?)?.set(0, &xdp, 0)?;
        Ok(())
    }
}

/// The object that ships.
pub(crate) struct Subject {
    ebpf: Ebpf,
}

impl Subject {
    /// Loads the object; `answer_interval_ns` is its token bucket's (0: no bound on answers).
    pub(crate) fn load(path: &Path, answer_interval_ns: u64) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .override_global("ANSWER_INTERVAL_NS", &answer_interval_ns, true)
            .load_file(path)
            .with_context(|| missing(path))?;
        load_all(&mut ebpf)?;
        let mut subject = Self { ebpf };
        subject.arm(HOUR_NS)?;
        Ok(subject)
    }

    /// Sets the node-wide deadline to `ahead_ns` from now; negative is past.
    pub(crate) fn arm(&mut self, ahead_ns: i64) -> Result<()> {
        let now = clock_gettime(ClockId::Boottime);
        let now = now.tv_sec * 1_000_000_000 + now.tv_nsec;
        let node = NodeValue {
            deadline_ns: u64::try_from(now + ahead_ns).unwrap_or(1),
        };
        let map = map_mut(&mut self.ebpf, abi::NODE.name)?;
        Array::<_, u64>::try_from(map)?.set(0, node.deadline_ns, 0)?;
        Ok(())
    }

    /// Announces on a link with [`NODE_MAC`].
    pub(crate) fn link(&mut self, ifindex: u32) -> Result<()> {
        let value: [u8; 8] = bytemuck::cast(LinkValue::new(MacAddr(NODE_MAC)));
        let map = map_mut(&mut self.ebpf, abi::LINKS.name)?;
        HashMap::<_, u32, [u8; 8]>::try_from(map)?.insert(ifindex, value, 0)?;
        Ok(())
    }

    /// Puts `addr` on a link into the table, with its counters and its bit of the filter.
    pub(crate) fn put(&mut self, addr: Addr, ifindex: u32, entry: Entry) -> Result<()> {
        self.reset(entry.slot())?;
        let key: [u8; 20] = bytemuck::cast(VipKey::new(addr, ifindex));
        let value: [u8; 24] = bytemuck::cast(entry);
        let map = map_mut(&mut self.ebpf, abi::VIPS.name)?;
        HashMap::<_, [u8; 20], [u8; 24]>::try_from(map)?.insert(key, value, 0)?;
        self.mark(addr)
    }

    /// Writes the row `number`, of packets that come to [`NODE_MAC`].
    pub(crate) fn spread(&mut self, number: u16, row: SteerValue) -> Result<()> {
        let value: [u8; 16] = bytemuck::cast(row.sent_to(MacAddr(NODE_MAC)));
        let map = map_mut(&mut self.ebpf, abi::SPREAD.name)?;
        Array::<_, [u8; 16]>::try_from(map)?.set(number.into(), value, 0)?;
        Ok(())
    }

    /// Fills a Maglev table with one slot all over.
    pub(crate) fn table(&mut self, table: u32, bucket: Bucket) -> Result<()> {
        let map = map_mut(&mut self.ebpf, abi::MAGLEV.name)?;
        let mut maglev: Array<_, [u8; CHUNK_BYTES]> = Array::try_from(map)?;
        let chunk = Chunk {
            buckets: [bucket; CHUNK_SLOTS as usize],
        };
        for at in 0..TABLE_CHUNKS {
            maglev.set(
                table * TABLE_CHUNKS + at,
                bytes::<_, CHUNK_BYTES>(&chunk),
                0,
            )?;
        }
        Ok(())
    }

    /// Puts a node on a link.
    pub(crate) fn target(&mut self, ifindex: u32, node: u16, mac: [u8; 6]) -> Result<()> {
        let key = TargetKey {
            ifindex,
            node: node.into(),
        };
        let value = TargetValue {
            mac: MacAddr(mac),
            pad: [0; 2],
        };
        let map = map_mut(&mut self.ebpf, abi::TARGETS.name)?;
        let mut targets: HashMap<_, [u8; 8], [u8; 8]> = HashMap::try_from(map)?;
        targets.insert(bytes::<_, 8>(&key), bytes::<_, 8>(&value), 0)?;
        Ok(())
    }

    /// Sets the bit of `addr` in the filter.
    pub(crate) fn mark(&mut self, addr: Addr) -> Result<()> {
        let (word, bit) = addr.filter_bit();
        let mut filter: Array<_, u64> =
            Array::try_from(map_mut(&mut self.ebpf, abi::FILTER.name)?)?;
        let old = filter.get(&word, 0)?;
        filter.set(word, old | bit, 0)?;
        Ok(())
    }

    /// Makes one change of the agent's.
    pub(crate) fn apply(&mut self, change: &TableChange) -> Result<()> {
        match change {
            TableChange::Vip(change) => {
                let map = map_mut(&mut self.ebpf, abi::VIPS.name)?;
                let mut vips: HashMap<_, [u8; 20], [u8; 24]> = HashMap::try_from(map)?;
                match change {
                    Change::Put(key, entry) => {
                        vips.insert(bytes::<_, 20>(key), bytes::<_, 24>(entry), 0)?;
                    }
                    Change::Remove(key) => vips.remove(&bytes::<_, 20>(key))?,
                }
            }
            TableChange::Filter(change) => {
                let (word, bits) = match change {
                    Change::Put(word, bits) => (*word, *bits),
                    Change::Remove(word) => (*word, 0),
                };
                let map = map_mut(&mut self.ebpf, abi::FILTER.name)?;
                Array::<_, u64>::try_from(map)?.set(word, bits, 0)?;
            }
            TableChange::Link(change) => {
                let map = map_mut(&mut self.ebpf, abi::LINKS.name)?;
                let mut links: HashMap<_, u32, [u8; 8]> = HashMap::try_from(map)?;
                match change {
                    Change::Put(key, link) => links.insert(key, bytes::<_, 8>(link), 0)?,
                    Change::Remove(key) => links.remove(key)?,
                }
            }
            TableChange::Member(change) => {
                let map = map_mut(&mut self.ebpf, abi::MEMBERS.name)?;
                let mut members: HashMap<_, [u8; 8], [u8; 8]> = HashMap::try_from(map)?;
                match change {
                    Change::Put(key, member) => {
                        members.insert(bytes::<_, 8>(key), bytes::<_, 8>(member), 0)?;
                    }
                    Change::Remove(key) => members.remove(&bytes::<_, 8>(key))?,
                }
            }
            TableChange::ResetSlot(slot) => self.reset(*slot)?,
            // Nobody claims, moves or spreads anything here, or asks for options.
            TableChange::LowerFence(_)
            | TableChange::Move(_)
            | TableChange::Target(_)
            | TableChange::Maglev(_)
            | TableChange::Steer(_)
            | TableChange::Far(_)
            | TableChange::End(_) => {}
            TableChange::Source(_) | TableChange::Service(_) | TableChange::Option(_) => {}
            TableChange::FreeSlot(slot) => {
                let map = map_mut(&mut self.ebpf, abi::STATS.name)?;
                PerCpuHashMap::<_, u32, [u8; STATS_BYTES]>::try_from(map)?.remove(slot)?;
            }
        }
        Ok(())
    }

    fn reset(&mut self, slot: u32) -> Result<()> {
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
        let map = map_mut(&mut self.ebpf, abi::STATS.name)?;
        let mut stats = PerCpuHashMap::<_, u32, _>::try_from(map)?;
        let mut tries = 0;
        // The kernel refills its cache of such elements a moment after it was emptied, and has none until then.
        loop {
            let zeroes = PerCpuValues::try_from(vec![[0_u8; STATS_BYTES]; cpus])?;
            let Err(error) = stats.insert(slot, zeroes, 0) else {
                return Ok(());
            };
            tries += 1;
            ensure!(tries < 10_000, "{error}");
            std::thread::yield_now();
        }
    }

    /// Raises the fence of a slot (`true`) or takes it away.
    pub(crate) fn fence(&mut self, slot: u32, up: bool) -> Result<()> {
        let map = map_mut(&mut self.ebpf, abi::CLEARED.name)?;
        Array::<_, u64>::try_from(map)?.set(slot, u64::from(up), 0)?;
        Ok(())
    }

    /// The TC program.
    pub(crate) fn tc(&mut self) -> Result<&mut SchedClassifier> {
        tc(&mut self.ebpf, "heliograph_tc")
    }

    /// The XDP program.
    pub(crate) fn xdp(&mut self) -> Result<&mut Xdp> {
        xdp(&mut self.ebpf, "heliograph_xdp")
    }
}

const STATS_BYTES: usize = size_of::<SlotStats>();
const CHUNK_BYTES: usize = size_of::<Chunk>();

fn bytes<T: bytemuck::NoUninit, const N: usize>(value: &T) -> [u8; N]
where
    [u8; N]: bytemuck::AnyBitPattern,
{
    bytemuck::cast(*value)
}

const HOUR_NS: i64 = 3_600_000_000_000;

fn missing(path: &Path) -> String {
    format!(
        "failed to load {}: cargo xtask bench builds it",
        path.display()
    )
}

fn load_all(ebpf: &mut Ebpf) -> Result<()> {
    for (name, program) in ebpf.programs_mut() {
        let loaded = match program {
            aya::programs::Program::Xdp(program) => program.load(),
            aya::programs::Program::SchedClassifier(program) => program.load(),
            aya::programs::Program::SkLookup(program) => program.load(),
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        loaded.with_context(|| format!("failed to load the program {name}"))?;
    }
    Ok(())
}

fn map<'e>(ebpf: &'e Ebpf, name: &str) -> Result<&'e Map> {
    ebpf.map(name)
        .with_context(|| format!("the object has no map {name}"))
}

fn map_mut<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Map> {
    ebpf.map_mut(name)
        .with_context(|| format!("the object has no map {name}"))
}

fn xdp<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("no program {name}"))?;
    Ok(program.try_into()?)
}

fn tc<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut SchedClassifier> {
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("no program {name}"))?;
    Ok(program.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask::ebpf::Object;

    #[test]
    fn the_object_that_ships_is_one_that_the_benches_can_load() {
        Subject::load(&Object::Heliograph.path(), 0).unwrap();
    }
}
