//! From a plan to the content of the kernel's tables, and the order of changes that leads there.
//!
//! [`wanted`] gives each (VIP, link) its slot, [`changes`] sorts what must be written so that stopping after any of the writes
//! does no harm: nothing is answered that neither the old nor the new plan answers, whatever stops answering does so before
//! anything starts, and an entry never stands without its link, its filter bit, its counters and, if it moves, is spread or has options, its row of that. It knows nothing of maps;
//! whoever owns them applies the changes in order and keeps [`Tables`] as a mirror.

mod encap;
mod options;
mod steering;

use crate::diff::{Change, diff};
use crate::key::{Kind, ObjectKey};
use crate::link::LinkName;
use crate::local::Local;
use crate::plan::{L2Entry, L2Move, Plan};
use crate::problem::Problem;
use speaker_ebpf::abi::{
    Addr, EndValue, Entry, FILTER_WORDS, FarKey, FarValue, LINKS_MAX, LinkValue, MEMBERS_MAX,
    MacAddr, MacKey, MemberValue, Mode, MoveValue, OptionValue, SLOTS_MAX, ServiceKey,
    ServiceValue, SourceKey, SteerValue, TargetKey, TargetValue, VipKey,
};
use speaker_proto::{Mac, Vip};
use std::collections::{BTreeMap, BTreeSet};

pub use options::Content as OptionContent;
pub use steering::{Content as SteeringContent, Maglev, Memory, left};

/// The content of the tables that the agent writes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tables {
    /// `VIPS`.
    pub vips: BTreeMap<VipKey, Entry>,
    /// Words of `FILTER` that are not zero.
    pub filter: BTreeMap<u32, u64>,
    /// `LINKS`.
    pub links: BTreeMap<u32, LinkValue>,
    /// `MEMBERS`.
    pub members: BTreeMap<MacKey, MemberValue>,
    /// `MOVES`.
    pub moves: BTreeMap<VipKey, MoveValue>,
    /// How packets are spread.
    pub steering: SteeringContent,
    /// What else is done with packets.
    pub options: OptionContent,
    /// Keys of `STATS`: slots that have counters.
    pub slots: BTreeSet<u32>,
}

/// What the tables should hold, and what did not fit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// The content.
    pub tables: Tables,
    /// Tables that are full; everything else is served.
    pub problems: Vec<Problem>,
}

/// One write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TableChange {
    /// To `VIPS`.
    Vip(Change<VipKey, Entry>),
    /// To a word of `FILTER`; removed means zero.
    Filter(Change<u32, u64>),
    /// To `LINKS`.
    Link(Change<u32, LinkValue>),
    /// To `MEMBERS`.
    Member(Change<MacKey, MemberValue>),
    /// To `MOVES`.
    Move(Change<VipKey, MoveValue>),
    /// To `TARGETS`.
    Target(Change<TargetKey, TargetValue>),
    /// To a table of `MAGLEV`; one that is removed is no longer named by any row, and is left as it is.
    Maglev(Change<u32, Maglev>),
    /// To `SPREAD`; a row that is removed is no longer named by any entry, and is left as it is.
    Steer(Change<u16, SteerValue>),
    /// To `FAR`.
    Far(Change<FarKey, FarValue>),
    /// To `ENDS`.
    End(Change<Addr, EndValue>),
    /// To `SOURCES`: length of the prefix in bits, and the prefix.
    Source(Change<(u32, SourceKey), u32>),
    /// To `SERVICES`.
    Service(Change<ServiceKey, ServiceValue>),
    /// To `OPTIONS`.
    Option(Change<VipKey, OptionValue>),
    /// A slot that no entry uses is about to be used: its counters exist and are zero, its token bucket is full, it is not fenced.
    ResetSlot(u32),
    /// The entry of the slot does not answer, and is about to: the claims that raised its fence in an earlier taking are over.
    LowerFence(u32),
    /// No entry uses the slot any more: its counters go.
    FreeSlot(u32),
}

