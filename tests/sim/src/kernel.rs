//! A node's kernel: the tables that outlive every process, and the real packet logic over them.
//!
//! Written through the changes of `speaker_core::tables` only, as the shell writes the pinned maps, and by the pulse's one word.
//! It has a clock (the node's own) and knows nothing of who is right.

use crate::lan::{self, Lan};
use crate::plant::Plant;
use speaker_core::diff::Change;
use speaker_core::tables::{
    Maglev, OptionContent, SteeringContent, TableChange, Tables as Written,
};
use speaker_ebpf::abi::{Addr, Claim, Entry, Mode, SteerValue, Steered, VipKey};
use speaker_ebpf::logic::Verdict;
use speaker_ebpf::model::flow::FlowWire;
use speaker_ebpf::model::wire::{ArpWire, NdpWire};
use speaker_ebpf::model::{Limit, Tables, VecFrame, run};
use speaker_proto::{Mac, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// What becomes of a frame that came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Back out of the link.
    Reply(Vec<u8>),
    /// Nowhere.
    Dropped,
    /// To the stack.
    Passed,
}

/// One node's kernel.
#[derive(Debug, Default)]
pub struct Kernel {
    tables: Tables,
    /// The slots that have counters, as the maps have them.
    slots: BTreeSet<u32>,
    /// Tables of steering that rows name.
    maglev: BTreeMap<u32, Maglev>,
    /// Records of the ring are lost.
    pub loses_claims: bool,
    /// The rule that its tables break for packets of connections.
    pub plant: Option<Plant>,
}

/// One change of one table.
fn make<K: Ord + Copy, V: Copy>(table: &mut BTreeMap<K, V>, change: &Change<K, V>) {
    match change {
        Change::Put(key, value) => table.insert(*key, *value),
        Change::Remove(key) => table.remove(key),
    };
}

impl Kernel {
    /// An empty one, with this rule broken.
    pub fn broken(plant: Option<Plant>) -> Self {
        Self {
            plant,
            ..Self::default()
        }
    }

    /// One write of the deciding thread.
    pub fn apply(&mut self, change: &TableChange) {
        let tables = &mut self.tables;
        match change {
            TableChange::Vip(Change::Put(key, entry)) => {
                tables.vips.insert(*key, *entry);
            }
            TableChange::Vip(Change::Remove(key)) => {
                tables.vips.remove(key);
            }
            TableChange::Filter(Change::Put(word, bits)) => {
                tables.filter.insert(*word, *bits);
            }
            TableChange::Filter(Change::Remove(word)) => {
                tables.filter.remove(word);
            }
            TableChange::Link(Change::Put(index, link)) => {
                tables.links.insert(*index, *link);
            }
            TableChange::Link(Change::Remove(index)) => {
                tables.links.remove(index);
            }
            TableChange::Member(Change::Put(key, member)) => {
                tables.members.insert(*key, *member);
            }
            TableChange::Member(Change::Remove(key)) => {
                tables.members.remove(key);
            }
            TableChange::Move(Change::Put(key, value)) => {
                tables.moves.insert(*key, *value);
            }
            TableChange::Move(Change::Remove(key)) => {
                tables.moves.remove(key);
            }
            TableChange::Target(Change::Put(key, target)) => {
                tables.targets.insert(*key, *target);
            }
            TableChange::Target(Change::Remove(key)) => {
                tables.targets.remove(key);
            }
            TableChange::Maglev(Change::Put(table, slots)) => {
                tables.put_table(*table, |slot| slots[slot as usize]);
                self.maglev.insert(*table, Arc::clone(slots));
            }
            TableChange::Maglev(Change::Remove(table)) => {
                self.maglev.remove(table);
            }
            TableChange::Steer(change) => make(&mut tables.spread, change),
            TableChange::Option(change) => make(&mut tables.options, change),
            TableChange::Service(change) => make(&mut tables.services, change),
            TableChange::Source(Change::Put(key, _)) => {
                tables.sources.insert(*key);
            }
            TableChange::Source(Change::Remove(key)) => {
                tables.sources.remove(key);
            }
            TableChange::Far(change) => make(&mut tables.far, change),
            TableChange::End(change) => make(&mut tables.ends, change),
            TableChange::ResetSlot(slot) => {
                self.slots.insert(*slot);
                tables.stats.remove(slot);
                tables.traffic.remove(slot);
                self.unfence(*slot, self.generation(*slot));
            }
            TableChange::LowerFence(slot) => self.unfence(*slot, self.generation(*slot)),
            TableChange::FreeSlot(slot) => {
                self.slots.remove(slot);
                tables.stats.remove(slot);
            }
        }
    }

