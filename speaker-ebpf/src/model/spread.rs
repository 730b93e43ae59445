//! What should become of a packet for a VIP that is spread, told straight from the rules: plain slices and the tables' maps, and nothing
//! shared with the logic but the types of the tables and the function that numbers slots.
//!
//! It says what is counted, where the packet goes and what is remembered; it changes nothing. RFC 791, 792, 8200, 4443, 9293.

use super::{Tables, VecFrame};
use crate::abi::steer::{
    CHUNK_SLOTS, FRAGMENTS_NS, OWN_NODE, SILENCE_NS, TABLE_CHUNKS, TABLES_MAX,
};
use crate::abi::{
    Addr, Bucket, Entry, FarKey, FarValue, MacAddr, MacKey, Mode, ShareKey, SteerValue, Steered,
    StreamKey, StreamValue, TargetKey, VipKey, hash,
};
use crate::logic::{Maps, Memory};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

/// What should become of a packet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Account {
    /// What is counted; `None`: nothing is looked at.
    pub way: Option<Steered>,
    /// The node that it counts for.
    pub node: Option<u32>,
    /// The hardware address that it is sent on to.
    pub to: Option<[u8; 6]>,
    /// The way to the node that it is sent to on another segment.
    pub far: Option<FarValue>,
    /// What is remembered anew: the node of a flow.
    pub notes: Vec<(Memory, StreamKey, u32)>,
}

/// The account of a frame that came in on a link; `None` if it is no packet for a VIP that is spread there.
pub fn account(tables: &Tables, ifindex: u32, frame: &[u8]) -> Option<Account> {
    let key = VipKey::new(destination(frame)?, ifindex);
    let entry = tables.vips.get(&key).filter(|entry| entry.is_steered())?;
    let row = *tables.spread.get(&entry.row())?;
    let own = row.own();
    if frame[..6] != own.0 {
        return Some(Account::default());
    }
    let facts = Facts { tables, key, row };
    let mut account = match facts.stays(entry, &frame[6..12]) {
        Some(Steered::NotHeld) if facts.is_silent(entry, frame) => Account::of(Steered::Silenced),
        Some(way) => Account::of(way),
        None => facts.spread(frame),
    };
    if account.to == Some(own.0) || account.to == Some([0; 6]) {
        account.way = Some(Steered::Own);
        account.to = None;
    }
    Some(account)
}

impl Account {
    fn of(way: Steered) -> Self {
        Self {
            way: Some(way),
            ..Self::default()
        }
    }

    /// The slot of the packet's VIP.
    pub(super) fn slot(&self, tables: &Tables, frame: &VecFrame) -> u32 {
        let vip = destination(&frame.bytes).expect("an account is of a packet to a VIP");
        tables.vips[&VipKey::new(vip, frame.ifindex)].slot()
    }

    /// The tables with what is remembered anew.
    pub(super) fn remembered(&self, mut tables: Tables) -> Tables {
        for (memory, mark, node) in &self.notes {
            let value = StreamValue {
                seen_ns: tables.now_ns,
                node: *node,
                pad: 0,
            };
            tables.keep_stream(*memory, mark, &value);
        }
        tables
    }

    /// The tables after the packet.
    pub(super) fn applied(&self, tables: Tables, ifindex: u32, bytes: &[u8]) -> Tables {
        let vip = destination(bytes).expect("an account is of a packet to a VIP");
        let mut tables = self.remembered(tables);
        let slot = tables.vips[&VipKey::new(vip, ifindex)].slot();
        let length = bytes.len() as u32;
        if let Some(way) = self.way {
            tables.steered(way);
        }
        if let Some(node) = self.node
            && !tables.share(&ShareKey { slot, node }, length)
        {
            tables.steered(Steered::Uncounted);
        }
        let is_dropped = matches!(self.way, Some(Steered::LostFragment | Steered::Silenced));
        if self.to.is_none() && !is_dropped {
            tables.traffic(slot, length);
        }
        tables
    }
}

/// Where a packet goes to; `None` if it is none, or neighbour discovery, which is not spread.
fn destination(frame: &[u8]) -> Option<Addr> {
    match frame.get(12..14)? {
        [8, 0] => Some(Addr::from(IpAddr::V4(v4(frame, 30)?))),
        [0x86, 0xdd] => match (frame.get(20), frame.get(54)) {
            (Some(58), Some(135 | 136)) => None,
            _ => Some(Addr::from(IpAddr::V6(v6(frame, 38)?))),
        },
        _ => None,
    }
}