/// What the tables should hold so that `plan` is true. Slots of entries that `have` are kept; `members` are the
/// hardware addresses of all nodes of ours, `memory` is from the last time.
pub fn wanted(
    plan: &Plan,
    local: &Local,
    members: &BTreeSet<Mac>,
    have: &Tables,
    memory: &mut Memory,
) -> Wanted {
    let mut problems = Vec::new();
    let mut full = |table: &str, room: u32, left: usize| {
        if left > 0 {
            problems.push(Problem {
                object: ObjectKey::new(Kind::Node, "", local.node.as_str()),
                origin: "tables".into(),
                field: table.into(),
                why: format!("full: it has room for {room}, {left} more are not served"),
            });
        }
    };
    let (mut vips, left) = place(entries(plan, local), &have.vips);
    let moves = moves(plan, local, &vips);
    mark(&mut vips, moves.keys(), |entry| entry.moving(true));
    let (steering, rows, crowded) = steering::wanted(plan, local, &vips, have, memory);
    for (key, row) in rows {
        vips.entry(key)
            .and_modify(|entry| *entry = entry.steered(row));
    }
    mark_socketed(plan, local, &mut vips);
    let (options, lacking) = options::wanted(plan, &vips);
    mark(&mut vips, options.rows.keys(), |entry| entry.opted(true));
    for ((table, room), left) in crowded.into_iter().chain(lacking) {
        full(table, room, left);
    }
    full("hg_vips", SLOTS_MAX, left);
    let links = local
        .links
        .values()
        .map(|link| (link.ifindex, LinkValue::new(mac(link.mac))));
    let links = links.take(LINKS_MAX as usize).collect();
    full(
        "hg_links",
        LINKS_MAX,
        local.links.len().saturating_sub(LINKS_MAX as usize),
    );
    let armed = MemberValue {
        disarmed_until_ns: 0,
    };
    let known = |key| have.members.get(&key).copied().unwrap_or(armed);
    let keys = members.iter().map(|m| MacKey::new(mac(*m)));
    let member_table = keys
        .take(MEMBERS_MAX as usize)
        .map(|key| (key, known(key)))
        .collect();
    full(
        "hg_members",
        MEMBERS_MAX,
        members.len().saturating_sub(MEMBERS_MAX as usize),
    );
    let tables = Tables {
        filter: filter(vips.keys()),
        slots: vips.values().map(Entry::slot).collect(),
        links,
        members: member_table,
        moves,
        steering,
        options,
        vips,
    };
    Wanted { tables, problems }
}

/// Changes those of the entries that have these keys.
fn mark<'k>(
    vips: &mut BTreeMap<VipKey, Entry>,
    keys: impl Iterator<Item = &'k VipKey>,
    with: fn(Entry) -> Entry,
) {
    for key in keys {
        vips.entry(*key).and_modify(|entry| *entry = with(*entry));
    }
}

const fn mac(mac: Mac) -> MacAddr {
    MacAddr(mac.0)
}

/// The entries of a plan in the order of their keys, for links that exist.
fn entries(plan: &Plan, local: &Local) -> Vec<(VipKey, L2Entry)> {
    let key = |(vip, link): &(Vip, LinkName)| {
        let link = local.links.get(link)?;
        Some(VipKey::new(vip.0.into(), link.ifindex))
    };
    let entries = plan.l2.iter();
    let mut entries: Vec<_> = entries
        .filter_map(|(pair, entry)| Some((key(pair)?, *entry)))
        .collect();
    // First the links of each address, then addresses: the second is done already unless there are odd ones.
    for of_one_address in entries.chunk_by_mut(|(a, _), (b, _)| a.addr() == b.addr()) {
        of_one_address.sort_unstable_by_key(|(key, _)| *key);
    }
    entries.sort_by_key(|(key, _)| *key);
    entries
}

/// The rows of a plan's moves, for entries that exist.
fn moves(
    plan: &Plan,
    local: &Local,
    vips: &BTreeMap<VipKey, Entry>,
) -> BTreeMap<VipKey, MoveValue> {
    let row = |((vip, link), way): (&(Vip, LinkName), &L2Move)| {
        let key = VipKey::new(vip.0.into(), local.links.get(link)?.ifindex);
        let (fresh, old) = (way.fresh.map(mac), way.old.map(mac));
        let row = MoveValue::new(fresh, old, way.since.ns(), way.until.ns());
        vips.contains_key(&key).then_some((key, row))
    };
    plan.moves.iter().filter_map(row).collect()
}

/// Says of entries that sockets serve them.
fn mark_socketed(plan: &Plan, local: &Local, vips: &mut BTreeMap<VipKey, Entry>) {
    for (vip, link) in &plan.served.rows {
        let link = local.links.get(link);
        let key = link.map(|link| VipKey::new(vip.0.into(), link.ifindex));
        if let Some(entry) = key.and_then(|key| vips.get_mut(&key)) {
            *entry = entry.socketed(true);
        }
    }
}