    /// The tables as a new process reads them.
    pub fn read(&self) -> Written {
        Written {
            vips: self.tables.vips.clone(),
            filter: self.tables.filter.clone(),
            links: self.tables.links.clone(),
            members: self.tables.members.clone(),
            moves: self.tables.moves.clone(),
            steering: SteeringContent {
                rows: self.tables.spread.clone(),
                maglev: self.maglev.clone(),
                targets: self.tables.targets.clone(),
                far: self.tables.far.clone(),
                ends: self.tables.ends.clone(),
            },
            options: OptionContent {
                rows: self.tables.options.clone(),
                services: self.tables.services.clone(),
                sources: self.tables.sources.iter().map(|key| (*key, 1)).collect(),
            },
            slots: self.slots.clone(),
        }
    }

    /// The pulse's word.
    pub fn store_deadline(&mut self, deadline: Time) {
        self.tables.node_deadline_ns = deadline.ns();
    }

    /// The pulse's word, as a new process finds it.
    pub fn deadline(&self) -> Time {
        Time::from_ns(self.tables.node_deadline_ns)
    }

    /// Lowers a fence up to a generation: a claim that came since keeps it up.
    pub fn unfence(&mut self, slot: u32, generation: u64) {
        let tables = &mut self.tables;
        let raised = tables.fence.get(&slot).copied().unwrap_or_default();
        let cleared = tables.cleared.entry(slot).or_default();
        if *cleared < generation && generation <= raised {
            *cleared = generation;
        }
    }

    /// A slot's fence generation.
    pub fn generation(&self, slot: u32) -> u64 {
        self.tables.fence.get(&slot).copied().unwrap_or_default()
    }

    /// Which of these slots are fenced, with their generation.
    pub fn fenced_of(&self, slots: impl Iterator<Item = u32>) -> BTreeMap<u32, u64> {
        let of = |map: &BTreeMap<u32, u64>, slot| map.get(&slot).copied().unwrap_or_default();
        let tables = &self.tables;
        slots
            .map(|slot| (slot, of(&tables.fence, slot)))
            .filter(|(slot, generation)| of(&tables.cleared, *slot) != *generation)
            .collect()
    }

    /// Fences of entries that are up.
    pub fn fenced(&self) -> impl Iterator<Item = (VipKey, u32)> {
        let is_up = |slot: &u32| {
            let of = |map: &BTreeMap<u32, u64>| map.get(slot).copied();
            of(&self.tables.fence).unwrap_or_default()
                != of(&self.tables.cleared).unwrap_or_default()
        };
        let entries = self.tables.vips.iter();
        entries
            .map(|(key, entry)| (*key, entry.slot()))
            .filter(move |(_, slot)| is_up(slot))
    }

    /// The entry of a VIP on a link.
    pub fn entry(&self, key: &VipKey) -> Option<Entry> {
        self.tables.vips.get(key).copied()
    }

    /// An entry in mode answer whose fence is up.
    pub fn silenced(&self) -> Option<VipKey> {
        let is_answering = |key: &VipKey| {
            let entry = self.entry(key);
            entry.and_then(|entry| entry.mode()) == Some(Mode::Answer)
        };
        let mut fenced = self.fenced().map(|(key, _)| key);
        fenced.find(is_answering)
    }

    /// Whether this hardware address is a member's and may claim now.
    pub fn may_claim(&self, now: Time, mac: Mac) -> bool {
        let key = speaker_ebpf::abi::MacKey::new(speaker_ebpf::abi::MacAddr(mac.0));
        let member = self.tables.members.get(&key);
        member.is_some_and(|member| member.disarmed_until_ns <= now.ns())
    }