struct Facts<'a> {
    tables: &'a Tables,
    key: VipKey,
    row: SteerValue,
}

impl Facts<'_> {
    /// Why nothing of the VIP, or of this sender, is sent on.
    fn stays(&self, entry: &Entry, src: &[u8]) -> Option<Steered> {
        let tables = self.tables;
        if !tables.is_held(entry) {
            return Some(Steered::NotHeld);
        }
        let src = MacAddr(src.try_into().ok()?);
        let is_member = tables.members.contains_key(&MacKey::new(src)) || src == self.row.own();
        is_member.then_some(Steered::FromMember)
    }

    /// Whether a packet is of a TCP connection that another node has, and this node spoke for the VIP until a moment ago.
    fn is_silent(&self, entry: &Entry, frame: &[u8]) -> bool {
        let deadline = match entry.deadline_ns() {
            0 => self.tables.node_deadline_ns,
            own => own,
        };
        let is_ours =
            matches!(entry.mode(), Some(Mode::Answer | Mode::Draining)) && !entry.is_routed();
        let is_lately = deadline > 0 && self.tables.now_ns < deadline.saturating_add(SILENCE_NS);
        let own = self.row.own();
        let is_members = frame[6..12] == own.0
            || (self.tables.members.keys()).any(|member| frame[6..12] == member.mac().0);
        let Some(packet) = self.packet(frame) else {
            return false;
        };
        let is_segment = packet.kind == Kind::Tcp { is_opening: false };
        if !is_ours || !is_lately || is_members || !is_segment {
            return false;
        }
        if packet.offset != 0 || packet.is_error {
            return false;
        }
        let account = self.connection(&packet, false);
        account.to.is_some_and(|to| to != [0; 6] && to != own.0)
    }

    fn packet(&self, frame: &[u8]) -> Option<Packet> {
        let vip = IpAddr::from(self.key.addr());
        let packet = match frame[12] {
            8 => packet4(frame, 14)?,
            _ => packet6(frame, 14, 4)?,
        };
        about(frame, packet, vip)
    }

    fn spread(&self, frame: &[u8]) -> Account {
        let is_v4 = frame[12] == 8;
        let hops = frame[if is_v4 { 22 } else { 21 }];
        let Some(packet) = self.packet(frame) else {
            return Account::of(Steered::Unclear);
        };
        if hops <= 1 {
            return Account::of(Steered::NoHops);
        }
        let is_whole = packet.offset == 0;
        match packet.kind {
            Kind::Portless => self.sent(self.current(&packet), Vec::new()),
            Kind::Tcp { .. } | Kind::Datagram if !is_whole => self.later(&packet),
            Kind::Tcp { is_opening } => self.connection(&packet, is_opening),
            Kind::Datagram => self.datagram(&packet),
        }
    }

    /// A later fragment.
    fn later(&self, packet: &Packet) -> Account {
        let mark = self.mark(packet, packet.ident);
        let first = self.tables.fragments.get(&mark);
        let young =
            first.filter(|first| self.tables.now_ns.saturating_sub(first.seen_ns) < FRAGMENTS_NS);
        match young {
            Some(first) if self.is_reached(first.node) => self.sent(Some(first.node), Vec::new()),
            _ => Account::of(Steered::LostFragment),
        }
    }

    fn connection(&self, packet: &Packet, is_opening: bool) -> Account {
        let bucket = self.bucket(packet);
        let current = bucket.map(|bucket| bucket.current.into());
        let previous = bucket.map(|bucket| u32::from(bucket.previous % 0x8000));
        let mark = self.mark(packet, packet.ports);
        let is_doubtful = bucket.is_some_and(|bucket| bucket.current != bucket.previous);
        let is_window = is_doubtful && self.tables.now_ns < self.row.window_until_ns();
        let noted = self.tables.streams.get(&mark);
        let noted = noted.filter(|_| is_doubtful);
        let valid = noted.map(|noted| noted.node);
        let valid = valid.filter(|node| self.is_reached(*node));
        let (node, is_noted) = match (is_opening, valid) {
            (true, _) => (current, is_window || noted.is_some()),
            (false, Some(node)) => (Some(node), true),
            (false, None) if is_window => (previous, true),
            (false, None) => (current, false),
        };
        self.sent_and_noted(packet, node, is_noted.then_some(Memory::Streams))
    }

    fn datagram(&self, packet: &Packet) -> Account {
        let mark = self.mark(packet, packet.ports);
        let noted = self.tables.datagrams.get(&mark).map(|noted| noted.node);
        let valid = noted.filter(|node| self.is_reached(*node));
        let node = valid.or_else(|| self.current(packet));
        self.sent_and_noted(packet, node, Some(Memory::Datagrams))
    }

    fn sent_and_noted(
        &self,
        packet: &Packet,
        node: Option<u32>,
        memory: Option<Memory>,
    ) -> Account {
        let node = node.filter(|node| self.is_reached(*node));
        let mut notes = Vec::new();
        if let (Some(memory), Some(node), false) = (memory, node, packet.is_error) {
            let mark = self.mark(packet, packet.ports);
            let noted = self.tables.memory(memory).get(&mark);
            let age = noted.map(|noted| self.tables.now_ns.saturating_sub(noted.seen_ns));
            let is_same = noted.is_some_and(|noted| noted.node == node);
            if !is_same || age >= Some(1_000_000_000) {
                notes.push((memory, mark, node));
            }
        }
        if packet.has_more && !packet.is_error {
            let mark = self.mark(packet, packet.ident);
            let node = node.unwrap_or(OWN_NODE.into());
            notes.push((Memory::Fragments, mark, node));
        }
        self.sent(node, notes)
    }

    fn sent(&self, node: Option<u32>, notes: Vec<(Memory, StreamKey, u32)>) -> Account {
        let node = node.filter(|node| self.is_reached(*node));
        let to = node.and_then(|node| self.mac(node));
        let far = node.filter(|_| to.is_none());
        let far = far.and_then(|node| self.far(node));
        let way = match (node, to, far) {
            (None, _, _) => Steered::NoTarget,
            (Some(_), None, None) => Steered::Own,
            (Some(_), _, _) => Steered::Sent,
        };
        Account {
            way: Some(way),
            node,
            to,
            far,
            notes,
        }
    }

    fn current(&self, packet: &Packet) -> Option<u32> {
        self.bucket(packet).map(|bucket| bucket.current.into())
    }

    /// The packet's slot, if there is such a table.
    fn bucket(&self, packet: &Packet) -> Option<Bucket> {
        let (ports, protocol) = if self.row.is_by_client() {
            (0, 0)
        } else {
            (packet.ports, packet.protocol)
        };
        let slot = hash::slot(packet.client, self.key.addr(), ports, protocol.into());
        if self.row.table() >= TABLES_MAX {
            return None;
        }
        let element = self.row.table() * TABLE_CHUNKS + slot / CHUNK_SLOTS;
        let chunk = self.tables.maglev.get(&element);
        let bucket = chunk.map(|chunk| chunk.buckets[(slot % CHUNK_SLOTS) as usize]);
        let zero = Bucket {
            current: 0,
            previous: 0,
        };
        Some(bucket.unwrap_or(zero))
    }

    fn is_reached(&self, node: u32) -> bool {
        node == u32::from(OWN_NODE) || self.mac(node).is_some() || self.far(node).is_some()
    }

    fn far(&self, node: u32) -> Option<FarValue> {
        let family = match IpAddr::from(self.key.addr()) {
            IpAddr::V4(_) => 4,
            IpAddr::V6(_) => 6,
        };
        let far = self.tables.far.get(&FarKey { node, family });
        let may = self.row.is_beyond() && node != u32::from(OWN_NODE);
        far.filter(|_| may).copied()
    }

    fn mac(&self, node: u32) -> Option<[u8; 6]> {
        let ifindex = self.key.ifindex();
        let target = self.tables.targets.get(&TargetKey { ifindex, node });
        target
            .filter(|_| node != u32::from(OWN_NODE))
            .map(|target| target.mac.0)
    }

    fn mark(&self, packet: &Packet, word: u32) -> StreamKey {
        StreamKey {
            client: packet.client,
            vip: self.key,
            word,
            protocol: packet.protocol.into(),
        }
    }
}

