//! The part of the tables that says how packets are spread: nodes get numbers, Maglev tables get places.
//!
//! A table that is in use is never changed, nor a row: what differs is written beside it, and the VIPs' entries are switched over. Numbers
//! of nodes come from names, so that a new process gives the same ones and goes on with what the kernel remembers of flows.

use super::{TableChange, Tables, encap, split};
use crate::diff::diff;
use crate::link::LinkName;
use crate::local::Local;
use crate::plan::{Plan, Steering};
use crate::steering::{Before, Legacy, Place, Spread, Weights, maglev};
use speaker_ebpf::abi::encap::ENDS_MAX;
use speaker_ebpf::abi::steer::{OWN_NODE, ROWS_MAX, STEERED_MAX, TABLES_MAX, TARGETS_MAX};
use speaker_ebpf::abi::{
    Addr, Bucket, EndValue, Entry, FarKey, FarValue, MacAddr, SteerValue, TargetKey, TargetValue,
    VipKey,
};
use speaker_proto::{Mac, NodeName, Time, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// What the tables of steering hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Content {
    /// Those rows of `SPREAD` that entries name.
    pub rows: BTreeMap<u16, SteerValue>,
    /// Those tables of `MAGLEV` that rows name.
    pub maglev: BTreeMap<u32, Maglev>,
    /// `TARGETS`.
    pub targets: BTreeMap<TargetKey, TargetValue>,
    /// `FAR`.
    pub far: BTreeMap<FarKey, FarValue>,
    /// `ENDS`.
    pub ends: BTreeMap<Addr, EndValue>,
}

/// A table of `MAGLEV`, by slot.
pub type Maglev = Arc<Vec<Bucket>>;

/// What is remembered from one time to the next: which node is which number, and tables that were made already.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    numbers: BTreeMap<NodeName, u16>,
    walks: BTreeMap<Arc<Weights>, Arc<Vec<u16>>>,
    tables: BTreeMap<Recipe, Maglev>,
}

impl Memory {
    /// The nodes that tables name by number, without this one.
    pub fn numbers(&self) -> &BTreeMap<NodeName, u16> {
        &self.numbers
    }
}

/// Everything that a table depends on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Recipe {
    now: Arc<Weights>,
    before: Arc<Vec<Before>>,
    /// Who can be sent anything, on the link that the table is for or beyond it.
    reachable: Arc<BTreeSet<NodeName>>,
}

