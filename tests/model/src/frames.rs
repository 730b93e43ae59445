//! What the kernel program does with single frames, as one table: a frame, the tables before, and what must come of it.
//!
//! The table itself knows no kernel: it is checked against the host's model here and against the loaded program, hook by hook,
//! by the kernel suite. Rules: RFC 826, 5227, 4861, 4862.

mod arp;
mod claims;
mod ip;
mod moves;
mod ndp;
mod options;
mod socket;
mod spread;

use speaker_ebpf::abi::{
    Addr, ClaimKind, Entry, Global, LinkValue, MacAddr, MacKey, MemberValue, Mode, MoveValue,
    Opted, Outcome, Passage, SlotStats, Steered, Tunnelled, VipKey,
};
use speaker_ebpf::logic::{Memory, Verdict};
use speaker_ebpf::model::{Tables, VecFrame, run};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One fact about one frame.
#[derive(Clone, Debug)]
pub struct Case {
    /// The fact.
    pub name: &'static str,
    /// The frame as it comes in.
    pub frame: Vec<u8>,
    /// The tables before.
    pub tables: Tables,
    /// The hook that it is true of; `None` means both.
    pub only: Option<Hook>,
    /// What becomes of the frame.
    pub verdict: Verdict,
    /// The frame afterwards.
    pub bytes: Vec<u8>,
    /// Outcomes counted, each once, for one of the VIPs.
    pub outcome: Option<Outcome>,
    /// What was counted beside [`Global::Arp`] and [`Global::Ndp`].
    pub global: Option<Global>,
    /// The client that was remembered.
    pub asker: Option<(IpAddr, [u8; 6])>,
    /// What the agent was told of.
    pub claim: Option<ClaimKind>,
    /// Whether a fence was raised.
    pub fences: bool,
    /// Whether it was counted as traffic for a VIP.
    pub is_traffic: bool,
    /// What became of it because its VIP moves.
    pub passage: Option<Passage>,
    /// How many connections are remembered afterwards, and sets of fragments.
    pub flows: usize,
    /// What became of it because its VIP is spread.
    pub steered: Option<Steered>,
    /// What became of it on the way to another segment or from one.
    pub tunnelled: Option<Tunnelled>,
    /// The node that it was counted for.
    pub node: Option<u16>,
    /// How many flows of each kind are remembered afterwards.
    pub remembered: [usize; 3],
    /// What was done by an option.
    pub opted: Option<Opted>,
}

/// Where the program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// TC ingress.
    Tc,
    /// XDP.
    Xdp,
}

/// The whole table.
pub fn cases() -> Vec<Case> {
    let mut cases = arp::cases();
    cases.extend(ndp::cases());
    cases.extend(claims::cases());
    cases.extend(ip::cases());
    cases.extend(moves::cases());
    cases.extend(socket::cases());
    cases.extend(spread::cases());
    cases.extend(options::cases());
    cases
}

impl Case {
    /// `frame` passes untouched and leaves no trace, unless the following say otherwise.
    fn new(name: &'static str, frame: Vec<u8>) -> Self {
        Self {
            name,
            bytes: frame.clone(),
            frame,
            tables: tables(Entry::new(Mode::Answer, 7, 0)),
            only: None,
            verdict: Verdict::Next,
            outcome: None,
            global: None,
            asker: None,
            claim: None,
            fences: false,
            is_traffic: false,
            passage: None,
            flows: 0,
            steered: None,
            tunnelled: None,
            node: None,
            remembered: [0; 3],
            opted: None,
        }
    }

    fn given(mut self, change: impl FnOnce(&mut Tables)) -> Self {
        change(&mut self.tables);
        self
    }

    fn only(mut self, hook: Hook) -> Self {
        self.only = Some(hook);
        self
    }

    fn answered(mut self, reply: Vec<u8>) -> Self {
        self.verdict = Verdict::Reply;
        self.bytes = reply;
        self.counted(Outcome::Answered)
    }

    fn dropped(mut self, outcome: Outcome) -> Self {
        self.verdict = Verdict::Drop;
        self.counted(outcome)
    }

    fn counted(mut self, outcome: Outcome) -> Self {
        self.outcome = Some(outcome);
        if outcome == Outcome::Malformed {
            self.global = Some(Global::Malformed);
        }
        self
    }

    fn global(mut self, global: Global) -> Self {
        self.global = Some(global);
        self
    }

    fn asked_by(mut self, ip: impl Into<IpAddr>, mac: [u8; 6]) -> Self {
        self.asker = Some((ip.into(), mac));
        self
    }

    fn told(mut self, claim: ClaimKind) -> Self {
        self.claim = Some(claim);
        self
    }

    fn fenced(mut self) -> Self {
        self.fences = true;
        self
    }

    fn traffic(mut self) -> Self {
        self.is_traffic = true;
        self
    }

    /// It goes to `to` with one hop less, because its VIP moves.
    fn sent_on(mut self, passage: Passage, to: [u8; 6]) -> Self {
        self.passage = Some(passage);
        self.readdressed(to)
    }