    /// Whether a member's hardware address fences nothing now, since it was spoofed.
    pub fn is_disarmed(&self, now: Time, mac: Mac) -> bool {
        let key = speaker_ebpf::abi::MacKey::new(speaker_ebpf::abi::MacAddr(mac.0));
        let member = self.tables.members.get(&key);
        member.is_some_and(|member| member.disarmed_until_ns > now.ns())
    }

    /// What is in the ring, which is empty afterwards.
    pub fn take_claims(&mut self) -> Vec<Claim> {
        if self.loses_claims {
            self.tables.claims.clear();
        }
        std::mem::take(&mut self.tables.claims)
    }

    /// Whether something is in the ring.
    pub fn has_claims(&self) -> bool {
        !self.tables.claims.is_empty()
    }

    /// A frame came in at `now` of the node's clock; `own` is the link's hardware address.
    pub fn receive(&mut self, now: Time, lan: Lan, own: Mac, bytes: &[u8]) -> Fate {
        let mut frame = VecFrame::new(lan::ifindex(lan), bytes);
        frame.is_for_us = bytes[0] & 1 == 1 || bytes[..6] == own.0;
        self.tables.now_ns = now.ns();
        match run(&mut frame, &mut self.tables) {
            Verdict::Reply | Verdict::Forward => Fate::Reply(frame.bytes),
            // Its nodes have no routes.
            Verdict::Depart(_) | Verdict::Drop => Fate::Dropped,
            Verdict::Next | Verdict::Mark => Fate::Passed,
        }
    }

    /// A packet of a connection came in at `now`: what becomes of it, and what the program counted it as, if its VIP is spread.
    pub fn carry(
        &mut self,
        now: Time,
        lan: Lan,
        own: Mac,
        bytes: &[u8],
    ) -> (Fate, Option<Steered>) {
        let counted = |tables: &Tables| Steered::ALL.map(|way| tables.way(way));
        let before = counted(&self.tables);
        let fate = match self.plant {
            Some(plant) => self.carry_planted(plant, now, (lan, own), bytes),
            None => self.receive(now, lan, own, bytes),
        };
        let ways = before.into_iter().zip(counted(&self.tables));
        let mut ways = ways.zip(Steered::ALL);
        let how = ways.find(|((before, after), _)| before != after);
        (fate, how.map(|(_, way)| way))
    }

    /// The same with tables that say something else for as long.
    fn carry_planted(
        &mut self,
        plant: Plant,
        now: Time,
        (lan, own): (Lan, Mac),
        bytes: &[u8],
    ) -> Fate {
        let tables = &mut self.tables;
        let (members, rows) = (tables.members.clone(), tables.spread.clone());
        let deadline = tables.node_deadline_ns;
        match plant {
            Plant::IgnoresGuard => tables.members.clear(),
            Plant::IgnoresPrevious => {
                for row in tables.spread.values_mut() {
                    *row = SteerValue::new(row.table(), 0).sent_to(row.own());
                }
            }
            Plant::ForgetsFlows => tables.streams.clear(),
            Plant::SteersLapsed if deadline > 0 => tables.node_deadline_ns = u64::MAX,
            _ => {}
        }
        let fate = self.receive(now, lan, own, bytes);
        self.tables.members = members;
        self.tables.spread = rows;
        self.tables.node_deadline_ns = deadline;
        fate
    }

    /// Whether a hardware address is in the table of members.
    pub fn is_member(&self, mac: Mac) -> bool {
        let key = speaker_ebpf::abi::MacKey::new(speaker_ebpf::abi::MacAddr(mac.0));
        self.tables.members.contains_key(&key)
    }

    /// Whether whose a connection from this port is was remembered.
    pub fn remembers(&self, port: u16) -> bool {
        let mut streams = self.tables.streams.keys();
        streams.any(|key| key.word.to_ne_bytes()[..2] == port.to_be_bytes())
    }