/// A packet as far as it matters here.
struct Packet {
    kind: Kind,
    client: Addr,
    protocol: u8,
    ports: u32,
    ident: u32,
    offset: u16,
    has_more: bool,
    is_error: bool,
    /// Where its transport begins.
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp { is_opening: bool },
    Datagram,
    Portless,
}

/// The packet itself, or if it is an error what went from the VIP the other way.
fn about(frame: &[u8], packet: Packet, vip: IpAddr) -> Option<Packet> {
    let is_message = packet.offset == 0 && !packet.has_more;
    let inner_at = packet.at + 8;
    let inner = match packet.protocol {
        1 if is_message && vip.is_ipv4() => match frame.get(packet.at)? {
            3 | 11 | 12 => (
                packet4(frame, inner_at)?,
                v4(frame, inner_at + 12)?.into(),
                { IpAddr::from(v4(frame, inner_at + 16)?) },
            ),
            _ => return Some(packet),
        },
        58 if is_message && vip.is_ipv6() => match frame.get(packet.at)? {
            0..128 => (
                packet6(frame, inner_at, 0)?,
                v6(frame, inner_at + 8)?.into(),
                { IpAddr::from(v6(frame, inner_at + 24)?) },
            ),
            _ => return Some(packet),
        },
        _ => return Some(packet),
    };
    let (inner, src, dst): (Packet, IpAddr, IpAddr) = inner;
    if src != vip || inner.offset != 0 {
        return None;
    }
    let kind = match inner.kind {
        Kind::Tcp { .. } => Kind::Tcp { is_opening: false },
        other => other,
    };
    Some(Packet {
        kind,
        client: Addr::from(dst),
        ports: inner.ports.rotate_left(16),
        has_more: false,
        is_error: true,
        ..inner
    })
}