/// Gives every entry a slot, keeping those that it has, and says how many did not fit. Entries that answer come before known ones,
/// since a known one that is missing only lets another part of the kernel answer; one that routes bring packets for is between.
fn place(
    entries: Vec<(VipKey, L2Entry)>,
    have: &BTreeMap<VipKey, Entry>,
) -> (BTreeMap<VipKey, Entry>, usize) {
    let left = entries.len().saturating_sub(SLOTS_MAX as usize);
    let mut old = have.iter().peekable();
    let mut slot_of = |key: &VipKey| {
        while old.next_if(|(k, _)| *k < key).is_some() {}
        old.next_if(|(k, _)| *k == key)
            .map(|(_, entry)| entry.slot())
    };
    let served = entries.into_iter();
    let mut served: Vec<_> = served
        .map(|(key, entry)| (key, entry, slot_of(&key)))
        .collect();
    if left > 0 {
        let rank = |entry: &L2Entry| match entry.mode {
            Mode::Answer | Mode::Draining => 0,
            Mode::Passive => 1,
            Mode::Known if entry.is_routed => 1,
            Mode::Known => 2,
        };
        served.sort_by_key(|(key, entry, slot)| (rank(entry), slot.is_none(), *key));
        served.truncate(SLOTS_MAX as usize);
    }
    let mut used = vec![false; SLOTS_MAX as usize];
    for (_, _, slot) in &mut served {
        // A slot out of range or used twice was written by nobody sane: it is not kept.
        let kept = slot
            .take()
            .filter(|slot| used.get(*slot as usize) == Some(&false));
        if let Some(kept) = kept {
            used[kept as usize] = true;
            *slot = Some(kept);
        }
    }
    let mut free = (0..SLOTS_MAX).filter(|slot| !used[*slot as usize]);
    let slotted = served.into_iter().filter_map(|(key, entry, slot)| {
        let slot = slot.or_else(|| free.next())?;
        let written = Entry::new(entry.mode, entry.epoch.0, slot);
        Some((key, written.routed(entry.is_routed)))
    });
    (slotted.collect(), left)
}

/// The words that are not zero.
fn filter<'k>(keys: impl Iterator<Item = &'k VipKey>) -> BTreeMap<u32, u64> {
    let mut words = vec![0_u64; FILTER_WORDS as usize];
    for (word, bit) in keys.map(|key| key.addr().filter_bit()) {
        words[word as usize] |= bit;
    }
    (0..).zip(words).filter(|(_, bits)| *bits != 0).collect()
}

/// The write after which this member's hardware address fences nothing until then (BOOTTIME nanoseconds); `None` if it is no
/// member's, or is disarmed as long already. [`wanted`] keeps it.
pub fn disarm(have: &Tables, member: Mac, until_ns: u64) -> Option<TableChange> {
    let key = MacKey::new(mac(member));
    let value = have.members.get(&key)?;
    let disarmed = MemberValue {
        disarmed_until_ns: until_ns,
    };
    let is_longer = value.disarmed_until_ns < until_ns;
    is_longer.then_some(TableChange::Member(Change::Put(key, disarmed)))
}