/// What did not fit, by table and room for it.
pub(super) type Full = BTreeMap<(&'static str, u32), usize>;

/// The rows of VIPs that are spread.
pub(super) type Named = BTreeMap<VipKey, u16>;

/// What should be there so that `plan` is true, for the entries that take packets, and which row each of these names.
pub(super) fn wanted(
    plan: &Plan,
    local: &Local,
    vips: &BTreeMap<VipKey, Entry>,
    have: &Tables,
    memory: &mut Memory,
) -> (Content, Named, Full) {
    let takes = |key: &VipKey| vips.get(key).is_some_and(super::takes_packets);
    match &plan.steering {
        Some(steering) => Draft::new(steering, local, memory).fill(takes, &have.steering),
        None => as_is(have, takes),
    }
}

/// What there is, as far as anything takes packets by it.
fn as_is(have: &Tables, takes: impl Fn(&VipKey) -> bool) -> (Content, Named, Full) {
    let named = named(have).filter(|(key, ..)| takes(key));
    let named: Named = named.map(|(key, row, _)| (key, row)).collect();
    let mut kept = have.steering.clone();
    let rows: BTreeSet<u16> = named.values().copied().collect();
    kept.rows.retain(|row, _| rows.contains(row));
    let used: BTreeSet<u32> = kept.rows.values().map(SteerValue::table).collect();
    kept.maglev.retain(|table, _| used.contains(table));
    (kept, named, Full::new())
}

/// The entries that are spread, each with its row.
fn named(tables: &Tables) -> impl Iterator<Item = (VipKey, u16, &SteerValue)> {
    let steered = tables.vips.iter().filter(|(_, entry)| entry.is_steered());
    steered.filter_map(|(key, entry)| {
        let row = tables.steering.rows.get(&entry.row())?;
        Some((*key, entry.row(), row))
    })
}

/// What was spread until `now` by these tables, and whose connections there may be. Numbers of nodes come from their names, so that they are
/// those that the next process gives.
pub fn left(tables: &Tables, now: Time) -> Legacy {
    let content = &tables.steering;
    let mut of_tables = BTreeMap::new();
    let rows = named(tables).map(|(key, _, row)| {
        let is_open = now.ns() < row.window_until_ns();
        let known = of_tables.entry((row.table(), is_open));
        let before = known.or_insert_with(|| {
            let table = content.maglev.get(&row.table());
            Arc::new(table.map_or(Vec::new(), |table| before(table, is_open)))
        });
        let place = (Vip(key.addr().into()), key.ifindex());
        (place, Arc::clone(before))
    });
    rows.collect()
}

/// In the order of [`Spread::before`]. Where what is remembered counts and the slot names its node only, nobody stands for who had it in between.
fn before(table: &Maglev, is_open: bool) -> Vec<Before> {
    let is_looked_up = |bucket: &Bucket| {
        let is_back = !is_open || bucket.earlier() == bucket.current;
        bucket.is_in_doubt() && is_back
    };
    let by_slot = |number: &dyn Fn(&Bucket) -> u16| {
        let numbers = table.iter().map(number).collect();
        Before::Left(Arc::new(numbers))
    };
    let mut before = Vec::new();
    if is_open && table.iter().any(|b| b.earlier() != b.current) {
        before.push(by_slot(&Bucket::earlier));
    }
    before.push(by_slot(&|bucket| bucket.current));
    if table.iter().any(is_looked_up) {
        before.push(by_slot(&|bucket| match is_looked_up(bucket) {
            true => NOBODY,
            false => bucket.current,
        }));
    }
    before
}

/// The writes that lead from `have` to `want`: before and after those to the entries. A row never names a table that is not
/// written whole, and a table no node whose address is not there.
pub(super) fn changes(have: &Content, want: &Content) -> (Vec<TableChange>, Vec<TableChange>) {
    let (table_puts, table_removals) = split(diff(&have.maglev, &want.maglev));
    let (target_puts, target_removals) = split(diff(&have.targets, &want.targets));
    let (row_puts, row_removals) = split(diff(&have.rows, &want.rows));
    let (far_puts, far_removals) = split(diff(&have.far, &want.far));
    let (end_puts, end_removals) = split(diff(&have.ends, &want.ends));
    let targets = target_puts.into_iter().map(TableChange::Target);
    let tables = table_puts.into_iter().map(TableChange::Maglev);
    let rows = row_puts.into_iter().map(TableChange::Steer);
    let ends = end_puts.into_iter().map(TableChange::End);
    let far = far_puts.into_iter().map(TableChange::Far);
    let before = ends.chain(far).chain(targets).chain(tables).chain(rows);
    let before = before.collect();
    let rows = row_removals.into_iter().map(TableChange::Steer);
    let tables = table_removals.into_iter().map(TableChange::Maglev);
    let targets = target_removals.into_iter().map(TableChange::Target);
    let far = far_removals.into_iter().map(TableChange::Far);
    let ends = end_removals.into_iter().map(TableChange::End);
    let after = rows.chain(tables).chain(targets).chain(far).chain(ends);
    (before, after.collect())
}

struct Draft<'d> {
    steering: &'d Steering,
    local: &'d Local,
    memory: &'d mut Memory,
    /// By link.
    reachable: BTreeMap<u32, Arc<BTreeSet<NodeName>>>,
    /// By link and family, with those on other segments.
    beyond: BTreeMap<(u32, bool), Arc<BTreeSet<NodeName>>>,
    full: Full,
}

impl<'d> Draft<'d> {
    fn new(steering: &'d Steering, local: &'d Local, memory: &'d mut Memory) -> Self {
        let mut reachable: BTreeMap<u32, BTreeSet<NodeName>> = BTreeMap::new();
        for (name, node) in steering.neighbourhood.nodes.keys() {
            if let Some(link) = local.links.get(name) {
                let nodes = reachable.entry(link.ifindex).or_default();
                nodes.insert(node.clone());
            }
        }
        let mut draft = Self {
            steering,
            local,
            memory,
            reachable: reachable
                .into_iter()
                .map(|(link, nodes)| (link, Arc::new(nodes)))
                .collect(),
            beyond: BTreeMap::new(),
            full: Full::new(),
        };
        draft.number();
        draft
    }