    fn readdressed(mut self, to: [u8; 6]) -> Self {
        self.verdict = Verdict::Forward;
        self.bytes[..6].copy_from_slice(&to);
        self.bytes[6..12].copy_from_slice(&OWN);
        if self.bytes[12] == 8 {
            self.bytes[22] -= 1;
            let header = 14..14 + usize::from(self.bytes[14] & 15) * 4;
            self.bytes[24..26].fill(0);
            let words = self.bytes[header].chunks(2);
            let words = words.map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
            let sum: u32 = words.sum();
            let folded = (sum & 0xffff) + (sum >> 16);
            let sum = !((folded & 0xffff) + (folded >> 16)) as u16;
            self.bytes[24..26].copy_from_slice(&sum.to_be_bytes());
        } else {
            self.bytes[21] -= 1;
        }
        self
    }

    /// It stays, with this reason.
    fn stays(mut self, passage: Passage) -> Self {
        self.passage = Some(passage);
        self.traffic()
    }

    fn remembering(mut self, flows: usize) -> Self {
        self.flows = flows;
        self
    }

    /// What the model makes of it at `hook`: verdict, bytes and tables.
    pub fn play(&self, hook: Hook) -> (Verdict, Vec<u8>, Tables) {
        let mut tables = self.tables.clone();
        let mut frame = VecFrame::new(LINK, &self.frame);
        frame.is_for_us = hook == Hook::Xdp || is_for_us(&self.frame);
        let verdict = run(&mut frame, &mut tables);
        (verdict, frame.bytes, tables)
    }

    /// Asserts that what came out is what the case says.
    pub fn check(&self, hook: Hook, verdict: Verdict, bytes: &[u8], after: &Tables) {
        let name = format!("{} ({hook:?})", self.name);
        assert_eq!(verdict, self.verdict, "{name}: verdict");
        assert_eq!(bytes, self.bytes, "{name}: bytes");
        for outcome in Outcome::ALL {
            let count = after.outcome(SLOT4, outcome) + after.outcome(SLOT6, outcome);
            let expected = u64::from(self.outcome == Some(outcome));
            assert_eq!(count, expected, "{name}: {outcome:?}");
        }
        for global in Global::ALL {
            if !matches!(global, Global::Arp | Global::Ndp) {
                let expected = u64::from(self.global == Some(global));
                assert_eq!(after.global(global), expected, "{name}: {global:?}");
            }
        }
        let askers: Vec<_> = after
            .askers
            .iter()
            .map(|(key, value)| (IpAddr::from(key.client), value.mac.0))
            .collect();
        assert_eq!(askers, Vec::from_iter(self.asker), "{name}: askers");
        let claims: Vec<_> = after.claims.iter().map(|claim| claim.kind).collect();
        let expected = self.claim.map(|kind| kind as u8);
        assert_eq!(claims, Vec::from_iter(expected), "{name}: claims");
        let fence: u64 =
            after.fence.values().sum::<u64>() - self.tables.fence.values().sum::<u64>();
        assert_eq!(fence, u64::from(self.fences), "{name}: fences");
        let packets: u64 = after.traffic.values().map(|traffic| traffic.packets).sum();
        let octets: u64 = after.traffic.values().map(|traffic| traffic.bytes).sum();
        assert_eq!(packets, u64::from(self.is_traffic), "{name}: packets");
        assert_eq!(octets, packets * self.frame.len() as u64, "{name}: octets");
        for passage in Passage::ALL {
            let expected = u64::from(self.passage == Some(passage));
            assert_eq!(after.passage(passage), expected, "{name}: {passage:?}");
        }
        assert_eq!(after.flows.len(), self.flows, "{name}: flows");
        for opted in Opted::ALL {
            let expected = u64::from(self.opted == Some(opted));
            assert_eq!(after.by_option(opted), expected, "{name}: {opted:?}");
        }
        self.check_spread(&name, after);
    }

    fn check_spread(&self, name: &str, after: &Tables) {
        for steered in Steered::ALL {
            let expected = u64::from(self.steered == Some(steered));
            assert_eq!(after.way(steered), expected, "{name}: {steered:?}");
        }
        for tunnelled in Tunnelled::ALL {
            let expected = u64::from(self.tunnelled == Some(tunnelled));
            assert_eq!(after.passing(tunnelled), expected, "{name}: {tunnelled:?}");
        }
        let shares: Vec<_> = after
            .shares
            .iter()
            .map(|(key, share)| (key.node, share.packets, share.bytes))
            .collect();
        let expected = self
            .node
            .map(|node| (node.into(), 1, self.frame.len() as u64));
        assert_eq!(shares, Vec::from_iter(expected), "{name}: shares");
        let remembered = MEMORIES.map(|memory| after.memory(memory).len());
        assert_eq!(remembered, self.remembered, "{name}: remembered");
    }
}

/// As the stack sees the destination of a frame on [`LINK`].
fn is_for_us(frame: &[u8]) -> bool {
    frame[0] & 1 == 1 || frame[..6] == OWN
}