/// The writes that lead from `have` to `want`, in the order in which they must be made.
pub fn changes(have: &Tables, want: &Tables) -> Vec<TableChange> {
    let mut falling_silent = Vec::new();
    let mut silent = Vec::new();
    let mut answering = Vec::new();
    let mut fences = Vec::new();
    let mut new_slots: BTreeSet<u32> = want.slots.difference(&have.slots).copied().collect();
    for change in diff(&have.vips, &want.vips) {
        if let Change::Put(key, entry) = &change
            && !keeps_slot(have, key, entry)
        {
            new_slots.insert(entry.slot());
        }
        match &change {
            Change::Remove(_) => falling_silent.push(change),
            Change::Put(key, entry) if entry.mode() == Some(Mode::Answer) => {
                // What does not answer is not fenced, so that no claim is lost between the two writes.
                if !answers(have, key) && keeps_slot(have, key, entry) {
                    fences.push(entry.slot());
                }
                answering.push(change);
            }
            Change::Put(key, entry) if answers(have, key) && keeps_slot(have, key, entry) => {
                falling_silent.push(change);
            }
            Change::Put(..) => silent.push(change),
        }
    }
    let widened = union(&have.filter, &want.filter);
    let (link_puts, link_removals) = split(diff(&have.links, &want.links));
    let (member_puts, member_removals) = split(diff(&have.members, &want.members));
    // An entry that says of itself that it moves has its row, from before it says so until after.
    let (move_puts, move_removals) = split(diff(&have.moves, &want.moves));
    let (before, after) = steering::changes(&have.steering, &want.steering);
    let (before_options, after_options) = options::changes(&have.options, &want.options);
    let vips = |changes: Vec<_>| changes.into_iter().map(TableChange::Vip);
    let moves = |changes: Vec<_>| changes.into_iter().map(TableChange::Move);
    moves(move_puts)
        .chain(before)
        .chain(before_options)
        .chain(vips(falling_silent))
        .chain(link_puts.into_iter().map(TableChange::Link))
        .chain(member_puts.into_iter().map(TableChange::Member))
        .chain(
            diff(&have.filter, &widened)
                .into_iter()
                .map(TableChange::Filter),
        )
        .chain(new_slots.into_iter().map(TableChange::ResetSlot))
        .chain(vips(silent))
        .chain(fences.into_iter().map(TableChange::LowerFence))
        .chain(vips(answering))
        .chain(moves(move_removals))
        .chain(after)
        .chain(after_options)
        .chain(
            have.slots
                .difference(&want.slots)
                .copied()
                .map(TableChange::FreeSlot),
        )
        .chain(
            diff(&widened, &want.filter)
                .into_iter()
                .map(TableChange::Filter),
        )
        .chain(member_removals.into_iter().map(TableChange::Member))
        .chain(link_removals.into_iter().map(TableChange::Link))
        .collect()
}

/// Whether the program deals with packets by this entry.
fn takes_packets(entry: &Entry) -> bool {
    entry.is_routed() || matches!(entry.mode(), Some(Mode::Answer | Mode::Draining))
}

fn answers(have: &Tables, key: &VipKey) -> bool {
    have.vips.get(key).and_then(Entry::mode) == Some(Mode::Answer)
}

fn keeps_slot(have: &Tables, key: &VipKey, entry: &Entry) -> bool {
    have.vips
        .get(key)
        .is_some_and(|old| old.slot() == entry.slot())
}

fn union(a: &BTreeMap<u32, u64>, b: &BTreeMap<u32, u64>) -> BTreeMap<u32, u64> {
    let mut union = a.clone();
    for (word, bits) in b {
        *union.entry(*word).or_default() |= bits;
    }
    union
}

type Changes<K, V> = Vec<Change<K, V>>;

/// Puts and removals.
fn split<K, V>(changes: Changes<K, V>) -> (Changes<K, V>, Changes<K, V>) {
    changes
        .into_iter()
        .partition(|change| matches!(change, Change::Put(..)))
}

impl Tables {
    /// Makes one change in the mirror, as it was made in the kernel.
    pub fn apply(&mut self, change: &TableChange) {
        fn make<K: Ord + Clone, V: Clone>(table: &mut BTreeMap<K, V>, change: &Change<K, V>) {
            match change {
                Change::Put(key, value) => table.insert(key.clone(), value.clone()),
                Change::Remove(key) => table.remove(key),
            };
        }
        match change {
            TableChange::Vip(change) => make(&mut self.vips, change),
            TableChange::Filter(change) => make(&mut self.filter, change),
            TableChange::Link(change) => make(&mut self.links, change),
            TableChange::Member(change) => make(&mut self.members, change),
            TableChange::Move(change) => make(&mut self.moves, change),
            TableChange::Target(change) => make(&mut self.steering.targets, change),
            TableChange::Maglev(change) => make(&mut self.steering.maglev, change),
            TableChange::Steer(change) => make(&mut self.steering.rows, change),
            TableChange::Far(change) => make(&mut self.steering.far, change),
            TableChange::End(change) => make(&mut self.steering.ends, change),
            TableChange::Source(change) => make(&mut self.options.sources, change),
            TableChange::Service(change) => make(&mut self.options.services, change),
            TableChange::Option(change) => make(&mut self.options.rows, change),
            TableChange::ResetSlot(slot) => {
                self.slots.insert(*slot);
            }
            TableChange::FreeSlot(slot) => {
                self.slots.remove(slot);
            }
            TableChange::LowerFence(_) => {}
        }
    }
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