    /// Whether the packets of a VIP on a segment are spread.
    pub fn is_spread(&self, lan: Lan, vip: IpAddr) -> bool {
        let entry = self.entry(&key(lan, vip));
        entry.is_some_and(|entry| self.tables.spread.contains_key(&entry.row()))
    }

    /// Whether this node may say at `now` where packets for a VIP go: it has the VIP or gives it away in order, its deadline is in force, and
    /// no other claims it.
    pub fn may_speak(&self, now: Time, lan: Lan, vip: IpAddr) -> bool {
        let Some(entry) = self.entry(&key(lan, vip)) else {
            return false;
        };
        let deadline = match entry.deadline_ns() {
            0 => self.tables.node_deadline_ns,
            own => own,
        };
        let is_fenced = !self.fenced_of([entry.slot()].into_iter()).is_empty();
        let may = match entry.mode() {
            Some(Mode::Answer) => !is_fenced,
            Some(Mode::Draining) => true,
            Some(Mode::Known | Mode::Passive) | None => false,
        };
        may && now.ns() < deadline
    }

    /// Whether a question for `vip` that came in at `now` on that segment would be answered. Leaves everything as it is but the counters.
    pub fn would_answer(&mut self, now: Time, lan: Lan, vip: IpAddr) -> bool {
        let is_candidate = self
            .entry(&key(lan, vip))
            .is_some_and(|entry| entry.mode() == Some(Mode::Answer));
        if !is_candidate {
            return false;
        }
        let limit = std::mem::replace(
            &mut self.tables.limit,
            Limit {
                interval_ns: 0,
                ..Limit::default()
            },
        );
        let question = probe(ORACLE, vip);
        let fate = self.receive(now, lan, Mac([0; 6]), &question);
        self.tables.limit = limit;
        matches!(fate, Fate::Reply(_))
    }

    /// To which hardware address a new connection to `vip` that came in at `now` would be sent on. Leaves everything as it is.
    pub fn sends_on(&self, now: Time, lan: Lan, own: Mac, vip: IpAddr) -> Option<Mac> {
        self.tables.moves.get(&key(lan, vip))?;
        if self.is_spread(lan, vip) {
            // They go where the table says.
            return None;
        }
        let from = match vip {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 7)),
        };
        let client = (ORACLE.0, SocketAddr::new(from, 40_000));
        let opening = FlowWire::syn(own.0, client, SocketAddr::new(vip, 80)).bytes();
        let mut frame = VecFrame::new(lan::ifindex(lan), &opening);
        frame.is_for_us = true;
        let mut tables = self.tables.clone();
        tables.now_ns = now.ns();
        match run(&mut frame, &mut tables) {
            Verdict::Forward => frame.bytes.first_chunk().copied().map(Mac),
            Verdict::Reply | Verdict::Depart(_) | Verdict::Drop | Verdict::Next | Verdict::Mark => {
                None
            }
        }
    }

    /// Who asked for a VIP, as the shell finds them.
    pub fn askers(&self, lan: Lan, vip: IpAddr) -> Vec<(IpAddr, Mac)> {
        let key = key(lan, vip);
        let of = self.tables.askers.iter();
        of.filter(|(asker, _)| asker.vip == key)
            .map(|(asker, value)| (asker.client.into(), Mac(value.mac.0)))
            .collect()
    }
}

/// The place of a VIP's entry.
pub fn key(lan: Lan, vip: IpAddr) -> VipKey {
    VipKey::new(Addr::from(vip), lan::ifindex(lan))
}

/// A question that leaves no trace: from nobody's address (RFC 5227's probe, RFC 4862's duplicate address detection).
fn probe(from: Mac, vip: IpAddr) -> Vec<u8> {
    match vip {
        IpAddr::V4(vip) => ArpWire::request((from.0, Ipv4Addr::UNSPECIFIED), vip).bytes(),
        IpAddr::V6(vip) => NdpWire::duplicate_detection(from.0, vip).bytes(),
    }
}

/// The hardware address of the one who only looks.
const ORACLE: Mac = Mac([2, 0xee, 0, 0, 0, 1]);