    fn fill(mut self, takes: impl Fn(&VipKey) -> bool, have: &Content) -> (Content, Named, Full) {
        let mut content = Content::default();
        let mut rows = Rows::beside(&have.rows);
        let mut named = Named::new();
        let mut placed: BTreeMap<Recipe, Option<u32>> = BTreeMap::new();
        for (place, spread) in &self.steering.rows {
            let Some((key, own)) = self.key(place).filter(|(key, _)| takes(key)) else {
                continue;
            };
            if named.len() == STEERED_MAX as usize {
                *self.full.entry(("hg_spread", STEERED_MAX)).or_default() += 1;
                continue;
            }
            let recipe = self.recipe((key.ifindex(), place.0.0.is_ipv4()), spread);
            let table = match placed.get(&recipe) {
                Some(table) => *table,
                None => {
                    let table = self.place(&recipe, have, &mut content);
                    placed.insert(recipe, table);
                    table
                }
            };
            let Some(table) = table else {
                *self.full.entry(("hg_maglev", TABLES_MAX)).or_default() += 1;
                continue;
            };
            let row = SteerValue::new(table, spread.until.ns()).sent_to(own);
            let row = row.by_client(spread.share.is_by_client);
            let row = row.beyond(spread.share.is_beyond);
            match rows.number(row) {
                Some(number) => {
                    named.insert(key, number);
                }
                None => *self.full.entry(("hg_spread", STEERED_MAX)).or_default() += 1,
            }
        }
        content.rows = rows.wanted;
        content.targets = self.targets(&named);
        let overlay = &self.steering.overlay;
        content.far = encap::far(overlay, &self.memory.numbers, &content);
        let left = encap::ends(overlay, &mut content.ends);
        if left > 0 {
            self.full.insert(("hg_ends", ENDS_MAX), left);
        }
        let tables = &mut self.memory.tables;
        tables.retain(|recipe, _| placed.contains_key(recipe));
        let live: BTreeSet<Arc<Weights>> = tables.keys().flat_map(Recipe::sets).collect();
        self.memory.walks.retain(|set, _| live.contains(set));
        (content, named, self.full)
    }

    /// The key of a place, and this node's hardware address there.
    fn key(&self, (vip, link): &Place) -> Option<(VipKey, MacAddr)> {
        let link = self.local.links.get(link)?;
        let key = VipKey::new(vip.0.into(), link.ifindex);
        Some((key, super::mac(link.mac)))
    }

    fn recipe(&mut self, (link, is_v4): (u32, bool), spread: &Spread) -> Recipe {
        let near = self.reachable.get(&link).cloned().unwrap_or_default();
        let reachable = match spread.share.is_beyond {
            false => near,
            true => {
                let all = self.beyond.entry((link, is_v4)).or_insert_with(|| {
                    let overlay = &self.steering.overlay;
                    let far = overlay.nodes.keys();
                    let far = far.filter(|node| overlay.reaches(node, is_v4));
                    Arc::new(far.chain(&*near).cloned().collect())
                });
                Arc::clone(all)
            }
        };
        Recipe {
            now: Arc::clone(&spread.share.weights),
            before: Arc::clone(&spread.before),
            reachable,
        }
    }

    /// Puts a table where it is already, or where there is room, and says where; `None`: nowhere.
    fn place(&mut self, recipe: &Recipe, have: &Content, content: &mut Content) -> Option<u32> {
        let table = self.table(recipe);
        let is_same = |there: &Maglev| Arc::ptr_eq(there, &table) || *there == table;
        let known = have.maglev.iter().chain(&content.maglev);
        let at = known.into_iter().find(|(_, there)| is_same(there));
        let at = at.map(|(at, _)| *at).or_else(|| {
            let is_free =
                |at: &u32| !have.maglev.contains_key(at) && !content.maglev.contains_key(at);
            (0..TABLES_MAX).find(is_free)
        })?;
        content.maglev.insert(at, table);
        Some(at)
    }

    fn table(&mut self, recipe: &Recipe) -> Maglev {
        if let Some(known) = self.memory.tables.get(recipe) {
            return Arc::clone(known);
        }
        let now = self.owners(&recipe.now);
        let before: Vec<Option<Vec<u16>>> = recipe
            .before
            .iter()
            .map(|before| match before {
                Before::Stack => None,
                Before::Nodes(weights) => Some(self.owners(weights)),
                Before::Left(numbers) => Some(Vec::clone(numbers)),
            })
            .collect();
        let reachable: BTreeSet<u16> = recipe
            .reachable
            .iter()
            .filter_map(|node| self.memory.numbers.get(node).copied())
            .chain([OWN_NODE])
            .collect();
        let bucket = |(slot, current): (usize, u16)| {
            let earlier = || {
                before.iter().map(|owners| match owners {
                    None => OWN_NODE,
                    Some(owners) => owners.get(slot).copied().unwrap_or(current),
                })
            };
            let previous = earlier().find(|node| reachable.contains(node));
            let previous = previous.unwrap_or(current);
            // One that is away counts: it has the slot again when it is back, and what came meanwhile must be remembered by then.
            if previous == current && earlier().any(|node| node != current) {
                return Bucket::returned(current);
            }
            Bucket { current, previous }
        };
        let table = Arc::new(now.into_iter().enumerate().map(bucket).collect());
        let tables = &mut self.memory.tables;
        tables.insert(recipe.clone(), Arc::clone(&table));
        table
    }