/// Both VIPs under `entry`, with slots of their own; a member, and a second one that is disarmed.
fn tables(entry: Entry) -> Tables {
    let mut tables = Tables {
        now_ns: NOW,
        node_deadline_ns: NOW + MINUTE,
        ..Tables::default()
    };
    tables.links.insert(LINK, LinkValue::new(MacAddr(OWN)));
    for (mac, disarmed_until_ns) in [(MEMBER, 0), (DISARMED, NOW + MINUTE)] {
        let key = MacKey::new(MacAddr(mac));
        tables
            .members
            .insert(key, MemberValue { disarmed_until_ns });
    }
    put(&mut tables, entry);
    tables
}

fn put(tables: &mut Tables, entry: Entry) {
    let mode = entry.mode().unwrap_or(Mode::Known);
    for (vip, slot) in [(IpAddr::from(VIP4), SLOT4), (IpAddr::from(VIP6), SLOT6)] {
        let own = Entry::new(mode, entry.epoch(), slot).until(entry.deadline_ns());
        let own = own.routed(entry.is_routed());
        tables.put_vip(VipKey::new(Addr::from(vip), LINK), own);
    }
}

fn known(tables: &mut Tables) {
    put(tables, Entry::new(Mode::Known, 7, 0));
}

/// Only routes bring its packets here.
fn routed(tables: &mut Tables) {
    put(tables, Entry::new(Mode::Passive, 0, 0).routed(true));
}

/// Another node has it on the link, and routes bring its packets here as well.
fn known_and_routed(tables: &mut Tables) {
    put(tables, Entry::new(Mode::Known, 0, 0).routed(true));
}

fn draining(tables: &mut Tables) {
    put(tables, Entry::new(Mode::Draining, 7, 0));
}

fn lapsed(tables: &mut Tables) {
    tables.node_deadline_ns = NOW - SECOND;
}

fn never_armed(tables: &mut Tables) {
    tables.node_deadline_ns = 0;
}

fn own_deadline_ahead(tables: &mut Tables) {
    lapsed(tables);
    put(tables, Entry::new(Mode::Answer, 7, 0).until(NOW + MINUTE));
}

fn own_deadline_past(tables: &mut Tables) {
    put(tables, Entry::new(Mode::Answer, 7, 0).until(NOW - SECOND));
}

fn fence_is_up(tables: &mut Tables) {
    tables.fence.extend([(SLOT4, 3), (SLOT6, 3)]);
    tables.cleared.extend([(SLOT4, 2), (SLOT6, 2)]);
}

fn fence_was_cleared(tables: &mut Tables) {
    tables.fence.extend([(SLOT4, 3), (SLOT6, 3)]);
    tables.cleared.extend([(SLOT4, 3), (SLOT6, 3)]);
}

fn orphaned(tables: &mut Tables) {
    tables.node_deadline_ns = NOW - 11 * MINUTE;
}

/// No credit, and none to come: the last refill was later than any clock here.
fn bucket_is_empty(tables: &mut Tables) {
    for slot in [SLOT4, SLOT6] {
        let stats = SlotStats {
            bucket_at_ns: u64::MAX / 2,
            ..bytemuck::Zeroable::zeroed()
        };
        tables.stats.insert(slot, stats);
    }
}

fn giver(tables: &mut Tables) {
    draining(tables);
    moves(
        tables,
        MoveValue::new(Some(MacAddr(MEMBER)), None, NOW - MINUTE, NOW + MINUTE),
    );
}

fn taker(tables: &mut Tables) {
    moves(
        tables,
        MoveValue::new(None, Some(MacAddr(MEMBER)), NOW - MINUTE, NOW + MINUTE),
    );
}

fn moves(tables: &mut Tables, row: MoveValue) {
    for vip in [IpAddr::from(VIP4), IpAddr::from(VIP6)] {
        tables.put_move(VipKey::new(Addr::from(vip), LINK), row);
    }
}

fn not_in_the_table(tables: &mut Tables) {
    tables.vips.clear();
}

fn on_another_link(tables: &mut Tables) {
    let vips = std::mem::take(&mut tables.vips);
    for (key, entry) in vips {
        tables.put_vip(VipKey::new(key.addr(), LINK + 1), entry);
    }
}

/// What the program remembers of VIPs that are spread.
pub const MEMORIES: [Memory; 3] = [Memory::Streams, Memory::Datagrams, Memory::Fragments];

/// The link that frames come in on.
pub const LINK: u32 = 77;
/// Its hardware address.
pub const OWN: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
/// BOOTTIME of every case: nanoseconds, late enough for any deadline.
pub const NOW: u64 = 1_000 * MINUTE;
/// Slot of [`VIP4`].
pub const SLOT4: u32 = 4;
/// Slot of [`VIP6`].
pub const SLOT6: u32 = 65_535;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0xa, 0xb0c0);
const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 0xcc];
const CLIENT4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77);
const MEMBER: [u8; 6] = [2, 0, 0, 0, 0, 0x22];
const DISARMED: [u8; 6] = [2, 0, 0, 0, 0, 0x33];
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0xee];
const NOBODY: [u8; 6] = [0; 6];
const EVERYBODY: [u8; 6] = [0xff; 6];