/// An IPv4 packet at an offset.
fn packet4(frame: &[u8], at: usize) -> Option<Packet> {
    let first = *frame.get(at)?;
    let header = usize::from(first % 16) * 4;
    if first / 16 != 4 || header < 20 {
        return None;
    }
    let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let fragment = word(at + 6)?;
    let ident = frame.get(at + 4..at + 6)?;
    let client = Addr::from(IpAddr::V4(v4(frame, at + 12)?));
    Packet {
        kind: Kind::Portless,
        client,
        protocol: *frame.get(at + 9)?,
        ports: 0,
        ident: u32::from_ne_bytes([ident[0], ident[1], 0, 0]),
        offset: fragment % 0x2000,
        has_more: fragment & 0x2000 != 0,
        is_error: false,
        at: at + header,
    }
    .with_transport(frame, at == 14)
}

/// An IPv6 packet at an offset, with so many extension headers at most before a fragment header.
fn packet6(frame: &[u8], at: usize, extensions: usize) -> Option<Packet> {
    let mut next = *frame.get(at + 6)?;
    let mut packet = Packet {
        kind: Kind::Portless,
        client: Addr::from(IpAddr::V6(v6(frame, at + 8)?)),
        protocol: 0,
        ports: 0,
        ident: 0,
        offset: 0,
        has_more: false,
        is_error: false,
        at: at + 40,
    };
    let mut headers = 0;
    while headers < extensions && [0, 43, 60].contains(&next) {
        let length = usize::from(*frame.get(packet.at + 1)?);
        next = *frame.get(packet.at)?;
        packet.at += 8 + 8 * length;
        headers += 1;
        if packet.at > at + 80 {
            return None;
        }
    }
    if next == 44 && headers < extensions.max(1) {
        let header = frame.get(packet.at..packet.at + 8)?;
        let offset = u16::from_be_bytes([header[2], header[3]]);
        next = header[0];
        packet.offset = offset / 8;
        packet.has_more = offset % 2 == 1;
        packet.ident = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
        packet.at += 8;
    }
    let is_extension = [0, 43, 44, 51, 60, 135, 139, 140].contains(&next);
    if is_extension || (extensions > 0 && packet.at > at + 80) {
        return None;
    }
    packet.protocol = next;
    packet.with_transport(frame, extensions > 0)
}

impl Packet {
    /// Ports, and of TCP the flags, if it is a packet for us and not one that an error brings back.
    fn with_transport(mut self, frame: &[u8], has_flags: bool) -> Option<Self> {
        self.kind = match self.protocol {
            6 => Kind::Tcp { is_opening: false },
            17 | 132 | 136 => Kind::Datagram,
            _ => return Some(self),
        };
        if self.offset != 0 {
            return Some(self);
        }
        let ports = frame.get(self.at..self.at + 4)?;
        self.ports = u32::from_ne_bytes(ports.try_into().ok()?);
        if self.protocol == 6 && has_flags {
            let flags = frame.get(self.at + 13)?;
            self.kind = Kind::Tcp {
                is_opening: flags & 0b1_0110 == 0b10,
            };
        }
        Some(self)
    }
}

fn v4(frame: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(octets))
}

/// `None`, too, for an IPv4 address in IPv6's form, which has no place on a wire.
fn v6(frame: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = frame.get(at..at + 16)?.try_into().ok()?;
    let address = Ipv6Addr::from(octets);
    address.to_ipv4_mapped().is_none().then_some(address)
}