    /// The number of each slot's node. One that has none is not there any more; its slots count as nobody's.
    fn owners(&mut self, weights: &Arc<Weights>) -> Vec<u16> {
        let walk = self.memory.walks.entry(Arc::clone(weights));
        let walk = walk.or_insert_with(|| Arc::new(maglev::table(weights)));
        let number = |node: &NodeName| match *node == self.local.node {
            true => OWN_NODE,
            false => self.memory.numbers.get(node).copied().unwrap_or(NOBODY),
        };
        let numbers: Vec<u16> = weights.keys().map(number).collect();
        let numbers = walk.iter().map(|place| numbers[usize::from(*place)]);
        numbers.collect()
    }

    /// Gives a number to every node that something could be sent to, on any link. Those that have one keep it.
    fn number(&mut self) {
        let near = self.reachable.values().flat_map(|nodes| &**nodes);
        let far = self.steering.overlay.nodes.keys();
        let reachable: BTreeSet<&NodeName> = near.chain(far).collect();
        let numbers = &mut self.memory.numbers;
        numbers.retain(|node, _| reachable.contains(node));
        let mut taken: BTreeSet<u16> = numbers.values().copied().collect();
        for node in reachable {
            if numbers.contains_key(node) {
                continue;
            }
            let first = xxh3_64(node.as_str().as_bytes()) % u64::from(NUMBERS);
            let free = (0..NUMBERS)
                .map(|step| (first as u16 + step) % NUMBERS + 1)
                .find(|number| !taken.contains(number));
            match free {
                Some(number) => {
                    taken.insert(number);
                    numbers.insert(node.clone(), number);
                }
                None => *self.full.entry(("hg_targets", TARGETS_MAX)).or_default() += 1,
            }
        }
    }

    /// Where the nodes are that a table of the link may name.
    fn targets(&mut self, named: &Named) -> BTreeMap<TargetKey, TargetValue> {
        let links: BTreeSet<u32> = named.keys().map(VipKey::ifindex).collect();
        let nodes = self.steering.neighbourhood.nodes.iter();
        let target = |((name, node), mac): (&(LinkName, NodeName), &Mac)| {
            let ifindex = self.local.links.get(name)?.ifindex;
            let node = u32::from(*self.memory.numbers.get(node)?);
            let key = TargetKey { ifindex, node };
            let value = TargetValue {
                mac: MacAddr(mac.0),
                pad: [0; 2],
            };
            links.contains(&ifindex).then_some((key, value))
        };
        let targets: Vec<_> = nodes.filter_map(target).collect();
        let left = targets.len().saturating_sub(TARGETS_MAX as usize);
        if left > 0 {
            *self.full.entry(("hg_targets", TARGETS_MAX)).or_default() += left;
        }
        targets.into_iter().take(TARGETS_MAX as usize).collect()
    }
}

/// Numbers for rows: that of one that is there and the same, or one that no entry names yet.
struct Rows {
    numbers: BTreeMap<SteerValue, u16>,
    free: Box<dyn Iterator<Item = u16>>,
    wanted: BTreeMap<u16, SteerValue>,
}

impl Rows {
    fn beside(have: &BTreeMap<u16, SteerValue>) -> Self {
        let taken: BTreeSet<u16> = have.keys().copied().collect();
        // After the last, so that a number that was just given up is not the next to be written to.
        let last = taken.last().copied().unwrap_or(0);
        let all = (last + 1..=ROWS_MAX as u16).chain(1..=last);
        Self {
            numbers: have.iter().map(|(number, row)| (*row, *number)).collect(),
            free: Box::new(all.filter(move |number| !taken.contains(number))),
            wanted: BTreeMap::new(),
        }
    }

    /// `None` only where entries name more rows than VIPs may be spread, which nobody sane has written.
    fn number(&mut self, row: SteerValue) -> Option<u16> {
        let known = self.numbers.get(&row).copied();
        let number = known.or_else(|| self.free.next())?;
        self.numbers.insert(row, number);
        self.wanted.insert(number, row);
        Some(number)
    }
}

impl Recipe {
    fn sets(&self) -> impl Iterator<Item = Arc<Weights>> {
        let before = self.before.iter().filter_map(|before| match before {
            Before::Stack | Before::Left(_) => None,
            Before::Nodes(weights) => Some(Arc::clone(weights)),
        });
        before.chain([Arc::clone(&self.now)])
    }
}

/// Numbers of other nodes are 1 to this.
const NUMBERS: u16 = TARGETS_MAX as u16 - 1;
/// No node's number: nothing is ever sent there.
const NOBODY: u16 = u16::MAX;

#[cfg(test)]
#[path = "steering_tests.rs"]
mod tests;
